"""Large matrices as 8-bit integers on a CPU: a quarter of the memory, and quicker where the processor can.

In: a model whose weights are frozen. Out: the same model with its encoder's linear layers replaced. It knows
neither adapters nor heads: those stay in float32, for there is little of them and much hangs on them.

Weights are rounded once, each row with a scale of its own; hidden states at every call, each frame with a
scale of its own. So a frame's result does not depend on the frames or utterances beside it, and a batch still
equals one by one. Products are summed in 32-bit integers, without rounding.

On x86 processors oneDNN multiplies, which comes with torch; on others `torch._int_mm`, which is many times
slower than float32 where the processor has no instruction for products of 8-bit integers. Without that
instruction (VNNI) oneDNN adds pairs of products in 16 bits, so hidden states are then rounded to 7 bits, lest
these sums overflow; weights always have 8.

Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", CVPR 2018, section 2, with symmetric ranges and dynamic activations.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt.errors import OptionError

_LARGEST, _LARGEST_IN_PAIRS = 127.0, 63.0


class Int8Linear(nn.Module):
    """A linear layer that multiplies 8-bit integers.

    Args:
        linear: The layer in float32.
    """

    scale: Tensor
    bias: Tensor | None
    weight: Tensor
    zeros: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            rows = linear.weight.detach().float()  # `(out, in)`
            scale = _scale(rows, _LARGEST)
            self.register_buffer("scale", scale.t().contiguous())  # `(1, out)`
            weight = _rounded(rows, scale)
            self._onednn = has_onednn()
            weight = torch.ops.onednn.qlinear_prepack(weight, None) if self._onednn else weight.t()
            self.register_buffer("weight", weight)  # `(in, out)`
            self.register_buffer("zeros", torch.zeros(len(rows), dtype=torch.int32))
            bias = getattr(linear, "bias", None)
            self.register_buffer("bias", None if bias is None else bias.detach().float().clone())
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._largest = largest()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return `(batch, frames, out)` from `(batch, frames, in)`."""
        rows = hidden.reshape(-1, self.in_features).float()  # `(batch * frames, in)`
        if not len(rows):
            return hidden.new_zeros(*hidden.shape[:-1], self.out_features)
        scale = _scale(rows, self._largest)  # `(batch * frames, 1)`
        if self._onednn:
            found = self._by_onednn(rows / scale)
        else:
            found = torch._int_mm(_rounded(rows, scale), self.weight).float().mul_(self.scale)
        found.mul_(scale)
        if self.bias is not None:
            found += self.bias
        return found.view(*hidden.shape[:-1], self.out_features)

    def _by_onednn(self, steps: Tensor) -> Tensor:
        """Return the products `(rows, out)` of hidden states in steps `(rows, in)`, not yet scaled by row."""
        zero = int(self._largest) + 1
        unsigned = steps.round_().add_(zero).to(torch.uint8)
        weight = self.weight, self.scale.view(-1), self.zeros
        into = None, 1.0, 0, torch.float32  # no bias; what comes out is not rounded again
        found = torch.ops.onednn.qlinear_pointwise(unsigned, 1.0, zero, *weight, *into, "none", [], "")
        return torch.as_tensor(found)


def has_onednn() -> bool:
    """Tell whether oneDNN multiplies integers here."""
    return "onednn" in torch.backends.quantized.supported_engines


def largest() -> float:
    """Return the largest integer that a hidden state is rounded to."""
    in_pairs = has_onednn() and not torch.cpu._is_vnni_supported()
    return _LARGEST_IN_PAIRS if in_pairs else _LARGEST


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


def _scale(rows: Tensor, most: float) -> Tensor:
    """Return what one step of each row is worth, `(rows, 1)`."""
    return rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / most


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return (rows / scale).round_().to(torch.int8)
