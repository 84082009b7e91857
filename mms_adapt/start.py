"""Where an adapter and its head start, put into the backbone and told in words for the passport.

In: a backbone, the options, and the language's tokens. Out: the parameters that are to be trained. Nothing is
left to what a checkpoint happens to hold: every tensor is set here, from the seed or from weights that are
named. It does not know data.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt import plugins
from mms_adapt.backbone import Backbone, Start
from mms_adapt.checkpoint import HEAD, AdapterFolder, owned
from mms_adapt.errors import BackboneError, OptionError
from mms_adapt.recipe import TrainConfig
from mms_adapt.vocab import Vocab

_HEAD_SPREAD = _RANDOM_SPREAD = 0.02


@dataclass(frozen=True)
class Relative:
    """Another language's adapter to start from.

    Attributes:
        name: What it is called in the passport, and how it was found.
        weights: Its tensors and tokens.
        kind: Its kind.
        kind_options: The fields of that kind's `Config`.
    """

    name: str
    weights: Start
    kind: str
    kind_options: Mapping[str, Any]


@dataclass(frozen=True)
class Begun:
    """A backbone with an adapter in it that is about to be trained.

    Attributes:
        kind: The adapter's module.
        kind_options: The fields of its `Config`.
        parameters: Adapter and head by name.
        start: Where the adapter started.
        head_start: Where the head started.
        lower: The adapter that it stands on; None where it stands alone.
    """

    kind: ModuleType
    kind_options: Mapping[str, Any]
    parameters: Mapping[str, nn.Parameter]
    start: str
    head_start: str
    lower: AdapterFolder | None = None


def kind_config(kind: ModuleType, config: TrainConfig, backbone: Backbone) -> Any:
    """Return the options of a kind, those that it shares with others filled from backbone and training.

    Raises:
        OptionError: If the kind does not know an option.
    """
    known = {one.name for one in fields(kind.Config)}
    usual = {"size": backbone.adapter_size, "layers": config.adapter_layers, "seed": config.seed}
    try:
        return kind.Config(
            **{**{name: one for name, one in usual.items() if name in known}, **config.adapter_options}
        )
    except TypeError as error:
        raise OptionError(f"adapter_options: {config.adapter}: {error}; known: {', '.join(known)}") from error


def begin(backbone: Backbone, config: TrainConfig, vocab: Vocab, relative: Relative | None = None) -> Begun:
    """Put a new adapter and head into a backbone; they require gradients.

    Args:
        backbone: The backbone.
        config: The options.
        vocab: The language's tokens.
        relative: The adapter to start from, where `config.start` leads to one that does not come with the
            backbone.

    Raises:
        BackboneError: If the backbone has no weights to start from, as was asked for.
        OptionError: If the kind does not know an option.
    """
    kind = plugins.load("adapters", config.adapter)
    chosen = kind_config(kind, config, backbone)
    weights: Start | None = None
    if relative is not None:
        weights = relative.weights
    elif config.start not in ("zero", "random"):
        weights = backbone.start(config.start.partition(":")[2] or None)
    backbone.bare()
    if weights is None:
        head = backbone.model.lm_head
        own = Start({f"{HEAD}weight": head.weight.detach(), f"{HEAD}bias": head.bias.detach()}, None)
        rows, tokens = own.tensors, backbone.own_vocab()
    else:
        rows, tokens = weights.tensors, weights.vocab
    kind.attach(backbone.model, chosen)
    backbone.put_head(len(vocab))
    backbone.model.lm_head.requires_grad_(True)
    parameters = owned(backbone.model, kind)
    if weights is not None:
        _fill_adapter(backbone, relative.name if relative else config.start, parameters, weights.tensors)
    elif config.start == "random":
        fill_random(parameters, config.seed)
    shared = _fill_head(backbone, config, vocab, rows, tokens)
    told = f"shared ({shared} of {len(vocab)} tokens)" if config.head_start == "shared" else "fresh"
    return Begun(kind, asdict(chosen), parameters, relative.name if relative else config.start, told)


def _fill_adapter(
    backbone: Backbone, start: str, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Copy the weights of the layers that have an adapter."""
    for name, parameter in parameters.items():
        if name.startswith(HEAD) or not parameter.requires_grad:
            continue
        if name not in tensors or tensors[name].shape != parameter.shape:
            raise BackboneError(
                f"backbone {backbone.name}: start {start}: its adapter has no {name} of the shape "
                f"{tuple(parameter.shape)}; start with zero"
            )
        with torch.no_grad():
            parameter.copy_(tensors[name])


def fill_random(parameters: Mapping[str, nn.Parameter], seed: int) -> None:
    """Fill the matrices that are zero, so that the adapter is not the identity."""
    random = torch.Generator().manual_seed(seed + 2)
    for name, parameter in parameters.items():
        if name.startswith(HEAD) or not parameter.requires_grad or parameter.ndim < 2:
            continue
        drawn = torch.empty(parameter.shape).normal_(0.0, _RANDOM_SPREAD, generator=random)
        if not bool(parameter.detach().any()):
            with torch.no_grad():
                parameter.copy_(drawn)


def _fill_head(
    backbone: Backbone,
    config: TrainConfig,
    vocab: Vocab,
    rows: Mapping[str, Tensor],
    tokens: Vocab | None,
) -> int:
    """Fill the head at random, and rows whose tokens are known with known ones; return how many those are."""
    head = backbone.model.lm_head
    random = torch.Generator().manual_seed(config.seed + 1)
    with torch.no_grad():
        head.weight.copy_(torch.empty(head.weight.shape).normal_(0.0, _HEAD_SPREAD, generator=random))
        head.bias.zero_()
        weight, bias = rows.get(f"{HEAD}weight"), rows.get(f"{HEAD}bias")
        if config.head_start == "fresh" or tokens is None or weight is None or bias is None:
            return 0
        if weight.shape != (len(tokens), backbone.hidden_size):
            return 0
        places = {token: place for place, token in enumerate(tokens.tokens)}
        # blank and word delimiter are the same thing under whatever name
        places[vocab.tokens[vocab.blank_id]] = tokens.blank_id
        places[vocab.tokens[vocab.delimiter_id]] = tokens.delimiter_id
        pairs = [(here, places[token]) for here, token in enumerate(vocab.tokens) if token in places]
        for here, there in pairs:
            head.weight[here] = weight[there].to(head.weight)
            head.bias[here] = bias[there].to(head.bias)
        return len(pairs)
