"""Tiny stand-ins made on the spot: a model of MMS's shape with random weights, and sound to be learnt."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2ForSequenceClassification,
)

from mms_adapt import checkpoint, files, plugins
from mms_adapt.adapters import attention
from mms_adapt.audio import frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.passport import Passport
from mms_adapt.vocab import Vocab, build

_WRITE = files.write
RATE_HZ = 16_000
LETTERS, TONES_HZ, LETTER_S = "abcd", (600, 2100, 4200, 7000), 0.2
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "conv_dim": (16, 16, 16, 24, 24, 24, 24),
    "conv_bias": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "adapter_attn_dim": 4,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "mask_time_prob": 0.05,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
    "layerdrop": 0.0,
}
ENGLISH: Vocab = build(["abcd xyz"])


def model(seed: int = 0, **changes: Any) -> Wav2Vec2ForCTC:
    """Return a stock model with random weights; its adapters do something."""
    config = Wav2Vec2Config(**{"vocab_size": len(ENGLISH), **SHAPE, **changes})
    made = Wav2Vec2ForCTC(config).eval()
    random = torch.Generator().manual_seed(seed)  # every number, so that all versions make the same model
    with torch.no_grad():
        for name, one in made.named_parameters():
            centre, spread = 0.0, 0.1
            if "adapter_layer" in name or "lm_head" in name:
                centre, spread = float(name.endswith("norm.weight")), 0.3
            elif name.endswith("norm.weight"):
                centre, spread = 1.0, 0.0
            elif "original0" in name:
                centre, spread = 0.5, 0.1
            elif one.ndim == 2:
                # what the layers add stays small, so that something of the sound is left to be learnt from
                spread = (0.2 if "out_proj" in name or "output_dense" in name else 1.0) * one.shape[1] ** -0.5
            elif one.ndim == 3:
                spread = (2 / (one.shape[1] * one.shape[2])) ** 0.5
            one.copy_(centre + spread * torch.randn(one.shape, generator=random))
    return made


def backbone(folder: Path, seed: int = 0, *, vocab: Vocab = ENGLISH, **changes: Any) -> Path:
    """Write such a model as stock code does, with its processor files, and return the folder."""
    model(seed, vocab_size=len(vocab), **changes).save_pretrained(folder)
    settings = {"do_normalize": True, "sampling_rate": RATE_HZ, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "Wav2Vec2FeatureExtractor", **settings}), encoding="utf-8"
    )
    (folder / "vocab.json").write_text(vocab.to_json("eng"), encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\nRandom.\n", encoding="utf-8")
    return folder


def speech(text: str, seed: int = 0, *, pitch: float = 1.0) -> NDArray[np.float32]:
    """Return sound of a text: each letter is a tone of its own, a space is a pause."""
    return aligned(text, seed, pitch=pitch)[0]


def aligned(
    text: str, seed: int = 0, *, pitch: float = 1.0
) -> tuple[NDArray[np.float32], list[tuple[str, int, int]]]:
    """Return sound of a text, and where each letter and space stands in it: first sample and last."""
    random = np.random.default_rng([seed, len(text)])
    pieces, places, start = [], [], 0
    for letter in f" {text} ":
        count = int(LETTER_S * RATE_HZ * random.uniform(0.9, 1.2))
        time_s = np.arange(count) / RATE_HZ
        tone_hz = pitch * TONES_HZ[ord(letter) % 4] if letter != " " else 0.0
        pieces.append(0.2 * np.sin(2 * np.pi * tone_hz * time_s) * np.hanning(count))
        places.append((letter, start, start + count))
        start += count
    joined = np.concatenate(pieces)
    return (joined + 0.003 * random.standard_normal(len(joined))).astype(np.float32), places


def sentence(seed: int) -> str:
    """Return two or three random words of the letters."""
    random = np.random.default_rng([seed, 7])
    words = [
        "".join(random.choice(list(LETTERS), random.integers(1, 4))) for _ in range(random.integers(2, 4))
    ]
    return " ".join(words)


def corpus(
    folder: Path, count: int = 30, *, seed: int = 0, speakers: int = 5, target_lang: str = "mdw"
) -> Path:
    """Write recordings and `utterances.jsonl`, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        text = sentence(1000 * seed + number)
        speaker = number % speakers
        samples = speech(text, seed=1000 * seed + number, pitch=0.9 + 0.05 * speaker)
        soundfile.write(folder / f"{number:03}.wav", samples, RATE_HZ)
        line = {
            "id": f"u{number:03}",
            "recording": f"{number:03}.wav",
            "start_s": 0,
            "end_s": None,
            "transcript": text,
            "target_lang": target_lang,
            "speaker": f"s{speaker}",
        }
        lines.append(json.dumps(line))
    (folder / "utterances.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Padded:
    """Waveforms of unequal length as one batch, as the model gets them."""

    waveforms: torch.Tensor
    sample_counts: torch.Tensor
    frame_counts: torch.Tensor


def padded(*waveforms: NDArray[np.float32]) -> Padded:
    """Pad waveforms to one batch."""
    counts = [len(one) for one in waveforms]
    rows = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in waveforms], batch_first=True)
    return Padded(rows, torch.tensor(counts), torch.tensor([frame_count(one) for one in counts]))


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two results are one but for rounding: within 1e-5 of the largest value expected, float32.

    Stock's own logits of this model lie 2e-6 of the largest from those that it gives in float64.
    """
    largest = max(1.0, float(expected.abs().max()))
    return found.shape == expected.shape and float((found - expected).abs().max()) <= 1e-5 * largest


def fitted(base: Backbone, folder: Path, *, seed: int = 0) -> AdapterFolder:
    """Write an adapter that can spell: a head fitted to the frames of some sentences, by ridge regression."""
    vocab = build([LETTERS])
    base.bare()
    config = attention.Config(base.adapter_size, seed=seed)
    attention.attach(base.model, config)
    base.put_head(len(vocab))
    states, ids = [], []
    for number in range(100):
        samples, places = aligned(sentence(number), number)
        batch = padded(samples)
        features = base.cnn(batch.waveforms, batch.sample_counts)
        states.append(base.encode(features, batch.frame_counts)[0].double())
        frames = torch.full((len(states[-1]),), vocab.blank_id)
        for token, start, end in places:  # the blank where one sound gives way to the next
            middle = slice((start + 600) // 320, (end - 900) // 320)
            frames[middle] = vocab.delimiter_id if token == " " else vocab.tokens.index(token)
        ids.append(frames)
    hidden = torch.cat(states)
    with_one = torch.cat([hidden, torch.ones(len(hidden), 1)], dim=1)
    target = torch.nn.functional.one_hot(torch.cat(ids), len(vocab)).double()
    ridge = 0.01 * len(hidden) * torch.eye(with_one.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(with_one.T @ with_one + ridge, with_one.T @ (20 * target)).float()
    with torch.no_grad():
        base.model.lm_head.weight.copy_(weights[:-1].T)
        base.model.lm_head.bias.copy_(weights[-1])
    tensors = checkpoint.collect(checkpoint.owned(base.model, attention))
    written = Passport(
        "mdw",
        "attention",
        asdict(config),
        backbone=base.name,
        backbone_fingerprint=base.fingerprint,
        normaliser="basic-1",
    )
    return AdapterFolder(written, vocab, tensors).save(folder)


def scribbled(
    base: Backbone,
    folder: Path,
    target_lang: str = "mdw",
    *,
    letters: str = LETTERS,
    seed: int = 0,
    size: int = 0,
    kind: str = "attention",
    options: dict[str, Any] | None = None,
) -> AdapterFolder:
    """Write an adapter of random weights that does much and writes anything; or replace one."""
    vocab = build([letters])
    base.bare()
    module = plugins.load("adapters", kind)
    usual = {"size": size or base.adapter_size, "seed": seed} if kind == "attention" else {}
    config = module.Config(**usual, **(options or {}))
    module.attach(base.model, config)
    base.put_head(len(vocab))
    parameters = checkpoint.owned(base.model, module)
    tensors = checkpoint.collect(parameters)
    random = torch.Generator().manual_seed(seed)
    for name, one in tensors.items():
        if parameters[name].requires_grad or name.startswith("lm_head"):
            centre = float(name.endswith("norm.weight"))
            one.copy_(centre + 0.3 * torch.randn(one.shape, generator=random))
    written = Passport(
        target_lang, kind, asdict(config), backbone=base.name, backbone_fingerprint=base.fingerprint
    )
    return AdapterFolder(written, vocab, tensors).save(folder)


LID_CODES = ("mdw", "eng", "wol")


def lid(folder: Path, codes: tuple[str, ...] = LID_CODES, **changes: object) -> Path:
    """Write a classifier of languages with random weights as stock code does, and return the folder."""
    torch.manual_seed(0)
    labels = dict(enumerate(codes))
    config = Wav2Vec2Config(
        **{**SHAPE, "adapter_attn_dim": None, "classifier_proj_size": 16, **changes},
        id2label=labels,
        label2id={one: number for number, one in labels.items()},
    )
    Wav2Vec2ForSequenceClassification(config).eval().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return folder


def full_after(count: int) -> Callable[[Path, bytes | str], None]:
    """Return what to put in the place of `files.write` on a disk that is full after so many files."""
    left = count

    def write(path: Path, content: bytes | str) -> None:
        nonlocal left
        if not left:
            raise OSError("the disk is full")
        left -= 1
        _WRITE(path, content)

    return write
