"""Faults, one function a kind: what it does to utterances of real speech.

In: a `Bed` of utterances that were found to be usable. Out: faulty ones, their recordings written into a
folder of their own. A function's docstring says in the table of docs/inspect.md what is planted.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from mms_adapt import audio
from mms_adapt.manifest import Utterance

RATE_HZ = 16_000
ALSO = {"truncated": {"truncated", "undecodable"}}  # as good an answer


@dataclass(frozen=True)
class Bed:
    """Where faults are planted.

    Attributes:
        utterances: Usable ones.
        root: The folder of their recordings.
        folder: Where faulty recordings go.
        kind: What is planted.
        count: How many.
    """

    utterances: Sequence[Utterance]
    root: Path
    folder: Path
    kind: str
    count: int

    @property
    def draw(self) -> np.random.Generator:
        """Random numbers of this kind, the same every time."""
        return np.random.default_rng(list(self.kind.encode()))

    def chosen(self, wanted: Callable[[Utterance], bool] = lambda one: True) -> list[Utterance]:
        """Draw utterances of 1.5 to 12 s."""
        fitting = [one for one in self.utterances if 1.5 <= one.duration_s <= 12 and wanted(one)]
        places = self.draw.permutation(len(fitting))[: self.count]
        return [fitting[place] for place in sorted(places)]

    def heard(self, one: Utterance) -> Any:
        """Return an utterance's samples."""
        return audio.read(self.root / one.recording, one.start_s, one.end_s)

    def write(
        self,
        one: Utterance,
        samples: Any,
        *,
        rate_hz: int = RATE_HZ,
        format: str = "WAV",
        id: str | None = None,
        **fields: Any,
    ) -> Utterance:
        """Write samples as a recording of their own, and return the utterance that it holds."""
        name = id or one.id
        recording = f"{name}.{format.lower()}"
        subtype = {"OGG": "OPUS", "MP3": None}.get(format, "PCM_16")
        soundfile.write(self.folder / recording, samples, rate_hz, format=format, subtype=subtype)
        return bare(one, id=name, recording=recording, start_s=0.0, end_s=None, **fields)

    def written(self, change: Callable[[Any, int], Any], **options: Any) -> list[Utterance]:
        """Write chosen utterances, their samples changed: `change(samples, place)`."""
        return [
            self.write(one, change(self.heard(one), place), **options)
            for place, one in enumerate(self.chosen())
        ]

    def retold(
        self, change: Callable[[str, int], str], wanted: Callable[[Utterance], bool] = lambda one: True
    ) -> list[Utterance]:
        """Write chosen utterances, their transcripts changed: `change(transcript, place)`."""
        return [
            self.write(one, self.heard(one), transcript=change(one.transcript, place))
            for place, one in enumerate(self.chosen(wanted))
        ]


def bare(one: Utterance, **fields: Any) -> Utterance:
    """Return an utterance as a reader gives it: nobody has looked at it."""
    return replace(one, **{"reference": None, "audio_sha256": None, **fields})


def missing_audio(bed: Bed) -> list[Utterance]:
    """Names of recordings that are not there."""
    return [bare(one, recording=f"{one.id}.wav") for one in bed.chosen()]


def undecodable(bed: Bed) -> list[Utterance]:
    """Empty files, noise, text, and WAV files whose header is damaged."""
    contents = []
    for place, one in enumerate(bed.chosen()):
        made = bed.write(one, bed.heard(one))
        path = bed.folder / made.recording
        whole = path.read_bytes()
        damaged = (b"", bed.draw.bytes(5000), b"this is no sound\n" * 50, b"RIFX" + whole[4:20] + whole[60:])
        path.write_bytes(damaged[place % 4])
        contents.append(made)
    return contents


def truncated(bed: Bed) -> list[Utterance]:
    """Recordings (WAV, FLAC, Ogg Opus) that end after 30 to 80 % of their bytes."""
    found = []
    for place, one in enumerate(bed.chosen()):
        made = bed.write(one, bed.heard(one), format=("WAV", "FLAC", "OGG")[place % 3])
        path = bed.folder / made.recording
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * bed.draw.permutation(np.linspace(0.3, 0.8, 50))[place])])
        found.append(made)
    return found


def silent(bed: Bed) -> list[Utterance]:
    """Digital silence, a constant offset, the last bit flickering."""
    draw = bed.draw

    def change(samples: Any, place: int) -> Any:
        kinds = (
            np.zeros_like(samples),
            np.full_like(samples, 0.1),
            draw.integers(0, 2, len(samples)) / 32768,
        )
        return kinds[place % 3]

    return bed.written(change)


def empty_transcript(bed: Bed) -> list[Utterance]:
    """No text, or nothing but marks and remarks in brackets."""
    return bed.retold(lambda _, place: ("", "...", "(laughs)", "[noise] -")[place % 4])


def too_short(bed: Bed) -> list[Utterance]:
    """The first 0.05 to 0.2 s of an utterance."""
    return bed.written(lambda samples, place: samples[: 800 + 48 * place])


def too_long(bed: Bed) -> list[Utterance]:
    """Utterances again and again, 31 to 60 s long."""
    return bed.written(lambda samples, place: np.resize(samples, int(RATE_HZ * (31 + 0.58 * place))))


def ctc_impossible(bed: Bed) -> list[Utterance]:
    """Utterances with sixty characters a second."""
    return [
        bed.write(one, bed.heard(one), transcript="ab" * int(30 * one.duration_s)) for one in bed.chosen()
    ]


def clipped(bed: Bed) -> list[Utterance]:
    """1 to 5 % of the samples cut off: as they are, at 44.1 kHz and then converted, and as Ogg Opus."""
    found = []
    for place, one in enumerate(bed.chosen()):
        samples = bed.heard(one)
        ceiling = float(np.quantile(np.abs(samples), 1 - 0.01 * (1 + place % 5)))
        if place % 3 == 1:
            finer = np.clip(soxr.resample(samples, RATE_HZ, 44_100), -ceiling, ceiling)
            cut = soxr.resample(finer, 44_100, RATE_HZ)
        else:
            cut = np.clip(samples, -ceiling, ceiling)
        found.append(bed.write(one, cut * 0.8 / ceiling, format="OGG" if place % 3 == 2 else "WAV"))
    return found


def faint(bed: Bed) -> list[Utterance]:
    """Vowels at -55 to -65 dB of full scale, stored in 16 bits."""

    def change(samples: Any, place: int) -> Any:
        loud = np.quantile(np.abs(samples), 0.95)
        return samples / loud * 10 ** ((-55 - place / 5) / 20)

    return bed.written(change)


def noisy(bed: Bed) -> list[Utterance]:
    """Noise, white or of the spectrum of speech, as loud as the speech."""
    draw = bed.draw

    def change(samples: Any, place: int) -> Any:
        noise = draw.normal(size=len(samples))
        if place % 2:  # the phases of speech drawn anew
            spectrum = np.abs(np.fft.rfft(samples)) * np.exp(2j * np.pi * draw.random(len(samples) // 2 + 1))
            noise = np.fft.irfft(spectrum, len(samples))
        mixed = samples + noise / noise.std() * samples.std()
        return 0.5 * mixed / np.abs(mixed).max()

    return bed.written(change)


def low_rate(bed: Bed) -> list[Utterance]:
    """Files of 8,000 and 11,025 samples a second."""
    found = []
    for place, one in enumerate(bed.chosen()):
        rate_hz = (8_000, 11_025)[place % 2]
        found.append(bed.write(one, soxr.resample(bed.heard(one), RATE_HZ, rate_hz), rate_hz=rate_hz))
    return found


def narrow_band(bed: Bed) -> list[Utterance]:
    """Brought to 8 kHz and back to 16 kHz; half of them as Ogg Opus."""
    found = []
    for place, one in enumerate(bed.chosen()):
        narrow = soxr.resample(soxr.resample(bed.heard(one), RATE_HZ, 8_000), 8_000, RATE_HZ)
        found.append(bed.write(one, narrow, format="OGG" if place % 2 else "WAV"))
    return found


def pace(bed: Bed) -> list[Utterance]:
    """The transcript of an utterance that is at least 2.5 times as long or as short."""
    found, draw = [], bed.draw
    for one in bed.chosen():
        length = len(one.reference or "")
        others = [
            other.transcript
            for other in bed.utterances
            if not 0.4 * length < len(other.reference or "") < 2.5 * length
            and len(other.reference or "")
            < 20 * one.duration_s  # or it were impossible, which is another kind
        ]
        if others:
            transcript = others[draw.integers(len(others))]
            found.append(bed.write(one, bed.heard(one), transcript=transcript))
    return found


def two_transcripts(bed: Bed) -> list[Utterance]:
    """A copy of the recording with another utterance's text."""
    chosen = bed.chosen()
    return [
        bed.write(one, bed.heard(one), id=f"copy-{one.id}", transcript=other.transcript)
        for one, other in zip(chosen, _others(bed, chosen), strict=True)
    ]


def same_sound(bed: Bed) -> list[Utterance]:
    """A copy of the recording, in another format."""
    return [bed.write(one, bed.heard(one), id=f"copy-{one.id}", format="FLAC") for one in bed.chosen()]


def near_same_sound(bed: Bed) -> list[Utterance]:
    """A copy at 10 to 60 % of the volume, up to 25 ms cut off; as WAV, Ogg Opus or MP3."""
    found = []
    for place, one in enumerate(bed.chosen()):
        samples = bed.heard(one)[8 * place + 1 :] * (0.1 + place / 100)
        format = ("WAV", "OGG", "MP3")[place % 3]
        found.append(bed.write(one, samples, id=f"copy-{one.id}", format=format))
    return found


def same_sentence(bed: Bed) -> list[Utterance]:
    """The transcript of another utterance, in capitals."""
    chosen = bed.chosen()
    return [
        bed.write(one, bed.heard(one), transcript=other.transcript.upper())
        for one, other in zip(chosen, _others(bed, chosen), strict=True)
    ]


def near_same_sentence(bed: Bed) -> list[Utterance]:
    """The transcript of another utterance of 20 letters or more, one letter taken out."""

    def long_enough(one: Utterance) -> bool:
        return len(one.reference or "") >= 20

    found = []
    chosen = bed.chosen(long_enough)
    for place, (one, other) in enumerate(zip(chosen, _others(bed, chosen, long_enough), strict=True)):
        text = other.reference or ""
        gone = 1 + (7 * place) % (len(text) - 2)
        while text[gone] == " ":
            gone -= 1
        found.append(bed.write(one, bed.heard(one), transcript=text[:gone] + text[gone + 1 :]))
    return found


def _others(
    bed: Bed, chosen: Sequence[Utterance], wanted: Callable[[Utterance], bool] = lambda one: True
) -> Iterator[Utterance]:
    """Yield for each of those chosen another one, none of them and none twice, whose text fits its time."""
    taken = {one.id for one in chosen}
    rest = [one for one in bed.utterances if one.id not in taken and wanted(one)]
    drawn = [rest[place] for place in bed.draw.permutation(len(rest))]
    for one in chosen:
        fitting = next(
            place for place, other in enumerate(drawn) if len(other.reference or "") < 20 * one.duration_s
        )
        yield drawn.pop(fitting)


_CYRILLIC = dict(zip("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопкрстуввхиз", strict=True))
_LATIN = "abtsjhdrzsxctvgfkglmnvyiou"


def _latin_script(bed: Bed) -> bool:
    letters = Counter(each for one in bed.utterances for each in one.reference or "" if each.isalpha())
    return unicodedata.name(letters.most_common(1)[0][0]).startswith("LATIN")


def other_script(bed: Bed) -> list[Utterance]:
    """The transcript letter by letter in Cyrillic; in Latin where the corpus is in Arabic script."""
    latin = _latin_script(bed)

    def change(text: str, _: int) -> str:
        apart = unicodedata.normalize("NFD", text.lower())
        plain = "".join(each for each in apart if not unicodedata.combining(each))
        if latin:
            return "".join(_CYRILLIC.get(each, "ж" if each.isalpha() else each) for each in plain)
        return "".join(_LATIN[ord(each) % len(_LATIN)] if each.isalpha() else each for each in plain)

    return bed.retold(change)


def look_alike(bed: Bed) -> list[Utterance]:
    """One letter written as its twin: Cyrillic а е о р с, or in Arabic script ي ك."""
    pairs = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "ی": "ي", "ک": "ك"}
    upper = {one.upper(): other.upper() for one, other in pairs.items() if one.upper() != one}

    def change(text: str, place: int) -> str:
        places = [number for number, each in enumerate(text) if each in pairs or each in upper]
        at = places[place % len(places)]
        return text[:at] + (pairs | upper)[text[at]] + text[at + 1 :]

    return bed.retold(change, lambda one: any(each in pairs or each in upper for each in one.transcript))


def rare_character(bed: Bed) -> list[Utterance]:
    """A letter that stands nowhere else, each in two utterances."""
    held = {each for one in bed.utterances for each in one.reference or ""}
    latin = "ðþøåŧłħẅẍỹęąųįżźćńśŕĺůűőöüäñçẽĩũ"
    arabic = "ټډړږښڼېۍځڅټڳݢۋۇۆۈۉڤڠڽڎڈٺٿٽټٻڀڃ"
    alphabet = dict.fromkeys(latin if _latin_script(bed) else arabic)
    letters = [each for each in alphabet if each not in held]
    return bed.retold(lambda text, place: f"{text} {letters[place // 2 % len(letters)]}")


def unicode_forms(bed: Bed) -> list[Utterance]:
    """The transcript taken apart (NFD); only where letters have marks."""
    return bed.retold(
        lambda text, _: unicodedata.normalize("NFD", text),
        lambda one: not unicodedata.is_normalized("NFD", one.transcript),
    )


def digits(bed: Bed) -> list[Utterance]:
    """A number in figures behind the text."""
    return bed.retold(lambda text, place: f"{text} {7 * place}")


KINDS = {
    make.__name__: make
    for make in (
        missing_audio,
        undecodable,
        truncated,
        silent,
        empty_transcript,
        too_short,
        too_long,
        ctc_impossible,
        clipped,
        faint,
        noisy,
        low_rate,
        narrow_band,
        pace,
        two_transcripts,
        same_sound,
        near_same_sound,
        same_sentence,
        near_same_sentence,
        other_script,
        look_alike,
        rare_character,
        unicode_forms,
        digits,
    )
}
