"""Training: equal to stock, only what is owned changes, interruptions do not show, bad input is told."""

import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

import mms_adapt
from mms_adapt import (
    backbone,
    checkpoint,
    manifest,
    pace,
    passport,
    recipe,
    resume,
    start,
    step,
    task,
    training,
)
from mms_adapt.adapters import attention
from mms_adapt.batches import Batch
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.errors import (
    BackboneError,
    MmsAdaptError,
    OptionError,
    PreparedError,
    ResumeError,
    TrainingError,
)
from mms_adapt.evaluate import evaluate
from mms_adapt.prepared import Prepared
from mms_adapt.training import TrainConfig, TrainResult, train

WEIGHTS = "adapter.mdw.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture
def config(base: Path) -> TrainConfig:
    """Ten quick steps with everything that is random turned on, a checkpoint after each."""
    return TrainConfig(
        backbone=str(base),
        device="cpu",
        steps=10,
        epochs=None,
        learning_rate=1e-2,
        batch_seconds=20,
        evaluate_steps=3,
        checkpoint_minutes=0,
    )


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def stop_at(number: int, kind: type[BaseException] = RuntimeError) -> Any:
    """Return a progress callback that stops the training at a step, without a word to it."""

    def progress(stage: str, done: int, total: int | None = None, note: str = "") -> None:
        if stage == "train" and done == number:
            raise kind

    return progress


# what a step computes


def batch_of(*texts: str) -> tuple[tiny.Padded, torch.Tensor, torch.Tensor]:
    waves = tiny.padded(*(tiny.speech(one, seed) for seed, one in enumerate(texts)))
    ids = [torch.tensor(tiny.ENGLISH.encode(one)) for one in texts]
    return (
        waves,
        torch.nn.utils.rnn.pad_sequence(ids, batch_first=True),
        torch.tensor([len(one) for one in ids]),
    )


def test_loss_and_gradients_equal_stock(base: Path) -> None:
    waves, labels, label_counts = batch_of("ab c", "dab cabd", "a")
    ours = backbone.load(base, device="cpu")
    first = ours.start()
    ours.bare()
    attention.attach(ours.model, attention.Config(4))
    ours.put_head(len(tiny.ENGLISH))
    ours.model.lm_head.requires_grad_(True)
    parameters = checkpoint.owned(ours.model, attention)
    checkpoint.fill(parameters, first.tensors)
    features = ours.cnn(waves.waveforms, waves.sample_counts)
    batch = Batch(features, waves.frame_counts, labels, label_counts, ("a", "b", "c"))
    loss = step.batch_loss(ours.logits(ours.encode(features, waves.frame_counts)), batch, 0)
    loss.backward()

    stock = tiny.model(ctc_loss_reduction="sum")
    stock.freeze_base_model()
    for one in stock._get_adapters().values():
        one.requires_grad_(True)
    extractor = training_inputs(
        base, [waves.waveforms[row, :count] for row, count in enumerate(waves.sample_counts)]
    )
    padded = labels.masked_fill(torch.arange(labels.shape[1]) >= label_counts[:, None], -100)
    theirs = stock(**extractor, labels=padded).loss / label_counts.sum()
    theirs.backward()
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    assert len(parameters) == 3 * 6 + 2
    # to a few 1e-6 of its length, which is how near stock in float32 comes to stock in float64
    stocks = {name: one.grad for name, one in stock._get_adapters().items()}
    left, right = (
        torch.cat([one.reshape(-1) for one in found])
        for found in ([parameters[name].grad for name in stocks], stocks.values())
    )
    assert float((left - right).norm()) < 3e-5 * float(right.norm())
    assert not [
        name for name, one in ours.model.named_parameters() if name not in parameters and one.requires_grad
    ]


def training_inputs(folder: Path, waves: list[torch.Tensor]) -> Any:
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    arrays = [one.numpy() for one in waves]
    return extractor(arrays, padding=True, return_tensors="pt", sampling_rate=tiny.RATE_HZ)


def test_padding_leaks_into_neither_loss_nor_gradients(base: Path) -> None:
    ours = backbone.load(base, device="cpu")
    attention.attach(ours.model, attention.Config(4, seed=3))
    found = []
    for texts in (["ab c"], ["ab c", "dab cabd dada"]):
        waves, labels, counts = batch_of(*texts)
        features = ours.cnn(waves.waveforms, waves.sample_counts)
        batch = Batch(features, waves.frame_counts, labels, counts, tuple(texts))
        losses = ours.logits(ours.encode(features, waves.frame_counts))
        alone = Batch(features[:1], batch.frame_counts[:1], labels[:1], counts[:1], ("one",))
        loss = step.batch_loss(losses[:1], alone, 0)
        ours.model.zero_grad()
        loss.backward()
        found.append(
            (float(loss.detach()), ours.model.wav2vec2.encoder.layers[1].adapter_layer.linear_2.weight.grad)
        )
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    difference = found[0][1] - found[1][1]  # without an attention mask it is a hundred times as large
    assert float(difference.norm()) < 2e-4 * float(found[0][1].norm())


# the whole


def test_it_learns_and_writes_what_evaluate_reads(
    base: Path, prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int, str]] = []
    chosen = replace(
        config,
        steps=60,
        evaluate_steps=20,
        learning_rate=2e-2,
        dropout=0.0,
        mask_time_share=0.0,
        mask_channel_share=0.0,
    )
    result = train(prepared, tmp_path / "mdw", chosen, progress=lambda *one: told.append(one))
    lines = metrics(result.folder)
    assert [one["step"] for one in lines] == [20, 40, 60] and result.steps == 60
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"] and lines[-1]["dev_loss"] < lines[0]["dev_loss"]
    assert set(lines[0]) >= {"epoch", "dev_cer", "dev_wer", "learning_rate", "heard_s", "audio_s_a_second"}
    assert result.best_dev_cer in [one["dev_cer"] for one in lines] and result.ended == "limit"
    assert {one[0] for one in told} == {"cache", "train"}
    assert told[-1][:3] == ("train", 60, 60) and "dev CER" in told[-1][3] and "audio-s/s" in told[-1][3]
    assert sorted(one.name for one in result.folder.iterdir()) == [
        WEIGHTS,
        "metrics.jsonl",
        "passport.json",
        "vocab.json",
    ]
    score = evaluate(result.folder, prepared, split="dev", device="cpu")
    assert score.cer == pytest.approx(result.best_dev_cer, abs=0.02), "half precision features, else the same"
    assert "adapter_of_another_split" not in score.marks

    written = AdapterFolder.load(result.folder).passport
    assert written.options == chosen.saved() and written.licence == "cc0-1.0"
    assert dict(written.split_sha256) == dict(prepared.split_sha256)
    assert written.utterances["train"] == len(prepared.utterances("train")) and written.start == "zero"
    assert written.head_start == f"shared ({len(prepared.vocab)} of {len(prepared.vocab)} tokens)"
    assert written.metrics["best_dev_cer"] == result.best_dev_cer and "torch" in written.versions


def test_the_same_seed_gives_the_same_adapter_and_another_does_not(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(prepared, tmp_path / name, replace(config, seed=seed, steps=4))
        found[name] = (tmp_path / name / WEIGHTS).read_bytes()
    assert found["a"] == found["b"] != found["c"]


def test_the_test_set_is_never_read(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Prepared.utterances, []

    def utterances(self: Prepared, split: str) -> Any:
        asked.append(split)
        return real(self, split)

    monkeypatch.setattr(Prepared, "utterances", utterances)
    train(prepared, tmp_path / "a", replace(config, steps=2))
    assert set(asked) == {"train", "dev"}


def test_only_the_topmost_layers_change(prepared: Prepared, config: TrainConfig, tmp_path: Path) -> None:
    result = train(prepared, tmp_path / "a", replace(config, adapter_layers=1))
    tensors = load_file(result.folder / WEIGHTS)
    assert not any(
        one.any() for name, one in tensors.items() if "layers.1." in name and not name.endswith("norm.weight")
    )
    assert tensors["wav2vec2.encoder.layers.2.adapter_layer.linear_2.weight"].any()
    assert evaluate(result.folder, prepared, split="dev", device="cpu").cer >= 0


def test_the_whole_backbone_can_be_trained_as_a_yardstick(
    base: Path, prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    chosen = replace(config, full_finetune=True, learning_rate=1e-3)
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path / "a", chosen, progress=stop_at(5))
    result = train(prepared, tmp_path / "a", chosen)
    other = train(prepared, tmp_path / "b", chosen)
    own = load_file(result.folder / "backbone" / "model.safetensors")
    before = load_file(base / "model.safetensors")
    for name, one in own.items():
        assert torch.equal(one, load_file(other.folder / "backbone" / "model.safetensors")[name]), name
        frozen = name.startswith("wav2vec2.feature_extractor.") or name.endswith("masked_spec_embed")
        if frozen:
            assert torch.equal(one, before[name]), name
    changed = "wav2vec2.encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(own[changed], before[changed])
    written = AdapterFolder.load(result.folder)
    assert written.passport.backbone_fingerprint != backbone.load(base, device="cpu").fingerprint
    # it goes elsewhere as a whole
    moved = result.folder.rename(tmp_path / "moved")
    assert evaluate(moved, prepared, split="dev", device="cpu").cer == pytest.approx(
        result.best_dev_cer, abs=0.02
    )
    (moved / "backbone" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MmsAdaptError, match="hash differs"):
        AdapterFolder.load(moved)


# starts


@pytest.mark.parametrize("where", ["zero", "backbone", "language:wol"])
def test_a_start_is_what_it_says(prepared: Prepared, config: TrainConfig, tmp_path: Path, where: str) -> None:
    folder = tiny.backbone(tmp_path / "b")
    wolof = tiny.build(["bad"])
    weights = {
        name: one
        for name, one in tiny.model(seed=5, vocab_size=len(wolof)).state_dict().items()
        if "adapter_layer" in name or "lm_head" in name
    }
    save_file(weights, folder / "adapter.wol.safetensors")
    record = json.loads(tiny.ENGLISH.to_json("eng")) | json.loads(wolof.to_json("wol"))
    (folder / "vocab.json").write_text(json.dumps(record), encoding="utf-8")
    base = backbone.load(folder, device="cpu")
    vocab = tiny.build(["abe"])
    begun = start.begin(base, replace(config, start=where), vocab)
    named = {"zero": None, "backbone": base.start(), "language:wol": base.start("wol")}[where]
    for name, one in begun.parameters.items():
        if name.startswith("lm_head"):
            continue
        if named is not None:
            assert torch.equal(one, named.tensors[name]), name
        elif "linear_2" in name:
            assert not one.any()
    source = named or base.start()
    assert source.vocab is not None
    for token in vocab.tokens:
        row = base.model.lm_head.weight[vocab.tokens.index(token)]
        if token in source.vocab.tokens:
            assert torch.equal(row, source.tensors["lm_head.weight"][source.vocab.tokens.index(token)])
        else:
            assert token == "e" and 0 < float(row.detach().std()) < 0.1
    assert begun.head_start == f"shared ({len(vocab) - 1} of {len(vocab)} tokens)"
    assert {one.requires_grad for one in begun.parameters.values()} == {True}


def test_blank_and_delimiter_are_shared_under_other_names(config: TrainConfig, tmp_path: Path) -> None:
    old = mms_adapt.vocab.Vocab(("a", "b", "|", "[UNK]", "[PAD]"))
    base = backbone.load(tiny.backbone(tmp_path / "b", vocab=old), device="cpu")
    rows = base.model.lm_head.weight.detach().clone()
    vocab = tiny.build(["ab"])
    start.begin(base, config, vocab)
    assert torch.equal(base.model.lm_head.weight[vocab.blank_id], rows[4])
    assert torch.equal(base.model.lm_head.weight[vocab.delimiter_id], rows[2])
    begun = start.begin(base, replace(config, head_start="fresh"), vocab)
    assert begun.head_start == "fresh"
    assert not torch.equal(base.model.lm_head.weight[vocab.blank_id], rows[4])


def test_beginning_again_leaves_nothing_of_what_was_learnt(config: TrainConfig, base: Path) -> None:
    """What stock's initialisation does not do: 0 of its adapter tensors change."""
    ours = backbone.load(base, device="cpu")
    first = checkpoint.collect(start.begin(ours, config, tiny.ENGLISH).parameters)
    with torch.no_grad():
        for one in ours.model.parameters():
            if one.requires_grad:
                one += 1.0
    again = checkpoint.collect(start.begin(ours, config, tiny.ENGLISH).parameters)
    assert all(torch.equal(one, again[name]) for name, one in first.items())
    own = ours.start().tensors
    assert not any(torch.equal(one, own[name]) for name, one in first.items() if "adapter" in name)


# interruptions


@pytest.mark.parametrize("number", [1, 3, 5, 9])
def test_a_killed_training_goes_on_bit_for_bit(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, number: int
) -> None:
    whole = train(prepared, tmp_path / "whole", config)
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path / "cut", config, progress=stop_at(number))
    steps: list[int] = []
    result = train(
        prepared,
        tmp_path / "cut",
        config,
        progress=lambda stage, done, *_: steps.append(done) if stage == "train" else 0,
    )
    assert steps[0] == number  # the step that no checkpoint had seen is done again, and none before it
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert (result.best_step, result.best_dev_cer) == (whole.best_step, whole.best_dev_cer)
    timeless = [
        [
            {name: one for name, one in line.items() if name not in ("elapsed_s", "audio_s_a_second")}
            for line in lines
        ]
        for lines in (metrics(tmp_path / "whole"), metrics(tmp_path / "cut"))
    ]
    assert timeless[0] == timeless[1]


def test_ctrl_c_writes_a_checkpoint_and_the_same_call_goes_on(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    # whoever runs the tests in the background may have told them to ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _interrupted_twice(prepared, replace(config, checkpoint_minutes=100), tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted_twice(prepared: Prepared, chosen: TrainConfig, tmp_path: Path) -> None:
    whole = train(prepared, tmp_path / "whole", chosen)
    for signal_number, at in ((signal.SIGINT, 2), (signal.SIGTERM, 6)):

        def interrupt(stage: str, done: int, *_: object, number: int = signal_number, at: int = at) -> None:
            if stage == "train" and done == at:
                os.kill(os.getpid(), number)

        with pytest.raises(KeyboardInterrupt):
            train(prepared, tmp_path / "cut", chosen, progress=interrupt)
        assert len(list((tmp_path / "cut" / ".checkpoints").iterdir())) <= 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = train(prepared, tmp_path / "cut", chosen)
    assert result.steps == whole.steps
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert not (tmp_path / "cut" / ".checkpoints").exists()


def test_a_damaged_checkpoint_is_passed_over(prepared: Prepared, config: TrainConfig, tmp_path: Path) -> None:
    whole = train(prepared, tmp_path / "whole", config)
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path / "cut", config, progress=stop_at(6))
    newest, older = sorted((tmp_path / "cut" / ".checkpoints").iterdir(), reverse=True)
    (newest.with_name("step-000000099")).mkdir()  # a crash before anything was in it
    state = newest / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-3] ^= 1
    state.write_bytes(data)
    steps: list[int] = []
    train(
        prepared,
        tmp_path / "cut",
        config,
        progress=lambda stage, done, *_: steps.append(done) if stage == "train" else 0,
    )
    assert steps[0] == int(older.name.removeprefix("step-")) + 1
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()


def test_checkpoints_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = resume.Course(step=3, loss_sum=0.1 + 0.2, best_cer=1 / 3)
    tensors = {"a": torch.randn(3)}
    resume.save(tmp_path, {"x": 1}, course, tensors)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(TrainingError, match="the disk is full; make"):
        resume.save(tmp_path, {"x": 1}, replace(course, step=4), tensors)
    found = resume.newest(tmp_path, {"x": 1})
    assert found is not None and found[0] == course and torch.equal(found[1]["a"], tensors["a"])
    assert [one.name for one in (tmp_path / ".checkpoints").iterdir()] == ["step-000000003"]


def test_a_checkpoint_of_another_training_is_refused_and_the_difference_named(
    base: Path, prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path / "a", config, progress=stop_at(3))
    before = sorted((tmp_path / "a" / ".checkpoints").iterdir())
    other_base = tiny.backbone(tmp_path / "other", seed=1)
    other_data = mms_adapt.prepare(
        tiny.corpus(tmp_path / "corpus", 40, seed=1), tmp_path / "p", target_lang="mdw"
    )
    for data, chosen, says in (
        (prepared, replace(config, learning_rate=0.02), r"option learning_rate was 0\.01, now 0\.02"),
        (prepared, replace(config, backbone=str(other_base)), "backbone was"),
        (other_data, config, "train set was"),
        (prepared, replace(config, seed=1, dropout=0.2), "option dropout was .*; option seed was 0, now 1"),
    ):
        with pytest.raises(ResumeError, match=says):
            train(data, tmp_path / "a", chosen)
    assert sorted((tmp_path / "a" / ".checkpoints").iterdir()) == before
    # where files lie does not matter, and --restart begins anew
    train(prepared, tmp_path / "a", replace(config, cache=str(tmp_path / "cache")))
    result = train(prepared, tmp_path / "a", replace(config, steps=2), resume=False)
    assert result.steps == 2 and len(metrics(tmp_path / "a")) == 1


def test_a_finished_training_is_not_done_again(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    first = train(prepared, tmp_path / "a", config)
    written = (tmp_path / "a" / "passport.json").read_bytes()
    again = train(prepared, tmp_path / "a", config, progress=stop_at(1))
    assert again.ended == "done before" and (again.best_dev_cer, again.steps) == (
        first.best_dev_cer,
        first.steps,
    )
    assert (tmp_path / "a" / "passport.json").read_bytes() == written
    with pytest.raises(ResumeError, match="option steps was 10, now 11"):
        train(prepared, tmp_path / "a", replace(config, steps=11))


def test_a_training_of_before_patience_was_a_share_goes_on(tmp_path: Path) -> None:
    resume.refuse_others(tmp_path, {"option patience": 10}, {"option patience": None})
    for was, now in ((7, None), (None, 10)):
        with pytest.raises(ResumeError, match="option patience was"):
            resume.refuse_others(tmp_path, {"option patience": was}, {"option patience": now})


# limits


def test_patience_ends_it_and_the_best_is_kept(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mms_adapt.devset import DevSet, Measured

    cers = iter([0.8, 0.5, 0.6, 0.55, 0.7, 0.1])
    kept: list[dict[str, torch.Tensor]] = []

    def measure(self: DevSet, model: backbone.Backbone) -> Measured:
        kept.append(checkpoint.collect(checkpoint.owned(model.model, attention)))
        return Measured(next(cers), 1.0, 1.0)

    monkeypatch.setattr(DevSet, "measure", measure)
    result = train(prepared, tmp_path / "a", replace(config, patience=2, evaluate_steps=2))
    assert (result.ended, result.best_dev_cer, result.best_step, result.steps) == ("patience", 0.5, 4, 8)
    tensors = load_file(tmp_path / "a" / WEIGHTS)
    assert all(torch.equal(one, tensors[name]) for name, one in kept[1].items())


def test_of_its_own_accord_it_waits_for_half_of_the_training(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the learning rate is high, many evaluations in vain tell nothing yet."""
    from mms_adapt.devset import DevSet, Measured

    def ends(best_at: int, steps: int) -> tuple[str, int, int]:
        falling = [0.8 - 0.01 * number for number in range(best_at)]
        course = iter([*falling, *[0.8] * (steps - best_at)])
        monkeypatch.setattr(DevSet, "measure", lambda *_: Measured(next(course), 1.0, 1.0))
        options = replace(config, steps=steps, evaluate_steps=1)
        result = train(prepared, tmp_path / f"{best_at}-{steps}", options)
        return result.ended, result.best_step, result.steps

    assert ends(6, 36) == ("patience", 6, 24)  # half of 36 later
    assert ends(2, 14) == ("patience", 2, 12)  # ten evaluations later
    assert ends(19, 36) == ("limit", 19, 36)


def test_before_anything_is_written_the_loss_decides(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error rate below 1 by chance at the start must not outlast the phase of blanks."""
    from mms_adapt.devset import DevSet, Measured

    course = iter([(0.93, 9.0), (1.0, 4.0), (1.0, 3.0), (0.97, 2.9), (0.89, 2.8)])
    monkeypatch.setattr(DevSet, "measure", lambda *_: Measured((one := next(course))[0], 1.0, one[1]))
    result = train(prepared, tmp_path / "a", replace(config, patience=1, evaluate_steps=2))
    assert (result.ended, result.best_dev_cer, result.best_step) == ("limit", 0.89, 10)


def test_a_limit_of_time_lets_the_learning_rate_come_down(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()  # a look at it takes 10 ms
    for module in (training, pace):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock) / 100))
    chosen = replace(config, steps=None, max_minutes=0.05, evaluate_steps=10_000)
    result = train(prepared, tmp_path / "a", chosen)
    assert 2.5 < result.seconds_s < 3.5 and result.steps > 20 and result.ended == "limit"
    assert metrics(tmp_path / "a")[-1]["learning_rate"] < 0.2 * chosen.peak
    # time that is too short for anything still gives an adapter
    assert train(prepared, tmp_path / "b", replace(chosen, max_minutes=0.001)).steps in (1, 2)
    # unless something must have been learnt
    least = train(prepared, tmp_path / "c", replace(chosen, max_minutes=0.001, min_epochs=2))
    speech_s = sum(one.duration_s for one in prepared.utterances("train"))
    assert least.heard_s == pytest.approx(2 * speech_s, rel=0.1) and least.ended == "limit"
    assert metrics(tmp_path / "c")[-1]["learning_rate"] < 0.2 * chosen.peak


def test_epochs_limit_it(prepared: Prepared, config: TrainConfig, tmp_path: Path) -> None:
    result = train(prepared, tmp_path / "a", replace(config, steps=None, epochs=2, speed_factors=(1.0,)))
    speech_s = sum(one.duration_s for one in prepared.utterances("train"))
    assert result.heard_s == pytest.approx(2 * speech_s, rel=0.03) and result.ended == "limit"


# what can go wrong


def broken(base: Path, folder: Path, name: str, value: float) -> Path:
    """Return a copy of the backbone with a number that is none in one of its weights."""
    made = tiny.backbone(folder)
    tensors = load_file(made / "model.safetensors")
    tensors[name].view(-1)[0] = value
    save_file(tensors, made / "model.safetensors")
    return made


def test_bad_batches_are_named_passed_over_and_end_it_when_there_are_many(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step.batch_loss
    calls = 0

    def sometimes(logits: torch.Tensor, batch: Batch, blank_id: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = real(logits, batch, blank_id)
        if calls == 2:
            return loss * torch.nan
        if calls == 4:  # a finite loss with a gradient that is not
            return loss + (logits.sum() * 0).sqrt()
        return loss

    monkeypatch.setattr(step, "batch_loss", sometimes)
    result = train(prepared, tmp_path / "a", config)
    assert result.steps == 10
    named = [
        json.loads(one) for one in (tmp_path / "a" / "bad_batches.jsonl").read_text("utf-8").splitlines()
    ]
    assert [one["step"] for one in named] == [1, 3] and all(one["utterances"] for one in named)
    assert all(bool(torch.isfinite(one).all()) for one in load_file(tmp_path / "a" / WEIGHTS).values())

    monkeypatch.setattr(step, "batch_loss", lambda *given: real(*given) * torch.nan)
    with pytest.raises(TrainingError, match=r"3 batches .* utterances u\d+.*bad_batches\.jsonl"):
        train(prepared, tmp_path / "b", replace(config, max_bad_batches=2))


def test_the_first_step_checks_where_gradients_go(
    prepared: Prepared, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = attention.attach

    def leaky(model: Any, options: attention.Config) -> None:
        real(model, options)
        model.wav2vec2.encoder.layers[1].attention.q_proj.weight.requires_grad_(True)

    monkeypatch.setattr(attention, "attach", leaky)
    with pytest.raises(TrainingError, match=r"1 frozen ones have one, such as .*q_proj\.weight"):
        train(prepared, tmp_path / "a", config)

    def cut(model: Any, options: attention.Config) -> None:
        real(model, options)
        layer = model.wav2vec2.encoder.layers[0].adapter_layer
        layer.forward = torch.zeros_like

    monkeypatch.setattr(attention, "attach", cut)
    with pytest.raises(TrainingError, match=r"6 tensors have none, such as .*layers\.0\.adapter_layer"):
        train(prepared, tmp_path / "b", config)


def test_impossible_utterances_are_left_out_counted_and_named(
    base: Path, config: TrainConfig, tmp_path: Path
) -> None:
    corpus = tiny.corpus(tmp_path / "corpus", 40)
    data = mms_adapt.prepare(corpus, tmp_path / "p", target_lang="mdw")
    utterances = list(data.utterances("train"))
    frames = 1 + int((utterances[0].duration_s * 16_000 - 400) // 320)
    # as long as its audio allows at its own speed, but not when it is faster; and one that never fits
    texts = {0: ("abcd" * frames)[:frames], 1: "a" * 400}
    changed = [
        replace(one, reference=texts.get(number, one.reference)) for number, one in enumerate(utterances)
    ]
    rewrite(data, train=changed)
    result = train(Prepared.load(tmp_path / "p"), tmp_path / "a", replace(config, steps=4))
    assert result.left_out == (utterances[1].id,)
    written = AdapterFolder.load(tmp_path / "a").passport
    assert written.left_out == {"ctc_impossible": 1, "ctc_impossible_when_fast": 1}
    rewrite(data, train=[replace(one, reference="a" * 400) for one in utterances])
    with pytest.raises(TrainingError, match=f"no utterance .* fewer frames than labels: {utterances[0].id}"):
        train(Prepared.load(tmp_path / "p"), tmp_path / "b", config)


def rewrite(data: Prepared, **parts: list[manifest.Utterance]) -> None:
    """Change a part of prepared data, and its hash with it."""
    from mms_adapt.splits import part_sha256

    path = data.folder / "prepared.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name, utterances in parts.items():
        manifest.write(data.folder / f"{name}.jsonl", utterances)
        record["split_sha256"][name] = part_sha256(utterances)
    path.write_text(json.dumps(record), encoding="utf-8")


def test_dev_characters_outside_the_vocabulary_are_errors(config: TrainConfig, tmp_path: Path) -> None:
    data = mms_adapt.prepare(tiny.corpus(tmp_path / "corpus", 40), tmp_path / "p", target_lang="mdw")
    rewrite(data, dev=[replace(one, reference="zzzz") for one in data.utterances("dev")])
    result = train(Prepared.load(tmp_path / "p"), tmp_path / "a", replace(config, steps=2))
    assert result.best_dev_cer is not None and result.best_dev_cer >= 1.0


def test_without_a_dev_set_the_last_adapter_is_kept(config: TrainConfig, tmp_path: Path) -> None:
    data = mms_adapt.prepare(tiny.corpus(tmp_path / "corpus", 40), tmp_path / "p", target_lang="mdw")
    rewrite(data, dev=[])
    result = train(Prepared.load(tmp_path / "p"), tmp_path / "a", replace(config, steps=4, patience=1))
    assert (result.best_dev_cer, result.best_step, result.ended) == (None, 4, "limit")


def test_a_folder_of_something_else_is_not_touched(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work", encoding="utf-8")
    with pytest.raises(OptionError, match="it holds other things"):
        train(prepared, tmp_path, config, resume=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="it is a file"):
        train(prepared, tmp_path / "file", config)
    with pytest.raises(PreparedError, match="nowhere"):
        train(tmp_path / "nowhere", tmp_path / "out", config)
    with pytest.raises(BackboneError, match="nowhere"):
        train(prepared, tmp_path / "out", replace(config, backbone="nowhere"))
    with pytest.raises(BackboneError, match=r"there is no adapter\.wol"):
        train(prepared, tmp_path / "out", replace(config, start="language:wol"))
    with pytest.raises(OptionError, match="the backbone has 3 layers"):
        train(prepared, tmp_path / "out", replace(config, adapter_layers=9))
    with pytest.raises(OptionError, match="width"):
        train(prepared, tmp_path / "out", replace(config, adapter_options={"width": 3}))


def test_a_backbone_with_broken_weights_gives_a_clear_error(
    base: Path, prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    made = broken(base, tmp_path / "b", "wav2vec2.encoder.layers.0.feed_forward.output_dense.bias", np.nan)
    with pytest.raises(TrainingError, match="not finite"):
        train(prepared, tmp_path / "a", replace(config, backbone=str(made)))
    made = broken(base, tmp_path / "c", "wav2vec2.feature_extractor.conv_layers.6.layer_norm.bias", np.inf)
    with pytest.raises(BackboneError, match="half precision"):
        train(prepared, tmp_path / "a", replace(config, backbone=str(made)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_learns_what_a_cpu_learns_and_goes_on(
    prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    chosen = replace(config, device="cuda", dropout=0.0, mask_time_share=0.0, mask_channel_share=0.0)
    with pytest.raises(RuntimeError):
        train(prepared, tmp_path / "gpu", chosen, progress=stop_at(5))
    train(prepared, tmp_path / "gpu", chosen)
    train(prepared, tmp_path / "cpu", replace(chosen, device="cpu"))
    found, expected = (metrics(tmp_path / name)[-1]["dev_loss"] for name in ("gpu", "cpu"))
    assert found == pytest.approx(expected, rel=0.1)
    for device in ("cuda", "cpu"):
        assert evaluate(tmp_path / "gpu", prepared, split="dev", device=device).cer >= 0


# options


def test_every_option_is_documented_and_bounded() -> None:
    source = Path(recipe.__file__).read_text(encoding="utf-8").split("class TrainConfig")[1]
    for one in fields(TrainConfig):
        after = source.split(f"    {one.name}: ", 1)[1].split("\n    def ")[0]
        assert '"""' in after.split("\n", 2)[1] or '"""' in after.split("\n", 3)[2], (
            f"{one.name} has no docstring"
        )
    assert json.loads(json.dumps(TrainConfig().saved())) == TrainConfig().saved()
    assert (TrainConfig().peak, TrainConfig(full_finetune=True).peak) == (4e-3, 2e-4)


def test_all_bad_options_are_told_at_once() -> None:
    with pytest.raises(OptionError) as error:
        TrainConfig(
            epochs=0,
            steps=1.5,  # type: ignore[arg-type]
            batch_seconds=float("nan"),
            learning_rate=-1,
            adapter_layers="most",
            start="language:xx",
            head_start="warm",
            speed_factors=(),
            adapter="atention",
            seed=True,
        )
    for says in (
        "epochs=0", "steps=1.5", "batch_seconds=nan", "learning_rate=-1", "'most'", "language:xx", "'warm'",
        "speed_factors=()", "'attention'", "seed=True",
    ):  # fmt: skip
        assert says in str(error.value)
    assert TrainConfig(speed_factors=[1.0]).speed_factors == (1.0,)  # type: ignore[arg-type]


def test_what_was_left_open_suits_the_speech() -> None:
    minutes = (0, 1, 10, 60, 208, 6000)
    found = [TrainConfig().suited(60 * one) for one in minutes]
    assert [one.epochs for one in found] == [40, 40, 30, 12, 7, 5]
    assert [one.mask_time_share for one in found] == [0.3, 0.3, 0.3, 0.12, 0.07, 0.05]
    assert (found[3].mask_channel_share, found[3].dropout, found[3].learning_rate) == (0.08, 0.08, 4e-3)
    few = TrainConfig(epochs=8, dropout=0.0, mask_channel_share=0.0).suited(600)
    assert (few.epochs, few.mask_time_share, few.dropout, few.mask_channel_share) == (8, 0.08, 0.0, 0.0)
    steps = TrainConfig(steps=375, batch_seconds=16).suited(600)
    assert (steps.epochs, steps.mask_time_share) == (None, 0.1)
    assert few.suited(600) == few
    inside = TrainConfig(from_hidden=True).suited(600)
    assert (inside.mask_time_share, inside.mask_channel_share) == (0.0, 0.0)
    assert inside.dropout == TrainConfig().suited(600).dropout
    assert TrainConfig(from_hidden=True, mask_time_share=0.1).suited(600).mask_time_share == 0.1


def test_results_and_passports_agree_on_names() -> None:
    assert {one.name for one in fields(TrainResult)} >= {"folder", "steps", "seconds_s", "best_dev_cer"}
    assert training.METRICS == "metrics.jsonl" and passport.FILE == "passport.json"
    assert task.about_options({"cache": "x", "device": "cpu", "seed": 1}) == {"option seed": 1}


@pytest.mark.slow
def test_a_process_that_is_killed_outright_goes_on(
    base: Path, prepared: Prepared, config: TrainConfig, tmp_path: Path
) -> None:
    code = (
        "import sys, os, signal; from mms_adapt.training import *\n"
        "config = TrainConfig(backbone=sys.argv[3], device='cpu', steps=10, epochs=None, learning_rate=1e-2,"
        " batch_seconds=20, evaluate_steps=3, checkpoint_minutes=0)\n"
        "def progress(stage, done, *_):\n"
        "    if stage == 'train' and done == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(sys.argv[1], sys.argv[2], config, progress=progress)\n"
    )
    words = [sys.executable, "-c", code, str(prepared.folder), str(tmp_path / "cut"), str(base)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    train(prepared, tmp_path / "cut", config)
    train(prepared, tmp_path / "whole", config)
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
