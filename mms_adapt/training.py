"""Training: one visible loop.

In: prepared data and options. Out: an adapter folder, `metrics.jsonl`, and checkpoints while it runs. It does
not know how a model computes, what a batch is made of, or how a file is written.

The adapter that is kept is the one of the lowest character error rate on the dev set. The test set is never
read.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

from torch import Tensor

from mms_adapt import checkpoint, files, passport, resume, schedule
from mms_adapt.batches import Batch
from mms_adapt.devset import Measured
from mms_adapt.errors import AdapterError, OptionError, TrainingError
from mms_adapt.interruption import held_back
from mms_adapt.prepared import Prepared
from mms_adapt.recipe import TrainConfig
from mms_adapt.resume import Course
from mms_adapt.step import learn
from mms_adapt.task import Task, about_options, finish, set_up

Progress = Callable[..., None]
_SPEECHLESS_CER = 0.9
METRICS, BAD = "metrics.jsonl", "bad_batches.jsonl"
__all__ = ["TrainConfig", "TrainResult", "train"]


@dataclass(frozen=True)
class TrainResult:
    """What a training reached.

    Attributes:
        folder: The adapter folder.
        steps: Steps that were done.
        seconds_s: How long it took, interruptions not counted.
        best_dev_cer: The lowest character error rate on the dev set; None where there is no dev set.
        best_step: When that was.
        heard_s: Speech that went through.
        ended: Why it ended: "limit", "patience", or "done before" where there was nothing left to do.
        left_out: Ids of training utterances that CTC cannot align, or that have no label.
    """

    folder: Path
    steps: int
    seconds_s: float
    best_dev_cer: float | None
    best_step: int
    heard_s: float
    ended: str
    left_out: tuple[str, ...] = ()


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
    folder = _claim(Path(out), anew=not resume)
    task = set_up(data, config, progress)
    config = task.config
    if resume and (done := _done_before(task, folder)) is not None:
        return done
    course, best = _restored(task, folder)
    every, pace, ended, evaluation_s = task.evaluate_steps, _Pace(), "", 0.0
    loop_s = saved_s = time.monotonic()
    trained_s = course.elapsed_s - course.set_up_s  # in earlier runs
    course = replace(course, set_up_s=course.set_up_s + loop_s - began_s)
    limit_s = None if config.max_minutes is None else config.max_minutes * 60 - course.set_up_s
    limits = schedule.Limits(config.epochs, config.steps, limit_s)
    with held_back() as interrupted:
        while not ended:
            plan = task.batches.plan(course.epoch)
            for position in range(course.position, len(plan)):
                # the last evaluation belongs to the time, too
                seconds_s = trained_s + time.monotonic() - loop_s + evaluation_s
                epochs = course.epoch + position / len(plan)
                share = limits.share(epochs=epochs, steps=course.step, seconds_s=seconds_s)
                rate = schedule.rate(share, peak=config.peak, warmup=config.warmup, step=course.step)
                batch = task.batches.load(plan[position])
                with pace:
                    loss = learn(task, batch, rate, first=pace.steps == 0)
                pace.add(batch, loss)
                if loss is None:
                    course = _note_bad(task, folder, course, batch)
                else:
                    course = replace(
                        course, loss_sum=course.loss_sum + loss, loss_count=course.loss_count + 1
                    )
                course = replace(
                    course,
                    step=course.step + 1,
                    position=position + 1,
                    heard_s=course.heard_s + batch.audio_s,
                    elapsed_s=course.set_up_s + trained_s + time.monotonic() - loop_s,
                )
                seconds_s = trained_s + time.monotonic() - loop_s + evaluation_s
                epochs = course.epoch + course.position / len(plan)
                share = limits.share(epochs=epochs, steps=course.step, seconds_s=seconds_s)
                ended = "limit" if share >= 1 else ""
                if ended or course.step % every == 0:
                    measured_s = time.monotonic()
                    measured = task.dev.measure(task.backbone) if task.dev else None
                    evaluation_s = time.monotonic() - measured_s
                    course, best = _judge(task, course, measured, best)
                    course = _report(folder, course, measured, rate, pace)
                    ended = ended or ("patience" if course.worse >= config.patience else "")
                if progress:
                    progress("train", *_done(course, config, share), _note(course, share, pace))
                if ended:
                    break
                stop = interrupted()
                if stop or time.monotonic() - saved_s >= config.checkpoint_minutes * 60:
                    _save(task, folder, course, best)
                    saved_s = time.monotonic()
                if stop:
                    raise KeyboardInterrupt
            else:
                course = replace(course, epoch=course.epoch + 1, position=0)
    return _end(task, folder, course, best, ended)


def _claim(folder: Path, *, anew: bool) -> Path:
    """Make the folder, or make sure that it is one of ours."""
    ours = {passport.FILE, METRICS, resume.FOLDER}
    if folder.is_dir():
        held = {one.name for one in folder.iterdir()}
        if held and not held & ours:
            raise OptionError(f"{folder}: it holds other things and no adapter; name a new folder with --out")
    elif folder.exists():
        raise OptionError(f"{folder}: it is a file; name a folder with --out")
    if anew:
        resume.clear(folder)
        for name in (METRICS, BAD):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).touch()
    return folder


def _done_before(task: Task, folder: Path) -> TrainResult | None:
    """Return what an adapter in the folder reached, if the same training made it and has ended."""
    if not (folder / passport.FILE).exists() or (folder / resume.FOLDER).exists():
        return None
    found = passport.read(folder)
    try:
        passport.check_files(folder, found)
    except AdapterError:
        return None
    resume.refuse_others(folder, {**found.run, **about_options(found.options)}, task.about)
    reached = {name: one for name, one in found.metrics.items() if name in TrainResult.__dataclass_fields__}
    return replace(TrainResult(folder, 0, 0.0, None, 0, 0.0, ""), **{**reached, "ended": "done before"})


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
    state = {**task.take(), **{f"best.{name}": one for name, one in best.items()}}
    resume.save(folder, task.about, course, state)


def _note_bad(task: Task, folder: Path, course: Course, batch: Batch) -> Course:
    """Write down a batch that was passed over.

    Raises:
        TrainingError: If there were too many.
    """
    course = replace(course, bad_batches=course.bad_batches + 1)
    with (folder / BAD).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": course.step, "utterances": batch.ids}, ensure_ascii=False) + "\n")
    if course.bad_batches > task.config.max_bad_batches:
        raise TrainingError(
            f"{course.bad_batches} batches gave a loss or gradient that is not finite, the last with the "
            f"utterances {', '.join(batch.ids[:5])}; {folder / BAD} names them all. Lower the learning rate, "
            "or look at these utterances"
        )
    return course


def _judge(
    task: Task, course: Course, measured: Measured | None, best: dict[str, Tensor]
) -> tuple[Course, dict[str, Tensor]]:
    """Keep what is in the model if it is the best so far; at equal error rates, the lower loss is better.

    Before CTC has learnt to write, error rates are near 1 by chance, so that the loss alone tells.
    """
    course = replace(course, evaluated_step=course.step)
    if measured is None:
        return replace(course, best_step=course.step), checkpoint.collect(task.trained)
    if course.best_cer is not None and course.best_loss is not None:
        before = min(course.best_cer, _SPEECHLESS_CER), course.best_loss
        if (min(measured.cer, _SPEECHLESS_CER), measured.loss) >= before:
            return replace(course, worse=course.worse + 1), best
    course = replace(course, best_cer=measured.cer, best_loss=measured.loss, best_step=course.step, worse=0)
    return course, checkpoint.collect(task.trained)


def _report(folder: Path, course: Course, measured: Measured | None, rate: float, pace: "_Pace") -> Course:
    """Write one line about the steps since the last one."""
    line = {
        "step": course.step,
        "epoch": course.epoch,
        "loss": course.loss_sum / course.loss_count if course.loss_count else None,
        **({f"dev_{name}": one for name, one in asdict(measured).items()} if measured else {}),
        "learning_rate": rate,
        "heard_s": round(course.heard_s, 1),
        "audio_s_a_second": round(pace.rate, 2),
        "elapsed_s": round(course.elapsed_s, 1),
    }
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return replace(course, loss_sum=0.0, loss_count=0, reports=course.reports + 1)


def _end(task: Task, folder: Path, course: Course, best: dict[str, Tensor], ended: str) -> TrainResult:
    """Write the best adapter and remove the checkpoints."""
    selection = task.selection
    task.fill(best or task.trained)
    result = TrainResult(
        folder=folder,
        steps=course.step,
        seconds_s=round(course.elapsed_s, 1),
        best_dev_cer=course.best_cer,
        best_step=course.best_step,
        heard_s=round(course.heard_s, 1),
        ended=ended,
        left_out=(*selection.impossible, *selection.empty),
    )
    told = {name: one for name, one in asdict(result).items() if name not in ("folder", "left_out")}
    finish(task, folder, told)
    resume.clear(folder)
    return result


def _done(course: Course, config: TrainConfig, share: float) -> tuple[int, int]:
    """Return steps done and in all, where only these are limited; else percent."""
    if config.steps is not None and config.epochs is config.max_minutes is None:
        return course.step, config.steps
    return round(100 * share), 100


def _note(course: Course, share: float, pace: "_Pace") -> str:
    """Tell loss, dev error rate, speed and the time that is left."""
    left_s = (course.elapsed_s - course.set_up_s) * (1 - share) / share if share else 0.0
    loss = f"loss {pace.loss:.2f}, " if math.isfinite(pace.loss) else ""
    cer = "" if course.best_cer is None else f"dev CER {100 * course.best_cer:.1f} %, "
    left = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
    return f"{loss}{cer}{pace.rate:.0f} audio-s/s, {left} left"


class _Pace:
    """How fast speech goes through the steps of this run, evaluations not counted."""

    def __init__(self) -> None:
        self.steps, self.loss = 0, math.nan
        self._heard_s = self._seconds_s = self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds_s += time.monotonic() - self._began_s

    def add(self, batch: Batch, loss: float | None) -> None:
        """Note a step; the loss is a running mean."""
        self.steps += 1
        self._heard_s += batch.audio_s
        if loss is not None:
            self.loss = loss if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * loss

    @property
    def rate(self) -> float:
        """Seconds of speech a second."""
        return self._heard_s / max(self._seconds_s, 1e-9)
