"""Damaged recordings and adapters, from Python and from the command line: one clear error, or an empty text.

Recordings are short, and long ones that go through in parts: what is damaged at the end must not be passed
over either.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from mms_adapt import backbone, transcribe
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.cli import main
from mms_adapt.errors import AdapterError, AudioError, LanguageError, MmsAdaptError, RegistryError

RATE_HZ = 16_000
Spoil = Callable[[Path], Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("bad") / "base", seed=1), device="cpu")


@pytest.fixture(scope="module")
def registry(base: Backbone) -> Path:
    folder = base.source.folder.parent / "adapters"
    tiny.fitted(base, folder / "mdw")
    return folder


@pytest.fixture
def own(registry: Path, tmp_path: Path) -> Path:
    """A registry of the test's own, to be spoilt."""
    return Path(shutil.copytree(registry, tmp_path / "adapters"))


class Ran:
    """Exit code and output of the command with one recording."""

    def __init__(self, capsys: pytest.CaptureFixture[str], path: Path, registry: Path, *words: str) -> None:
        capsys.readouterr()
        common = ["--registry", str(registry), "--device", "cpu", "--quiet"]
        with pytest.raises(SystemExit) as stopped:
            main(["transcribe", str(path), *common, *(words or ("--target-lang", "mdw"))])
        captured = capsys.readouterr()
        self.code, self.out, self.err = stopped.value.code or 0, captured.out, captured.err


def sound(seconds: float) -> np.ndarray:
    """Sentences with pauses between them."""
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < seconds * RATE_HZ:
        pieces += [tiny.speech(tiny.sentence(len(pieces)), len(pieces)), np.zeros(8_000, np.float32)]
    return np.concatenate(pieces)[: int(seconds * RATE_HZ)]


def content(data: bytes) -> Callable[[float], Spoil]:
    return lambda seconds: lambda folder: _written(folder / "x.wav", data)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def cut(kind: str, share: float = 0.5) -> Callable[[float], Spoil]:
    """A file of which only the first part was copied."""
    options = {"ogg": {"format": "OGG", "subtype": "VORBIS"}, "opus": {"format": "OGG", "subtype": "OPUS"}}

    def made(seconds: float) -> Spoil:
        def spoil(folder: Path) -> Path:
            path, samples = folder / f"x.{kind}", sound(seconds)
            with soundfile.SoundFile(path, "w", RATE_HZ, 1, **options.get(kind, {})) as file:
                for start in range(0, len(samples), RATE_HZ):
                    file.write(samples[start : start + RATE_HZ])
            return _written(path, path.read_bytes()[: int(path.stat().st_size * share)])

        return spoil

    return made


def number(value: float) -> Callable[[float], Spoil]:
    """A sample near the end that is no number."""

    def made(seconds: float) -> Spoil:
        def spoil(folder: Path) -> Path:
            samples = sound(seconds)
            samples[-2_000] = value
            soundfile.write(folder / "x.wav", samples, RATE_HZ, subtype="FLOAT")
            return folder / "x.wav"

        return spoil

    return made


def header(rate_hz: int) -> Callable[[float], Spoil]:
    def made(seconds: float) -> Spoil:
        def spoil(folder: Path) -> Path:
            soundfile.write(folder / "x.wav", sound(seconds), rate_hz)
            return folder / "x.wav"

        return spoil

    return made


def without_a_table(seconds: float) -> Spoil:
    """An MP3 of which decoders would give a part and no error."""

    def spoil(folder: Path) -> Path:
        samples = np.concatenate([sound(seconds), np.zeros(64_000, np.float32), sound(seconds)])
        soundfile.write(folder / "x.mp3", samples, RATE_HZ)
        whole = (folder / "x.mp3").read_bytes()
        return _written(folder / "x.mp3", whole[whole.find(whole[:2], 4) :])

    return spoil


def missing(seconds: float) -> Spoil:
    return lambda folder: folder / "nowhere.wav"


def a_folder(seconds: float) -> Spoil:
    return lambda folder: folder


NO_AUDIO = "no audio that can be decoded"
DAMAGED: dict[str, tuple[Callable[[float], Spoil], str]] = {
    "missing": (missing, "no such recording"),
    "a folder": (a_folder, "folder"),
    "no bytes": (content(b""), "the file is empty"),
    "text": (content("Ŋgá a letter, not a recording\n".encode() * 50), NO_AUDIO),
    "noise": (content(np.random.default_rng(0).bytes(40_000)), NO_AUDIO),
    "a header alone": (content(b"RIFF\x24\0\0\0WAVE"), NO_AUDIO),
    "an ID3 tag alone": (content(b"ID3" + b"\x7f" * 100), NO_AUDIO),
    "an Ogg page alone": (content(b"OggS" + b"\0" * 100), NO_AUDIO),
    "2.1 GHz": (header(2_100_000_000), "2100000000 samples a second"),
    "NaN": (number(np.nan), "no numbers"),
    "infinity": (number(np.inf), "no numbers"),
    "an MP3 without a table": (without_a_table, "does not say how long"),
    **{
        f"half a .{kind}": (
            cut(kind),
            "cut short|decoding stops|of [0-9.]+ s|copy it again|0 samples|" + NO_AUDIO,
        )
        for kind in ("wav", "flac", "mp3", "ogg", "opus", "aiff", "caf", "w64", "au")
    },
}


@pytest.mark.parametrize("seconds", [2.0, 20.0], ids=["short", "long"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_recordings_give_one_error(
    name: str, seconds: float, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = DAMAGED[name]
    path = make(seconds)(tmp_path)
    with pytest.raises(AudioError, match=says) as raised:
        transcribe(path, target_lang="mdw", registry=registry, device="cpu")
    assert str(path) in str(raised.value)
    ran = Ran(capsys, path, registry)
    assert ran.code == 1 and ran.out == ""
    assert ran.err.startswith("error: ") and ran.err.count("\nerror: ") == 0
    assert "Traceback" not in ran.err and path.name in ran.err.replace("\n", "")


EMPTY: dict[str, np.ndarray] = {
    "silence": np.zeros(RATE_HZ, np.float32),
    "long silence": np.zeros(20 * RATE_HZ, np.float32),
    "a level that is not zero": np.full(RATE_HZ, 0.1, np.float32),
    "shorter than one frame": sound(1.0)[:399],
    "one sample": sound(1.0)[:1],
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_hear_gives_an_empty_text(
    name: str, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, EMPTY[name], RATE_HZ, subtype="FLOAT")
    for recording in (path, EMPTY[name]):
        assert transcribe(recording, target_lang="mdw", registry=registry, device="cpu").text == ""
    ran = Ran(capsys, path, registry)
    assert (ran.code, ran.out.strip(), ran.err) == (0, "", "")


def test_no_samples_are_an_empty_text_and_a_file_without_any_is_an_error(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.zeros(0, np.float32)
    assert transcribe(nothing, target_lang="mdw", registry=registry, device="cpu").text == ""
    soundfile.write(tmp_path / "x.wav", nothing, RATE_HZ)
    with pytest.raises(AudioError, match="0 samples"):
        transcribe(tmp_path / "x.wav", target_lang="mdw", registry=registry, device="cpu")
    ran = Ran(capsys, tmp_path / "x.wav", registry)
    assert ran.code == 1 and "0 samples" in ran.err


def with_nan(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    name = next(iter(one.tensors))
    replace(one, tensors={**one.tensors, name: one.tensors[name] * np.nan}).save(folder)


def of_another_backbone(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    replace(one, passport=replace(one.passport, backbone_fingerprint="0" * 64)).save(folder)


def of_a_hostile_name(base: Backbone, folder: Path) -> None:
    passport = folder / "passport.json"
    spoilt = passport.read_text(encoding="utf-8").replace('"mdw"', '"x/../../evil"')
    passport.write_text(spoilt, encoding="utf-8")


def changed_afterwards(base: Backbone, folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\1\0")


BROKEN: dict[Callable[[Backbone, Path], None], str] = {
    with_nan: "not finite",
    of_another_backbone: "fingerprint",
    of_a_hostile_name: "x/../../evil",
    changed_afterwards: "hash differs",
}


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda one: one.__name__)
def test_broken_adapters_give_one_error(
    spoil: Callable[[Backbone, Path], None],
    base: Backbone,
    own: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(base, own / "mdw")
    path = tmp_path / "x.wav"
    soundfile.write(path, sound(1.0), RATE_HZ)
    with pytest.raises(AdapterError, match=BROKEN[spoil]):
        transcribe(path, target_lang="mdw", registry=own, device="cpu")
    ran = Ran(capsys, path, own)
    assert ran.code == 1 and ran.out == ""
    assert ran.err.startswith("error: ") and "Traceback" not in ran.err
    assert BROKEN[spoil] in ran.err.replace("\n", " ")


@pytest.mark.parametrize("code", ["../mdw", "x/../../evil", "mdw/../mdw", "..", "/", "", "mdw\n", "de"])
def test_hostile_names_give_one_error(
    code: str, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, sound(1.0), RATE_HZ)
    with pytest.raises((LanguageError, RegistryError)) as raised:
        transcribe(path, target_lang=code, registry=registry, device="cpu")
    assert isinstance(raised.value, MmsAdaptError)
    ran = Ran(capsys, path, registry, "--target-lang", code)
    assert ran.code in (1, 2) and ran.out == ""
    assert ran.err.count("error: ") == 1 and "Traceback" not in ran.err
