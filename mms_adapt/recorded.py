"""Frozen layers recorded once for a shape and played again, where a card would wait for Python.

In: layers that `packed` computes, with one adapter for all rows, and frames side by side. Out: what the
layers themselves give, and the same gradients. It does not know models, batches or training.

A layer is some twenty kernels forwards and backwards. With a few seconds of speech the card is done with each
of them before the next one is asked for, so that a step takes as long with 16 s of speech as with 160. A CUDA
graph asks for all of them at once. It has fixed shapes and addresses, so frames are filled up to one of a few
counts: what is filled in is one more row, which looks at itself alone, and from which no gradient comes.

Recordings share their memory. What one kept for its backward pass is lost when the next one is played, which
is noticed: backward raises then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from mms_adapt.errors import TrainingError
from mms_adapt.layers import FrozenLayer
from mms_adapt.packed import Narrow, Packing

MOST_FRAMES = 8192  # of a batch; with more, a card has enough to do
_PLAIN_TIMES = 2  # a shape is computed as usual so often before it is recorded
_MOST_SHAPES = 32
_STEP, _ROWS, _LONGEST = 64, 16, 512  # the least that a shape has room for
_KEPT = 12  # of a layer, in multiples of its input, at most


@dataclass(frozen=True)
class Shape:
    """What recordings are kept by.

    Attributes:
        frames: Frames, those that are filled in included.
        rows: Rows at most, the one that is filled in included.
        longest: Frames of a row at most.
        learnt: Whether gradients of the adapters are asked for.
    """

    frames: int
    rows: int
    longest: int
    learnt: bool

    @classmethod
    def of(cls, packing: Packing, learnt: bool) -> "Shape":
        """Return the smallest shape that has room for a batch; at most an eighth of it is filled in."""
        step = max(_STEP, (1 << packing.count.bit_length()) // 16)
        frames = -(-packing.count // step) * step
        rows = max(_ROWS, 1 << len(packing.ends).bit_length())
        longest = max(_LONGEST, 1 << (max(packing.longest, step) - 1).bit_length())
        return cls(frames, rows, longest, learnt)


class Slots(Packing):
    """Room for rows that come later.

    Args:
        shape: How much room.
        device: Where the batches lie.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        super().__init__(torch.tensor([shape.frames]), shape.frames, device)
        self.shape, self.longest = shape, shape.longest
        self.borders = torch.zeros(shape.rows + 1, dtype=torch.int32, device=device)

    def take(self, packing: Packing) -> None:
        """Stand for these rows, and behind them one of what is filled in, then rows of nothing."""
        self.ends = [*packing.ends, *[self.shape.frames] * (self.shape.rows + 1 - len(packing.ends))]
        self.borders.copy_(torch.tensor(self.ends, dtype=torch.int32), non_blocking=True)


@dataclass
class _Tape:
    """Layers at fixed addresses.

    Attributes:
        slots: Where rows begin and end.
        flat: What goes in, `(frames, hidden)`.
        inside: The adapters' tensors, each of all layers.
        found: What came out, `(frames, hidden)`.
        gradient: The gradient of that.
        gradients: Of the adapters' tensors.
        forward: Computes `found`.
        backward: Computes `gradients`.
    """

    slots: Slots
    flat: Tensor
    inside: list[Tensor]
    found: Tensor
    gradient: Tensor | None = None
    gradients: list[Tensor] = field(default_factory=list)
    forward: Callable[[], object] = lambda: None
    backward: Callable[[], object] = lambda: None


class Player:
    """Keeps recordings of a backbone's layers, and plays the one that fits.

    Args:
        graphs: Whether to record CUDA graphs; otherwise all is computed anew at the fixed addresses, which
            only tests have a use for.

    Attributes:
        turn: How many times something was played.
        most_frames: Batches of more are computed as usual; 0 where it was given up.
    """

    def __init__(self, graphs: bool = True) -> None:
        self._graphs = graphs
        self._tapes: dict[Shape, _Tape] = {}
        self._seen: dict[Shape, int] = {}
        self._made_of: list[Any] = []
        self._pool: Any = None
        self._stream: Any = None
        self.turn = 0
        self.most_frames = MOST_FRAMES

    def play(
        self, frozen: Sequence[FrozenLayer], flat: Tensor, packing: Packing, adapters: Sequence[Narrow | None]
    ) -> Tensor | None:
        """Return hidden states `(frames, hidden)` behind layers; None where they are to be computed as usual.

        Args:
            frozen: The layers.
            flat: What goes in.
            packing: Where rows begin and end.
            adapters: What each layer has; one for all rows.
        """
        there = [one for one in adapters if one is not None]
        learnt = torch.is_grad_enabled() and any(one.inward.requires_grad for one in there)
        fits = 0 < packing.count <= self.most_frames
        if not there or not fits or flat.requires_grad or torch.is_inference_mode_enabled():
            return None
        made_of = [one.ready() for one in frozen]
        if len(made_of) != len(self._made_of) or any(
            one is not other for one, other in zip(made_of, self._made_of, strict=True)
        ):
            self.forget()
            self._made_of = made_of
        shape = Shape.of(packing, learnt)
        inside = [
            torch.stack(same) for same in zip(*((n.inward, n.inner, n.outward) for n in there), strict=True)
        ]
        tape = self._tapes.get(shape) or self._recorded(shape, frozen, flat, packing, inside, adapters)
        if tape is None:
            return None
        found: Tensor = _Play.apply(self, tape, packing, flat, *inside)  # type: ignore[no-untyped-call]
        return found

    def forget(self) -> None:
        """Let go of all recordings and their memory."""
        self._tapes.clear()
        self._seen.clear()
        self._made_of, self._pool = [], None

    def give_up(self) -> bool:
        """Record no more and let go of all there is; tell whether there was something."""
        held = bool(self._tapes)
        self.forget()
        self.most_frames = 0
        return held

    def _recorded(
        self,
        shape: Shape,
        frozen: Sequence[FrozenLayer],
        flat: Tensor,
        packing: Packing,
        inside: list[Tensor],
        adapters: Sequence[Narrow | None],
    ) -> _Tape | None:
        """Record a shape that was met often enough; None where it was not, or where there is no room."""
        self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._seen[shape] <= _PLAIN_TIMES or len(self._tapes) >= _MOST_SHAPES:
            return None
        if self._graphs and not _has_room(flat, shape, len(inside[0])):
            return None
        tape = _Tape(
            Slots(shape, flat.device),
            flat.new_zeros(shape.frames, flat.shape[1]),
            [one.detach().clone().requires_grad_(shape.learnt) for one in inside],
            flat.new_empty(0),
        )
        tape.slots.take(packing)
        has_one = [one is not None for one in adapters]

        def forwards() -> Tensor:
            ready = iter([Narrow(*one) for one in zip(*tape.inside, strict=True)])
            found = tape.flat
            for layer, has in zip(frozen, has_one, strict=True):
                found = layer.packed(found, tape.slots, next(ready) if has else None)
            return found

        try:
            with torch.set_grad_enabled(shape.learnt):
                (self._record if self._graphs else _anew)(tape, forwards)
        except torch.OutOfMemoryError:
            self.give_up()
            return None
        except RuntimeError as error:
            raise TrainingError(
                f"the layers cannot be recorded here, so train with record=false: {error}"
            ) from error
        self._tapes[shape] = tape
        return tape

    def _record(self, tape: _Tape, forwards: Callable[[], Tensor]) -> None:
        """Record both passes as graphs, after one try that lets libraries get ready."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(tape.flat.device)  # type: ignore[no-untyped-call]
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        learnt = tape.slots.shape.learnt
        here = torch.cuda.current_stream(tape.flat.device)
        tape.gradient = torch.zeros_like(tape.flat) if learnt else None
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            found = forwards()
            if learnt:
                torch.autograd.grad(found, tape.inside, tape.gradient)
            del found
        here.wait_stream(self._stream)
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        how: dict[str, Any] = {
            "pool": self._pool,
            "stream": self._stream,
            "capture_error_mode": "thread_local",
        }
        with torch.cuda.stream(here):  # which it is again even where a recording fails
            with torch.cuda.graph(forward, **how):
                found = forwards()
            if learnt:
                with torch.cuda.graph(backward, **how):
                    tape.gradients = list(torch.autograd.grad(found, tape.inside, tape.gradient))
        tape.found = found.detach()
        tape.forward, tape.backward = forward.replay, backward.replay


def _has_room(flat: Tensor, shape: Shape, layers: int) -> bool:
    """Tell whether a recording would leave as much memory as it takes; what torch holds unused is free."""
    needed = shape.frames * flat.shape[1] * flat.element_size() * _KEPT * (layers if shape.learnt else 2)
    free, _ = torch.cuda.mem_get_info(flat.device)
    free += torch.cuda.memory_reserved(flat.device) - torch.cuda.memory_allocated(flat.device)
    return free >= 2 * needed


def _anew(tape: _Tape, forwards: Callable[[], Tensor]) -> None:
    """Let both passes be computed anew each time."""
    kept: list[Tensor] = []
    tape.gradient = torch.zeros_like(tape.flat)

    def forward() -> None:
        kept[:] = [forwards()]
        tape.found = kept[0].detach()

    def backward() -> None:
        tape.gradients = list(torch.autograd.grad(kept[0], tape.inside, tape.gradient))

    tape.forward, tape.backward = torch.set_grad_enabled(tape.slots.shape.learnt)(forward), backward


class _Play(Function):
    """What a recording gives, and its gradients, copied out so that the next one may be played."""

    @staticmethod
    def forward(
        ctx: Any, player: Player, tape: _Tape, packing: Packing, flat: Tensor, *inside: Tensor
    ) -> Tensor:
        """Return the hidden states of the real frames, `(frames, hidden)`."""
        tape.slots.take(packing)
        tape.flat[: packing.count].copy_(flat)
        tape.flat[packing.count :].zero_()
        with torch.no_grad():
            for place, one in zip(tape.inside, inside, strict=True):
                place.copy_(one)
        player.turn += 1
        ctx.player, ctx.tape, ctx.count, ctx.turn = player, tape, packing.count, player.turn
        tape.forward()
        return tape.found[: packing.count].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the adapters' tensors.

        Raises:
            RuntimeError: If another batch was played meanwhile.
        """
        tape: _Tape = ctx.tape
        if ctx.player.turn != ctx.turn or tape.gradient is None:
            raise RuntimeError(
                "the layers went through another batch before this one's backward pass, or it is its second; "
                "take the passes in turns, or train with record=false"
            )
        ctx.turn = -1
        tape.gradient[: ctx.count].copy_(gradients[0])
        tape.gradient[ctx.count :].zero_()
        tape.backward()
        return None, None, None, None, *(one.clone() for one in tape.gradients)
