"""The command line: every documented command parses; bad input gives one message and an exit code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mms_adapt import cli_options, terminal
from mms_adapt.cli import main
from mms_adapt.errors import OptionError

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    *("prepare", "inspect", "withdraw", "train", "train-many", "learning-curve", "lm", "tune"),
    *("evaluate", "compare", "transcribe", "select"),
]


ADAPTERS = ["list", "show", "verify", "diff", "merge", "publish"]


class Ran:
    """Exit code and output of one call."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        self.code = stopped.value.code or 0
        self.out, self.err = captured.out, captured.err

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("command", [*COMMANDS, *(f"adapters {one}" for one in ADAPTERS)])
def test_help_tells_options_and_gives_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, *command.split(), "--help")
    assert ran.code == 0
    assert f"Example: mms-adapt {command}" in re.sub(r"\s+", " ", ran.out)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "--help")
    assert ran.code == 0
    assert all(command in ran.out for command in [*COMMANDS, "adapters"])
    assert all(f"  {command} " in Ran(capsys, "adapters", "--help").out for command in ADAPTERS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import mms_adapt

    assert Ran(capsys, "--version").out == f"mms-adapt {mms_adapt.__version__}\n"


def test_help_loads_nothing_heavy_and_little_at_all() -> None:
    """How long it takes, benchmarks/bench_inference.py tells; what takes time is loading modules."""
    code = (
        "import sys\n"
        "from mms_adapt.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'torch transformers datasets evaluate librosa soundfile numpy jiwer rich'.split()\n"
        "print('HEAVY', *sorted(set(heavy) & set(sys.modules)))\n"
        "print(len(sys.modules), sum(one.startswith('mms_adapt') for one in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, heavy, counts = done.stdout.splitlines()
    every, own = map(int, counts.split())
    assert heavy.strip() == "HEAVY" and every < 200 and own < 25


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiers"], "'tiers': write KEY=VALUE"),
        (["=A_*"], "'=A_*': write KEY=VALUE"),
        (["tiers=A_*", "tiers=B_*"], "tiers comes twice"),
        (["tiers=A_*"], "'tiers': layout spans has no such"),
    ],
)
def test_options_of_a_layout(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "utterances.jsonl").touch()
    options = [part for word in words for part in ("--corpus-option", word)]
    ran = Ran(capsys, "prepare", tmp_path, "--target-lang", "xho", "--out", tmp_path / "out", *options)
    assert (ran.code, len(ran.errors)) == (2, 1) and message in ran.err


def documented_commands() -> list[tuple[str, list[str]]]:
    found = []
    for path in DOCUMENTS:
        for block in re.findall(r"```\w*\n(.*?)```", path.read_text(encoding="utf-8"), re.S):
            for line in block.splitlines():
                if line.startswith("mms-adapt "):
                    found.append((f"{path.name}: {line}", shlex.split(line)[1:]))
    return found


@pytest.mark.parametrize(("line", "words"), documented_commands(), ids=lambda value: str(value)[:60])
def test_every_documented_command_parses(line: str, words: list[str]) -> None:
    import typer

    from mms_adapt.cli import app

    if words[0].startswith("-"):
        return
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    assert command.make_context("", words, resilient_parsing=False) is not None


def test_the_documents_show_every_command() -> None:
    shown = {words[0] for _, words in documented_commands()}
    assert set(COMMANDS) <= shown
    assert {words[1] for _, words in documented_commands() if words[0] == "adapters"} == set(ADAPTERS)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["prepare", "nowhere", "--target-lang", "mdw", "--out", "out"], 1, "nowhere"),
        (["prepare", ".", "--target-lang", "mdw", "--out", "out"], 1, "utterances.jsonl"),
        (["prepare", "corpus", "--target-lang", "de", "--out", "out"], 1, "deu"),
        (["prepare", "corpus", "--target-lang", "../x", "--out", "out"], 1, "../x"),
        (["prepare", "corpus", "--target-lang", "xho", "--out", "o", "--normaliser", "basik"], None, "basic"),
        (["prepare", "corpus", "--target-lang", "xho", "--out", "o", "--corpus", "spam"], None, "spans"),
        (["prepare", "corpus", "--target-lang", "xho", "--out", "o", "--split", "spkr"], None, "speaker"),
        (["train", "nowhere", "--out", "out"], 1, "nowhere"),
        (["train", "nowhere", "--out", "out", "--adapter-layers", "some"], 2, "some"),
        (["train", "nowhere", "--out", "out", "--layers", "bottom:3"], 2, "bottom:3"),
        (["train", "nowhere", "--out", "out", "--set", "droput=0.1"], 2, "known: adapter, "),
        (["train", "nowhere", "--out", "out", "--set", "dropout=much"], 2, "dropout='much'"),
        (["train-many", "nowhere", "--out", "out"], 1, "nowhere"),
        (["evaluate", "nowhere", "nowhere"], 1, "nowhere"),
        (["transcribe", "clip.wav"], 2, "--target-lang"),
        (["transcribe", "clip.wav", "--target-lang", "xho", "--registry", "nowhere"], 1, "nowhere"),
        (["transcribe", "clip.wav", "--target-lang", "../../x"], 1, "../../x"),
        (["transcribe", "clip.wav", "--target-lang", "xho", "--format", "doc"], None, "json"),
        (["adapters", "list", "nowhere"], 1, "nowhere"),
        (["adapters", "list", "corpus", "--target-lang", "de"], 1, "deu"),
        (["adapters", "list", "corpus", "--backbone", "nowhere"], 1, "nowhere"),
        (["adapters", "show", "nowhere"], 1, "nowhere"),
        (["adapters", "verify", "nowhere"], 1, "nowhere"),
        (["adapters", "verify", "corpus", "--tolerance", "2"], 2, "tolerance=2"),
        (["adapters", "diff", "nowhere", "corpus"], 1, "nowhere"),
        (["adapters", "merge", "nowhere", "--out", "out"], 1, "nowhere"),
        (["adapters", "merge", "a", "b", "--out", "corpus"], 2, "there already"),
        (["adapters", "merge", "a", "b", "--out", "out", "--weights", "0.3;0.7"], 2, "0.3,0.7"),
        (["adapters", "merge", "a", "--out", "o", "--weights", "1", "--dev", "corpus"], 2, "not both"),
        (["adapters", "publish", "nowhere", "--out", "out"], 1, "nowhere"),
    ],
    ids=lambda value: " ".join(value)[:70] if isinstance(value, list) else None,
)
def test_bad_input_gives_one_message(
    words: list[str],
    code: int | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "utterances.jsonl").write_text("", encoding="utf-8")
    ran = Ran(capsys, *words)
    assert ran.code in ({1, 2} if code is None else {code})
    assert len(ran.errors) == 1, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "words", [["prepare"], ["train", "x"], ["trian"], ["evaluate", "a", "b", "--jsn", "x"]]
)
def test_wrong_usage_exits_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, *words)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_stopping_a_command_exits_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys as system

    import mms_adapt.prepare  # noqa: F401

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(system.modules["mms_adapt.prepare"], "prepare", stop)
    ran = Ran(capsys, "prepare", tmp_path, "--target-lang", "mdw", "--out", tmp_path / "out")
    assert ran.code == 130
    assert ran.errors == ["error: stopped; run the same command again to go on"]


def test_a_closed_standard_output_is_no_success() -> None:
    words = f"{shlex.quote(sys.executable)} -m mms_adapt --version >&-"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-n", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_train_takes_its_language_from_the_command_line_only() -> None:
    said = make("train", LANG="en_US.UTF-8")
    assert "which language" in said.stdout + said.stderr
    assert "en_US" not in said.stdout
    said = make("train", "LANG=mdw", "SOURCE=there", LANG="de_DE.UTF-8")
    assert '"there" --target-lang "mdw" --out "prepared/mdw"' in said.stdout
    assert "train" in said.stdout and "evaluate" in said.stdout and "de_DE" not in said.stdout
    assert "--split test --note" in said.stdout
    said = make("train", "LANG=mdw", "DATA=elsewhere")
    assert 'mms-adapt train "elsewhere" --out "adapters/mdw"' in said.stdout


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("help", "setup", "demo", "train", "test", "check", "bench", "notebooks"):
        assert f"make {target} " in done.stdout


def test_layers_and_other_options_of_training() -> None:
    from mms_adapt import cli_train

    def config(layers: str | None, *words: str) -> "cli_train.TrainConfig":
        return cli_train.config({"epochs": 3}, layers=layers, settings=list(words), lean=True)

    found = [config(layers) for layers in (None, "all", "12", "top:12")]
    assert [(one.adapter_layers, one.from_hidden) for one in found] == [
        ("all", False),
        ("all", False),
        (12, False),
        (12, True),
    ]
    chosen = config(None, "dropout=0.1", "cache_on=disk", "compile=true", "speed_factors=[1.0]")
    assert (chosen.dropout, chosen.cache_on, chosen.compile, chosen.speed_factors) == (
        0.1,
        "disk",
        True,
        (1.0,),
    )
    assert (chosen.epochs, chosen.lean) == (3, True)


def test_hot_words_of_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("brazza 4\nab\n", encoding="utf-8")
    found = cli_options.decoding(["beam_width=8"], ["ab=5", "oyo"], path)
    assert found == {"beam_width": "8", "hot_words": {"brazza": 4.0, "ab": 5.0, "oyo": 3.0}}
    assert cli_options.decoding(None) == {}
    with pytest.raises(OptionError, match="--hot-word 'ab=much': write WORD or WORD=WEIGHT"):
        cli_options.decoding(None, ["ab=much"])


def test_names_from_outside_do_not_move_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\x1b[2J\u202eb"
    ran = Ran(capsys, "prepare", folder, "--target-lang", "xho", "--out", tmp_path / "out")
    assert len(ran.errors) == 1 and "\\x1b[2J\\u202eb" in ran.err and "\x1b" not in ran.err
    terminal.console().print(f"note: {folder}", markup=False)
    assert "\x1b" not in capsys.readouterr().out
