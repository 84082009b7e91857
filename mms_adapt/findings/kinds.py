"""The kinds of findings: how severe each is, what it means, what to do; and from where on it is one.

In: examples, worst first. Out: a `Finding` in words. It does not know how anything is found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from mms_adapt.errors import OptionError
from mms_adapt.manifest import Utterance
from mms_adapt.measure import Measurement

SEVERITIES = ("error", "warning", "notice")  # cannot be used; is most likely wrong; is good to know
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance with what was measured of it."""

    utterance: Utterance
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance of a finding.

    Attributes:
        utterance_id: Which one.
        detail: What was found there.
        other_id: The utterance that it is like, where there is one.
    """

    utterance_id: str
    detail: str
    other_id: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a corpus that is worth a look.

    Attributes:
        kind: As one word, such as "clipped".
        severity: "error" where it cannot be used, "warning" where it is most likely wrong, "notice" where it
            is good to know.
        what: What was found, in words.
        threshold: From where on it is found; None where there is none.
        what_to_do: What a person can do about it.
        examples: The worst few.
        utterance_ids: All utterances that it is about, the worst first.
    """

    kind: str
    severity: str
    what: str
    threshold: float | None
    what_to_do: str
    examples: tuple[Example, ...]
    utterance_ids: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many utterances it is about."""
        return len(self.utterance_ids)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is found.

    Attributes:
        clipped_share: More of the samples crowd within two decibels of the ceiling: the waves are cut.
        faint_db: A lower level of the vowels.
        noise_db: Fewer decibels between vowels and pauses.
        treble_db: Fewer decibels above 4.4 kHz beside the vowels: a telephone's sound.
        pace_z: So many robust standard deviations from the usual characters a second.
        pace_factor: And so many times as many, or as few, as usual.
        bits_differing: Fewer differing bits of two fingerprints: nearly the same sound.
        similarity: At least so much of two sentences the same: nearly the same sentence.
        rare_utterances: A character in at most so many utterances is rare.
        stray_share: A look-alike of the same script is at most so frequent beside the usual character.
        script_share: A script that so many transcripts have is the corpus's own.
        speaker_share: One speaker with more of the speech outweighs all others.

    Raises:
        OptionError: If a value makes no sense; it names all that do not.
    """

    clipped_share: float = 0.006
    faint_db: float = -50.0
    noise_db: float = 12.0
    treble_db: float = -55.0
    pace_z: float = 4.0
    pace_factor: float = 2.0
    bits_differing: float = 0.18
    similarity: float = 0.9
    rare_utterances: int = 3
    stray_share: float = 0.05
    script_share: float = 0.8
    speaker_share: float = 0.5

    def __post_init__(self) -> None:
        bounds = {
            "faint_db": (-120, 0),
            "treble_db": (-120, 60),
            "noise_db": (0, 120),
            "pace_z": (0, 1000),
            "pace_factor": (1, 1000),
            "rare_utterances": (0, 1_000_000),
        }
        wrong = []
        for field in fields(self):
            low, high = bounds.get(field.name, (0, 1))
            if not low <= (value := getattr(self, field.name)) <= high:
                wrong.append(f"{field.name}={value}: give {low} to {high}")
        if wrong:
            raise OptionError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Kind:
    """What is said of a kind; `what` may name the threshold."""

    severity: str
    what: str
    what_to_do: str = ""


KINDS = {
    "no_consent": Kind("error", "their speakers did not agree"),
    "missing_audio": Kind("error", "there is no such recording"),
    "undecodable": Kind("error", "the recording cannot be decoded"),
    "truncated": Kind("error", "the recording is shorter than its header declares"),
    "not_finite": Kind("error", "the recording holds numbers that are no sound"),
    "span_outside": Kind("error", "the span lies outside its recording"),
    "silent": Kind("error", "nothing is louder than {threshold:g} dB of full scale"),
    "empty_transcript": Kind("error", "nothing is left of the transcript after normalising"),
    "too_short": Kind("error", "shorter than {threshold:g} s"),
    "too_long": Kind("error", "longer than {threshold:g} s"),
    "ctc_impossible": Kind("error", "the text has more characters than the sound has frames"),
    "clipped": Kind(
        "warning",
        "the tops of the waves are cut off: more than {threshold:.1%} of the samples crowd at the ceiling",
        "record with less gain; if the original is whole, export it again without making it louder. Slightly "
        "clipped speech can still be learnt from",
    ),
    "faint": Kind(
        "notice",
        "the vowels stay below {threshold:g} dB of full scale",
        "look at the recorder's gain; making it louder afterwards does not harm, and is not needed",
    ),
    "noisy": Kind(
        "warning",
        "less than {threshold:g} dB lie between the vowels and the pauses",
        "listen: noise, music or a second voice; or a span without any pause, which is no flaw",
    ),
    "low_rate": Kind(
        "warning",
        "the file has fewer than {threshold:,.0f} samples a second: what lies above half of that is lost",
        "if there is an original with more, export it again; else keep it, and record at 16 kHz or more next "
        "time",
    ),
    "narrow_band": Kind(
        "warning",
        "nothing is heard above 4 kHz ({threshold:g} dB beside the vowels), though the file could hold it: a "
        "telephone, or a recording that was made at 8 kHz and converted",
        "look for the original; s, f and sh are hard to tell apart in these",
    ),
    "pace": Kind(
        "warning",
        "far more or fewer characters a second of speech than in others as long: {threshold:g} robust "
        "standard deviations off, and twice or half as many",
        "read and listen: most often it is another utterance's text, a text cut short, or a span that begins "
        "or ends elsewhere",
    ),
    "two_transcripts": Kind(
        "warning",
        "the same sound with two transcripts; at most {threshold:.0%} of the fingerprints' bits differ",
        "listen, and keep the right one",
    ),
    "same_sound": Kind(
        "notice",
        "the same sound, to the sample, under two ids",
        "keep one of them; prepare never puts them into two parts",
    ),
    "near_same_sound": Kind(
        "warning",
        "nearly the same sound: other volume, other codec, cut a little differently; at most {threshold:.0%} "
        "of the fingerprints' bits differ",
        "keep one of them: prepare takes them for two, and may learn one and test the other",
    ),
    "same_sentence": Kind(
        "notice",
        "a sentence that others have, too, but for case and punctuation",
        "nothing: prepare keeps them in one part; many of them leave less to test",
    ),
    "near_same_sentence": Kind(
        "notice",
        "a sentence that is at least {threshold:.0%} like another one, by characters",
        "look for typing errors among them; else nothing. Such sentences can stand in two parts",
    ),
    "other_script": Kind(
        "warning",
        "written in another script than at least {threshold:.0%} of the transcripts",
        "transcribe it in the script of the others, or prepare the two scripts apart",
    ),
    "look_alike": Kind(
        "warning",
        "characters that look like another one that is usual here",
        "replace them by the usual character; a search for them shows where",
    ),
    "mixed_scripts": Kind(
        "notice",
        "letters of another script within words",
        "nothing if your orthography has them; else replace them",
    ),
    "rare_character": Kind(
        "notice",
        "characters that stand in at most {threshold:g} utterances",
        "if it is a typing error or a borrowed sign, correct it; else record more of it: the adapter cannot "
        "learn it from so few",
    ),
    "unicode_forms": Kind(
        "notice",
        "letters with marks are stored in two ways, composed and taken apart; here are the rarer ones",
        "nothing: prepare composes all of them (NFC). Other programs may take them for different letters",
    ),
    "digits": Kind(
        "warning",
        "figures in the transcript hide how a number is said",
        "write the numbers as words, as they were said",
    ),
    "speaker_imbalance": Kind(
        "notice",
        "one speaker has more than {threshold:.0%} of the speech",
        "record others; the adapter will hear this voice best",
    ),
}


def finding(
    kind: str,
    examples: Iterable[Example],
    *,
    threshold: float | None = None,
    what_to_do: str | None = None,
) -> Finding:
    """Make a finding of all its examples, the worst first."""
    given: Sequence[Example] = tuple(examples)
    known = KINDS.get(kind) or Kind("error", kind.replace("_", " "))
    what = kind.replace("_", " ") if threshold is None and "{threshold" in known.what else known.what
    return Finding(
        kind=kind,
        severity=known.severity,
        what=what.format(threshold=threshold),
        threshold=threshold,
        what_to_do=known.what_to_do if what_to_do is None else what_to_do,
        examples=tuple(given[:_SHOWN]),
        utterance_ids=tuple(dict.fromkeys(one.utterance_id for one in given)),
    )
