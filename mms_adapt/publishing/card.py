"""A model card: README.md with front matter that model hubs read.

In: an adapter's passport and how it is published. Out: a text. Of speakers it tells their number alone.
Values from outside are quoted as JSON, which YAML reads, so that none of them can end the front matter or add
to it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mms_adapt import language, licences, noted
from mms_adapt.noted import NotedScore
from mms_adapt.passport import Passport
from mms_adapt.reports import explain, percent

STOCK, PEFT, NATIVE = "stock", "peft", "mms_adapt"
_MODEL = "Wav2Vec2ForCTC"  # stock transformers' class, named in examples and imported by nobody here
_LIBRARY = {STOCK: "transformers", PEFT: "peft", NATIVE: "mms_adapt"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PARTS = {"test": "test", "dev": "validation", "train": "train"}


@dataclass(frozen=True, slots=True)
class Publication:
    """What a card tells beside the passport.

    Attributes:
        format: "stock", "peft" or "mms_adapt": who opens the folder.
        licence: The licence under which it is published.
        place: What the examples call it: the repository's name, or FOLDER.
        numbers: How many numbers adapter and head have.
        tokens: How many tokens it writes.
        width: Channels inside the adapters where they are not the backbone's own; None otherwise.
        with_passport: Whether passport.json lies beside the card.
        language_model: Whether a language model of the transcripts lies there.
    """

    format: str
    licence: str
    place: str
    numbers: int
    tokens: int
    width: int | None
    with_passport: bool
    language_model: bool


def card(written: Passport, how: Publication) -> str:
    """Return the model card of an adapter."""
    scores = noted.read(written)
    front = "\n".join(_yaml(_front(written, how, scores)))
    sections = [
        _about(written, how),
        "## How to use it\n\n" + _use(written, how),
        "## What it heard\n\n" + _heard(written),
        "## How many errors\n\n" + _errors(scores),
        "## Licence\n\n" + _licence(written, how),
    ]
    return f"---\n{front}\n---\n\n" + "\n\n".join(sections) + "\n"


def _front(written: Passport, how: Publication, scores: Mapping[str, NotedScore]) -> dict[str, Any]:
    """Return the front matter."""
    name = how.place.rpartition("/")[2]
    title = name if name != "FOLDER" else f"mms-adapt-{written.target_lang}"
    known = licences.is_known(how.licence) and licences.identifier(how.licence) != "public-domain"
    licence = {"license": how.licence} if known else {"license": "other", "license_name": how.licence}
    base = {"base_model": written.backbone} if _HUB_NAME.fullmatch(written.backbone) else {}
    relation = {"base_model_relation": "adapter"} if base and how.format != STOCK else {}
    return {
        "language": [written.target_lang.partition("-")[0]],
        **licence,
        "library_name": _LIBRARY[how.format],
        "pipeline_tag": "automatic-speech-recognition",
        **base,
        **relation,
        "tags": ["automatic-speech-recognition", "mms", "wav2vec2", "adapter", "low-resource", "mms_adapt"],
        **({"model-index": [{"name": title, "results": _results(written, scores)}]} if scores else {}),
    }


def _results(written: Passport, scores: Mapping[str, NotedScore]) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": "automatic-speech-recognition"},
            "dataset": {
                "name": " ".join(written.corpus.split()) or "not named",
                "type": re.sub(r"[^a-z0-9]+", "-", written.corpus.casefold()).strip("-") or "unknown",
                "split": _PARTS.get(part, part),
                "revision": one.split_sha256[:12],
            },
            "metrics": [
                {"type": kind, "name": f"{kind.upper()} in percent", "value": round(100 * value, 2)}
                for kind, value in (("cer", one.cer), ("wer", one.wer))
            ],
        }
        for part, one in sorted(scores.items())
    ]


def _about(written: Passport, how: Publication) -> str:
    name = f"{language.name(written.target_lang)} ({written.target_lang})"
    base = written.backbone or "a backbone that nobody noted"
    told = (
        f"# Speech recognition for {name}\n\nAn adapter for {name} on {base}, made with mms_adapt: "
        f"{how.numbers:,} numbers of the kind {written.kind}, the head of {how.tokens} tokens among them."
    )
    if written.merge:
        parents = ", ".join(f"{weight:g} × {one}" for one, weight in written.parents.items())
        told += f" It was made of {parents} by the method {_line(str(written.merge.get('method', '')))}."
    if how.width is not None:
        told += (
            f" Its adapters are {how.width} channels wide, which is not the backbone's own width: "
            "`adapter_attn_dim` in config.json says so."
        )
    return told


def _use(written: Passport, how: Publication) -> str:
    code, place = written.target_lang, how.place
    command = f"    mms-adapt transcribe clip.wav --adapter {place} --backbone "
    ours = f"With mms_adapt:\n\n{command}"
    if how.format == STOCK:
        return (
            "In stock transformers:\n\n```python\nimport torch\n"
            f"from transformers import AutoProcessor, {_MODEL}\n\n"
            f'model = {_MODEL}.from_pretrained(\n    "{place}", target_lang="{code}", '
            "ignore_mismatched_sizes=True, dtype=torch.float32\n)\n"
            f'processor = AutoProcessor.from_pretrained("{place}", target_lang="{code}")\n```'
            + (f"\n\n{ours}{place}" if how.with_passport else "")
        )
    if how.format == PEFT:
        return (
            "It is a LoRA adapter in PEFT's files; `vocab.json` holds its tokens:\n\n```python\n"
            f"import torch\nfrom peft import PeftModel\nfrom transformers import {_MODEL}\n\n"
            f'base = {_MODEL}.from_pretrained(\n    "{written.backbone}", vocab_size={how.tokens}, '
            "ignore_mismatched_sizes=True, dtype=torch.float32\n)\n"
            f'model = PeftModel.from_pretrained(base, "{place}")\n```\n\n{ours}BACKBONE'
        )
    return (
        f"Stock transformers cannot open adapters of the kind {written.kind}; mms_adapt does:\n\n"
        f"{command}BACKBONE"
    )


def _heard(written: Passport) -> str:
    rows = []
    for part in ("train", "dev"):
        if part in written.utterances or part in written.minutes:
            speakers = len(written.speakers_of(part)) or "not known"
            count, minutes = written.utterances.get(part, "not known"), written.minutes.get(part)
            length = f"{minutes:.1f}" if isinstance(minutes, int | float) else "not known"
            rows.append(f"| {part} | {count} | {length} | {speakers} |")
    table = "\n".join(["| part | utterances | minutes | speakers |", "|---|---|---|---|", *rows])
    corpus = _line(written.corpus) or "not named"
    told = f"Corpus: {corpus}. Normaliser of the transcripts: {written.normaliser or 'not known'}."
    marks = "".join(f"\n- {mark}: {explain(mark)}" for mark in written.marks)
    return "\n\n".join([told, *([table] if rows else []), *([f"To keep in mind:\n{marks}"] if marks else [])])


def _errors(scores: Mapping[str, NotedScore]) -> str:
    if not scores:
        return "No score was noted in its passport."
    told = []
    for part, one in sorted(scores.items()):
        spans = [_span(ends) for ends in (one.cer_interval, one.wer_interval)]
        told.append(
            f"{part} set, {one.utterances} utterances, {one.words} words: {percent(one.cer)} of the "
            f"characters wrong{spans[0]}, {percent(one.wer)} of the words wrong{spans[1]}. "
            f"Signature:\n\n    {' '.join(one.signature.split())}"
        )
        told += [f"- {mark}: {explain(mark)}" for mark in one.marks]
    return "\n\n".join(told)


def _licence(written: Passport, how: Publication) -> str:
    told = (
        f"{how.licence}. The weights are derived from the backbone's (licence: "
        f"{_line(written.licence) or 'not noted'}) and learnt from recordings (licence: "
        f"{_line(written.data_licence) or 'not noted'})."
    )
    if how.language_model:
        told += " The `.arpa` files count letters or words of the training transcripts."
    return told


def _span(ends: tuple[float, ...]) -> str:
    return f" ({percent(ends[0])} to {percent(ends[1])} with 95 %)" if len(ends) == 2 else ""


def _line(text: str) -> str:
    """Return a text in one line, without what Markdown would obey."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _yaml(value: Mapping[str, Any] | list[Any], indent: int = 0) -> Iterator[str]:
    """Return lines of YAML for mappings and lists of plain values."""
    before = "  " * indent
    pairs = value.items() if isinstance(value, Mapping) else [("-", one) for one in value]
    for name, one in pairs:
        start = "-" if isinstance(value, list) else f"{name}:"
        if isinstance(one, Mapping | list) and one:
            yield f"{before}{start}"
            yield from _yaml(one, indent + 1)
        else:
            yield f"{before}{start} {json.dumps(one, ensure_ascii=False)}"
