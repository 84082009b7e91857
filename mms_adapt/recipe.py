"""The options of a training, each with its bounds.

In: what a user asks for. Out: a `TrainConfig`, or one error that names every option that makes no sense. It
does not know how anything is done.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mms_adapt import language, plugins
from mms_adapt.errors import LanguageError, OptionError

# name: (type, least, most, whether it may be None)
_BOUNDS: dict[str, tuple[type, float, float, bool]] = {
    "epochs": (int, 1, 100_000, True),
    "steps": (int, 1, 100_000_000, True),
    "max_minutes": (float, 0.001, 1_000_000, True),
    "min_epochs": (int, 0, 100_000, False),
    "batch_seconds": (float, 1, 10_000, False),
    "learning_rate": (float, 1e-9, 1, True),
    "warmup": (float, 0, 0.9, False),
    "weight_decay": (float, 0, 1, False),
    "max_gradient_norm": (float, 1e-6, 1e6, False),
    "dropout": (float, 0, 0.9, True),
    "mask_time_share": (float, 0, 0.9, True),
    "mask_time_length": (int, 1, 1000, False),
    "mask_channel_share": (float, 0, 0.9, True),
    "mask_channel_length": (int, 1, 10_000, False),
    "patience": (int, 1, 100_000, True),
    "evaluate_steps": (int, 1, 100_000_000, True),
    "dev_minutes": (float, 0.01, 100_000, False),
    "checkpoint_minutes": (float, 0, 100_000, False),
    "max_bad_batches": (int, 0, 1_000_000, False),
    "seed": (int, 0, 2**31 - 1, False),
    "device_seconds": (float, 0.1, 100_000, True),
    "max_memory_gib": (float, 0.1, 10_000, True),
}


@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained. Where there are several limits, the one that comes first ends it."""

    backbone: str = "embedded"
    """"embedded", a folder, or a name on the hub such as facebook/mms-1b-all."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "cuda:1"."""
    epochs: int | None = None
    """At most so many passes over the data; None for as many as suit its amount: 30 at ten minutes, 12 at an
    hour, 7 at three and a half; or for no limit of this kind where steps are given."""
    steps: int | None = None
    """At most so many steps."""
    max_minutes: float | None = None
    """Learn for at most so long, once everything is set up and read; the learning rate comes down by then."""
    min_epochs: int = 0
    """So many passes over the data before `max_minutes` may end it: on a slow or busy machine it takes longer
    then, and has learnt something."""
    batch_seconds: float = 16.0
    """Speech in one batch, padding included. Small batches learn most from little speech."""
    learning_rate: float | None = None
    """Its peak; None for what suits the kind, mostly 0.004, or 0.0002 where the whole backbone is trained."""
    warmup: float = 0.1
    """Share of the training in which the learning rate rises."""
    weight_decay: float = 0.0
    """Pull of AdamW towards zero."""
    max_gradient_norm: float = 1.0
    """A longer gradient is shortened to this."""
    adapter: str = "attention"
    """The kind: a module of `mms_adapt.adapters`, or a dotted name of your own."""
    adapter_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of that module's `Config`."""
    adapter_layers: int | str = "all"
    """"all", or how many of the topmost layers get an adapter."""
    start: str = "zero"
    """Where the adapter starts: "zero", so that it is the identity; "random"; "backbone", the adapter that
    the checkpoint holds; "language:CODE", one that is among `relatives` or comes with the backbone; or
    "auto", the one of `relatives` that hears some minutes of the training speech best."""
    relatives: str | None = None
    """Registry of the adapters from which it may start; needed for "auto"."""
    head_start: str = "shared"
    """Where the head starts: "shared", with the rows of characters that the start's own vocabulary has, or
    "fresh"."""
    on: str | None = None
    """Folder of an adapter that stays as it is; a second one is trained that hears what the first one makes
    of the speech, and writes with its tokens. `adapter` and what follows from it are the second one's."""
    on_head: str = "frozen"
    """With `on`, what becomes of the head: "frozen", as it is, or "continued", trained along."""
    allow_sibling: bool = False
    """Go on where the adapter of `on` or `start` is of an earlier or later state of the backbone."""
    dropout: float | None = None
    """Share of the hidden states dropped before the head; None for two thirds of the usual
    `mask_time_share`."""
    mask_time_share: float | None = None
    """Share of the frames that SpecAugment hides, overlaps counted twice; None for 0.01 a pass over the data,
    from 0.05 to 0.3: what is seen often must look different every time. With `from_hidden`, None for 0:
    in the middle of frozen layers masks were of no use."""
    mask_time_length: int = 10
    """Frames of one such mask."""
    mask_channel_share: float | None = None
    """Share of the encoder's channels that SpecAugment hides; None for two thirds of `mask_time_share`, with
    `from_hidden` for 0."""
    mask_channel_length: int = 16
    """Channels of one such mask."""
    speed_factors: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Factors by which speech is made faster, one of them by chance for every utterance and epoch."""
    evaluate_steps: int | None = None
    """Steps between evaluations on the dev set; None for about an epoch, in bounds that keep it cheap."""
    dev_minutes: float = 10.0
    """At most so much of the dev set is used, evenly taken."""
    patience: int | None = None
    """Evaluations without improvement before it stops; None for ten that are at least half of the
    training: while the learning rate is high, error rates go up and down for long, and most is learnt when it
    comes down."""
    seed: int = 0
    """Start of all random numbers."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints; 0 for one after every step."""
    max_bad_batches: int = 5
    """So many batches with a loss or gradient that is not finite are passed over before it stops."""
    from_hidden: bool = False
    """Begin from cached hidden states below the lowest layer with an adapter; SpecAugment, where it is asked
    for, hides these."""
    device_seconds: float | None = None
    """Speech that goes through the device at a time, padding included; None for as much as there is room for.
    Gradients of a batch add up, so that only rounding depends on it."""
    max_memory_gib: float | None = None
    """Memory of the card that may be used; None for all that is free."""
    checkpointing: bool = False
    """Keep only the layers' inputs for the backward pass and compute the rest again."""
    lean: bool = False
    """For small cards: as checkpointing, one utterance at a time where need be, features not on the card."""
    compile: bool = False
    """Compile the layers: half a minute at the start, faster steps on a GPU."""
    record: bool = True
    """On a card, record the layers for small batches as CUDA graphs, so that it need not wait for Python: a
    little more memory, and half a second for each new shape of batches."""
    quantise: str = "none"
    """"none", or "fp8": frozen matrices are multiplied in 8-bit floats, forwards and backwards, on cards that
    have them: quicker, and hidden states and gradients a little less exact."""
    cache_on: str = "auto"
    """Where features are kept while training: "device", "host", "disk", or "auto" for where there is room."""
    tensorboard: bool = False
    """Write what metrics.jsonl holds for TensorBoard, too; its package must be there."""
    cache: str | None = None
    """Folder for features; `.cache` in the prepared folder where not given."""
    full_finetune: bool = False
    """Train the whole backbone but its convolutions, as a yardstick; the result is a backbone of its own."""

    def __post_init__(self) -> None:
        speeds: Any = self.speed_factors
        if isinstance(speeds, list):
            object.__setattr__(self, "speed_factors", tuple(speeds))
        wrong = [one for name, bounds in _BOUNDS.items() if (one := self._outside(name, *bounds))]
        if self.adapter_layers != "all" and not _is(self.adapter_layers, int, 1, 10_000):
            wrong.append(f"adapter_layers={self.adapter_layers!r}: give all, or a number of layers")
        if self.head_start not in ("shared", "fresh"):
            wrong.append(f"head_start={self.head_start!r}: give shared or fresh")
        if self.cache_on not in ("auto", "device", "host", "disk"):
            wrong.append(f"cache_on={self.cache_on!r}: give auto, device, host or disk")
        if self.quantise not in ("none", "fp8"):
            wrong.append(f"quantise={self.quantise!r}: give none or fp8")
        if self.quantise != "none" and (self.full_finetune or self.compile):
            wrong.append(
                f"quantise={self.quantise!r}: it is for frozen layers that are not compiled; leave out "
                f"{'full_finetune' if self.full_finetune else 'compile'}"
            )
        if self.from_hidden and self.full_finetune:
            wrong.append(
                "from_hidden=True: the whole backbone is trained from features; leave out one of them"
            )
        wrong += [*self._wrong_start(), *self._wrong_speeds(), *self._wrong_kind(), *self._wrong_on()]
        if wrong:
            raise OptionError("; ".join(wrong))

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        if self.learning_rate:
            return self.learning_rate
        own: float = getattr(plugins.load("adapters", self.adapter), "LEARNING_RATE", 4e-3)
        return 2e-4 if self.full_finetune else own

    def suited(self, speech_s: float) -> "TrainConfig":
        """Return the options with those that were left open chosen.

        Fewer passes over more speech: each brings more and takes longer. More masks and dropout where there
        are more passes.

        Args:
            speech_s: Training speech.
        """
        epochs, passes = self.epochs, float(self.epochs or 0)
        if epochs is None and self.steps is None:
            epochs = round(min(40.0, max(5.0, 30 * (600 / max(speech_s, 1.0)) ** 0.5)))
            passes = float(epochs)
        elif epochs is None and self.steps is not None:
            passes = self.steps * self.batch_seconds / max(speech_s, 1.0)
        hidden = _given(self.mask_time_share, round(min(0.3, max(0.05, 0.01 * passes)), 3))
        less = round(2 / 3 * hidden, 3)
        return replace(
            self,
            epochs=epochs,
            learning_rate=self.peak,
            mask_time_share=_given(self.mask_time_share, 0.0 if self.from_hidden else hidden),
            mask_channel_share=_given(self.mask_channel_share, 0.0 if self.from_hidden else less),
            dropout=_given(self.dropout, less),
        )

    def saved(self) -> dict[str, Any]:
        """Return every option as JSON holds it, the learning rate as it is used."""
        options = {**asdict(self), "learning_rate": self.peak}
        return {**options, "speed_factors": list(self.speed_factors)}

    def _outside(self, name: str, kind: type, least: float, most: float, optional: bool) -> str:
        value = getattr(self, name)
        if (value is None and optional) or _is(value, kind, least, most):
            return ""
        what = "a whole number" if kind is int else "a number"
        return f"{name}={value!r}: give {what} from {least:g} to {most:g}"

    def _wrong_start(self) -> list[str]:
        kind, colon, code = str(self.start).partition(":")
        if kind == "language" and colon:
            try:
                language.parse(code)
            except LanguageError as error:
                return [f"start={self.start!r}: {error}"]
            return []
        if self.start == "auto" and self.relatives is None:
            return ["start='auto': name the folder of adapters to start from, with relatives"]
        fine = self.start in ("zero", "random", "backbone", "auto")
        return [] if fine else [f"start={self.start!r}: give zero, random, auto, backbone or language:CODE"]

    def _wrong_on(self) -> list[str]:
        wrong = []
        if self.on_head not in ("frozen", "continued"):
            wrong.append(f"on_head={self.on_head!r}: give frozen or continued")
        if self.on is None:
            return wrong
        if self.start not in ("zero", "random"):
            wrong.append(
                f"start={self.start!r}: with on={self.on!r}, the second adapter starts with zero or random"
            )
        if self.full_finetune:
            wrong.append(f"full_finetune=True: leave out on={self.on!r}, or train an adapter")
        if self.from_hidden:
            wrong.append(
                f"from_hidden=True: below the second adapter the first one, on={self.on!r}, is at work, too"
            )
        if self.adapter == "stacked" or "." in self.adapter:
            wrong.append(f"adapter={self.adapter!r}: with on={self.on!r}, give a plain kind of the package")
        return wrong

    def _wrong_speeds(self) -> list[str]:
        speeds: Any = self.speed_factors
        fine = isinstance(speeds, tuple) and speeds and all(_is(one, float, 0.5, 2) for one in speeds)
        return (
            [] if fine else [f"speed_factors={speeds!r}: give factors from 0.5 to 2, such as (0.9, 1.0, 1.1)"]
        )

    def _wrong_kind(self) -> list[str]:
        if self.adapter not in plugins.names("adapters") and "." not in self.adapter:
            try:
                plugins.load("adapters", self.adapter)
            except OptionError as error:
                return [str(error)]
        if self.full_finetune and self.adapter != "attention":
            return ["full_finetune=True: the whole backbone is trained with adapters of the kind attention"]
        return []


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _is(value: object, kind: type, least: float, most: float) -> bool:
    """Tell whether a value is a number of this kind within bounds."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    return least <= value <= most
