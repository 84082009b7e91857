"""A picture of sound: time to the right, 0 to 8 kHz upwards, the louder the darker.

In: mono samples at 16 kHz. Out: a PNG. It knows neither files nor pages.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import Waveform

_WINDOW, _HOP, _HEIGHT = 512, 320, 128
_RANGE_DB = 70.0  # below the loudest: then white


def png(samples: Waveform) -> bytes:
    """Return a grey picture, 128 pixels high, of 50 pixels a second."""
    samples = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, 1:]) ** 2
    # two bins make a row: `(frames, 256)` to `(frames, 128)`
    rows = power.reshape(len(power), _HEIGHT, -1).mean(axis=2)
    levels = 10 * np.log10(np.maximum(rows, 1e-12))
    shade = np.clip((levels.max() - levels) / _RANGE_DB, 0, 1)
    return _grey(np.round(shade.T[::-1] * 255).astype(np.uint8))


def _grey(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels `(height, width)` as a PNG."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)  # 0: not filtered
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
