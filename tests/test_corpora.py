"""Every layout found keeps the contract; which one fits a folder; what is passed over is counted."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import annotations
import layouts
import pytest
from conftest import MakeCorpus

from mms_adapt import corpora, manifest, plugins
from mms_adapt.corpora import Note, Reading, Skipped
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.manifest import Utterance

ROWS = [
    {"speaker": "ann", "source_split": "train"},
    {"speaker": "ben", "source_split": "test"},
    {"target_lang": "zul"},
    {"speaker": "ann"},
]


def spans_fixture(make_corpus: MakeCorpus) -> Path:
    return make_corpus([dict(row) for row in ROWS])


@dataclass(frozen=True)
class Fixture:
    """Writes the utterances of ROWS in a layout, and says what this layout can hold.

    A layout of one language gets the three in xho alone.
    """

    write: Callable[[MakeCorpus], Path]
    other_language: str | None = "zul"
    """What it calls the language of the third; None for a layout of one language."""
    speakers: bool = True
    splits: bool = True


FIXTURES = {
    "spans": Fixture(spans_fixture),
    "common_voice": Fixture(lambda make: layouts.common_voice(spans_fixture(make)), other_language="zu"),
    "fleurs": Fixture(lambda make: layouts.fleurs(spans_fixture(make)), other_language=None, speakers=False),
    "kaldi": Fixture(lambda make: layouts.kaldi(spans_fixture(make)), other_language=None),
    "table": Fixture(lambda make: layouts.table(spans_fixture(make))),
    "audio_text": Fixture(
        lambda make: layouts.audio_text(spans_fixture(make)), other_language=None, speakers=False
    ),
    "elan": Fixture(lambda make: annotations.as_elan(spans_fixture(make)), splits=False),
    "textgrid": Fixture(
        lambda make: annotations.as_textgrid(spans_fixture(make)), other_language=None, splits=False
    ),
    "datasets": Fixture(lambda make: layouts.saved(spans_fixture(make))),
}
LAYOUTS = plugins.names("corpora")


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    assert name in FIXTURES, f"add a fixture for {name!r} to FIXTURES in {Path(__file__).name}"
    return name


def test_a_layout_keeps_the_contract(layout: str, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    module, fixture = plugins.load("corpora", layout), FIXTURES[layout]
    root = fixture.write(make_corpus)
    (tmp_path / "nothing").mkdir()
    assert module.DESCRIPTION and "\n" not in module.DESCRIPTION
    assert module.recognise(root) and not module.recognise(tmp_path / "nothing")
    assert corpora.find(root) == (layout, module)
    reading = module.read(root, target_lang="xho")
    found = list(reading)
    assert len(found) == len({one.id for one in found}) == 3
    assert sorted(one.transcript for one in found) == ["sentence 0", "sentence 1", "sentence 3"]
    assert not [wrong for one in found if (wrong := manifest.complaint(one))]
    assert all(((reading.root or root) / one.recording).is_file() for one in found)
    other = fixture.other_language
    assert reading.skipped == ({Skipped("other_language", other): 1} if other else {})
    assert list(module.read(root, target_lang="xho")) == found
    by_speaker = {"sentence 0": "ann", "sentence 1": "ben", "sentence 3": "ann"}
    assert {one.transcript: one.speaker for one in found} == (
        by_speaker if fixture.speakers else dict.fromkeys(by_speaker)
    )
    test = [one.transcript for one in module.read(root, "test", target_lang="xho")]
    assert test == (["sentence 1"] if fixture.splits else [])


def test_a_wrong_folder_says_what_was_expected(layout: str, tmp_path: Path) -> None:
    module = plugins.load("corpora", layout)
    with pytest.raises(CorpusError) as raised:
        list(module.read(tmp_path, target_lang="xho"))
    assert module.DESCRIPTION in str(raised.value) and str(tmp_path) in str(raised.value)
    with pytest.raises(CorpusError, match="no layout that is known"):
        corpora.find(tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        corpora.find(tmp_path / "gone")


def test_a_folder_too_high_is_told_where_the_corpus_is(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus([{}])
    with pytest.raises(CorpusError, match=f"but {root} does"):
        corpora.find(tmp_path)


def test_several_fitting_layouts_are_named(make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_corpus([{}])
    monkeypatch.setattr(plugins, "names", lambda folder: ["spans", "spans_too"])
    spans = plugins.load("corpora", "spans")
    monkeypatch.setattr(plugins, "load", lambda folder, name: spans)
    with pytest.raises(OptionError, match="could be spans or spans_too; say which"):
        corpora.find(root)


def test_a_layout_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("", encoding="utf-8")
    package = tmp_path / "my_readers"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "one.py").write_text(
        "from mms_adapt.manifest import Utterance\n"
        "def read(root, split=None, *, target_lang):\n"
        "    for name in 'aba': yield Utterance(name, 'r.wav', 0.0, None, 'x', target_lang)\n",
        encoding="utf-8",
    )
    (package / "two.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    name, module = corpora.find(tmp_path, "my_readers.one")
    assert name == "my_readers.one"
    with pytest.raises(CorpusError, match="utterance 'a': the id comes twice"):
        corpora.gather(module, tmp_path, "xho")
    with pytest.raises(OptionError, match="no read"):
        corpora.find(tmp_path, "my_readers.two")
    with pytest.raises(OptionError, match="cannot be imported"):
        corpora.find(tmp_path, "my_readers.three")
    for one in [name for name in sys.modules if name.startswith("my_readers")]:
        del sys.modules[one]


def test_no_utterance_of_the_language_names_those_found(make_corpus: MakeCorpus) -> None:
    root = make_corpus([{}, {}, {"target_lang": "zul"}])
    name, module = corpora.find(root)
    with pytest.raises(CorpusError, match=r"no utterance is in 'mdw'; found: xho \(2\), zul \(1\)"):
        corpora.gather(module, root, "mdw")
    found = corpora.gather(module, root, "zul")
    assert (name, len(found.utterances), found.notes) == ("spans", 1, ())
    assert found.skipped == Counter({Skipped("other_language", "xho"): 2})
    empty = make_corpus([], "empty")
    with pytest.raises(CorpusError, match="there is no utterance in it"):
        corpora.gather(module, empty, "mdw")


def test_a_reading_counts_as_it_goes() -> None:
    one = Utterance("a", "r.wav", 0.0, None, "x", "xho")
    reading = Reading([Skipped("no_audio"), one, Note("look"), Skipped("no_audio"), Note("look")])
    assert next(reading) == one and sum(reading.skipped.values()) == 1
    assert list(reading) == [] and sum(reading.skipped.values()) == 2
    assert reading.notes == ["look"]


def test_options_of_a_layout_are_the_keywords_of_its_reader() -> None:
    def read(
        root: Path, split: str | None = None, *, target_lang: str, tiers: str = "", shape: str = ""
    ) -> None:
        """Read nothing."""

    def read_all(root: Path, *, target_lang: str, **options: str) -> None:
        """Read nothing."""

    module, open_ended = ModuleType("one"), ModuleType("two")
    module.read, open_ended.read = read, read_all  # type: ignore[attr-defined]
    corpora.check_options("one", module, {"tiers": "A_*"})
    corpora.check_options("two", open_ended, {"anything": "x"})
    with pytest.raises(OptionError, match=r"'teirs': layout one has no such; its options are tiers, shape"):
        corpora.check_options("one", module, {"teirs": "A_*", "shape": "x"})
    with pytest.raises(OptionError, match=r"'tiers': layout spans has no such; it has none"):
        corpora.check_options("spans", plugins.load("corpora", "spans"), {"tiers": "A_*"})


def test_rows_that_all_differ_are_not_told_one_by_one() -> None:
    rows = [Skipped("ragged_row", f"x.tsv:{number}") for number in range(200)]
    reading = Reading([*rows, Skipped("other_language", "zul"), rows[0]])
    assert list(reading) == [] and sum(reading.skipped.values()) == 202
    assert (
        reading.skipped[rows[0]] == 2 and reading.skipped[rows[49]] == 1 and rows[50] not in reading.skipped
    )
    assert reading.skipped[Skipped("ragged_row", "and others")] == 150
    assert reading.skipped[Skipped("other_language", "zul")] == 1


def test_real_corpora_are_read(real_corpora: Path) -> None:
    found = sorted(path for path in real_corpora.iterdir() if path.is_dir())
    assert found
    for root in found:
        name, module = corpora.find(root)
        gathered = corpora.gather(module, root, root.name.split("-")[0])
        assert name == "spans" and gathered.utterances and not gathered.skipped
