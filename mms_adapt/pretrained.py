"""A pre-trained model as files: where they are, what they say, and the fingerprint of their weights.

In: a name: "embedded", a folder, or owner/model on the Hugging Face hub. Out: a `Pretrained`, whose tensors
are read from safetensors alone, never from pickles. It does not know what is computed with them.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mms_adapt import language
from mms_adapt.audio import FRAME_STRIDE, RECEPTIVE_FIELD, SAMPLE_RATE_HZ
from mms_adapt.errors import BackboneError, VocabError
from mms_adapt.vocab import Vocab

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDED = Path(__file__).parent / "embedded"
MMS_LICENCE = "CC-BY-NC-4.0"
_IDENTIFIER = "Wav2Vec2ForSequenceClassification"
_LID = "MMS-LID"
_GIVE = {
    "backbone": "embedded, a folder with config.json and model.safetensors, or a name on the hub such as "
    "facebook/mms-1b-all",
    _LID: "a folder with config.json, preprocessor_config.json and model.safetensors, or a name on the hub "
    "such as facebook/mms-lid-126",
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ["config.json", "*processor_config.json", "tokenizer_config.json", "vocab.json", "README.md"]
_OWNED = re.compile(r"\.adapter_layer\.|^lm_head\.")
_OLD_NAMES = {"conv.weight_g": "conv.parametrizations.weight.original0"}
_OLD_NAMES["conv.weight_v"] = "conv.parametrizations.weight.original1"


@dataclass(frozen=True)
class Pretrained:
    """A folder with a model in the layout of transformers.

    Attributes:
        name: What the user called it.
        folder: Where its files are.
        config: What `config.json` says.
        do_normalize: Whether audio is brought to mean zero and variance one.
        weights: The safetensors files.
        settings: What says how audio is brought in: `preprocessor_config.json` or its like.
        licence: The licence of the weights, where it is known.
        parents: Fingerprints of the models that it came from by further training, as its folder tells.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    do_normalize: bool
    weights: tuple[Path, ...]
    settings: tuple[Path, ...]
    licence: str | None
    parents: tuple[str, ...] = ()

    def tensors(self) -> "Iterator[tuple[str, Tensor]]":
        """Return every tensor of the model by its present name, as it is stored.

        Raises:
            BackboneError: If a file is damaged.
        """
        from mms_adapt import tensor_file

        for path in self.weights:
            for name, tensor in tensor_file.read(path, BackboneError).items():
                for old, new in _OLD_NAMES.items():
                    name = name.replace(old, new)
                yield name, tensor

    def adapter(self, target_lang: str) -> "dict[str, Tensor]":
        """Return the tensors of an adapter that comes with the model, `adapter.<target_lang>.safetensors`.

        Raises:
            LanguageError: If this is no code.
            BackboneError: If the model has none for it.
        """
        from mms_adapt import tensor_file

        name = f"adapter.{language.parse(target_lang)}.safetensors"
        path = self.folder / name
        if not path.is_file() and _on_hub(self.name):
            path = _download(self.name, [name]) / name
        if not path.is_file():
            codes = sorted(one.name.split(".")[1] for one in self.folder.glob("adapter.*.safetensors"))
            held = f"it has {', '.join(codes[:12])}" if codes else "it has none at all"
            raise BackboneError(f"backbone {self.name}: there is no {name}; {held}")
        return tensor_file.read(path, BackboneError)

    def vocab(self, target_lang: str | None = None) -> Vocab | None:
        """Return the tokens of its own head, or of one language; None where they are not known.

        Args:
            target_lang: The language; the one that the head is of where not given.
        """
        try:
            text = (self.folder / "vocab.json").read_text(encoding="utf-8")
            if target_lang is None:
                settings = _json(self.folder / "tokenizer_config.json", needed=False)
                record = json.loads(text)
                nested = [one for one, value in record.items() if isinstance(value, dict)]
                target_lang = settings.get("target_lang") or (nested[0] if len(nested) == 1 else "eng")
            return Vocab.from_json(text, str(target_lang))
        except (OSError, ValueError, AttributeError, VocabError):
            return None


def find(name: str | os.PathLike[str]) -> Pretrained:
    """Look for a model and check that adapters of MMS's kind fit into it.

    Args:
        name: "embedded", a folder, or owner/model on the hub, which is fetched where it is not yet here.

    Raises:
        BackboneError: If it is not there, or is of another architecture.
    """
    name = os.fspath(name)
    folder = _folder(name)
    config = _json(folder / "config.json")
    _check(name, config)
    path, settings = _settings(folder)
    licence = MMS_LICENCE if name.startswith("facebook/mms-") else _licence(folder / "README.md")
    normalise = bool(settings.get("do_normalize", True))
    weights, parents = _weights(name, folder), _parents(folder)
    return Pretrained(name, folder, config, normalise, weights, (path,), licence, parents)


def find_identifier(name: str | os.PathLike[str]) -> Pretrained:
    """Look for a checkpoint of MMS-LID, which tells languages apart by their sound.

    Args:
        name: A folder, or owner/model on the hub, which is fetched where it is not yet here.

    Raises:
        BackboneError: If it is not there, is of another architecture, or does not name languages.
    """
    name = os.fspath(name)
    folder = _folder(name, _LID)
    config = _json(folder / "config.json")
    path, settings = _settings(folder)
    _check_identifier(name, config, settings)
    licence = MMS_LICENCE if name.startswith("facebook/mms-") else _licence(folder / "README.md")
    normalise = bool(settings.get("do_normalize", True))
    return Pretrained(name, folder, config, normalise, _weights(name, folder, _LID), (path,), licence)


def fingerprint(tensors: "Iterable[tuple[str, Tensor]]") -> str:
    """Return a hash over names, types, shapes and bytes of a model's frozen tensors.

    Adapters and head do not count, nor does the order. Tensors are hashed side by side in threads, and then
    the hashes in the order of the names: 4 GB take a few seconds, less than reading them.
    """
    import torch

    def digest(item: "tuple[str, Tensor]") -> str:
        name, tensor = item
        if not tensor.numel():
            return f"{name} {tensor.dtype} {tuple(tensor.shape)} -"
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{name} {tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(raw.data).hexdigest()}"

    frozen = [item for item in tensors if not is_owned(item[0])]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        lines = sorted(pool.map(digest, frozen))
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def is_owned(name: str) -> bool:
    """Tell whether a tensor of the model belongs to a language: to its adapter or its head."""
    return _OWNED.search(name) is not None


def _folder(name: str, what: str = "backbone") -> Path:
    """Return the folder with a model's files, fetched where need be."""
    if name == "embedded" and what == "backbone":
        if not (EMBEDDED / "config.json").is_file():
            raise BackboneError(
                "this installation has no embedded backbone (mms_adapt/embedded is missing); install the "
                "package anew, or name another with --backbone, such as facebook/mms-1b-all"
            )
        return EMBEDDED
    if Path(name).is_dir():
        return Path(name)
    if not _on_hub(name):
        raise BackboneError(f"{what} {name!r}: there is no such folder; give {_GIVE[what]}")
    return _download(name, [*_HUB_FILES, "model*.safetensors", "model.safetensors.index.json"], what)


def _on_hub(name: str) -> bool:
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).is_dir() and ".." not in name


def _download(name: str, files: list[str], what: str = "backbone") -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"{what} {name}: there is no such folder, and it cannot be fetched from the hub: {reason}. "
            "Is this machine offline? Fetch the model once with a network, or give its folder"
        ) from error


def _json(path: Path, *, needed: bool = True) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not needed:
            return {}
        raise BackboneError(
            f"{path}: this file is missing, so the folder is no whole model; needed are config.json, "
            "preprocessor_config.json and model.safetensors"
        ) from None
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path}: this file cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise BackboneError(f"{path}: a JSON object is expected")
    return record


def _settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return what says how audio is brought in, and where that stands."""
    path = folder / "preprocessor_config.json"
    if not path.is_file() and (folder / "processor_config.json").is_file():
        path = folder / "processor_config.json"  # what newer versions of transformers write
    settings = _json(path)
    return path, settings.get("feature_extractor", settings)


def _check_identifier(name: str, config: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a model that does not tell languages apart, or hears another sample rate."""
    wrong = []
    if _IDENTIFIER not in (config.get("architectures") or ()):
        wrong.append(f"architectures is {config.get('architectures')}, not [{_IDENTIFIER!r}]")
    elif config.get("model_type") != "wav2vec2":
        wrong.append(f"model_type is {config.get('model_type')!r}, not 'wav2vec2'")
    else:
        labels = config.get("id2label")
        codes = list(labels.values()) if isinstance(labels, dict) else []
        strange = [one for one in codes if not re.fullmatch(r"[a-z]{3}(-\w+)?", str(one))]
        if len(codes) < 2 or strange:
            found = f"such as {strange[0]!r}" if strange else f"{len(codes)} of them"
            wrong.append(f"id2label names no languages by ISO 639-3 ({found})")
    if settings.get("sampling_rate", SAMPLE_RATE_HZ) != SAMPLE_RATE_HZ:
        wrong.append(f"it hears {settings['sampling_rate']} Hz, not {SAMPLE_RATE_HZ}")
    if wrong:
        raise BackboneError(
            f"{_LID} {name}: it does not tell languages apart: {'; '.join(wrong)}. Give {_GIVE[_LID]}"
        )


def _check(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a model that has no place for adapters, or other frames than the package counts with."""
    wrong = []
    if config.get("model_type") != "wav2vec2":
        wrong.append(f"model_type is {config.get('model_type')!r}, not 'wav2vec2'")
    if not config.get("do_stable_layer_norm"):
        wrong.append("do_stable_layer_norm is not true, so adapters would silently be absent")
    if not config.get("adapter_attn_dim"):
        wrong.append("adapter_attn_dim is not set, so there is no place for adapters")
    if config.get("feat_extract_norm") != "layer":
        wrong.append(f"feat_extract_norm is {config.get('feat_extract_norm')!r}, not 'layer'")
    if config.get("add_adapter"):
        wrong.append("add_adapter is true: convolutions behind the encoder would change the frames")
    kernels, strides = config.get("conv_kernel", []), config.get("conv_stride", [])
    field = 1 + sum(
        (kernel - 1) * math.prod(strides[:layer]) for layer, kernel in enumerate(kernels) if strides
    )
    if kernels and (math.prod(strides), field) != (FRAME_STRIDE, RECEPTIVE_FIELD):
        wrong.append(f"a frame has {math.prod(strides)} samples, not {FRAME_STRIDE}")
    if wrong:
        raise BackboneError(
            f"backbone {name}: it is no Wav2Vec2ForCTC of MMS's kind: {'; '.join(wrong)}. "
            "Take facebook/mms-1b-all, embedded, or a model of their architecture"
        )


def _weights(name: str, folder: Path, what: str = "backbone") -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    files = sorted(set(_json(index).get("weight_map", {}).values())) if index.is_file() else []
    files = files or ["model.safetensors"]
    missing = [one for one in files if Path(one).name != one or not (folder / one).is_file()]
    if missing:
        raise BackboneError(
            f"{what} {name}: {folder / missing[0]} is missing; weights are read from safetensors alone, "
            "never from pickles such as pytorch_model.bin"
        )
    return tuple(folder / one for one in files)


def _parents(folder: Path) -> tuple[str, ...]:
    """Return the fingerprints that `pretraining.json` tells of the model after earlier trainings."""
    found = _json(folder / "pretraining.json", needed=False).get("trainings", [])
    records = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return tuple(str(one["fingerprint"]) for one in records if "fingerprint" in one)


def _licence(card: Path) -> str | None:
    """Return the licence that a model card's front matter names."""
    try:
        head = card.read_text(encoding="utf-8").split("---")[1]
    except (OSError, ValueError, IndexError):
        return None
    found = re.search(r"^license:\s*(\S.*?)\s*$", head, re.MULTILINE)
    return found[1].strip("'\"") if found else None
