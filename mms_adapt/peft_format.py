"""LoRA adapters in the files of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

In: an adapter folder of the kind lora, or a folder that PEFT wrote. Out: the other one. The head goes along
as one of PEFT's "modules to save". What PEFT can do and this kind cannot is refused, never left out. Only
safetensors and JSON are read. It does not know models.
"""

import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from mms_adapt import files, tensor_file
from mms_adapt.adapters import lora
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import HEAD, AdapterFolder, pack
from mms_adapt.errors import AdapterError, OptionError, VocabError
from mms_adapt.passport import Passport
from mms_adapt.vocab import Vocab

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
# options of PEFT that change what is computed, and the values at which they do not
_PLAIN: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "lora_bias": (False,),
    "use_dora": (False,),
    "use_qalora": (False,),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "layer_replication": (None,),
    "trainable_token_indices": (None,),
    "target_parameters": (None,),
    "megatron_config": (None,),
    "use_bdlora": (None, False),
    "monteclora_config": (None,),
    "velora_config": (None,),
    "arrow_config": (None,),
    "alora_invocation_tokens": (None,),
    "kasa_config": (None,),
}


def write(adapter: AdapterFolder, out: str | PathLike[str]) -> Path:
    """Write a folder that PEFT opens, with the adapter's tokens beside it.

    PEFT puts it into a stock model whose head has as many rows as `vocab.json` has tokens.

    Args:
        adapter: An adapter of the kind lora.
        out: The folder to write; it must not be there yet.

    Raises:
        AdapterError: If it is of another kind.
        OptionError: If `out` is there already.
    """
    folder = Path(out)
    made = contents(adapter)
    if folder.exists():
        raise OptionError(f"{folder}: it is there already; name a folder to be made")
    files.write_all(folder, made)
    return folder


def contents(adapter: AdapterFolder) -> dict[str, bytes | str]:
    """Return the files of PEFT for an adapter, and its tokens.

    Raises:
        AdapterError: If it is of another kind.
    """
    passport = adapter.passport
    if passport.kind != "lora":
        raise AdapterError(
            f"{adapter.path}: PEFT's LoRA format holds adapters of the kind lora, and this one "
            f"is of the kind {passport.kind!r}"
        )
    config = lora.Config(**passport.kind_options)
    changed = sorted({name.rsplit(".lora_", 1)[0] for name in adapter.tensors if not name.startswith(HEAD)})
    record = {
        "peft_type": "LORA",
        "base_model_name_or_path": passport.backbone,
        "inference_mode": True,
        "r": config.rank,
        "lora_alpha": config.scaling * config.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": changed,
        "modules_to_save": [HEAD.rstrip(".")],
    }
    tensors = {f"{_PREFIX}{name}": one for name, one in adapter.tensors.items()}
    return {
        WEIGHTS: pack(tensors),
        "vocab.json": adapter.vocab.to_json(passport.target_lang),
        CONFIG: json.dumps(record, indent=1) + "\n",
    }


def read(
    folder: str | PathLike[str],
    target_lang: str,
    backbone: Backbone,
    *,
    vocab: str | PathLike[str] | None = None,
) -> AdapterFolder:
    """Open a folder that PEFT wrote.

    Args:
        folder: The folder.
        target_lang: The language that it writes.
        backbone: The backbone that it was trained on; the files do not tell, so the caller vouches for it.
        vocab: The file with the tokens; `vocab.json` in the folder where not given.

    Returns:
        The adapter; `save` writes it as an adapter folder.

    Raises:
        AdapterError: If it is no LoRA adapter with a head, or does what this kind does not.
    """
    place = Path(folder)
    record = _record(place / CONFIG)
    wrong = [
        f"{name} is {record[name]!r}"
        for name, plain in _PLAIN.items()
        if name in record and record[name] not in plain and record[name] is not None
    ]
    if record.get("peft_type") != "LORA":
        wrong.insert(0, f"peft_type is {record.get('peft_type')!r}, not 'LORA'")
    if wrong:
        raise AdapterError(f"{place / CONFIG}: {'; '.join(wrong)}: this is not a plain LoRA adapter")
    found = tensor_file.read(place / WEIGHTS, AdapterError)
    tensors = {name.removeprefix(_PREFIX): one.float() for name, one in found.items()}
    strange = [one for one in tensors if not (lora.owns(one) or one in (f"{HEAD}weight", f"{HEAD}bias"))]
    if strange or f"{HEAD}weight" not in tensors:
        what = f"it holds {strange[0]}" if strange else "it holds no head (modules_to_save: lm_head)"
        raise AdapterError(
            f"{place / WEIGHTS}: {what}; matrices of the encoder's layers and the head are read"
        )
    path = Path(vocab) if vocab is not None else place / "vocab.json"
    try:
        tokens = Vocab.from_json(path.read_text(encoding="utf-8"), target_lang)
    except (OSError, ValueError, VocabError) as error:
        raise AdapterError(f"{path}: the adapter's tokens cannot be read: {error}") from error
    if len(tokens) != len(tensors[f"{HEAD}weight"]):
        raise AdapterError(
            f"{path}: {len(tokens)} tokens, but the head has {len(tensors[f'{HEAD}weight'])} rows"
        )
    passport = Passport(
        target_lang,
        "lora",
        _options(place, record, tensors),
        backbone=backbone.name,
        backbone_fingerprint=backbone.fingerprint,
        licence=backbone.licence or "",
        start=f"PEFT {record.get('peft_version', '')}".strip(),
    )
    return AdapterFolder(passport, tokens, tensors)


def _options(place: Path, record: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return the fields of the kind's `Config`; the matrices are those that the file holds."""
    rank, alpha = record.get("r"), record.get("lora_alpha")
    ranks = {len(one) for name, one in tensors.items() if name.endswith(".lora_A.weight")}
    if ranks != {rank} or not isinstance(alpha, int | float):
        raise AdapterError(
            f"{place / CONFIG}: r is {rank!r} and lora_alpha {alpha!r}, but A has {ranks} rows"
        )
    if record.get("use_rslora"):
        alpha *= math.sqrt(float(rank or 1))
    changed = sorted({name.rsplit(".lora_", 1)[0] for name in tensors if not name.startswith(HEAD)})
    return {"rank": rank, "alpha": float(alpha), "targets": changed, "layers": "all", "seed": 0}


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path}: it cannot be read, so this is no folder of PEFT: {error}") from error
    if not isinstance(record, dict):
        raise AdapterError(f"{path}: a JSON object is expected")
    return record
