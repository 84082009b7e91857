"""Which adapters are beside the backbone, and which edition of each a request gets.

In: places in a registry. Out: `Voice`s on the device, verified on the way in. Adapters move between disk,
main memory and the device by use: the least recently used goes out first, pinned ones stay. What is replaced
on disk is read anew; where the new edition is not whole, the old one stays in service. Any number of threads
may ask. It does not know audio.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from mms_adapt import language, passport
from mms_adapt import registry as registry_module
from mms_adapt.errors import AdapterError, AdapterMismatchError, MmsAdaptError, RegistryError
from mms_adapt.serving import edition as editions
from mms_adapt.serving.edition import Blend, Opened, Stamp
from mms_adapt.serving.engine import Engine
from mms_adapt.serving.shelf import Shelf
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.voice import Voice

_FRESH_S = 2.0
_WAITS_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # while a folder is being replaced its files do not fit each other


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


@dataclass(frozen=True)
class _Kept:
    """An adapter in main memory, as its file has it, and its voice without numbers, which has the decoder."""

    opened: Opened
    voice: Voice

    @property
    def version(self) -> str:
        """The edition."""
        return self.voice.version

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        return self.opened.byte_count


class Residents:
    """The voices of a registry, each present edition read once.

    Args:
        registry: Folder of adapters by language.
        engine: The backbone that they stand beside.
        options: How recordings go through.
        device_bytes: Keep at most so many bytes on the device.
        host_bytes: Keep at most so many bytes in main memory; there is but one memory on a CPU.
    """

    def __init__(
        self,
        registry: Path,
        engine: Engine,
        options: TranscribeOptions,
        device_bytes: int | None,
        host_bytes: int | None,
    ) -> None:
        self.registry, self.engine, self.options = registry, engine, options
        self.backbone = engine.backbone
        self._apart = self.backbone.device.type != "cpu"  # whether main memory is another
        self._device: Shelf[Blend | str, Voice] = Shelf("device_bytes", device_bytes)
        self._host: Shelf[str, _Kept] = Shelf("host_bytes", host_bytes)
        self._loading: dict[str, Lock] = {}
        self._refused: dict[str, tuple[Stamp, MmsAdaptError]] = {}
        self._lock = Lock()

    def voice(self, asked: str | Blend) -> Voice:
        """Return the present edition of an adapter, or of a mix, on the device; it never changes.

        Args:
            asked: A language, a language and a name, or a mix.

        Raises:
            AdapterError: If an adapter is missing, damaged or of another backbone.
            LanguageError: If a language is none.
            OptionError: If adapters of different kinds are mixed.
        """
        if isinstance(asked, str):
            return self._one(asked)
        blend = asked
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

    def _one(self, place: str) -> Voice:
        """Return the present edition of one adapter on the device."""
        held = self._device.get(place)
        if held is not None and held.current:
            return held
        language.parse(place.partition("/")[0])  # before anything is kept under a name that makes no sense
        with self._lock:
            lock = self._loading.setdefault(place, Lock())
        with lock:
            held = self._device.get(place)
            if held is not None and held.current:
                return held
            return self._brought(place, held)

    def _brought(self, place: str, old: Voice | None) -> Voice:
        """Bring the present edition to the device, from main memory or from disk."""
        code, _, name = place.partition("/")
        kept = self._host.get(place)
        before = old or (kept.voice if kept else None)
        for wait_s in (*(_WAITS_S if before else ()), None):
            try:
                folder = registry_module.find(self.registry, code, name or None)
                break
            except RegistryError:
                if wait_s is None:
                    self._device.remove(place)
                    self._host.remove(place)
                    raise
                time.sleep(wait_s)  # it may be replaced at this moment
        if kept is None or not kept.voice.current or kept.voice.adapter.path != folder:
            try:
                return self._put(place, *self._verified(place, folder, code, before))
            except MmsAdaptError:  # `refused` tells of it, and the edition before it stays in service
                if old is not None:
                    return old
                if kept is None:
                    raise
        edition = kept.opened.on(self.backbone.device, self.backbone.dtype)
        return self._put(place, kept.opened, kept.voice.moved(edition))

    def _put(self, place: str, opened: Opened, voice: Voice) -> Voice:
        """Keep an adapter on the device, and beside it in main memory where that is another."""
        if self._apart:
            self._host.put(place, _Kept(opened, voice.moved(voice.edition.emptied())))
        self._device.put(place, voice)
        return voice

    def _verified(self, place: str, folder: Path, code: str, before: Voice | None) -> tuple[Opened, Voice]:
        """Read the edition that a folder now holds; what it is refused for is known until it changes.

        What takes the place of one whose backbone was known must tell its own, too. So must what was just
        written, for a second: its passport may still be on its way.
        """
        known_before = before is not None and before.adapter.passport.verified
        known = self._refused.get(place)
        if known is not None and known[0] == editions.stamp(folder, whole=True):
            error = known[1]
        else:
            for wait_s in (*_WAITS_S, None):
                looks = editions.stamp(folder, whole=True)
                try:
                    sibling = self.options.allow_sibling
                    with editions.opening(folder, code, self.backbone, allow_sibling=sibling) as opened:
                        edition = opened.on(self.backbone.device, self.backbone.dtype)
                    late = wait_s is not None and _is_new(folder)
                    if not edition.adapter.passport.verified and (known_before or late):
                        raise AdapterError(
                            f"{folder}: it has no passport that names its backbone, as the one before it "
                            f"had; copy {passport.FILE}, too"
                        )
                    voice = Voice(self.engine, edition, self.options)
                except MmsAdaptError as reason:
                    error = reason
                    if wait_s is None or isinstance(reason, AdapterMismatchError):
                        break
                    time.sleep(wait_s)
                else:
                    self._refused.pop(place, None)
                    return opened, voice
            self._refused[place] = looks, error
        raise error


def _is_new(folder: Path) -> bool:
    """Tell whether something came into a folder in the last seconds."""
    try:
        return abs(time.time() - os.stat(folder).st_mtime) < _FRESH_S
    except OSError:
        return False
