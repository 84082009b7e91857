"""An adapter with its backbone as one folder that stock transformers opens.

In: an adapter folder and its backbone. Out: a folder of a model. It does not know training.
"""

import json
import shutil
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import files, plugins
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder, pack
from mms_adapt.errors import AdapterError, OptionError
from mms_adapt.vocab import Vocab


def export_stock(
    adapter: AdapterFolder | str | PathLike[str], backbone: Backbone, out: str | PathLike[str]
) -> Path:
    """Write a folder that stock transformers opens: backbone, adapter, tokens and processor in one.

    Args:
        adapter: The adapter, or its folder.
        backbone: The backbone that it was trained on.
        out: The folder to write; it must not be there yet.

    Raises:
        AdapterError: If its kind is unknown to stock transformers.
        AdapterMismatchError: If it belongs to another backbone.
        OptionError: If `out` is there already.
    """
    one = adapter if isinstance(adapter, AdapterFolder) else AdapterFolder.load(adapter)
    folder = Path(out)
    check(one, backbone)
    if folder.exists():
        raise OptionError(f"{folder}: it is there already; name a folder to be made")
    with files.new_folder(folder) as unfinished:
        fill(unfinished, one, backbone)
        (unfinished / "README.md").write_text(_card(one, backbone), encoding="utf-8")
    return folder


def check(adapter: AdapterFolder, backbone: Backbone) -> None:
    """Make sure that stock transformers can open an adapter with a backbone; it is then in the backbone.

    Raises:
        AdapterError: If its kind is unknown to stock transformers.
        AdapterMismatchError: If it belongs to another backbone.
    """
    adapter.attach(backbone)
    if not is_stock(adapter):
        raise AdapterError(f"stock transformers does not know adapters of the kind {adapter.passport.kind!r}")


def is_stock(adapter: AdapterFolder) -> bool:
    """Tell whether an adapter is of a kind that stock transformers has itself."""
    kind = adapter.passport.kind
    return kind in plugins.names("adapters") and bool(getattr(plugins.load("adapters", kind), "STOCK", False))


def fill(folder: Path, adapter: AdapterFolder, backbone: Backbone) -> None:
    """Write the files of a model into a folder: backbone, adapter, tokens and processor.

    Where the adapter is wider or narrower than the backbone's own, as one made of several is, `config.json`
    tells its width: stock transformers makes room for that one.
    """
    source, target_lang = backbone.source, adapter.passport.target_lang
    for path in [*source.weights, *source.settings]:
        shutil.copyfile(path, folder / path.name)
    index = source.folder / "model.safetensors.index.json"
    if len(source.weights) > 1 and index.is_file():
        shutil.copyfile(index, folder / index.name)
    width = int(adapter.passport.kind_options.get("size", backbone.adapter_size))
    config = json.dumps({**source.config, "adapter_attn_dim": width}, ensure_ascii=False, indent=2)
    (folder / "config.json").write_text(f"{config}\n", encoding="utf-8")
    (folder / adapter.passport.weights_file).write_bytes(pack(adapter.tensors))
    (folder / "vocab.json").write_text(adapter.vocab.to_json(target_lang), encoding="utf-8")
    settings = json.dumps(_tokenizer_settings(adapter.vocab, target_lang), ensure_ascii=False, indent=1)
    (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")


def _tokenizer_settings(vocab: Vocab, target_lang: str) -> dict[str, Any]:
    """Name the special tokens; a token that is not in the vocabulary would be added behind it."""
    names = {"bos_token": ("<s>",), "eos_token": ("</s>",), "unk_token": ("<unk>", "[UNK]")}
    specials = {
        name: next((one for one in tokens if one in vocab.tokens), None) for name, tokens in names.items()
    }
    blank = vocab.tokens[vocab.blank_id]
    return {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        **specials,
        "unk_token": specials["unk_token"] or blank,
        "pad_token": blank,
        "word_delimiter_token": vocab.tokens[vocab.delimiter_id],
        "do_lower_case": False,
        "target_lang": target_lang,
    }


def _card(adapter: AdapterFolder, backbone: Backbone) -> str:
    licence = adapter.passport.licence or backbone.licence or "unknown"
    code = adapter.passport.target_lang
    return f"""---
license: {licence.lower()}
language: {code}
---

{backbone.name} with an adapter for {code}. The weights are derived from the backbone's, so its licence,
{licence}, holds for them.

    model = Wav2Vec2ForCTC.from_pretrained(
        FOLDER, target_lang="{code}", ignore_mismatched_sizes=True, dtype=torch.float32
    )
"""
