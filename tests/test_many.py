"""Many languages in one pass: each learns what it would alone, and none touches another."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

import mms_adapt
from mms_adapt import backbone, keeping, step
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.devset import DevSet, Measured
from mms_adapt.errors import OptionError, ResumeError
from mms_adapt.evaluate import evaluate
from mms_adapt.many import train_many
from mms_adapt.mixed import gradients
from mms_adapt.prepared import Prepared
from mms_adapt.room import Room
from mms_adapt.stack import RowwiseAdamW, Stack
from mms_adapt.task import Task, set_up
from mms_adapt.training import TrainConfig, train

CODES = ("mdw", "wol")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def datas(tmp_path_factory: pytest.TempPathFactory) -> list[Prepared]:
    """Two languages with other sounds, letters and sizes of vocabulary."""
    found = []
    for number, code in enumerate(CODES):
        folder = tmp_path_factory.mktemp(code)
        corpus = tiny.corpus(folder / "corpus", 24 + 8 * number, seed=number)
        if number:
            path = corpus / "utterances.jsonl"
            lines = [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]
            for place, line in enumerate(lines):
                text = line["transcript"].replace("a", "éo"[place % 2])
                line.update(target_lang=code, transcript=text)
            path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        found.append(mms_adapt.prepare(corpus, folder / "prepared", target_lang=code))
    assert len({len(one.vocab) for one in found}) == 2
    return found


@pytest.fixture
def config(base: Path) -> TrainConfig:
    return TrainConfig(
        backbone=str(base),
        device="cpu",
        steps=6,
        learning_rate=1e-2,
        batch_seconds=12,
        evaluate_steps=2,
        checkpoint_minutes=0,
        start="backbone",
    )


def shared(datas: list[Prepared], config: TrainConfig) -> tuple[list[Task], Stack]:
    one = backbone.load(config.backbone, device="cpu")
    tasks = [set_up(data, config, backbone=one) for data in datas]
    return tasks, Stack(one, [task.trained for task in tasks])


@pytest.mark.parametrize(
    ("most_frames", "changes", "packing"),
    [
        (10_000, {}, False),
        (150, {}, False),
        (150, {"checkpointing": True}, False),
        (10_000, {"adapter_layers": 1, "from_hidden": True}, False),
        (10_000, {}, True),
        (150, {}, True),
        (150, {"checkpointing": True}, True),
        (10_000, {"adapter_layers": 1, "from_hidden": True}, True),
    ],
)
def test_the_same_batches_give_the_same_gradients(
    datas: list[Prepared], config: TrainConfig, most_frames: int, changes: dict[str, Any], packing: bool
) -> None:
    chosen = replace(config, max_gradient_norm=1e6, **changes)
    tasks, stack = shared(datas, chosen)
    tasks[0].backbone.packing = packing
    batches = {place: one.batches.load(one.batches.plan(0)[0]) for place, one in enumerate(tasks)}
    losses = gradients(stack, tasks, batches, Room(most_frames))
    for place, data in enumerate(datas):
        alone = set_up(data, chosen)
        batch = alone.batches.load(alone.batches.plan(0)[0])
        assert batch.ids == batches[place].ids
        outcome = step.learn(alone, batch, 0.0, first=True)
        assert float(outcome.loss) == pytest.approx(float(losses[place]), abs=1e-5)
        found = stack.gradients(place)
        assert found.keys() == alone.trained.keys() and len(found) == (
            8 if changes.get("from_hidden") else 20
        )
        for name, one in alone.trained.items():
            assert one.grad is not None and float(one.grad.norm()) > 0
            # pieces of a batch are summed in another order, which some processors show more than others
            assert float((found[name] - one.grad).norm()) < 5e-5 * max(1.0, float(one.grad.norm())), name


def test_numbers_that_are_none_stay_where_they_are(datas: list[Prepared], config: TrainConfig) -> None:
    after = []
    for broken in (False, True):
        tasks, stack = shared(datas, config)
        optimiser = RowwiseAdamW(stack, weight_decay=0.0, max_norm=1.0)
        before = stack.flat.clone()
        batches = {place: one.batches.load(one.batches.plan(0)[0]) for place, one in enumerate(tasks)}
        if broken:
            batches[0].features[0, 1] = torch.nan
        losses = gradients(stack, tasks, batches, Room(10_000))
        good = optimiser.step(torch.full((2,), 0.01), losses, torch.tensor([True, True]))
        assert good.tolist() == [not broken, True]
        assert torch.equal(stack.flat[0], before[0]) is broken and not torch.equal(stack.flat[1], before[1])
        after.append(stack.flat[1].clone())
    assert torch.equal(*after)


def test_the_optimiser_is_adamw_for_each_language(datas: list[Prepared], config: TrainConfig) -> None:
    _, stack = shared(datas, config)
    ours = RowwiseAdamW(stack, weight_decay=0.1, max_norm=0.5)
    others = [torch.nn.Parameter(row.clone()) for row in stack.flat]
    theirs = [torch.optim.AdamW([one], lr=0.0, weight_decay=0.1) for one in others]
    random = torch.Generator().manual_seed(0)
    for number in range(6):
        found = torch.randn(stack.flat.shape, generator=random) * torch.tensor([[1e-3], [2.0]])
        stack.gradient.copy_(found)
        rates = torch.tensor([0.01 * number, 0.02])
        takes = torch.tensor([True, number != 3])
        ours.step(rates, torch.ones(2), takes)
        for place in range(2):
            if takes[place]:
                others[place].grad = found[place].clone()
                torch.nn.utils.clip_grad_norm_([others[place]], 0.5)
                theirs[place].param_groups[0]["lr"] = float(rates[place])
                theirs[place].step()
            assert torch.allclose(stack.flat[place], others[place].detach(), atol=1e-6)


def stop_at(number: int, kind: int | None = None) -> Any:
    calls = 0

    def progress(stage: str, *_: object) -> None:
        nonlocal calls
        calls += stage == "train"
        if stage == "train" and calls == number:
            if kind is None:
                raise RuntimeError
            os.kill(os.getpid(), kind)

    return progress


def weights(folder: Path) -> list[bytes]:
    return [(folder / one / f"adapter.{one}.safetensors").read_bytes() for one in CODES]


def test_each_is_as_if_it_had_been_alone_and_interruptions_do_not_show(
    datas: list[Prepared], config: TrainConfig, tmp_path: Path
) -> None:
    results = train_many(datas, tmp_path / "whole", config)
    assert [one.folder.name for one in results] == list(CODES)
    for data, result in zip(datas, results, strict=True):
        alone = train(data, tmp_path / f"alone-{data.target_lang}", config)
        assert (result.steps, result.heard_s, result.ended) == (alone.steps, alone.heard_s, alone.ended)
        assert result.best_dev_cer == pytest.approx(alone.best_dev_cer, abs=0.02)
        name = f"adapter.{data.target_lang}.safetensors"
        found, expected = load_file(result.folder / name), load_file(alone.folder / name)
        assert found.keys() == expected.keys()
        assert all(float((one - expected[key]).abs().max()) < 2e-3 for key, one in found.items())
        passport = AdapterFolder.load(result.folder).passport
        assert passport.options == AdapterFolder.load(alone.folder).passport.options
        assert evaluate(result.folder, data, split="dev", device="cpu").cer == pytest.approx(
            result.best_dev_cer, abs=0.02
        )
    with pytest.raises(RuntimeError):
        train_many(datas, tmp_path / "cut", config, progress=stop_at(3))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_many(datas, tmp_path / "cut", config, progress=stop_at(2, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(ResumeError, match="wol: option seed was 0, now 1"):
        train_many(datas, tmp_path / "cut", replace(config, seed=1))
    train_many(datas, tmp_path / "cut", config)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert not (tmp_path / "cut" / ".checkpoints").exists()


def test_one_may_end_before_another(
    datas: list[Prepared], config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = keeping.judge

    def judge(task: Task, course: Any, measured: Measured | None, best: Any) -> Any:
        first = task.data.target_lang == "mdw"
        return real(task, course, Measured(course.step if first else -course.step, 1.0, 1.0), best)

    monkeypatch.setattr(keeping, "judge", judge)
    monkeypatch.setattr(DevSet, "measure", lambda *_: Measured(0.5, 0.5, 0.5))
    chosen = replace(config, patience=1)
    results = train_many(datas, tmp_path / "a", chosen)
    assert [(one.ended, one.steps, one.best_step) for one in results] == [("patience", 4, 2), ("limit", 6, 6)]


def test_what_makes_no_sense_for_many(datas: list[Prepared], config: TrainConfig, tmp_path: Path) -> None:
    wrong = replace(config, max_minutes=1.0, full_finetune=True)
    with pytest.raises(OptionError, match=r"mdw comes twice.*full_finetune.*max_minutes"):
        train_many([datas[0], datas[0]], tmp_path / "a", wrong)
    with pytest.raises(OptionError, match="no language"):
        train_many([], tmp_path / "a", config)
    assert not (tmp_path / "a").exists()
