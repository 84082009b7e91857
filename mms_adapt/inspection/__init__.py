"""A folder of recordings and transcripts looked over: what is in it, and what is worth a look.

In: a folder, the language, options. Out: an `Inspection`, and files where asked. Nothing is changed or left
out; every recording is decoded once. It does not know parts of a split or models.

    clips.py         sound and spectrograms of the worst examples, as data URIs
    spectrogram.py   samples to a PNG
    page.py          the page for a browser
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mms_adapt import corpora, files, findings, language, ledger, text
from mms_adapt.corpora import Gathered
from mms_adapt.findings import Finding, Thresholds
from mms_adapt.manifest import Quarantined, Utterance
from mms_adapt.measure import Measurement
from mms_adapt.orthography import Orthography
from mms_adapt.quality import Findings, QualityOptions
from mms_adapt.quality import inspect as check

Progress = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a corpus.

    Attributes:
        corpus: Name of the source.
        root: The folder that its recordings are relative to.
        target_lang: The language.
        layout: Which reader read it.
        utterances: Those that can be used, with references and real ends.
        quarantined: Those that cannot, each with its reason.
        measurements: Of all that were decoded.
        passed_over: Rows that are no utterances in this language: reason, detail and how many.
        notes: What the reader has to tell.
        findings: What is worth a look, the most severe first.
    """

    corpus: str
    root: Path
    target_lang: str
    layout: str
    utterances: tuple[Utterance, ...]
    quarantined: tuple[Quarantined, ...]
    measurements: tuple[Measurement, ...]
    passed_over: tuple[tuple[str, str, int], ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def speech_s(self) -> float:
        """Seconds of speech that can be used."""
        return sum(one.duration_s for one in self.utterances)

    def of(self, kind: str) -> Finding | None:
        """Return the finding of a kind; None where there is none."""
        return next((one for one in self.findings if one.kind == kind), None)

    def to_json(self) -> str:
        """Return everything but the measurements as JSON."""
        return findings.to_json(
            self.findings,
            corpus=self.corpus,
            target_lang=self.target_lang,
            layout=self.layout,
            utterances=len(self.utterances),
            speech_s=round(self.speech_s, 3),
            left_out=len(self.quarantined),
            passed_over=[
                {"reason": reason, "detail": detail, "count": count}
                for reason, detail, count in self.passed_over
            ],
            notes=list(self.notes),
        )


def inspect(
    source: str | PathLike[str],
    *,
    target_lang: str,
    corpus: str | None = None,
    corpus_options: Mapping[str, str] | None = None,
    normaliser: str = "basic",
    orthography: Orthography | None = None,
    quality: QualityOptions | None = None,
    thresholds: Thresholds | None = None,
    json: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Look a folder of recordings and transcripts over, and tell what is worth a look.

    Args:
        source: Folder of recordings and transcripts.
        target_lang: The language; rows in others are counted and passed over.
        corpus: Layout of the source, a module of `mms_adapt.corpora` or your own; found out where not given.
        corpus_options: What the layout may be told.
        normaliser: From transcript to reference: "basic" or "raw".
        orthography: Graphemes of more than one character.
        quality: What an utterance must be like to be used.
        thresholds: From where on something is found.
        json: Write the findings here, as JSON.
        report: Write a page for a browser here, with sound and pictures of the worst.
        progress: Called with (stage, done, total, note).

    Raises:
        CorpusError: If the source cannot be read.
        OptionError: If an option makes no sense.
    """
    rule = text.get(normaliser, target_lang=language.parse(target_lang))
    place = corpora.opened(Path(source), corpus, progress=progress)
    layout, reader = corpora.find(place, corpus)
    corpora.check_options(layout, reader, corpus_options or {})
    gathered = corpora.gather(reader, place, rule.target_lang, options=corpus_options, progress=progress)
    if progress:
        progress("read", len(gathered.utterances), len(gathered.utterances), f"layout {layout}")
    rows, refused = ledger.apply(gathered.utterances, ledger.read(gathered.root), ())
    quality = quality or QualityOptions()
    checked = check(
        rows, gathered.root, normaliser=rule, orthography=orthography, options=quality, progress=progress
    )
    found = _put_together(gathered, refused, checked, quality, thresholds)
    name = Path(source).resolve().name if Path(source).exists() else Path(source).as_posix()
    inspection = Inspection(corpus=name, target_lang=rule.target_lang, layout=layout, **found)
    if json is not None:
        files.write(Path(json), inspection.to_json())
    if report is not None:
        from mms_adapt.inspection import clips, page

        files.write(Path(report), page.render(inspection, clips.gather(inspection)))
    return inspection


def _put_together(
    gathered: Gathered,
    refused: Sequence[Quarantined],
    checked: Findings,
    quality: QualityOptions,
    thresholds: Thresholds | None,
) -> dict[str, Any]:
    """Return the fields of an `Inspection` that come from the data."""
    quarantined = (*refused, *checked.quarantined)
    return {
        "root": gathered.root,
        "utterances": checked.kept,
        "quarantined": quarantined,
        "measurements": checked.measurements,
        "passed_over": tuple(
            (one.reason, one.detail, count) for one, count in gathered.skipped.most_common()
        ),
        "notes": gathered.notes,
        "findings": (
            *findings.left_out(quarantined, quality.limits),
            *findings.detect(checked.kept, checked.measurements, thresholds),
        ),
    }
