"""Published folders open elsewhere; cards tell what hubs read; names, licences, the network are guarded."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub import ModelCard
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from mms_adapt import backbone, licences, noted, passport, stock_export
from mms_adapt.audit.difference import diff
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition.merging import merge
from mms_adapt.errors import AdapterError, OptionError
from mms_adapt.ledger import pseudonym
from mms_adapt.noted import NotedScore
from mms_adapt.publishing.folder import publish

SCORE = NotedScore(
    0.257, 0.5, 7, 20, 80, "0" * 64, "basic-1", "greedy", {}, "cpu", "float32", 120.0, "0.1.0",
    "mms_adapt:0.1.0|split:test", ("small_test",), (0.2, 0.3), (0.4, 0.6),
)  # fmt: skip
WAVES = [tiny.speech("abc de"), tiny.speech("dab")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def base(model: Path) -> Backbone:
    return backbone.load(model, device="cpu")


def told(one: AdapterFolder, **fields: Any) -> AdapterFolder:
    """Return an adapter on the disk with more in its passport."""
    usual = {
        "licence": "cc0-1.0",
        "data_licence": "CC BY-NC 4.0",
        "corpus": "Field notes: day 1",
        "minutes": {"train": 12.5},
        "utterances": {"train": 200},
        "speakers": {"train": [pseudonym("Anna Muster"), pseudonym("Ben")]},
        "scores": {"test": asdict(SCORE)},
    }
    return replace(one, passport=replace(one.passport, **{**usual, **fields})).save(one.path or Path())


@pytest.fixture
def adapter(base: Backbone, tmp_path: Path) -> AdapterFolder:
    return told(tiny.scribbled(base, tmp_path / "mdw", seed=1))


def stock_logits(model: Any, folder: Path) -> torch.Tensor:
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    inputs = extractor(WAVES, padding=True, return_tensors="pt", sampling_rate=tiny.RATE_HZ)
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**inputs).logits
    return found


def assert_same(base: Backbone, one: AdapterFolder, stock: torch.Tensor) -> None:
    one.attach(base)
    batch = tiny.padded(*WAVES)
    with torch.no_grad():
        found = base.logits(base.encode(base.cnn(batch.waveforms, batch.sample_counts), batch.frame_counts))
    for row, count in enumerate(batch.frame_counts):
        assert tiny.close(found[row, :count], stock[row, :count])


def opened(folder: Path, code: str) -> Any:
    return Wav2Vec2ForCTC.from_pretrained(
        folder, target_lang=code, ignore_mismatched_sizes=True, dtype=torch.float32
    )


def test_stock_opens_what_is_published(base: Backbone, adapter: AdapterFolder, tmp_path: Path) -> None:
    found = publish(adapter.path or "", tmp_path / "out")
    assert (found.format, found.licence, found.address) == ("stock", "cc-by-nc-4.0", None)
    assert_same(base, adapter, stock_logits(opened(found.folder, "mdw"), found.folder))
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(found.folder, target_lang="mdw")
    assert tokenizer.decode(adapter.vocab.encode("ab d"), group_tokens=False) == "ab d"
    there = AdapterFolder.load(found.folder)
    assert there.version == adapter.version and diff(adapter, there).same_weights
    assert noted.read(there.passport) == {"test": SCORE}


def test_stock_opens_a_concatenation_of_twice_the_width(base: Backbone, tmp_path: Path) -> None:
    parents = [tiny.scribbled(base, tmp_path / f"p{seed}", seed=seed) for seed in (1, 2)]
    made = merge(parents, [0.7, 0.3]).save(tmp_path / "merged")
    out = stock_export.export_stock(made, base, tmp_path / "out")
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["adapter_attn_dim"] == 2 * base.adapter_size == 8
    stock = opened(out, "mdw")
    assert stock.wav2vec2.encoder.layers[0].adapter_layer.linear_1.weight.shape == (8, 32)
    assert_same(base, made, stock_logits(stock, out))
    stock.load_adapter("mdw")
    assert_same(base, made, stock_logits(stock, out))
    one = stock_export.export_stock(parents[0], base, tmp_path / "one")
    assert json.loads((one / "config.json").read_text(encoding="utf-8"))["adapter_attn_dim"] == 4


def test_stock_opens_a_backbone_in_several_files(adapter: AdapterFolder, tmp_path: Path) -> None:
    shards = tiny.backbone(tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    tiny.model().save_pretrained(shards, max_shard_size="40KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    base = backbone.load(shards, device="cpu")
    out = stock_export.export_stock(adapter, base, tmp_path / "out")
    assert_same(base, adapter, stock_logits(opened(out, "mdw"), out))


def test_the_card_tells_what_hubs_read(adapter: AdapterFolder, tmp_path: Path) -> None:
    passport.change(adapter.path or Path(), lambda one: replace(one, marks=("one_speaker",)))
    found = publish(adapter.path or "", tmp_path / "out", repo_id="team/mms-mdw")
    text = (found.folder / "README.md").read_text(encoding="utf-8")
    read = ModelCard(text).data
    assert (read.language, read.license, read.library_name) == (["mdw"], "cc-by-nc-4.0", "transformers")
    assert {"automatic-speech-recognition", "mms"} <= set(read.tags or ())
    assert read.model_name == "mms-mdw" and read.eval_results is not None
    rates = {one.metric_type: one.metric_value for one in read.eval_results}
    assert rates == {"cer": 25.7, "wer": 50.0}
    assert {one.dataset_name for one in read.eval_results} == {"Field notes: day 1"}
    assert "base_model" not in read.to_dict(), "the name of a folder is no name on a hub"
    for said in (
        "Mbosi (mdw)",
        "| train | 200 | 12.5 | 2 |",
        "one_speaker",
        SCORE.signature,
    ):
        assert said in text
    assert '"team/mms-mdw", target_lang="mdw"' in text


def test_the_python_of_the_card_runs(
    base: Backbone, adapter: AdapterFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish(adapter.path or "", "FOLDER")
    text = (tmp_path / "FOLDER" / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    assert_same(base, adapter, stock_logits(names["model"], tmp_path / "FOLDER"))
    assert names["processor"].tokenizer.pad_token_id == adapter.vocab.blank_id


def test_the_backbone_on_the_hub_is_named(base: Backbone, tmp_path: Path) -> None:
    one = told(
        tiny.scribbled(base, tmp_path / "low", kind="lora", options={"rank": 2}),
        backbone="facebook/mms-1b-all",
        licence="CC-BY-NC-4.0",
    )
    found = publish(one.path or "", tmp_path / "out")
    read = ModelCard((found.folder / "README.md").read_text(encoding="utf-8")).data
    assert (read.base_model, read.library_name) == ("facebook/mms-1b-all", "peft")
    config = json.loads((found.folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "facebook/mms-1b-all"
    assert AdapterFolder.load(found.folder).version == one.version


def test_names_and_paths_stay_here(base: Backbone, adapter: AdapterFolder, tmp_path: Path) -> None:
    folder = adapter.path or Path()
    passport.change(folder, lambda one: replace(one, options={"cache": str(tmp_path / "secret" / "cache")}))
    found = publish(folder, tmp_path / "out").folder
    for name in ("README.md", passport.FILE):
        text = (found / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text and "secret" not in text and str(Path(base.name).parent) not in text
    assert pseudonym("Ben") not in (found / "README.md").read_text(encoding="utf-8")
    for speakers in ({"train": ["Anna Muster"]}, {"dev": "Anna Muster"}, {"train": [pseudonym("x"), 7]}):
        passport.change(folder, lambda one, held=speakers: replace(one, speakers=held))  # type: ignore[misc]
        with pytest.raises(AdapterError, match="no pseudonyms") as error:
            publish(folder, tmp_path / "named")
        assert "Anna" not in str(error.value) and not (tmp_path / "named").exists()


def test_text_from_outside_cannot_change_the_front_matter(base: Backbone, tmp_path: Path) -> None:
    hostile = 'x"\n---\nlicense: mit\n# <script>'
    one = told(tiny.scribbled(base, tmp_path / "mdw"), corpus=hostile)
    out = publish(one.path or "", tmp_path / "out").folder
    text = (out / "README.md").read_text(encoding="utf-8")
    read = ModelCard(text).data
    assert read.license == "cc-by-nc-4.0" and read.eval_results is not None
    assert read.eval_results[0].dataset_name == " ".join(hostile.split())
    assert "<script>" not in text.rpartition("\n---\n")[2], "nor can it change the page"


def test_kinds_that_nobody_else_opens_ask_for_consent(base: Backbone, tmp_path: Path) -> None:
    one = told(tiny.scribbled(base, tmp_path / "beside", kind="bottleneck", options={"width": 3}))
    with pytest.raises(AdapterError, match="--mms-adapt-only"):
        publish(one.path or "", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found = publish(one.path or "", tmp_path / "out", mms_adapt_only=True)
    assert found.format == "mms_adapt"
    assert "cannot open adapters of the kind bottleneck" in (found.folder / "README.md").read_text("utf-8")
    assert AdapterFolder.load(found.folder).version == one.version


@pytest.mark.parametrize(
    ("held", "asked", "holds"),
    [
        (("CC-BY-NC-4.0", "CC0-1.0"), None, "cc-by-nc-4.0"),
        (("CC-BY-NC-4.0", "CC BY 4.0"), "cc-by-nc-4.0", "cc-by-nc-4.0"),
        (("cc0-1.0", ""), "CC-BY-4.0", "cc-by-4.0"),
        (("mit", "cc-by-4.0"), "apache-2.0", "apache-2.0"),
        (("mine", "mine"), None, "mine"),
        (("", ""), "our own terms", "our own terms"),
    ],
)
def test_the_licence_that_holds(held: tuple[str, str], asked: str | None, holds: str) -> None:
    assert licences.for_publication(dict(zip(("backbone", "recordings"), held, strict=True)), asked) == holds


@pytest.mark.parametrize(
    ("held", "asked", "says"),
    [
        (("CC-BY-NC-4.0", ""), None, "recordings: nobody noted it.*--licence"),
        (("CC-BY-NC-4.0", "archive terms"), None, "archive terms is none of those"),
        (("CC-BY-NC-4.0", "CC0-1.0"), "mit", "allows more than cc-by-nc-4.0"),
        (("CC-BY-NC-4.0", ""), "apache-2.0", "allows more than cc-by-nc-4.0"),
        (("CC-BY-NC-4.0", ""), "free for all", "none of those that are known"),
        (("mit", "CC-BY-NC-ND-4.0"), None, "forbids"),
        (("mit", "CC-BY-ND-4.0"), "mit", "forbids"),
        (("cc-by-sa-4.0", "cc-by-nc-4.0"), None, "cannot be kept together"),
    ],
)
def test_what_licences_forbid_is_refused(held: tuple[str, str], asked: str | None, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        licences.for_publication(dict(zip(("backbone", "recordings"), held, strict=True)), asked)


def test_a_licence_that_is_not_known_stops_before_anything_is_written(base: Backbone, tmp_path: Path) -> None:
    one = told(tiny.scribbled(base, tmp_path / "mdw"), data_licence="CC0-1.0; unknown")
    with pytest.raises(OptionError, match=r"recordings \(2\): nobody noted it"):
        publish(one.path or "", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert publish(one.path or "", tmp_path / "out", licence="CC-BY-4.0").licence == "cc-by-4.0"


class Hub:
    """What the hub's client does, without a network."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, []  # type: ignore[var-annotated]

    def create_repo(self, repo_id: str, **options: Any) -> str:
        if self.error:
            raise self.error
        self.asked.append((repo_id, options))
        return f"https://hub/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        names = sorted(one.name for one in Path(options["folder_path"]).iterdir())
        self.asked.append((options["repo_id"], names))


def test_nothing_is_uploaded_unless_asked(adapter: AdapterFolder, tmp_path: Path) -> None:
    hub = Hub()
    publish(adapter.path or "", tmp_path / "one", repo_id="team/mdw", api=hub)
    assert not hub.asked
    found = publish(
        adapter.path or "", tmp_path / "two", repo_id="team/mdw", push=True, private=True, api=hub
    )
    assert found.address == "https://hub/team/mdw"
    assert hub.asked[0] == ("team/mdw", {"private": True, "exist_ok": True})
    assert {"README.md", "adapter.mdw.safetensors", "config.json", "model.safetensors"} <= set(
        hub.asked[1][1]
    )


@pytest.mark.parametrize(
    "error", [OSError("no route\nto host"), ValueError(""), RuntimeError("403 Forbidden")]
)
def test_what_the_hub_says_is_one_error(adapter: AdapterFolder, tmp_path: Path, error: Exception) -> None:
    with pytest.raises(AdapterError, match=r"could not be uploaded to team/mdw: .*hf upload") as found:
        publish(adapter.path or "", tmp_path / "out", repo_id="team/mdw", push=True, api=Hub(error))
    assert "\n" not in str(found.value)
    assert (tmp_path / "out" / "README.md").is_file(), "what was written stays"


def test_options_that_make_no_sense(adapter: AdapterFolder, tmp_path: Path) -> None:
    place = adapter.path or Path()
    with pytest.raises(OptionError, match="--repo-id"):
        publish(place, tmp_path / "out", push=True)
    for name in ("mdw", "a/b/c", "../x", "a/..", "team/md w"):
        with pytest.raises(OptionError, match="OWNER/NAME"):
            publish(place, tmp_path / "out", repo_id=name)
    (tmp_path / "there").mkdir()
    with pytest.raises(OptionError, match="there already"):
        publish(place, tmp_path / "there")
    with pytest.raises(AdapterError, match="no such adapter folder"):
        publish(tmp_path / "nowhere", tmp_path / "out")


def test_files_without_a_passport_need_backbone_and_licence(
    model: Path, adapter: AdapterFolder, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("adapter.mdw.safetensors", "vocab.json"):
        shutil.copy((adapter.path or Path()) / name, bare / name)
    with pytest.raises(AdapterError, match="--backbone"):
        publish(bare, tmp_path / "out")
    with pytest.raises(OptionError, match="--licence"):
        publish(bare, tmp_path / "out", backbone=str(model))
    found = publish(bare, tmp_path / "out", backbone=str(model), licence="mit")
    assert not (found.folder / passport.FILE).exists()
    assert "No score was noted" in (found.folder / "README.md").read_text(encoding="utf-8")


def test_a_model_trained_as_a_whole_goes_with_its_backbone(
    base: Backbone, adapter: AdapterFolder, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(adapter.path or "", whole)
    shutil.copytree(base.name, whole / "backbone")
    hashes = {f"backbone/{one.name}": passport.file_sha256(one) for one in (whole / "backbone").iterdir()}
    passport.change(whole, lambda one: replace(one, backbone="backbone", files={**one.files, **hashes}))
    found = publish(whole, tmp_path / "out")
    assert not (found.folder / "backbone").exists() and not (found.folder / passport.FILE).exists()
    assert_same(base, adapter, stock_logits(opened(found.folder, "mdw"), found.folder))
