"""Frozen layers: equal to stock, left to stock where a part is not frozen, computed again, compiled."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch

from mms_adapt import backbone, layers
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.layers import FrozenLayer
from mms_adapt.masks import Masks, means


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def base(folder: Path) -> Backbone:
    made = backbone.load(folder, device="cpu")
    made.bare()
    attention.attach(made.model, attention.Config(4, seed=1))
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in made.model.wav2vec2.encoder.layers:
            weight = layer.adapter_layer.linear_2.weight
            weight.copy_(0.3 * torch.randn(weight.shape, generator=random))
    return made


def batch(base: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    waves = tiny.padded(tiny.speech("abc d"), tiny.speech("dab cabd dada", 1), tiny.speech("a", 2))
    return base.cnn(waves.waveforms, waves.sample_counts), waves.frame_counts


def learnt(base: Backbone, **options: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return hidden states of the real frames, and the gradients of a loss over them."""
    features, counts = batch(base)
    base.model.zero_grad()
    hidden = base.encode(features, counts, **options)  # type: ignore[arg-type]
    real = torch.arange(hidden.shape[1]) < counts[:, None]
    (hidden[real] ** 2 * torch.linspace(0.5, 1, hidden.shape[2])).mean().backward()
    return hidden.detach()[real], {
        name: one.grad.clone() for name, one in base.model.named_parameters() if one.grad is not None
    }


def alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], rel: float = 1e-5) -> bool:
    left, right = (torch.cat([side[name].reshape(-1) for name in expected]) for side in (found, expected))
    return found.keys() == expected.keys() and float((left - right).norm()) < rel * float(right.norm())


def test_hidden_states_and_gradients_equal_stock(base: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[int] = []
    base._compute = lambda *given: served.append(1) or layers.compute(*given)  # type: ignore[func-returns-value]
    found, gradients = learnt(base)
    monkeypatch.setattr(FrozenLayer, "serves", lambda self: False)
    expected, stocks = learnt(base)
    assert len(served) == 3, "the stock layers were used for both"
    assert tiny.close(found, expected) and len(stocks) == 18 and alike(gradients, stocks)


def test_computing_again_changes_no_gradient_and_keeps_less(base: Backbone) -> None:
    kept, sizes = [], []
    for checkpointing in (False, True):
        base.checkpointing = checkpointing
        numbers: list[int] = []
        seen: set[int] = set()

        def count(tensor: torch.Tensor, numbers: list[int] = numbers, seen: set[int] = seen) -> torch.Tensor:
            if tensor.data_ptr() not in seen:
                seen.add(tensor.data_ptr())
                numbers.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda one: one):
            kept.append(learnt(base))
        sizes.append(sum(numbers))
    assert torch.equal(kept[0][0], kept[1][0])
    assert all(torch.equal(one, kept[1][1][name]) for name, one in kept[0][1].items())
    assert kept[0][1].keys() == kept[1][1].keys()


def test_a_stock_layer_is_computed_again_too(base: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrozenLayer, "serves", lambda self: False)
    plain = learnt(base)
    base.checkpointing = True
    again = learnt(base)
    assert torch.equal(plain[0], again[0]) and alike(again[1], plain[1], 1e-7)


def test_a_part_that_was_replaced_or_is_trained_is_left_to_stock(base: Backbone) -> None:
    layer = base.model.wav2vec2.encoder.layers[1]
    frozen = FrozenLayer(layer)
    assert frozen.serves()
    layer.feed_forward.output_dense.bias.requires_grad_(True)
    assert not frozen.serves()
    layer.feed_forward.output_dense.bias.requires_grad_(False)
    assert frozen.serves()
    layer.attention.v_proj = torch.nn.Linear(32, 32).requires_grad_(False)
    assert not frozen.serves()


def test_query_key_and_value_lie_in_memory_once(base: Backbone) -> None:
    attention_ = base.model.wav2vec2.encoder.layers[0].attention
    pointers = {one.weight.untyped_storage().data_ptr() for one in (attention_.q_proj, attention_.k_proj)}
    assert len(pointers) == 1 and not attention_.q_proj.weight.requires_grad


def test_beginning_from_a_hidden_state_equals_beginning_from_features(base: Backbone) -> None:
    features, counts = batch(base)
    whole = base.encode(features, counts).detach()
    for below in (0, 1, 3):
        hidden = base.prefix(features, counts, below)
        assert hidden.grad_fn is None and hidden.shape == (*features.shape[:2], 32)
        found = base.encode(hidden, counts, below=below).detach()
        for row, count in enumerate(counts):
            assert tiny.close(found[row, :count], whole[row, :count])


def test_masks_put_means_in_the_place_of_what_was_given(base: Backbone) -> None:
    features, counts = batch(base)
    hidden = base.prefix(features, counts, 1)
    masks = Masks(torch.zeros(hidden.shape[:2], dtype=torch.bool), torch.zeros(3, 32, dtype=torch.bool))
    masks.time[0, 3:6] = True
    masks.channels[1, 7] = True
    by_hand = hidden.clone()
    by_hand[0, 3:6] = means(hidden, counts)[0, 0]
    by_hand[1, :, 7] = 0
    found = base.encode(hidden, counts, masks=masks, below=1)
    assert torch.equal(found, base.encode(by_hand, counts, below=1))
    assert not torch.equal(found, base.encode(hidden, counts, below=1))


def test_half_precision_matrices_come_close(folder: Path) -> None:
    """bfloat16 on a CPU computes what it does on a card; 8 bits of mantissa through three layers."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        made = backbone.load(folder, device="cpu", dtype=dtype)
        made.bare()
        attention.attach(made.model, attention.Config(4, seed=1))
        found.append(learnt(made))
    (exact, right), (rough, left) = found
    assert float((exact - rough.float()).norm()) < 0.03 * float(exact.norm())
    assert alike(left, right, 0.1) and all(one.dtype == torch.float32 for one in left.values())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_layers_are_whole_graphs(base: Backbone) -> None:
    """What compiling needs: no break of the graph, and the same numbers."""
    plain = learnt(base)
    base._compute = layers.compiled(backend="aot_eager", fullgraph=True)
    torch._dynamo.utils.counters.clear()
    compiled = learnt(base)
    # one for hidden states that need no gradient yet, one for all others: layers share what was compiled
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
    waves = tiny.padded(tiny.speech("ab"), tiny.speech("dab cabd", 1))
    base.encode(base.cnn(waves.waveforms, waves.sample_counts), waves.frame_counts)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2, "another batch is compiled anew"
    torch._dynamo.reset()
    assert tiny.close(compiled[0], plain[0]) and alike(compiled[1], plain[1])


def test_an_adapter_of_another_kind_is_asked_itself(base: Backbone) -> None:
    class Other(torch.nn.Module):
        """The same parts, used otherwise."""

        def __init__(self, like: torch.nn.Module) -> None:
            super().__init__()
            self.norm, self.linear_1, self.linear_2 = like.norm, like.linear_1, like.linear_2

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.linear_2(torch.tanh(self.linear_1(self.norm(hidden))))

    features, counts = batch(base)
    before = base.encode(features, counts)
    inside = [layers._inside(layer.adapter_layer) for layer in base.model.wav2vec2.encoder.layers]
    assert all(one is not None and len(one) == 6 for one in inside)
    for layer in base.model.wav2vec2.encoder.layers:
        layer.adapter_layer = Other(layer.adapter_layer)
        assert layers._inside(layer.adapter_layer) is None
    found = base.encode(features, counts)
    assert not torch.allclose(found, before, atol=1e-3)
    base._frozen = [SimpleNamespace(serves=lambda: False) for _ in base._frozen]  # type: ignore[misc]
    assert tiny.close(found.detach(), base.encode(features, counts).detach())
