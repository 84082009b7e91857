"""Several processes that train one adapter together, one on each GPU.

In: what torchrun tells a process about itself. Out: a `Team`, which adds up gradients and agrees on what to
do. It does not know models or training. Without torchrun a team has one member, and costs nothing.

Each member takes its rows of every batch; the gradients of what is trained are all that goes between them:
for an adapter, a few megabytes a step.
"""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from mms_adapt.errors import OptionError

T = TypeVar("T")
_PATIENCE = timedelta(hours=6)  # caching a large corpus takes its time
_LEAVING = timedelta(minutes=10)  # for who has come to the end already
_STORES: list[Any] = []  # that of this process, once it has joined


class Team:
    """The processes of one training.

    Attributes:
        rank: This one's number.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1, words: Any = None, store: Any = None) -> None:
        self.rank, self.size, self._words, self._store = rank, size, words, store

    @property
    def leads(self) -> bool:
        """Whether this one reads the dev set and writes files."""
        return self.rank == 0

    def rows(self, frame_counts: Sequence[int]) -> list[int]:
        """Return this one's rows of a batch, so that all have like lengths; none where there are too few."""
        order = sorted(range(len(frame_counts)), key=lambda one: (-frame_counts[one], one))
        return sorted(order[self.rank :: self.size])

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over the team, in one go."""
        if self.size == 1:
            return
        from torch import distributed

        flat = torch.cat([one.reshape(-1) for one in tensors])
        distributed.all_reduce(flat)
        pieces = torch.split(flat, [one.numel() for one in tensors])
        for one, piece in zip(tensors, pieces, strict=True):
            one.copy_(piece.view(one.shape))

    def told(self, values: Sequence[float]) -> list[float]:
        """Return the leader's values."""
        if self.size == 1:
            return list(values)
        from torch import distributed

        words = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(words, 0, group=self._words)
        return words.tolist()

    def any(self, wish: bool) -> bool:
        """Tell whether anyone wishes it."""
        if self.size == 1:
            return wish
        from torch import distributed

        words = torch.tensor(int(wish))
        distributed.all_reduce(words, distributed.ReduceOp.MAX, group=self._words)
        return bool(words.item())

    def in_turn(self, work: Callable[[], T]) -> T:
        """Let the leader do something first, such as filling a cache, and the others after it."""
        if not self.leads:
            self.wait()
        found = work()
        if self.leads:
            self.wait()
        self.wait()
        return found

    def wait(self) -> None:
        """Go on when all have come here."""
        self.any(False)

    def leave(self) -> None:
        """Go on when all have come here and nobody is in the middle of an exchange any more.

        A process that ends closes its connections, and where another is a moment behind in the very exchange
        that brought both here, that one would fail. So the last words do not go from one to the other, but by
        the store that torchrun keeps; where the leader keeps it, it goes last.
        """
        self.wait()
        if self._store is None:
            return
        number = int(self._store.add(f"mms_adapt/left/by/{self.rank}", 1))

        def at(place: str, rank: int) -> str:
            return f"mms_adapt/left/{number}/{place}/{rank}"

        self._store.set(at("out", self.rank), "1")
        self._store.wait([at("out", one) for one in range(self.size)], _LEAVING)
        if not self.leads:
            self._store.set(at("gone", self.rank), "1")
            return
        self._store.wait([at("gone", one) for one in range(1, self.size)], _LEAVING)


def join(device: str) -> tuple[Team, str]:
    """Join the team that torchrun has started; without it, be one alone.

    Args:
        device: As in the options; "auto" and "cuda" become the card of this process.

    Returns:
        The team, and the device of this process.

    Raises:
        OptionError: If all members would use one card.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(), device
    from torch import distributed

    cards = torch.cuda.device_count() if device != "cpu" else 0
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda:") or (cards and local >= cards):
        raise OptionError(
            f"device={device!r}: each of {size} processes needs a card of its own, and this machine has "
            f"{cards}; start as many processes as it has, with --device cuda"
        )
    if cards:
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    if not distributed.is_initialized():
        from torch.distributed.rendezvous import rendezvous

        store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
        distributed.init_process_group(
            "nccl" if cards else "gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE
        )
        _STORES.append(store)
    words = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    return Team(distributed.get_rank(), size, words, _STORES[-1] if _STORES else None), device
