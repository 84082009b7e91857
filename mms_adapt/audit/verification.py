"""Whether an adapter is what it says: its files, numbers and backbone, and the score that it reports.

In: an adapter folder, and prepared data where its score is to be measured again. Out: one `Check` for each
thing that can be wrong, and the reported score beside the one that was found. It changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import backbone as backbone_module
from mms_adapt import contents, noted, passport
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.device import choose_device
from mms_adapt.errors import AdapterError, AdapterMismatchError, MmsAdaptError, OptionError
from mms_adapt.evaluate import EvaluateOptions, evaluate
from mms_adapt.passport import Passport
from mms_adapt.prepared import Prepared
from mms_adapt.recipe import TrainConfig
from mms_adapt.trial import Trial

OK, WRONG, NOT_CHECKED = "ok", "wrong", "not checked"
SAME_DEVICE, OTHER_DEVICE = 1e-4, 5e-3  # how far rates may lie apart, as ratios
_ARITHMETIC = "the same kind of device and numbers"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: "ok", "wrong" or "not checked".
        detail: What was found, in words.
    """

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A reported score, and what was found by measuring again.

    Attributes:
        split: The part of the data.
        split_sha256: Its hash, the same in passport and data.
        source: Where the reported one stands: "evaluate --note", or "training".
        reported_cer: Character error rate of the passport, a ratio.
        found_cer: The one that was found now.
        reported_wer: Word error rate of the passport; None where it tells none.
        found_wer: The one that was found now.
        tolerance: How far apart each may lie.
        compared: What is compared, on what, in words.
        signature: The reported score's; "" where it has none.
    """

    split: str
    split_sha256: str
    source: str
    reported_cer: float
    found_cer: float
    reported_wer: float | None
    found_wer: float
    tolerance: float
    compared: str
    signature: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both rates are the reported ones."""
        pairs = [(self.reported_cer, self.found_cer), (self.reported_wer, self.found_wer)]
        return all(one is None or abs(one - other) <= self.tolerance + 1e-12 for one, other in pairs)


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking an adapter gave.

    Attributes:
        folder: The adapter's folder.
        version: Its language and hash; "" where its passport cannot be read.
        checks: What was looked at, in order.
        score: The score that was measured again; None where no data was given.
    """

    folder: Path
    version: str
    checks: tuple[Check, ...]
    score: Reproduction | None = None

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return all(one.state != WRONG for one in self.checks) and (self.score is None or self.score.agrees)


def verify(
    adapter: str | PathLike[str],
    prepared: Prepared | str | PathLike[str] | None = None,
    *,
    split: str | None = None,
    backbone: str | None = None,
    device: str = "auto",
    decoder_options: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    progress: Callable[..., None] | None = None,
) -> Verification:
    """Check an adapter folder, and measure its reported score again where data is given.

    Args:
        adapter: The adapter's folder.
        prepared: The data that its passport names.
        split: The part whose score is measured; where not given, "test" if the passport tells that score, or
            else "dev".
        backbone: The backbone, where it is not where the passport says. Without it and without data, nothing
            is fetched: a backbone that is not on this machine is not checked.
        device: "auto", "cpu", "cuda" or "cuda:1"; with "auto", the kind on which the score was made, where
            this machine has it.
        decoder_options: Where the decoder's files are, if not in the folder.
        tolerance: How far rates may lie apart, as a ratio; where not given, 0.0001 on the kind of device that
            the score was made on, and 0.005 on another.
        progress: As in `evaluate`.

    Raises:
        AdapterError: If there is no such folder, or its passport tells no score to measure.
        AdapterMismatchError: If the data is not what the passport names.
        OptionError: If the tolerance makes no sense.
    """
    folder = Path(adapter)
    if tolerance is not None and not 0 <= tolerance <= 1:
        raise OptionError(f"tolerance={tolerance}: give a ratio, 0 to 1, such as 0.001")
    if not folder.is_dir():
        AdapterFolder.load(folder)  # says so
    found, checks = _files(folder)
    if found is None:
        written = _readable(folder)
        return Verification(folder, written.version if written else "", tuple(checks))
    checks.append(_backbone(found, backbone, fetch=prepared is not None))
    checks.append(_scores(found.passport))
    score = None
    if prepared is not None and all(one.state != WRONG for one in checks):
        data = Prepared.of(prepared)
        rest = (device, tolerance, progress)
        score = _reproduced(found, data, split, backbone, decoder_options, *rest)
    return Verification(folder, found.version, tuple(checks), score)


def _readable(folder: Path) -> Passport | None:
    try:
        return passport.read(folder)
    except AdapterError:
        return None


def _files(folder: Path) -> tuple[AdapterFolder | None, list[Check]]:
    """Check passport, hashes and numbers; the adapter is None where something is wrong."""
    checks = []
    known = (folder / passport.FILE).exists()
    if known:
        try:
            written = passport.read(folder)
        except AdapterError as error:
            return None, [Check("passport", WRONG, str(error))]
        checks.append(Check("passport", OK, f"format {written.format}, {len(written.files)} files named"))
        checks += [_hash(folder, name, written) for name in sorted(written.files)]
    else:
        checks.append(Check("passport", NOT_CHECKED, f"there is no {passport.FILE}, so no hash is known"))
    if any(one.state == WRONG for one in checks):
        return None, [*checks, Check("numbers", NOT_CHECKED, "the files are not the ones that were written")]
    try:
        found = AdapterFolder.load(folder)
    except AdapterError as error:
        return None, [*checks, Check("numbers", WRONG, str(error))]
    count = sum(one.numel() for one in found.tensors.values())
    told = f"{len(found.tensors)} tensors, {count:,} numbers, all finite; a row of the head for each of "
    told += f"{len(found.vocab)} tokens"
    return found, [*checks, Check("numbers", OK, told)]


def _hash(folder: Path, name: str, written: Passport) -> Check:
    """Check one file that a passport names."""
    what, expected = f"file {name}", written.files[name]
    try:
        found = contents.file_hash(passport.inside(folder, name), expected)
    except FileNotFoundError:
        return Check(what, WRONG, "it is missing; copy the folder again")
    except (AdapterError, OSError) as error:
        return Check(what, WRONG, str(error))
    if found != expected:
        told = f"its hash is {contents.short(found)}, and the passport means {contents.short(expected)}"
        told += ": damaged or replaced"
        return Check(what, WRONG, told)
    return Check(what, OK, contents.short(found))


def _backbone(found: AdapterFolder, name: str | None, *, fetch: bool) -> Check:
    """Check fingerprint and shapes against the backbone, if that is at hand."""
    try:
        wanted = name or found.backbone_name
    except AdapterError:
        return Check("backbone", NOT_CHECKED, "nobody noted it; name it with --backbone")
    if not (name or fetch or wanted == "embedded" or Path(wanted).is_dir()):
        told = f"{wanted} is not on this machine; name where it is with --backbone"
        return Check("backbone", NOT_CHECKED, told)
    try:
        base = backbone_module.load(wanted, device="cpu")
        found.attach(base)
    except MmsAdaptError as error:
        return Check("backbone", WRONG, str(error))
    if not found.passport.verified:
        return Check("backbone", NOT_CHECKED, f"shapes fit {base.name}, but nobody noted the fingerprint")
    return Check(
        "backbone", OK, f"{base.name} has the fingerprint {base.fingerprint[:12]}, and all shapes fit"
    )


def _scores(written: Passport) -> Check:
    """Check that what stands in the passport as scores is some."""
    try:
        found = noted.read(written)
    except AdapterError as error:
        return Check("scores", WRONG, str(error))
    told = ", ".join(f"{part} CER {100 * one.cer:.2f} %" for part, one in sorted(found.items()))
    return Check("scores", OK, told) if told else Check("scores", NOT_CHECKED, "none is noted")


def _reproduced(
    found: AdapterFolder,
    data: Prepared,
    split: str | None,
    backbone: str | None,
    decoder_options: Mapping[str, Any] | None,
    device: str,
    tolerance: float | None,
    progress: Callable[..., None] | None,
) -> Reproduction:
    """Measure a reported score again."""
    scores = noted.read(found.passport)
    part = split or ("test" if "test" in scores else "dev")
    if data.target_lang != found.passport.target_lang:
        raise AdapterMismatchError(
            f"{found.path} writes {found.passport.target_lang!r}, and {data.folder} holds "
            f"{data.target_lang!r}"
        )
    if part not in scores:
        return _of_training(found, data, part, backbone, device, tolerance)
    score = scores[part]
    _same_part(found, data, part, score.split_sha256)
    where = _device(device, score.device)
    options = noted.options_of(found.path or Path(), score, decoder_options)
    made = evaluate(
        found.path or Path(),
        data,
        split=part,
        decoder=score.decoder,
        decoder_options=options,
        device=where,
        backbone=backbone,
        batch_seconds=score.batch_seconds,
        options=EvaluateOptions(bootstrap=0),
        progress=progress,
    )
    now = _numbers(where)
    same = (score.device, score.dtype) == now
    most, compared = _tolerance(same, tolerance, f"{score.device} {score.dtype}", " ".join(now))
    rates = (score.cer, made.cer, score.wer, made.wer, most)
    return Reproduction(part, score.split_sha256, "evaluate --note", *rates, compared, score.signature)


def _of_training(
    found: AdapterFolder,
    data: Prepared,
    part: str,
    backbone: str | None,
    device: str,
    tolerance: float | None,
) -> Reproduction:
    """Measure the dev score of a training again, as training measures it."""
    written = found.passport
    reported, named = written.metrics.get("best_dev_cer"), written.split_sha256.get("dev")
    if part != "dev" or not isinstance(reported, int | float) or named is None:
        raise AdapterError(
            f"{found.path}: its passport tells no score of the {part} set; note one with mms-adapt evaluate "
            f"{found.path} {data.folder} --split {part} --note"
        )
    _same_part(found, data, part, named)
    options = {**TrainConfig().saved(), **written.options}
    try:
        seconds = 2 * float(options.get("device_seconds") or options["batch_seconds"])
        minutes = float(options["dev_minutes"])
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{found.path}: options of its training are none: {error}") from error
    where = _device(device, str(written.run.get("computes on", "")))
    base = backbone_module.load(backbone or found.backbone_name, device=where)
    trial = Trial(data, base, minutes=minutes, batch_seconds=seconds)
    rates = trial.measure(found)
    before = str(written.run.get("computes on", "unknown"))
    same = before == base.device.type and not options.get("from_hidden")
    most, compared = _tolerance(same, tolerance, before, base.device.type)
    shown = (float(reported), rates.cer, None, rates.wer, most)
    return Reproduction(part, named, "training", *shown, compared)


def _same_part(found: AdapterFolder, data: Prepared, part: str, named: str) -> None:
    """Make sure that the data's part is the one of the score."""
    there = data.split_sha256.get(part)
    if there != named:
        raise AdapterMismatchError(
            f"{found.path}: its score is of the {part} set {named[:12]}, and the {part} set of {data.folder} "
            f"is {str(there)[:12]}: give the data that it was made with, or evaluate it anew"
        )


def _device(asked: str, noted_kind: str) -> str:
    """Return the device to measure on: where nobody asks, the kind that the score was made on."""
    if asked == "auto" and noted_kind == "cpu":
        return "cpu"
    return asked


def _numbers(device: str) -> tuple[str, str]:
    """Return the kind of a device and the type of numbers that a backbone has there."""
    import torch

    kind = choose_device(device).type
    half = kind == "cuda" and torch.cuda.is_bf16_supported()
    return kind, "bfloat16" if half else "float32"


def _tolerance(same: bool, asked: float | None, before: str, now: str) -> tuple[float, str]:
    """Return how far rates may lie apart, and what is compared in words."""
    most = asked if asked is not None else SAME_DEVICE if same else OTHER_DEVICE
    how = _ARITHMETIC if same else "another kind of device or numbers"
    return most, f"error rates, reported on {before} and found on {now} ({how}), to within {most:g}"
