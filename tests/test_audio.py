"""Recordings of every kind, whole and by span; damaged ones are named, whatever the decoder says."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import noise

from mms_adapt import audio, containers
from mms_adapt.audio import AudioFile, AudioFlaw, frame_count
from mms_adapt.errors import AudioError

KINDS = ["wav", "flac", "mp3", "ogg", "opus", "aiff", "caf", "w64", "au"]
LOSSLESS = {"wav", "flac", "aiff", "caf", "w64", "au"}


def write(folder: Path, kind: str, samples: np.ndarray, rate_hz: int = 16_000) -> Path:
    path = folder / f"sound.{kind}"
    options = {"ogg": {"format": "OGG", "subtype": "VORBIS"}, "opus": {"format": "OGG", "subtype": "OPUS"}}
    with soundfile.SoundFile(
        path, "w", rate_hz, 1 if samples.ndim == 1 else samples.shape[1], **options.get(kind, {})
    ) as file:
        for start in range(0, len(samples), 16_000):  # libsndfile's Vorbis encoder dies of long blocks
            file.write(samples[start : start + 16_000])
    return path


def flaw(path: Path, *span: float) -> AudioFlaw:
    with pytest.raises(AudioError) as raised:
        audio.read(path, *span)
    assert isinstance(raised.value, AudioFlaw)
    return raised.value


def test_frames_are_those_of_seven_convolutions() -> None:
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    for samples in [*range(0, 2500), 16_000, 479_999, 480_000]:
        frames = samples
        for kernel, stride in zip(kernels, strides, strict=True):
            frames = (frames - kernel) // stride + 1 if frames >= kernel else 0
        assert frame_count(samples) == frames, samples


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_whole_and_by_span(tmp_path: Path, kind: str) -> None:
    sound = noise(3.0)
    path = write(tmp_path, kind, sound)
    assert audio.probe(path) == audio.AudioInfo(16_000, 1, 48_000)
    whole, part = audio.read(path), audio.read(path, 1.0, 2.5)
    assert (whole.shape, part.shape, whole.dtype, part.dtype) == (
        (48_000,),
        (24_000,),
        np.float32,
        np.float32,
    )
    if kind in LOSSLESS:
        assert np.abs(whole - sound).max() < 1e-4
        assert np.array_equal(part, whole[16_000:40_000])
    else:
        assert np.corrcoef(part, whole[16_000:40_000])[0, 1] > 0.99
        assert np.corrcoef(part[1:], whole[16_000:39_999])[0, 1] < 0.9, "and not shifted by a sample"


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_does_not_depend_on_what_was_read_before(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, noise(6.0))
    spans = [(1.0, 2.0), (2.0, 3.0), (0.5, 1.2), (5.0, 6.0), (2.0, 3.0), (3.1, 4.0)]
    with AudioFile(path) as file:
        for span in spans:
            assert np.abs(file.read(*span) - audio.read(path, *span)).max() <= (1e-6 if kind == "mp3" else 0)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 15_999])
def test_a_resampled_span_is_the_span_of_the_resampled(tmp_path: Path, rate_hz: int) -> None:
    seconds = np.arange(4 * rate_hz) / rate_hz
    path = write(tmp_path, "wav", 0.3 * np.sin(2 * np.pi * 300 * seconds), rate_hz)
    whole = audio.read(path)
    assert len(whole) == 64_000
    assert (
        np.abs(whole[800:-800] - 0.3 * np.sin(2 * np.pi * 300 * np.arange(64_000) / 16_000)[800:-800]).max()
        < 2e-3
    )
    for start, stop in [(0, 1600), (20_001, 36_007), (63_000, 64_000)]:
        part = audio.read(path, start / 16_000, stop / 16_000)
        assert len(part) == stop - start
        assert np.abs(part - whole[start:stop]).max() < 1e-5


def test_channels_are_mixed_down(tmp_path: Path) -> None:
    left, right = noise(1.0, 1), noise(1.0, 2)
    path = write(tmp_path, "wav", np.stack([left, right], axis=1))
    assert np.abs(audio.read(path) - (left + right) / 2).max() < 1e-4


@pytest.mark.parametrize("kind", [*KINDS, "rf64"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_file_that_ends_early_is_noticed(tmp_path: Path, kind: str, share: float) -> None:
    if kind == "rf64":
        path = tmp_path / "sound.wav"
        soundfile.write(path, noise(5.0), 16_000, format="RF64")
    else:
        path = write(tmp_path, kind, noise(5.0))
    assert len(audio.read(path)) == 80_000
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = flaw(path)
    assert found.reason == ("undecodable" if kind in ("flac", "caf") else "truncated")
    assert str(path) in str(found)
    if kind not in ("caf", "opus", "ogg"):
        assert len(audio.read(path, 0.2, 1.0)) == 12_800, "what is there can still be used"
        assert flaw(path, 4.6, 5.0).reason in ("truncated", "undecodable")


def test_a_recorder_that_does_not_know_the_length_yet_is_believed(tmp_path: Path) -> None:
    path = write(tmp_path, "wav", noise(1.0))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(audio.read(path)) == 16_000


def test_an_mp3_without_a_table_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3", np.concatenate([noise(4.0), np.zeros(64_000, np.float32), noise(4.0)]))
    assert containers.look(path).sample_count is None
    content = path.read_bytes()
    second = content.find(content[:2], 4)  # the first frame holds the table
    path.write_bytes(content[second:])
    counted = containers.look(path).sample_count
    assert counted is not None and abs(counted - 12 * 16_000) < 3_000
    found = flaw(path)
    assert found.reason == "undecodable" and "does not say how long" in str(found)


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (None, "missing_audio", "no such recording"),
        (b"", "undecodable", r"the file is empty (0 bytes); copy it again"),
        (b"hello", "undecodable", "no audio that can be decoded"),
        (b"hello", "undecodable", "ffmpeg -i x.m4a x.flac"),
        (b"ID3" + b"\x7f" * 100, "undecodable", "no audio that can be decoded"),
        (b"\xff" * 5000, "undecodable", "no audio that can be decoded"),
        (b"OggS" + b"\0" * 100, "undecodable", "no audio that can be decoded"),
    ],
)
def test_what_is_no_audio_is_named(tmp_path: Path, content: bytes | None, reason: str, says: str) -> None:
    path = tmp_path / "x.m4a"
    if content is not None:
        path.write_bytes(content)
    found = flaw(path)
    assert found.reason == reason and says in str(found)
    assert flaw(tmp_path).reason == "missing_audio"


def test_empty_and_absurd_headers_are_named(tmp_path: Path) -> None:
    empty = write(tmp_path, "wav", np.zeros(0, np.float32))
    assert "0 samples" in str(flaw(empty))
    absurd = write(tmp_path, "wav", noise(0.5), 2_100_000_000)
    assert "2100000000 samples a second" in str(flaw(absurd))
    with pytest.raises(AudioError, match="samples a second"):
        audio.probe(absurd)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(tmp_path: Path, value: float) -> None:
    sound = noise(2.0)
    sound[20_000] = value
    path = tmp_path / "x.wav"
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    assert flaw(path).reason == "not_finite"
    assert len(audio.read(path, 0.0, 1.0)) == 16_000


@pytest.mark.parametrize(
    "span", [(0.0, 2.2), (2.0, 3.0), (-0.1, 1.0), (1.0, 1.0), (1.5, 1.0), (np.nan, 1.0), (0, np.nan)]
)
def test_spans_outside_are_named(tmp_path: Path, span: tuple[float, float]) -> None:
    found = flaw(write(tmp_path, "wav", noise(2.0)), *span)
    assert found.reason == "span_outside" and "2.000 s long" in str(found)


def test_an_end_may_be_rounded(tmp_path: Path) -> None:
    path = write(tmp_path, "wav", noise(2.0))
    assert np.array_equal(audio.read(path, 1.0, 2.09), audio.read(path, 1.0))


@dataclass(frozen=True)
class Stretch:
    id: str
    recording: str
    start_s: float
    end_s: float | None


def test_utterances_come_in_the_order_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "wav", noise(4.0))
    write(tmp_path, "flac", noise(2.0, 1))
    spans = [("sound.wav", 3, 4), ("sound.wav", 0, 1), ("sound.flac", 0, None), ("sound.wav", 1, 2)]
    wanted = [Stretch(f"u{number}", *span) for number, span in enumerate(spans)]
    opened: list[str] = []

    class Counting(AudioFile):
        def __init__(self, path: Path) -> None:
            opened.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(audio, "AudioFile", Counting)
    found = list(audio.read_utterances(wanted, tmp_path))
    assert opened == ["sound.wav", "sound.flac", "sound.wav"]
    assert [one for one, _ in found] == wanted
    for one, samples in found:
        assert np.array_equal(samples, audio.read(tmp_path / one.recording, one.start_s, one.end_s))
    with pytest.raises(AudioFlaw, match=r"utterance u9: .*gone\.wav") as raised:
        list(audio.read_utterances([Stretch("u9", "gone.wav", 0, 1)], tmp_path))
    assert raised.value.reason == "missing_audio"


def test_a_loud_decoder_is_not_heard_and_python_is(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3", noise(20.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = (
        "import sys, soundfile\nfrom mms_adapt import audio\n"
        f"with audio.AudioFile({str(path)!r}) as file:\n"
        "    for second in (8, 2, 5, 1): file.read(second, second + 1)\n"
        "print('said by Python', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "said by Python\n"
    loud = f"import soundfile; soundfile.read({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", loud], capture_output=True, text=True, check=True)
    assert "Warning" in done.stderr, "else this test proves nothing"


def test_threads_can_read_at_the_same_time(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3", noise(8.0))
    alone = audio.read(path, 2.0, 4.0)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(audio.read(path, 2.0, 4.0))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8 and all(np.array_equal(one, alone) for one in found)


def test_real_opus_is_the_same_by_seeking_as_by_decoding_all(real_corpora: Path) -> None:
    path = real_corpora / "bom-berom" / "bom-berom.001.ogg"
    whole = audio.read(path)
    generator = np.random.default_rng(0)
    for start in generator.integers(0, len(whole) - 32_000, 12):
        part = audio.read(path, start / 16_000, (start + 32_000) / 16_000)
        beside = whole[start : start + 32_000]
        assert len(part) == 32_000
        error_db = 10 * np.log10(np.sum((part - beside) ** 2) / np.sum(beside**2) + 1e-20)
        assert error_db < -30
        shifted = [np.dot(part[8:-8], whole[start + 8 + lag : start + 31_992 + lag]) for lag in range(-8, 9)]
        assert int(np.argmax(shifted)) == 8
