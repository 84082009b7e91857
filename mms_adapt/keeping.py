"""What a training leaves behind while it runs and when it ends: measures, the best adapter, its folder.

In: a task and its course. Out: files, and what the training reached. It does not know the loop.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from mms_adapt import checkpoint, passport, resume
from mms_adapt.devset import Measured
from mms_adapt.errors import AdapterError, OptionError, TrainingError
from mms_adapt.finishing import finish
from mms_adapt.pace import Pace
from mms_adapt.recipe import TrainConfig
from mms_adapt.resume import Course
from mms_adapt.task import Task, about_options
from mms_adapt.tensorboard import Board

_SPEECHLESS_CER = 0.9
_LEAST_IN_VAIN, _SHARE_IN_VAIN = 10, 0.499  # evaluations, and half of a training, before it stops
METRICS, BAD = "metrics.jsonl", "bad_batches.jsonl"


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


def claim(folder: Path, *, anew: bool, on: str | None = None) -> Path:
    """Make the folder, or make sure that it is one of ours, and not that of the adapter to be trained on.

    Raises:
        OptionError: If it is something else.
    """
    if on is not None and folder.resolve() == Path(on).resolve():
        raise OptionError(f"{folder}: it holds the adapter to be trained on; name another folder with --out")
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).touch()
    except OSError as error:
        raise OptionError(
            f"{folder}: it cannot be written ({error.strerror}); name another folder with --out"
        ) from error
    return folder


def done_before(task: Task, folder: Path) -> TrainResult | None:
    """Return what an adapter in the folder reached, if the same training made it and has ended."""
    if not (folder / passport.FILE).exists() or (folder / resume.FOLDER).exists():
        return None
    found = passport.read(folder)
    try:
        passport.check_files(folder, found)
    except AdapterError:
        return None
    # an option that is newer than the adapter had its default
    options = {**TrainConfig().saved(), **found.options}
    resume.refuse_others(folder, {**found.run, **about_options(options)}, task.about)
    reached = {name: one for name, one in found.metrics.items() if name in TrainResult.__dataclass_fields__}
    return replace(TrainResult(folder, 0, 0.0, None, 0, 0.0, ""), **{**reached, "ended": "done before"})


def note_bad(task: Task, folder: Path, course: Course, step: int, ids: tuple[str, ...]) -> Course:
    """Write down a batch that was passed over.

    Raises:
        TrainingError: If there were too many.
    """
    course = replace(course, bad_batches=course.bad_batches + 1)
    if task.team.leads:
        with (folder / BAD).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "utterances": ids}, ensure_ascii=False) + "\n")
    if course.bad_batches > task.config.max_bad_batches:
        raise TrainingError(
            f"{course.bad_batches} batches gave a loss or gradient that is not finite, the last with the "
            f"utterances {', '.join(ids[:5])}; {folder / BAD} names them all. Lower the learning rate, "
            "or look at these utterances"
        )
    return course


def judge(
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


def in_vain(task: Task, course: Course, share: float) -> bool:
    """Tell whether nothing has become better for so long that it is to stop.

    Args:
        task: The training.
        course: How far it is.
        share: The share of it that is done, 0 to 1.
    """
    if (patience := task.config.patience) is not None:
        return course.worse >= patience
    since = share * (course.step - course.best_step) / max(course.step, 1)
    return course.worse >= _LEAST_IN_VAIN and since >= _SHARE_IN_VAIN


def report(
    task: Task, board: Board, course: Course, measured: Measured | None, rate: float, pace: Pace
) -> Course:
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
    if task.team.leads:
        board.write(line)
    return replace(course, loss_sum=0.0, loss_count=0, reports=course.reports + 1)


def end(task: Task, folder: Path, course: Course, best: dict[str, Tensor], ended: str) -> TrainResult:
    """Write the best adapter and remove the checkpoints."""
    selection = task.selection
    task.team.wait()
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
    if task.team.leads:
        finish(task, folder, told)
        resume.clear(folder)
    task.team.leave()
    return result
