"""Many adapters in one backbone, each row of a batch with its own, all trained by the same pass.

In: a backbone and the adapters of several languages. Out: one tensor of weights with a row a language, of
which each layer gathers what the batch's rows need; and AdamW over it, with a learning rate, a gradient norm
and a count of steps for each language. What one language learns does not touch another, not even where its
numbers are none. It does not know data or training.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mms_adapt import adamw
from mms_adapt.backbone import Backbone
from mms_adapt.errors import OptionError
from mms_adapt.folding import fold
from mms_adapt.packed import Narrow

PARTS = ("norm.weight", "norm.bias", "linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias")
_NEVER = -1e4  # added to the logit of a token that a language does not have; its probability is exactly 0
_EVEN = 64  # parts begin at multiples of so many weights, which is how cards read them fastest
_PREFIX, _HEAD = "wav2vec2.encoder.layers.", "lm_head."


class StackedAdapter(nn.Module):
    """One layer's adapters.

    Args:
        stack: Which language each row has.
        place: Which of the layers with adapters it is.
        weights: By name, `(languages, ...)`.
    """

    def __init__(self, stack: "Stack", place: int, weights: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.place = place
        self._stack = [stack]  # in a list, so that it is no part of the model
        self._weights = dict(weights)

    @property
    def rows(self) -> Tensor:
        """The language of each row of the batch, `(batch,)`."""
        return self._stack[0].rows

    def groups(self) -> list[int]:
        """Return the language of each row of the batch, numbered among those that are in the batch."""
        return self._stack[0].groups

    def folded(self, layers: "Sequence[StackedAdapter]") -> list[Narrow]:
        """Return the adapters of some layers, of the languages that are in the batch."""
        every = self._stack[0].folded(len(layers))
        return [every[one.place] for one in layers]

    def gathered(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return two matrices with their biases for each row of the batch.

        The norm's scale and shift go into the first of them: `(batch, size, hidden)`, `(batch, size)`,
        `(batch, hidden, size)`, `(batch, hidden)`.
        """
        scale, shift, first, first_bias, second, second_bias = (
            self._weights[name].index_select(0, self.rows) for name in PARTS
        )
        bias = first_bias + (first @ shift[..., None])[..., 0]
        return first * scale[:, None], bias, second, second_bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what is added to hidden states `(batch, frames, hidden)`, where a layer is left to stock."""
        first, bias, second, second_bias = (one.to(hidden.dtype) for one in self.gathered())
        normed = functional.layer_norm(hidden, hidden.shape[-1:]).to(hidden.dtype)
        narrow = torch.baddbmm(bias[:, None], normed, first.transpose(1, 2)).relu()
        return torch.baddbmm(second_bias[:, None], narrow, second.transpose(1, 2))


class Stack:
    """Adapters and heads of several languages in one backbone.

    Args:
        backbone: The backbone; its layers' adapters are replaced.
        languages: What is trained of each language, by name; all of MMS's kind, in the same layers.

    Attributes:
        rows: The language of each row of the batch, `(batch,)`; `choose` sets it before each pass.
        groups: The same, numbered among those that are in the batch.
        present: These, `(languages,)`; None where they are all.
        flat: All weights, `(languages, weights)`, with gaps of zeros.
        gradient: Their gradients, in the same shape.

    Raises:
        OptionError: If the adapters are of another kind.
    """

    def __init__(self, backbone: Backbone, languages: Sequence[Mapping[str, nn.Parameter]]) -> None:
        self._backbone, self._languages = backbone, list(languages)
        device = backbone.device
        self.sizes = [len(one[f"{_HEAD}bias"]) for one in languages]
        widest = max(self.sizes)
        shapes = {
            name: (widest, *one.shape[1:]) if name.startswith(_HEAD) else tuple(one.shape)
            for name, one in languages[0].items()
        }
        others = [name for name in shapes if not name.startswith((_PREFIX, _HEAD))]
        if others or any(".adapter_layer." not in name for name in shapes if name.startswith(_PREFIX)):
            raise OptionError("many languages at once are trained with adapters of the kind attention")
        self._lay(shapes)
        with torch.no_grad():
            for place, one in enumerate(languages):
                for name, parameter in one.items():
                    self._row(name, place).copy_(parameter)
        never = [[0.0] * size + [_NEVER] * (widest - size) for size in self.sizes]
        self._never = torch.tensor(never, device=device)  # `(languages, vocab)`
        self._attach()
        self.choose([0])

    def _lay(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give every tensor its place: a part of an adapter beside the same part of other layers."""
        count, start, steps = len(self._languages), 0, _EVEN
        self._spans: dict[str, tuple[int, int]] = {}
        for kind in (*PARTS, ""):  # the rest is the head's
            for name, shape in shapes.items():
                if name.endswith(f".adapter_layer.{kind}") if kind else name.startswith(_HEAD):
                    self._spans[name] = start, start + torch.Size(shape).numel()
                    start = self._spans[name][1]
            start = -(-start // steps) * steps
        self.flat = torch.zeros(count, start, device=self._backbone.device)
        self.gradient = torch.zeros_like(self.flat)
        self._parameters: dict[str, nn.Parameter] = {}
        for name, shape in shapes.items():
            begin, end = self._spans[name]
            parameter = nn.Parameter(self.flat[:, begin:end].view(count, *shape))
            parameter.grad = self.gradient[:, begin:end].view(count, *shape)
            self._parameters[name] = parameter

    def _parts(self, whole: Tensor) -> tuple[Tensor, ...]:
        """Return each part of the adapters, `(languages, layers, ...)`, in the order of `PARTS`."""
        found = []
        for kind in PARTS:
            names = [name for name in self._spans if name.endswith(f".adapter_layer.{kind}")]
            begin, end = self._spans[names[0]][0], self._spans[names[-1]][1]
            shape = self._parameters[names[0]].shape[1:]
            found.append(whole[:, begin:end].view(len(whole), len(names), *shape))
        return tuple(found)

    def folded(self, count: int) -> list[Narrow]:
        """Return the adapters of every layer that has some, of the languages that are in the batch.

        Args:
            count: How many of the layers will be used.
        """
        anchor, kind = next(iter(self._parameters.values())), self._backbone.dtype
        parts, gradients = self._parts(self.flat), self._parts(self.gradient)
        return fold(anchor, parts, gradients, self.present, kind, whole=count == parts[0].shape[1])

    def ordered(self, whole: Tensor) -> Tensor:
        """Return a tensor like `flat` in the order of the names and without gaps, for the disk."""
        return torch.cat([whole[:, begin:end] for begin, end in self._in_order()], dim=1)

    def put_ordered(self, whole: Tensor, kept: Tensor) -> None:
        """Copy what `ordered` gave into a tensor like `flat`."""
        start = 0
        for begin, end in self._in_order():
            whole[:, begin:end] = kept[:, start : start + end - begin]
            start += end - begin

    def _in_order(self) -> list[tuple[int, int]]:
        return [self._spans[name] for name in self._parameters]

    def choose(self, rows: Sequence[int]) -> None:
        """Say which language each row of the next batch has."""
        device = self._backbone.device
        self.rows = torch.tensor(rows).to(device, non_blocking=True)
        found = sorted(set(rows))
        numbers = {place: number for number, place in enumerate(found)}
        self.groups = [numbers[one] for one in rows]
        whole = len(found) == len(self.sizes)
        self.present = None if whole else torch.tensor(found).to(device, non_blocking=True)

    def _attach(self) -> None:
        """Put them into the layers; the head stays outside."""
        place = 0
        for number, layer in enumerate(self._backbone.model.wav2vec2.encoder.layers):
            begins = f"{_PREFIX}{number}.adapter_layer."
            weights = {
                name.removeprefix(begins): one
                for name, one in self._parameters.items()
                if name.startswith(begins)
            }
            if weights:
                layer.adapter_layer = StackedAdapter(self, place, weights)
                place += 1

    def _row(self, name: str, place: int) -> Tensor:
        """Return one language's part of a tensor."""
        found = self._parameters[name].detach()[place]
        return found[: self.sizes[place]] if name.startswith(_HEAD) else found

    def forget(self) -> None:
        """Set gradients to zero."""
        self.gradient.zero_()

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits `(batch, frames, vocab)` of hidden states `(batch, frames, hidden)`, in float32.

        Tokens behind the end of a language's own have a probability of zero.
        """
        weight, bias = (self._parameters[f"{_HEAD}{name}"][self.rows] for name in ("weight", "bias"))
        bias = (bias + self._never[self.rows])[:, None]
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.baddbmm(bias, hidden.float(), weight.transpose(1, 2))

    def put_into(self, place: int) -> None:
        """Copy one language's weights into its own parameters."""
        with torch.no_grad():
            for name, parameter in self._languages[place].items():
                parameter.copy_(self._row(name, place))

    def gradients(self, place: int) -> dict[str, Tensor]:
        """Return one language's gradients by name."""
        return {
            name: one.grad[place][: self.sizes[place]] if name.startswith(_HEAD) else one.grad[place]
            for name, one in self._parameters.items()
            if one.grad is not None
        }

    def view(self, place: int) -> "One":
        """Return one language's adapter in the backbone."""
        return One(self, self._backbone, place)


class One:
    """One of the languages, to be asked as a backbone with an adapter is."""

    def __init__(self, stack: Stack, backbone: Backbone, place: int) -> None:
        self._stack, self._backbone, self._place = stack, backbone, place

    def encode(self, features: Tensor, frame_counts: Tensor, *, below: int | None = None) -> Tensor:
        """Return hidden states `(batch, frames, hidden)`, as `Backbone.encode` does."""
        self._stack.choose([self._place] * len(features))
        return self._backbone.encode(features, frame_counts, below=below)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits `(batch, frames, vocab)` of the language's own tokens."""
        return self._stack.logits(hidden)[..., : self._stack.sizes[self._place]]


class RowwiseAdamW:
    """AdamW over a stack, each language as if it were alone.

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.

    Args:
        stack: What is trained.
        weight_decay: Pull towards zero.
        max_norm: A language's longer gradient is shortened to this.
    """

    def __init__(self, stack: Stack, *, weight_decay: float, max_norm: float) -> None:
        self._stack, self._decay, self._most = stack, weight_decay, max_norm
        self.mean, self.square = torch.zeros_like(stack.flat), torch.zeros_like(stack.flat)
        self.counts = torch.zeros(len(stack.flat), device=stack.flat.device)

    def state(self) -> dict[str, Tensor]:
        """Return what later steps depend on, on the CPU."""
        held = {"flat": self._stack.flat, "mean": self.mean, "square": self.square}
        kept = {name: self._stack.ordered(one.detach().cpu()) for name, one in held.items()}
        return {**kept, "counts": self.counts.cpu().clone()}

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state."""
        for name, one in (("flat", self._stack.flat), ("mean", self.mean), ("square", self.square)):
            self._stack.put_ordered(one, state[name])
        self.counts.copy_(state["counts"])

    @torch.no_grad()
    def step(self, rates: Tensor, losses: Tensor, taking_part: Tensor) -> Tensor:
        """Change the weights of the languages that take part and whose numbers are finite.

        Args:
            rates: Learning rates, `(languages,)`.
            losses: Losses, `(languages,)`.
            taking_part: Which languages were in the batch, bool `(languages,)`.

        Returns:
            Which languages learnt something, bool `(languages,)`.
        """
        gradient, (beta_1, beta_2) = self._stack.gradient, adamw.BETAS
        norms = adamw.norms(gradient)
        good = taking_part & torch.isfinite(norms) & torch.isfinite(losses)
        self.counts += good
        counts = torch.clamp(self.counts, min=1.0).double()
        factors = adamw.Factors(
            good.float(),
            torch.where(good, torch.clamp(self._most / (norms + 1e-6), max=1.0), 1.0),
            1 - rates * self._decay,
            (rates.double() / (1 - beta_1**counts)).float(),
            torch.sqrt(1 - beta_2**counts).float(),
        )
        adamw.update(self._stack.flat, gradient, self.mean, self.square, factors)
        return good
