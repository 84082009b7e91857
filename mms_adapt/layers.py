"""The arithmetic of the encoder's layers while their matrices are frozen.

In: stock layers with their weights, and hidden states. Out: what the layers themselves give, to rounding. It
does not know models, adapters' files or training.

Three things are done otherwise than in the stock modules. Query, key and value come of one matrix product,
forwards and backwards. Everything is computed in the type of the matrices: under autocast, each layer norm
takes its input to float32 and back, which moves five times as many bytes, and in a frozen layer moving bytes
takes as long as the products do. And a layer is a plain function of tensors, which can be computed again in
the backward pass, or compiled as a whole.

A layer of which a part was replaced or is trained is left to the stock module.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mms_adapt import packed
from mms_adapt.errors import OptionError
from mms_adapt.packed import Layer, Narrow, Packing
from mms_adapt.products import Float8, Plain

Weights = tuple[Tensor, ...]
Core = Callable[..., Tensor]
_MMS_KIND = {  # by name, since both stand above this module
    "mms_adapt.adapters.attention.AttentionAdapter",
    "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2AttnAdapterLayer",
}
_FLOAT8_SINCE, _FLOAT8_MULTIPLE = (8, 9), 16
_MATRICES = ("q_proj", "k_proj", "v_proj", "out_proj")


class FrozenLayer:
    """One layer of the stock encoder.

    The three matrices of its attention become views of one, so that no memory is taken twice.

    Args:
        layer: The stock layer, with layer norms before its blocks.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        attention, forward = layer.attention, layer.feed_forward
        self._parts = [
            *((attention, name, getattr(attention, name)) for name in _MATRICES),
            *((forward, name, getattr(forward, name)) for name in ("intermediate_dense", "output_dense")),
            *((layer, name, getattr(layer, name)) for name in ("layer_norm", "final_layer_norm")),
            *((layer, name, getattr(layer, name)) for name in ("attention", "feed_forward")),
        ]
        # asked before every pass, and a module's own way to its parts takes longer than all the rest
        self._places = [(owner._modules, name, part) for owner, name, part in self._parts]
        self._learning = [part._parameters for _, _, part in self._parts[:8]]
        self.dtype: torch.dtype = attention.q_proj.weight.dtype
        self._heads, self._scale = int(attention.num_heads), float(attention.scaling)
        self._even = abs(self._scale * (attention.head_dim**0.5) - 1) < 1e-6
        self._usual = attention.config.hidden_act == "gelu"
        self._eps = float(layer.layer_norm.eps)
        projections = [getattr(attention, name) for name in _MATRICES[:3]]
        joined = torch.cat([one.weight.detach() for one in projections])  # `(3 * hidden, hidden)`
        for one, weight in zip(projections, joined.chunk(3), strict=True):
            one.weight = nn.Parameter(weight, requires_grad=one.weight.requires_grad)
        self._joined = joined
        self._weights: Weights | None = None
        self._matrix: type[Plain] | type[Float8] = Plain
        self._layer_of: tuple[Weights, Layer] | None = None

    def serves(self) -> bool:
        """Tell whether every part is the one that was loaded, and frozen."""
        frozen = (
            self._usual
            and all(there[name] is part for there, name, part in self._places)
            and not any(one.requires_grad for part in self._learning for one in part.values())
        )
        if not frozen:
            self._weights = self._layer_of = None  # what is trained may change
        return frozen

    def weights(self) -> Weights:
        """Return norms and matrices with their biases, in the type of the matrices."""
        if self._weights is None:
            attention, forward, layer = self._layer.attention, self._layer.feed_forward, self._layer
            with torch.inference_mode(False), torch.no_grad():
                bias = torch.cat([getattr(attention, name).bias.detach() for name in _MATRICES[:3]])
                found = (
                    layer.layer_norm.weight,
                    layer.layer_norm.bias,
                    self._joined,
                    bias,
                    attention.out_proj.weight,
                    attention.out_proj.bias,
                    layer.final_layer_norm.weight,
                    layer.final_layer_norm.bias,
                    forward.intermediate_dense.weight,
                    forward.intermediate_dense.bias,
                    forward.output_dense.weight,
                    forward.output_dense.bias,
                )
                self._weights = tuple(one.detach().to(self.dtype) for one in found)
        return self._weights

    def packs(self) -> bool:
        """Tell whether `packed` can compute it: it is frozen but for an adapter of MMS's kind, if any."""
        return self.serves() and self._even and (self.adapter() is None or self._mms_kind())

    def _mms_kind(self) -> bool:
        adapter = self._layer.adapter_layer
        return hasattr(adapter, "gathered") or _inside(adapter) is not None

    def adapter(self) -> Any:
        """Return the adapter of the layer; None where it has none, or one that does nothing."""
        adapter = self._layer.adapter_layer
        return adapter if getattr(adapter, "present", True) else None

    def packed(self, hidden: Tensor, packing: Packing, adapter: Narrow | None) -> Tensor:
        """Return hidden states `(frames, hidden)` behind the layer; see `packed.run`."""
        return packed.run(hidden, packing, self.ready(), adapter, self._heads, self._eps)

    def ready(self) -> Layer:
        """Return norms and matrices as `packed` takes them."""
        weights = self.weights()
        if self._layer_of is None or self._layer_of[0] is not weights:
            gain, shift, joined, bias, out, out_bias, gain_2, shift_2, up, up_bias, down, down_bias = weights
            with torch.inference_mode(False), torch.no_grad():
                matrices = [self._matrix(one) for one in (joined, out, up, down)]
            norms, biases = (gain, shift, gain_2, shift_2), (bias, out_bias, up_bias, down_bias)
            self._layer_of = weights, Layer(norms, biases, *matrices)
        return self._layer_of[1]

    def even_to(self, multiple: int) -> bool:
        """Tell whether the sides of all matrices are multiples of so much."""
        return not any(side % multiple for one in self.weights() if one.ndim == 2 for side in one.shape)

    def quantise(self) -> None:
        """Multiply 8-bit floats from now on, where `packed` computes the layer."""
        self._matrix, self._layer_of = Float8, None

    def __call__(self, hidden: Tensor, attention: Tensor | None, core: Core) -> Tensor:
        """Return hidden states `(batch, frames, hidden)` behind the layer, its adapter included.

        Args:
            hidden: Hidden states before it, in the type of the matrices.
            attention: What is added to the products of queries and keys, `(batch, 1, frames, frames)`.
            core: `compute`, or `compute` compiled.
        """
        adapter = self.adapter()
        if adapter is None:
            return core(hidden, attention, self.weights(), None, self._heads, self._scale, self._eps)
        inside = _inside(adapter)
        found = core(hidden, attention, self.weights(), inside, self._heads, self._scale, self._eps)
        if inside is not None:
            return found
        with torch.autocast(found.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            more: Tensor = adapter(found)
        return found + more.to(found.dtype)


def compute(
    hidden: Tensor,
    attention: Tensor | None,
    weights: Weights,
    adapter: Weights | None,
    heads: int,
    scale: float,
    eps: float,
) -> Tensor:
    """Compute a layer as a function of tensors alone, so that compiled once it serves all layers.

    Args:
        hidden: Hidden states before it, `(batch, frames, hidden)`.
        attention: What is added to the products of queries and keys, `(batch, 1, frames, frames)`.
        weights: What `FrozenLayer.weights` gave.
        adapter: Norm and two matrices with their biases, or, for each row its own, two matrices alone that
            have the norm's scale and shift in them; None for no adapter.
        heads: Heads of the attention.
        scale: Factor of its products.
        eps: What the norms add to a variance.
    """
    batch, frames, size = hidden.shape
    norm_1, bias_1, joined, joined_bias, out, out_bias = weights[:6]
    norm_2, bias_2, up, up_bias, down, down_bias = weights[6:]
    normed = functional.layer_norm(hidden, (size,), norm_1, bias_1, eps)
    # `(batch, frames, 3 * hidden)` to three of `(batch, heads, frames, hidden / heads)`
    three = functional.linear(normed, joined, joined_bias).view(batch, frames, 3, heads, -1)
    query, key, value = three.permute(2, 0, 3, 1, 4).unbind(0)
    seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention, scale=scale)
    # `(batch, heads, frames, hidden / heads)` to `(batch, frames, hidden)`
    joint = seen.transpose(1, 2).reshape(batch, frames, size)
    hidden = hidden + functional.linear(joint, out, out_bias)
    normed = functional.layer_norm(hidden, (size,), norm_2, bias_2, eps)
    wide = functional.gelu(functional.linear(normed, up, up_bias))
    hidden = hidden + functional.linear(wide, down, down_bias)
    if adapter is None:
        return hidden
    kind = hidden.dtype
    if len(adapter) == 4:
        first, first_bias, second, second_bias = (one.to(kind) for one in adapter)
        normed = functional.layer_norm(hidden, (size,))
        narrow = torch.baddbmm(first_bias[:, None], normed, first.transpose(1, 2)).relu()
        return hidden + torch.baddbmm(second_bias[:, None], narrow, second.transpose(1, 2))
    norm, shift, first, first_bias, second, second_bias = (one.to(kind) for one in adapter)
    narrow = functional.relu(
        functional.linear(functional.layer_norm(hidden, (size,), norm, shift), first, first_bias)
    )
    return hidden + functional.linear(narrow, second, second_bias)


def compiled(**options: Any) -> Core:
    """Return `compute` compiled, for any number of rows and frames; everything else is fixed.

    Args:
        options: Further ones of `torch.compile`.
    """
    core: Core = torch.compile(compute, **options)

    def call(hidden: Tensor, attention: Tensor | None, *rest: Any) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(hidden, (0, 1))
        if attention is not None:
            torch._dynamo.maybe_mark_dynamic(attention, (0, 2, 3))
        return core(hidden, attention, *rest)

    return call


def _inside(adapter: Any) -> Weights | None:
    """Return the weights of an adapter of MMS's kind as `compute` takes them; None for another kind."""
    if hasattr(adapter, "gathered"):
        return tuple(adapter.gathered())
    kind = type(adapter)
    if f"{kind.__module__}.{kind.__name__}" not in _MMS_KIND or "forward" in vars(adapter):
        return None
    return _tensors(adapter)


def _tensors(adapter: Any) -> Weights:
    parts = [adapter._modules[name]._parameters for name in ("norm", "linear_1", "linear_2")]
    return tuple(part[name] for part in parts for name in ("weight", "bias"))


def folded(frozen: Sequence[FrozenLayer]) -> tuple[list[Narrow | None], Sequence[int] | None]:
    """Return the adapters of layers as `FrozenLayer.packed` takes them, all folded at once.

    Returns:
        Those of each layer; and the adapter of each row, where rows have adapters of their own.
    """
    adapters = [one.adapter() for one in frozen]
    some = [one for one in adapters if one is not None]
    groups: Sequence[int] | None = None
    if some and hasattr(some[0], "gathered"):
        groups = some[0].groups()
        ready = iter(some[0].folded(some))
    else:
        ready = iter(packed.fold([_tensors(one) for one in some]) if some else ())
    return [None if one is None else next(ready) for one in adapters], groups


def to_float8(frozen: Sequence[FrozenLayer | None], device: torch.device) -> None:
    """Let packed layers multiply 8-bit floats.

    Args:
        frozen: The layers; None among them where one is not packed.
        device: Where they are.

    Raises:
        OptionError: If the device has no 8-bit floats, or the layers are not of a size for them.
    """
    if None in frozen or torch.cuda.get_device_capability(device) < _FLOAT8_SINCE:
        raise OptionError(
            "quantise='fp8' is for bfloat16 on a card with 8-bit floats (compute capability "
            f"{_FLOAT8_SINCE[0]}.{_FLOAT8_SINCE[1]} and above), not compiled: leave it out"
        )
    whole = [one for one in frozen if one is not None]
    if not all(one.even_to(_FLOAT8_MULTIPLE) for one in whole):
        raise OptionError(
            f"quantise='fp8' needs layers of a multiple of {_FLOAT8_MULTIPLE} channels: leave it out"
        )
    for one in whole:
        one.quantise()


def again(layer: Any, hidden: Tensor, *rest: Any) -> Tensor:
    """Compute a layer, keeping its input alone; the backward pass computes the rest again."""
    found: Tensor = checkpoint(layer, hidden, *rest, use_reentrant=False, preserve_rng_state=False)
    return found


def added(seen: Tensor, frames: int, dtype: torch.dtype) -> Tensor:
    """Return what hides keys from every query, to be added, `(batch, 1, frames, frames)`.

    Args:
        seen: Which frames may be looked at, bool `(batch, frames)`.
        frames: Frames of the batch.
        dtype: Type of the queries.
    """
    values = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))
    return values[:, None, None].expand(-1, 1, frames, -1)
