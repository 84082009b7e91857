"""Synthesise pseudo-words with espeak-ng voices of many languages, for phone diversity.

In: a seed and a count. Out: samples at 16 kHz and the phones that espeak-ng spoke. The words are random
strings of open and closed syllables, so the backbone cannot learn to guess a phone from its neighbours.
Italian and Cherokee voices are left out: the demo and the results adapt to these languages.

It does not know: the real corpora, the model.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from synthesise_corpus import Synthesiser

from .labels import LONG_VOWELS, PINYIN_TONES, phones_of_ipa, switches_language

LATIN = (
    "sw tn om id ms ht gn quc mi haw eo tr fi hu ro pl pt-br pt lv sq bs cy eu et sk cs ca af nl da sv nb "
    "az uz kl smj lt sl hr an is lb mt la ku es-419 fr de"
).split()
VOICES = {
    **dict.fromkeys(LATIN, "latin"),
    **dict.fromkeys("uk bg kk ru".split(), "cyrillic"),
    **dict.fromkeys("hi mr ne".split(), "devanagari"),
    "ka": "georgian",
    "hy": "armenian",
    "el": "greek",
    "ar": "arabic",
    "cmn-latn-pinyin": "pinyin",
    "yue-latn-jyutping": "jyutping",
    "vi": "vietnamese",
}
WEIGHTS = {
    "latin": 1,
    "devanagari": 2,
    "georgian": 3,
    "arabic": 3,
    "pinyin": 8,
    "jyutping": 5,
    "vietnamese": 8,
}
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 adam alex anika antonio aunty "
    "benjamin boris caleb david ed edward grandma grandpa gustave ian iven iven2 john linda marcelo max "
    "michael miguel mike norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 travis "
    "victor zac"
).split()

_LATIN_ONSETS = (
    "b d f g h j k l m n p r s t v w y z ch sh ny ng mb nd nz mp nt nk mv kw gw ts dz tw sw ky by my pr tr "
    "kr br dr gr pl bl kl gl st sk sp zh gh kh bh"
).split()
_LATIN_VOWELS = "a e i o u a e i o u aa ee ii oo uu ai au ei ou ia ie io ua".split()
SYLLABLES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "latin": (_LATIN_ONSETS, _LATIN_VOWELS, [*[""] * 5, *"n m l r s t k ng p sh".split()]),
    "cyrillic": (
        "б в г д ж з к л м н п р с т ф х ц ч ш пр тр ст кр нд мб".split(),
        "а е и о у я ю ы".split(),
        [*[""] * 5, *"н м л р с т к".split()],
    ),
    "devanagari": (
        "क ख ग घ च छ ज झ ट ठ ड ढ त थ द ध प फ ब भ म न य र ल व श स ह".split(),
        ["", *"ा ि ी ु ू े ो".split()],
        [*[""] * 4, *"न म र ल".split()],
    ),
    "georgian": (
        "ბ გ დ ვ ზ თ კ ლ მ ნ პ ჟ რ ს ტ ფ ქ ღ ყ შ ჩ ც ძ წ ჭ ხ ჯ ჰ".split(),
        "ა ე ი ო უ".split(),
        [*[""] * 5, *"ნ მ ლ რ ს თ".split()],
    ),
    "armenian": (
        "բ գ դ զ թ լ խ ծ կ հ ձ ղ ճ մ ն շ չ պ ջ ռ ս վ տ ր ց փ ք ֆ".split(),
        "ա ե ի ո".split(),
        [*[""] * 5, *"ն մ լ ս".split()],
    ),
    "greek": (
        "β γ δ ζ θ κ λ μ ν ξ π ρ σ τ φ χ ψ μπ ντ γκ".split(),
        "α ε ι ο ου".split(),
        [*[""] * 5, *"ν ρ λ".split()],
    ),
    "arabic": (
        "ب ت ث ج ح خ د ذ ر ز س ش ص ض ط ظ ع غ ف ق ك ل م ن ه و ي".split(),
        "\u064e \u0650 \u064f \u064eا \u0650ي \u064fو".split(),
        [*[""] * 5, *"نْ مْ لْ رْ سْ".split()],
    ),
}
_PINYIN = (
    "ba pa ma fa da ta na la ga ka ha bo po mo bi pi mi di ti ni li ji qi xi zhi chi shi ri zi ci si bu "
    "pu mu fu du tu nu lu gu ku hu zhu chu shu wo wa wan wen wang ban pan man fan dan tan nan lan gan "
    "kan han ying yang yi ya yao you yuan yun bei pei mei fei gei hei bao pao mao dao tao nao lao gao "
    "kao hao bang tang fang shang zhang ming ping ding ting ning ling jing qing xing dong tong long "
    "gong kong hong zhong xue jue que guo kuo huo shuo"
).split()
_JYUTPING = (
    "baa paa maa faa daa taa naa laa gaa kaa haa jat ji saam si sei ngo lou mou dou hou gou gau kau hau "
    "lau jau sau faan baan maan daan saan gam sam lam ham jan san gan man fan bin pin min tin lin gin "
    "jin sin hoeng soeng loeng joeng dung tung lung gung sung fung hung baak maak saak gwok"
).split()
_JYUTPING_TONES = {"1": "˥", "2": "˧˥", "3": "˧", "4": "˨˩", "5": "˩˧", "6": "˨"}
_VIETNAMESE = (
    "ba ca đa ga la ma na ra ta va xa cha kha nha pha tha tra be đe ghe he le me ne te bê đê kê lê mê "
    "nê bi đi ki li mi ni ti vi bo co đo lo mo no to bô cô đô lô mô nô tô bơ cơ đơ lơ mơ nơ tơ bu cu đu "
    "lu mu nu tu bư cư đư lư mư ban can dan lan man tan bang lang mang tang binh linh minh tinh bon con "
    "mon ton bông đông sông công cung lung"
).split()
_VIETNAMESE_MARKS = {
    "": "˧",
    "\u0301": "˧˥",
    "\u0300": "˨˩",
    "\u0309": "˧˩˧",
    "\u0303": "˧˥ˀ",
    "\u0323": "˨˩ˀ",
}
_VOWEL = re.compile("[aeiouyêôơưăâ]")


@dataclass(frozen=True, slots=True)
class Synthesised:
    """One synthesised utterance: its voice, phones and samples `(samples,)` of int16 at 16 kHz."""

    voice: str
    phones: tuple[str, ...]
    samples: np.ndarray


def _syllable(rng: random.Random, script: str) -> tuple[str, str, str]:
    """Return a syllable of a language with tones as it is written, without its tone, and its tone."""
    if script == "vietnamese":
        plain = rng.choice(_VIETNAMESE)
        mark, tone = rng.choice(list(_VIETNAMESE_MARKS.items()))
        place = _VOWEL.search(plain)
        end = place.end() if place else len(plain)
        return unicodedata.normalize("NFC", plain[:end] + mark + plain[end:]), plain, tone
    plain = rng.choice(_PINYIN if script == "pinyin" else _JYUTPING)
    digit, tone = rng.choice(list((PINYIN_TONES if script == "pinyin" else _JYUTPING_TONES).items()))
    return plain + digit, plain + "1", tone


def _word(rng: random.Random, script: str) -> str:
    """Return one pseudo-word of one to four syllables."""
    onsets, vowels, codas = SYLLABLES[script]
    count = rng.choices((1, 2, 3, 4), weights=(2, 5, 4, 2))[0]
    return "".join(
        (rng.choice(onsets) if i or rng.random() > 0.2 or "" in vowels else "")
        + rng.choice(vowels)
        + rng.choice(codas)
        for i in range(count)
    )


def _toned(rng: random.Random, script: str, voice: str, speaker: Synthesiser) -> tuple[str, list[str]]:
    """Return a text of a language with tones and its phones, the tone after each syllable."""
    text, phones = "", list[str]()
    for _ in range(rng.randint(2, 7)):
        for _ in range(rng.choice((1, 1, 2))):
            written, toneless, tone = _syllable(rng, script)
            said = re.sub(r"(?<=\S)[0-9]", "", speaker.phonemes(toneless, voice))
            text += written
            phones += [*phones_of_ipa(said, keep_length=False), tone]
            if script == "vietnamese":
                text += " "
        text += " "
    return text, phones


def speak(seed: int, speaker: Synthesiser) -> Synthesised | None:
    """Speak one random sentence; None where espeak-ng spells words out instead of reading them.

    Args:
        seed: Chooses voice, words, speed and pitch.
        speaker: The synthesiser.
    """
    rng = random.Random(seed)
    names = list(VOICES)
    language = rng.choices(names, weights=[WEIGHTS.get(VOICES[name], 1) for name in names])[0]
    script = VOICES[language]
    if script in SYLLABLES:
        text = " ".join(_word(rng, script) for _ in range(rng.randint(2, 9)))
        ipa = speaker.phonemes(text, language)
        phones = [] if switches_language(ipa) else phones_of_ipa(ipa, keep_length=language in LONG_VOWELS)
    else:
        text, phones = _toned(rng, script, language, speaker)
    if not phones:
        return None
    voice = f"{language}+{rng.choice(VARIANTS)}"
    samples = speaker.speak(text, voice, words_per_minute=rng.randint(110, 210), pitch=rng.randint(15, 85))
    if not 0.4 * 16000 < len(samples) < 16 * 16000:
        return None
    peak = float(np.abs(samples).max()) or 1.0
    return Synthesised(voice, tuple(phones), np.round(samples * (16000 / peak)).astype(np.int16))


def _speak_many(seeds: range) -> list[Synthesised]:
    speaker = Synthesiser(seeds.start)
    return [one for one in (speak(seed, speaker) for seed in seeds) if one is not None]


def synthesise(count: int, *, seed: int = 0, workers: int = 2, at_once: int = 250) -> Iterator[Synthesised]:
    """Yield utterances, the same ones for the same seed.

    Args:
        count: How many sentences are tried; what espeak-ng cannot read is left out.
        seed: Start of the seeds of the sentences.
        workers: Processes.
        at_once: Sentences that a process makes before it hands them over.
    """
    chunks = [range(s, min(s + at_once, seed + count)) for s in range(seed, seed + count, at_once)]
    with ProcessPoolExecutor(workers) as pool:
        for made in pool.map(_speak_many, chunks):
            yield from made
