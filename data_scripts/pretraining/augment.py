"""Sound as the model is to meet it: other voices, rooms, microphones and noises, made on the device.

In: the samples of all examples, resident on the device, and a batch's spans. Out: waveforms
`(batch, samples)` of float32, and what the first layers learn first: log-mel energies and pitch.

It does not know: labels, the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MEL_COUNT, LAG_COUNT = 80, 24
WINDOW, STRIDE, FFT = 400, 320, 512


@dataclass(frozen=True, slots=True)
class Strength:
    """How much is changed; each is a share of the utterances or a range."""

    slowest: float = 0.85
    fastest: float = 1.18
    noisy: float = 0.5
    noise_db: tuple[float, float] = (3.0, 40.0)
    crowded: float = 0.1
    echoing: float = 0.25
    coloured: float = 0.7
    colour_db: float = 6.0
    band_stops: int = 2


def gather(sound: Tensor, starts: Tensor, lengths: Tensor, speeds: Tensor, width: int) -> Tensor:
    """Return spans of the sound, each at its own speed (so at another pitch and vocal tract length too).

    Args:
        sound: All samples, int16, `(all_samples,)`.
        starts: First sample of each span, `(batch,)`.
        lengths: Samples of each span, `(batch,)`.
        speeds: 1.1 makes it shorter by a tenth, `(batch,)`.
        width: Samples of the result.

    Returns:
        `(batch, width)`, zero behind the end of each span; cubic interpolation between samples.
    """
    place = torch.arange(width, device=sound.device) * speeds[:, None]  # `(batch, width)`
    whole = place.floor()
    t = place - whole
    index = whole.long()
    last = lengths[:, None] - 1
    a, b, c, d = (
        sound[starts[:, None] + (index + offset).clamp(min=0).minimum(last)].float()
        for offset in (-1, 0, 1, 2)
    )
    cubic = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return torch.where(index <= last, cubic / 32768, 0)


def spoil(waves: Tensor, counts: Tensor, strength: Strength) -> Tensor:
    """Return waveforms with the colour of a microphone, an echo, noise and other people's voices.

    Args:
        waves: `(batch, samples)`.
        counts: Real samples of each, `(batch,)`.
        strength: How much.
    """
    batch, width = waves.shape
    device = waves.device
    size = 1 << (width + 4000 - 1).bit_length() if width < 40000 else math.ceil((width + 4000) / 8192) * 8192
    spectrum = torch.fft.rfft(waves, size)  # `(batch, bins)`
    spectrum = spectrum * _colour(batch, spectrum.shape[1], strength, device)
    echo = _echo(batch, size, strength, device)
    heard = torch.fft.irfft(spectrum * echo, size)[:, :width]
    real = torch.arange(width, device=device) < counts[:, None]
    power = (heard.square() * real).sum(1) / counts
    tilt = torch.rand(batch, 1, device=device) * 1.5
    bins = torch.arange(1, spectrum.shape[1] + 1, device=device)
    noise = torch.fft.irfft(torch.fft.rfft(torch.randn(batch, size, device=device)) * bins**-tilt, size)[
        :, :width
    ]
    heard = heard + noise * _gain(power, noise.square().mean(1), *strength.noise_db, strength.noisy)
    crowd = heard.roll(1, 0)
    heard = heard + crowd * _gain(power, (crowd.square() * real).sum(1) / counts, 8.0, 25.0, strength.crowded)
    return heard * real


def _gain(signal: Tensor, noise: Tensor, low_db: float, high_db: float, share: float) -> Tensor:
    """Return factors `(batch, 1)` that bring noise to a random distance below the signal, or to nothing."""
    ratio_db = low_db + (high_db - low_db) * torch.rand_like(signal)
    gain = (signal / noise.clamp(min=1e-12)).sqrt() * 10 ** (-ratio_db / 20)
    return (gain * (torch.rand_like(signal) < share))[:, None]


def _colour(batch: int, bins: int, strength: Strength, device: torch.device) -> Tensor:
    """Return gains `(batch, bins)`: smooth random curves, and bands that are missing."""
    points_db = strength.colour_db * torch.randn(batch, 1, 12, device=device)
    points_db *= torch.rand(batch, 1, 1, device=device) < strength.coloured
    curve = 10 ** (F.interpolate(points_db, size=bins, mode="linear", align_corners=True)[:, 0] / 20)
    mels = torch.linspace(0, _mel(8000.0), bins, device=device)
    hertz = torch.linspace(0, 8000, bins, device=device)
    place = torch.bucketize(1127 * torch.log1p(hertz / 700), mels).float() / bins  # share of the mel scale
    for _ in range(strength.band_stops):
        width = 0.15 * torch.rand(batch, 1, device=device)
        low = torch.rand(batch, 1, device=device) * (1 - width)
        curve = torch.where((place >= low) & (place < low + width), 0.03 * curve, curve)
    return curve


def _mel(hertz: float) -> float:
    return 1127 * math.log1p(hertz / 700)


def _echo(batch: int, size: int, strength: Strength, device: torch.device) -> Tensor:
    """Return spectra `(batch, bins)` of a direct sound with, for some, a decaying tail of up to 0.25 s."""
    length = 4000
    time = torch.arange(length, device=device)
    decay = 200 + 900 * torch.rand(batch, 1, device=device)
    tail = torch.randn(batch, length, device=device) * torch.exp(-time / decay)
    tail = tail / tail.square().sum(1, keepdim=True).sqrt()
    loud = (torch.rand(batch, 1, device=device) < strength.echoing) * (
        0.1 + 0.7 * torch.rand(batch, 1, device=device)
    )
    response = tail * loud
    response[:, 0] = 1.0
    return torch.fft.rfft(response, size)


class FirstTargets(torch.nn.Module):
    """Log-mel energies and autocorrelation at pitch lags, frame by frame as the encoder's frames lie."""

    mel: Tensor
    window: Tensor
    lags: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False), persistent=False)
        edges = 700 * (torch.expm1(torch.linspace(_mel(40.0), _mel(7800.0), MEL_COUNT + 2) / 1127))
        bins = torch.linspace(0, 8000, FFT // 2 + 1)
        up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
        self.register_buffer("mel", torch.minimum(up, down).clamp(min=0).T.contiguous(), persistent=False)
        lags = torch.logspace(math.log10(16000 / 400), math.log10(16000 / 80), LAG_COUNT).round().long()
        self.register_buffer("lags", lags, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return `(batch, samples / 320, 104)`, of about unit size, of waveforms `(batch, samples)`."""
        waves = F.pad(waves, (0, WINDOW - STRIDE))
        frames = waves.unfold(1, WINDOW, STRIDE)  # `(batch, frames, 400)`
        power = torch.fft.rfft(frames * self.window, FFT).abs().square()
        mel = ((power @ self.mel).clamp(min=1e-7).log() + 2) / 3
        energy = torch.fft.rfft(frames, 2 * FFT).abs().square()
        correlation = torch.fft.irfft(energy)
        pitch = correlation[..., self.lags] / correlation[..., :1].clamp(min=1e-5)
        return torch.cat([mel.clamp(-3, 3), 2 * pitch], -1)
