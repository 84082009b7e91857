"""How fast a training goes, and how to say it.

In: steps and losses. Out: speech a second, and words for a display. It does not know models or data.
"""

import math
import time

from mms_adapt.recipe import TrainConfig
from mms_adapt.resume import Course


def done(course: Course, config: TrainConfig, share: float) -> tuple[int, int]:
    """Return steps done and in all, where only these are limited; else percent."""
    if config.steps is not None and config.epochs is config.max_minutes is None:
        return course.step, config.steps
    return round(100 * share), 100


def note(course: Course, share: float, pace: "Pace") -> str:
    """Tell loss, dev error rate, speed and the time that is left."""
    left_s = (course.elapsed_s - course.set_up_s) * (1 - share) / share if share else 0.0
    loss = f"loss {pace.loss:.2f}, " if math.isfinite(pace.loss) else ""
    cer = "" if course.best_cer is None else f"dev CER {100 * course.best_cer:.1f} %, "
    left = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
    return f"{loss}{cer}{pace.rate:.0f} audio-s/s, {left} left"


class Pace:
    """How fast speech goes through the steps of this run, evaluations not counted."""

    def __init__(self) -> None:
        self.steps, self.loss = 0, math.nan
        self._heard_s = self._seconds_s = self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds_s += time.monotonic() - self._began_s

    def add(self, audio_s: float) -> None:
        """Note a step and its speech."""
        self.steps += 1
        self._heard_s += audio_s

    def note(self, loss: float) -> None:
        """Note a loss, for a running mean."""
        self.loss = loss if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * loss

    @property
    def rate(self) -> float:
        """Seconds of speech a second."""
        return self._heard_s / max(self._seconds_s, 1e-9)
