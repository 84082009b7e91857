"""Which column of a table holds what, and the utterance that a row is.

In: the names of columns, and rows by these names, their values of whatever type a file had. Out: `Columns`,
and utterances. It does not know files or where recordings are.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mms_adapt import language
from mms_adapt.corpora import Skipped
from mms_adapt.corpora._places import stem
from mms_adapt.errors import OptionError
from mms_adapt.manifest import Utterance, shown

NAMES = {
    "recording": "audio audio_filepath audio_file audio_path file_name filename file path wav wav_path "
    "recording clip",
    "transcript": "transcript transcription sentence text",
    "id": "id utterance_id utt_id segment_id",
    "start_s": "start_s start start_time begin offset",
    "end_s": "end_s end end_time",
    "duration_s": "duration_s duration",
    "speaker": "speaker speaker_id client_id spk spk_id",
    "session": "session session_id",
    "source_split": "source_split split subset",
    "target_lang": "target_lang language lang locale",
    "licence": "licence license",
}
_PART = re.compile(r"(train(ing)?|trn|dev(elopment)?|val(id(ation)?)?|tune|test(ing)?|tst|eval(uation)?)")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table hold.

    Attributes:
        names: The column's name by what it holds: a field of an `Utterance`, or "duration_s".
    """

    names: Mapping[str, str]

    @classmethod
    def of(cls, found: Iterable[str], **given: str) -> "Columns":
        """Recognise columns by their names.

        Args:
            found: The names.
            given: What a user says that they hold: the name by what it holds.

        Raises:
            OptionError: If a given name is none of them.
            ValueError: If there is none for the recording or the transcript, or several; it says what is
                there.
        """
        plain = {name: name.strip().casefold().replace(" ", "_") for name in found}
        there = f"the columns are {', '.join(map(repr, list(plain)[:30]))}"
        names: dict[str, str] = {}
        for what, usual in NAMES.items():
            if (name := given.get(what)) is not None:
                if name not in plain:
                    raise OptionError(f"corpus option {what}={shown(name)}: there is no such column; {there}")
                names[what] = name
                continue
            fitting = sorted(
                (name for name in plain if plain[name] in usual.split()),
                key=lambda name: usual.split().index(plain[name]),
            )
            if what in ("recording", "transcript"):
                option = f"say which holds it with corpus option {what} (--corpus-option {what}=NAME)"
                if not fitting:
                    raise ValueError(f"no column is the {what} by its name; {there}; {option}")
                if len(fitting) > 1 and plain[fitting[0]] != "audio":
                    raise ValueError(f"{' and '.join(map(repr, fitting))} may be the {what}; {option}")
            if fitting:
                names[what] = fitting[0]
        return cls(names)

    @classmethod
    def fit(cls, found: Iterable[str]) -> bool:
        """Tell whether columns hold recordings and transcripts, by their names."""
        plain = {name.strip().casefold().replace(" ", "_") for name in found}
        return all(not plain.isdisjoint(NAMES[what].split()) for what in ("recording", "transcript"))

    def recording(self, row: Mapping[str, Any]) -> str | None:
        """Return the name of the recording as it stands there, None where nothing does.

        Raises:
            ValueError: If it is no text.
        """
        value = row.get(self.names["recording"])
        if isinstance(value, dict):  # as Hugging Face writes audio
            return self._text(value, "path", "path")
        return self._text(row, "recording")

    def other_language(self, row: Mapping[str, Any], target_lang: str) -> Skipped | None:
        """Return why a row is passed over where it says that it is in another language."""
        tag = self._text(row, "target_lang")
        if tag is None or language.means(tag, target_lang):
            return None
        return Skipped("other_language", tag)

    def part(self, row: Mapping[str, Any]) -> str | None:
        """Return the part that a row says it is in."""
        return self._text(row, "source_split")

    def utterance(
        self, row: Mapping[str, Any], *, recording: str, target_lang: str, part: str | None, inside: str = ""
    ) -> Utterance:
        """Return the utterance of a row.

        Args:
            row: Its values.
            recording: The recording, relative to the corpus's root.
            target_lang: The language.
            part: The part of the corpus's own division, where the row does not say it.
            inside: Which of several tables the row is in; their ids may be the same.

        Raises:
            ValueError: If a value is of the wrong kind; it names the column.
        """
        start_s, end_s = self._span(row)
        name = self._text(row, "id")
        if name is not None:
            name = f"{inside}/{name}" if inside else name
        transcript = row.get(self.names["transcript"])
        if transcript is not None and not isinstance(transcript, str):
            raise ValueError(f"{self.names['transcript']} is {shown(repr(transcript))}: text is expected")
        return Utterance(
            name or named(recording, start_s, end_s),
            recording,
            start_s or 0.0,
            end_s,
            transcript or "",
            target_lang,
            speaker=self._text(row, "speaker"),
            session=self._text(row, "session"),
            source_split=self.part(row) or part,
            licence=self._text(row, "licence"),
        )

    def _span(self, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Return start and end; a length counts only where a start says that the recording is longer."""
        start_s, end_s, duration_s = (self._seconds(row, one) for one in ("start_s", "end_s", "duration_s"))
        if end_s is None and start_s is not None and duration_s is not None:
            end_s = start_s + duration_s
        return start_s, end_s

    def _text(self, row: Mapping[str, Any], what: str, name: str | None = None) -> str | None:
        """Return a value as text without spaces around it, None where there is nothing."""
        name = name or self.names.get(what)
        value = row.get(name) if name is not None else None
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{name} is {shown(repr(value))}: text is expected")
        return str(value).strip() or None

    def _seconds(self, row: Mapping[str, Any], what: str) -> float | None:
        text = self._text(row, what)
        if text is None:
            return None
        try:
            return float(text.replace(",", "."))
        except ValueError:
            raise ValueError(f"{self.names[what]} is {shown(text)}: give a number of seconds") from None


def named(recording: str, start_s: float | None, end_s: float | None) -> str:
    """Return an id for a row that has none: its recording without the ending, and its span in ms."""
    if start_s is None and end_s is None:
        return stem(recording)
    ends = (start_s or 0.0, math.inf if end_s is None else end_s)
    return "-".join(
        [stem(recording), *(f"{1000 * one:07.0f}" if math.isfinite(one) else "end" for one in ends)]
    )


def is_part(name: str) -> bool:
    """Tell whether a name is one of a part of a division, such as "train", "valid" or "test-clean"."""
    return bool(re.fullmatch(rf"{_PART.pattern}([-_. ].*)?", name.casefold()))
