"""Scores that stand in an adapter's passport, with all that is needed to measure them again.

In: a score and what made it, or a passport. Out: a passport with the score in it, or the scores that it
holds. It does not know how anything is measured.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from mms_adapt import passport, plugins
from mms_adapt._version import __version__
from mms_adapt.errors import AdapterError, AdapterMismatchError, OptionError
from mms_adapt.passport import Passport
from mms_adapt.scoring import Score
from mms_adapt.uncertainty import Interval

if TYPE_CHECKING:
    from mms_adapt.checkpoint import AdapterFolder


@dataclass(frozen=True, slots=True)
class NotedScore:
    """One score in a passport.

    Attributes:
        cer: Character error rate, a ratio.
        wer: Word error rate, a ratio.
        utterances: Utterances scored.
        words: Words in their references.
        characters: Characters in their references.
        split_sha256: Hash of the part that was scored.
        normaliser: Signature of the rule that cleaned references and hypotheses.
        decoder: Module of `mms_adapt.decoders` that wrote the text.
        decoder_options: What it was told; a file is told by its name and hash: `{"file": …, "sha256": …}`.
        device: "cpu" or "cuda".
        dtype: Type of the large frozen matrices, such as "float32".
        batch_seconds: Speech in a forward pass, on which rounding depends.
        mms_adapt: The version that measured.
        signature: The score's own signature.
        marks: What to keep in mind.
        cer_interval: 95 % interval of the character error rate, by utterance, its lower and upper end; empty
            where it was not drawn.
        wer_interval: The same of the word error rate.
    """

    cer: float
    wer: float
    utterances: int
    words: int
    characters: int
    split_sha256: str
    normaliser: str
    decoder: str
    decoder_options: Mapping[str, Any]
    device: str
    dtype: str
    batch_seconds: float
    mms_adapt: str
    signature: str
    marks: tuple[str, ...] = ()
    cer_interval: tuple[float, ...] = ()
    wer_interval: tuple[float, ...] = ()


def of(
    score: Score,
    *,
    split_sha256: str,
    normaliser: str,
    decoder: str,
    decoder_options: Mapping[str, Any],
    device: str,
    dtype: str,
    batch_seconds: float,
) -> NotedScore:
    """Return what a passport holds of a score."""
    return NotedScore(
        score.cer,
        score.wer,
        score.utterances,
        score.words,
        score.characters,
        split_sha256,
        normaliser,
        decoder,
        {name: _told(one) for name, one in sorted(decoder_options.items())},
        device,
        dtype,
        batch_seconds,
        __version__,
        score.signature,
        score.marks,
        _ends(score.cer_interval),
        _ends(score.wer_interval),
    )


def read(written: Passport) -> dict[str, NotedScore]:
    """Return the scores of a passport, by part of the data.

    Raises:
        AdapterError: If one is not what it should be.
    """
    return {part: _read(part, record) for part, record in written.scores.items()}


def check(adapter: "AdapterFolder", split: str, split_sha256: str, decoder: str, relation: str) -> None:
    """Make sure that a score may be noted, before it is measured.

    Args:
        adapter: The adapter that is to be measured, as it was read.
        split: The part of the data.
        split_sha256: Its hash.
        decoder: What writes the text.
        relation: What the backbone is to the adapter's own, as `AdapterFolder.relation` says.

    Raises:
        AdapterError: If the adapter has no passport.
        AdapterMismatchError: If the data is not that of its passport, or the backbone not its own.
        OptionError: If the decoder is none of the package's own.
    """
    if not adapter.passport.verified or adapter.path is None:
        raise AdapterError(f"{adapter.path}: it has no {passport.FILE} in which a score could be noted")
    if relation != "same":
        raise AdapterMismatchError(
            f"{adapter.path}: a score on a backbone that is not its own is not noted; write it "
            "elsewhere (--json)"
        )
    named = adapter.passport.split_sha256.get(split)
    if named is not None and named != split_sha256:
        raise AdapterMismatchError(
            f"{adapter.path}: its passport names the {split} set {named[:12]}, and this one is "
            f"{split_sha256[:12]}, so its score is not the adapter's own; write it elsewhere (--json)"
        )
    if decoder not in plugins.names("decoders"):
        raise OptionError(
            f"decoder {decoder!r}: a score of a decoder of your own is not noted, since nobody else could "
            "measure it again"
        )


def write(folder: Path, split: str, score: NotedScore, *, sha256: str) -> None:
    """Note a score in the passport of a folder, in place of the last one of the same part.

    Args:
        folder: The adapter folder.
        split: The part of the data.
        score: The score.
        sha256: Hash of the weights and tokens that were measured, as `AdapterFolder.sha256` says.

    Raises:
        AdapterError: If another adapter has taken its place meanwhile.
    """

    def noted(written: Passport) -> Passport:
        if written.sha256 != sha256:
            raise AdapterError(f"{folder}: it was replaced while it was measured; evaluate it again")
        return replace(written, scores={**written.scores, split: asdict(score)})

    passport.change(folder, noted)


def options_of(folder: Path, score: NotedScore, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the decoder of a noted score is to be told now, files as paths.

    Args:
        folder: The adapter folder, where its files are looked for.
        score: The score.
        given: Options that the caller gives, such as where a file is that is not in the folder.

    Raises:
        AdapterError: If a file is not there, or is another one.
    """
    found: dict[str, Any] = {}
    for name, value in score.decoder_options.items():
        if not (isinstance(value, Mapping) and value.keys() == {"file", "sha256"}):
            found[name] = value
            continue
        path = Path((given or {}).get(name) or passport.inside(folder, str(value["file"])))
        if not path.is_file():
            raise AdapterError(
                f"{path}: there is no such file, with which the score was made; give it with "
                f"--decoder-option {name}=FILE"
            )
        if (sha256 := passport.file_sha256(path)) != value["sha256"]:
            raise AdapterError(
                f"{path}: its hash is {sha256[:12]}, and the score was made with "
                f"{str(value['sha256'])[:12]}; give that file with "
                f"--decoder-option {name}=FILE, or evaluate anew with --note"
            )
        found[name] = str(path)
    return found


def _read(part: str, record: Any) -> NotedScore:
    if not isinstance(record, dict):
        raise AdapterError(
            f"{passport.FILE}: scores.{part} is {str(record)[:40]!r}; a JSON object is expected"
        )
    kinds = get_type_hints(NotedScore)
    values: dict[str, Any] = {}
    wrong = []
    for one in fields(NotedScore):
        expected = get_origin(kinds[one.name]) or kinds[one.name]
        value = record.get(one.name)
        value = tuple(value) if expected is tuple and isinstance(value, list) else value
        value = float(value) if expected is float and type(value) is int else value
        if not isinstance(value, expected) or isinstance(value, bool):
            wrong.append(f"{one.name} is {str(value)[:40]!r}")
        values[one.name] = value
    if wrong:
        raise AdapterError(
            f"{passport.FILE}: scores.{part}: {'; '.join(wrong)}; evaluate it again with --note"
        )
    found = NotedScore(**values)
    if found.decoder not in plugins.names("decoders"):
        raise AdapterError(f"{passport.FILE}: scores.{part}: there is no decoder {found.decoder[:40]!r}")
    return found


def _told(value: Any) -> Any:
    """Return an option of a decoder as JSON holds it; of a file, its name and hash, not where it lies.

    Raises:
        OptionError: If it is none of JSON's values.
    """
    if isinstance(value, str | PathLike) and Path(value).is_file():
        return {"file": Path(value).name, "sha256": passport.file_sha256(Path(value))}
    if isinstance(value, Mapping):
        return {str(name): _told(one) for name, one in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise OptionError(f"a decoder's option of the type {type(value).__name__} cannot be noted; give a file")


def _ends(interval: Interval | None) -> tuple[float, ...]:
    return () if interval is None else (interval.low, interval.high)
