"""Training many languages in one pass over one frozen backbone.

In: several prepared data and options. Out: an adapter folder a language, as training each alone writes it.
Every language has its own vocabulary, head, batches, random numbers, learning rate, early stopping and best
adapter; a step takes the next batch of each language that is still in training, and their rows go through the
encoder together. So each learns from the batches that it would have alone, in the same order.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mms_adapt import backbone as backbone_module
from mms_adapt import files, keeping, resume, schedule
from mms_adapt.audio import SAMPLE_RATE_HZ, frame_count
from mms_adapt.backbone import Backbone
from mms_adapt.batches import Batch, Plan
from mms_adapt.errors import OptionError
from mms_adapt.interruption import held_back
from mms_adapt.keeping import METRICS, TrainResult
from mms_adapt.mixed import gradients
from mms_adapt.pace import Pace
from mms_adapt.prepared import Prepared
from mms_adapt.recipe import TrainConfig
from mms_adapt.resume import Course
from mms_adapt.room import Room
from mms_adapt.stack import RowwiseAdamW, Stack
from mms_adapt.step import make_room
from mms_adapt.task import Task, set_up
from mms_adapt.tensorboard import Board

Progress = Callable[..., None]
_CPU_SECONDS = 60.0
_READ_STEPS = 16


@dataclass
class _Lane:
    """One language's training."""

    task: Task
    folder: Path
    board: Board
    course: Course
    plan: Plan
    best: dict[str, Tensor]
    pace: Pace
    ended: str = ""

    @property
    def limits(self) -> schedule.Limits:
        """When it ends at the latest."""
        return schedule.Limits(self.task.config.epochs, self.task.config.steps)

    @property
    def share(self) -> float:
        """The share that is done."""
        epochs = self.course.epoch + self.course.position / len(self.plan)
        return self.limits.share(epochs=epochs, steps=self.course.step, seconds_s=0.0)


def train_many(
    prepared: Sequence[Prepared | str | PathLike[str]],
    out: str | PathLike[str],
    config: TrainConfig | None = None,
    *,
    progress: Progress | None = None,
    resume: bool = True,
) -> tuple[TrainResult, ...]:
    """Train an adapter for each of several languages at once.

    An interruption (Ctrl-C, SIGTERM) writes a checkpoint and raises KeyboardInterrupt; the same call goes on.

    Args:
        prepared: What `prepare` returned for each, or the folders.
        out: Folder for an adapter folder a language.
        config: The options, the same for all; `epochs` that are not given are chosen for each.
        progress: Called with (stage, done, total, note); the stages are "cache" and "train".
        resume: Go on from a checkpoint in `out`; otherwise begin anew.

    Returns:
        What each reached, in the order in which they were given.

    Raises:
        OptionError: If options make no sense for several languages, or two are the same language.
        PreparedError: If one is no prepared data.
        BackboneError: If the backbone cannot be used.
        ResumeError: If `out` holds a training of other data, vocabularies, backbone or options.
        TrainingError: If no utterance of a language can be learnt from, or losses are not finite.
    """
    began_s = time.monotonic()
    folder, config = Path(out), config or TrainConfig()
    datas = [Prepared.of(one) for one in prepared]
    _check(datas, config)
    backbone = backbone_module.load(config.backbone, device=config.device)
    lanes = [_lane(one, folder, config, backbone, progress, anew=not resume) for one in datas]
    room = _room([one.task for one in lanes])  # while a plain adapter is in the backbone
    stack = Stack(backbone, [one.task.trained for one in lanes])
    optimiser = RowwiseAdamW(stack, weight_decay=config.weight_decay, max_norm=config.max_gradient_norm)
    _restore(folder, lanes, optimiser)
    unread: list[tuple[Tensor, Tensor, dict[int, tuple[int, tuple[str, ...]]]]] = []
    saved_s, waits = time.monotonic(), backbone.device.type == "cuda"
    with held_back() as interrupted:
        while active := [place for place, one in enumerate(lanes) if not one.ended]:
            began = {place: lanes[place].course.step for place in active}
            batches = {place: _next(lanes[place]) for place in active}
            losses, good = _learn(stack, optimiser, lanes, batches, room)
            unread.append((losses, good, {at: (began[at], one.ids) for at, one in batches.items()}))
            for place, batch in batches.items():
                _count(lanes[place], batch, time.monotonic() - began_s)
            judged = [place for place in active if _due(lanes[place])]
            stop = interrupted()
            save = stop or time.monotonic() - saved_s >= config.checkpoint_minutes * 60
            if judged or save or len(unread) >= (_READ_STEPS if waits else 1):
                _read(lanes, unread)
            for place in judged:
                _judge(stack, lanes[place], place)
            if progress:
                share = sum(1.0 if one.ended else one.share for one in lanes) / len(lanes)
                progress("train", round(100 * share), 100, _note(lanes, time.monotonic() - began_s))
            if save and active:
                _save(folder, lanes, optimiser)
                saved_s = time.monotonic()
            if stop:
                raise KeyboardInterrupt
    results = tuple(keeping.end(one.task, one.folder, one.course, one.best, one.ended) for one in lanes)
    _clear(folder)
    return results


def _check(datas: Sequence[Prepared], config: TrainConfig) -> None:
    codes = [one.target_lang for one in datas]
    twice = sorted({one for one in codes if codes.count(one) > 1})
    wrong = [f"{one} comes twice: give each language once" for one in twice]
    if not datas:
        wrong.append("no language is given")
    if config.full_finetune:
        wrong.append("full_finetune=True: the backbone is shared, so it is not trained")
    if config.max_minutes is not None:
        wrong.append("max_minutes: languages end by passes over their data; give epochs or steps")
    if config.on is not None:
        wrong.append(f"on={config.on!r}: adapters on others are trained one at a time; use train")
    if config.adapter != "attention":
        wrong.append(
            f"adapter={config.adapter!r}: many languages at once have adapters of the kind attention"
        )
    blanks = {one.vocab.blank_id for one in datas}
    if len(blanks) > 1:
        wrong.append("the vocabularies have different blanks: prepare all of them anew")
    if wrong:
        raise OptionError("; ".join(wrong))


def _lane(
    data: Prepared,
    out: Path,
    config: TrainConfig,
    backbone: Backbone,
    progress: Progress | None,
    *,
    anew: bool,
) -> _Lane:
    folder = keeping.claim(out / data.target_lang, anew=anew)
    if anew:
        _clear(out)
    task = set_up(data, config, progress, backbone=backbone)
    board = Board(folder / METRICS, tensorboard=config.tensorboard)
    return _Lane(task, folder, board, Course(), task.batches.plan(0), {}, Pace())


def _room(tasks: Sequence[Task]) -> Room:
    """Measure with the longest utterance of all, so that one room serves every language."""
    longest = max(
        tasks, key=lambda one: max(count for each in one.batches.examples for _, count in each.frames)
    )
    if longest.backbone.device.type == "cpu" and longest.room.most_frames is None:
        return Room(frame_count(round(_CPU_SECONDS * SAMPLE_RATE_HZ)))
    last = tasks[-1]  # the one whose adapter is in the backbone
    measuring = replace(last, batches=longest.batches, room=longest.room)
    make_room(measuring)
    return measuring.room


def _next(lane: _Lane) -> Batch:
    return lane.task.batches.load(lane.plan[lane.course.position])


def _learn(
    stack: Stack, optimiser: RowwiseAdamW, lanes: Sequence[_Lane], batches: dict[int, Batch], room: Room
) -> tuple[Tensor, Tensor]:
    """Learn from one batch of each language; return losses and what was good, `(languages,)` each."""
    device = stack.flat.device
    losses = gradients(stack, [one.task for one in lanes], batches, room)
    rates = torch.zeros(len(lanes))
    for place in batches:
        one = lanes[place].task.config
        rates[place] = schedule.rate(
            lanes[place].share, peak=one.peak, warmup=one.warmup, step=lanes[place].course.step
        )
    taking_part = torch.tensor([place in batches for place in range(len(lanes))])
    good = optimiser.step(
        rates.to(device, non_blocking=True), losses, taking_part.to(device, non_blocking=True)
    )
    return losses, good


def _count(lane: _Lane, batch: Batch, elapsed_s: float) -> None:
    """Note that a batch is done, and go on to the next epoch behind the last one."""
    course = lane.course
    lane.pace.add(batch.audio_s)
    course = replace(
        course,
        step=course.step + 1,
        position=course.position + 1,
        heard_s=course.heard_s + batch.audio_s,
        elapsed_s=elapsed_s,
    )
    if course.position == len(lane.plan):
        course = replace(course, epoch=course.epoch + 1, position=0)
        lane.plan = lane.task.batches.plan(course.epoch)
    lane.course = course


def _due(lane: _Lane) -> bool:
    if lane.share >= 1:
        lane.ended = "limit"
    return bool(lane.ended) or lane.course.step % lane.task.evaluate_steps == 0


def _read(
    lanes: Sequence[_Lane], unread: list[tuple[Tensor, Tensor, dict[int, tuple[int, tuple[str, ...]]]]]
) -> None:
    """Ask the device how the last steps went."""
    values = torch.stack([torch.stack([losses, good.float()]) for losses, good, _ in unread]).tolist()
    for (_, _, steps), (losses, good) in zip(unread, values, strict=True):
        for place, (step, ids) in steps.items():
            lane = lanes[place]
            if good[place]:
                course = lane.course
                lane.course = replace(
                    course, loss_sum=course.loss_sum + losses[place], loss_count=course.loss_count + 1
                )
                lane.pace.note(losses[place])
            else:
                lane.course = keeping.note_bad(lane.task, lane.folder, lane.course, step, ids)
    unread.clear()


def _judge(stack: Stack, lane: _Lane, place: int) -> None:
    """Measure one language on its dev set, and end it where its patience is over."""
    task = lane.task
    measured = task.dev.measure(stack.view(place)) if task.dev else None
    stack.put_into(place)
    lane.course, lane.best = keeping.judge(task, lane.course, measured, lane.best)
    rate = schedule.rate(lane.share, peak=task.config.peak, warmup=task.config.warmup, step=lane.course.step)
    lane.course = keeping.report(task, lane.board, lane.course, measured, rate, lane.pace)
    if keeping.in_vain(task, lane.course, lane.share):
        lane.ended = lane.ended or "patience"


def _about(lanes: Sequence[_Lane]) -> dict[str, Any]:
    return {
        f"{one.task.data.target_lang}: {name}": value
        for one in lanes
        for name, value in one.task.about.items()
    }


def _save(folder: Path, lanes: Sequence[_Lane], optimiser: RowwiseAdamW) -> None:
    state = optimiser.state()
    for place, one in enumerate(lanes):
        state |= {f"best.{place}.{name}": tensor for name, tensor in one.best.items()}
        state[f"generator.{place}"] = one.task.generator.get_state()
        ended = {"": 0, "limit": 1, "patience": 2}[one.ended]
        state[f"ended.{place}"] = torch.tensor(ended)
    most = max(one.course.step for one in lanes)
    courses = [one.course for one in lanes]
    resume.save(folder, _about(lanes), Course(step=most), state, courses)


def _restore(folder: Path, lanes: Sequence[_Lane], optimiser: RowwiseAdamW) -> None:
    """Go back to the newest checkpoint, if there is one."""
    found = resume.newest_of_all(folder, _about(lanes))
    if found is not None:
        _, courses, state = found
        optimiser.put_back(state)
        for place, (one, course) in enumerate(zip(lanes, courses, strict=True)):
            one.course, one.plan = course, one.task.batches.plan(course.epoch)
            begins = f"best.{place}."
            one.best = {
                name.removeprefix(begins): tensor for name, tensor in state.items() if name.startswith(begins)
            }
            one.task.generator.set_state(state[f"generator.{place}"])
            one.ended = ("", "limit", "patience")[int(state[f"ended.{place}"])]
    for one in lanes:
        lines = (one.folder / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
        files.write(one.folder / METRICS, "".join(lines[: one.course.reports]))


def _clear(folder: Path) -> None:
    resume.clear(folder)


def _note(lanes: Sequence[_Lane], elapsed_s: float) -> str:
    """Tell how many languages are in training, and how fast."""
    heard_s = sum(one.course.heard_s for one in lanes)
    left = sum(not one.ended for one in lanes)
    return f"{left} of {len(lanes)} languages, {heard_s / max(elapsed_s, 1e-9):.0f} audio-s/s"
