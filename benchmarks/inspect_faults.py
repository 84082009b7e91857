"""Plant known faults into real speech, see which of them inspect finds, and write docs/inspect.md.

    python benchmarks/inspect_faults.py plant --corpora ../shared/corpora
    python benchmarks/inspect_faults.py sets --corpora ../shared/corpora
    python benchmarks/inspect_faults.py render

`plant` draws a thousand utterances of each of three corpora, looks at them as they are, and then with fifty
faults of one kind, one kind after the other. `sets` inspects every corpus of a folder as it is. Both keep
what they found in benchmarks/inspect_faults.jsonl and take minutes.

In: corpora in the layout of `utterances.jsonl`. Out: one line for a kind in a corpus, and the page. It does
not know how anything is found.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / "benchmarks" / "inspect_faults.jsonl", ROOT / "docs" / "inspect.md"
BASES = {
    "eng-librispeech-train-clean-5": "LibriSpeech",
    "mdw-mboshi": "Mboshi",
    "fas-commonvoice-subset": "Persian",
}
UTTERANCES, FAULTS, SEED = 1000, 50, 0


def plant(corpora: Path, only: list[str]) -> None:
    """Plant every kind of fault into every base, and keep what was found."""
    import inspect_plants
    import numpy as np

    from mms_adapt import findings, text
    from mms_adapt.corpora import gather, spans
    from mms_adapt.quality import inspect

    for name in [one for one in BASES if not only or one in only]:
        root = corpora / name
        draw = np.random.default_rng(SEED)
        given = gather(spans, root, name[:3]).utterances
        chosen = sorted(draw.choice(len(given), min(UTTERANCES, len(given)), replace=False).tolist())
        rule = text.get("basic", target_lang=name[:3])
        base = inspect([given[place] for place in chosen], root, normaliser=rule)
        as_is = {one.kind: one.count for one in findings.detect(base.kept, base.measurements)}
        as_is |= {one.kind: one.count for one in findings.left_out(base.quarantined)}
        for kind, make in inspect_plants.KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                planted = make(inspect_plants.Bed(base.kept, root, Path(folder), kind, FAULTS))
                if not planted:
                    continue
                ids = {one.id for one in planted}
                looked = inspect(planted, folder, normaliser=rule)
                kept = [one for one in base.kept if one.id not in ids] + list(looked.kept)
                measured = [one for one in base.measurements if one.utterance_id not in ids]
                found = [
                    *findings.left_out(looked.quarantined),
                    *findings.detect(kept, [*measured, *looked.measurements]),
                ]
            accepted = inspect_plants.ALSO.get(kind, {kind})
            hits = {each for one in found if one.kind in accepted for each in one.utterance_ids} & ids
            keep(
                {
                    "table": "faults",
                    "corpus": name,
                    "kind": kind,
                    "planted": len(ids),
                    "found": len(hits),
                    "as_is": as_is.get(kind, 0),
                    "utterances": len(chosen),
                }
            )


def sets(corpora: Path, only: list[str]) -> None:
    """Inspect corpora as they are."""
    import mms_adapt

    for folder in sorted(path for path in corpora.iterdir() if path.is_dir()):
        if not only or folder.name in only:
            found = mms_adapt.inspect(folder, target_lang=folder.name[:3])
            keep(
                {
                    "table": "sets",
                    "corpus": folder.name,
                    "kind": "",
                    "utterances": len(found.utterances) + len(found.quarantined),
                    "speech_s": round(found.speech_s, 1),
                    "findings": {one.kind: one.count for one in found.findings},
                }
            )


def keep(row: dict[str, Any]) -> None:
    """Write a row into the file, in the place of one about the same."""
    key = ("table", "corpus", "kind")
    rows = [one for one in read() if any(one[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda one: [one[name] for name in key])
    ROWS.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    print(json.dumps(row, ensure_ascii=False), flush=True)


def read() -> list[dict[str, Any]]:
    """Return the rows that were kept."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def render() -> str:
    """Return the page."""
    rows = read()
    return _PAGE.format(
        kinds="\n".join(kinds()),
        faults="\n".join(faults([one for one in rows if one["table"] == "faults"])),
        sets="\n".join(found_in([one for one in rows if one["table"] == "sets"])),
        utterances=UTTERANCES,
        planted=FAULTS,
    )


def kinds() -> Iterator[str]:
    """Yield a table of all kinds, with the thresholds that hold by default."""
    from mms_adapt.findings.kinds import KINDS, SEVERITIES
    from mms_adapt.quality import WHAT_TO_DO

    for severity, words in zip(SEVERITIES, ("Cannot be used", "Look at it", "Good to know"), strict=True):
        yield f"### {words}\n\n| finding | what it is | what to do |\n|---|---|---|"
        for name, kind in KINDS.items():
            if kind.severity == severity:
                what = kind.what.format(threshold=threshold(name))
                to_do = kind.what_to_do or WHAT_TO_DO.get(
                    name, "nothing, unless they agree: correct ledger.csv"
                )
                yield f"| `{name}` | {what} | {to_do} |"
        yield ""


def threshold(kind: str) -> float | None:
    """Return the threshold of a kind, where it has one."""
    from mms_adapt.audio import SAMPLE_RATE_HZ
    from mms_adapt.findings import Thresholds
    from mms_adapt.quality import QualityOptions

    limits = Thresholds()
    return {
        **QualityOptions().limits,
        "clipped": limits.clipped_share,
        "faint": limits.faint_db,
        "noisy": limits.noise_db,
        "low_rate": float(SAMPLE_RATE_HZ),
        "narrow_band": limits.treble_db,
        "pace": limits.pace_z,
        "two_transcripts": limits.bits_differing,
        "near_same_sound": limits.bits_differing,
        "near_same_sentence": limits.similarity,
        "other_script": limits.script_share,
        "look_alike": limits.stray_share,
        "rare_character": limits.rare_utterances,
        "speaker_imbalance": limits.speaker_share,
    }.get(kind)


def faults(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of what was planted and found."""
    import inspect_plants

    found = {(one["kind"], one["corpus"]): one for one in rows}
    names = [name for name in BASES if any(one["corpus"] == name for one in rows)]
    shown = " | ".join(BASES[name] for name in names)
    yield f"| finding | planted | found: {shown} | as it is: {shown} |"
    yield "|---|---|" + "---|" * (2 * len(names))
    for kind, make in inspect_plants.KINDS.items():
        cells = [found.get((kind, name)) for name in names]
        hits = " | ".join(f"{one['found']} of {one['planted']}" if one else "–" for one in cells)
        as_is = " | ".join(f"{one['as_is']} of {one['utterances']}" if one else "–" for one in cells)
        words = " ".join((make.__doc__ or "").split()).rstrip(".")
        yield f"| `{kind}` | {words[:1].lower()}{words[1:]} | {hits} | {as_is} |"


def found_in(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of what was found in whole corpora."""
    yield "| corpus | utterances | hours | found |\n|---|---|---|---|"
    for one in rows:
        found = ", ".join(f"{count} {kind}" for kind, count in one["findings"].items()) or "nothing"
        yield f"| {one['corpus']} | {one['utterances']:,} | {one['speech_s'] / 3600:.2f} | {found} |"


_PAGE = """# What inspect finds

```
mms-adapt inspect recordings/mdw --target-lang mdw --json findings.json --report findings.html
```

decodes every recording once, changes nothing and leaves nothing out. The terminal shows a line a finding, the
JSON file holds the ids of all utterances concerned, and the page, which needs no network, has the sound and a
picture of the worst ones. `mms-adapt prepare` looks for the same and keeps it in `findings.json`.

```python
import mms_adapt

found = mms_adapt.inspect("recordings/mdw", target_lang="mdw", report="findings.html")
for one in found.findings:
    print(one.kind, one.count, one.utterance_ids[:3])
```

Other thresholds: `inspect(..., thresholds=mms_adapt.findings.Thresholds(clipped_share=0.01))`.

{kinds}
## How it looks

- **Clipping** is looked for in the sound, not in the file: where the tops of the waves were cut off,
  samples crowd just below the loudest ones, also after another volume, a conversion or a codec.
- **Pace** counts the time of speech alone, without pauses, and is compared with utterances of about as much
  speech, and with the speaker's own where there are thirty utterances of her. It has to be off by a factor
  of two as well, so a text of about the right length that is wrong is not found.
- **Nearly the same sound** is told by a fingerprint of 100 bytes a second (Haitsma and Kalker 2002), which
  does not change with the volume and hardly with a codec or a cut at the ends. Sounds shorter than 1.4 s are
  only found where they are the same to the sample. Two sentences of one speaker that differ in a word may be
  taken for the same sound.
- **Nearly the same sentence** is looked for with keys of three-character sequences (Broder 1997), so that a
  million sentences are not compared with each other. A few pairs escape it.
- **Characters**: what is usual in the corpus is taken for right. A letter of another script is a look-alike
  if the letter that it looks like is more frequent here; one of the same script if it is rare beside it.

## Known faults, planted into real speech

`python benchmarks/inspect_faults.py plant` draws {utterances} utterances from each of three corpora, and
makes {planted} of them faulty in one way, then in the next. The last columns count what is found in the
speech as it is. Not all of that is a false alarm: sentences do come twice, letters are rare, and nobody
knows which of these transcripts are wrong.

{faults}

How strong a fault is decides whether it is found: these are such as one would want to know of.

## Corpora as they are

`python benchmarks/inspect_faults.py sets`; none of these corpora is part of this repository. Single
syllables, held for long, are taken for clipped more often than sentences are (`cmn-syllables`), and the
prompts hold spelled letters and figures, whose pace is another. What this says of three of them, and what is
found in annotation documents: [findings in real corpora](findings_in_real_corpora.md).

{sets}

## Speed

`python benchmarks/bench_inspect.py --corpus mdw-mboshi --target-lang mdw` (Ogg Opus at 16 kHz, in the
processor's time, so on one core):

```
mdw-mboshi, 10 min: inspecting is 270 times as fast as real time,
  and takes 1.3 times as long as decoding alone
80,000 sentences take 7.2 times as long as 20,000
4,000 fingerprints take 4.3 times as long as 1,000
```

Files that are not compressed are decoded in next to no time, so the second figure is larger for them.
"""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("plant", "plant faults into three corpora"),
        ("sets", "inspect corpora as they are"),
    ):
        one = commands.add_parser(name, help=words)
        one.add_argument("--corpora", type=Path, required=True)
        one.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these corpora")
    commands.add_parser("render", help="write docs/inspect.md")
    options = parser.parse_args()
    if options.command == "plant":
        plant(options.corpora, options.only)
    elif options.command == "sets":
        sets(options.corpora, options.only)
    else:
        PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
