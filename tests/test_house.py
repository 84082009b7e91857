"""The house's rules, read off the source: imports point one way, names, lengths, docstrings."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mms_adapt

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mms_adapt"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "embedded" not in path.parts)

# A module imports only modules of lower storeys (and its own folder). A new module is added here.
STOREYS = [
    {"_version", "errors", "containers", "av_audio"},
    {
        "contents",
        "files",
        "journal",
        "interruption",
        "language",
        "text",
        "plugins",
        "audio",
        "eaf",
        "praat",
        "media",
        "tiers",
        "tensorboard",
    }
    | {"orthography", "uncertainty", "edits", "disjoint", "licences", "seen", "columns"},
    {
        "manifest",
        "vocab",
        "windows",
        "stretches",
        "recordings",
        "archives",
        "power_law",
        "measure",
        "eaf_tier",
    }
    | {"eaf_tier", "ngram", "novelty"},
    {"ledger", "align", "ties", "marks", "breakdown", "pauses", "open_vocabulary"},
    {"draft"},
    {"corpora", "quality", "findings", "splits", "scoring", "decoders", "slider"},
    {"prepared", "reports", "metrics", "writers", "longform"},
    {"prepare", "inspection", "compare", "transcribe_options"},
    {
        "kernels",
        "narrow_kernels",
        "stack_kernels",
        "attention_kernels",
        "device",
        "tensor_file",
        "voice_activity",
    },
    {"rowwise", "conv_kernels"},
    {"adamw", "products", "packed_convolutions", "attending"},
    {"packed"},
    {"folding"},
    {"encoder", "encoder_layer", "layers", "pretrained", "quantise"},
    {"stock", "front", "masks", "recorded"},
    {"backbone"},
    {
        *("adapters batches cache passport augment recipe schedule".split()),
        *("room parallel stack kind_options".split()),
    },
    {"checkpoint", "resume"},
    {"registry", "start", "devset", "pace", "serving", "peft_format", "stock_export", "noted"},
    {"trial"},
    {"relatives", "composition"},
    {"task", "withdrawal"},
    {"step", "finishing"},
    {"keeping", "mixed"},
    {"training", "many", "transcriber", "decoding_trial"},
    {"evaluate", "language_model", "word_times", "voice", "correction", "drafts"},
    {"learning_curve", "residents", "selection", "slide", "part_length", "audit", "publishing"},
    {"bank"},
    {"transcribe"},
    {"terminal", "pictures"},
    {
        "cli_options",
        *("terminal_adapters terminal_findings terminal_selection terminal_slide terminal_tuning".split()),
        "terminal_prepared",
    },
    {*("cli_adapters cli_data cli_language_model cli_scores cli_selection cli_slide cli_train".split())},
    {"cli"},
    {"__main__"},
]
STOREY = {name: level for level, names in enumerate(STOREYS) for name in names}

HEAVY = {"torch", "transformers", "librosa", "datasets", "evaluate", "torchaudio"}
WITHOUT_TORCH = {
    *("eaf eaf_tier praat media tiers measure findings inspection".split()),
    *("errors licences language text plugins containers av_audio audio".split()),
    *("manifest orthography vocab corpora archives".split()),
    *("quality splits draft seen columns ties marks uncertainty edits disjoint windows recordings".split()),
    *("__init__ __main__".split()),
    *("stretches longform transcribe_options slider".split()),
    *("scoring breakdown compare writers reports ledger prepare prepared withdrawal".split()),
    *("journal ngram open_vocabulary align decoders registry noted".split()),
    *("terminal terminal_findings terminal_selection".split()),
    *("novelty pauses correction cli_selection cli_adapters terminal_adapters".split()),
    *("cli_slide terminal_slide terminal_tuning terminal_prepared".split()),
    *("cli cli_options cli_data cli_language_model cli_scores cli_train".split()),
}
ON_A_CARD = {"torchaudio_cuda.py"}  # a decoder that is nothing without torch, and imports it when it is built
LONGEST_FILE, LONGEST_FUNCTION = 350, 60
LONGER_FUNCTIONS = {"mms_adapt/training.py:train": 120, "mms_adapt/many.py:train_many": 85}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room(path: Path) -> str:
    """The module below mms_adapt, or the folder that holds it."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_modules(tree: ast.AST, *, package: str) -> list[tuple[int, str]]:
    """All (line, dotted name) that a tree imports at run time, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = [ast.Pass()]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def own_imports(path: Path) -> list[tuple[int, str]]:
    package = ".".join(path.parent.relative_to(ROOT).parts)
    names = imported_modules(parse(path), package=package)
    return [(line, name.split(".")[1]) for line, name in names if name.startswith("mms_adapt.")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert {name for _, name in own_imports(path)} == {"_version"}
        return
    here = room(path)
    assert here in STOREY, f"add {here!r} to the storeys in {Path(__file__).name} and to docs/architecture.md"
    wrong = [
        f"{path.name}:{line} imports {name}"
        for line, name in own_imports(path)
        if name != here and STOREY.get(name, 0) >= STOREY[here]
    ]
    assert not wrong, f"{wrong}: a module imports only what stands below it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_imports_stand_where_they_may(path: Path) -> None:
    package = ".".join(path.parent.relative_to(ROOT).parts)
    names = {name.split(".")[0] for _, name in imported_modules(parse(path), package=package)}
    if room(path) in WITHOUT_TORCH and path.name not in ON_A_CARD:
        assert not names & {"torch", "transformers", "torchaudio"}, "this module must work without torch"
    if room(path) not in {"stock", "metrics"}:
        assert "transformers" not in names or room(path) == "checkpoint", "only stock.py knows transformers"


def test_transformers_model_classes_are_imported_by_one_module_alone() -> None:
    for path in SOURCES:
        if path.name != "stock.py":
            assert not re.search(
                r"from transformers.* import .*(Wav2Vec2|AutoModel)", path.read_text("utf-8")
            )


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import mms_adapt",
        "import mms_adapt; dir(mms_adapt)",
        "import mms_adapt.cli",
        "from mms_adapt import MmsAdaptError, Utterance",
    ],
)
def test_light_names_load_nothing_heavy(statement: str) -> None:
    loaded = loaded_by(statement)
    assert not loaded & {*HEAVY, "soundfile", "scipy", "pandas"}
    if statement == "import mms_adapt":
        assert "numpy" not in loaded


def test_data_functions_load_no_torch() -> None:
    assert not loaded_by("from mms_adapt import prepare, Prepared, Score, Hypothesis") & {
        "torch",
        "transformers",
    }


def test_public_names_are_pinned() -> None:
    assert mms_adapt.__all__ == [
        "Bank",
        "Blend",
        "Hypothesis",
        "MmsAdaptError",
        "Prepared",
        "Score",
        "TrainConfig",
        "Utterance",
        "__version__",
        "compare",
        "evaluate",
        "inspect",
        "learning_curve",
        "prepare",
        "select",
        "slide",
        "train",
        "transcribe",
        "transcribe_stream",
        "withdraw",
    ]
    assert set(mms_adapt.__all__) <= set(dir(mms_adapt))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = mms_adapt.trian  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(set(mms_adapt.__all__) - {"__version__"}))
def test_public_names_are_what_they_say(name: str) -> None:
    found = getattr(mms_adapt, name)
    assert isinstance(found, type) if name[0].isupper() else type(found).__name__ == "function"
    assert found.__name__ == name
    assert found.__doc__


@pytest.mark.parametrize("name", ["compare", "learning_curve", "prepare", "evaluate", "slide", "transcribe"])
def test_a_module_does_not_hide_the_function_of_its_name(name: str) -> None:
    code = (
        f"import mms_adapt.{name}, mms_adapt; first = mms_adapt.{name};"
        f"from mms_adapt.{name} import {name};"
        f"assert first is {name} is mms_adapt.{name}; assert callable(first)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE, f"{path.name} has {len(lines)} lines: split it"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGER_FUNCTIONS.get(place, LONGEST_FUNCTION), f"{place} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_public_names_have_docstrings_and_nothing_asserts(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} has no docstring"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno} asserts; raise one of errors.py"
        if isinstance(node, ast.ClassDef):
            members = [node, *(one for one in node.body if isinstance(one, ast.FunctionDef))]
        elif isinstance(node, ast.Module):
            members = [one for one in node.body if isinstance(one, ast.FunctionDef)]
        else:
            continue
        for member in members:
            overloads = "overload" in map(ast.unparse, member.decorator_list)
            if not member.name.startswith("_") and not overloads:
                assert ast.get_docstring(member), (
                    f"{path.name}:{member.lineno} {member.name} has no docstring"
                )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_dataclasses_that_cross_borders_are_frozen(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith(("dataclass", "dataclasses.dataclass")):
                    assert "frozen=True" in decorator, f"{path.name}:{node.lineno} {node.name} is not frozen"


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "manager", "misc", "common", "core", "base"}
    assert not [path for path in SOURCES if path.stem in nothing]


def repository_files() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".cff", ".sh", ".ipynb", ".json", ".txt", ""}
    return [
        ROOT / name for name in listed if name and (ROOT / name).is_file() and Path(name).suffix in suffixes
    ]


def test_nothing_speaks_of_where_it_was_written() -> None:
    words = ["/wo" + "rk/", "pypi" + ".org", "deb.deb" + "ian.org", "npm" + "js.", "this work" + "place"]
    words += ["/opt/" + "wheels", "C" + "EO"]
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(word)}" for word in words))
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in repository_files()
        if path.name != "LICENSE" and (match := pattern.search(path.read_text(encoding="utf-8")))
    ]
    assert not found


def test_every_documentation_link_leads_somewhere() -> None:
    broken = []
    for path in repository_files():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
                if not (path.parent / target).exists():
                    broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_file_of_the_package_is_in_the_wheel() -> None:
    import tomllib

    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = {
        path
        for glob in options["tool"]["setuptools"]["package-data"]["mms_adapt"]
        for path in PACKAGE.glob(glob)
    }
    others = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert not [path for path in others if path.suffix != ".py" and path not in shipped]


def test_notebooks_are_committed_without_outputs() -> None:
    import json

    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None, f"strip {path.name}"
