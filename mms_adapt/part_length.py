"""How long the parts of a long recording should be for one adapter: chosen on the dev set.

In: an adapter and its prepared data. Out: the lengths that make fewest errors on a recording made of dev
utterances. The test set is never read. It does not know how recordings are cut.

The recording holds the utterances in their order twice: one directly behind the other, the silence at their
ends being all the pause there is, and with pauses of faint noise between them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from mms_adapt import audio, passport, text
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.errors import OptionError, SplitError
from mms_adapt.manifest import Utterance, evenly
from mms_adapt.prepared import Prepared
from mms_adapt.recordings import Waveform
from mms_adapt.scoring import score
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

Progress = Callable[..., None]
USUAL_S = (4.0, 6.0, 8.0, 10.0, 13.0, 17.0)  # what is tried beside what would be taken untold
_LONGEST = 1.5  # times the usual
_PAUSE_S, _NOISE = (0.3, 1.5), 5e-4


@dataclass(frozen=True, slots=True)
class PartLength:
    """Lengths of parts, and what they bring on the dev set.

    Attributes:
        usual_s: How long a part should be where there are pauses enough.
        longest_s: No part is longer.
        dev_cer: Character error rate of the recording with them.
        untold_cer: That with the lengths that are taken where nothing was chosen.
        single_cer: That of the utterances one by one.
        utterances: Utterances that were used.
        tried: How many lengths were tried.
    """

    usual_s: float
    longest_s: float
    dev_cer: float
    untold_cer: float
    single_cer: float
    utterances: int
    tried: int


def choose(
    adapter: str | PathLike[str],
    prepared: Prepared | str | PathLike[str],
    *,
    dev_minutes: float = 6.0,
    device: str = "auto",
    backbone: str | None = None,
    allow_sibling: bool = False,
    progress: Progress | None = None,
) -> PartLength:
    """Find how long parts of recordings should be, on a recording made of dev utterances.

    The first of equally good lengths stays, that of an adapter without a choice before all others.

    Args:
        adapter: Adapter folder.
        prepared: What `prepare` returned, or its folder.
        dev_minutes: At most so much of the dev set is used, evenly taken.
        device: "auto", "cpu", "cuda" or "cuda:1".
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        allow_sibling: Go on where the backbone is an earlier or later state of the adapter's own.
        progress: Called with ("parts", done, total, note).

    Raises:
        AdapterMismatchError: If the adapter is of another language.
        OptionError: If there are no minutes.
        SplitError: If the dev set is empty.
    """
    if not dev_minutes > 0:
        raise OptionError(f"dev_minutes={dev_minutes}: give more than 0")
    data = Prepared.of(prepared)
    utterances = evenly(data.utterances("dev"), dev_minutes)
    if not utterances:
        raise SplitError(f"{data.folder}: the dev set is empty, so no length can be chosen")
    through = TranscribeOptions(device=device, decoder="greedy", allow_sibling=allow_sibling)
    first = Transcriber.load(adapter, backbone=backbone, options=through)
    first.check_language(data.target_lang, f"{data.folder}", "choose on")
    trial = _Trial(data, first, utterances)
    untold = through.fitted(first.adapter.passport.utterance_s)
    lengths = [(untold.usual_s or 0.0, untold.longest_s), *((one, _LONGEST * one) for one in USUAL_S)]
    rates: list[float] = []
    for usual_s, longest_s in lengths:
        rates.append(trial.whole(usual_s, longest_s))
        if progress:
            progress("parts", len(rates), len(lengths), f"best CER {100 * min(rates):.1f} %")
    best = rates.index(min(rates))
    return PartLength(*lengths[best], rates[best], rates[0], trial.singles(), len(utterances), len(rates))


def install(adapter: str | PathLike[str], chosen: PartLength) -> None:
    """Note a choice in the adapter's passport, so that long recordings are cut by it from now on.

    Raises:
        AdapterError: If the folder has no passport, or is not whole.
    """
    folder = Path(adapter)
    written = passport.read(folder)
    passport.check_files(folder, written)
    passport.change(folder, lambda one: replace(one, parts=asdict(chosen)))


class _Trial:
    """The recording, and its error rates."""

    def __init__(self, data: Prepared, transcriber: Transcriber, utterances: Sequence[Utterance]) -> None:
        self.transcriber = transcriber
        self.normalise = text.get(data.normaliser, target_lang=data.target_lang)
        self.references = [one.reference or "" for one in utterances]
        self.waveforms = [samples for _, samples in audio.read_utterances(utterances, data.root)]
        self.recording: Waveform = np.concatenate([*self.waveforms, *_with_pauses(self.waveforms)])

    def whole(self, usual_s: float, longest_s: float) -> float:
        """Return the character error rate of the recording, cut into such parts."""
        options = replace(self.transcriber.options, usual_s=usual_s, window_s=longest_s)
        through = Transcriber(self.transcriber.backbone, self.transcriber.adapter, options)
        return self._rate([through.recordings([self.recording])[0].text], 2)

    def singles(self) -> float:
        """Return that of the utterances one by one, joined."""
        return self._rate([one.text for one in self.transcriber.waveforms(self.waveforms)], 1)

    def _rate(self, texts: Sequence[str], times: int) -> float:
        found = self.normalise(" ".join(filter(None, texts)))
        return score([" ".join(self.references * times)], [found], bootstrap=0).cer


def _with_pauses(waveforms: Sequence[Waveform]) -> Iterator[Waveform]:
    """Yield waveforms with pauses of faint noise between them, the same at every call."""
    random = np.random.default_rng(0)
    for one in waveforms:
        length = int(random.uniform(*_PAUSE_S) * SAMPLE_RATE_HZ)
        yield (_NOISE * random.standard_normal(length)).astype(np.float32)
        yield one
