"""Folders of TextGrids: tiers, words that are joined, recordings of the same name; real ones."""

from pathlib import Path
from typing import Any

import pytest
from annotations import real_annotations, textgrid_text

from mms_adapt import praat
from mms_adapt.corpora import Gathered, Skipped, gather, textgrid
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.prepare import prepare


def put(root: Path, name: str, *tiers: Any, encoding: str = "utf-8") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(textgrid_text(*tiers).encode(encoding))
    return root


def gathered(root: Path, **options: str) -> Gathered:
    return gather(textgrid, root, "eng", options=options)


def shown(found: Gathered) -> list[tuple[str, str, float, float | None, str | None]]:
    return [(one.id, one.transcript, one.start_s, one.end_s, one.speaker) for one in found.utterances]


def test_intervals_become_utterances(tmp_path: Path) -> None:
    put(
        tmp_path,
        "b/tale.TextGrid",
        ("text@A", [(0, 0.5, ""), (0.5, 1.25, "one\ntwo"), (1.25, 2, "***")]),
        ("text@B", [(0, 1, "three")]),
        ("tones", [(0.5, "H*"), (0.7, "L")]),
        ("gloss", [(0, 1, "3")]),
    )
    (tmp_path / "tale.flac").touch()
    found = gathered(tmp_path)
    assert shown(found) == [
        ("b/tale.TextGrid:1.2", "one\ntwo", 0.5, 1.25, "A"),
        ("b/tale.TextGrid:2.1", "three", 0.0, 1.0, "B"),
    ]
    assert {one.recording for one in found.utterances} == {"tale.flac"}
    assert {one.session for one in found.utterances} == {"b/tale"}
    assert found.skipped == {
        Skipped("empty_annotation"): 1,
        Skipped("not_transcribed", "'***'"): 1,
        Skipped("other_tier", "points"): 2,
        Skipped("other_tier", "gloss"): 1,
    }
    assert "utterances that overlap with speech on another tier: 2" in found.notes
    assert not any("by their name" in one for one in found.notes)


WORDS = [
    (0, 0.3, ""), (0.3, 0.6, "the"), (0.6, 0.9, "cat"), (0.9, 1.0, "sp"), (1.0, 1.2, "sat"),
    (1.2, 1.5, "sil"), (1.5, 1.7, "down"), (1.7, 1.8, "xxx"), (1.8, 2.0, "there"),
]  # fmt: skip


def test_words_are_joined_up_to_a_pause(tmp_path: Path) -> None:
    put(tmp_path, "a.TextGrid", ("Ann - words", WORDS), ("Ann - phones", [(0, 2, "ð")]))
    found = gathered(tmp_path)
    assert [one[1:] for one in shown(found)] == [
        ("the cat sat", 0.3, 1.2, "Ann"),
        ("down", 1.5, 1.7, "Ann"),
        ("there", 1.8, 2.0, "Ann"),
    ]
    assert found.skipped == {
        Skipped("empty_annotation"): 1,
        Skipped("silence"): 2,
        Skipped("not_transcribed", "'xxx'"): 1,
        Skipped("other_tier", "sounds"): 1,
    }
    assert "single words, from the tiers 'Ann - words', are joined up to a pause of 0.2 s" in found.notes
    assert len(gathered(tmp_path, tiers="*words").utterances) == 7  # asked for, they stay as they are


def test_points_that_are_asked_for_have_no_duration(tmp_path: Path) -> None:
    put(tmp_path, "a.TextGrid", ("tones", [(0.5, "H*")]), ("text", [(0, 1, "x")]))
    with pytest.raises(CorpusError, match=r"there is no utterance in it.*no_duration"):
        gathered(tmp_path, tiers="tones")


def test_what_praat_wrote_long_ago_is_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.TextGrid",
        ("text", [(0, 1, "où"), (1, 2, "si\\ngi \\sw"), (2, 3, '\\c,a \\e" \\n~o \\o/l')]),
        encoding="latin-1",
    )
    found = gathered(tmp_path)
    assert [one.transcript for one in found.utterances] == ["où", "si\\ngi \\sw", '\\c,a \\e" \\n~o \\o/l']
    assert "files that are not UTF-8 and were read as Latin-1; check their letters: a.TextGrid" in found.notes
    assert any(one.startswith("Praat's backslash sequences") and "\\ng 1" in one for one in found.notes)
    assert all(any(f"{each} 1" in one for one in found.notes) for each in ("\\c,", '\\e"', "\\n~", "\\o/"))


def test_errors(tmp_path: Path) -> None:
    put(tmp_path, "a.TextGrid", ("gloss", [(0, 1, "x")]))
    with pytest.raises(CorpusError, match=r"the tiers are 'gloss' \(gloss\)"):
        gathered(tmp_path)
    with pytest.raises(OptionError, match=r"no tier has tiers='A_\*'; the tiers are 'gloss'"):
        gathered(tmp_path, tiers="A_*")
    (tmp_path / "b.TextGrid").write_text('File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n')
    with pytest.raises(CorpusError, match=rf"^{tmp_path}/b\.TextGrid:\d+: the end should come here"):
        gathered(tmp_path)


def test_real_files_are_accounted_for(tmp_path: Path) -> None:
    root = real_annotations() / "praatio"
    found = gathered(root, tiers="phrase,bob,mary,sarah")
    grids = [praat.parse(path.read_bytes(), path.name) for path in root.glob("*.TextGrid")]
    labels = sum(len(tier.labels) for grid in grids for tier in grid.tiers)
    assert len(found.utterances) + sum(found.skipped.values()) == labels == 221
    recordings = {one.session: one.recording for one in gathered(root).utterances}
    assert (
        recordings["bobby_words_with_newlines"] == "bobby.wav" and recordings["mary_misaligned"] == "mary.wav"
    )
    prepared = prepare(
        root, tmp_path / "eng", target_lang="eng", corpus_options={"tiers": "phrase,word,words"}
    )
    assert prepared.layout == "textgrid" and prepared.options["corpus"] == {"tiers": "phrase,word,words"}
    assert {one.reference for name in ("train", "dev", "test") for one in prepared.utterances(name)} >= {
        "bobby ripped the ledger",
        "omelet",
    }
