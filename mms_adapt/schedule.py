"""How far a training is, and how fast it learns there.

In: limits, and what is done. Out: the share that is done, and the learning rate. It does not know models.

Where time is the limit, the share is one of time, so that the learning rate has come down when time is up,
however fast the machine is. Where there are several limits, the one that comes first decides.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When a training ends at the latest.

    Attributes:
        epochs: Passes over the data.
        steps: Steps.
        seconds_s: Time.
        least_epochs: Passes before which it does not end for want of time.
    """

    epochs: float | None = None
    steps: int | None = None
    seconds_s: float | None = None
    least_epochs: float = 0.0

    def share(self, *, epochs: float, steps: int, seconds_s: float) -> float:
        """Return the share of the training that is done, 0 to 1.

        Args:
            epochs: Passes that are done, the present one in part.
            steps: Steps that are done.
            seconds_s: Time that has gone by.
        """
        pairs = ((epochs, self.epochs), (steps, self.steps))
        shares = [done / limit if limit > 0 else 1.0 for done, limit in pairs if limit is not None]
        if self.seconds_s is not None:
            gone = seconds_s / self.seconds_s if self.seconds_s > 0 else 1.0
            shares.append(min(gone, epochs / self.least_epochs) if self.least_epochs else gone)
        return min(1.0, max(shares, default=0.0))


def rate(share: float, *, peak: float, warmup: float, step: int) -> float:
    """Return the learning rate: up in a straight line, then down to zero in another.

    Args:
        share: The share of the training that is done.
        peak: The highest rate.
        warmup: The share at which it is reached.
        step: Steps that are done; the first one already learns a little.
    """
    if share >= warmup:
        return peak * (1.0 - share) / (1.0 - warmup)
    return peak * max(share / warmup, min(1.0, (step + 1) / 1000))
