"""The stock model of transformers, built of files, frozen.

In: a model's files and its weights. Out: a Wav2Vec2ForCTC in evaluation mode. It alone knows the classes of
transformers.
"""

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
    try:
        with torch.device("meta"):  # no memory, and no random numbers that nobody needs
            model = Wav2Vec2ForCTC(config)
        found = model.load_state_dict(
            {name: one.to(_dtype(name, one, dtype)) for name, one in tensors.items()},
            strict=False,
            assign=True,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(
            f"backbone {source.name}: config.json does not fit the weights: {reason}"
        ) from error
    missing = [name for name in found.missing_keys if not pretrained.is_owned(name)]
    absent = {name for name in found.missing_keys if ".adapter_layer." in name}
    if absent and any(".adapter_layer." in name for name in tensors):
        missing += sorted(absent)
    for what, names in (("missing", missing), ("unexpected", found.unexpected_keys)):
        if names:
            raise BackboneError(
                f"backbone {source.name}: {len(names)} weights are {what}, such as {names[0]}; it is not the "
                "model that its config.json describes"
            )
    for layer in model.wav2vec2.encoder.layers if absent else ():
        layer.adapter_layer = None
    if "lm_head.weight" not in tensors or "lm_head.bias" not in tensors:
        model.lm_head = nn.Linear(config.hidden_size, 1)
    return model.requires_grad_(False).eval()


def _dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the type of a weight: that asked for where it is a large matrix, else float32."""
    return dtype if tensor.ndim == 2 and not pretrained.is_owned(name) else torch.float32
