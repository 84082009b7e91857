"""Room: what does not fit goes through in pieces, and what is learnt does not depend on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import mms_adapt
from mms_adapt import cache, step
from mms_adapt.backbone import Backbone
from mms_adapt.batches import pieces
from mms_adapt.errors import OptionError, TrainingError
from mms_adapt.prepared import Prepared
from mms_adapt.room import Room, fitting
from mms_adapt.task import Task, lowest, set_up
from mms_adapt.training import TrainConfig, train

WEIGHTS = "adapter.mdw.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 30), folder / "prepared", target_lang="mdw")


@pytest.fixture
def config(base: Path) -> TrainConfig:
    return TrainConfig(
        backbone=str(base), device="cpu", steps=4, learning_rate=1e-2, batch_seconds=20, evaluate_steps=2
    )


def test_pieces_hold_every_row_once_within_the_bound() -> None:
    counts = [30, 100, 40, 90, 20, 10, 300]
    assert pieces(counts, None) == [list(range(7))] == pieces(counts, 7 * 300)
    found = pieces(counts, 200)
    assert Counter(one for group in found for one in group) == Counter(range(7))
    assert found[0] == [6], "longer than the bound: alone"
    assert all(len(group) * max(counts[one] for one in group) <= 200 for group in found[1:])
    assert found[1:] == [[1, 3], [2, 0, 4, 5]]


def test_what_fits_is_measured() -> None:
    def take(rows: int) -> int:
        return 1000 + 7 * 50 * rows

    assert fitting(take, 50, 1000 + 7 * 50 * 10) == int(0.9 * 500)
    assert fitting(take, 50, 900) == 50, "one row is always tried"
    assert fitting(lambda rows: 1000, 50, 900) == 50


def test_room_shrinks_to_one_row_and_no_further() -> None:
    room = Room()
    assert room.halve(800, 300) and room.most_frames == 400
    assert room.halve(400, 300) and room.most_frames == 300
    assert not room.halve(300, 300) and room.halvings == 2


def gradients_of(task: Task) -> dict[str, torch.Tensor]:
    step.learn(task, task.batches.load(task.batches.plan(0)[0]), 0.0, first=True)
    return {name: one.grad.clone() for name, one in task.trained.items() if one.grad is not None}


def alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], rel: float) -> bool:
    left, right = (torch.cat([side[name].reshape(-1) for name in expected]) for side in (found, expected))
    return found.keys() == expected.keys() and float((left - right).norm()) < rel * float(right.norm())


def test_pieces_give_the_gradients_of_the_whole(prepared: Prepared, config: TrainConfig) -> None:
    chosen = replace(config, start="backbone", max_gradient_norm=1e6)
    whole = gradients_of(set_up(prepared, chosen))
    assert alike(gradients_of(set_up(prepared, replace(chosen, device_seconds=3.0))), whole, 1e-5)


def small_card(monkeypatch: pytest.MonkeyPatch, most_frames: int) -> list[int]:
    """Let a backward pass of more frames run out of memory, as a card does."""
    real, tried = Backbone.encode, []

    def encode(self: Backbone, features: torch.Tensor, counts: torch.Tensor, **given: Any) -> torch.Tensor:
        found = real(self, features, counts, **given)
        frames = features.shape[0] * features.shape[1]
        if found.requires_grad:
            tried.append(frames)
        if found.requires_grad and frames > most_frames:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(Backbone, "encode", encode)
    return tried


def test_out_of_memory_halves_what_goes_through_and_goes_on(
    prepared: Prepared, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(config, start="backbone", max_gradient_norm=1e6)
    whole = gradients_of(set_up(prepared, chosen))
    tried = small_card(monkeypatch, 200)
    task = set_up(prepared, chosen)
    assert alike(gradients_of(task), whole, 1e-5)
    assert tried[0] > 800 and task.room.halvings > 1 and max(tried[-2:]) <= 200
    tried.clear()
    step.learn(task, task.batches.load(task.batches.plan(0)[1]), 0.0, first=False)
    assert max(tried) <= 200, "it remembers"


def test_recordings_are_let_go_of_before_less_goes_through() -> None:
    held, room, done = [True], Room(), []

    def work(rows: Sequence[int]) -> torch.Tensor:
        done.append(len(rows))
        if held:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.ones((), requires_grad=True) * len(rows)

    undone: list[int] = []
    total = step.backwards(
        work, range(3), [5, 5, 5], room, lambda: undone.append(1), lambda: bool(held and held.pop())
    )
    assert float(total) == 3 and done == [3, 3] and room.halvings == 0 and undone == [1]


def test_no_room_for_one_utterance_is_told(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_card(monkeypatch, 30)
    with pytest.raises(TrainingError, match=r"no room for one utterance of \d+ s: .*--lean.*--layers top:12"):
        train(prepared, tmp_path / "a", config)


@pytest.mark.parametrize("changes", [{"checkpointing": True}, {"cache_on": "device"}, {"cache_on": "disk"}])
def test_where_things_lie_changes_nothing(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, changes: dict[str, Any]
) -> None:
    train(prepared, tmp_path / "a", config)
    train(prepared, tmp_path / "b", replace(config, **changes))
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


# hidden states below the lowest adapter


def test_hidden_states_from_the_cache_give_the_gradients_of_the_whole(
    prepared: Prepared, config: TrainConfig
) -> None:
    """Half precision alone lies between them: 11 bits of mantissa."""
    unmasked = {"dropout": 0.0, "mask_time_share": 0.0, "mask_channel_share": 0.0}
    chosen = replace(config, adapter_layers=1, start="backbone", max_gradient_norm=1e6, **unmasked)
    found = set_up(prepared, replace(chosen, from_hidden=True))
    assert (found.below, set_up(prepared, chosen).below) == (2, None)
    assert found.batches.load(found.batches.plan(0)[0]).features.shape[2] == 32
    expected = gradients_of(set_up(prepared, chosen))
    assert len(expected) == 8 and alike(gradients_of(found), expected, 5e-3)


def test_hidden_states_are_computed_once_and_lie_anywhere(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(config, adapter_layers=1, from_hidden=True, cache=str(tmp_path / "cache"))
    train(prepared, tmp_path / "host", chosen)
    assert list((tmp_path / "cache").glob("hidden*-attention-2-*.f16"))
    assert not list((tmp_path / "cache").glob("features*"))

    def never(*_: object) -> None:
        raise AssertionError("it was computed twice")

    monkeypatch.setattr(Backbone, "prefix", never)
    monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)
    for where in ("device", "disk"):
        train(prepared, tmp_path / where, replace(chosen, cache_on=where))
        found, expected = ((tmp_path / one / WEIGHTS).read_bytes() for one in (where, "host"))
        assert found == expected


def test_the_lowest_trained_layer_is_found(prepared: Prepared, config: TrainConfig) -> None:
    task = set_up(prepared, replace(config, adapter_layers=2))
    assert lowest(task.begun.parameters, 3) == 1
    head = {name: one for name, one in task.begun.parameters.items() if name.startswith("lm_head.")}
    assert lowest(head, 3) == 3
    other = {**head, "wav2vec2.feature_projection.projection.weight": head["lm_head.weight"]}
    assert lowest(other, 3) == 0


def test_lean_trains_and_bad_options_are_told(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    result = train(prepared, tmp_path / "a", replace(config, lean=True, device_seconds=4.0))
    assert result.steps == 4
    with pytest.raises(OptionError, match=r"device_seconds=0.*cache_on='moon'.*from_hidden"):
        TrainConfig(device_seconds=0, cache_on="moon", from_hidden=True, full_finetune=True)
