"""Weights and bonuses of a language model, tried on the dev set.

In: emissions of dev utterances and the models of a beam search. Out: error rates, and the setting with the
lowest. The test set is never read here; it does not know where models are from.
"""

import math
from collections.abc import Callable, Sequence

from mms_adapt import text
from mms_adapt.decoders import beam
from mms_adapt.manifest import Utterance
from mms_adapt.prepared import Prepared
from mms_adapt.scoring import score
from mms_adapt.vocab import Vocab
from mms_adapt.windows import Emissions

Progress = Callable[..., None]
_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
_RELIEFS = (0.0, 0.3, 0.6, 0.8, 1.0, 1.2, 1.5)  # shares of what a token costs that its bonus gives back
_MOST = 2 + 2 * (len(_WEIGHTS) + len(_RELIEFS))  # searches: without a model, the settings, and a wider one
_OTHER = 0.1  # how much the other rate counts: on minutes of speech, what is hardly lower is lower by chance
_DEAREST = 10.0  # what a token may cost at most where the search begins, though a model knows none of them


def tokens_of(sentence: str, vocab: Vocab, unit: str) -> list[str]:
    """Return a sentence as a language model's tokens: words, or graphemes with a delimiter between words."""
    if unit == "word":
        return sentence.split()
    return vocab.spell(sentence)


class DecodingTrial:
    """Error rates of settings on the dev set, each reckoned once.

    Args:
        data: Where the utterances are from.
        utterances: Utterances of the dev set.
        heard: Emissions of each.
        vocab: The adapter's vocabulary.
        options: The search, with its language model; weight and bonus are what is tried.
        unit: What is to be low: "cer" or "wer"; the other counts a tenth.
        progress: Called with ("tune", done, total, note).
    """

    def __init__(
        self,
        data: Prepared,
        utterances: Sequence[Utterance],
        heard: Sequence[Emissions],
        vocab: Vocab,
        options: beam.Options,
        unit: str,
        progress: Progress | None,
    ) -> None:
        self.normalise = text.get(data.normaliser, target_lang=data.target_lang)
        self.references = [one.reference or "" for one in utterances]
        self.heard, self.vocab = heard, vocab
        self.unit, self.progress, self.decoder = unit, progress, beam.Beam(vocab, options)
        self.known: dict[tuple[float, float] | None, tuple[float, float]] = {}

    def searched(self) -> tuple[float, float]:
        """Return weight and bonus that were found best."""
        cost = self.cost()

        def setting(pair: tuple[float, float]) -> tuple[float, float]:
            weight, relief = pair
            return weight, min(beam.LARGEST, round(weight * relief * cost, 2))

        def wrong(pair: tuple[float, float]) -> float:
            return self._wrong(self.rates(setting(pair)))

        best = (0.5, 1.0)
        for _ in range(2):
            best = min(((one, best[1]) for one in (best[0], *_WEIGHTS)), key=wrong)
            best = min(((best[0], one) for one in (best[1], *_RELIEFS)), key=wrong)
        return setting(best)

    def cost(self) -> float:
        """Return what a token costs on average with a weight of 1, in natural logarithms."""
        if self.decoder.model is None:
            return 0.0
        unit = "grapheme" if self.decoder.by_grapheme else "word"
        spoken = (tokens_of(one, self.vocab, unit) for one in self.references)
        return min(_DEAREST, math.log(self.decoder.model.perplexity(spoken)))

    def rates(self, setting: tuple[float, float] | None) -> tuple[float, float]:
        """Return character and word error rate of weight and bonus, or of no language model."""
        if setting not in self.known:
            if setting is None:
                decoder = beam.Beam(self.vocab, beam.Options(beam_width=self.decoder.options.beam_width))
            else:
                decoder = self.decoder.weighted(*setting)
            self.known[setting] = self._through(decoder)
            best = min(pair[self.unit == "wer"] for pair in self.known.values())
            self._tell(len(self.known), f"best {self.unit.upper()} {100 * best:.1f} %")
        return self.known[setting]

    def wide(self, setting: tuple[float, float], beam_width: int) -> tuple[int, tuple[float, float]]:
        """Return the better one of two widths of the search, this one's and another, and its rates."""
        own = self.decoder.options.beam_width, self.rates(setting)
        if beam_width == own[0]:
            return own
        rates = self._through(self.decoder.weighted(*setting, beam_width), f"{beam_width} texts")
        self._tell(_MOST, f"{self.unit.upper()} {100 * rates[self.unit == 'wer']:.1f} %")
        return min(own, (beam_width, rates), key=lambda one: self._wrong(one[1]))

    def _wrong(self, rates: tuple[float, float]) -> float:
        cer, wer = rates
        return wer + _OTHER * cer if self.unit == "wer" else cer + _OTHER * wer

    def _tell(self, done: int, note: str) -> None:
        if self.progress:
            self.progress("tune", done, _MOST, note)

    def _through(self, decoder: beam.Beam, width: str = "") -> tuple[float, float]:
        texts: list[str] = []
        for one in self.heard:
            texts.append(self.normalise(decoder.decode(one[None], [len(one)])[0].text))
            if width:
                self._tell(_MOST - 1, f"{width}: {len(texts)} of {len(self.heard)} utterances")
        found = score(self.references, texts, bootstrap=0)
        return found.cer, found.wer
