"""What inspect brings up in real corpora and annotation documents, beside a second, plain count.

    python benchmarks/inspect_tables.py documents --annotations ../shared/annotations
    python benchmarks/inspect_tables.py sets --corpora ../shared/corpora
    python benchmarks/inspect_tables.py render

`documents` reads every ELAN document and TextGrid below a folder and counts its annotations a second time: of
ELAN documents with a plain XML parser, of TextGrids from their lines. Then it inspects every folder in it.
`sets` asks three corpora what their notes leave open. Both keep what they found in
benchmarks/inspect_tables.jsonl; `render` makes docs/findings_in_real_corpora.md of it.

In: corpora and annotations, none of them part of this repository. Out: one line for each, and the page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / "benchmarks" / "inspect_tables.jsonl", ROOT / "docs" / "findings_in_real_corpora.md"
SETS = {
    "abui-elan": ("abz", "Abui, ELAN, with recordings (CoEDL/toy-corpora)"),
    "jeli": ("bam", "Bambara, ELAN, without recordings (RobotsMali, CC BY 4.0)"),
    "praatio": ("eng", "English, TextGrids, some with recordings (timmahrt/praatIO, MIT)"),
}
ASKED = ("fas-commonvoice-subset", "chr-cherokee-phrases", "eng-speechocean762")
SOUNDS = ("same_sound", "near_same_sound", "two_transcripts")
Counts = list[tuple[str, int]]


def documents(annotations: Path) -> None:
    """Count the annotations of every document twice, and inspect every folder."""
    import mms_adapt

    for name, (target_lang, _) in SETS.items():
        found = mms_adapt.inspect(annotations / name, target_lang=target_lang)
        utterances = [*found.utterances, *(one.utterance for one in found.quarantined)]
        used = Counter(one.session for one in utterances)
        paths = [*(annotations / name).rglob("*.eaf"), *(annotations / name).rglob("*.TextGrid")]
        for path in sorted(paths):
            place = path.relative_to(annotations / name).as_posix()
            session = place.rpartition(".")[0]
            keep(
                {"table": "documents", "set": name, "name": place, "utterances": used[session]} | twice(path)
            )
        keep(
            {
                "table": "folders",
                "set": name,
                "name": "",
                "utterances": len(found.utterances),
                "left_out": len(found.quarantined),
                "findings": {one.kind: one.count for one in found.findings},
                "passed_over": Counter(
                    {" ".join(filter(None, one[:2])): one[2] for one in found.passed_over}
                ),
            }
        )


def twice(path: Path) -> dict[str, Any]:
    """Return how many annotations mms_adapt reads of each tier beside how many a plain count finds."""
    from mms_adapt import eaf, praat
    from mms_adapt.eaf_tier import TierSpan, add_tier

    data = path.read_bytes()
    if path.suffix == ".eaf":
        tree = ElementTree.fromstring(data)
        read = [(one.name, len(one.annotations)) for one in eaf.parse(data, path.name).tiers]
        counted, format = plain_eaf(tree), f"ELAN {tree.get('FORMAT')}"
        written = add_tier(data, "another tier", [TierSpan(0.0, 1.0, "x")], name=path.name)
        kept = plain_eaf(ElementTree.fromstring(written)) == [*counted, ("another tier", 1)]
    else:
        read = [(one.name, len(one.labels)) for one in praat.parse(data, path.name).tiers]
        counted, format = plain_textgrid(data)
        kept = None
    differing = sum(one != other for one, other in zip(read, counted, strict=False))
    return {
        "format": format,
        "tiers": len(read),
        "read": sum(count for _, count in read),
        "counted": sum(count for _, count in counted),
        "differing": differing + abs(len(read) - len(counted)),
        "kept": kept,
    }


def plain_eaf(tree: ElementTree.Element) -> Counts:
    """Count the annotations of every tier of an ELAN document."""
    return [
        (tier.get("TIER_ID", ""), sum(one.tag.endswith("_ANNOTATION") for one in tier.iter()))
        for tier in tree.iter("TIER")
    ]


def plain_textgrid(data: bytes) -> tuple[Counts, str]:
    """Count the intervals and points of every tier from a TextGrid's lines."""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    items = re.split(r"^\s*item ?\[\d+\]:\s*$", text, flags=re.M)[1:]
    if items:
        names = [re.findall(r'^\s*name = "(.*)"\s*$', one, re.M)[0] for one in items]
        counts = [len(re.findall(r"^\s*(?:intervals|points) \[\d+\]", one, re.M)) for one in items]
    else:  # the short form says how many follow
        head = r'^"(?:IntervalTier|TextTier)"\s*\n"(.*)"\s*\n[\d.e+-]+\s*\n[\d.e+-]+\s*\n(\d+)\s*$'
        pairs = re.findall(head, text.replace("\r\n", "\n"), re.M)
        names, counts = [one for one, _ in pairs], [int(one) for _, one in pairs]
    unquoted = [name.replace('""', '"') for name in names]
    return list(zip(unquoted, counts, strict=True)), f"TextGrid, {'long' if items else 'short'}"


def sets(corpora: Path, only: list[str]) -> None:
    """Inspect the corpora whose notes leave something open, and look at who and what is concerned."""
    import mms_adapt
    from mms_adapt import splits
    from mms_adapt.errors import SplitError

    for name in [one for one in ASKED if not only or one in only]:
        found = mms_adapt.inspect(corpora / name, target_lang=name[:3])
        by_id = {one.id: one for one in found.utterances}
        try:
            leaks = Counter(one.reason for one in splits.assign(
                found.utterances, splits.SplitOptions(mode="source")
            ).left_out)  # fmt: skip
        except SplitError:
            leaks = None
        pairs = [
            (by_id[each.utterance_id].speaker, by_id[each.other_id].speaker)
            for one in found.findings
            if one.kind in SOUNDS
            for each in one.examples
            if each.other_id
        ]
        keep(
            {
                "table": "sets",
                "set": name,
                "name": "",
                "utterances": len(found.utterances),
                "left_out": len(found.quarantined),
                "speakers": len({one.speaker for one in found.utterances}),
                "parts": Counter(one.source_split for one in found.utterances),
                "findings": {one.kind: one.count for one in found.findings},
                "by_part": {
                    one.kind: Counter(by_id[each].source_split for each in one.utterance_ids)
                    for one in found.findings
                },
                "most_of_one_speaker": {
                    one.kind: Counter(by_id[each].speaker for each in one.utterance_ids).most_common(1)[0][1]
                    for one in found.findings
                },
                "pairs_of_sounds": len(pairs),
                "pairs_of_sounds_of_two_speakers": sum(one != other for one, other in pairs),
                "source_leaks": leaks,
                "alike": readers_alike(found.utterances),
            }
        )


def readers_alike(utterances: Any) -> list[int]:
    """Count pairs of speakers who read the same sentences, ten or more; and those of them in two parts."""
    from mms_adapt.ties import sentence_key

    said: dict[str, set[str]] = {}
    parts: dict[str, set[str]] = {}
    for one in utterances:
        said.setdefault(one.speaker, set()).add(sentence_key(one.reference))
        parts.setdefault(one.speaker, set()).add(one.source_split)
    pairs = [
        (one, other)
        for one, other in itertools.combinations(sorted(said), 2)
        if said[one] == said[other] and len(said[one]) >= 10
    ]
    return [len(pairs), sum(parts[one].isdisjoint(parts[other]) for one, other in pairs)]


def keep(row: dict[str, Any]) -> None:
    """Write a row into the file, in the place of one about the same."""
    key = ("table", "set", "name")
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
    asked = {one["set"]: one for one in rows if one["table"] == "sets"}
    page = _PAGE.format(
        documents="\n".join(table([one for one in rows if one["table"] == "documents"])),
        folders="\n".join(folders([one for one in rows if one["table"] == "folders"])),
        sums=sums([one for one in rows if one["table"] == "documents"]),
        fas=asked["fas-commonvoice-subset"] | {"found": listed(asked["fas-commonvoice-subset"]["findings"])},
        chr=asked["chr-cherokee-phrases"] | {"found": listed(asked["chr-cherokee-phrases"]["findings"])},
        eng=asked["eng-speechocean762"] | {"found": listed(asked["eng-speechocean762"]["findings"])},
    )
    prose = (part if part[0] in "#|" else textwrap.fill(part, 110, break_on_hyphens=False)
             for part in page.strip().split("\n\n"))  # fmt: skip
    return "\n\n".join(prose) + "\n"


def sums(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return what the prose about documents says in numbers."""
    found = {name: sum(one[name] for one in rows) for name in ("tiers", "read", "differing")}
    elan = [one for one in rows if one["kept"] is not None]
    return found | {"count": len(rows), "elan": len(elan), "kept": sum(one["kept"] for one in elan)}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of documents."""
    names = ("set", "document", "format", "tiers", "annotations read", "counted", "tiers that differ")
    yield f"| {' | '.join(names)} | utterances |"
    yield "|---" * (len(names) + 1) + "|"
    for one in rows:
        yield (
            f"| {one['set']} | {one['name'].rpartition('/')[2]} | {one['format']} | {one['tiers']} | "
            f"{one['read']} | {one['counted']} | {one['differing']} | {one['utterances']} |"
        )


def folders(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of folders."""
    yield "| set | what it is | utterances | cannot be used | found | annotations passed over |"
    yield "|---|---|---|---|---|---|"
    for one in rows:
        yield (
            f"| {one['set']} | {SETS[one['set']][1]} | {one['utterances']} | {one['left_out']} | "
            f"{listed(one['findings'])} | {listed(one['passed_over'])} |"
        )


def listed(counts: dict[str, int]) -> str:
    """Return counts as words."""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


_PAGE = """# Findings in real corpora

What `mms-adapt inspect` brings up where nobody planted anything. What it finds in all 17 sets of speech
stands in [inspect.md](inspect.md#corpora-as-they-are); here are three whose notes leave something open,
and annotation documents. `python benchmarks/inspect_tables.py` with `sets`, `documents` and then `render`
made every number here. None of these recordings and documents is part of this repository.

## Persian: clips with too few votes

Of {fas[utterances]:,} clips of Common Voice, {fas[parts][other]:,} are of its part `other`: too few
people have voted on whether they are what their sentences say. inspect brings up {fas[found]}.

Pace is the one of these that is about texts that do not fit their sound. It strikes
{fas[by_part][pace][other]} of the {fas[parts][other]:,} and {fas[by_part][pace][validated]} of the
{fas[parts][validated]} validated ones, about the same share, and {fas[most_of_one_speaker][pace]} of the
{fas[findings][pace]} are of one speaker. So it does not tell the two kinds of clips apart. What it finds
is far off and worth listening to; a wrong sentence of about the right length escapes it. Such ones only a
recogniser can find, and it is no part of inspect.

## Cherokee: ids that may be one person

{chr[speakers]} ids, some of which may be the same person. inspect brings up {chr[found]}.

It compares sounds, not voices. {chr[pairs_of_sounds]} utterances sound nearly like another one, and
{chr[pairs_of_sounds_of_two_speakers]} of these pairs are of two ids: no recording of more than a second
and a half was found under two names. Whether two ids are one person it does not ask and cannot tell, so a
test by speaker is as good as the ids are. Who knows better gives both the same `speaker`.

What it does bring up beside that: letters with marks that are stored in two ways, and that one id, with
single syllables, has {chr[most_of_one_speaker][clipped]} of the {chr[findings][clipped]} clipped
utterances, {chr[most_of_one_speaker][pace]} of the {chr[findings][pace]} of another pace, and
{chr[most_of_one_speaker][same_sentence]} of the {chr[findings][same_sentence]} whose sentence comes more
than once.

## speechocean762: children and learners

{eng[speakers]} speakers whose first language is Mandarin, half of them children. inspect brings up
{eng[found]}.

Nothing of that says child or learner, and nothing should: age and accent are not measured, and are no
faults. Slow readers do not stand out either, since pace is compared with utterances of as much speech and
has to be off by a factor of two.

What it does bring up are sentences that come twice. {eng[alike][0]} pairs of speakers read all the same
sentences; in {eng[alike][1]} of these pairs, one speaker is in the corpus's train and the other in its
test. {eng[source_leaks][sentence_in_test]} utterances of its train have a sentence of its test. `prepare
--split source` leaves these out and marks every score `source_split_leaked`.

## Annotation documents

Every annotation of {sums[count]} documents is counted twice: as mms_adapt reads it, and by a few lines
that know nothing of it, over plain XML or the lines of the TextGrid. Of {sums[tiers]} tiers with
{sums[read]:,} annotations, {sums[differing]} have another count. A tier was added to each of the
{sums[elan]} ELAN documents as `mms-adapt transcribe --add-to` does: in {sums[kept]} of them, all that was
there before is counted there again.

{documents}

Utterances are fewer than annotations: translations, glosses, notes and empty tiers are no transcripts.

{folders}

The Bambara documents come without recordings: each is named with the link that leads nowhere, and all
their utterances are listed as `missing_audio`. The Abui links are all stale, too, but the recordings lie
beside the documents and are found by their names. That several TextGrids are about the same recording
shows as `same_sound`.
"""


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("documents", help="count annotations twice, and inspect their folders")
    one.add_argument("--annotations", type=Path, required=True)
    two = commands.add_parser("sets", help="ask three corpora what their notes leave open")
    two.add_argument("--corpora", type=Path, required=True)
    two.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these corpora")
    commands.add_parser("render", help="write docs/findings_in_real_corpora.md")
    options = parser.parse_args()
    if options.command == "documents":
        documents(options.annotations)
    elif options.command == "sets":
        sets(options.corpora, options.only)
    else:
        PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
