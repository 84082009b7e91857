"""The trainings that led to a model, the first one first: state and options of each.

In: a checkpoint, whose record lies beside it, or an exported folder. Out: the list. It does not know tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mms_adapt.pretrained import find, fingerprint

NAME = "pretraining.json"
"""The list's file in an exported folder."""


def of_record(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trainings of a record as `train` writes it beside its checkpoint, its own as the last."""
    return [*record.get("before", []), {"state": record["state"], "options": record["options"]}]


def read(finished: Path) -> list[dict[str, Any]]:
    """Return the trainings of a finished checkpoint or of an exported folder.

    Raises:
        FileNotFoundError: If the record is missing.
    """
    path = finished / NAME if finished.is_dir() else finished.with_suffix(".json")
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: it tells what {finished} has heard")
    record = json.loads(path.read_text(encoding="utf-8"))
    if not finished.is_dir():
        return of_record(record)
    trainings = list(record["trainings"])
    # adapters of this model are known by it, so that a model trained further can call itself their sibling
    trainings[-1] = {**trainings[-1], "fingerprint": fingerprint(find(finished).tensors())}
    return trainings


def write(trainings: list[dict[str, Any]], folder: Path) -> None:
    """Write the list into an exported folder."""
    (folder / NAME).write_text(json.dumps({"trainings": trainings}, indent=1) + "\n", encoding="utf-8")
