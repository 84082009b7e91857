"""Common Voice: all validated clips, official parts, locales; broken and hostile tables."""

import shutil
from collections import Counter
from pathlib import Path

import layouts
import pytest
from conftest import MakeCorpus, noise

from mms_adapt import corpora
from mms_adapt.corpora import Skipped, common_voice
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance

HEADER = ["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent"]


def row(number: int, sentence: str = "x", **values: str) -> list[str]:
    cells = dict.fromkeys(HEADER, "") | {"client_id": "c1", "path": f"common_voice_tw_{number}.mp3"}
    return list((cells | {"sentence": sentence} | values).values())


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Five validated clips of an older release without a locale column, one of them in train, one in test."""
    root = tmp_path / "tw"
    layouts.tsv(root / "validated.tsv", [HEADER, *(row(number) for number in range(5))])
    for part, number in (("train", 0), ("dev", 1), ("test", 2)):
        layouts.tsv(root / f"{part}.tsv", [HEADER, row(number)])
    (root / "clips").mkdir()
    return root


def read(root: Path, target_lang: str = "twi") -> tuple[list[Utterance], Counter[Skipped]]:
    reading = common_voice.read(root, target_lang=target_lang)
    return list(reading), reading.skipped


def test_all_validated_clips_are_read_and_official_parts_told(release: Path) -> None:
    found, skipped = read(release)
    assert [one.source_split for one in found] == ["train", "dev", "test", None, None] and not skipped
    assert found[0] == Utterance(
        "common_voice_tw_0", "clips/common_voice_tw_0.mp3", 0.0, None, "x", "twi", "c1", source_split="train"
    )
    assert [one.id for one in common_voice.read(release, "test", target_lang="twi")] == ["common_voice_tw_2"]


def test_quotes_and_other_separators_are_text(release: Path) -> None:
    sentences = [
        '"open',
        'she said "no',
        'a "" b',
        "it's\u2028so",
        "\u202eright to left\u202c",
        "a\rb",
        " s ",
    ]
    layouts.tsv(release / "validated.tsv", [HEADER, *(row(n, text) for n, text in enumerate(sentences))])
    assert [one.transcript for one in read(release)[0]] == sentences


def test_windows_line_ends_and_byte_order_marks(release: Path) -> None:
    text = (release / "validated.tsv").read_text(encoding="utf-8").replace("\n", "\r\n")
    (release / "validated.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found, skipped = read(release)
    assert corpora.find(release)[0] == "common_voice"
    assert len(found) == 5 and not skipped and found[0].speaker == "c1"


def test_ragged_repeated_and_empty_rows_are_counted(release: Path) -> None:
    rows = [HEADER, row(0), row(1)[:5], [*row(2), "more"], row(0, "again"), row(3, path=""), row(4)]
    layouts.tsv(release / "validated.tsv", rows)
    found, skipped = read(release)
    assert [one.id[-1] for one in found] == ["0", "4"]
    assert skipped == {
        Skipped("ragged_row", "validated.tsv:3: 5 cells, the header has 8"): 1,
        Skipped("ragged_row", "validated.tsv:4: 9 cells, the header has 8"): 1,
        Skipped("repeated_clip", "validated.tsv:5"): 1,
        Skipped("no_recording", "validated.tsv:6"): 1,
        Skipped("not_validated", "dev"): 1,
        Skipped("not_validated", "test"): 1,
    }


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\x07b.mp3", "a\\b.mp3", ".", ".."])
def test_hostile_paths_are_counted(release: Path, path: str) -> None:
    layouts.tsv(release / "validated.tsv", [HEADER, row(0), row(1, path=path)])
    found, skipped = read(release)
    unusable = [one for one in skipped if one.reason == "unusable_row"]
    if path in (".", "..", "/etc/passwd"):  # a strange name below clips, where nothing is
        assert found[1].recording.startswith("clips/") and not unusable
    else:
        assert len(found) == len(unusable) == 1 and "validated.tsv:3: " in unusable[0].detail


@pytest.mark.parametrize("target_lang", ["twi", "aka", "qaa"])
def test_a_locale_may_be_called_otherwise_and_is_told(release: Path, target_lang: str) -> None:
    reading = common_voice.read(release, target_lang=target_lang)
    assert len(list(reading)) == 5
    assert reading.notes == [f"the release's language is called 'tw'; it is taken for {target_lang}"]


def test_another_language_is_refused_by_its_name(release: Path) -> None:
    _, module = corpora.find(release)
    with pytest.raises(CorpusError, match=r"no utterance is in 'xho'; found: tw \(5\)"):
        corpora.gather(module, release, "xho")
    layouts.tsv(release / "validated.tsv", [HEADER, row(0, path="a1b2c3"), row(1, path="d4.mp3")])
    found, _ = read(release, "xho")  # the first releases say neither locale nor ending
    assert [one.recording for one in found] == ["clips/a1b2c3.mp3", "clips/d4.mp3"]


def test_without_validated_tsv_the_parts_are_all(release: Path) -> None:
    (release / "validated.tsv").unlink()
    assert corpora.find(release)[0] == "common_voice"
    assert [one.source_split for one in read(release)[0]] == ["train", "dev", "test"]
    (release / "clips").rmdir()  # then it may be anybody's table
    assert not common_voice.recognise(release)


def test_a_delta_release_has_no_parts(release: Path) -> None:
    for part in ("train", "dev", "test"):
        (release / f"{part}.tsv").unlink()
    assert {one.source_split for one in read(release)[0]} == {None}


def test_an_empty_release_is_told(release: Path) -> None:
    layouts.tsv(release / "validated.tsv", [HEADER])
    for part in ("train", "dev", "test"):
        layouts.tsv(release / f"{part}.tsv", [HEADER])
    with pytest.raises(CorpusError, match="there is no utterance in it"):
        corpora.gather(common_voice, release, "twi")


def test_a_table_in_another_encoding_is_told(release: Path) -> None:
    text = "\n".join("\t".join(cells) for cells in (HEADER, row(0), row(1, "Çà")))
    (release / "validated.tsv").write_text(text, encoding="latin-1")
    with pytest.raises(CorpusError, match=r"validated\.tsv:3: byte \d+ is not UTF-8"):
        read(release)


def test_the_archive_is_read_as_downloaded(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    folder = layouts.common_voice(make_corpus([{"speaker": "ann"}, {"speaker": "ben"}]))
    archive = layouts.packed(tmp_path / "cv-corpus-1.0-xh.tar.gz", folder.parent, "cv-corpus-1.0")
    root = corpora.opened(archive)
    assert root == tmp_path / "cv-corpus-1.0-xh.extracted" / "cv-corpus-1.0" / "xh"
    name, module = corpora.find(root)
    gathered = corpora.gather(module, root, "xho")
    assert name == "common_voice" and len(gathered.utterances) == 2 and gathered.root == root
    assert all((gathered.root / one.recording).is_file() for one in gathered.utterances)
    shutil.rmtree(root / "clips")
    assert corpora.opened(archive) == root and not (root / "clips").exists()


def test_a_missing_clip_is_left_to_quarantine(make_corpus: MakeCorpus) -> None:
    from mms_adapt import text
    from mms_adapt.quality import inspect

    root = layouts.common_voice(make_corpus([{}, {}]))
    (root / "clips" / "common_voice_xh_001.mp3").unlink()
    gathered = corpora.gather(common_voice, root, "xho")
    findings = inspect(gathered.utterances, gathered.root, normaliser=text.get("basic", target_lang="xho"))
    assert [one.id for one in findings.kept] == ["common_voice_xh_000"]
    assert [one.reason for one in findings.quarantined] == ["missing_audio"]


def test_its_clips_are_real(make_corpus: MakeCorpus) -> None:
    from mms_adapt import audio

    root = layouts.common_voice(make_corpus([{"sound": 3}]))
    one, *_ = common_voice.read(root, target_lang="xho")
    assert len(audio.read(root / one.recording)) == pytest.approx(len(noise(1.0, 3)), abs=2400)
