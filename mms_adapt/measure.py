"""What can be measured of an utterance while it is decoded: level, noise, clipping, bandwidth, a fingerprint.

In: mono samples at 16 kHz. Out: a `Sound`, a few numbers and 100 bytes a second; a `Measurement` names its
utterance and file. It judges nothing: `mms_adapt.findings` holds the thresholds.

One spectrum of 32 ms every 20 ms serves all of them. The fingerprint holds a word of 16 bits for each: for
each pair of neighbouring bands, whether the lower one gains on the upper one. It does not change with the
volume, and hardly with where a frame begins or with a lossy codec.

Source: Haitsma and Kalker 2002, "A highly robust audio fingerprinting system", section 4.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import SAMPLE_RATE_HZ, Waveform

FLOOR_DB = -120.0
_WINDOW, _HOP = 512, 320
_SPEECH_HZ, _TREBLE_HZ, _HUM_HZ = (300.0, 3400.0), (4400.0, 7600.0), 60.0
_PRINT_HZ, _PRINT_BANDS = (300.0, 4000.0), 17  # what a telephone leaves
_PRINT_FRAMES, _PRINT_LATER = 20, 10  # stretches of 0.4 s beside those that start 0.2 s later
_BEYOND = 2e-4  # so many of the samples may exceed the ceiling
_NEAR, _BELOW, _CROWD = 0.8, 0.6, 0.8  # of the ceiling; so many near it, beside those below, are a crowd
_LOUD, _QUIET = 0.9, 0.05  # of the frames lie below
_SPOKEN_DB = 25.0  # below the level: consonants still, pauses no more


@dataclass(frozen=True, slots=True)
class Sound:
    """What was measured of a stretch of sound.

    Attributes:
        duration_s: Its length.
        spoken_s: How much of it is within 25 decibels of the level: speech without its pauses.
        peak_db: Its loudest sample, in decibels of full scale.
        clipped_share: Share of the samples within 2 decibels of the ceiling, upwards or downwards, where they
            crowd there. In speech the fewer samples there are, the louder they are; where the tops of the
            waves were cut off, it is the other way round.
        level_db: The level that one frame in ten exceeds: that of loud vowels.
        noise_db: The level that one frame in twenty stays below: that of the pauses.
        treble_db: The strongest consonants above 4.4 kHz beside the strongest vowels, in decibels. A
            telephone, or a recording at 8 kHz, has nothing there.
        fingerprint: Words of 16 bits, one every 20 ms, `(words,)`; none of sounds up to 0.6 s.
    """

    duration_s: float
    spoken_s: float
    peak_db: float
    clipped_share: float
    level_db: float
    noise_db: float
    treble_db: float
    fingerprint: NDArray[np.uint16] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known of an utterance that was decoded.

    Attributes:
        utterance_id: Its id.
        sample_rate_hz: What its file's header declares.
        channel_count: The same.
        character_count: Graphemes of its reference, without spaces.
        sound: What was measured.
    """

    utterance_id: str
    sample_rate_hz: int
    channel_count: int
    character_count: int
    sound: Sound

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        whole = {one.name: getattr(self.sound, one.name) for one in fields(Sound)}
        whole["fingerprint"] = self.sound.fingerprint.astype("<u2").tobytes().hex()
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"sound": whole}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Measurement":
        """Return what `record` gave."""
        sound = dict(record["sound"])
        sound["fingerprint"] = np.frombuffer(bytes.fromhex(sound["fingerprint"]), dtype="<u2").astype(
            np.uint16
        )
        return cls(**{**record, "sound": Sound(**sound)})

    @property
    def characters_per_s(self) -> float:
        """How fast it is spoken, pauses left out."""
        return self.character_count / self.sound.spoken_s


def measure(samples: Waveform) -> Sound:
    """Measure samples at 16 kHz, `(samples,)`; at least one."""
    bands = _bands(samples)
    total, speech, treble = bands[:, 0], bands[:, 1], bands[:, 2]
    levels = _decibels(total)
    loud, quiet = np.quantile(levels, (_LOUD, _QUIET))
    loudest = max(float(samples.max()), -float(samples.min()))
    strongest = [float(_decibels(np.quantile(one, 0.95))) for one in (treble, speech)]
    return Sound(
        duration_s=len(samples) / SAMPLE_RATE_HZ,
        spoken_s=round(float(np.mean(levels >= loud - _SPOKEN_DB)) * len(samples) / SAMPLE_RATE_HZ, 4),
        peak_db=round(float(_decibels(np.float64(loudest**2))), 2),
        clipped_share=round(_clipped_share(samples), 6),
        level_db=round(float(loud), 2),
        noise_db=round(float(quiet), 2),
        treble_db=round(strongest[0] - strongest[1], 2),
        fingerprint=_fingerprint(bands[:, 3:]),
    )


def _weights() -> NDArray[np.float32]:
    """Return which bins of a spectrum each band sums up, `(bins, bands)`: total, speech, treble, prints."""
    bins_hz = np.arange(_WINDOW // 2 + 1) * SAMPLE_RATE_HZ / _WINDOW
    edges = np.geomspace(*_PRINT_HZ, _PRINT_BANDS + 1)
    bounds = [(_HUM_HZ, np.inf), _SPEECH_HZ, _TREBLE_HZ, *pairwise(edges)]
    inside = np.stack([(bins_hz >= low) & (bins_hz < high) for low, high in bounds], axis=1)
    # Parseval: the mean square of a frame is twice the sum of its spectrum's squares over this
    energy = float(np.square(_HANN).sum())
    return (inside * 2 / (_WINDOW * energy)).astype(np.float32)


_HANN = np.hanning(_WINDOW).astype(np.float32)
_WEIGHTS = _weights()


def _bands(samples: Waveform) -> NDArray[np.float32]:
    """Return the power of each frame in each band, `(frames, bands)`."""
    if len(samples) < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP] * _HANN
    spectrum = np.fft.rfft(frames, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
    return np.asarray(power @ _WEIGHTS)


def _decibels(power: NDArray[np.floating] | np.floating) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)), dtype=np.float64)


def _clipped_share(samples: Waveform) -> float:
    """Return the share of samples that crowd near the ceiling, upwards or downwards: see `Sound`.

    The ceiling is what a few samples exceed, not the loudest one: a resampler overshoots where waves are cut,
    and a codec rounds their tops off.
    """
    beyond = min(len(samples) - 1, int(_BEYOND * len(samples)))
    crowd = 0
    for side in (samples, -samples):
        ceiling = np.partition(side, -1 - beyond)[-1 - beyond]
        near = int(np.count_nonzero(side > _NEAR * ceiling))
        below = int(np.count_nonzero(side > _BELOW * ceiling)) - near
        if ceiling > 0 and near > _CROWD * below:
            crowd = max(crowd, near)
    return crowd / len(samples)


def _fingerprint(bands: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return one word of 16 bits for each stretch and the one that starts later, `(words,)`."""
    if len(bands) <= _PRINT_FRAMES + _PRINT_LATER:
        return np.zeros(0, np.uint16)
    sums = np.cumsum(bands, axis=0, dtype=np.float64)
    stretches = sums[_PRINT_FRAMES:] - sums[:-_PRINT_FRAMES]
    tilt = stretches[:, :-1] - stretches[:, 1:]
    gained = tilt[_PRINT_LATER:] > tilt[:-_PRINT_LATER]  # `(words, 16)`
    return np.packbits(gained, axis=1).view(np.uint16)[:, 0]
