"""Large matrices as 8-bit integers on a CPU: a quarter of the memory, and quicker where the processor can.

In: a model whose weights are frozen. Out: the same model with its encoder's linear layers replaced. It knows
neither adapters nor heads: those stay in float32, for there is little of them and much hangs on them.

Weights are rounded once, each row with a scale of its own; hidden states at every call, each frame with a
scale of its own. So a frame's result does not depend on the frames or utterances beside it, and a batch still
equals one by one. Products are summed in 32-bit integers, without rounding.

Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 2, with symmetric ranges and dynamic activations.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt.errors import OptionError

_LARGEST = 127.0


class Int8Linear(nn.Module):
    """A linear layer that multiplies 8-bit integers.

    Args:
        linear: The layer in float32.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            rows = linear.weight.detach().float()  # `(out, in)`
            scale = _scale(rows)
            self.register_buffer("weight", _rounded(rows, scale).t())  # `(in, out)`
            self.register_buffer("scale", scale.t().contiguous())  # `(1, out)`
            bias = getattr(linear, "bias", None)
            self.register_buffer("bias", None if bias is None else bias.detach().float().clone())
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, hidden: Tensor) -> Tensor:
        """Return `(batch, frames, out)` from `(batch, frames, in)`."""
        rows = hidden.reshape(-1, self.in_features).float()  # `(batch * frames, in)`
        if not len(rows):
            return hidden.new_zeros(*hidden.shape[:-1], self.out_features)
        scale = _scale(rows)  # `(batch * frames, 1)`
        found = torch._int_mm(_rounded(rows, scale), self.weight).float()
        found.mul_(scale).mul_(self.scale)
        if self.bias is not None:
            found += self.bias
        return found.view(*hidden.shape[:-1], self.out_features)


def encoder(model: Any) -> int:
    """Replace the linear layers of a model's attention and feed-forward blocks; adapters stay.

    Args:
        model: A stock Wav2Vec2ForCTC on a CPU, in float32.

    Returns:
        How many layers were replaced.

    Raises:
        OptionError: If the model is not on a CPU in float32, or still learns.
    """
    parts = [
        part for layer in model.wav2vec2.encoder.layers for part in (layer.attention, layer.feed_forward)
    ]
    found = [
        (parent, name, child)
        for part in parts
        for parent in part.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
    for _, _, child in found:
        weight = child.weight
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            raise OptionError(
                f"quantise='int8' is for float32 on a CPU, and the model is {weight.dtype} on "
                f"{weight.device.type}: leave it out, or give device='cpu'"
            )
        if weight.requires_grad:
            raise OptionError("quantise='int8' is for a model that learns nothing any more")
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)


def _scale(rows: Tensor) -> Tensor:
    """Return what one step of each row is worth, `(rows, 1)`."""
    return rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / _LARGEST


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return (rows / scale).round_().to(torch.int8)
