"""Training: one visible loop.

In: prepared data and options. Out: an adapter folder, `metrics.jsonl`, and checkpoints while it runs. It does
not know how a model computes, what a batch is made of, or how a file is written.

The adapter that is kept is the one of the lowest character error rate on the dev set. The test set is never
read.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from mms_adapt import files, keeping, parallel, resume, schedule
from mms_adapt.devset import Measured
from mms_adapt.interruption import held_back
from mms_adapt.keeping import METRICS, TrainResult
from mms_adapt.pace import Pace, done, note
from mms_adapt.prepared import Prepared
from mms_adapt.recipe import TrainConfig
from mms_adapt.resume import Course
from mms_adapt.step import Outcome, learn, make_room
from mms_adapt.task import Task, set_up
from mms_adapt.tensorboard import Board

Progress = Callable[..., None]
Step = tuple[int, tuple[str, ...], Outcome]
_READ_STEPS = 16  # a GPU works on while nobody asks it how it went
__all__ = ["METRICS", "TrainConfig", "TrainResult", "train"]


def train(
    prepared: Prepared | str | PathLike[str],
    out: str | PathLike[str],
    config: TrainConfig | None = None,
    *,
    progress: Progress | None = None,
    resume: bool = True,
) -> TrainResult:
    """Train an adapter.

    An interruption (Ctrl-C, SIGTERM) writes a checkpoint and raises KeyboardInterrupt; the same call goes on.

    Args:
        prepared: What `prepare` returned, or its folder.
        out: Adapter folder to write.
        config: The options.
        progress: Called with (stage, done, total, note); the stages are "cache" and "train".
        resume: Go on from a checkpoint in `out`; otherwise begin anew.

    Raises:
        OptionError: If options make no sense, or `out` is a folder of something else.
        PreparedError: If `prepared` is no prepared data.
        BackboneError: If the backbone cannot be used.
        ResumeError: If `out` holds a training of other data, vocabulary, backbone or options.
        TrainingError: If no utterance can be learnt from, or losses are not finite.
    """
    began_s = time.monotonic()
    config = config or TrainConfig()
    data = Prepared.of(prepared)
    team, device = parallel.join(config.device)
    wanted = replace(config, device=device)
    folder = keeping.claim(Path(out), anew=not resume and team.leads, on=config.on)
    task = team.in_turn(lambda: set_up(data, wanted, progress, team))
    make_room(task)
    config = task.config
    if resume and (before := keeping.done_before(task, folder)) is not None:
        team.leave()
        return before
    course, best = team.in_turn(lambda: _restored(task, folder))
    every, pace, ended, evaluation_s = task.evaluate_steps, Pace(), "", 0.0
    unread: list[Step] = []
    loop_s = saved_s = time.monotonic()
    trained_s = course.elapsed_s - course.set_up_s  # in earlier runs
    (set_up_s,) = team.told([course.set_up_s + loop_s - began_s])
    course = replace(course, set_up_s=set_up_s)
    limit_s = None if config.max_minutes is None else config.max_minutes * 60
    limits = schedule.Limits(config.epochs, config.steps, limit_s, config.min_epochs)
    board = Board(folder / METRICS, tensorboard=config.tensorboard)
    with held_back() as interrupted:
        while not ended:
            plan = task.batches.plan(course.epoch)
            for position in range(course.position, len(plan)):
                # the last evaluation belongs to the time, too
                (seconds_s,) = team.told([trained_s + time.monotonic() - loop_s + evaluation_s])
                epochs = course.epoch + position / len(plan)
                share = limits.share(epochs=epochs, steps=course.step, seconds_s=seconds_s)
                rate = schedule.rate(share, peak=config.peak, warmup=config.warmup, step=course.step)
                batch = task.batches.load(plan[position])
                with pace:
                    unread.append((course.step, batch.ids, learn(task, batch, rate, first=not pace.steps)))
                pace.add(batch.audio_s)
                course = replace(
                    course,
                    step=course.step + 1,
                    position=position + 1,
                    heard_s=course.heard_s + batch.audio_s,
                    elapsed_s=course.set_up_s + trained_s + time.monotonic() - loop_s,
                )
                (seconds_s,) = team.told([trained_s + time.monotonic() - loop_s + evaluation_s])
                epochs = course.epoch + course.position / len(plan)
                share = limits.share(epochs=epochs, steps=course.step, seconds_s=seconds_s)
                ended = "limit" if share >= 1 else ""
                stop = team.any(interrupted())
                save = stop or time.monotonic() - saved_s >= config.checkpoint_minutes * 60
                judge = bool(ended) or course.step % every == 0
                if (
                    judge
                    or save
                    or len(unread) >= (_READ_STEPS if task.backbone.device.type == "cuda" else 1)
                ):
                    with pace:
                        course = _read(task, folder, course, unread, pace)
                if judge:
                    measured_s = time.monotonic()
                    measured = _measured(task)
                    evaluation_s = time.monotonic() - measured_s
                    course, best = keeping.judge(task, course, measured, best)
                    course = keeping.report(task, board, course, measured, rate, pace)
                    ended = ended or ("patience" if keeping.in_vain(task, course, share) else "")
                if progress:
                    progress("train", *done(course, config, share), note(course, share, pace))
                if ended:
                    break
                if save:
                    _save(task, folder, course, best)
                    saved_s = time.monotonic()
                if stop:
                    team.leave()  # when the checkpoint is written
                    raise KeyboardInterrupt
            else:
                course = replace(course, epoch=course.epoch + 1, position=0)
    return keeping.end(task, folder, course, best, ended)


def _read(task: Task, folder: Path, course: Course, unread: list[Step], pace: Pace) -> Course:
    """Ask the device how the last steps went.

    Raises:
        TrainingError: If too many batches gave no finite loss or gradient.
    """
    values = torch.stack([torch.stack([one.loss, one.good.float()]) for *_, one in unread]).tolist()
    for (step, ids, _), (loss, good) in zip(unread, values, strict=True):
        if good:
            course = replace(course, loss_sum=course.loss_sum + loss, loss_count=course.loss_count + 1)
            pace.note(loss)
        else:
            course = keeping.note_bad(task, folder, course, step, ids)
    unread.clear()
    return course


def _measured(task: Task) -> Measured | None:
    """Measure the dev set once for the whole team."""
    if task.dev is None:
        return None
    found = task.dev.measure(task.backbone) if task.team.leads else Measured(0.0, 0.0, 0.0)
    return Measured(*task.team.told([found.cer, found.wer, found.loss]))


def _restored(task: Task, folder: Path) -> tuple[Course, dict[str, Tensor]]:
    """Return course and best adapter of the newest checkpoint, put into the model; else those of a start."""
    found = resume.newest(folder, task.about)
    course = Course()
    best: dict[str, Tensor] = {}
    if found is not None:
        course, state = found
        task.put_back(state)
        best = {name.removeprefix("best."): one for name, one in state.items() if name.startswith("best.")}
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
    files.write(folder / METRICS, "".join(lines[: course.reports]))
    return course, best


def _save(task: Task, folder: Path, course: Course, best: dict[str, Tensor]) -> None:
    if not task.team.leads:
        return
    state = {**task.take(), **{f"best.{name}": one for name, one in best.items()}}
    resume.save(folder, task.about, course, state)
