"""What the convolutions make of audio, computed once and kept on the disk in half precision.

In: utterances and a backbone. Out: features `(frames, conv_dim)` by the hash of an utterance's sound and a
speed factor. SpecAugment masks behind the projection, so training never touches a waveform again. It does not
know transcripts or batches.

A store is one file of numbers and one of lines that say what they are, both only ever appended to. Numbers
without a line, left by an interruption, are overwritten; caching goes on where it was.
"""

import fcntl
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mms_adapt import audio
from mms_adapt.audio import SAMPLE_RATE_HZ, Waveform
from mms_adapt.backbone import Backbone
from mms_adapt.errors import BackboneError, PreparedError, TrainingError
from mms_adapt.manifest import Utterance

Features = NDArray[np.float16]
Progress = Callable[..., None]
IN_MEMORY_BYTES = 1 << 30
_GROUP_S = 60.0  # audio that goes through the convolutions at a time
_LAYOUT = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an utterance's numbers are: first row, rows, and a checksum."""

    first: int
    frames: int
    crc32: int


class _Store:
    """One speed's features of one backbone."""

    def __init__(self, stem: Path, conv_dim: int) -> None:
        self.numbers, self.lines = (stem.with_name(stem.name + end) for end in (".f16", ".jsonl"))
        self.conv_dim = conv_dim
        self.entries: dict[str, _Entry] = {}
        self._held: Features | None = None
        self._checked: set[str] = set()
        self.in_memory_bytes = IN_MEMORY_BYTES
        self.on_device: Tensor | None = None
        self.read()

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame."""
        return 2 * self.conv_dim

    def read(self) -> None:
        """Find what is there; stop at the first line that is broken or has no numbers."""
        self.entries, self._held, self._checked = {}, None, set()
        first = 0
        rows = self.numbers.stat().st_size // self.row_bytes if self.numbers.is_file() else 0
        for line in self.lines.read_bytes().splitlines() if self.lines.is_file() else []:
            try:
                sha256, frames, crc32 = json.loads(line)
                entry = _Entry(first, int(frames), int(crc32))
            except (ValueError, TypeError):
                break
            if entry.frames < 0 or first + entry.frames > rows:
                break
            self.entries[str(sha256)] = entry
            first += entry.frames
        self.rows = first

    def cut(self) -> None:
        """Drop what an interruption left behind the last whole entry."""
        kept = "".join(_line(sha256, entry) for sha256, entry in self.entries.items())
        if not self.lines.is_file() or self.lines.read_text(encoding="utf-8") != kept:
            self.lines.write_text(kept, encoding="utf-8")
        with self.numbers.open("ab") as file:
            file.truncate(self.rows * self.row_bytes)

    def append(self, found: Sequence[tuple[str, Features]]) -> None:
        """Write numbers, then the lines that tell of them."""
        with self.numbers.open("ab") as file:
            for _, features in found:
                file.write(features.tobytes())
        with self.lines.open("a", encoding="utf-8") as file:
            for sha256, features in found:
                entry = _Entry(self.rows, len(features), zlib.crc32(features.tobytes()))
                file.write(_line(sha256, entry))
                self.entries[sha256] = entry
                self.rows += entry.frames

    def get(self, sha256: str) -> Features:
        """Return features `(frames, conv_dim)`."""
        if self._held is None:
            shape, small = (self.rows, self.conv_dim), self.rows * self.row_bytes <= self.in_memory_bytes
            if not self.rows:
                self._held = np.zeros(shape, np.float16)
            elif small:
                self._held = np.fromfile(self.numbers, np.float16, math.prod(shape)).reshape(shape)
            else:
                self._held = np.memmap(self.numbers, np.float16, mode="r", shape=shape)
        entry = self.entries[sha256]
        found: Features = self._held[entry.first : entry.first + entry.frames]
        if sha256 not in self._checked:
            if zlib.crc32(found.tobytes()) != entry.crc32:
                raise TrainingError(
                    f"{self.numbers}: the cached features are damaged; remove this file and run the same "
                    "command again"
                )
            self._checked.add(sha256)
        return found

    def keep(self, where: str, device: torch.device) -> None:
        """Hold the numbers on the device, in memory or on the disk; "auto" by their size."""
        self._held, self.on_device = None, None
        room = {"host": self.rows * self.row_bytes, "disk": -1, "device": -1}
        self.in_memory_bytes = room.get(where, IN_MEMORY_BYTES)
        if where == "device":
            rows = [self.get(sha256) for sha256 in self.entries]  # which checks them
            whole = np.concatenate([np.zeros((0, self.conv_dim), np.float16), *rows])
            self.on_device, self._held = torch.from_numpy(whole).to(device), None


class FeatureCache:
    """What the frozen part gives of utterances at several speeds: on the disk, in memory or on the device.

    Args:
        folder: Where the files are; it is made where it is not there.
        backbone: Whose convolutions.
        speeds: Factors by which speech is made faster; 1.0 is as it is.
        below: None for features of the convolutions; a number for the hidden states that this layer gets.
        kind: With `below`, the kind of adapter that is in the backbone; it may say what lower layers hold.

    Raises:
        TrainingError: If the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        speeds: Iterable[float] = (1.0,),
        *,
        below: int | None = None,
        kind: str = "attention",
    ) -> None:
        self.folder, self._backbone, self._below = folder, backbone, below
        normalised = "n" if backbone.source.do_normalize else "r"
        what = f"features{_LAYOUT}" if below is None else f"hidden{_LAYOUT}-{kind}-{below}"
        name = f"{what}-{backbone.fingerprint[:16]}-{normalised}"
        width = backbone.conv_dim if below is None else backbone.hidden_size
        with self._complaining():
            folder.mkdir(parents=True, exist_ok=True)
            self._stores = {
                speed: _Store(folder / f"{name}-{speed:g}", width) for speed in sorted(set(speeds))
            }

    def keep(self, where: str, budget_bytes: int) -> str:
        """Choose where features lie from now on; call it when everything has been computed.

        Args:
            where: "device", "host" (memory), "disk", or "auto" for the first of them with room enough.
            budget_bytes: What "auto" may take of the device.

        Returns:
            Where they lie.

        Raises:
            TrainingError: If they are damaged.
        """
        size = sum(one.rows * one.row_bytes for one in self._stores.values())
        if where == "auto" and self._backbone.device.type == "cuda" and size <= budget_bytes:
            where = "device"
        for store in self._stores.values():
            store.keep(where, self._backbone.device)
        return where

    def padded(self, keys: Sequence[tuple[str, float]]) -> tuple[Tensor, Tensor]:
        """Return features of several utterances, `(batch, frames, channels)`, and their frames `(batch,)`.

        They lie on the device if everything does, else in memory from which copies need not be waited for.

        Args:
            keys: Hash of the sound, and speed.
        """
        counts = [self.frames(*key) for key in keys]
        held = [self._stores[speed].on_device for _, speed in keys]
        width = next(iter(self._stores.values())).conv_dim
        here = all(one is not None for one in held)
        device = self._backbone.device
        found = torch.zeros(
            (len(keys), max(counts), width),
            dtype=torch.float16,
            device=device if here else "cpu",
            pin_memory=not here and device.type == "cuda",
        )
        for place, (sha256, speed), count in zip(found, keys, counts, strict=True):
            store = self._stores[speed]
            first = store.entries[sha256].first
            if store.on_device is not None and here:
                place[:count] = store.on_device[first : first + count]
            else:
                place[:count].numpy()[:] = store.get(sha256)
        return found, torch.tensor(counts)

    def frames(self, audio_sha256: str, speed: float = 1.0) -> int:
        """Return how many frames an utterance has at a speed."""
        return self._stores[speed].entries[audio_sha256].frames

    def features(self, audio_sha256: str, speed: float = 1.0) -> Features:
        """Return an utterance's features at a speed, `(frames, conv_dim)`.

        Raises:
            TrainingError: If they are damaged.
        """
        return self._stores[speed].get(audio_sha256)

    def fill(
        self,
        utterances: Sequence[Utterance],
        root: Path,
        *,
        speeds: Iterable[float] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Compute what is not there yet, in flat memory.

        Args:
            utterances: Those of prepared data, with the hashes of their sound.
            root: The folder that their recordings are relative to.
            speeds: Which of the cache's speeds; all where not given.
            progress: Called with ("cache", done, total).

        Raises:
            PreparedError: If an utterance has no hash.
            AudioError: If one cannot be read.
            TrainingError: If the disk is full or the folder cannot be written.
        """
        wanted = sorted(self._stores if speeds is None else speeds)
        with self._complaining(), self._alone():
            for speed in wanted:
                self._stores[speed].read()
            missing = [one for one in utterances if self._missing(one, wanted)]
            if not missing:
                return
            for speed in wanted:
                self._stores[speed].cut()
            done = len(utterances) - len(missing)
            for group in self._groups(audio.read_utterances(missing, root)):
                for speed in wanted:
                    self._compute(group, speed)
                done += len(group)
                if progress:
                    progress("cache", done, len(utterances))
            for speed in wanted:
                self._stores[speed].read()

    def _missing(self, utterance: Utterance, speeds: Sequence[float]) -> bool:
        if utterance.audio_sha256 is None:
            raise PreparedError(
                f"utterance {utterance.id}: it has no hash of its sound; prepare the data anew"
            )
        return any(utterance.audio_sha256 not in self._stores[speed].entries for speed in speeds)

    def _groups(
        self, read: Iterable[tuple[Utterance, Waveform]]
    ) -> Iterator[list[tuple[Utterance, Waveform]]]:
        group: list[tuple[Utterance, Waveform]] = []
        for item in read:
            group.append(item)
            if sum(len(samples) for _, samples in group) >= _GROUP_S * SAMPLE_RATE_HZ:
                yield group
                group = []
        if group:
            yield group

    def _compute(self, group: Sequence[tuple[Utterance, Waveform]], speed: float) -> None:
        """Compute and append one group at one speed."""
        store = self._stores[speed]
        new = {str(one.audio_sha256): samples for one, samples in group}
        waveforms = {key: at_speed(one, speed) for key, one in new.items() if key not in store.entries}
        if not waveforms:
            return
        rows = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(one) for one in waveforms.values()], batch_first=True
        )
        counts = [len(one) for one in waveforms.values()]
        frames = [audio.frame_count(one) for one in counts]
        given = self._backbone.cnn(rows, torch.tensor(counts))
        if self._below is not None:
            given = self._backbone.prefix(given, torch.tensor(frames), self._below)
        features = given.to("cpu", torch.float16).numpy()
        if not all(np.isfinite(row[:count]).all() for row, count in zip(features, frames, strict=True)):
            what = "convolutions give" if self._below is None else f"layers below {self._below} give"
            raise BackboneError(
                f"backbone {self._backbone.name}: its {what} numbers that half precision cannot "
                f"hold, among utterances {group[0][0].id} to {group[-1][0].id}"
            )
        store.append(
            [(key, row[:count]) for key, row, count in zip(waveforms, features, frames, strict=True)]
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time write."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"the cache of features in {self.folder} cannot be written: {error.strerror or error}; make "
                "room, or name another folder with the option cache"
            ) from error


def at_speed(samples: Waveform, speed: float) -> Waveform:
    """Return speech `(samples,)` made faster by a factor, its pitch raised with it."""
    if speed == 1.0:
        return samples
    import soxr

    faster: Any = soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)
    return np.ascontiguousarray(faster, dtype=np.float32)


def _line(sha256: str, entry: _Entry) -> str:
    return json.dumps([sha256, entry.frames, entry.crc32]) + os.linesep
