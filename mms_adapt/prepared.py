"""Prepared data: a folder of train, dev and test, opened, checked and replaced.

In: a folder that `prepare` wrote. Out: a `Prepared`, whose parts are read when they are asked for. It does
not know how the parts came to be, audio or models.
"""

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import files, language, ledger, manifest, marks, text, vocab
from mms_adapt.disjoint import draw
from mms_adapt.errors import CorpusError, MmsAdaptError, OptionError, PreparedError, SplitError
from mms_adapt.ledger import Ledger, pseudonym, shares
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.orthography import Orthography
from mms_adapt.splits import PARTS, part_sha256
from mms_adapt.vocab import Vocab

FORMAT = 1
RECORD, QUARANTINE, VOCAB, LEDGER = "prepared.json", "quarantine.jsonl", "vocab.json", "ledger.json"
FINDINGS = "findings.json"
_WRITTEN = {RECORD, QUARANTINE, VOCAB, LEDGER, FINDINGS, *(f"{name}.jsonl" for name in PARTS)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that `prepare` wrote.

    Attributes:
        folder: Where it is.
        root: The folder that its recordings are relative to.
        target_lang: The language.
        corpus: Name of the source.
        layout: Which reader read it, a module of `mms_adapt.corpora`.
        licence: What the source says of it; None where it says nothing.
        normaliser: Signature of the rule from transcript to reference.
        orthography: Graphemes of more than one character.
        marks: What to keep in mind; `mms_adapt.reports` explains each.
        split_sha256: Hash of each part.
        vocab: Tokens of the training references.
        withdrawn: Pseudonyms of speakers who were taken out.
        counts: What was found: rows skipped, characters unseen in training, utterances with digits and so on.
        options: What it was made with.
    """

    folder: Path
    root: Path
    target_lang: str
    corpus: str
    layout: str
    licence: str | None
    normaliser: str
    orthography: Orthography
    marks: tuple[str, ...]
    split_sha256: Mapping[str, str]
    withdrawn: tuple[str, ...]
    vocab: Vocab = field(repr=False)
    counts: Mapping[str, Any] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "Prepared":
        """Open a folder that `prepare` wrote.

        Raises:
            PreparedError: If it is missing or not whole, or its recordings are gone.
        """
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise PreparedError(f"{folder} is no folder that mms-adapt prepare wrote: it has no {RECORD}")
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if record["format"] != FORMAT:
                raise ValueError(f"it is of format {record['format']}, and this version reads {FORMAT}")
            written = (folder / VOCAB).read_text(encoding="utf-8")
            return cls(
                folder=folder,
                root=_root(folder, record),
                target_lang=language.parse(record["target_lang"]),
                corpus=str(record["corpus"]),
                layout=str(record["layout"]),
                licence=record["licence"],
                normaliser=text.get(record["normaliser"], target_lang=record["target_lang"]).signature,
                orthography=Orthography(tuple(record["orthography"])),
                marks=tuple(map(str, record["marks"])),
                split_sha256={name: str(record["split_sha256"][name]) for name in PARTS},
                withdrawn=tuple(map(str, record.get("withdrawn", ()))),
                vocab=Vocab.from_json(written, record["target_lang"]),
                counts=dict(record["counts"]),
                options=dict(record["options"]),
            )
        except PreparedError:
            raise
        except (MmsAdaptError, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise PreparedError(f"{folder} cannot be used ({what}); prepare it again") from error

    @classmethod
    def of(cls, prepared: "Prepared | str | PathLike[str]") -> "Prepared":
        """Return prepared data, opened where it is given by its folder.

        Raises:
            PreparedError: If it is missing or not whole, or its recordings are gone.
        """
        return prepared if isinstance(prepared, Prepared) else cls.load(prepared)

    def utterances(self, split: str) -> tuple[Utterance, ...]:
        """Return the utterances of a part, with references and real ends.

        Raises:
            OptionError: If there is no such part.
            PreparedError: If the part is not what `prepare` wrote.
        """
        if split not in PARTS:
            raise OptionError(f"split {split!r} is unknown (known: {', '.join(PARTS)})")
        path = self.folder / f"{split}.jsonl"
        try:
            found = tuple(manifest.read(path))
        except CorpusError as error:
            raise PreparedError(f"{error}; prepare the data again") from error
        if part_sha256(found) != self.split_sha256[split]:
            raise PreparedError(
                f"{path} was changed after it was written; change the source instead, and prepare it again"
            )
        return found

    def quarantined(self) -> Iterator[Quarantined]:
        """Return what was left out, one by one.

        Raises:
            PreparedError: If the list is missing or damaged.
        """
        try:
            yield from manifest.read_quarantine(self.folder / QUARANTINE)
        except CorpusError as error:
            raise PreparedError(f"{error}; prepare the data again") from error


def write(
    folder: Path,
    record: Mapping[str, Any],
    parts: Mapping[str, Sequence[Utterance]],
    quarantined: Iterable[Quarantined],
    rules: Ledger,
) -> None:
    """Write prepared data into an empty folder.

    What follows from the parts alone is added to the record: vocabulary, hashes, counts, unseen characters,
    licences, and the share of every speaker.

    Args:
        folder: The folder.
        record: What the data was made of and with, marks and counts.
        parts: Train, dev and test.
        quarantined: What was left out.
        rules: What the speakers agreed to.
    """
    tokens = vocab.build(
        (one.reference or "" for one in parts["train"]), Orthography(tuple(record["orthography"]))
    )
    unseen = {name: _unseen(parts[name], tokens) for name in ("dev", "test")}
    licences = {one.licence for part in parts.values() for one in part if one.licence}
    whole = {
        **record,
        "format": FORMAT,
        "licence": "; ".join(sorted(licences)) or None,
        "marks": [*record["marks"], *(["unseen_characters"] if any(unseen.values()) else [])],
        "split_sha256": {name: part_sha256(part) for name, part in parts.items()},
        "counts": {
            "utterances": {name: len(part) for name, part in parts.items()},
            "duration_s": {
                name: round(math.fsum(one.duration_s for one in part), 3) for name, part in parts.items()
            },
            "speakers": {name: len({one.speaker for one in part} - {None}) for name, part in parts.items()},
            **record["counts"],
            "unseen_characters": unseen,
        },
    }
    (folder / RECORD).write_text(_json(whole), encoding="utf-8")
    (folder / VOCAB).write_text(tokens.to_json(record["target_lang"]), encoding="utf-8")
    (folder / LEDGER).write_text(_json([one.record() for one in shares(parts, rules)]), encoding="utf-8")
    for name, part in parts.items():
        manifest.write(folder / f"{name}.jsonl", part)
    manifest.write_quarantine(folder / QUARANTINE, sorted(quarantined, key=lambda one: one.utterance.id))


def first_minutes(
    train: Sequence[Utterance], minutes: float | None, *, seed: int = 0
) -> tuple[Utterance, ...]:
    """Take the first minutes of training speech in a drawn order; more minutes only add to them.

    Args:
        train: The training utterances, in any order, which is kept.
        minutes: How many; all where not given.
        seed: Another number, another order.

    Raises:
        SplitError: If there is less, or not even one utterance is so short.
    """
    if minutes is None:
        return tuple(train)
    left_s, whole_s = minutes * 60, math.fsum(one.duration_s for one in train)
    if left_s > whole_s + 1e-6:
        raise SplitError(
            f"train_minutes={minutes:g}: there are only {whole_s / 60:.1f} minutes to train on; give less, "
            "or leave it out"
        )
    chosen = set()
    for one in sorted(train, key=lambda one: draw(seed, "train_minutes", one.id)):
        left_s -= one.duration_s
        if left_s < -1e-6:
            break
        chosen.add(one.id)
    if not chosen:
        raise SplitError(f"train_minutes={minutes:g} is shorter than one utterance; give more")
    return tuple(one for one in train if one.id in chosen)


def with_less_training(data: Prepared, minutes: float, folder: Path) -> Prepared:
    """Write the same data with only some minutes of its training speech into another folder; return it.

    Dev and test stay as they are; the vocabulary is that of what is left. A folder that holds just this is
    left alone.

    Raises:
        PreparedError: If the folder holds something else, or cannot be written.
        SplitError: If there is less training speech, or not even one utterance is so short.
    """
    seed = int(data.options.get("split", {}).get("seed", 0))
    train = first_minutes(data.utterances("train"), minutes, seed=seed)
    return with_training(data, train, folder, train_minutes=minutes)


def with_training(
    data: Prepared, train: Sequence[Utterance], folder: Path, *, train_minutes: float | None = None
) -> Prepared:
    """Write the same data with only some of its training utterances into another folder; return it.

    A folder that holds just this is left alone. `train_minutes` is what was asked for, for the record.

    Raises:
        PreparedError: If the folder holds something else, or cannot be written.
    """
    parts = {name: data.utterances(name) for name in PARTS} | {"train": tuple(train)}
    if (folder / RECORD).is_file():
        found = Prepared.load(folder)
        if dict(found.split_sha256) == {name: part_sha256(part) for name, part in parts.items()}:
            return found
    record = _record(data, parts)
    record["root"] = os.path.relpath(data.root, folder.resolve())
    record["options"] = {**data.options, "train_minutes": train_minutes}
    with new_folder(folder, data.root, overwrite=True) as unfinished:
        write(unfinished, record, parts, data.quarantined(), ledger.read(data.root))
    return Prepared.load(folder)


def _record(data: Prepared, parts: Mapping[str, Sequence[Utterance]]) -> dict[str, Any]:
    """Return the record of data without what `write` finds out of the parts."""
    record: dict[str, Any] = json.loads((data.folder / RECORD).read_text(encoding="utf-8"))
    made_anew = ("utterances", "duration_s", "speakers", "unseen_characters")
    record["counts"] = {name: one for name, one in data.counts.items() if name not in made_anew}
    record["marks"] = list(marks.of_parts(parts, leaked="source_split_leaked" in data.marks))
    return record


def without_speaker(data: Prepared, speaker: str) -> Prepared:
    """Replace prepared data by the same without a speaker, its cached features gone, and return it.

    Raises:
        PreparedError: If the data cannot be used, or the folder cannot be written.
    """
    parts = {name: [one for one in data.utterances(name) if one.speaker != speaker] for name in PARTS}
    left_out = [one for one in data.quarantined() if one.utterance.speaker != speaker]
    record = _record(data, parts)
    record["counts"]["left_out"] = dict(Counter(one.reason for one in left_out).most_common())
    record["withdrawn"] = sorted({*data.withdrawn, pseudonym(speaker)})
    with new_folder(data.folder, data.root, overwrite=True) as folder:
        write(folder, record, parts, left_out, ledger.read(data.root))
    return Prepared.load(data.folder)


def withdrawn_from(folder: Path) -> tuple[str, ...]:
    """Return the pseudonyms of those who were taken out of a folder that may or may not be there."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return tuple(map(str, record.get("withdrawn", ())))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise PreparedError(
            f"{folder / RECORD} cannot be read, so nobody knows who has withdrawn from this data: {error}; "
            "remove the folder, and write no for their consent into ledger.csv beside the recordings"
        ) from error


def _unseen(part: Iterable[Utterance], tokens: Vocab) -> dict[str, int]:
    """Count in how many references of a part each grapheme stands that the vocabulary does not hold."""
    return text.by_count(Counter(one for each in part for one in tokens.unknown(each.reference or "")))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@contextmanager
def new_folder(out: Path, source: Path, *, overwrite: bool) -> Iterator[Path]:
    """Offer an unfinished folder beside `out`, which takes its place where the block ends well."""
    if files.is_inside(source, out):
        raise PreparedError(f"{out} holds the recordings themselves; write to another folder")
    if out.exists():
        ours = out.is_dir() and ((out / RECORD).is_file() or not any(out.iterdir()))
        if not ours:
            raise PreparedError(f"{out} exists and is not prepared data; write to another folder")
        if not overwrite and any(out.iterdir()):
            raise PreparedError(f"{out} exists; replace it with overwrite (--overwrite), or write to another")
    try:
        with files.unfinished_folder(out, _WRITTEN, RECORD) as unfinished:
            yield unfinished
            if out.exists():
                replaced = out.with_name(f".{out.name}.{os.getpid()}.replaced")
                out.rename(replaced)
                unfinished.rename(out)
                shutil.rmtree(replaced)
            else:
                unfinished.rename(out)
    except OSError as error:
        raise PreparedError(f"{out} cannot be written: {error.strerror}") from error


def _root(folder: Path, record: Mapping[str, Any]) -> Path:
    """Return where the recordings are: at the same place beside the folder as before, or where they were."""
    places = [folder / str(record["root"]), Path(str(record["root_absolute"]))]
    for place in places:
        if place.is_dir():
            return place.resolve()
    shown = " or ".join(dict.fromkeys(str(Path(os.path.normpath(place))) for place in places))
    raise PreparedError(f"{folder}: its recordings are gone: there is no {shown}; prepare it again")
