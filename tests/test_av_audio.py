"""Sound in containers of phones and cameras: whole, by span, cut short, without sound, without PyAV."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

av = pytest.importorskip("av", reason="PyAV, of the extra `video`, is not installed")

import tiny  # noqa: E402

from mms_adapt import audio, av_audio, cli  # noqa: E402

RATE_HZ = 48_000
SECONDS = 6


def sweep(seconds: float = SECONDS) -> np.ndarray:
    """Return a rising tone: like itself in its own place alone, and coders keep it, unlike noise."""
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * (200 * at_s + 40 * at_s**2))).astype(np.float32)


def encode(
    path: Path,
    samples: np.ndarray,
    codec: str = "aac",
    *,
    video: bool = False,
    gap_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write sound as a phone does: mono at 48 kHz, 1024 samples a frame; a gap may stand in the middle."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        if video:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
            for _ in range(10 * SECONDS):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=RATE_HZ)
        for place in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, place : place + 1024], "fltp", "mono")
            late = round(gap_s * RATE_HZ) if place >= len(samples) // 2 else 0
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, place + late, Fraction(1, RATE_HZ)
            for one in resampler.resample(frame):
                container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "shift"),
    [
        ("x.m4a", "aac", 0),
        ("x.mp4", "aac", 0),
        ("x.mov", "pcm_s16le", 0),
        ("x.3gp", "aac", 0),
        ("x.m4a", "alac", 0),
        ("x.mkv", "aac", 17),
        ("x.webm", "libopus", 17),
        ("x.aac", "aac", 0),
    ],
)
def test_whole_and_by_span(tmp_path: Path, name: str, codec: str, shift: int) -> None:
    path = encode(tmp_path / name, sweep(), codec, video=name == "x.mp4")
    expected = tmp_path / "x.wav"
    soundfile.write(expected, sweep(), RATE_HZ)
    wave, found = audio.read(expected), audio.read(path)
    info = audio.probe(path)
    assert (info.sample_rate_hz, info.channel_count) == (RATE_HZ, 1)
    assert 0 <= info.duration_s - SECONDS < 0.1  # coders fill their last block
    delay = round(1024 / RATE_HZ * 16_000) if name == "x.aac" else 0
    assert correlation(found[delay : delay + 80_000], wave[:80_000]) > 0.98
    for start_s, end_s in ((2.0, 3.5), (0.1, 0.6), (4.9, 5.9)):
        part = audio.read(path, start_s, end_s)
        first = round(start_s * 16_000)
        likeness = [
            correlation(part[shift : len(part) - shift], found[one : one + len(part) - 2 * shift])
            for one in range(first, first + 2 * shift + 1)
        ]
        assert max(likeness) > (0.95 if shift else 0.999), (
            "a place in milliseconds may be one off, others not"
        )
    with audio.AudioFile(path) as file:
        again = [file.read(3.0, 3.5), file.read(1.0, 1.5), file.read(3.0, 3.5)]
    assert np.array_equal(again[0], again[2]), "what was read before makes no difference"


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def test_a_gap_is_silence_and_what_follows_keeps_its_place(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", sweep(), "pcm_s16le", gap_s=1.0)
    found = audio.read(path)
    assert abs(len(found) - 16_000 * (SECONDS + 1)) < 40
    middle = 16_000 * SECONDS // 2
    assert np.abs(found[middle + 600 : middle + 15_000]).max() < 0.01 < np.abs(found[:middle]).max()
    part = audio.read(path, 5.0, 6.0)
    assert np.abs(part).max() > 0.01


def test_what_is_cut_short_is_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mp4", sweep(), options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(audio.AudioFlaw, match=r"ends after .* of 6\.0 s") as raised:
        audio.read(path)
    assert raised.value.reason == "truncated"
    assert len(audio.read(path, 0.5, 1.0)) == 8_000
    path.write_bytes(data[:100])
    with pytest.raises(audio.AudioFlaw, match="can be decoded") as raised:
        audio.read(path)
    assert raised.value.reason == "undecodable"


def test_a_film_without_sound_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
    with pytest.raises(audio.AudioFlaw, match="no sound track"):
        audio.read(path)


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "x.m4a", sweep(1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(audio.AudioFlaw, match=r"mms-adapt\[video\]") as raised:
        audio.read(path)
    assert raised.value.reason == "undecodable" and "ffmpeg -i x.m4a" in str(raised.value)


def test_it_reads_as_soundfile_does(tmp_path: Path) -> None:
    file: Any = av_audio.AvAudio(encode(tmp_path / "x.m4a", sweep(1), "alac"))
    assert file.read(0).shape == (0, 1)
    file.seek(RATE_HZ - 10)
    assert file.read(100).shape == (10, 1) and file.read(5).shape == (0, 1)
    with pytest.raises(ValueError, match="only float32"):
        file.read(1, "int16")
    file.close()


def test_recordings_of_a_phone_are_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(12):
        text = tiny.sentence(number)
        encode(folder / f"{number}.m4a", np.repeat(tiny.speech(text, number), RATE_HZ // tiny.RATE_HZ))
        (folder / f"{number}.txt").write_text(text, "utf-8")
    out = tmp_path / "prepared"
    ran = CliRunner().invoke(cli.app, ["prepare", str(folder), "--target-lang", "mdw", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    parts = [(out / f"{part}.jsonl").read_text("utf-8").splitlines() for part in ("train", "dev", "test")]
    assert sum(map(len, parts)) == 12
