"""What a training works on, set up before its first step: model, data, optimiser, random numbers.

In: prepared data and options. Out: a `Task`, whose state can be taken and put back, and the adapter folder at
the end. It does not know the loop.
"""

import json
import math
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mms_adapt import backbone as backbone_module
from mms_adapt import checkpoint, files, pretrained, relatives
from mms_adapt._version import __version__
from mms_adapt.backbone import Backbone
from mms_adapt.batches import Batches, Selection, select
from mms_adapt.cache import FeatureCache
from mms_adapt.checkpoint import OWN_BACKBONE, AdapterFolder
from mms_adapt.devset import DevSet
from mms_adapt.errors import TrainingError
from mms_adapt.ledger import pseudonym
from mms_adapt.manifest import evenly
from mms_adapt.passport import Passport, file_sha256
from mms_adapt.recipe import TrainConfig
from mms_adapt.start import Begun, begin

if TYPE_CHECKING:
    from mms_adapt.manifest import Utterance
    from mms_adapt.prepared import Prepared

Progress = Callable[..., None]
_NO_MATTER = {"backbone", "device", "cache", "checkpoint_minutes"}
_CONVOLUTIONS, _MASK = "wav2vec2.feature_extractor.", "wav2vec2.masked_spec_embed"


@dataclass(frozen=True)
class Task:
    """A training, ready for its first step.

    Attributes:
        config: The options.
        data: The prepared data.
        backbone: The backbone with the adapter in it.
        begun: The adapter as it started.
        trained: What training changes, by name.
        optimiser: AdamW over it.
        generator: Random numbers of masks and dropout.
        batches: Batches of the training set.
        selection: What of the training set can be learnt from.
        dev: The dev set; None where it has no word.
        run: What the training is about: data, vocabulary and backbone.
    """

    config: TrainConfig
    data: "Prepared"
    backbone: Backbone
    begun: Begun
    trained: Mapping[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    generator: torch.Generator
    batches: Batches
    selection: Selection
    dev: DevSet | None
    run: Mapping[str, Any]

    @property
    def evaluate_steps(self) -> int:
        """Steps between evaluations: about an epoch, but neither rarely nor so often that it costs much."""
        if self.config.evaluate_steps is not None:
            return self.config.evaluate_steps
        cheap = math.ceil(5 * self.dev.audio_s / self.config.batch_seconds) if self.dev else 1
        return max(cheap, min(len(self.batches.plan(0)), 200))

    @property
    def about(self) -> dict[str, Any]:
        """What makes this training another one than the next."""
        return {**self.run, **about_options(self.config.saved())}

    def take(self) -> dict[str, Tensor]:
        """Return everything that later steps depend on, beside the course."""
        state = {f"parameter.{name}": one for name, one in checkpoint.collect(self.trained).items()}
        for place, held in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{place}.{key}": one.detach().cpu() for key, one in held.items()}
        return {**state, "generator": self.generator.get_state()}

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state that was taken.

        Raises:
            TrainingError: If it is not of these parameters.
        """
        self.fill({name: state.get(f"parameter.{name}", torch.zeros(0)) for name in self.trained})
        held: dict[int, dict[str, Tensor]] = {}
        for name, one in state.items():
            if name.startswith("optimiser."):
                _, place, key = name.split(".")
                held.setdefault(int(place), {})[key] = one
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": held, "param_groups": groups})
        self.generator.set_state(state["generator"])

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors into what is trained."""
        with torch.no_grad():
            for name, parameter in self.trained.items():
                if tensors[name].shape != parameter.shape:
                    raise TrainingError(
                        f"{name}: the checkpoint has another shape; begin anew with --restart"
                    )
                parameter.copy_(tensors[name])


def set_up(data: "Prepared", config: TrainConfig, progress: Progress | None = None) -> Task:
    """Load the backbone, put the adapter in, compute the features, and sort out what can be learnt from.

    Raises:
        BackboneError: If the backbone cannot be used.
        TrainingError: If no utterance can be learnt from.
    """
    utterances = list(data.utterances("train"))
    config = config.suited(sum(one.duration_s for one in utterances))
    whole = torch.float32 if config.full_finetune else None
    backbone = backbone_module.load(config.backbone, device=config.device, dtype=whole)
    begun = begin(backbone, config, data.vocab, relatives.chosen(data, backbone, config))
    heard = evenly(data.utterances("dev"), config.dev_minutes)
    folder = Path(config.cache) if config.cache else Path(data.folder) / ".cache"
    cache = FeatureCache(folder, backbone, {1.0, *config.speed_factors})
    cache.fill(heard, data.root, speeds=(1.0,), progress=progress)
    cache.fill(utterances, data.root, speeds=config.speed_factors, progress=progress)
    selection = select(utterances, data.vocab, cache.frames, speeds=config.speed_factors)
    if not selection.examples:
        named = ", ".join([*selection.impossible, *selection.empty][:5]) or "none at all"
        raise TrainingError(
            f"{data.folder}: no utterance of the training set can be learnt from ({len(utterances)} there, "
            f"{len(selection.impossible)} with fewer frames than labels: {named}); look at their spans"
        )
    batches = Batches(
        selection.examples, cache.features, batch_seconds=config.batch_seconds, seed=config.seed
    )
    trained = _trained(backbone, begun, config)
    fused = backbone.device.type == "cuda"
    return Task(
        config,
        data,
        backbone,
        begun,
        trained,
        torch.optim.AdamW(trained.values(), lr=0.0, weight_decay=config.weight_decay, fused=fused),
        torch.Generator(backbone.device).manual_seed(config.seed),
        batches,
        selection,
        _dev_set(heard, data, cache, config),
        _about(data, backbone),
    )


def _trained(backbone: Backbone, begun: Begun, config: TrainConfig) -> dict[str, nn.Parameter]:
    """Return what training changes, and let nothing else require a gradient."""
    if config.full_finetune:
        for name, one in backbone.model.named_parameters():
            one.requires_grad_(not name.startswith(_CONVOLUTIONS) and name != _MASK)
        return {name: one for name, one in backbone.model.named_parameters() if one.requires_grad}
    return {name: one for name, one in begun.parameters.items() if one.requires_grad}


def _dev_set(
    utterances: "Sequence[Utterance]", data: "Prepared", cache: FeatureCache, config: TrainConfig
) -> DevSet | None:
    if not any((one.reference or "").strip() for one in utterances):
        return None
    return DevSet(
        utterances,
        data.vocab,
        normaliser=data.normaliser,
        target_lang=data.target_lang,
        features=cache.features,
        frames=cache.frames,
        batch_seconds=2 * config.batch_seconds,
    )


def _about(data: "Prepared", backbone: Backbone) -> dict[str, Any]:
    return {
        "target_lang": data.target_lang,
        "normaliser": data.normaliser,
        **{f"{part} set": data.split_sha256[part] for part in ("train", "dev")},
        "vocabulary": " ".join(data.vocab.tokens),
        "backbone": backbone.fingerprint,
        "computes on": backbone.device.type,
    }


def about_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a training another one; where files are does not."""
    return {f"option {name}": one for name, one in options.items() if name not in _NO_MATTER}


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
        kind=config.adapter,
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
    return AdapterFolder(written, data.vocab, tensors).save(folder, others=others)


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
