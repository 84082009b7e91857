"""Files and arrays as users have them, read by span."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.errors import AudioError
from mms_adapt.recordings import is_silent, open_recording


def tone(seconds: float, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    return (0.3 * np.sin(np.arange(round(seconds * rate_hz)) * 2 * np.pi * 220 / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 8_000, 48_000])
def test_a_file_of_any_rate_is_read_by_span(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(3.0, rate_hz), rate_hz)
    source = open_recording(path)
    assert source.sample_count == 48_000
    assert source.name == str(path)
    whole, middle = source.read(0, 48_000), source.read(16_000, 32_320)
    assert (len(whole), len(middle), whole.dtype) == (48_000, 16_320, np.float32)
    # resampling a span knows nothing of what stands beside it, so its ends may differ a little
    assert np.abs(middle[200:-200] - whole[16_200:32_120]).max() < 0.02
    assert np.abs(whole[500:-500] - tone(3.0)[500:-500]).max() < 0.02


def test_arrays_become_mono_floats_at_16_khz() -> None:
    samples = tone(1.0)
    assert open_recording(samples).read(0, 16_000) is not None
    integers = (samples * 32767).astype(np.int16)
    assert np.abs(open_recording(integers).read(0, 16_000) - samples).max() < 1e-4
    assert open_recording(samples.astype(np.float64)).read(0, 5).dtype == np.float32
    assert open_recording(tone(1.0, 8_000), sample_rate_hz=8_000).sample_count == 16_000
    assert open_recording(np.zeros(0, np.float32)).sample_count == 0


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 100), np.float32), r"audio\[3\] has the shape \(2, 100\)"),
        (np.array([0.0, np.nan], np.float32), r"audio\[3\] holds numbers that are not finite"),
        (np.array([0.0, 1e300]), r"audio\[3\] goes up to 1e\+300: floats in -1 to 1"),
        (np.array([0.0, 1e30], np.float32), r"audio\[3\] goes up to 1e\+30"),
        (np.array(["a"]), r"audio\[3\] holds <U1"),
        ({"array": 1}, r"audio\[3\] is a dict"),
    ],
)
def test_what_is_no_recording_is_named(samples: object, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        open_recording(samples, place=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [None, "16000"])
def test_a_rate_that_is_no_number_is_named(rate: object) -> None:
    with pytest.raises(AudioError, match=r"sample_rate_hz=.*: give a number"):
        open_recording(np.ones(100, np.float32), sample_rate_hz=rate)  # type: ignore[arg-type]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        open_recording(tmp_path / "nowhere.wav")


def test_silence_is_what_cannot_be_heard() -> None:
    assert is_silent(np.zeros(0, np.float32))
    assert is_silent(tone(0.02))
    assert is_silent(np.full(16_000, 0.25, np.float32))
    assert is_silent(tone(1.0) * 1e-5)
    assert not is_silent(tone(1.0) * 1e-2)
