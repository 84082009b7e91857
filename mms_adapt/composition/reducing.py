"""Fewer channels inside adapters with a narrow middle: which stay, and a way up fitted to what they tell.

In: what each place adds, and, where speech was heard, what its channels were. Out: narrower places, and how
far what they add is from what it was. ReLU stands between the two matrices, so that singular values of their
product say little; a channel is kept or not, and the way up is a least-squares fit over those that are kept.
It does not know audio.

- With moments of speech: channels are taken one by one, each time the one that explains most of what is left
  of the output, and the way up is fitted. Where the channels' own rank is no higher than what is kept, the
  result is exact on that speech.
- Without: the channels that add most if the normed input were Gaussian, with their own ways up; what the
  others add on average goes into the bias.

Source: column subset selection as in Civril and Magdon-Ismail 2012, Column subset selection via sparse
approximation of SVD, section 2 (greedy); the moments of a rectified Gaussian are textbook.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mms_adapt.composition.narrow import Narrow, Places

_NOTHING = 1e-12  # of a channel's variance: what is below it is explained


@dataclass(frozen=True)
class Moments:
    """What the channels inside a place were, over some frames; in float64.

    Attributes:
        frames: How many frames.
        mean: `(width,)`.
        covariance: `(width, width)`.
    """

    frames: int
    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Reduced:
    """Narrower places, and what was lost.

    Attributes:
        places: What each place adds now.
        error: Root of the square of what changed in all that is added, by the square of what was added; None
            where no speech was heard.
        by_place: The same of each place.
    """

    places: Places
    error: float | None
    by_place: Mapping[str, float]


def reduced(
    places: Places, width: int, moments: Mapping[str, Moments] | None = None, *, fitted: bool = True
) -> Reduced:
    """Return places with so many channels at most.

    Args:
        places: What each place adds.
        width: Channels that are kept.
        moments: What the channels of each place were on speech; none was heard where not given.
        fitted: Whether the speech chooses and fits; where not, it only tells the error.
    """
    found, wrong, whole = {}, {}, {}
    for name, one in places.items():
        seen = None if moments is None else moments[name]
        kept, made = _narrower(one, width, seen if fitted else None)
        found[name] = made
        if seen is not None:
            wrong[name], whole[name] = squares(one, kept, made, seen)
    by_place = {name: _ratio(wrong[name], whole[name]) for name in wrong}
    error = _ratio(sum(wrong.values()), sum(whole.values())) if moments is not None else None
    return Reduced(found, error, by_place)


def told(places: Places, made: Places, moments: Mapping[str, Moments]) -> float:
    """Return the error of narrower places on other speech than they were fitted to."""
    wrong = whole = 0.0
    for name, one in places.items():
        kept = _kept(one, made[name])
        off, all_of_it = squares(one, kept, made[name], moments[name])
        wrong, whole = wrong + off, whole + all_of_it
    return _ratio(wrong, whole)


def _narrower(one: Narrow, width: int, moments: Moments | None) -> tuple[list[int], Narrow]:
    """Return the channels that are kept, and a place with them alone."""
    if width >= one.width:
        return list(range(one.width)), one
    plain = by_size(one, width)
    if moments is None:
        return plain, _without_fit(one, plain)
    tried = [(kept, fit(one, kept, moments)) for kept in (by_output(one, width, moments), plain)]
    return min(tried, key=lambda pair: squares(one, pair[0], pair[1], moments)[0])


def by_output(one: Narrow, width: int, moments: Moments) -> list[int]:
    """Return the channels that together explain most of the output, taken one by one."""
    left = moments.covariance.clone()
    least = _NOTHING * moments.covariance.diagonal()
    weights = one.up.T @ one.up  # `(width, width)`
    kept: list[int] = []
    for _ in range(width):
        variance = left.diagonal()
        gain = ((weights @ left) * left).sum(dim=0) / variance.clamp(min=torch.finfo(left.dtype).tiny)
        gain = gain.masked_fill(variance <= least, -1.0)
        gain[kept] = -2.0
        best = int(gain.argmax())
        kept.append(best)
        if float(variance[best]) > float(least[best]):
            left = left - torch.outer(left[:, best], left[best]) / variance[best]
    return sorted(kept)


def by_size(one: Narrow, width: int) -> list[int]:
    """Return the channels that would add most if the normed input were Gaussian."""
    _, variance = _gaussian(one)
    return sorted((one.up.square().sum(dim=0) * variance).topk(width).indices.tolist())


def fit(one: Narrow, kept: Sequence[int], moments: Moments) -> Narrow:
    """Return a place with some channels alone, its way up fitted so that it adds what it did."""
    places = list(kept)
    inverse = torch.linalg.pinv(moments.covariance[places][:, places], rtol=1e-11, hermitian=True)
    up = one.up @ (moments.covariance[:, places] @ inverse)
    bias = one.up_bias + one.up @ moments.mean - up @ moments.mean[places]
    return Narrow(one.down[places], one.down_bias[places], up, bias)


def squares(one: Narrow, kept: Sequence[int], made: Narrow, moments: Moments) -> tuple[float, float]:
    """Return the mean square of what changed in what a place adds, and of what it added."""
    change = one.up.clone()
    change[:, list(kept)] -= made.up
    shift = change @ moments.mean + one.up_bias - made.up_bias
    whole = one.up @ moments.mean + one.up_bias
    wrong = ((change @ moments.covariance) * change).sum() + shift.square().sum()
    total = ((one.up @ moments.covariance) * one.up).sum() + whole.square().sum()
    return max(float(wrong), 0.0), float(total)


def _kept(one: Narrow, made: Narrow) -> list[int]:
    """Return which channels of a place a narrower one has."""
    rows = [tuple(row) for row in torch.cat([one.down, one.down_bias[:, None]], dim=1).tolist()]
    free: dict[tuple[float, ...], list[int]] = {}
    for number, row in enumerate(rows):
        free.setdefault(row, []).append(number)
    wanted = torch.cat([made.down, made.down_bias[:, None]], dim=1).tolist()
    return [free[tuple(row)].pop(0) for row in wanted]


def _without_fit(one: Narrow, kept: Sequence[int]) -> Narrow:
    """Return a place with some channels alone; the mean of what the others add goes into the bias."""
    mean, _ = _gaussian(one)
    gone = sorted(set(range(one.width)) - set(kept))
    bias = one.up_bias + one.up[:, gone] @ mean[gone]
    places = list(kept)
    return replace(one, down=one.down[places], down_bias=one.down_bias[places], up=one.up[:, places],
                   up_bias=bias)  # fmt: skip


def _gaussian(one: Narrow) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the channels `(width,)` for Gaussian input whose channels sum to zero."""
    spread = (one.down - one.down.mean(dim=1, keepdim=True)).norm(dim=1).clamp(min=1e-30)
    at = one.down_bias / spread
    density = torch.exp(-at.square() / 2) / math.sqrt(2 * math.pi)
    share = torch.special.ndtr(at)
    mean = spread * (at * share + density)
    square = spread.square() * ((at.square() + 1) * share + at * density)
    return mean, (square - mean.square()).clamp(min=0.0)


def _ratio(wrong: float, whole: float) -> float:
    return math.sqrt(wrong / whole) if whole > 0 else 0.0
