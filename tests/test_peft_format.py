"""LoRA adapters go to PEFT's files and back, and PEFT computes the same with them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import Wav2Vec2ForCTC

from mms_adapt import backbone, checkpoint, peft_format
from mms_adapt.adapters import lora
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import AdapterError, OptionError
from mms_adapt.passport import Passport

# PEFT reads an attribute that transformers has renamed
with_peft = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
VOCAB = tiny.build(["ab"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")
    return backbone.load(folder, device="cpu")


def adapter(base: Backbone, **options: Any) -> AdapterFolder:
    base.bare()
    config = lora.Config(**{"rank": 3, "alpha": 5.0, **options})
    lora.attach(base.model, config)
    base.put_head(len(VOCAB))
    parameters = checkpoint.owned(base.model, lora)
    random = torch.Generator().manual_seed(1)
    for one in parameters.values():
        one.data = torch.randn(one.shape, generator=random) * 0.2
    passport = Passport(
        "mdw", "lora", asdict(config), backbone=base.name, backbone_fingerprint=base.fingerprint
    )
    return AdapterFolder(passport, VOCAB, checkpoint.collect(parameters))


def logits(base: Backbone, one: AdapterFolder) -> torch.Tensor:
    one.attach(base)
    batch = tiny.padded(tiny.speech("abc"))
    with torch.no_grad():
        features = base.cnn(batch.waveforms, batch.sample_counts)
        return base.logits(base.encode(features, batch.frame_counts))


def stock_logits(model: Any) -> torch.Tensor:
    samples = torch.from_numpy(tiny.speech("abc"))
    normal = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
    with torch.no_grad():
        found: torch.Tensor = model(normal[None]).logits
    return found


def stock(base: Backbone, vocab_size: int) -> Any:
    model = Wav2Vec2ForCTC.from_pretrained(
        base.source.folder, vocab_size=vocab_size, ignore_mismatched_sizes=True, dtype=torch.float32
    ).eval()
    for layer in model.wav2vec2.encoder.layers:
        layer.adapter_layer = None
    return model


@pytest.mark.parametrize("options", [{}, {"targets": ["q_proj", "v_proj"], "layers": 2}])
def test_there_and_back_it_is_the_same(base: Backbone, tmp_path: Path, options: dict[str, Any]) -> None:
    one = adapter(base, **options)
    peft_format.write(one, tmp_path / "peft")
    found = peft_format.read(tmp_path / "peft", "mdw", base)
    assert found.tensors.keys() == one.tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in one.tensors.items())
    assert torch.equal(logits(base, found), logits(base, one))
    found.save(tmp_path / "mdw")
    assert torch.equal(logits(base, AdapterFolder.load(tmp_path / "mdw")), logits(base, one))


@with_peft
def test_peft_opens_it_and_computes_the_same(base: Backbone, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    one = adapter(base)
    peft_format.write(one, tmp_path / "peft")
    model = peft.PeftModel.from_pretrained(stock(base, len(VOCAB)), tmp_path / "peft").eval()
    assert tiny.close(stock_logits(model), logits(base, one))


@with_peft
def test_what_peft_wrote_is_opened_and_computes_the_same(base: Backbone, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "output_dense"], modules_to_save=["lm_head"],
        use_rslora=True,
    )  # fmt: skip
    model = peft.get_peft_model(stock(base, len(VOCAB)), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    model.save_pretrained(tmp_path / "peft", save_embedding_layers=False)
    (tmp_path / "peft" / "vocab.json").write_text(VOCAB.to_json("mdw"), encoding="utf-8")
    found = peft_format.read(tmp_path / "peft", "mdw", base)
    assert tiny.close(logits(base, found), stock_logits(model))
    assert not tiny.close(stock_logits(model), stock_logits(stock(base, len(VOCAB))))


def test_merged_into_the_weights_it_is_the_same(base: Backbone) -> None:
    one = adapter(base)
    expected = logits(base, one)
    lora.merge(base.model)
    assert not [name for name, _ in base.model.named_parameters() if "lora" in name]
    batch = tiny.padded(tiny.speech("abc"))
    with torch.no_grad():
        features = base.cnn(batch.waveforms, batch.sample_counts)
        assert tiny.close(base.logits(base.encode(features, batch.frame_counts)), expected)
    assert torch.equal(logits(base, one), expected)  # the matrices of the checkpoint came back


def test_the_written_config_is_what_peft_reads(base: Backbone, tmp_path: Path) -> None:
    peft_format.write(adapter(base), tmp_path / "peft")
    record = json.loads((tmp_path / "peft" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (record["r"], record["lora_alpha"], record["peft_type"]) == (3, 5.0, "LORA")
    assert len(record["target_modules"]) == 3 * 6
    with pytest.raises(OptionError, match="there already"):
        peft_format.write(adapter(base), tmp_path / "peft")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"r": 7}, "r is 7"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    base: Backbone, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    place = peft_format.write(adapter(base), tmp_path / "peft") / "adapter_config.json"
    record = json.loads(place.read_text(encoding="utf-8"))
    place.write_text(json.dumps({**record, **change}), encoding="utf-8")
    with pytest.raises(AdapterError, match=says):
        peft_format.read(tmp_path / "peft", "mdw", base)
