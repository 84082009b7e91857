"""Cutting where nobody speaks: by a stand-in for silero-vad, by the real one where it is, and without."""

import builtins
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from rapidfuzz.fuzz import ratio

import mms_adapt
from mms_adapt import backbone
from mms_adapt.errors import OptionError
from mms_adapt.stretches import stretches
from mms_adapt.voice_activity import Silero


class Model:
    """Takes what is louder than an engine for speech."""

    resets = 0

    def reset_states(self) -> None:
        self.resets += 1

    def __call__(self, chunk: torch.Tensor, rate_hz: int) -> torch.Tensor:
        assert chunk.shape == (512,) and chunk.dtype == torch.float32 and rate_hz == 16_000
        level = float(chunk.std())
        return torch.tensor([[0.9 if level > 0.05 else 0.4 if level > 0.04 else 0.1]])


@pytest.fixture
def silero(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("silero_vad")
    module.load_silero_vad = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "silero_vad", module)


def noise(level: float, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (level * np.random.default_rng(0).standard_normal(int(16_000 * seconds))).astype(np.float32)


def test_frames_are_speech_while_it_goes_on(silero: None) -> None:
    found = Silero()(np.concatenate([noise(0.001, 1), noise(0.045, 1), noise(0.1, 1), noise(0.045, 1)]))
    assert len(found) == 200 and not found[:98].any()  # too unlikely to begin
    assert found[102:].all()  # but likely enough to go on
    assert len(Silero()(noise(0.1, 0.03))) == 2 and Silero()(noise(0.1, 0.03)).all()


def test_what_is_loud_and_no_speech_is_not_heard(silero: None) -> None:
    """Voices in between an engine that is as loud as they, but for the stand-in's ear."""
    engine, voice = noise(0.03, 4), noise(0.1, 3)
    whole = np.concatenate([engine, voice, engine, voice, engine])
    found = list(stretches(lambda start, stop: whole[start:stop], len(whole), 8.0, 4.0, Silero()))
    assert [(round(one.start / 16_000), round(one.stop / 16_000)) for one in found] == [(4, 7), (11, 14)]


def test_a_recording_is_transcribed_so(silero: None, tmp_path: Path) -> None:
    tiny.fitted(backbone.load(tiny.backbone(tmp_path / "base", seed=1), device="cpu"), tmp_path / "mdw")
    parts = [tiny.speech(tiny.sentence(seed), seed) for seed in range(12)]
    whole = np.concatenate([np.concatenate([one, noise(0.001, 0.8)]) for one in parts])
    texts = [
        mms_adapt.transcribe(whole, adapter=tmp_path / "mdw", device="cpu", usual_s=2.0, cut=cut).text
        for cut in ("silero", "pauses")
    ]
    assert len(texts[0].split()) > 12 and ratio(*texts) > 90  # a border lies a frame or two elsewhere


@pytest.mark.parametrize(
    "reason", [ImportError("no module"), OSError("libc10_cuda.so"), RuntimeError("version")]
)
def test_what_does_not_load_is_told(reason: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *given: Any, **named: Any) -> Any:
        if name.startswith("silero_vad"):
            raise reason
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(OptionError, match=rf"cut='silero' needs silero-vad.*\({reason}\).*mms-adapt\[vad\]"):
        Silero()


@pytest.mark.skipif(find_spec("silero_vad") is None, reason="silero-vad is not installed")
def test_the_real_one_hears_no_speech_in_noise_and_leaves_the_threads_alone() -> None:
    torch.set_num_threads(2)
    one = Silero()
    assert torch.get_num_threads() == 2
    assert not one(noise(0.1, 3)).any() and not one(noise(0.0, 1)).any()
    assert not one(0.3 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)).any()
