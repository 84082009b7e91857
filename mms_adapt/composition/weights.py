"""Weights of a merge, found on the dev set: a grid over all mixtures, then a finer one around the best.

In: two or three adapters and prepared data. Out: the merged adapter, and every mixture that was tried with
its error rate, which its passport keeps. The test set is never read. It does not know how a merge is
computed.

The sound goes through the convolutions once, for all mixtures. Their rates are those of training's dev set:
from features in half precision, decoded greedily.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition.merging import merge
from mms_adapt.errors import AdapterMismatchError, OptionError
from mms_adapt.prepared import Prepared
from mms_adapt.trial import Trial

STEPS = (0.25, 0.125, 0.0625)  # of the first grid, and of those around the best so far
_SPEECHLESS_CER = 0.9  # above it, error rates are chance and the loss alone tells

Point = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """One mixture and what it does on the dev set.

    Attributes:
        weights: Of the adapters, in their order; they sum to 1.
        cer: Character error rate, a ratio.
        wer: Word error rate, a ratio.
        loss: CTC loss a token.
    """

    weights: Point
    cer: float
    wer: float
    loss: float


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave.

    Attributes:
        adapter: The best mixture, not on the disk yet; its passport's `merge` tells of the search.
        best: Its weights and rates.
        tried: All that was tried, in the order of trying.
    """

    adapter: AdapterFolder
    best: Tried
    tried: tuple[Tried, ...]


def search(
    adapters: Sequence[AdapterFolder | str | PathLike[str]],
    prepared: Prepared | str | PathLike[str],
    backbone: Backbone,
    *,
    minutes: float = 10.0,
    batch_seconds: float = 32.0,
    target_lang: str | None = None,
    licence: str | None = None,
    progress: Callable[..., None] | None = None,
    **options: Any,
) -> Found:
    """Find the weights with which a merge makes the fewest errors on the dev set, and merge.

    An adapter that gets the weight 0 is not merged at all: neither its tokens, nor its licence or speakers go
    into what comes out.

    Args:
        adapters: Two or three adapters, or their folders.
        prepared: The data; its dev set is measured.
        backbone: Their backbone.
        minutes: At most so much of the dev set, evenly taken.
        batch_seconds: Speech in a forward pass.
        target_lang: The language that it writes; that of the data, or else it cannot be measured on it.
        licence: As in `merge`.
        progress: Called with ("weights", done, None, note) behind every mixture.
        options: What else `merge` takes: method, rank, density and calibration.

    Raises:
        AdapterMismatchError: If the adapters do not go together, or the data is of another language.
        OptionError: If there are fewer than two or more than three.
        SplitError: If the dev set holds no word.
    """
    parents = [one if isinstance(one, AdapterFolder) else AdapterFolder.load(one) for one in adapters]
    if len(parents) not in (2, 3):
        raise OptionError(
            f"{len(parents)} adapters: weights are searched for 2 or 3; give --weights for more"
        )
    data = Prepared.of(prepared)
    code = target_lang or data.target_lang
    if code != data.target_lang:
        raise AdapterMismatchError(
            f"{data.folder}: it holds {data.target_lang!r}, and the merge is to write {code!r}"
        )
    shared = {**options, "target_lang": code, "licence": licence}
    merge(parents, **shared)  # what does not go together is told before anything is measured
    trial = Trial(data, backbone, minutes=minutes, batch_seconds=batch_seconds)
    tried = _tried(parents, trial, shared, progress)
    chosen = best(tried)
    made = merged(parents, chosen.weights, **shared)
    told = {
        "split": "dev",
        "split_sha256": data.split_sha256["dev"],
        "utterances": trial.utterance_count,
        "device": backbone.device.type,
        "adapters": [one.version for one in parents],
        "tried": [asdict(one) for one in tried],
    }
    passport = replace(made.passport, merge={**made.passport.merge, "search": told})
    return Found(replace(made, passport=passport), chosen, tuple(tried))


def _tried(
    parents: Sequence[AdapterFolder],
    trial: Trial,
    options: dict[str, Any],
    progress: Callable[..., None] | None,
) -> list[Tried]:
    """Measure the first grid, and then what lies around the best so far, each mixture once."""
    tried: dict[Point, Tried] = {}
    points = grid(len(parents), STEPS[0])
    for step in (*STEPS[1:], None):
        for point in points:
            if point in tried:
                continue
            rates = trial.measure(merged(parents, point, **options))
            tried[point] = Tried(point, rates.cer, rates.wer, rates.loss)
            if progress:
                progress("weights", len(tried), None, f"best CER {100 * best(tried.values()).cer:.1f} %")
        if step is not None:
            points = around(best(tried.values()).weights, step)
    return list(tried.values())


def merged(parents: Sequence[AdapterFolder], weights: Sequence[float], **options: Any) -> AdapterFolder:
    """Return the merge of those adapters that have a weight."""
    some = [(one, weight) for one, weight in zip(parents, weights, strict=True) if weight]
    return merge([one for one, _ in some], [weight for _, weight in some], **options)


def best(tried: Iterable[Tried]) -> Tried:
    """Return the mixture with the lowest character error rate; of equal ones, that of the lowest loss."""
    return min(tried, key=lambda one: (min(one.cer, _SPEECHLESS_CER), one.loss))


def grid(count: int, step: float) -> list[Point]:
    """Return all mixtures of a number of adapters whose weights are multiples of a step.

    >>> grid(2, 0.5)
    [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]

    Args:
        count: How many adapters.
        step: 1 is a multiple of it.
    """
    pieces = round(1 / step)

    def shares(left: int, places: int) -> list[tuple[int, ...]]:
        if places == 1:
            return [(left,)]
        return [(one, *rest) for one in range(left, -1, -1) for rest in shares(left - one, places - 1)]

    return [tuple(one * step for one in point) for point in shares(pieces, count)]


def around(point: Point, step: float) -> list[Point]:
    """Return the mixtures in which a step's weight goes from one adapter to another.

    >>> around((0.5, 0.5), 0.25)
    [(0.25, 0.75), (0.75, 0.25)]
    """
    found = []
    for giving in range(len(point)):
        for taking in range(len(point)):
            if giving != taking and point[giving] >= step - 1e-9:
                moved = list(point)
                moved[giving] -= step
                moved[taking] += step
                found.append(tuple(moved))
    return found
