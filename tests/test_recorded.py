"""Layers recorded for a shape give what they give without, forwards and backwards."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_packed import apart, learnt, with_adapters

from mms_adapt import recorded
from mms_adapt.packed import Packing
from mms_adapt.recorded import Player, Shape, Slots

CPU = torch.device("cpu")
CARD = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
BATCHES = ([9, 9, 9], [5, 13, 1], [4, 0, 11], [17])  # all of one shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


def recording(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A backbone that records every shape at once."""
    monkeypatch.setattr(recorded, "_PLAIN_TIMES", 0)
    base = with_adapters(folder, "all")
    base.packing, base.player = True, Player(graphs=False)
    return base


@pytest.mark.parametrize("device", ["cpu", CARD])
@pytest.mark.parametrize("count", ["all", 1])
def test_a_recording_gives_what_layers_give(
    folder: Path, device: str, count: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = with_adapters(folder, count, device)
    base.packing = True
    below = None if count == "all" else base.layer_count - 1
    expected = [learnt(base, torch.tensor(one), below=below) for one in BATCHES]
    monkeypatch.setattr(recorded, "_PLAIN_TIMES", 0)
    base.player = Player(graphs=device == "cuda")
    close = {"rtol": 0.0, "atol": 2e-2 * float(expected[0][0].float().std())} if device == "cuda" else {}
    for batch, (hidden, gradients) in zip(BATCHES, expected, strict=True):
        found, theirs = learnt(base, torch.tensor(batch), below=below)
        assert torch.allclose(found, hidden, **close) if close else tiny.close(found, hidden)
        assert len(theirs) == len(gradients) > 0
        assert apart(theirs, gradients) < (2e-2 if device == "cuda" else 1e-5)
    assert base.player.turn == len(BATCHES) and base.player.most_frames == recorded.MOST_FRAMES
    with torch.no_grad():
        features = torch.randn(2, 7, base.conv_dim if below is None else base.hidden_size)
        counts = torch.tensor([7, 3])
        played = base.encode(features, counts, below=below)
        base.player = None
        plain = base.encode(features, counts, below=below)
    assert torch.allclose(played[0], plain[0], **close) if close else tiny.close(played[0], plain[0])


def test_a_changed_adapter_is_heard_and_changed_matrices_are_recorded_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, counts = recording(folder, monkeypatch), torch.tensor([9, 4])
    first, _ = learnt(base, counts)
    layer = base.model.wav2vec2.encoder.layers[0]
    with torch.no_grad():
        layer.adapter_layer.linear_2.bias[0] += 1.0
    second, gradients = learnt(base, counts)
    assert not tiny.close(second, first)
    (before,) = base.player._tapes.values()
    for one in base._frozen:
        assert one is not None
        one._weights = None  # as after training a matrix
    third, again = learnt(base, counts)
    assert tiny.close(third, second) and apart(again, gradients) < 1e-6
    assert list(base.player._tapes.values()) != [before]


def test_two_passes_forwards_before_one_back_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, counts = recording(folder, monkeypatch), torch.tensor([9, 4])
    features = torch.randn(2, 9, base.conv_dim)
    first = base.encode(features, counts)
    base.encode(features, counts)
    with pytest.raises(RuntimeError, match="record=false"):
        first.sum().backward()
    third = base.encode(features, counts)
    third.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second"):
        third.sum().backward()


def test_what_is_met_seldom_or_too_large_or_without_room_is_computed_as_usual(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, counts = with_adapters(folder, "all"), torch.tensor([9, 4])
    base.packing, base.player = True, Player(graphs=False)
    for turn in (0, 0, 1):
        learnt(base, counts)
        assert base.player.turn == turn
    base.player.most_frames = 12
    learnt(base, counts)
    assert base.player.turn == 1
    monkeypatch.undo()
    monkeypatch.setattr(recorded, "_PLAIN_TIMES", 0)

    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(recorded, "_anew", full)
    base.player = Player(graphs=False)
    learnt(base, counts)
    assert base.player.most_frames == 0 and base.player.turn == 0
    monkeypatch.undo()
    monkeypatch.setattr(recorded, "_PLAIN_TIMES", 0)
    monkeypatch.setattr(recorded, "_has_room", lambda *given: len(asked.append(1) or asked) > 1)
    monkeypatch.setattr(Player, "_record", lambda self, tape, forwards: recorded._anew(tape, forwards))
    asked: list[int] = []
    base.player = Player()
    for turn in (0, 1, 2):
        learnt(base, counts)
        assert base.player.turn == turn, "no room at first, then there is"
    with torch.inference_mode():
        base.encode(torch.randn(2, 9, base.conv_dim), counts)
    assert base.player.turn == 2 and base.player.give_up() and not base.player.give_up()
    learnt(base, counts)
    assert base.player.turn == 2


def test_shapes_have_room_and_little_of_it_is_filled_in() -> None:
    for counts in ([1], [3, 0, 64], [499] * 16, [100] * 33, [700, 20], [2000]):
        packing = Packing(torch.tensor(counts), max(counts), CPU)
        shape = Shape.of(packing, True)
        assert packing.count <= shape.frames <= max(packing.count * 1.125, packing.count + 63)
        assert shape.rows > len(counts) and shape.longest >= max(*counts, shape.frames - packing.count)
        slots = Slots(shape, CPU)
        slots.take(packing)
        assert slots.borders.tolist() == slots.ends and len(slots.ends) == shape.rows + 1
        assert slots.ends[: len(packing.ends)] == packing.ends and slots.ends[-1] == shape.frames
