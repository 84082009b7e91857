"""Where somebody speaks, by a model that tells voices from other sound: silero-vad (the extra "vad").

In: samples at 16 kHz, block by block. Out: which frames are speech. Loudness, by which recordings are cut
where nothing else is asked for, takes an engine or music for speech; this does not. It knows neither
recordings nor how they are cut. silero-vad is imported when it is asked for and not before.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mms_adapt.audio import FRAME_STRIDE, SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError
from mms_adapt.recordings import Waveform

_CHUNK = 512  # samples that the model takes at a time, at 16 kHz
_BEGINS, _ENDS = 0.5, 0.35  # probability from which on something is speech, and below which it no longer is


class Silero:
    """silero-vad's model, loaded once for one recording.

    Raises:
        OptionError: If silero-vad is not installed, or does not load.
    """

    def __init__(self) -> None:
        import torch

        threads = torch.get_num_threads()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, about the format of the model's file
                from silero_vad import load_silero_vad

                self._model: Any = load_silero_vad()
        except (ImportError, OSError, RuntimeError) as error:
            raise OptionError(
                f"cut='silero' needs silero-vad, which does not load ({error}): install it with "
                "pip install 'mms-adapt[vad]', or take cut='pauses', which needs nothing more"
            ) from error
        finally:
            torch.set_num_threads(threads)  # it sets one for the whole process

    def __call__(self, samples: Waveform) -> NDArray[np.bool_]:
        """Return which frames of 20 ms are speech, `(frames,)`; the last may be a part of one.

        Args:
            samples: A block of a recording, `(samples,)`.
        """
        import torch

        padded = np.pad(samples, (0, -len(samples) % _CHUNK)).astype(np.float32)
        self._model.reset_states()
        with torch.inference_mode():
            likely = [
                float(self._model(torch.from_numpy(one.copy()), SAMPLE_RATE_HZ))
                for one in padded.reshape(-1, _CHUNK)  # `(chunks, samples)`
            ]
        frames = -(-len(samples) // FRAME_STRIDE)
        middles = np.minimum(np.arange(frames) * FRAME_STRIDE + FRAME_STRIDE // 2, len(samples) - 1)
        speaks: NDArray[np.bool_] = _held(np.array(likely))[middles // _CHUNK]
        return speaks


def _held(likely: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return what is speech by its probability `(chunks,)`; speech goes on while it is not unlikely."""
    found, speaks = np.zeros(len(likely), bool), False
    for place, one in enumerate(likely):
        speaks = one >= (_ENDS if speaks else _BEGINS)
        found[place] = speaks
    return found
