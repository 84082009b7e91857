"""Turn transcripts into the two label sequences of pre-training: characters and phones.

In: transcripts as found, with the language they are in. Out: character tokens, and phone tokens (IPA
symbols, and tone letters where the transcript has tones) as espeak-ng would say them.

It does not know: audio, the model, or which utterances are held out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from synthesise_corpus import Synthesiser

VOICES = {
    "eng": "en-us",
    "deu": "de",
    "fas": "fa",
    "fra": "fr",
    "spa": "es-419",
    "rus": "ru",
    "cmn": "cmn-latn-pinyin",
}
"""The espeak-ng voice that reads each pre-training language."""

PINYIN_TONES = {"1": "˥", "2": "˧˥", "3": "˨˩˦", "4": "˥˩"}
LONG_VOWELS = frozenset("de fi hu et cs sk lv eo om smj kl mi haw la hi mr ar".split())
"""Voices in whose languages length tells words apart; elsewhere the mark of length is left out."""

_KEPT_MARKS = {
    "\u0303",
    "\u02d0",
    "\u02b2",
    "\u02b0",
}  # nasal, long, palatalised, aspirated: tokens of their own
_REPLACED = {
    "ɚ": "əɹ",
    "ɝ": "ɜɹ",
    "g": "ɡ",
    "ᵻ": "ɨ",
    "ʦ": "ts",
    "ʧ": "tʃ",
    "ʤ": "dʒ",
    "ɫ": "l",
    "ʀ": "ʁ",
    "ɭ": "l",
}
_DROPPED = set("ˈˌ_.-|ʔ͡ '\"()[]{}^?!,;:")
_SWITCH = re.compile(r"\([a-z-]+\)")
_STOPS = re.compile(r"[.!?;:…,\n\r\"“”„«»()\[\]–—-]+")


def characters(transcript: str) -> list[str]:
    """Return the lower-case letters, marks and digits of a transcript, `|` between words.

    Args:
        transcript: Text as found.

    Returns:
        Tokens of one code point each after NFC; apostrophes inside a word are kept.
    """
    text = unicodedata.normalize("NFC", transcript).lower().replace("’", "'")
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in text)
    words = [word.strip("'") for word in kept.split()]
    return list("|".join(word for word in words if word))


def phones_of_ipa(ipa: str, *, keep_length: bool) -> list[str]:
    """Split espeak-ng's IPA into single phone symbols without stress, ties or digits.

    Args:
        ipa: What `Synthesiser.phonemes` returned.
        keep_length: Keep the mark of length as a token.

    Returns:
        Phone tokens; no word boundaries.
    """
    text = _SWITCH.sub(" ", ipa).replace("ts.", "tʂ").replace("s.", "ʂ")
    tokens: list[str] = []
    for raw in "".join(c if c == "ç" else unicodedata.normalize("NFD", c) for c in text):
        for c in _REPLACED.get(raw, raw):
            if c.isspace() or c in _DROPPED or c.isdigit() or (c == "ː" and not keep_length):
                continue
            if c in _KEPT_MARKS and not tokens:
                continue
            if c in _KEPT_MARKS or unicodedata.category(c) in ("Ll", "Lo", "Lm"):
                tokens.append(c)
    return tokens


def switches_language(ipa: str) -> bool:
    """Tell whether espeak-ng took a part of the text for another language or spelled it out."""
    return bool(_SWITCH.search(ipa))


def phonemise(transcripts: Sequence[str], target_lang: str, speaker: Synthesiser) -> list[list[str]]:
    """Return the phones of each transcript as espeak-ng reads it.

    Args:
        transcripts: Text as found; punctuation is taken for spaces.
        target_lang: A key of `VOICES`.
        speaker: The synthesiser.
    """
    return [_phones(transcript, target_lang, speaker) for transcript in transcripts]


def _phones(transcript: str, target_lang: str, speaker: Synthesiser) -> list[str]:
    voice = VOICES[target_lang]
    text = _STOPS.sub(" ", transcript).strip().lower()
    if not text:
        return []
    if target_lang == "cmn":
        return list(_of_pinyin(text.split(), speaker))
    return phones_of_ipa(speaker.phonemes(text, voice), keep_length=voice in LONG_VOWELS)


def _of_pinyin(syllables: Iterable[str], speaker: Synthesiser) -> Iterable[str]:
    """Yield the phones of numbered syllables (`hao3`), each followed by its tone."""
    for syllable in syllables:
        toneless = re.sub(r"[^a-zü]", "", syllable.replace("v", "ü"))
        yield from phones_of_ipa(speaker.phonemes(f"{toneless}1", VOICES["cmn"]), keep_length=False)
        if syllable[-1] in PINYIN_TONES:
            yield PINYIN_TONES[syllable[-1]]
