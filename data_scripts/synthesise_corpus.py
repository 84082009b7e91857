"""Make a small corpus of synthetic speech in Italian, Swahili or Turkish, where no recordings can be fetched.

In: nothing; espeak-ng comes as the Python wheel `espeakng-loader`. Out: the same layout as
prepare_asterisk.py writes. The sentences come from a little grammar of this file, the voice is a formant
synthesiser: good for seeing that every step works, **no evidence of how well real speech is recognised**.

    python data_scripts/synthesise_corpus.py --out demo/corpus

It does not know: mms_adapt.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import random
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16000
TARGET_LANG = "ita"
VARIANTS = ("m3", "f2", "m7", "f4")


@dataclass(frozen=True, slots=True)
class Grammar:
    """Sentences of one language, each of one phrase of every slot.

    Attributes:
        voice: espeak-ng's name of the language.
        slots: What stands in each place, in the order of the sentence.
    """

    voice: str
    slots: tuple[tuple[str, ...], ...]


def _slots(*lines: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split(",")) for line in lines)


GRAMMARS = {
    "ita": Grammar(
        "it",
        _slots(
            "il gatto,la maestra,mio fratello,una vecchia signora,il pescatore,la bambina,il cane nero,"
            "un amico,la vicina,il contadino,tuo padre,lo studente,un ragazzo,la zia,il medico,una guida",
            "guarda,cerca,porta,vede,lascia,trova,prende,aspetta,disegna,ricorda,compra,sente,conosce,segue",
            "la casa,il pane caldo,una barca,le chiavi,il libro rosso,la strada,un albero,la pioggia,i fiori,"
            "il treno,due pesci,la luna,una lettera,il mercato,le pecore,un fuoco,l'acqua fresca,la musica",
            "vicino al fiume,di mattina,dopo la scuola,nel bosco,ogni sera,sulla collina,con gli amici,"
            "davanti alla porta,in silenzio,prima di cena,sotto il ponte,quando piove,lontano dal mare,"
            "a mezzogiorno",
        ),
    ),
    "swh": Grammar(
        "sw",
        _slots(
            "paka,mwalimu,ndugu yangu,bibi mzee,mvuvi,mtoto,mbwa mweusi,rafiki,jirani,mkulima,baba yako,"
            "mwanafunzi,kijana,shangazi,daktari,mgeni",
            "anaona,anatafuta,analeta,anaacha,anapata,anachukua,anasubiri,anachora,anakumbuka,ananunua,anasikia,"
            "anajua,anafuata,anaangalia",
            "nyumba,mkate wa moto,mashua,funguo,kitabu chekundu,njia,mti,mvua,maua,treni,samaki wawili,mwezi,"
            "barua,soko,kondoo,moto,maji baridi,muziki",
            "karibu na mto,asubuhi,baada ya shule,msituni,kila jioni,kilimani,na marafiki,mbele ya mlango,"
            "kimya kimya,kabla ya chakula,chini ya daraja,wakati wa mvua,mbali na bahari,saa sita",
        ),
    ),
    "tur": Grammar(
        "tr",
        _slots(
            "kedi,öğretmen,kardeşim,yaşlı bir kadın,balıkçı,küçük kız,siyah köpek,bir arkadaş,komşu,çiftçi,"
            "baban,öğrenci,bir çocuk,teyze,doktor,rehber",
            "nehrin yanında,sabahları,okuldan sonra,ormanda,her akşam,tepede,arkadaşlarla,kapının önünde,"
            "sessizce,yemekten önce,köprünün altında,yağmurda,denizden uzakta,öğlen",
            "evi,sıcak ekmeği,bir tekneyi,anahtarları,kırmızı kitabı,yolu,bir ağacı,yağmuru,çiçekleri,treni,"
            "iki balığı,ayı,mektubu,pazarı,koyunları,ateşi,soğuk suyu,müziği",
            "görüyor,arıyor,getiriyor,bırakıyor,buluyor,alıyor,bekliyor,çiziyor,hatırlıyor,satın alıyor,"
            "duyuyor,tanıyor,takip ediyor,izliyor",
        ),
    ),
}

_SYNCHRONOUS, _UTF8, _IPA, _RATE, _PITCH = 2, 1, 2, 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Synthetic:
    """What was written."""

    folder: Path
    utterance_count: int
    duration_s: float


@cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    """Return espeak-ng and its sample rate, started once a process.

    A second start frees the tables of phonemes while the voice in use still points into them.
    """
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    if rate_hz <= 0:
        raise RuntimeError("espeak-ng found no voice data in the wheel espeakng-loader")
    return library, rate_hz


class Synthesiser:
    """espeak-ng, called through its C interface; a process has one voice, so one thread at a time.

    Args:
        seed: Draws the irregularities of its voices.
    """

    def __init__(self, seed: int = 0) -> None:
        self._library, self._rate_hz = _espeak()
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._blocks: list[np.ndarray] = []
        self._keep = _CALLBACK(self._collect)  # must outlive every call, else the library calls freed memory

    def _collect(self, wave: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if wave and count > 0:
            self._blocks.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        return 0

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")

    def phonemes(self, text: str, voice: str) -> str:
        """Return the IPA of what `speak` would say, with espeak-ng's own marks of stress and language.

        Raises:
            RuntimeError: the voice is unknown.
        """
        self._choose(voice)
        encoded = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(encoded))
        clauses = []
        while rest.value:
            clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA).decode())
        return " ".join(clauses)

    def speak(self, text: str, voice: str, *, words_per_minute: int = 150, pitch: int = 50) -> np.ndarray:
        """Return `(samples,)` of float32 at 16 kHz.

        Raises:
            RuntimeError: the voice is unknown or espeak-ng refused the text.
        """
        import soxr

        self._blocks.clear()
        self._library.espeak_SetSynthCallback(self._keep)
        self._choose(voice)
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        encoded = text.encode() + b"\0"
        if self._library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None):
            raise RuntimeError(f"espeak-ng could not speak {text!r}")
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._blocks).astype(np.float32) / 32768
        resampled: np.ndarray = soxr.resample(samples, self._rate_hz, SAMPLE_RATE_HZ)
        return resampled


def sentences(count: int, seed: int, target_lang: str = TARGET_LANG) -> list[str]:
    """Draw `count` different sentences, the same ones for the same seed."""
    every = [" ".join(parts) for parts in itertools.product(*GRAMMARS[target_lang].slots)]
    return random.Random(seed).sample(every, count)


def build(out: Path, *, count: int = 400, seed: int = 0, target_lang: str = TARGET_LANG) -> Synthetic:
    """Write the corpus into `out`, which is replaced.

    Args:
        out: Folder of the corpus.
        target_lang: One of `GRAMMARS`.
        count: How many sentences.
        seed: Draws the sentences, voices, rates and pitches.
    """
    import soundfile

    rng, synthesiser = random.Random(seed), Synthesiser(seed)
    shutil.rmtree(out, ignore_errors=True)
    (out / "recordings").mkdir(parents=True)
    duration_s, rows = 0.0, []
    for index, sentence in enumerate(sentences(count, seed, target_lang)):
        voice = f"{GRAMMARS[target_lang].voice}+{VARIANTS[index % len(VARIANTS)]}"
        samples = synthesiser.speak(
            sentence, voice, words_per_minute=rng.randint(130, 180), pitch=rng.randint(35, 65)
        )
        recording = f"recordings/{index:04d}.flac"
        soundfile.write(out / recording, samples, SAMPLE_RATE_HZ)
        end_s = len(samples) / SAMPLE_RATE_HZ
        duration_s += end_s
        row = {
            "id": f"{target_lang}-synthetic-{index:04d}",
            "recording": recording,
            "start_s": 0.0,
            "end_s": end_s,
        }
        row |= {"transcript": sentence, "speaker": f"espeak-ng {voice}", "source_split": None}
        rows.append(row | {"target_lang": target_lang, "licence": "CC0-1.0"})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "utterances.jsonl").write_text(text, encoding="utf-8")
    (out / "SOURCE.md").write_text(
        "Synthetic speech: sentences of a small grammar, spoken by the formant synthesiser espeak-ng.\n"
        "It shows that the steps work. It says nothing about how well real speech is recognised.\n",
        encoding="utf-8",
    )
    return Synthetic(out, len(rows), duration_s)


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--count", type=int, default=400, help="sentences")
    parser.add_argument("--target-lang", choices=sorted(GRAMMARS), default=TARGET_LANG)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    corpus = build(options.out, count=options.count, seed=options.seed, target_lang=options.target_lang)
    minutes = corpus.duration_s / 60
    print(f"{corpus.utterance_count} synthetic sentences, {minutes:.1f} minutes, in {corpus.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
