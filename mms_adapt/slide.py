"""A slider over an adapter's strength, or over the shares of two, measured on the dev set.

In: adapters and prepared data. Out: a `Slide`: error rates with intervals at every point, the best of them,
and on request what the best one does on the test set beside the plain one. The best is chosen on dev alone;
the test set is read for the chosen point, once everything is chosen. It does not know how adapters are
changed or how texts are compared.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mms_adapt import files
from mms_adapt.compare import compare
from mms_adapt.errors import OptionError
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.prepared import Prepared
from mms_adapt.slider import PLAIN, Point, Slide, Tested, render

if TYPE_CHECKING:
    from mms_adapt.checkpoint import AdapterFolder

Progress = Callable[..., None]
_MOST_STEPS = 200


def slide(
    adapter: str | PathLike[str],
    prepared: Prepared | str | PathLike[str],
    *,
    other: str | PathLike[str] | None = None,
    first: float = 0.0,
    last: float | None = None,
    steps: int = 9,
    part: int | None = None,
    method: str = "concatenate",
    test: bool = False,
    json: str | PathLike[str] | None = None,
    svg: str | PathLike[str] | None = None,
    install: str | PathLike[str] | None = None,
    dev_minutes: float = 10.0,
    device: str = "auto",
    backbone: str | None = None,
    allow_sibling: bool = False,
    progress: Progress | None = None,
) -> Slide:
    """Measure an adapter at several strengths, or two at several shares, and choose the best on dev.

    Decoding is greedy. The lowest of many places is low by chance, too: what it is worth, `test` tells.

    Args:
        adapter: Adapter folder.
        prepared: What `prepare` returned, or its folder.
        other: A second one of the same kind: the slider is then its share, the rest is the first one's.
        first: Where the slider begins; for strengths 1 is as trained, 0 the backbone with the head.
        last: Where it ends; 2 for strengths and 1 for shares where not given.
        steps: How many places, both ends counted; 1 is added where it is not among them.
        part: Of a stack, change the strength of this part alone, from 0; -1 is the last.
        method: How two are merged: "concatenate", which is exact, or "average".
        test: Also score the best place, and 1, on the test set.
        json: Write the result here.
        svg: Write a picture here.
        install: Write the adapter at the best place to this new folder.
        dev_minutes: At most so much of the dev set is heard.
        device: "auto", "cpu", "cuda" or "cuda:1".
        backbone: Name or folder of the backbone; the adapter's own where not given.
        allow_sibling: Go on where the backbone is a sibling of the adapter's own.
        progress: Called with ("slide", done, total) after every place.

    Raises:
        AdapterMismatchError: If adapters, backbone and data do not belong together.
        OptionError: If the places make no sense, or the folder to install to is there already.
        SplitError: If the dev set holds no word.
    """
    places = _places(first, last, steps, other, part, install)
    data, choice = Prepared.of(prepared), Choice(part, method)
    held = _loaded([one for one in (adapter, other) if one is not None])
    found = _measured(held, choice, places, data, (backbone, device, allow_sibling, dev_minutes), progress)
    if install is not None:
        _told(found, choice.made(held, found.best)).save(install)
        found = replace(found, installed=Path(install))
    if test:
        wanted = [(at, choice.made(held, at)) for at in dict.fromkeys((PLAIN, found.best))]
        found = _tested(found, wanted, data, (backbone, device, allow_sibling))
    return _written(found, json, svg)


def _loaded(paths: Sequence[str | PathLike[str]]) -> "list[AdapterFolder]":
    """Return the adapters of folders."""
    from mms_adapt.checkpoint import AdapterFolder

    return [AdapterFolder.load(one) for one in paths]


def _measured(
    held: "Sequence[AdapterFolder]",
    choice: "Choice",
    places: Sequence[float],
    data: Prepared,
    where: tuple[str | None, str, bool, float],
    progress: Progress | None,
) -> Slide:
    """Measure every place on the dev set, and choose the best."""
    from mms_adapt import backbone as backbone_module
    from mms_adapt.trial import Trial

    backbone, device, allow_sibling, minutes = where
    base = backbone_module.load(backbone or held[0].backbone_name, device=device)
    trial = Trial(data, base, minutes=minutes)
    points = []
    for number, at in enumerate(places):
        if progress:
            progress("slide", number, len(places))
        score, loss = trial.score(choice.made(held, at), allow_sibling=allow_sibling)
        points.append(Point(at, score.cer, score.cer_interval, score.wer, score.wer_interval, loss))
    if progress:
        progress("slide", len(places), len(places))
    return Slide(
        target_lang=data.target_lang,
        adapters=tuple(one.version for one in held),
        part=choice.part,
        method=choice.method if len(held) > 1 else "strength",
        points=tuple(points),
        best=min(points, key=lambda one: (one.cer, one.loss, abs(one.at - PLAIN))).at,
        utterances=trial.utterances,
        speech_s=round(trial.speech_s, 1),
        dev_sha256=data.split_sha256["dev"],
    )


@dataclass(frozen=True)
class Choice:
    """What a slider changes.

    Attributes:
        part: Of a stack, the part whose strength it is; None for all.
        method: How two adapters are merged.
    """

    part: int | None
    method: str

    def made(self, held: "Sequence[AdapterFolder]", at: float) -> "AdapterFolder":
        """Return the adapter at a place of the slider."""
        from mms_adapt.composition import merging

        if len(held) == 1:
            return merging.strength(held[0], at, part=self.part)
        return merging.merge(held, [1 - at, at], method=self.method)


def _written(found: Slide, json: str | PathLike[str] | None, svg: str | PathLike[str] | None) -> Slide:
    """Write the files that are asked for."""
    for path, content in ((json, found.to_json()), (svg, render(found))):
        if path is not None:
            files.write(Path(path), content)
    return found


def _places(
    first: float,
    last: float | None,
    steps: int,
    other: object,
    part: int | None,
    install: str | PathLike[str] | None,
) -> list[float]:
    """Return the places of the slider, 1 among them.

    Raises:
        OptionError: If they make no sense, or the folder to be made is there.
    """
    last = last if last is not None else 2.0 if other is None else 1.0
    wrong = []
    if install is not None and Path(install).exists():
        wrong.append(f"{install}: it is there already; name a folder to be made with --install")
    if not (0 <= first < last <= 10):
        wrong.append(f"from {first:g} to {last:g}: give two numbers from 0 to 10, the lower one first")
    if other is not None and not 0 <= first < last <= 1:
        wrong.append(f"from {first:g} to {last:g}: shares of two adapters go from 0 to 1")
    if not 2 <= steps <= _MOST_STEPS:
        wrong.append(f"steps={steps}: give 2 to {_MOST_STEPS}")
    if other is not None and part is not None:
        wrong.append(f"part={part}: it is for one adapter alone; leave out the second")
    if wrong:
        raise OptionError("; ".join(wrong))
    found = {round(first + (last - first) * step / (steps - 1), 6) for step in range(steps)}
    return sorted(found | {PLAIN})


def _told(found: Slide, made: "AdapterFolder") -> "AdapterFolder":
    """Return an adapter whose passport says how its place was chosen."""
    at = found.point(found.best)
    chosen = {
        "at": found.best,
        "among": [one.at for one in found.points],
        "dev_cer": at.cer,
        "dev_wer": at.wer,
        "dev_sha256": found.dev_sha256,
    }
    passport = made.passport
    return replace(made, passport=replace(passport, merge={**passport.merge, "slide": chosen}))


def _tested(
    found: Slide,
    wanted: "Sequence[tuple[float, AdapterFolder]]",
    data: Prepared,
    where: tuple[str | None, str, bool],
) -> Slide:
    """Score adapters on the test set, the plain one first, and compare the best one with it."""
    tested, paths = [], []
    backbone, device, allow_sibling = where
    options = EvaluateOptions(allow_sibling=allow_sibling)
    with tempfile.TemporaryDirectory() as name:
        for at, made in wanted:
            place = Path(name) / f"at-{at:g}"
            paths.append(place / "score.json")
            made.save(place / "adapter")
            score = evaluate(
                place / "adapter", data, split="test", json=paths[-1], decoder="greedy", device=device,
                backbone=backbone, options=options,
            )  # fmt: skip
            rates = (score.cer, score.cer_interval, score.wer, score.wer_interval, score.signature)
            tested.append(Tested(at, *rates))
        gain = compare(*paths).cer_difference if len(paths) > 1 else None
    return replace(found, tested=tuple(tested), gain=gain)
