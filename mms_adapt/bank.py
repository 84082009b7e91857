"""Many languages beside one backbone: what is asked for goes through together, each row in its own language.

In: a registry, and recordings with their languages. Out: a `Hypothesis` for each, which names the version of
the adapter that wrote it. There is no active language, so any number of threads may ask at once. An adapter
that is replaced in the registry is read anew; a request in work keeps the edition that it began with.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from mms_adapt import backbone as backbone_module
from mms_adapt import language
from mms_adapt import registry as registry_module
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Hypothesis
from mms_adapt.errors import AdapterMismatchError, MmsAdaptError, RegistryError
from mms_adapt.recordings import Recording, Source, Waveform, is_silent, open_recording
from mms_adapt.serving import edition as editions
from mms_adapt.serving.edition import Blend, Edition, Stamp
from mms_adapt.serving.engine import Engine
from mms_adapt.serving.shelf import Shelf
from mms_adapt.transcribe import Progress, TranscribeOptions, Transcriber, _batches

if TYPE_CHECKING:
    import torch

_WAITS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # while a folder is being replaced its files do not fit each other


class Voice(Transcriber):
    """One edition with its decoder, in a bank's engine.

    Args:
        engine: The backbone, shared by all.
        edition: The edition.
        options: How recordings go through.
    """

    def __init__(self, engine: Engine, edition: Edition, options: TranscribeOptions) -> None:
        super().__init__(engine.backbone, edition.adapter, options)
        self.engine, self.edition, self.version = engine, edition, edition.version

    @property
    def byte_count(self) -> int:
        """Memory that its weights take."""
        return self.edition.byte_count

    def moved(self, edition: Edition) -> "Voice":
        """Return it with the same weights elsewhere."""
        found = copy(self)
        found.edition, found.version = edition, edition.version
        return found

    def decoded(self, emissions: "torch.Tensor", frame_counts: Sequence[int]) -> list[Hypothesis]:
        """Return hypotheses of emissions `(batch, frames, width)` that a mixed batch gave."""
        own = emissions[..., : len(self.vocab)]
        return [self._signed(one) for one in self.decoder.decode(own, frame_counts)]

    def empty(self) -> Hypothesis:
        """Return what is written where nothing sounds."""
        return self._signed(Hypothesis(""))

    def _emissions(self, waveforms: Sequence[Waveform]) -> "tuple[torch.Tensor, list[int]]":
        features, counts = self.engine.features(waveforms)
        found = self.engine.emissions(features, counts, [self.edition] * len(counts))
        return found[..., : len(self.vocab)], counts


@dataclass(frozen=True)
class Residence:
    """Where an adapter is.

    Attributes:
        place: Language, or language and name, in the registry.
        version: The edition.
        memory: "device" or "host".
        byte_count: What it takes there.
        pinned: Whether it stays.
    """

    place: str
    version: str
    memory: str
    byte_count: int
    pinned: bool


class Bank:
    """Adapters and heads of any number of languages beside one backbone.

    Args:
        registry: Folder of adapters by language.
        backbone: Name or folder of the backbone, or one that was loaded, which then is this bank's alone;
            that of the registry's first adapter where not given.
        options: How recordings go through, the device among them.
        device_bytes: Keep at most so many bytes of adapters beside the backbone; any number where not given.
        host_bytes: The same of main memory, from which they come back quickly. On a CPU there is but one
            memory, and `device_bytes` is its bound.

    Raises:
        RegistryError: If the registry is not there, or is empty and no backbone is given.
        BackboneError: If the backbone cannot be loaded.
    """

    def __init__(
        self,
        registry: str | PathLike[str] = "adapters",
        *,
        backbone: str | PathLike[str] | Backbone | None = None,
        options: TranscribeOptions | None = None,
        device_bytes: int | None = None,
        host_bytes: int | None = None,
    ) -> None:
        self.registry, self.options = Path(registry), options or TranscribeOptions()
        self._device: Shelf[Blend | str, Voice] = Shelf("device_bytes", device_bytes)
        self._host: Shelf[str, Voice] = Shelf("host_bytes", host_bytes)
        if not isinstance(backbone, Backbone):
            name = backbone if backbone is not None else self._backbone_name()
            backbone = backbone_module.load(name, device=self.options.device)
        self.backbone = backbone
        self.engine = Engine(backbone)
        self._loading: dict[str, Lock] = {}
        self._refused: dict[str, tuple[Stamp, MmsAdaptError]] = {}
        self._lock = Lock()

    def transcribe(
        self,
        items: Iterable[tuple[Recording, str | Blend]],
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        progress: Progress | None = None,
    ) -> list[Hypothesis]:
        """Write what is said in recordings of any languages and lengths, those of like length together.

        Args:
            items: Recordings, each with its language ("mdw"; "mdw/north" where a registry has several), or
                with a `Blend`.
            sample_rate_hz: Sample rate of arrays; files know their own.
            progress: Called with ("transcribe", done, total).

        Returns:
            Hypotheses in the order given. All of one call that ask for the same get the same edition.

        Raises:
            AdapterError: If an adapter is missing, damaged or of another backbone.
            AudioError: If a recording cannot be read or holds no numbers.
            LanguageError: If a language is none.
        """
        pairs = list(items)
        asked = {Blend.of(one): None for _, one in pairs}
        by_blend = {one: self.voice(one) for one in asked}
        voices = [by_blend[Blend.of(one)] for _, one in pairs]
        sources = [open_recording(one, sample_rate_hz, place) for place, (one, _) in enumerate(pairs)]
        found = [voice.empty() for voice in voices]
        window = int(self.options.window_s * SAMPLE_RATE_HZ)
        short = [place for place, one in enumerate(sources) if one.sample_count <= window]
        done = 0
        for batch in _batches([sources[place].sample_count for place in short], self._batch_samples):
            places = [short[one] for one in batch]
            for place, one in self._together(places, sources, voices):
                found[place] = one
            done += len(places)
            if progress:
                progress("transcribe", done, len(sources))
        for place in sorted(set(range(len(sources))) - set(short)):
            whole: Recording = sources[place].name or sources[place].samples  # type: ignore[assignment]
            found[place] = voices[place].recordings([whole])[0]
            done += 1
            if progress:
                progress("transcribe", done, len(sources))
        return [
            replace(one, recording=source.name, duration_s=source.sample_count / SAMPLE_RATE_HZ)
            for one, source in zip(found, sources, strict=True)
        ]

    @property
    def _batch_samples(self) -> int:
        return int(self.options.batch_seconds * SAMPLE_RATE_HZ)

    def _together(
        self, places: Sequence[int], sources: Sequence[Source], voices: Sequence[Voice]
    ) -> Iterable[tuple[int, Hypothesis]]:
        """Transcribe short recordings in one pass, and yield their places and hypotheses."""
        waveforms = {place: sources[place].read(0, sources[place].sample_count) for place in places}
        sounding = [place for place in places if not is_silent(waveforms[place])]
        if not sounding:
            return
        features, counts = self.engine.features([waveforms[place] for place in sounding])
        emissions = self.engine.emissions(features, counts, [voices[place].edition for place in sounding])
        by_voice: dict[int, list[int]] = {}
        for row, place in enumerate(sounding):
            by_voice.setdefault(id(voices[place]), []).append(row)
        for rows in by_voice.values():
            voice = voices[sounding[rows[0]]]
            decoded = voice.decoded(emissions[rows], [counts[row] for row in rows])
            yield from zip((sounding[row] for row in rows), decoded, strict=True)

    def voice(self, asked: str | Blend) -> Voice:
        """Return the present edition of an adapter, or of a mix, on the device; it never changes.

        Args:
            asked: A language, a language and a name, or a mix.

        Raises:
            AdapterError: If an adapter is missing, damaged or of another backbone.
            LanguageError: If a language is none.
            OptionError: If adapters of different kinds are mixed.
        """
        blend = Blend.of(asked)
        parts = [self._one(place) for place, _ in blend.parts]
        if blend.plain:
            return parts[0]
        stamp = tuple((one.version, 0, 0, number) for number, one in enumerate(parts))
        held = self._device.get(blend)
        if held is not None and held.edition.stamp == stamp:
            return held
        made = editions.blended(blend, [one.edition for one in parts])
        voice = parts[0].moved(replace(made, stamp=stamp))
        self._device.put(blend, voice)
        return voice

    def pin(self, place: str) -> None:
        """Bring an adapter to the device and keep it there.

        Raises:
            OptionError: If what is pinned would be more than the budget.
        """
        self._device.pin(place, self._one(place))

    def unpin(self, place: str) -> None:
        """Let an adapter go when its turn comes."""
        self._device.unpin(place)

    def languages(self) -> list[str]:
        """Return what can be asked for: the registry's languages, with names where one has several."""
        return registry_module.names(self.registry)

    def residences(self) -> list[Residence]:
        """Return where adapters are, the least recently used first; those on disk alone are not listed."""
        pinned = self._device.pinned()
        return [
            Residence(str(place), one.version, memory, one.byte_count, place in pinned)
            for memory, shelf in (("device", self._device), ("host", self._host))
            for place, one in shelf.held().items()
        ]

    @property
    def refused(self) -> Mapping[str, str]:
        """Why the newest edition of a place is not used; the one before it stays in service where it can."""
        return {place: str(error) for place, (_, error) in self._refused.items()}

    def _backbone_name(self) -> str:
        """Return the backbone of the first adapter in the registry that knows its own."""
        names = self.languages()
        if not names:
            raise RegistryError(
                f"{self.registry}: it holds no adapter, so the backbone is not known; give backbone, or "
                "the folder that adapters are in"
            )
        code, _, name = names[0].partition("/")
        return AdapterFolder.load(registry_module.find(self.registry, code, name or None)).backbone_name

    def _one(self, place: str) -> Voice:
        """Return the present edition of one adapter on the device."""
        held = self._device.get(place)
        if held is not None and _is_current(held):
            return held
        language.parse(place.partition("/")[0])  # before anything is kept under a name that makes no sense
        with self._lock:
            lock = self._loading.setdefault(place, Lock())
        with lock:
            held = self._device.get(place)
            if held is not None and _is_current(held):
                return held
            return self._brought(place, held)

    def _brought(self, place: str, old: Voice | None) -> Voice:
        """Bring the present edition to the device, from main memory or from disk."""
        code, _, name = place.partition("/")
        try:
            folder = registry_module.find(self.registry, code, name or None)
        except RegistryError:
            self._device.remove(place)
            self._host.remove(place)
            raise
        host = self._host.get(place)
        if host is None or not _is_current(host) or host.adapter.path != folder:
            found = self._verified(place, folder, code, old or host)
            if found is old:
                return found
            host = found
            if self.backbone.device.type != "cpu":
                self._host.put(place, host)
        voice = host.moved(host.edition.to(self.backbone.device, self.backbone.dtype))
        self._device.put(place, voice)
        return voice

    def _verified(self, place: str, folder: Path, code: str, old: Voice | None) -> Voice:
        """Read the edition that a folder now holds; where it is none, the old one stays in service."""
        looks = editions.stamp(folder, whole=True)
        known = self._refused.get(place)
        if known is not None and known[0] == looks:
            error = known[1]
        else:
            for wait_s in (*_WAITS_S, None):
                looks = editions.stamp(folder, whole=True)
                try:
                    found = Voice(self.engine, editions.read(folder, code, self.backbone), self.options)
                except MmsAdaptError as reason:
                    error = reason
                    if wait_s is None or isinstance(reason, AdapterMismatchError):
                        break
                    time.sleep(wait_s)
                else:
                    self._refused.pop(place, None)
                    return found
            self._refused[place] = looks, error
        if old is not None:
            return old
        raise error


def _is_current(voice: Voice) -> bool:
    """Tell whether the folder still holds the edition that was read from it."""
    path = voice.adapter.path
    return path is not None and editions.stamp(path) == voice.edition.stamp
