"""Archives are extracted once, whole or not at all, and never outside of their folder."""

import gzip
import io
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from mms_adapt import archives
from mms_adapt.archives import MARK, Limits, extract
from mms_adapt.errors import CorpusError

Members = Sequence[tuple[str, bytes | None]]
CONTENT: Members = [
    ("corpus/", None),
    ("corpus/clips/a.wav", b"a" * 3000),
    ("corpus/text \u202eé.tsv", b"x\ty\n"),
]


def tar(path: Path, members: Members, **fields: Any) -> Path:
    """Write a tar; fields are set on every member."""
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as packed:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b"")
            for field, value in fields.items():
                setattr(info, field, value)
            packed.addfile(info, io.BytesIO(data or b""))
    return path


def zipped(path: Path, members: Members, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            packed.writestr(info, data or b"")
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARK
    }


@pytest.fixture(params=["c.tar.gz", "c.tgz", "c.tar", "C.ZIP"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Members], Path]:
    path = tmp_path / request.param
    return lambda members: (zipped if path.suffix == ".ZIP" else tar)(path, members)


def refused(archive: Path, why: str, limits: Limits | None = None) -> None:
    """Check that nothing at all is written, neither there nor elsewhere."""
    before = sorted(archive.parent.parent.rglob("*"))
    with pytest.raises(CorpusError, match=why) as raised:
        extract(archive, limits=limits)
    assert str(archive) in str(raised.value)
    assert sorted(archive.parent.parent.rglob("*")) == before


def test_an_archive_becomes_a_folder_once(pack: Callable[[Members], Path]) -> None:
    archive = pack(CONTENT)
    told: list[tuple[Any, ...]] = []
    folder = extract(archive, progress=lambda *now: told.append(now))
    assert folder.name.lower() == "c.extracted" and folder.parent == archive.parent
    assert found(folder) == {"corpus/clips/a.wav": b"a" * 3000, "corpus/text \u202eé.tsv": b"x\ty\n"}
    assert told[0][0] == "extract" and archives.is_archive(archive)
    (folder / "corpus" / "mine.txt").write_text("stays", encoding="utf-8")
    assert extract(archive) == folder and (folder / "corpus" / "mine.txt").exists()
    assert {path.name.lower() for path in archive.parent.iterdir()} == {archive.name.lower(), "c.extracted"}


def test_another_folder_may_be_named(pack: Callable[[Members], Path], tmp_path: Path) -> None:
    folder = extract(pack(CONTENT), tmp_path / "deep" / "there")
    assert folder == tmp_path / "deep" / "there" and len(found(folder)) == 2


def test_another_archive_of_the_same_name_is_told(pack: Callable[[Members], Path]) -> None:
    folder = extract(pack(CONTENT))
    with pytest.raises(CorpusError, match="another state of this archive; remove it"):
        extract(pack([("other.txt", b"x")]))
    (folder / MARK).unlink()
    with pytest.raises(CorpusError, match="by something else; remove it"):
        extract(pack(CONTENT))


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:/out.txt", "a\\..\\b"])
def test_no_member_leaves_the_folder(name: str, pack: Callable[[Members], Path]) -> None:
    refused(pack([("good.txt", b"x"), (name, b"y")]), "is no path inside it")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    refused(tar(tmp_path / "c.tar.gz", [("good.txt", b"")], type=kind, linkname="/etc"), "is a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    refused(tar(tmp_path / "c.tar.gz", [("good.txt", b"")], type=kind), "neither a file nor a folder")


@pytest.mark.parametrize(
    ("mode", "why"),
    [(stat.S_IFLNK, "is a link"), (stat.S_IFCHR, "neither a file"), (stat.S_IFIFO, "neither")],
)
def test_links_and_devices_in_a_zip_are_refused(mode: int, why: str, tmp_path: Path) -> None:
    refused(zipped(tmp_path / "c.zip", [("good.txt", b"/etc")], mode | 0o644), why)


def test_bombs_are_refused(pack: Callable[[Members], Path]) -> None:
    archive = pack([("zeros", bytes(1 << 20))])
    if archive.suffix != ".tar":
        refused(archive, r"more than 100 times its own size", Limits(small_byte_count=1000))
    refused(archive, "more than 1,000,000 bytes", Limits(byte_count=1_000_000))
    refused(archive, "bytes that are free on this disk", Limits(free_byte_count=1 << 60))
    assert found(extract(archive, limits=Limits(small_byte_count=1 << 20))) == {"zeros": bytes(1 << 20)}


def test_too_many_members_are_refused(pack: Callable[[Members], Path]) -> None:
    refused(pack([(str(number), b"") for number in range(5)]), "more than 4 members", Limits(member_count=4))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "c.tar.gz"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as packed:
        packed.addfile(tarfile.TarInfo("x" * (4 << 20)))
    refused(archive, "header of a member takes more")


def test_a_name_that_comes_twice_is_refused(pack: Callable[[Members], Path]) -> None:
    with pytest.warns(UserWarning) if pack([]).suffix == ".ZIP" else nullcontext():
        archive = pack([("a", b"1"), ("a", b"2")])
    refused(archive, "'a' comes twice")
    refused(pack([("a", b"1"), ("a/b", b"2")]), "'a/b' comes twice")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_half_a_download_is_told(share: float, pack: Callable[[Members], Path]) -> None:
    noise = random.Random(0).randbytes(40_000)
    archive = pack([(f"{number}.wav", noise[number:]) for number in range(3)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: round(len(whole) * share)])
    if archive.suffix == ".tar" and share == 0.99:  # only zeros behind its end are missing
        assert len(found(extract(archive))) == 3
    else:
        refused(archive, "cut short, damaged or no archive.*download it again")


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    archive = tar(tmp_path / "c.tar.gz", [("a.wav", bytes(range(256)) * 100), ("b.wav", b"b")])
    plain = bytearray(gzip.decompress(archive.read_bytes()))
    broken = bytes(plain[:26_112]) + b"\xff" * 100 + bytes(plain[26_212:])  # in the second header
    archive.write_bytes(gzip.compress(broken))
    refused(archive, "no proper end")
    archive.write_bytes(gzip.compress(bytes(plain) + bytes(plain)))
    refused(archive, "something follows its end")
    archive.write_bytes(gzip.compress(bytes(plain))[:-4] + b"1234")
    refused(archive, "cut short, damaged or no archive")
    archive.write_bytes(b"<html>Not found</html>")
    refused(archive, "no archive")
    (tmp_path / "c.zip").write_bytes(b"<html>Not found</html>")
    refused(tmp_path / "c.zip", "no archive")


def test_a_zip_with_a_password_is_told(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "c.zip", [("a.txt", b"x")])
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    archive.write_bytes(data)
    refused(archive, "'a.txt' wants a password")


def test_a_place_that_cannot_be_written_is_told(pack: Callable[[Members], Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"cannot be extracted into .*; extract it yourself"):
        extract(pack(CONTENT), tmp_path / "file" / "below")
    with pytest.raises(CorpusError, match="No such file"):
        extract(tmp_path / "gone.zip")
