"""Reports of one evaluation, or of two compared, one module a format.

Each module here exports `SUFFIX`, the file name's ending, `render(report) -> str` for a `Report`, and
`render_comparison(comparison) -> str` for a `mms_adapt.compare.Comparison`. Both are pure functions: no
clock, no file, no network, so that the same evaluation gives the same report. A format whose files grow large
may export `pieces(report)`, too, which yields what `render` returns bit by bit. Adding a format is adding a
module; `mms_adapt.plugins` finds it by its name.

A report never sees audio: sound to be played comes as finished data URIs in `Clip`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import ModuleType

from mms_adapt import files, plugins
from mms_adapt.breakdown import Breakdown
from mms_adapt.errors import OptionError
from mms_adapt.scoring import Score
from mms_adapt.uncertainty import Difference, Interval

_FAR = 2.0  # how far above this an interval reaches tells nobody anything
MARKS = {
    "one_speaker": "Everything was recorded with one speaker. The figure tells how well this person is "
    "recognised; expect clearly more errors with anybody else.",
    "one_test_speaker": "All test utterances are by one person. Nobody can tell from them how much the error "
    "rate differs from voice to voice.",
    "test_shares_speakers": "The people of the test set were also heard in training, saying other "
    "sentences. Expect more errors with new voices.",
    "dev_shares_speakers": "The set by which training chose its best step has the voices of the training "
    "set. The test set is not touched by this, but the choice may favour familiar voices.",
    "test_shares_sessions": "The test set has sittings that training heard, too: the same room, microphone "
    "and mood. Expect more errors with recordings of another day.",
    "dev_shares_sessions": "The set by which training chose its best step has sittings of the training set. "
    "The test set is not touched by this.",
    "unknown_speakers": "Nobody says who speaks in some of the recordings, so the people of the test set may "
    "have been heard in training. Expect more errors with new voices.",
    "source_split_leaked": "The corpus's own division had sentences or sounds in two of its sets. They were "
    "left out of the one that is learnt from, so training had less than others who used this division.",
    "unseen_characters": "Some references of the dev or test set hold characters that no training transcript "
    "has. The adapter cannot write them: each is an error.",
    "clips_left_out": "Preparation left some utterances out, since they could not be used or would have been "
    "shared by two sets. They are in no figure; the report counts them by reason.",
    "small_test": "The test set is small. Two adapters whose intervals overlap cannot be told apart: "
    "read the interval rather than the figure.",
    "empty_references": "Some utterances have an empty reference. Every word recognised there counts as an "
    "insertion.",
    "adapter_of_another_split": "The adapter was trained on another division of the data than this one. It "
    "may have heard these test utterances in training, so the figure may be too good.",
    "int8": "The encoder computed with 8-bit integers, which are a little less exact than the adapter's "
    "training.",
    "fp8": "The encoder computed with 8-bit floats, which are a little less exact than bfloat16.",
    "backbone_sibling": "The adapter was trained on an earlier or later state of this backbone, and mostly "
    "makes more errors on it than on its own.",
    "adapter_unverified": "The adapter has no passport, so nobody can tell on which backbone and data it was "
    "trained. It may have heard these test utterances.",
    "normaliser_differs": "The adapter learned to write texts cleaned in another way than these references. "
    "Part of the errors may be spelling conventions.",
}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Utterances that could not be scored, by reason.

    Attributes:
        reason: Its name, such as "missing_audio".
        count: How many utterances.
        examples: Ids of the first few of them.
        what_to_do: What a person can do about it.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Clip:
    """What the report shows of an utterance beside its texts.

    Attributes:
        duration_s: Length of its audio.
        confidence: The decoder's confidence, 0 to 1.
        audio_uri: A `data:` URI to be played, where wanted.
        image_uri: Its spectrogram as a `data:` URI.
    """

    duration_s: float
    confidence: float
    audio_uri: str | None = None
    image_uri: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation with all that a reader wants to know of it.

    Attributes:
        score: The figures.
        target_lang: The language's code.
        language: Its English name.
        split: Which part of the data was scored.
        speech_s: Seconds of speech scored.
        elapsed_s: Seconds that transcribing took.
        adapter: Name of the adapter.
        backbone: Name of the backbone.
        source: Where the data comes from.
        licence: What its licence says, where known.
        excluded: What could not be scored.
        clips: One for each of `score.per_utterance`, in its order; or none at all.
        breakdowns: Where the errors are, beside speakers and characters.
    """

    score: Score
    target_lang: str
    language: str = ""
    split: str = "test"
    speech_s: float = 0.0
    elapsed_s: float = 0.0
    adapter: str = ""
    backbone: str = ""
    source: str = ""
    licence: str = ""
    excluded: tuple[Exclusion, ...] = ()
    clips: tuple[Clip, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()

    @property
    def title(self) -> str:
        """The language and the part scored."""
        name = f"{self.language} ({self.target_lang})" if self.language else self.target_lang
        return f"{name}, {self.split} set"

    @property
    def excluded_count(self) -> int:
        """Utterances that could not be scored."""
        return sum(one.count for one in self.excluded)


def formats(
    report: str | PathLike[str] | Sequence[str | PathLike[str]] | None,
    *,
    json: str | PathLike[str] | None = None,
) -> list[tuple[Path, ModuleType]]:
    """Find the format of each file to write by its path's ending.

    Args:
        report: One path, or several, or none.
        json: A path for the format "json", whatever its ending.

    Raises:
        OptionError: If an ending is of no known format.
    """
    known = {one.SUFFIX: one for one in (plugins.load("reports", name) for name in plugins.names("reports"))}
    found = [] if json is None else [(Path(json), plugins.load("reports", "json"))]
    paths = [] if report is None else [report] if isinstance(report, str | PathLike) else report
    for path in map(Path, paths):
        if path.suffix.lower() not in known:
            raise OptionError(f"report {path}: no format ends in {path.suffix!r}; known: {', '.join(known)}")
        found.append((path, known[path.suffix.lower()]))
    return found


def write(path: Path, format: ModuleType, report: Report) -> None:
    """Write a report in a format; one that comes in pieces is never in memory as a whole."""
    pieces: Iterable[str] = format.pieces(report) if hasattr(format, "pieces") else [format.render(report)]
    files.write_pieces(path, (one.encode("utf-8", "replace") for one in pieces))


def explain(mark: str) -> str:
    """Say in plain words what a mark means for the figure."""
    return MARKS.get(
        mark, f"The data or the adapter carries the mark “{mark}”; its documentation explains it."
    )


def percent(rate: float | None) -> str:
    """Return a ratio as percent with one decimal; a dash where there is none."""
    return "–" if rate is None else f"{100 * rate:.1f} %"


def span(interval: Interval | None) -> str:
    """Return an interval as percent; words where there is none."""
    if interval is None:
        return "no interval: too few to draw from"
    if interval.high > _FAR:
        return f"{100 * interval.low:.1f} to over {100 * _FAR:.0f} %"
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def spans(by_utterance: Interval | None, by_speaker: Interval | None) -> str:
    """Return both intervals as percent, that with other speakers where there is one."""
    if by_speaker is None:
        return span(by_utterance)
    return f"{span(by_utterance)}; with other speakers {span(by_speaker)}"


def in_points(one: Difference) -> str:
    """Say a difference in percentage points: what was drawn, its interval, how likely it is to be chance."""
    return (
        f"by {one.unit} ({one.unit_count}): {100 * one.rate:+.1f} points "
        f"({100 * one.low:+.1f} to {100 * one.high:+.1f}), p = {one.p_value:.4f}, "
        f"second better in {100 * one.better_share:.1f} % of the draws"
    )


def minutes(seconds_s: float) -> str:
    """Return a duration as hours, minutes and seconds, the leading zeros left out."""
    whole_s = round(seconds_s)
    hours, rest_s = divmod(whole_s, 3600)
    if hours:
        return f"{hours} h {rest_s // 60:02d} min"
    return f"{rest_s // 60} min {rest_s % 60:02d} s" if rest_s >= 60 else f"{rest_s} s"


def in_words(score: Score) -> str:
    """Say the headline in one sentence, and for whom it holds."""
    wrong = round(100 * score.wer)
    sentence = f"For every 100 words spoken, about {wrong} {'goes' if wrong == 1 else 'go'} wrong"
    by_speaker, by_utterance = score.wer_speaker_interval, score.wer_interval
    if by_speaker is not None and by_utterance is not None:
        sentence += f"; with other speakers, most likely {_between(by_speaker)}"
        sentence += f" (with other sentences of these {by_speaker.unit_count}, {_between(by_utterance)})"
    elif by_utterance is not None:
        sentence += f"; with other sentences of this kind, most likely {_between(by_utterance)}"
    return sentence + "."


def _between(interval: Interval) -> str:
    high = "more than 200" if interval.high > _FAR else f"{100 * interval.high:.0f}"
    return f"between {100 * interval.low:.0f} and {high}"
