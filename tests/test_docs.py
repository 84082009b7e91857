"""What the documents show works: commands and Python are run on a tiny corpus, modules are used."""

import importlib.util
import re
import shlex
import shutil
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from mms_adapt import backbone, plugins
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Hypothesis
from mms_adapt.scoring import score
from mms_adapt.writers import elan

ROOT = Path(__file__).parents[1]
# Their commands are run, in their order; those of docs/corpora.md by test_docs_corpora.py.
RUN = ["README.md", "docs/getting_started.md", "docs/inspect.md", "docs/not_fooling_oneself.md"]
RUN += [
    "docs/for_engineers.md",
    "docs/training.md",
    "docs/serving.md",
    "docs/transcribing.md",
    "docs/selecting.md",
    "docs/composing.md",
    "docs/auditing.md",
]
SHELL = {
    "make",
    "source",
    "git",
    "cd",
}  # the environment's own; the makefile's targets are tested in test_cli.py


def blocks(document: str) -> list[tuple[str, str]]:
    """Return what follows the fence and what is inside, for every block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```([^\n]*)\n(.*?)^```", text, re.S | re.M)


def commands(document: str) -> list[list[str]]:
    """Return the lines of a document's blocks that are commands of this package."""
    lines = [line for info, block in blocks(document) if not info for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("mms-adapt ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents tell of it, with a corpus and a backbone that take seconds."""
    folder = tmp_path_factory.mktemp("docs")
    tiny.backbone(folder / "base")
    tiny.corpus(folder / "recordings" / "mdw", 40)
    speakers = folder / "recordings" / "mdw" / "utterances.jsonl"
    speakers.write_text(speakers.read_text(encoding="utf-8").replace('"s0"', '"AB"'), encoding="utf-8")
    (folder / "stories.txt").write_text("ab cd\nda ba\n", encoding="utf-8")
    for name in ("clip", "new", "session1", "session3", "tape"):
        soundfile.write(folder / f"{name}.wav", tiny.speech("ab cad", 5), tiny.RATE_HZ)
    document = elan.render([Hypothesis("", recording="session3.wav")]).replace(elan.TIER, "notes")
    (folder / "session3.eaf").write_text(document, encoding="utf-8")
    return folder


def adapted(words: list[str], place: Path) -> list[str]:
    """Return a command as it is, but for the model and the length of a training."""
    instead = {"facebook/mms-1b-all": "base", "facebook/mms-lid-126": "lid"}
    words = [instead.get(word, word) for word in words]
    if "lid" in words:
        tiny.lid(place / "lid")
    if words[0] in ("train", "train-many", "learning-curve"):
        brief = ["--max-minutes", "0.01"] if words[0] == "learning-curve" else ["--epochs", "1"]
        words = [*words, *brief, *([] if "--backbone" in words else ["--backbone", "base"])]
    if words[0] in ("train", "train-many") and (place / "adapters").exists():
        words.append("--restart")
    if words[0] == "prepare" and (place / "prepared").exists():
        words.append("--overwrite")
    if "--mix" in words:  # docs/serving.md has dialects of a language in a registry
        words = ["dialects" if word == "adapters" else word for word in words]
    if words[0] == "learning-curve":
        words += ["--minutes", "0.2", "--minutes", "0.4"]
    if "*.wav" in words:
        found = [path.name for path in sorted(place.glob("*.wav"))]
        at = words.index("*.wav")
        words[at : at + 1] = found
    return words


@pytest.mark.slow
@pytest.mark.parametrize("document", RUN)
def test_every_command_of_a_document_runs(
    document: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mms_adapt
    from mms_adapt.cli import main

    monkeypatch.chdir(place)
    ready(place)
    for words in commands(document):
        if "flashlight" in words and importlib.util.find_spec("flashlight") is None:
            continue  # it has wheels for some versions of Python alone
        if words[0] == "compare":
            two_scores(place, words)
        if words[0] == "train-many":
            for code in ("wol", "chr"):
                source = tiny.corpus(place / "recordings" / code, 20, target_lang=code)
                mms_adapt.prepare(source, place / "prepared" / code, target_lang=code, overwrite=True)
        if (words[0] == "transcribe" and document == "docs/serving.md") or words[0] == "adapters":
            registries(place)
        if words[0] == "select":
            sessions(place / "recordings" / "new")
        if "prepared/telephone" in words and not (place / "prepared" / "telephone").exists():
            source = tiny.corpus(place / "recordings" / "telephone", 30, seed=3)
            mms_adapt.prepare(source, place / "prepared" / "telephone", target_lang="mdw")
        if "to_correct" in words and words[0] == "prepare":
            corrected(place / "to_correct")
        with pytest.raises(SystemExit) as stopped:
            main(adapted(words, place))
        said = capsys.readouterr()
        assert not stopped.value.code, f"{document}: {shlex.join(words)}\n{said.out}{said.err}"
        if words[0] == "withdraw":  # the next document has all speakers again
            shutil.rmtree(place / "prepared")
            ready(place)


def ready(place: Path) -> None:
    """Make prepared data and an adapter where a document before did not, so that each can be run alone."""
    import mms_adapt

    if not (place / "prepared" / "mdw").exists():
        mms_adapt.prepare(place / "recordings" / "mdw", place / "prepared" / "mdw", target_lang="mdw")
        config = mms_adapt.TrainConfig(backbone="base", epochs=1)
        mms_adapt.train(place / "prepared" / "mdw", place / "adapters" / "mdw", config, resume=False)


def sessions(folder: Path) -> None:
    """Write three recordings of sentences with pauses between them."""
    folder.mkdir()
    for session in range(3):
        said = [tiny.speech(tiny.sentence(10 * session + one), one) for one in range(4)]
        pause = np.random.default_rng(session).normal(0, 0.003, 2 * tiny.RATE_HZ).astype(np.float32)
        pieces = [piece for one in said for piece in (pause, one)]
        soundfile.write(folder / f"day{session}.wav", np.concatenate(pieces), tiny.RATE_HZ)


def corrected(folder: Path) -> None:
    """Write something into every empty annotation, as a person does with ELAN."""
    documents = sorted(folder.glob("*.eaf"))
    assert len(documents) == 3
    for place, document in enumerate(documents):
        first, *others = re.split(
            r"(?<=<ANNOTATION_VALUE>)(?=</ANNOTATION_VALUE>)", document.read_text(encoding="utf-8")
        )
        said = [f"{'abc'[place]}d {tiny.sentence(10 * place + number)}" for number in range(len(others))]
        written = "".join(text + rest for text, rest in zip(said, others, strict=True))
        document.write_text(first + written, encoding="utf-8")


def two_scores(place: Path, words: list[str]) -> None:
    """Put the two scores where a command compares them."""
    for path in [place / word for word in words[1:] if word.endswith(".json")][:2]:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(place / "score.json", path)


def test_no_command_is_forgotten() -> None:
    """Every line of a block without a language is a command that is known here, or no command at all."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for info, block in blocks(path.relative_to(ROOT).as_posix()):
            first = block.split(maxsplit=1)[0] if block.strip() else ""
            if info == "sh" or info == "bash" or info == "console":
                pytest.fail(
                    f"{path.name}: write the block of {first!r} without a language, as the others are"
                )
            for line in block.splitlines():
                if not info and re.match(r"(\$|pip|uv|mms_adapt|mms-adapt\b(?! [a-z-]+ ))", line):
                    assert line == "mms-adapt --help", f"{path.name}: {line!r} is run by no test"


def python_blocks() -> Iterator[tuple[str, int, str, str]]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        name = path.relative_to(ROOT).as_posix()
        for number, (info, block) in enumerate(blocks(name)):
            if info.startswith("python"):
                yield name, number, info, block


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "number"),
    [(name, number) for name, number, info, _ in python_blocks() if info == "python"],
)
def test_python_of_the_documents_runs(
    document: str,
    number: int,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import mms_adapt

    monkeypatch.chdir(place)
    block = blocks(document)[number][1]
    if "mms_adapt.prepare(" in block:
        shutil.rmtree(place / "prepared", ignore_errors=True)
        shutil.rmtree(place / "adapters", ignore_errors=True)
    if "adapters" in block and "mms_adapt.train(" not in block:
        ready(place)
    if "mms_adapt.Bank(" in block or "dialects/" in block:
        registries(place)
    if "Wav2Vec2ForCTC" in block:
        stock_folder(place)
    monkeypatch.setattr(mms_adapt, "train", trained_briefly(mms_adapt.train))
    exec(compile(block, f"{document}, block {number}", "exec"), {"__name__": "document"})
    capsys.readouterr()


def trained_briefly(train: object) -> object:
    """Return `train` with the tiny backbone, and one pass over the data."""
    from mms_adapt import TrainConfig

    def brief(prepared: object, out: object, config: TrainConfig | None = None) -> object:
        return train(prepared, out, replace(config or TrainConfig(), backbone="base", epochs=1))  # type: ignore[operator]

    return brief


def stock_folder(place: Path) -> None:
    """Put an adapter beside the backbone's files, as docs/adapter_folder.md says."""
    ready(place)
    if not (place / "folder").exists():
        shutil.copytree(place / "base", place / "folder")
        for name in ("adapter.mdw.safetensors", "vocab.json"):
            shutil.copy(place / "adapters" / "mdw" / name, place / "folder" / name)


def registries(place: Path) -> None:
    """Put further languages and dialects beside the adapter, as docs/serving.md has them."""
    ready(place)
    adapter = AdapterFolder.load(place / "adapters" / "mdw")
    for code in ("wol", "chr"):
        passport = replace(adapter.passport, target_lang=code)
        replace(adapter, passport=passport).save(place / "adapters" / code)
    for name, factor in (("north", 1.0), ("south", 0.5)):
        tensors = {one: factor * tensor for one, tensor in adapter.tensors.items()}
        replace(adapter, tensors=tensors).save(place / "dialects" / "mdw" / name)


def module_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return the module that docs/extending.md shows, found by its dotted name as a stranger's is."""
    (source,) = [block for info, block in blocks("docs/extending.md") if info == f"python module={kind}"]
    name = f"shown_{kind}"
    package, module = types.ModuleType(name), types.ModuleType(f"{name}.mine")
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, f"{name}.mine", module)
    package.__path__ = []
    exec(compile(source, f"docs/extending.md, {kind}", "exec"), module.__dict__)
    found = plugins.load(kind, f"{name}.mine")
    assert found is module
    return found


def test_the_page_extends_every_open_folder() -> None:
    shown = {info.partition("=")[2] for _, _, info, _ in python_blocks() if "module=" in info}
    assert shown == {"corpora", "adapters", "decoders", "writers", "reports"}


def test_the_reader_shown_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mms_adapt

    reader = module_of("corpora", monkeypatch)
    source = tmp_path / "recordings"
    source.mkdir()
    assert not reader.recognise(source)
    for number in range(24):
        text = tiny.sentence(number)
        name = f"{'ann ben cat dan'.split()[number % 4]}_{number:02}"
        soundfile.write(source / f"{name}.wav", tiny.speech(text, number), tiny.RATE_HZ)
        (source / f"{name}.txt").write_text("remark: laughs" if number == 5 else text, encoding="utf-8")
    assert reader.recognise(source)
    prepared = mms_adapt.prepare(
        source, tmp_path / "out", target_lang="mdw", corpus="shown_corpora.mine",
        corpus_options={"without": "remark"},
    )  # fmt: skip
    speakers = {one.speaker for part in ("train", "dev", "test") for one in prepared.utterances(part)}
    assert speakers == {"ann", "ben", "cat", "dan"}
    assert [(one["reason"], one["count"]) for one in prepared.counts["skipped"]] == [("remark", 1)]


def test_the_kind_shown_trains(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mms_adapt

    module_of("adapters", monkeypatch)
    monkeypatch.chdir(place)
    ready(place)
    config = mms_adapt.TrainConfig(backbone="base", epochs=1, adapter="shown_adapters.mine")
    result = mms_adapt.train("prepared/mdw", "scale", config, resume=False)
    from safetensors.numpy import load_file

    tensors = load_file(result.folder / "adapter.mdw.safetensors")
    gains = [value for name, value in tensors.items() if name.endswith("adapter_layer.gain")]
    assert len(gains) == backbone.load("base").model.config.num_hidden_layers
    assert all(np.abs(one).max() > 0 for one in gains)


def test_the_decoder_shown_leaves_out_what_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = module_of("decoders", monkeypatch).build(tiny.ENGLISH, least=0.6)
    ids = tiny.ENGLISH.encode("ab cd")
    emissions = np.full((1, 2 * len(ids), len(tiny.ENGLISH)), 0.01)
    for place, token in enumerate(ids):
        emissions[0, 2 * place, token] = 0.9 if place < 2 else 0.5
        emissions[0, 2 * place + 1, tiny.ENGLISH.blank_id] = 0.9
    assert decoder.decode(np.log(emissions), [2 * len(ids)])[0].text == "ab"
    assert decoder.decode(np.log(emissions), [4])[0].text == "ab"


def test_the_writer_and_the_report_shown_write(monkeypatch: pytest.MonkeyPatch) -> None:
    from mms_adapt.decoders import Word
    from mms_adapt.reports import Report

    writer, report = module_of("writers", monkeypatch), module_of("reports", monkeypatch)
    assert writer.SUFFIX == ".labels.txt" and writer.ONE_RECORDING
    one = Hypothesis("a b", words=(Word("a", 0.5, 1.0, 1.0), Word("b", 1.0, 2.0, 1.0)))
    assert writer.render([one]) == "0.500\t1.000\ta\n1.000\t2.000\tb\n"
    row = report.render(Report(score(["abc"], ["abd"]), "mdw"))
    assert row.startswith("mdw & 33.3 \\% & ") and row.endswith("\\\\\n")


def test_links_lead_from_the_readme_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in readme]
    assert not missing
    for name in (path.name for path in (ROOT / "notebooks").glob("*.ipynb")):
        assert name in (ROOT / "docs" / "for_engineers.md").read_text(encoding="utf-8")
