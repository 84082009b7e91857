"""What a killed preparation leaves is removed by the next one, and nothing else is."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_prepare import make
from test_prepare import source as source

from mms_adapt import files, prepared

SCRIPT = """
import os, signal, sys
from mms_adapt.prepare import prepare
def stop(stage, done, *rest):
    if stage == "check" and done >= 5:
        os.kill(os.getpid(), signal.SIGKILL)
prepare(sys.argv[1], sys.argv[2], target_lang="xho", progress=stop)
"""


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def left(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def clear(out: Path) -> None:
    files.clear_leftovers(out, {"prepared.json", "train.jsonl", "dev.jsonl"}, "prepared.json")


def test_the_next_preparation_removes_what_a_killed_one_left(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    killed = subprocess.run([sys.executable, "-c", SCRIPT, str(source), str(out)], timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir() if path.is_dir()] != []
    made = make(source, out)
    assert [path.name for path in out.parent.iterdir()] == ["out"] and made.utterances("train")


def test_unfinished_folders_of_dead_processes_go(tmp_path: Path, dead: int) -> None:
    gone = left(tmp_path / f".out.{dead}", "train.jsonl", f".prepared.json.{dead}", f".dev.jsonl.{dead}.0af3")
    clear(tmp_path / "out")
    assert not gone.exists()


@pytest.mark.parametrize(
    "name", [".other.{}", ".out.{}.x", ".out.0{}", "out.{}", ".out.", ".out.{}.replaced"]
)
def test_folders_with_other_names_stay(tmp_path: Path, dead: int, name: str) -> None:
    kept = left(tmp_path / name.format(dead), "prepared.json")
    clear(tmp_path / "out")
    assert (kept / "prepared.json").is_file()


def test_folders_with_other_files_stay(tmp_path: Path, dead: int) -> None:
    kept = left(tmp_path / f".out.{dead}", "train.jsonl", "notes.txt")
    clear(tmp_path / "out")
    assert (kept / "train.jsonl").is_file()


def test_folders_of_living_processes_stay(tmp_path: Path, dead: int) -> None:
    kept = left(tmp_path / f".out.{os.getppid()}")
    with files.unfinished_folder(tmp_path / "out", {"prepared.json"}, "prepared.json") as mine:
        clear(tmp_path / "out")
        assert mine.is_dir()
    (tmp_path / "files").mkdir()
    (tmp_path / f".out.{dead}").symlink_to(tmp_path / "files")
    clear(tmp_path / "out")
    assert kept.is_dir() and not mine.exists() and (tmp_path / "files").is_dir()


def test_one_of_this_processes_number_that_it_does_not_fill_goes(tmp_path: Path) -> None:
    left(tmp_path / f".out.{os.getpid()}", "train.jsonl")
    with files.unfinished_folder(tmp_path / "out", {"train.jsonl"}, "prepared.json") as mine:
        assert not list(mine.iterdir())


def test_what_was_being_replaced_goes_only_where_there_is_something_in_its_place(
    tmp_path: Path, dead: int
) -> None:
    replaced = left(tmp_path / f".out.{dead}.replaced", "prepared.json", "anything")
    clear(tmp_path / "out")
    assert replaced.is_dir()
    left(tmp_path / "out", "prepared.json")
    clear(tmp_path / "out")
    assert not replaced.exists() and prepared.RECORD == "prepared.json"


def test_what_is_no_file_is_written_into_and_stays_what_it_is(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real.json", tmp_path / "link.json", tmp_path / "pipe"
    real.write_text("old", encoding="utf-8")
    link.symlink_to(real)
    files.write(link, "new")
    assert link.is_symlink() and real.read_text(encoding="utf-8") == "new"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    files.write(pipe, "through")
    assert reader.communicate(timeout=60)[0] == b"through" and pipe.is_fifo()
    script = (
        "import sys; from mms_adapt import files; from pathlib import Path; files.write(Path('{}'), 'said')"
    )
    for place in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        words = [sys.executable, "-c", script.format(place)]
        assert subprocess.run(words, capture_output=True, check=True).stdout == b"said", place
        with (tmp_path / "out.txt").open("wb") as out:
            subprocess.run(words, stdout=out, check=True)
        assert (tmp_path / "out.txt").read_bytes() == b"said"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.json", "out.txt", "pipe", "real.json"]


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    place, texts = tmp_path / "score.json", [str(number) * 50_000 for number in range(4)]

    def work(text: str) -> None:
        for _ in range(20):
            files.write(place, text)
            assert place.read_text(encoding="utf-8") in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(work, texts))
    assert [one.name for one in tmp_path.iterdir()] == ["score.json"]
