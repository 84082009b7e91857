"""What a training works on, set up before its first step: model, data, optimiser, random numbers.

In: prepared data and options. Out: a `Task`, whose state can be taken and put back, and the adapter folder at
the end. It does not know the loop.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mms_adapt import backbone as backbone_module
from mms_adapt import checkpoint, relatives, vocab
from mms_adapt.audio import SAMPLE_RATE_HZ, frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.batches import Batches, Selection, select
from mms_adapt.cache import FeatureCache
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import stacking
from mms_adapt.devset import DevSet
from mms_adapt.errors import AdapterMismatchError, TrainingError
from mms_adapt.manifest import evenly
from mms_adapt.parallel import Team
from mms_adapt.recipe import TrainConfig
from mms_adapt.recorded import Player
from mms_adapt.room import Room, card_limit
from mms_adapt.start import Begun, begin

if TYPE_CHECKING:
    from mms_adapt.manifest import Utterance
    from mms_adapt.prepared import Prepared

Progress = Callable[..., None]
_NO_MATTER = {"backbone", "device", "cache", "checkpoint_minutes", "cache_on", "tensorboard"}
_NO_MATTER |= {"on", "allow_sibling"}  # which adapter it is stands in what the training is about
_ROUNDING = {
    "device_seconds",
    "max_memory_gib",
    "checkpointing",
    "lean",
    "compile",
    "record",
}  # no more depends on them
_ON_DEVICE_SHARE = 0.3  # of a card's free memory that features may take
_LEAN_SECONDS = 20.0
_LAYER = re.compile(r"wav2vec2\.encoder\.layers\.(\d+)\.")
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
        room: How much goes through the device at a time.
        team: The processes that train together.
        below: The layer at which training begins from cached hidden states; None from features.
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
    room: Room
    team: Team
    below: int | None = None

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


def set_up(
    data: "Prepared",
    config: TrainConfig,
    progress: Progress | None = None,
    team: Team | None = None,
    backbone: Backbone | None = None,
) -> Task:
    """Load the backbone, put the adapter in, compute the features, and sort out what can be learnt from.

    Args:
        data: The prepared data.
        config: The options.
        progress: Called while features are computed.
        team: The processes that train together.
        backbone: The backbone, where it is loaded already.

    Raises:
        BackboneError: If the backbone cannot be used.
        TrainingError: If no utterance can be learnt from.
    """
    utterances = list(data.utterances("train"))
    config = config.suited(sum(one.duration_s for one in utterances))
    whole = torch.float32 if config.full_finetune else None
    if backbone is None:
        backbone = backbone_module.load(config.backbone, device=config.device, dtype=whole)
    data, begun = _begun(data, config, backbone)
    backbone.checkpointing = config.checkpointing or config.lean
    backbone.quantise(config.quantise)
    if config.compile:
        backbone.compile()
    heard = evenly(data.utterances("dev"), config.dev_minutes)
    below = lowest(begun.parameters, backbone.layer_count) if config.from_hidden else None
    cache = _filled(data, config, backbone, below, heard, utterances, progress)
    selection = _selected(utterances, data, cache, config)
    batches = Batches(
        selection.examples,
        cache.features,
        batch_seconds=config.batch_seconds,
        seed=config.seed,
        padded=cache.padded,
    )
    trained = _trained(backbone, begun, config)
    backbone.player = _player(config, backbone)
    seconds = config.device_seconds or (_LEAN_SECONDS if config.lean else None)
    return Task(
        config,
        data,
        backbone,
        begun,
        trained,
        torch.optim.AdamW(trained.values(), lr=0.0, weight_decay=config.weight_decay, fused=True),
        torch.Generator(backbone.device).manual_seed(config.seed),
        batches,
        selection,
        _dev_set(heard, data, cache, config, below),
        _about(data, backbone, begun),
        Room(None if seconds is None else frame_count(round(seconds * SAMPLE_RATE_HZ))),
        team or Team(),
        below,
    )


def _begun(data: "Prepared", config: TrainConfig, backbone: Backbone) -> "tuple[Prepared, Begun]":
    """Put the adapter in, alone or on another one, with whose tokens the data are written then."""
    if config.on is None:
        return data, begin(backbone, config, data.vocab, relatives.chosen(data, backbone, config))
    lower = AdapterFolder.load(config.on)
    return _written_by(lower, data), stacking.begin(backbone, config, lower)


def _selected(
    utterances: "Sequence[Utterance]", data: "Prepared", cache: FeatureCache, config: TrainConfig
) -> Selection:
    """Sort out what can be learnt from.

    Raises:
        TrainingError: If there is nothing.
    """
    selection = select(utterances, data.vocab, cache.frames, speeds=config.speed_factors)
    if not selection.examples:
        named = ", ".join([*selection.impossible, *selection.empty][:5]) or "none at all"
        raise TrainingError(
            f"{data.folder}: no utterance of the training set can be learnt from ({len(utterances)} there, "
            f"{len(selection.impossible)} with fewer frames than labels: {named}); look at their spans"
        )
    return selection


def lowest(parameters: Mapping[str, nn.Parameter], layer_count: int) -> int:
    """Return the lowest layer of which something is trained; the number of layers where only the head is."""
    trained = [name for name, one in parameters.items() if one.requires_grad]
    found = [int(match[1]) for name in trained if (match := _LAYER.match(name))]
    outside = [name for name in trained if not (_LAYER.match(name) or name.startswith(checkpoint.HEAD))]
    return 0 if outside else min(found, default=layer_count)


def _filled(
    data: "Prepared",
    config: TrainConfig,
    backbone: Backbone,
    below: int | None,
    heard: "Sequence[Utterance]",
    utterances: "Sequence[Utterance]",
    progress: Progress | None,
) -> FeatureCache:
    """Compute what the frozen part gives, and put it where there is room."""
    folder = Path(config.cache) if config.cache else Path(data.folder) / ".cache"
    speeds = {1.0, *config.speed_factors}
    cache = FeatureCache(folder, backbone, speeds, below=below, kind=config.adapter)
    cache.fill(heard, data.root, speeds=(1.0,), progress=progress)
    cache.fill(utterances, data.root, speeds=config.speed_factors, progress=progress)
    budget = 0
    if backbone.device.type == "cuda":
        budget = round(_ON_DEVICE_SHARE * card_limit(backbone.device, config.max_memory_gib))
    cache.keep("disk" if config.lean and config.cache_on == "auto" else config.cache_on, budget)
    return cache


def _trained(backbone: Backbone, begun: Begun, config: TrainConfig) -> dict[str, nn.Parameter]:
    """Return what training changes, and let nothing else require a gradient."""
    if config.full_finetune:
        for name, one in backbone.model.named_parameters():
            one.requires_grad_(not name.startswith(_CONVOLUTIONS) and name != _MASK)
        return {name: one for name, one in backbone.model.named_parameters() if one.requires_grad}
    return {name: one for name, one in begun.parameters.items() if one.requires_grad}


def _player(config: TrainConfig, backbone: Backbone) -> Player | None:
    """Return what records layers; nothing does where memory is limited, since recordings keep theirs."""
    free = config.max_memory_gib is None and not config.lean
    return Player() if config.record and free and backbone.device.type == "cuda" else None


def _dev_set(
    utterances: "Sequence[Utterance]",
    data: "Prepared",
    cache: FeatureCache,
    config: TrainConfig,
    below: int | None,
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
        batch_seconds=2 * (config.device_seconds or config.batch_seconds),
        below=below,
    )


def _written_by(lower: AdapterFolder, data: "Prepared") -> "Prepared":
    """Return data to be written with an adapter's tokens.

    Raises:
        AdapterMismatchError: If the adapter is of another language or normaliser, or cannot write the data.
    """
    written = lower.passport
    for what, own, there in (
        ("the language", written.target_lang, data.target_lang),
        ("the normaliser", written.normaliser, data.normaliser),
    ):
        if own != there:
            raise AdapterMismatchError(
                f"{lower.path}: {what} of the adapter is {own!r}, and {data.folder} has {there!r}: train on "
                "an adapter that was made for such transcripts"
            )
    if missing := lower.vocab.unknown(" ".join(set(data.vocab.tokens) - set(vocab.SPECIALS))):
        raise AdapterMismatchError(
            f"{lower.path}: the adapter cannot write {vocab.describe(missing)}, which transcripts of "
            f"{data.folder} hold: take these utterances out, or train an adapter that does not stand on it"
        )
    return replace(data, vocab=lower.vocab)


def _about(data: "Prepared", backbone: Backbone, begun: Begun) -> dict[str, Any]:
    return {
        **({"on": begun.lower.sha256} if begun.lower else {}),
        "target_lang": data.target_lang,
        "normaliser": data.normaliser,
        **{f"{part} set": data.split_sha256[part] for part in ("train", "dev")},
        "vocabulary": " ".join(data.vocab.tokens),
        "backbone": backbone.fingerprint,
        "computes on": backbone.device.type,
    }


def about_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a training another one; where files are does not."""
    matter = {name: one for name, one in options.items() if name not in _NO_MATTER | _ROUNDING}
    return {f"option {name}": one for name, one in matter.items()}
