"""Word and character error rate with counts and intervals, as a metric of Hugging Face's evaluate.

In: predictions and references as strings. Out: the figures of `mms_adapt.scoring.score`, which are jiwer's.
It normalises nothing but Unicode form and white space.
"""

import datasets
import evaluate

from mms_adapt.scoring import score

_CITATION = ""
_INPUTS = """
Args:
    predictions: list of recognised texts.
    references: list of what was said, normalised in the same way.
    bootstrap: draws for the 95 % intervals; 0 for none.
    seed: start of their random numbers.
Returns:
    wer, cer, sentence_error: ratios.
    words, characters, utterances: what they are ratios of.
    wer_low, wer_high, cer_low, cer_high: 95 % intervals by utterance; None where there are none.
    signature: how the figures were made.
"""


class ErrorRates(evaluate.Metric):  # type: ignore[misc]
    """Word and character error rate."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        )
        return evaluate.MetricInfo(
            description="Word and character error rate with intervals, equal to jiwer's.",
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=features,
        )

    def _compute(
        self, predictions: list[str], references: list[str], bootstrap: int = 1000, seed: int = 0
    ) -> dict[str, float | int | str | None]:
        found = score(references, predictions, bootstrap=bootstrap, seed=seed)
        wer, cer = found.wer_interval, found.cer_interval
        return {
            "wer": found.wer,
            "cer": found.cer,
            "sentence_error": found.sentence_error,
            "words": found.words,
            "characters": found.characters,
            "utterances": found.utterances,
            "wer_low": wer.low if wer else None,
            "wer_high": wer.high if wer else None,
            "cer_low": cer.low if cer else None,
            "cer_high": cer.high if cer else None,
            "signature": found.signature,
        }
