"""Write the trained backbone as a folder that stock transformers opens, with its model card.

In: the model, its vocabulary and its scores. Out: `config.json`, `model.safetensors` (float16),
`preprocessor_config.json`, `vocab.json`, tokenizer files, `README.md`, and `pretraining.json`: state and
options of every training that led to it. It does not know: sound, training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from . import lineage
from .card import card
from .model import Pretraining

TARGET_LANG = "mul"
"""The code of ISO 639-2 for several languages: the character head's vocabulary is their union."""


def export(model: Pretraining, saved: dict[str, Any], record: dict[str, Any], out: Path) -> None:
    """Write the folder.

    Args:
        model: The trained model.
        saved: Its checkpoint, for the vocabulary.
        record: Scores and options, for the card.
        out: The folder; files of the same names are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    stock = model.stock.to(torch.float16)
    for name, parameter in stock.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise FloatingPointError(f"{name} has numbers that float16 cannot hold")
    stock.save_pretrained(out)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(out)
    vocab = {token: number for number, token in enumerate(saved["characters"])}
    text = json.dumps({TARGET_LANG: vocab}, ensure_ascii=False, indent=1)
    (out / "vocab.json").write_text(text + "\n", encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(
        str(out / "vocab.json"),
        target_lang=TARGET_LANG,
        bos_token=None,
        eos_token=None,
        unk_token="<unk>",
        pad_token="<pad>",
        word_delimiter_token="|",
    )
    tokenizer.save_pretrained(out)
    size = sum(p.numel() for p in stock.parameters())
    (out / "README.md").write_text(card(saved, record, stock.config, size), encoding="utf-8")
    lineage.write(lineage.of_record(record), out)
    print(f"{out}: {size / 1e6:.1f} M parameters, {(out / 'model.safetensors').stat().st_size / 1e6:.1f} MB")
