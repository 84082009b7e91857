"""What a training leaves behind at its end: the adapter folder, with everything that is known about it.

In: a task whose model holds the weights to keep. Out: a folder. It does not know the loop.
"""

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mms_adapt import checkpoint, files, pretrained
from mms_adapt._version import __version__
from mms_adapt.checkpoint import OWN_BACKBONE, AdapterFolder
from mms_adapt.composition import certificate, stacking
from mms_adapt.ledger import pseudonym
from mms_adapt.passport import Passport, file_sha256
from mms_adapt.task import Task


def finish(task: Task, folder: Path, metrics: Mapping[str, Any]) -> AdapterFolder:
    """Write the adapter folder of what is in the model now."""
    data, backbone, config = task.data, task.backbone, task.config
    name, fingerprint, others = backbone.name, backbone.fingerprint, {}
    if config.full_finetune:
        name, fingerprint = OWN_BACKBONE, _write_backbone(task, folder / OWN_BACKBONE)
        others = {
            f"{OWN_BACKBONE}/{one.name}": file_sha256(one)
            for one in sorted((folder / OWN_BACKBONE).iterdir())
        }
    parts = {part: list(data.utterances(part)) for part in ("train", "dev")}
    left_out = {
        "ctc_impossible": len(task.selection.impossible),
        "ctc_impossible_when_fast": len(task.selection.impossible_when_fast),
        "empty": len(task.selection.empty),
    }
    written = Passport(
        target_lang=data.target_lang,
        kind="stacked" if task.begun.lower else config.adapter,
        kind_options=task.begun.kind_options,
        backbone=name,
        backbone_fingerprint=fingerprint,
        backbone_parents=backbone.source.parents,
        licence=backbone.licence or "",
        data_licence=data.licence or "",
        corpus=data.corpus,
        normaliser=data.normaliser,
        orthography=data.orthography.graphemes,
        split_sha256=dict(data.split_sha256),
        marks=tuple(data.marks),
        utterances={part: len(held) for part, held in parts.items()},
        minutes={part: round(sum(one.duration_s for one in held) / 60, 2) for part, held in parts.items()},
        speakers={
            part: sorted({pseudonym(one.speaker) for one in held if one.speaker is not None})
            for part, held in parts.items()
        },
        left_out={reason: count for reason, count in left_out.items() if count},
        options=config.saved(),
        run=task.run,
        start=task.begun.start,
        head_start=task.begun.head_start,
        metrics=metrics,
        versions=_versions(),
    )
    tensors = checkpoint.collect(task.begun.parameters)
    made = AdapterFolder(written, data.vocab, tensors)
    return (_on(made, task.begun.lower) if task.begun.lower else made).save(folder, others=others)


def _on(made: AdapterFolder, lower: AdapterFolder) -> AdapterFolder:
    """Return an adapter that was trained on another one with what is to be told of both."""
    upper = stacking.part(made, -1)
    licence = stacking.licence(lower, made.passport.licence)
    told = certificate.of_stack([lower, upper], lower, made.passport.kind_options, licence=licence)
    names = ("licence", "data_licence", "corpus", "split_sha256", "marks", "speakers", "parents", "merge")
    return replace(made, passport=replace(made.passport, **{name: getattr(told, name) for name in names}))


def _write_backbone(task: Task, folder: Path) -> str:
    """Write the whole model as a backbone of its own, and return its fingerprint."""
    source = task.backbone.source
    tensors = checkpoint.collect(dict(task.backbone.model.named_parameters()))
    shutil.rmtree(folder, ignore_errors=True)
    with files.new_folder(folder) as unfinished:
        (unfinished / "model.safetensors").write_bytes(checkpoint.pack(tensors))
        for path in source.settings:
            shutil.copyfile(path, unfinished / path.name)
        config = {**source.config, "vocab_size": len(task.data.vocab), "dtype": "float32"}
        (unfinished / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        vocab = task.data.vocab.to_json(task.data.target_lang)
        (unfinished / "vocab.json").write_text(vocab, encoding="utf-8")
        licence = f"---\nlicense: {source.licence}\n---\n" if source.licence else ""
        text = f"{licence}{source.name}, trained as a whole on {task.data.target_lang}.\n"
        (unfinished / "README.md").write_text(text, encoding="utf-8")
    return pretrained.fingerprint(tensors.items())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "transformers", "numpy")
    return {"mms-adapt": __version__, "python": platform.python_version()} | {
        name: version(name) for name in names
    }
