"""The stock model of transformers, built of files, frozen.

In: a model's files and its weights. Out: a Wav2Vec2ForCTC, or for MMS-LID a
Wav2Vec2ForSequenceClassification, in evaluation mode. It alone knows the classes of transformers.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mms_adapt import pretrained
from mms_adapt.errors import BackboneError
from mms_adapt.pretrained import Pretrained


def build(source: Pretrained, tensors: dict[str, Tensor], dtype: torch.dtype) -> Any:
    """Return the stock model with these weights, frozen, in evaluation mode."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config.from_dict(dict(source.config))
    config._attn_implementation = "sdpa"
    config.mask_time_prob = 0.05 if "wav2vec2.masked_spec_embed" in tensors else 0.0  # makes room for it
    config.mask_feature_prob = 0.0
    if "lm_head.weight" in tensors:
        config.vocab_size = tensors["lm_head.weight"].shape[0]
    model, found = _filled(Wav2Vec2ForCTC, config, tensors, dtype, f"backbone {source.name}")
    missing = [name for name in found.missing_keys if not pretrained.is_owned(name)]
    absent = {name for name in found.missing_keys if ".adapter_layer." in name}
    if absent and any(".adapter_layer." in name for name in tensors):
        missing += sorted(absent)
    _refuse(f"backbone {source.name}", missing, found.unexpected_keys)
    for layer in model.wav2vec2.encoder.layers if absent else ():
        layer.adapter_layer = None
    if "lm_head.weight" not in tensors or "lm_head.bias" not in tensors:
        model.lm_head = nn.Linear(config.hidden_size, 1)
    return model.requires_grad_(False).eval()


def build_identifier(source: Pretrained, tensors: dict[str, Tensor]) -> Any:
    """Return MMS-LID with these weights in float32, frozen, in evaluation mode.

    Raises:
        BackboneError: If the weights are not those of the model that `config.json` describes.
    """
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config.from_dict(dict(source.config))
    config._attn_implementation = "sdpa"
    config.mask_time_prob = 0.05 if "wav2vec2.masked_spec_embed" in tensors else 0.0
    config.mask_feature_prob = 0.0
    if not any(".adapter_layer." in name for name in tensors):
        config.adapter_attn_dim = None
    what = f"MMS-LID {source.name}"
    model, found = _filled(Wav2Vec2ForSequenceClassification, config, tensors, torch.float32, what)
    _refuse(what, found.missing_keys, found.unexpected_keys)
    return model.requires_grad_(False).eval()


def _filled(
    made: Any, config: Any, tensors: dict[str, Tensor], dtype: torch.dtype, what: str
) -> tuple[Any, Any]:
    """Return a model of a class with its weights, and which were missing or not expected."""
    try:
        with torch.device("meta"):  # no memory, and no random numbers that nobody needs
            model = made(config)
        found = model.load_state_dict(
            {name: one.to(_dtype(name, one, dtype)) for name, one in tensors.items()},
            strict=False,
            assign=True,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(f"{what}: config.json does not fit the weights: {reason}") from error
    return model, found


def _refuse(what: str, missing: Sequence[str], unexpected: Sequence[str]) -> None:
    """Refuse a model whose weights are not all there, or are not all its own."""
    for how, names in (("missing", missing), ("unexpected", unexpected)):
        if names:
            raise BackboneError(
                f"{what}: {len(names)} weights are {how}, such as {names[0]}; it is not the model that its "
                "config.json describes"
            )


def _dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the type of a weight: that asked for where it is a large matrix, else float32."""
    return dtype if tensor.ndim == 2 and not pretrained.is_owned(name) else torch.float32
