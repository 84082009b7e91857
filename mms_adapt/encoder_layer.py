"""One layer of the frozen encoder, with places where a row's own adapter can change something.

In: a stock layer and hidden states. Out: hidden states. The places are the layer's submodules by their names
there (`attention.q_proj`, `attention`, `feed_forward.intermediate_dense`, ...) and "" for the whole layer. It
does not know adapters: what changes a place is given with every call, so that callers share the layers.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mms_adapt.packed import Narrow


class Adapt(Protocol):
    """What changes the places of a layer, for the rows of one batch."""

    inside: bool
    """Whether it changes other places than the whole layer's output."""

    def __call__(self, place: str, layer: int, given: Tensor, found: Tensor) -> Tensor:
        """Return what a place gives instead of what was found there, all `(batch, frames, channels)`."""
        ...

    def narrow(self, layer_count: int) -> "tuple[list[Narrow | None], Sequence[int] | None] | None":
        """Return each layer's adapters as `packed` takes them, and the adapter of each row.

        Returns:
            None where something else is changed too; no adapters of rows where all rows have the same.
        """
        ...


def run(layer: Any, number: int, hidden: Tensor, attention: Tensor | None, adapt: Adapt) -> Tensor:
    """Return what a layer makes of hidden states `(batch, frames, hidden)`, adapted.

    Args:
        layer: A stock layer without an adapter of its own.
        number: Its place in the encoder.
        hidden: What goes in.
        attention: Which frames are attended to, bool `(batch, 1, frames, frames)`; all where None.
        adapt: What changes its places.
    """
    if not adapt.inside:
        plain: Tensor = layer(hidden, attention_mask=attention)
        return adapt("", number, hidden, plain)

    def at(place: str, module: Any, given: Tensor) -> Tensor:
        return adapt(place, number, given, module(given))

    normed = layer.layer_norm(hidden)
    heard = _attend(layer.attention, normed, attention, at)
    residual = hidden + adapt("attention", number, normed, heard)
    normed = layer.final_layer_norm(residual)
    forward = layer.feed_forward
    inner = at("feed_forward.intermediate_dense", forward.intermediate_dense, normed)
    outer = at("feed_forward.output_dense", forward.output_dense, forward.intermediate_act_fn(inner))
    found = residual + adapt("feed_forward", number, normed, outer)
    return adapt("", number, hidden, found)


def _attend(module: Any, hidden: Tensor, attention: Tensor | None, at: Any) -> Tensor:
    """Return what the attention makes of normed hidden states `(batch, frames, hidden)`."""
    batch, frames, size = hidden.shape
    query, key, value = (
        # `(batch, frames, hidden)` to `(batch, heads, frames, hidden / heads)`
        at(f"attention.{name}", getattr(module, name), hidden)
        .view(batch, frames, module.num_heads, -1)
        .transpose(1, 2)
        for name in ("q_proj", "k_proj", "v_proj")
    )
    heads = scaled_dot_product_attention(query, key, value, attn_mask=attention, scale=module.scaling)
    joined = heads.transpose(1, 2).reshape(batch, frames, size)
    found: Tensor = at("attention.out_proj", module.out_proj, joined)
    return found
