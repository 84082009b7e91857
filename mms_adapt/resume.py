"""The state of a training on the disk, so that it goes on after an interruption as if there had been none.

In: what a training is about, how far it is, and its tensors. Out: a checkpoint folder that appears whole or
not at all, and the newest one that is whole. Tensors are safetensors, the rest is JSON; pickles are never
read. It does not know models or data.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from mms_adapt import files, tensor_file
from mms_adapt.errors import ResumeError, TrainingError

FOLDER = ".checkpoints"
_KEPT = 2
_STATE, _TENSORS, _HASHES = "state.json", "state.safetensors", "hashes.json"
_UNTOLD = {"option patience": 10}  # what it meant, before, to say nothing of an option; now that is null


@dataclass(frozen=True)
class Course:
    """How far a training is. Whatever a later step depends on stands here or among the tensors."""

    step: int = 0
    """Steps that are done."""
    epoch: int = 0
    """The present pass over the data."""
    position: int = 0
    """Batches of this pass that are done."""
    elapsed_s: float = 0.0
    """Time that has gone by, setting up included."""
    set_up_s: float = 0.0
    """Time of setting up, in all runs."""
    heard_s: float = 0.0
    """Speech that went through."""
    loss_sum: float = 0.0
    """Losses since the last report, added up."""
    loss_count: int = 0
    """Steps since the last report."""
    best_cer: float | None = None
    """The lowest character error rate on the dev set."""
    best_loss: float | None = None
    """The loss that went with it."""
    best_step: int = 0
    """When that was."""
    worse: int = 0
    """Evaluations without improvement since then."""
    evaluated_step: int = -1
    """When the dev set was last evaluated."""
    bad_batches: int = 0
    """Batches that were passed over."""
    reports: int = 0
    """Lines in metrics.jsonl."""


def save(
    folder: Path,
    run: Mapping[str, Any],
    course: Course,
    tensors: Mapping[str, Tensor],
    lanes: Sequence[Course] = (),
) -> Path:
    """Write a checkpoint and remove all but the last ones.

    Args:
        folder: The training's folder.
        run: What the training is about: data, vocabulary, backbone and options, by name.
        course: How far it is.
        tensors: Everything else, by name.
        lanes: How far each language is, where several are trained together.

    Returns:
        The checkpoint's folder.

    Raises:
        TrainingError: If there is no room on the disk; the checkpoint before it stays.
    """
    from safetensors.torch import save as pack

    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    state = {"run": run, "course": asdict(course), "lanes": [asdict(one) for one in lanes]}
    contents = {
        _TENSORS: bytes(pack({name: one.contiguous() for name, one in tensors.items()})),
        _STATE: json.dumps(state, ensure_ascii=False).encode("utf-8"),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    made = place / f"step-{course.step:09}"
    try:
        shutil.rmtree(made, ignore_errors=True)
        files.write_all(made, {**contents, _HASHES: json.dumps(hashes)})
    except OSError as error:
        size = sum(map(len, contents.values())) / 1e6
        raise TrainingError(
            f"{made}: the checkpoint of {size:.1f} MB cannot be written: {error.strerror or error}; make "
            "room and run the same command again: it goes on from the last checkpoint"
        ) from error
    for old in _found(folder)[_KEPT:]:
        shutil.rmtree(old)
    return made


def newest(folder: Path, run: Mapping[str, Any]) -> tuple[Course, dict[str, Tensor]] | None:
    """Return the newest checkpoint that is whole; None where there is none.

    Args:
        folder: The training's folder.
        run: What the present training is about.

    Raises:
        ResumeError: If the checkpoint is of another training; it names what differs.
    """
    found = newest_of_all(folder, run)
    return None if found is None else (found[0], found[2])


def newest_of_all(
    folder: Path, run: Mapping[str, Any]
) -> tuple[Course, tuple[Course, ...], dict[str, Tensor]] | None:
    """Return the newest checkpoint that is whole, with the courses of several languages.

    Raises:
        ResumeError: If the checkpoint is of another training; it names what differs.
    """
    for place in _found(folder):
        found = _read(place)
        if found is not None:
            was, course, lanes = found
            refuse_others(folder, was, run)
            return course, lanes, tensor_file.read(place / _TENSORS, ResumeError)
    return None


def refuse_others(folder: Path, was: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Compare two trainings' data, vocabulary, backbone and options.

    Raises:
        ResumeError: If they differ; it names each difference.
    """
    was, run = json.loads(json.dumps(was)), json.loads(json.dumps(run))
    names = [name for name in {**was, **run} if was.get(name) != run.get(name)]
    names = [name for name in names if run.get(name) is not None or was.get(name) != _UNTOLD.get(name)]
    if names:
        told = "; ".join(f"{name} was {_short(was.get(name))}, now {_short(run.get(name))}" for name in names)
        raise ResumeError(
            f"{folder}: it holds a training with other settings: {told}. Use the same settings, another "
            "folder with --out, or begin anew with --restart"
        )


def clear(folder: Path) -> None:
    """Remove the checkpoints."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _found(folder: Path) -> list[Path]:
    """Return the checkpoints' folders, newest first."""
    return sorted((folder / FOLDER).glob("step-*"), reverse=True)


def _read(place: Path) -> tuple[dict[str, Any], Course, tuple[Course, ...]] | None:
    """Return what a checkpoint says; None where it is not whole."""
    try:
        hashes = json.loads((place / _HASHES).read_text(encoding="utf-8"))
        contents = {name: (place / name).read_bytes() for name in (_STATE, _TENSORS)}
        if any(hashlib.sha256(one).hexdigest() != hashes[name] for name, one in contents.items()):
            return None
        record = json.loads(contents[_STATE])
        known = {one.name for one in fields(Course)}
        course, *lanes = (
            Course(**{name: value for name, value in one.items() if name in known})
            for one in (record["course"], *record.get("lanes", ()))
        )
        return dict(record["run"]), course, tuple(lanes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:28]}…{text[-28:]}"
