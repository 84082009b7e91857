"""From recordings to ELAN documents and, corrected, back through prepare; a tiny model that can spell."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from typer.testing import CliRunner

import mms_adapt
from mms_adapt import audio, backbone, corpora, correction, eaf
from mms_adapt.cli import app
from mms_adapt.corpora import elan
from mms_adapt.drafts import write_drafts
from mms_adapt.errors import AdapterMismatchError, AudioError, CorpusError, MmsAdaptError, OptionError
from mms_adapt.novelty import Worth
from mms_adapt.prepared import Prepared
from mms_adapt.selection import Selection, SelectOptions
from mms_adapt.transcriber import Transcriber


@dataclass(frozen=True)
class World:
    """An adapter, prepared data, and long recordings of sentences with pauses between them."""

    adapter: Path
    base: Path
    prepared: Prepared
    recordings: Path
    said: dict[str, list[tuple[float, float]]]


def recording(path: Path, numbers: range) -> list[tuple[float, float]]:
    """Write sentences with two seconds of noise between them; return where each lies."""
    random = np.random.default_rng(numbers.start)
    pieces, places, start = [], [], 0
    for number in numbers:
        pieces.append((0.003 * random.standard_normal(2 * tiny.RATE_HZ)).astype(np.float32))
        start += len(pieces[-1])
        pieces.append(tiny.speech(tiny.sentence(number), number))
        places.append((start / tiny.RATE_HZ, (start + len(pieces[-1])) / tiny.RATE_HZ))
        start += len(pieces[-1])
    soundfile.write(path, np.concatenate(pieces), tiny.RATE_HZ)
    return places


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    base = tiny.backbone(folder / "base")
    tiny.fitted(backbone.load(base, device="cpu"), folder / "adapter")
    data = mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")
    (folder / "new").mkdir()
    said = {
        name: recording(folder / "new" / f"{name}.wav", numbers)
        for name, numbers in (("one", range(500, 506)), ("three", range(700, 706)), ("two", range(600, 606)))
    }
    return World(folder / "adapter", base, data, folder / "new", said)


def chosen(world: World, out: Path, **options: object) -> Selection:
    given: dict[str, object] = {"adapter": world.adapter, "backbone": str(world.base), "minutes": 0.2}
    if "strategy" in options:
        given["options"] = SelectOptions(strategy=str(options.pop("strategy")))
    return mms_adapt.select([world.recordings], out, **{**given, **options})  # type: ignore[arg-type]


def fill(document: Path, texts: dict[float, str]) -> None:
    """Write into the annotations of the tier "text", by where they start, as a person does with ELAN."""
    found = eaf.parse(document.read_bytes(), document.name)
    (tier,) = (one for one in found.tiers if one.name == "text")
    written = document.read_text(encoding="utf-8")
    for one in tier.annotations:
        for start_s, text in texts.items():
            if one.start_ms is not None and abs(one.start_ms / 1000 - start_s) < 1e-3:
                pattern = rf'(ANNOTATION_ID="{one.id}"[^>]*>\s*<ANNOTATION_VALUE>)()(</ANNOTATION_VALUE>)'
                written, count = re.subn(pattern, rf"\g<1>{text}\g<3>", written)
                assert count == 1
    document.write_text(written, encoding="utf-8")


def test_stretches_are_sentences_and_drafts_are_read(world: World, tmp_path: Path) -> None:
    found = chosen(world, tmp_path / "out", minutes=5)
    assert len(found.stretches) == 18 and all(one.rank for one in found.stretches)
    transcriber = Transcriber.load(world.adapter, backbone=str(world.base))
    for name, places in world.said.items():
        mine = [one for one in found.stretches if Path(one.recording).stem == name]
        for one, (start_s, end_s) in zip(mine, places, strict=True):
            assert start_s - 0.2 < one.start_s < start_s + 0.3 and end_s - 0.3 < one.end_s < end_s + 0.2
            heard = transcriber.waveforms([audio.read(one.recording, one.start_s, one.end_s)])[0]
            assert (one.draft, one.confidence) == (heard.text, pytest.approx(heard.confidence, abs=1e-4))
    assert len({one.draft for one in found.stretches}) > 5
    assert found.passed_over["pauses"] > 25
    assert (found.target_lang, found.strategy) == ("mdw", "mixed") and found.adapter.startswith("mdw@")


def test_minutes_are_kept_and_chance_stands_beside(world: World, tmp_path: Path) -> None:
    found = chosen(world, tmp_path / "out", strategy="confidence", json=tmp_path / "chosen.json")
    picked = [one for one in found.stretches if one.rank]
    assert 0.1 < found.chosen.minutes <= 0.2 and found.chosen.utterances == len(picked) < 18
    assert found.chosen.minutes * 60 == pytest.approx(
        sum(one.end_s - one.start_s for one in picked), abs=0.01
    )
    least = sorted(one.confidence for one in found.stretches)[: len(picked) - 2]
    assert set(least) <= {one.confidence for one in picked}
    assert found.chosen.confidence < found.by_chance.confidence
    assert found.chosen.sound is None  # nothing is known
    lines = (tmp_path / "out" / "selection.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 18 and sorted(filter(None, (json.loads(one)["rank"] for one in lines))) == list(
        range(1, len(picked) + 1)
    )
    written = json.loads((tmp_path / "chosen.json").read_text(encoding="utf-8"))
    assert len(written["stretches"]) == len(picked) and written["chosen"]["minutes"] == found.chosen.minutes


def test_corrected_documents_come_back_and_nothing_else(world: World, tmp_path: Path) -> None:
    """Some annotations are filled; neither the empty ones nor any draft become utterances."""
    found = chosen(world, tmp_path / "out", minutes=5)
    assert [one.name for one in found.documents] == ["one.eaf", "three.eaf", "two.eaf"]
    expected = {}
    for document in found.documents:
        mine = [one for one in found.stretches if Path(one.recording).stem == document.stem]
        texts = {
            one.start_s: f"{document.stem} {'abcd'[place] * (place + 1)}"
            for place, one in enumerate(mine[:4])
        }
        fill(document, texts)
        expected |= {(f"{document.stem}.wav", start_s): text for start_s, text in texts.items()}
    back = mms_adapt.prepare(tmp_path / "out", tmp_path / "more", target_lang="mdw")
    kept = [one for part in ("train", "dev", "test") for one in back.utterances(part)]
    left = [one.utterance for one in back.quarantined()]
    assert {(one.recording, one.start_s): one.transcript for one in [*kept, *left]} == pytest.approx(expected)
    assert len(kept) >= 9
    skipped = {(one["reason"], one["detail"]): one["count"] for one in back.counts["skipped"]}
    assert skipped[("empty_annotation", "")] == 6 and skipped[("other_tier", "a machine's draft")] == 36


def test_drafts_alone_are_refused(world: World, tmp_path: Path) -> None:
    chosen(world, tmp_path / "out")
    with pytest.raises(CorpusError, match=r"no tier can be told to hold transcripts.*a machine's draft"):
        mms_adapt.prepare(tmp_path / "out", tmp_path / "more", target_lang="mdw")
    assert not (tmp_path / "more").exists()


def test_drafts_that_were_copied_or_asked_for_are_told(world: World, tmp_path: Path) -> None:
    found = chosen(world, tmp_path / "out", minutes=5)
    drafted = [one for one in found.stretches if one.draft]
    for document in found.documents:
        fill(
            document,
            {one.start_s: one.draft for one in drafted if Path(one.recording).stem == document.stem},
        )
    read = corpora.gather(elan, tmp_path / "out", "mdw")
    assert len(read.utterances) == len(drafted)
    unchanged = f"word for word the machine's draft beside them, right or unread: {len(drafted)}"
    assert any(one.endswith(unchanged) for one in read.notes)
    asked = corpora.gather(elan, tmp_path / "out", "mdw", options={"tiers": "draft"})
    assert [one.transcript for one in asked.utterances] == [one.transcript for one in read.utterances]
    told = f"called a machine's draft, to be read by a person first: {len(drafted)}"
    assert any(one.endswith(told) for one in asked.notes)


def test_what_is_transcribed_already_is_passed_over(world: World, tmp_path: Path) -> None:
    """Two of eight sentences of a recording are in the prepared data, and so not chosen again."""
    corpus = tmp_path / "corpus"
    tiny.corpus(corpus, 30)
    places = recording(corpus / "long.wav", range(500, 508))
    with (corpus / "utterances.jsonl").open("a", encoding="utf-8") as file:
        for number, (start_s, end_s) in enumerate(places[:2]):
            line = {"id": f"l{number}", "recording": "long.wav", "start_s": start_s, "end_s": end_s}
            line |= {"transcript": "abcd dcba" + " abcd" * number, "target_lang": "mdw", "speaker": "s1"}
            file.write(json.dumps(line) + "\n")
    data = mms_adapt.prepare(corpus, tmp_path / "prepared", target_lang="mdw")
    used = {one.id for part in ("train", "dev", "test") for one in data.utterances(part)}
    assert {"l0", "l1"} <= used
    found = mms_adapt.select(
        [corpus / "long.wav"],
        tmp_path / "out",
        adapter=world.adapter,
        backbone=str(world.base),
        prepared=data,
        minutes=5,
    )
    assert len(found.stretches) == 6 and found.passed_over["transcribed already"] > 2
    assert found.chosen.sound is not None and found.by_chance.sound is not None


def test_documents_of_recordings_with_one_name_are_told_apart(tmp_path: Path) -> None:
    worth, stretches = Worth(0, 0, 0, 0), []
    for folder in "abc":
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", np.full(16_000, ord(folder) / 1000), 16_000)
        path = (tmp_path / folder / "x.wav").as_posix()
        rank = None if folder == "c" else 1
        stretches.append(correction.Stretch(f"{path}:0", path, 0.0, 0.5, "<&>", 0.25, worth, rank))
    documents = correction.write(tmp_path / "out", stretches)
    assert [one.name for one in documents] == ["x.eaf", "x-2.eaf"]
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        *("x.eaf", "x.wav", "x-2.eaf", "x-2.wav", "selection.jsonl")
    }
    found = eaf.parse(documents[1].read_bytes(), "x-2.eaf")
    assert found.media[0].relative_url == "./x-2.wav"
    assert soundfile.read(tmp_path / "out" / "x-2.wav")[0][0] == pytest.approx(ord("b") / 1000, abs=1e-4)
    assert [(one.name, [each.text for each in one.annotations]) for one in found.tiers] == [
        ("text", [""]),
        ("draft", ["<&>"]),
        ("draft-confidence", ["25"]),
    ]


def test_other_programs_open_the_documents(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed")
    soundfile.write(tmp_path / "x.wav", np.zeros(48_000), 16_000)
    path = (tmp_path / "x.wav").as_posix()
    stretches = [
        correction.Stretch(f"{path}:{start}", path, start, start + 1.25, text, 0.5, Worth(0, 0, 0, 0), 1)
        for start, text in ((1.5, "cd"), (0.25, "ab"))
    ]
    found = pympi.Elan.Eaf(str(correction.write(tmp_path / "out", stretches)[0]))
    assert sorted(found.get_annotation_data_for_tier("draft")) == [(250, 1500, "ab"), (1500, 2750, "cd")]
    assert sorted(found.get_annotation_data_for_tier("text")) == [(250, 1500, ""), (1500, 2750, "")]


def test_drafts_in_batches_are_those_one_by_one(world: World) -> None:
    transcriber = Transcriber.load(world.adapter, backbone=str(world.base))
    waveforms = [tiny.speech(tiny.sentence(one), one) for one in range(5)] + [np.zeros(9000, np.float32)]
    together = write_drafts(transcriber, waveforms)
    alone = [write_drafts(transcriber, [one])[0] for one in waveforms]
    texts = [one.text for one in transcriber.waveforms(waveforms)]
    assert [one.hypothesis.text for one in together] == [one.hypothesis.text for one in alone] == texts
    assert any(texts)
    for one, other in zip(together[:-1], alone[:-1], strict=True):
        assert one.sound is not None and other.sound is not None
        np.testing.assert_allclose(one.sound, other.sound, atol=1e-4)
    assert together[-1].sound is None


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"minutes": -1.0}, OptionError, "minutes=-1"),
        ({"strategy": "best"}, OptionError, "strategy 'best' is unknown"),
        ({"adapter": None}, OptionError, "which adapter"),
        ({"target_lang": "wol"}, AdapterMismatchError, "'mdw'.*'wol'"),
    ],
)
def test_bad_options_are_told_and_nothing_is_written(
    world: World, tmp_path: Path, options: dict[str, object], kind: type[MmsAdaptError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        chosen(world, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_corrections_are_never_written_over(world: World, tmp_path: Path) -> None:
    found = chosen(world, tmp_path / "out")
    before = found.documents[0].read_bytes()
    with pytest.raises(OptionError, match="may hold somebody's corrections"):
        chosen(world, tmp_path / "out")
    assert found.documents[0].read_bytes() == before


def test_recordings_without_sound_or_none_at_all(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "silent.wav", np.zeros(48_000), 16_000)
    for given, kind, says in (
        ([tmp_path / "empty"], CorpusError, "there is no recording in it"),
        ([tmp_path / "silent.wav"], CorpusError, "nothing to transcribe: 3.0 s pauses"),
        ([tmp_path / "missing.wav"], AudioError, "missing.wav"),
        ([], OptionError, "no recordings are given"),
    ):
        with pytest.raises(kind, match=says):
            mms_adapt.select(given, tmp_path / "out", adapter=world.adapter, backbone=str(world.base))


def test_on_the_command_line(world: World, tmp_path: Path) -> None:
    words = ["select", str(world.recordings), "--adapter", str(world.adapter), "--backbone", str(world.base)]
    words += ["--prepared", str(world.prepared.folder), "--minutes", "0.2", "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "x.json"), "--quiet"])
    assert found.exit_code == 0, found.output
    assert re.search(r"^18 stretches, .* drafted by mdw@", found.output, re.M)
    assert re.search(r"^ +mixed +by chance$", found.output, re.M)
    assert re.search(r"^new trigrams of graphemes +\d+ +\d+$", found.output, re.M)
    assert re.search(r"^distance to the nearest known sound +\d\.\d\d +\d\.\d\d$", found.output, re.M)
    assert "did not beat random choice" in found.output
    assert f"mms-adapt prepare {tmp_path / 'out'} --target-lang mdw" in found.output.replace("\n", "")
    assert (tmp_path / "x.json").is_file()
