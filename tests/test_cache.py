"""The cache: computed once, resumed after an interruption, damage found, memory flat."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
import torch

from mms_adapt import audio, backbone, cache
from mms_adapt.audio import Waveform
from mms_adapt.backbone import Backbone
from mms_adapt.cache import FeatureCache, at_speed
from mms_adapt.errors import BackboneError, PreparedError, TrainingError
from mms_adapt.manifest import Utterance

COUNT = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("models") / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(COUNT):
        soundfile.write(folder / f"{number}.wav", tiny.speech("abcd"[: number % 4 + 1], number), tiny.RATE_HZ)
    return folder


UTTERANCES = [
    Utterance(f"u{one}", f"{one}.wav", 0.0, None, "a", "mdw", audio_sha256=f"sha{one}")
    for one in range(COUNT)
]


class Counted:
    """A backbone that counts the rows it is given, and stops after some."""

    def __init__(self, base: Backbone, stop_after: int = 1000) -> None:
        self._base, self.rows, self.stop_after = base, 0, stop_after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def cnn(self, waveforms: torch.Tensor, sample_counts: torch.Tensor) -> torch.Tensor:
        if self.rows >= self.stop_after:
            raise KeyboardInterrupt
        self.rows += len(waveforms)
        return self._base.cnn(waveforms, sample_counts)


def filled(folder: Path, base: Any, root: Path, **options: Any) -> FeatureCache:
    made = FeatureCache(folder, base, **options)
    made.fill(UTTERANCES, root)
    return made


def samples(one: Utterance, root: Path) -> Waveform:
    return audio.read(root / one.recording)


def test_features_are_those_of_the_backbone_in_half_precision(
    base: Backbone, root: Path, tmp_path: Path
) -> None:
    made = filled(tmp_path, base, root)
    for one in UTTERANCES:
        batch = tiny.padded(samples(one, root))
        expected = base.cnn(batch.waveforms, batch.sample_counts)[0]
        found = made.features(f"sha{one.id[1:]}")
        assert found.dtype == np.float16 and made.frames(f"sha{one.id[1:]}") == len(found)
        assert np.array_equal(found, expected.half().numpy())


def test_nothing_is_computed_twice(base: Backbone, root: Path, tmp_path: Path) -> None:
    first, second = Counted(base), Counted(base)
    twice = [*UTTERANCES, replace(UTTERANCES[0], id="the same sound")]
    FeatureCache(tmp_path, first).fill(twice, root)  # type: ignore[arg-type]
    again = FeatureCache(tmp_path, second)  # type: ignore[arg-type]
    again.fill(UTTERANCES, root / "recordings are not needed any more")
    assert (first.rows, second.rows) == (COUNT, 0)
    assert len(again.features("sha0"))


def test_speeds_are_variants_of_their_own(base: Backbone, root: Path, tmp_path: Path) -> None:
    made = filled(tmp_path, base, root, speeds=(0.9, 1.0, 1.1))
    slow, plain, fast = (made.frames("sha1", speed) for speed in (0.9, 1.0, 1.1))
    assert slow / plain == pytest.approx(1 / 0.9, abs=0.04) and fast / plain == pytest.approx(
        1 / 1.1, abs=0.04
    )
    wave = samples(UTTERANCES[1], root)
    assert len(at_speed(wave, 0.9)) == pytest.approx(len(wave) / 0.9, abs=2) and at_speed(wave, 1.0) is wave
    tone = np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)
    faster = at_speed(tone, 1.1)
    assert np.abs(np.fft.rfft(faster)).argmax() * 16_000 / len(faster) == pytest.approx(484, abs=2)


def groups_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_GROUP_S", 0.01)


def test_an_interrupted_caching_goes_on(
    base: Backbone, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of_one(monkeypatch)
    whole = filled(tmp_path / "whole", base, root)
    stopped = Counted(base, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path / "cut", stopped, root)
    (numbers,) = (tmp_path / "cut").glob("*.f16")
    with numbers.open("ab") as file:  # what was under way when the power went
        file.write(b"\x01\x02\x03" * 11)
    rest = Counted(base)
    found = filled(tmp_path / "cut", rest, root)
    assert rest.rows == COUNT - 2
    for one in UTTERANCES:
        key = str(one.audio_sha256)
        assert np.array_equal(found.features(key), whole.features(key))
    (other,) = (tmp_path / "whole").glob("*.f16")
    assert numbers.read_bytes() == other.read_bytes()


def test_half_a_line_is_dropped(base: Backbone, root: Path, tmp_path: Path) -> None:
    filled(tmp_path, base, root)
    (lines,) = tmp_path.glob("*.jsonl")
    lines.write_bytes(lines.read_bytes()[:-9])
    rest = Counted(base)
    found = filled(tmp_path, rest, root)
    assert rest.rows == 1 and len(found.features(f"sha{COUNT - 1}"))
    assert len(lines.read_text(encoding="utf-8").splitlines()) == COUNT


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_damage_is_found(
    base: Backbone, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY_BYTES", in_memory)
    made = filled(tmp_path, base, root)
    first = made.features("sha0").copy()
    (numbers,) = tmp_path.glob("*.f16")
    data = bytearray(numbers.read_bytes())
    data[-1] ^= 64
    numbers.write_bytes(data)
    again = FeatureCache(tmp_path, base)
    assert np.array_equal(again.features("sha0"), first)
    with pytest.raises(TrainingError, match="damaged; remove this file"):
        again.features(f"sha{COUNT - 1}")


def test_large_caches_stay_on_the_disk(
    base: Backbone, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = filled(tmp_path, base, root)
    assert not isinstance(held.features("sha0"), np.memmap)
    monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)
    mapped = FeatureCache(tmp_path, base)
    assert isinstance(mapped.features("sha3"), np.memmap)
    assert np.array_equal(mapped.features("sha3"), held.features("sha3"))


def test_memory_is_flat_while_caching(
    base: Backbone, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of_one(monkeypatch)
    alive: list[int] = []

    def reading(utterances: Iterable[Utterance], folder: Path) -> Any:
        for one in utterances:
            alive.append(1)
            yield one, samples(one, root)

    class Watching(Counted):
        def cnn(self, waveforms: torch.Tensor, sample_counts: torch.Tensor) -> torch.Tensor:
            assert len(waveforms) == 1 and len(alive) == self.rows + 1, "one group is read, then computed"
            return super().cnn(waveforms, sample_counts)

    monkeypatch.setattr(audio, "read_utterances", reading)
    filled(tmp_path, Watching(base), root)
    assert len(alive) == COUNT


def test_another_backbone_or_normalisation_has_a_cache_of_its_own(
    base: Backbone, root: Path, tmp_path: Path
) -> None:
    filled(tmp_path / "cache", base, root)
    other = tiny.backbone(tmp_path / "other", seed=1)
    counted = Counted(backbone.load(other, device="cpu"))
    filled(tmp_path / "cache", counted, root)
    assert counted.rows == COUNT
    settings = json.dumps({"do_normalize": False, "sampling_rate": 16_000})
    (other / "preprocessor_config.json").write_text(settings, encoding="utf-8")
    loud = Counted(backbone.load(other, device="cpu"))
    filled(tmp_path / "cache", loud, root)
    assert loud.rows == COUNT


def test_errors(base: Backbone, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreparedError, match="u0: it has no hash"):
        FeatureCache(tmp_path, base).fill([replace(UTTERANCES[0], audio_sha256=None)], root)
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        FeatureCache(tmp_path / "file", base)

    class Overflowing(Counted):
        def cnn(self, waveforms: torch.Tensor, sample_counts: torch.Tensor) -> torch.Tensor:
            return super().cnn(waveforms, sample_counts) + 1e6

    with pytest.raises(BackboneError, match="half precision"):
        filled(tmp_path / "c", Overflowing(base), root)
