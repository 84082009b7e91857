"""Corpus in, folder of train, dev and test out: read, check, divide, take the vocabulary.

In: a folder of recordings and transcripts, the language and options. Out: a `Prepared`, and on disk

    prepared.json      what it was made of and with, marks, counts, hashes of the parts
    train.jsonl  dev.jsonl  test.jsonl
    quarantine.jsonl   every utterance that was left out, with its reason
    ledger.json        by speaker: how much of her speech is used, under which licence and consent
    vocab.json         of the training references alone
    findings.json      what is worth a look in what is used; `mms_adapt.inspection` shows it

The folder appears whole or not at all. Recordings stay where they are. It does not know models.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from mms_adapt import archives, corpora, language, ledger, prepared, splits, text
from mms_adapt._version import __version__
from mms_adapt.errors import CorpusError, MmsAdaptError, OptionError, PreparedError
from mms_adapt.findings import detect, to_json
from mms_adapt.journal import Journal
from mms_adapt.ledger import Ledger
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.orthography import Orthography
from mms_adapt.prepared import Prepared, new_folder
from mms_adapt.quality import Findings, QualityOptions, inspect
from mms_adapt.splits import SplitOptions, Splits

Progress = Callable[..., None]


def prepare(
    source: str | PathLike[str],
    out: str | PathLike[str],
    *,
    target_lang: str,
    corpus: str | None = None,
    corpus_options: Mapping[str, str] | None = None,
    normaliser: str = "basic",
    split: SplitOptions | None = None,
    quality: QualityOptions | None = None,
    orthography: Orthography | None = None,
    train_minutes: float | None = None,
    licence: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Check recordings and transcripts and divide them into train, dev and test.

    Args:
        source: Recordings and transcripts: a folder, a table of them, an archive, which is extracted beside
            itself, or, with the layout "datasets", a name on the Hugging Face hub. See docs/corpora.md.
        out: Folder to write.
        target_lang: The language; rows in others are counted and passed over.
        corpus: Layout of the source, a module of `mms_adapt.corpora` or your own; found out where not given.
        corpus_options: What the layout may be told, such as {"tiers": "A_*"}.
        normaliser: From transcript to reference: "basic" or "raw".
        split: How utterances are divided.
        quality: What an utterance must be like.
        orthography: Graphemes of more than one character.
        train_minutes: Use only so much of the training speech. Less of it is always part of more.
        licence: What the whole source is under, in words; its own words and ledger.csv go before.
        overwrite: Replace an existing folder.
        progress: Called with (stage, done, total, note).

    Checking goes on where an interruption stopped it, if the recordings are still the same.

    Raises:
        CorpusError: If the source cannot be read, or nothing in it can be used.
        OptionError: If an option makes no sense.
        PreparedError: If `out` exists, or cannot be written.
        SplitError: If the utterances cannot be divided.
    """
    rule = text.get(normaliser, target_lang=language.parse(target_lang))
    recipe = _Recipe(Path(source), rule, orthography or Orthography(), split or SplitOptions(), quality or
                     QualityOptions(), train_minutes, licence, dict(corpus_options or {}))  # fmt: skip
    recipe = replace(recipe, opened=corpora.opened(recipe.source, corpus, progress=progress))
    layout, reader = corpora.find(recipe.opened, corpus)
    corpora.check_options(layout, reader, recipe.corpus)
    checked = Journal(Path(out).with_name(f".{Path(out).name}.checked.jsonl"))
    try:
        with new_folder(Path(out), recipe.source, overwrite=overwrite) as folder:
            recipe.write(folder, Path(out), layout, reader, checked, progress)
    except MmsAdaptError:
        checked.remove()
        raise
    finally:
        checked.close()  # it stays where the user or the machine stopped it
    checked.remove()
    return Prepared.load(out)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is prepared, and how."""

    source: Path
    rule: text.Normaliser
    orthography: Orthography
    split: SplitOptions
    quality: QualityOptions
    train_minutes: float | None
    licence: str | None
    corpus: Mapping[str, str]
    opened: Path = Path()

    def __post_init__(self) -> None:
        if self.train_minutes is not None and not self.train_minutes > 0:
            raise OptionError(f"train_minutes={self.train_minutes}: give more than 0")

    def write(
        self,
        folder: Path,
        out: Path,
        layout: str,
        reader: ModuleType,
        checked: Journal,
        progress: Progress | None,
    ) -> None:
        """Write everything into a folder that will become `out`."""
        gathered = corpora.gather(
            reader, self.opened, self.rule.target_lang, options=self.corpus, progress=progress
        )
        root = self._root(gathered.root.resolve(), out)
        rules, withdrawn = ledger.read(root), prepared.withdrawn_from(out)
        found = (replace(one, licence=one.licence or self.licence) for one in gathered.utterances)
        rows, refused = ledger.apply(found, rules, withdrawn)
        if not rows:
            first = refused[0]
            raise CorpusError(
                f"{self.source}: none of the {len(refused)} utterances may be used. For instance "
                f"{first.utterance.id}: {first.detail}; {first.what_to_do}"
            )
        if progress:
            progress("read", len(rows), len(rows), f"layout {layout}")
        findings = inspect(
            rows,
            root,
            normaliser=self.rule,
            orthography=self.orthography,
            options=self.quality,
            journal=checked,
            progress=progress,
        )
        if not findings.kept:
            raise CorpusError("\n".join([f"{self.source}: {findings.why_none()}", *gathered.notes]))
        worth_a_look = detect(findings.kept, findings.measurements)
        parts = splits.assign(findings.kept, self.split)
        train = prepared.first_minutes(parts.train, self.train_minutes, seed=self.split.seed)
        used = {"train": train, "dev": parts.dev, "test": parts.test}
        passed_over = [asdict(kind) | {"count": count} for kind, count in gathered.skipped.most_common()]
        record = {
            "target_lang": self.rule.target_lang,
            "corpus": self._name(),
            "layout": layout,
            "root": os.path.relpath(root, out.resolve()),
            "root_absolute": str(root),
            "normaliser": self.rule.signature,
            "orthography": list(self.orthography.graphemes),
            "marks": list(parts.marks),
            "withdrawn": list(withdrawn),
            "counts": _counts(used, findings, parts, refused, self.rule.signature)
            | {"skipped": passed_over, "notes": [*gathered.notes, *_unused(rules, gathered.utterances)]}
            | {"findings": {one.kind: one.count for one in worth_a_look}},
            "options": self._options(),
        }
        prepared.write(folder, record, used, [*refused, *findings.quarantined, *parts.left_out], rules)
        (folder / prepared.FINDINGS).write_text(to_json(worth_a_look), encoding="utf-8")

    def _options(self) -> dict[str, Any]:
        return {
            "corpus": dict(self.corpus),
            "split": asdict(self.split),
            "quality": asdict(self.quality),
            "train_minutes": self.train_minutes,
            "licence": self.licence,
            "mms_adapt": __version__,
        }

    def _root(self, root: Path, out: Path) -> Path:
        """Return the folder of the recordings, or say that it is the one to write, or lacks the ledger."""
        if root.is_relative_to(out.resolve()):
            raise PreparedError(f"{out} holds the recordings themselves; write to another folder")
        for place in (self.source, self.opened):
            folder = place.resolve() if place.is_dir() else place.resolve().parent
            if folder != root and (folder / ledger.FILE).is_file():
                raise CorpusError(
                    f"{folder / ledger.FILE} does not stand beside the recordings, which are in {root}; move "
                    "it there, where it is also found when somebody withdraws"
                )
        return root

    def _name(self) -> str:
        """Return what the source is called: the name of a folder, of a file without ending, or on the hub."""
        if not self.source.exists():
            return self.source.as_posix()
        name = self.source.resolve().name
        if self.source.is_dir():
            return name
        return archives.stem(name) if archives.is_archive(self.source) else Path(name).stem


def _unused(rules: Ledger, utterances: Sequence[Utterance]) -> list[str]:
    """Tell of lines of the ledger that are about nothing in the corpus, which may be slips of the pen."""
    return [
        f"{ledger.FILE}:{one.line}: no utterance is of {' in '.join(filter(None, names))}"
        for one in ledger.unused(rules, utterances)
        for names in [(one.speaker, one.recording)]
    ]


def _counts(
    used: Mapping[str, Sequence[Utterance]],
    findings: Findings,
    parts: Splits,
    refused: Sequence[Quarantined],
    normaliser: str,
) -> dict[str, Any]:
    """Gather what a person wants to know of the data."""
    removed: Counter[str] = Counter()
    bracketed = Counter(each for one in findings.kept for each in text.comments(one.transcript, normaliser))
    for one in findings.kept:
        marks = (each for each in one.transcript if unicodedata.category(each)[0] in "PS")
        removed.update(Counter(marks) - Counter(one.reference))
    return {
        "train_unused": len(parts.train) - len(used["train"]),
        "split_mode": parts.mode,
        "left_out": dict(
            Counter(one.reason for one in (*refused, *findings.quarantined, *parts.left_out)).most_common()
        ),
        "with_digits": len(findings.with_digits),
        "same_sound": len(findings.same_sound),
        "removed_characters": text.by_count(removed),
        "bracketed": text.by_count(bracketed),
    }
