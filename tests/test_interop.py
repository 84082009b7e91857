"""Stock transformers opens what we write, and we open what stock code writes; bit for bit, offline."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from mms_adapt import backbone, checkpoint, stock_export
from mms_adapt.adapters import attention
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterError, AdapterMismatchError
from mms_adapt.passport import Passport
from mms_adapt.transcriber import Transcriber
from mms_adapt.vocab import Vocab

WAVES = [tiny.speech("abc de"), tiny.speech("fgh abc")]
VOCABS = {"mdw": tiny.build(["abc ɓé"]), "wol": tiny.build(["abcdefgh"]), "aka": tiny.build(["xyz"])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def base(folder: Path) -> Backbone:
    return backbone.load(folder, device="cpu")


def ours(base: Backbone, code: str, seed: int, **options: Any) -> AdapterFolder:
    """Return an adapter of ours with random weights."""
    base.bare()
    config = attention.Config(4, **options)
    attention.attach(base.model, config)
    base.put_head(len(VOCABS[code]))
    random = torch.Generator().manual_seed(seed)
    parameters = checkpoint.owned(base.model, attention)
    with torch.no_grad():
        for name, one in parameters.items():
            if one.requires_grad or name.startswith("lm_head"):
                one += 0.3 * torch.randn(one.shape, generator=random)
    written = Passport(
        code, "attention", asdict(config), backbone=base.name, backbone_fingerprint=base.fingerprint
    )
    return AdapterFolder(written, VOCABS[code], checkpoint.collect(parameters))


def stock_logits(model: Any, folder: Path) -> torch.Tensor:
    """Return what stock transformers makes of the waveforms, padded into a batch."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    inputs = extractor(WAVES, padding=True, return_tensors="pt", sampling_rate=tiny.RATE_HZ)
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**inputs).logits
    return found


def our_logits(base: Backbone) -> torch.Tensor:
    batch = tiny.padded(*WAVES)
    with torch.no_grad():
        features = base.cnn(batch.waveforms, batch.sample_counts)
        return base.logits(base.encode(features, batch.frame_counts))


def assert_close(found: torch.Tensor, stock: torch.Tensor) -> None:
    for row, count in enumerate(tiny.padded(*WAVES).frame_counts):
        assert torch.allclose(found[row, :count], stock[row, :count], atol=5e-5, rtol=1e-5)


def opened(folder: Path, code: str) -> Any:
    return Wav2Vec2ForCTC.from_pretrained(
        folder, target_lang=code, ignore_mismatched_sizes=True, dtype=torch.float32
    )


@pytest.mark.parametrize("layers", ["all", 1])
def test_stock_opens_our_export(base: Backbone, tmp_path: Path, layers: str | int) -> None:
    one = ours(base, "mdw", 1, layers=layers)
    out = stock_export.export_stock(one, base, tmp_path / "stock")
    found = our_logits(base)
    model = opened(out, "mdw")
    stock = stock_logits(model, out)
    # the same weights through the same code are bit-equal; our own quicker arithmetic is close
    assert torch.equal(stock_logits(base.model, out), stock)
    assert_close(found, stock)
    for name, parameter in model._get_adapters().items():
        assert torch.equal(parameter, one.tensors[name]), name


def test_stock_switches_between_our_adapters(base: Backbone, folder: Path, tmp_path: Path) -> None:
    """As docs/adapter_folder.md tells it: our files beside the backbone's."""
    mixed = tiny.backbone(tmp_path / "mixed")
    vocabs: dict[str, Any] = {}
    adapters = {code: ours(base, code, seed) for seed, code in enumerate(VOCABS)}
    for code, one in adapters.items():
        written = one.save(tmp_path / code).path
        assert written is not None
        (mixed / f"adapter.{code}.safetensors").write_bytes(
            (written / f"adapter.{code}.safetensors").read_bytes()
        )
        vocabs |= json.loads((written / "vocab.json").read_text(encoding="utf-8"))
    (mixed / "vocab.json").write_text(json.dumps(vocabs), encoding="utf-8")
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "mdw"}
    (mixed / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    model = opened(mixed, "mdw")
    found = {}
    for code in ["wol", "mdw", "aka", "mdw", "wol"]:
        model.load_adapter(code)
        stock = stock_logits(model, mixed)
        adapters[code].attach(base)
        assert torch.equal(stock_logits(base.model, mixed), stock)
        assert stock.shape[-1] == len(VOCABS[code])
        assert torch.equal(found.setdefault(code, stock), stock)
    assert not torch.equal(found["mdw"][..., :5], found["wol"][..., :5])


def write_as_stock_code_does(folder: Path, code: str, vocab: Vocab, out: Path) -> torch.Tensor:
    """Train an adapter after the well-known recipe, save it, and return its logits."""
    torch.manual_seed(len(code + vocab.tokens[-1]))
    model = Wav2Vec2ForCTC.from_pretrained(
        folder, vocab_size=len(vocab), ignore_mismatched_sizes=True, dtype=torch.float32
    )
    model.init_adapter_layers()
    model.freeze_base_model()
    weights = model._get_adapters()
    with torch.no_grad():
        for one in weights.values():
            one += 0.3 * torch.randn_like(one)
    out.mkdir()
    save_file(
        {name: one.detach().contiguous() for name, one in weights.items()},
        out / f"adapter.{code}.safetensors",
    )
    (out / "vocab.json").write_text(vocab.to_json(code), encoding="utf-8")
    return stock_logits(model, folder)


def test_we_open_and_switch_what_stock_code_wrote(folder: Path, base: Backbone, tmp_path: Path) -> None:
    stock = {
        code: write_as_stock_code_does(folder, code, vocab, tmp_path / code) for code, vocab in VOCABS.items()
    }
    found: dict[str, torch.Tensor] = {}
    for code in ["mdw", "wol", "mdw", "aka", "mdw"]:
        one = AdapterFolder.load(tmp_path / code)
        assert not one.passport.verified and one.vocab.tokens == VOCABS[code].tokens
        one.attach(base)
        assert torch.equal(stock_logits(base.model, folder), stock[code])
        assert_close(our_logits(base), stock[code])
        assert torch.equal(found.setdefault(code, our_logits(base)), our_logits(base))
    assert not torch.equal(found["mdw"][..., :5], found["wol"][..., :5])


def test_an_unverified_adapter_needs_its_backbone_named(folder: Path, tmp_path: Path) -> None:
    write_as_stock_code_does(folder, "mdw", VOCABS["mdw"], tmp_path / "mdw")
    with pytest.raises(AdapterError, match="--backbone"):
        Transcriber.load(tmp_path / "mdw")
    transcriber = Transcriber.load(tmp_path / "mdw", backbone=str(folder))
    assert transcriber.version.endswith(" unverified")
    assert transcriber.waveforms(WAVES)[0].adapter == transcriber.version
    narrow = tiny.backbone(tmp_path / "narrow", hidden_size=16, num_conv_pos_embedding_groups=2)
    with pytest.raises(AdapterMismatchError, match="does not fit the backbone"):
        Transcriber.load(tmp_path / "mdw", backbone=str(narrow))


@pytest.mark.parametrize("code", VOCABS)
def test_the_stock_tokenizer_opens_our_vocabulary(base: Backbone, tmp_path: Path, code: str) -> None:
    vocab = VOCABS[code]
    out = stock_export.export_stock(ours(base, code, 1), base, tmp_path / "stock")
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(out, target_lang=code)
    assert len(tokenizer) == len(vocab) == tokenizer.vocab_size
    assert tokenizer.convert_ids_to_tokens(list(range(len(vocab)))) == list(vocab.tokens)
    assert (tokenizer.pad_token_id, tokenizer.word_delimiter_token_id) == (vocab.blank_id, vocab.delimiter_id)
    text = "ab ɓé c" if code == "mdw" else " ".join(vocab.tokens[5:])
    assert tokenizer(text).input_ids == vocab.encode(text)
    assert tokenizer.decode(vocab.encode(text), group_tokens=False) == text
    assert AutoProcessor.from_pretrained(out).tokenizer.pad_token_id == vocab.blank_id


def test_a_published_start_can_be_read(tmp_path: Path) -> None:
    folder = tiny.backbone(tmp_path / "b")
    write_as_stock_code_does(folder, "wol", VOCABS["wol"], tmp_path / "wol")
    (folder / "adapter.wol.safetensors").write_bytes(
        (tmp_path / "wol" / "adapter.wol.safetensors").read_bytes()
    )
    record = json.loads(tiny.ENGLISH.to_json("eng")) | json.loads(VOCABS["wol"].to_json("wol"))
    (folder / "vocab.json").write_text(json.dumps(record), encoding="utf-8")
    base = backbone.load(folder, device="cpu")
    start = base.start("wol")
    assert start.vocab is not None and start.vocab.tokens == VOCABS["wol"].tokens
    assert len(start.tensors["lm_head.weight"]) == len(VOCABS["wol"])
    own = base.start()
    assert own.vocab is not None and own.vocab.tokens == tiny.ENGLISH.tokens
