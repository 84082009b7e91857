"""Audio to text, at once or as it is heard: one language, one to be found out, or a mix of adapters.

In: recordings and what language they are in. Out: a `Hypothesis` for each. It does not know how audio becomes
text: one language goes through a `Transcriber`, all else through a `Bank`.
"""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, overload

from mms_adapt import registry as registry_module
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.bank import AUTO, Bank
from mms_adapt.decoders import Hypothesis
from mms_adapt.errors import OptionError
from mms_adapt.recordings import Recording
from mms_adapt.serving.edition import Blend
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Progress, Transcriber

__all__ = ["Progress", "TranscribeOptions", "Transcriber", "transcribe", "transcribe_stream"]


@overload
def transcribe(
    audio: Recording, *, target_lang: str | Sequence[str] | None = ..., registry: str | PathLike[str] = ...,
    adapter: str | PathLike[str] | None = ..., backbone: str | None = ..., adapter_scale: float = ...,
    mix: Mapping[str, float] | None = ..., sample_rate_hz: int = ..., progress: Progress | None = ...,
    **options: Any,
) -> Hypothesis: ...  # fmt: skip
@overload
def transcribe(
    audio: Sequence[Recording], *, target_lang: str | Sequence[str] | None = ...,
    registry: str | PathLike[str] = ..., adapter: str | PathLike[str] | None = ...,
    backbone: str | None = ..., adapter_scale: float = ..., mix: Mapping[str, float] | None = ...,
    sample_rate_hz: int = ..., progress: Progress | None = ..., **options: Any,
) -> list[Hypothesis]: ...  # fmt: skip
def transcribe(
    audio: Recording | Sequence[Recording],
    *,
    target_lang: str | Sequence[str] | None = None,
    registry: str | PathLike[str] = "adapters",
    adapter: str | PathLike[str] | None = None,
    backbone: str | None = None,
    adapter_scale: float = 1.0,
    mix: Mapping[str, float] | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    progress: Progress | None = None,
    **options: Any,
) -> Hypothesis | list[Hypothesis]:
    """Write what is said in a recording, or in each of a list.

    Args:
        audio: A file's path, samples `(samples,)` in -1 to 1, or a list of such.
        target_lang: The language; its adapter is looked for in the registry. "auto", or several languages:
            which is spoken is found out for each recording, and `Hypothesis.candidates` says how sure it is.
        registry: Folder of adapters, `REGISTRY/<target_lang>/`.
        adapter: An adapter folder, instead of language and registry.
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        adapter_scale: Strength of the adapter: 1 is as it was trained, 0 the backbone with its head.
        mix: Weights of several adapters of the registry, instead of a language; the first one's head writes.
        sample_rate_hz: Sample rate of arrays; files know their own.
        progress: Called with ("transcribe", done, total) after every batch; of one long one, in seconds.
        options: Fields of `TranscribeOptions`, such as `device`, `decoder`, `batch_seconds`.

    Returns:
        A hypothesis, or a list of them in the order given.

    Raises:
        OptionError: If neither language nor adapter is given, or an option makes no sense.
        RegistryError: If the registry has no adapter of the language.
        AdapterMismatchError: If the adapter was trained on another backbone.
        AudioError: If a recording cannot be read or holds no numbers.
    """
    several = isinstance(audio, list | tuple)
    recordings: list[Recording] = list(audio) if several else [audio]  # type: ignore[arg-type,list-item]
    finding = not mix and (target_lang == AUTO or not isinstance(target_lang, str | None))
    chosen = _checked(options, finding)
    if mix or adapter_scale != 1 or target_lang == AUTO or not isinstance(target_lang, str | None):
        asked, among = _asked(target_lang, adapter, mix)
        bank = Bank(registry, backbone=backbone, options=chosen)
        found = bank.transcribe(
            [(one, asked) for one in recordings],
            scale=adapter_scale,
            candidates=among,
            sample_rate_hz=sample_rate_hz,
            progress=progress,
        )
        return found if several else found[0]
    transcriber = _loaded(target_lang, registry, adapter, backbone, chosen)
    found = transcriber.recordings(recordings, sample_rate_hz=sample_rate_hz, progress=progress)
    return found if several else found[0]


def transcribe_stream(
    audio: Recording,
    *,
    target_lang: str | None = None,
    registry: str | PathLike[str] = "adapters",
    adapter: str | PathLike[str] | None = None,
    backbone: str | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Hypothesis]:
    """Write what is said in a long recording, piece by piece while it is heard.

    The arguments and errors are those of `transcribe`, with one recording and one language.

    Yields:
        A hypothesis for about every minute of audio, its times counted from the recording's start. Their
        texts, but empty ones, joined by spaces, are the text that `transcribe` gives.
    """
    transcriber = _loaded(target_lang, registry, adapter, backbone, _checked(options, finding=False))
    yield from transcriber.stream(audio, sample_rate_hz=sample_rate_hz, progress=progress)


def _checked(options: Mapping[str, Any], finding: bool) -> TranscribeOptions:
    """Return options, after making sure that they fit a call that finds out the language, or does not."""
    known = set(TranscribeOptions.__dataclass_fields__)
    if options.keys() - known:
        raise OptionError(
            f"unknown options {', '.join(sorted(options.keys() - known))}; known: {', '.join(sorted(known))}"
        )
    chosen = TranscribeOptions(**options)
    if chosen.lid is not None and not finding:
        raise OptionError(
            f"lid={str(chosen.lid)!r}: MMS-LID is asked where the language is to be found out; give "
            "target_lang='auto' or several languages, or leave lid out"
        )
    return chosen


def _loaded(
    target_lang: str | None,
    registry: str | PathLike[str],
    adapter: str | PathLike[str] | None,
    backbone: str | None,
    options: TranscribeOptions,
) -> Transcriber:
    """Open the adapter that is asked for."""
    if adapter is None:
        if target_lang is None:
            raise OptionError("which adapter? Give target_lang (with registry), or adapter")
        adapter = registry_module.find(registry, target_lang)
    return Transcriber.load(adapter, backbone=backbone, options=options)


def _asked(
    target_lang: str | Sequence[str] | None, adapter: object, mix: Mapping[str, float] | None
) -> tuple[str | Blend, Sequence[str] | None]:
    """Return what a bank is asked for, and what "auto" chooses from."""
    if adapter is not None:
        raise OptionError(
            f"adapter={str(adapter)!r}: strength, mixes and languages to be found out need a registry; put "
            "the folder into one as REGISTRY/CODE, and give registry and target_lang"
        )
    if mix:
        if target_lang is not None:
            raise OptionError(
                f"target_lang={target_lang!r}: mix names its own languages; give one of the two"
            )
        return Blend(tuple(mix.items())), None
    if target_lang is None:
        raise OptionError("which adapter? Give target_lang (with registry), or mix")
    if isinstance(target_lang, str):
        return target_lang, None
    return AUTO, target_lang
