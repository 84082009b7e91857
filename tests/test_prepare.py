"""Preparing: what is written is read again, and repeats; subsets; one message for every bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import MakeCorpus, noise

import mms_adapt
from mms_adapt import manifest
from mms_adapt.errors import (
    CorpusError,
    LanguageError,
    MmsAdaptError,
    OptionError,
    PreparedError,
    SplitError,
    TextError,
)
from mms_adapt.orthography import Orthography
from mms_adapt.prepare import prepare
from mms_adapt.prepared import Prepared
from mms_adapt.quality import QualityOptions
from mms_adapt.reports import MARKS
from mms_adapt.splits import PARTS, SplitOptions, part_sha256

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def rows(count: int = 40, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"transcript": f"Word {LETTERS[n % 26]}{LETTERS[n // 26]}ch!", "speaker": f"s{n % 8}", **fields}
        for n in range(count)
    ]


@pytest.fixture
def source(make_corpus: MakeCorpus) -> Path:
    """Forty good utterances of eight speakers, one of another language, and two that cannot be used."""
    bad = [{"recording": "gone.wav"}, {"transcript": "(cough)"}, {"target_lang": "zul"}]
    return make_corpus([*rows(licence="CC0"), *bad], seconds=0.6)


def make(source: Path, out: Path, **options: Any) -> Prepared:
    return prepare(source, out, target_lang="xho", **options)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_corpus_becomes_a_folder(source: Path, tmp_path: Path) -> None:
    prepared = make(source, tmp_path / "made" / "out")
    assert isinstance(prepared, mms_adapt.Prepared)
    assert sorted(files(prepared.folder)) == [
        "dev.jsonl",
        "findings.json",
        "ledger.json",
        "prepared.json",
        "quarantine.jsonl",
        "test.jsonl",
        "train.jsonl",
        "vocab.json",
    ]
    assert [path.name for path in prepared.folder.parent.iterdir()] == ["out"]
    assert (prepared.root, prepared.target_lang, prepared.corpus) == (source.resolve(), "xho", "corpus")
    assert (prepared.layout, prepared.normaliser, prepared.licence) == ("spans", "basic-1", "CC0")
    utterances = [one for name in PARTS for one in prepared.utterances(name)]
    assert len(utterances) == len({one.id for one in utterances}) == 40
    for one in utterances:
        assert one.reference == one.transcript.lower().rstrip("!")
        assert one.duration_s == pytest.approx(0.6) and one.audio_sha256 and one.target_lang == "xho"
    assert [(one.utterance.id, one.reason) for one in prepared.quarantined()] == [
        ("u040", "missing_audio"),
        ("u041", "empty_transcript"),
    ]
    counts = prepared.counts
    assert counts["skipped"] == [{"reason": "other_language", "detail": "zul", "count": 1}]
    assert counts["left_out"] == {"missing_audio": 1, "empty_transcript": 1}
    assert sum(counts["utterances"].values()) == 40 and counts["split_mode"] == "speaker"
    assert counts["removed_characters"] == {"!": 40}
    assert set(prepared.marks) <= set(MARKS)


def test_what_stands_in_brackets_is_told(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    said = [{**one, "transcript": f"{one['transcript']} [uh (oh)] <?>"} for one in rows(20)]
    made = make(make_corpus(said, seconds=0.6), tmp_path / "out")
    assert made.counts["bracketed"] == {"[uh (oh)]": 20}
    raw = make(tmp_path / "corpus", tmp_path / "raw", normaliser="raw")
    assert raw.counts["bracketed"] == {}


def test_options_of_the_layout_are_checked(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'tiers': layout spans has no such; it has none"):
        make(source, tmp_path / "out", corpus_options={"tiers": "A_*"})
    assert not (tmp_path / "out").exists()
    assert make(source, tmp_path / "out", corpus_options={}).options["corpus"] == {}


def test_a_licence_for_all_holds_where_nothing_else_is_said(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    source = make_corpus([*rows(20, licence="CC0"), *rows(40)[20:]], seconds=0.6)
    (source / "ledger.csv").write_text("speaker,licence\ns1,mine\n", encoding="utf-8")
    made = make(source, tmp_path / "out", licence="CC-BY-4.0")
    licences = {one.id: one.licence for name in PARTS for one in made.utterances(name)}
    assert (licences["u000"], licences["u001"], licences["u020"]) == ("CC0", "mine", "CC-BY-4.0")
    assert (made.licence, made.options["licence"]) == ("CC-BY-4.0; CC0; mine", "CC-BY-4.0")


def test_blanks_around_names_and_labels_come_back(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for number in range(8):
        folder = pairs / (" Ann " if number % 2 else "Ben")
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f" {number} .wav", noise(0.6, number), 16_000)
        (folder / f" {number} .txt").write_text(f"word {LETTERS[number]}", encoding="utf-8")
    made = make(pairs, tmp_path / "out", corpus_options={"speaker": "top"})
    found = {one.recording: one.speaker for name in PARTS for one in made.utterances(name)}
    names = {" Ann ": "Ann", "Ben": "Ben"}
    assert len(found) == 8
    assert all(
        Path(name).stem.startswith(" ") and names[Path(name).parts[0]] == who for name, who in found.items()
    )
    assert made.counts["left_out"] == {}


def test_what_is_loaded_is_what_was_made(source: Path, tmp_path: Path) -> None:
    made = make(source, tmp_path / "out", orthography=Orthography(("ch",)))
    loaded = Prepared.load(tmp_path / "out")
    assert loaded == made
    assert loaded.orthography == Orthography(("ch",)) and "ch" in loaded.vocab.tokens
    for name in PARTS:
        assert loaded.split_sha256[name] == part_sha256(loaded.utterances(name))
    assert loaded.options["split"]["seed"] == 0 and loaded.options["quality"]["max_utterance_s"] == 30.0


def test_it_can_be_repeated_to_the_byte(source: Path, tmp_path: Path) -> None:
    first, again = make(source, tmp_path / "a"), make(source, tmp_path / "b")
    assert files(first.folder) == files(again.folder)
    others = [make(source, tmp_path / f"{seed}", split=SplitOptions(seed=seed)) for seed in range(1, 5)]
    assert len({made.split_sha256["test"] for made in others}) > 1


def test_the_vocabulary_is_of_train_alone(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    fields = [row | {"source_split": "train"} for row in rows(20)]
    fields += [{"transcript": f"wörd {n} é", "source_split": "test", "speaker": "t"} for n in range(4)]
    fields += [{"transcript": f"woñd {n}", "source_split": "dev", "speaker": "d"} for n in range(4)]
    prepared = make(make_corpus(fields), tmp_path / "out", split=SplitOptions(mode="source"))
    text = "".join(one.reference or "" for one in prepared.utterances("train"))
    assert set(prepared.vocab.tokens[5:]) == set(text) - {" "}
    unseen = prepared.counts["unseen_characters"]
    assert unseen["test"] == {"ö": 4, "é": 4, **{str(n): 1 for n in range(4)}}
    assert unseen["dev"] == {"ñ": 4, **{str(n): 1 for n in range(4)}}
    assert prepared.marks == ("unseen_characters",)
    assert prepared.counts["with_digits"] == 8


def test_less_training_speech_is_part_of_more(source: Path, tmp_path: Path) -> None:
    whole = make(source, tmp_path / "whole")
    few, more = (make(source, tmp_path / f"{minutes}", train_minutes=minutes) for minutes in (0.05, 0.15))
    ids = [{one.id for one in made.utterances("train")} for made in (few, more, whole)]
    assert ids[0] < ids[1] < ids[2]
    assert (len(ids[0]), len(ids[1])) == (5, 15)
    assert few.counts["train_unused"] == len(ids[2]) - 5
    for name in ("dev", "test"):
        assert few.split_sha256[name] == whole.split_sha256[name]
    assert set(few.vocab.tokens) < set(whole.vocab.tokens)
    assert "unseen_characters" in few.marks
    with pytest.raises(SplitError, match=r"train_minutes=60: there are only 0\.\d minutes"):
        make(source, tmp_path / "too_many", train_minutes=60)
    with pytest.raises(SplitError, match="shorter than one utterance"):
        make(source, tmp_path / "too_few", train_minutes=0.001)


def test_progress_is_told(source: Path, tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    make(source, tmp_path / "out", progress=lambda *now: told.append(now))
    assert told[0][:1] == ("read",) and "spans" in told[0][3]
    assert told[-1][:3] == ("check", 42, 42)


def test_recordings_are_found_after_a_move(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "deep")
    assert Prepared.load(tmp_path / "elsewhere" / "deep").root == source.resolve()
    shutil.move(tmp_path / "elsewhere" / "deep", tmp_path / "out")
    both = tmp_path / "moved"
    both.mkdir()
    shutil.move(source, both / "corpus")
    shutil.move(tmp_path / "out", both / "out")
    assert Prepared.load(both / "out").root == (both / "corpus").resolve()
    shutil.rmtree(both / "corpus")
    with pytest.raises(PreparedError, match="its recordings are gone: there is no"):
        Prepared.load(both / "out")


def test_an_existing_folder_is_kept_unless_told(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = make(source, out)
    before = files(out)
    with pytest.raises(PreparedError, match=r"out exists; replace it with overwrite \(--overwrite\)"):
        make(source, out)
    make(source, out, overwrite=True, split=SplitOptions(seed=5))
    assert files(out) != before and first.split_sha256 != Prepared.load(out).split_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out"]


def test_nothing_of_the_users_is_replaced(source: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work", encoding="utf-8")
    for out in (theirs, theirs / "thesis.txt"):
        with pytest.raises(PreparedError, match="is not prepared data"):
            make(source, out, overwrite=True)
    for out in (source, source.parent):
        with pytest.raises(PreparedError, match="holds the recordings themselves"):
            make(source, out, overwrite=True)
    assert (source / "all.wav").exists() and (theirs / "thesis.txt").read_text(encoding="utf-8")
    with pytest.raises(PreparedError, match="cannot be written: Not a directory"):
        make(source, theirs / "thesis.txt" / "out")


def test_stopping_leaves_nothing_half_done(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    before = files(tmp_path / "out")

    def stop(stage: str, *_: object) -> None:
        if stage == "check":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "out", overwrite=True, progress=stop)
    assert files(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.checked.jsonl", "corpus", "out"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target_lang": "xhosa"}, LanguageError, "xho"),
        ({"target_lang": "zzz"}, LanguageError, "zzz"),
        ({"target_lang": "mdw"}, CorpusError, r"no utterance is in 'mdw'; found: xho \(42\), zul \(1\)"),
        ({"normaliser": "bassic"}, TextError, "basic"),
        ({"corpus": "spam"}, OptionError, "did you mean 'spans'"),
        ({"corpus": "../spans"}, OptionError, "spans"),
        ({"train_minutes": 0}, OptionError, "train_minutes=0"),
        ({"train_minutes": float("nan")}, OptionError, "train_minutes=nan"),
        (
            {"quality": QualityOptions(min_utterance_s=5)},
            CorpusError,
            "none of the 42 .* 40 x too_short, 1 x",
        ),
        ({"split": SplitOptions(mode="source")}, SplitError, "lacks train or test"),
        ({"orthography": Orthography(("<s>",)), "normaliser": "raw"}, None, ""),
    ],
)
def test_bad_input_gives_one_message_and_no_folder(
    source: Path, tmp_path: Path, options: dict[str, Any], error: type[MmsAdaptError] | None, says: str
) -> None:
    given = {"target_lang": "xho", **options}
    if error is None:
        assert prepare(source, tmp_path / "out", **given).vocab
        return
    with pytest.raises(error, match=says):
        prepare(source, tmp_path / "out", **given)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_bar_in_raw_transcripts_is_refused(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus([{"transcript": f"{letter}|x"} for letter in LETTERS])
    with pytest.raises(MmsAdaptError, match=r"'\|' is the space"):
        make(root, tmp_path / "out", normaliser="raw")
    assert "x" in make(root, tmp_path / "out").vocab.tokens


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "prepared.json").unlink(), "no folder that mms-adapt prepare wrote"),
        (lambda folder: (folder / "vocab.json").unlink(), r"vocab\.json"),
        (lambda folder: (folder / "prepared.json").write_text("{"), "cannot be used"),
        (lambda folder: (folder / "prepared.json").write_text("[]"), "cannot be used"),
        (lambda folder: (folder / "prepared.json").write_text('{"format": 1}'), "'root' is missing"),
        (lambda folder: (folder / "prepared.json").write_text('{"format": 9}'), "format 9"),
        (lambda folder: (folder / "prepared.json").write_bytes(b"\xff"), "cannot be used"),
        (lambda folder: (folder / "vocab.json").write_text("{}"), "no tokens"),
    ],
)
def test_a_damaged_folder_is_named(source: Path, tmp_path: Path, damage: Any, says: str) -> None:
    make(source, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(PreparedError, match=says) as raised:
        Prepared.load(tmp_path / "out")
    assert str(tmp_path / "out") in str(raised.value)


def test_a_changed_part_is_noticed(source: Path, tmp_path: Path) -> None:
    prepared = make(source, tmp_path / "out")
    path = prepared.folder / "test.jsonl"
    changed = [replace(one, reference="easier") for one in prepared.utterances("test")]
    manifest.write(path, changed)
    with pytest.raises(PreparedError, match=r"test\.jsonl was changed"):
        prepared.utterances("test")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PreparedError, match=r"test\.jsonl:1: .*prepare the data again"):
        prepared.utterances("test")
    path.unlink()
    with pytest.raises(PreparedError, match="cannot be read"):
        prepared.utterances("test")
    with pytest.raises(OptionError, match=r"split 'tset' is unknown \(known: train, dev, test\)"):
        prepared.utterances("tset")
    (prepared.folder / "quarantine.jsonl").write_text('{"reason": "x"}', encoding="utf-8")
    with pytest.raises(PreparedError, match=r"quarantine\.jsonl:1"):
        list(prepared.quarantined())


def test_a_record_that_points_elsewhere_runs_and_reads_nothing(source: Path, tmp_path: Path) -> None:
    make(source, tmp_path / "out")
    path = tmp_path / "out" / "prepared.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name, value in (("target_lang", "../x"), ("normaliser", "os.system"), ("orthography", ["a b"])):
        path.write_text(json.dumps(record | {name: value}), encoding="utf-8")
        with pytest.raises(PreparedError, match="cannot be used"):
            Prepared.load(tmp_path / "out")


def test_a_real_corpus_is_prepared(real_corpora: Path, tmp_path: Path) -> None:
    prepared = prepare(real_corpora / "bom-berom", tmp_path / "out", target_lang="bom")
    assert prepared.marks[0] == "one_speaker" and prepared.corpus == "bom-berom"
    assert sum(len(prepared.utterances(name)) for name in PARTS) + len(list(prepared.quarantined())) == 210
