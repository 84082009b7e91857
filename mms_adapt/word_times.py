"""Where the words of a known text are in its sound.

In: a transcriber, samples and the text. Out: a `Word` for each, with times and how well the sound bears it
out. It does not know pictures or files.
"""

from typing import TYPE_CHECKING

import numpy as np

from mms_adapt.align import align
from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ
from mms_adapt.decoders import Token, Word
from mms_adapt.decoders.greedy import words_of

if TYPE_CHECKING:
    from mms_adapt.recordings import Waveform
    from mms_adapt.transcribe import Transcriber


def find(transcriber: "Transcriber", samples: "Waveform", reference: str) -> tuple[Word, ...]:
    """Return the words of a reference where the adapter finds them in the sound.

    Args:
        transcriber: The adapter.
        samples: Mono audio at 16 kHz, `(samples,)`, of at most about a window.
        reference: What is said in it, normalised.

    Raises:
        TextError: If the sound is too short for so much text.
    """
    vocab = transcriber.vocab
    (emissions,) = transcriber.emissions([samples])
    spans = align(emissions, vocab.encode(reference), vocab.blank_id)
    frame_s = FRAME_STRIDE / SAMPLE_RATE_HZ
    tokens = [
        Token(vocab.tokens[one.token_id], one.start * frame_s, one.end * frame_s, float(np.exp(one.log)))
        for one in spans
    ]
    return tuple(words_of(tokens, vocab.tokens[vocab.delimiter_id]))
