"""Files read once: what is given is what was hashed, whatever their size."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mms_adapt import contents


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_content_and_hash_are_those_of_the_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    random = torch.Generator().manual_seed(size)
    whole = torch.randint(256, (size,), dtype=torch.uint8, generator=random).numpy().tobytes()
    path.write_bytes(whole)
    with ThreadPoolExecutor(1) as aside:
        both = [contents.read(path, aside) for _ in range(2)]
        for held, hashed in both:
            assert bytes(held) == whole and not held.readonly
            assert hashed.result() == hashlib.sha256(whole).hexdigest() == contents.file_hash(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 35])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_hash_of_a_tree_is_that_of_the_hashes_of_its_pieces(
    size: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "PIECE_BYTES", 8)
    path, whole = tmp_path / "file", bytes(range(size))
    path.write_bytes(whole)
    parts = [whole[start : start + 8] for start in range(0, size, 8)]
    expected = hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in parts)).hexdigest()
    with ThreadPoolExecutor(threads) as aside:
        held, hashed = contents.read(path, aside, contents.TREE)
        assert bytes(held) == whole and not held.readonly
        assert hashed.result() == f"tree2m:{expected}"
    assert contents.file_hash(path, "tree2m:") == f"tree2m:{expected}"
    told = contents.hash_of(whole)
    assert told == (f"tree2m:{expected}" if size > 8 else hashlib.sha256(whole).hexdigest())
    assert contents.short(told) == (f"tree2m {expected[:12]}" if size > 8 else f"sha256 {told[:12]}")


def test_what_cannot_be_read_is_told_and_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    class Broken:
        def __init__(self, path: Path, *_: object, **__: object) -> None:
            self._file = Path.open(path, "rb")

        def __enter__(self) -> "Broken":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def fileno(self) -> int:
            return self._file.fileno()

        def readinto(self, _: memoryview) -> int:
            raise OSError("the disk is gone")

    class Place(type(tmp_path)):  # type: ignore[misc]
        def open(self, *given: object, **named: object) -> Broken:
            return Broken(tmp_path / "file")

    with ThreadPoolExecutor(1) as aside, pytest.raises(OSError, match="the disk is gone"):
        contents.read(Place(tmp_path / "file"), aside)  # the block ends, so the other thread has
    with ThreadPoolExecutor(1) as aside, pytest.raises(FileNotFoundError):
        contents.read(tmp_path / "none", aside)
