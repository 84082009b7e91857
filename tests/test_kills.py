"""Nothing is lost: killed anywhere, stopped by a full disk, and yet the adapter is the same to the last bit.

Every training that is killed is a process of its own, forked from one that has everything imported.
"""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

import mms_adapt
from mms_adapt import files, resume
from mms_adapt.errors import TrainingError
from mms_adapt.training import TrainConfig, train

WEIGHTS = "adapter.mdw.safetensors"
# what a forked process does: it counts what touches the disk, and kills itself in the middle of it
SCRIPT = """
import json, os, resource, signal, sys
from pathlib import Path
import torch
from mms_adapt import files, resume
from mms_adapt.training import TrainConfig, train
import transformers.models.wav2vec2.modeling_wav2vec2

torch.set_num_threads(1)
prepared, place, base, options = sys.argv[1:5]
config = TrainConfig(backbone=base, device='cpu', **json.loads(options))

def kill_at(number, kind):
    seen = 0
    def counted(real):
        def call(*given, **named):
            nonlocal seen
            seen += 1
            if seen == number and kind == 'before':
                os.kill(os.getpid(), signal.SIGKILL)
            found = real(*given, **named)
            if seen == number and kind == 'after':
                os.kill(os.getpid(), signal.SIGKILL)
            if seen == number and kind == 'term':
                os.kill(os.getpid(), signal.SIGTERM)
            return found
        return call
    os.fsync, os.rename = counted(os.fsync), counted(os.rename)
    Path.rename, Path.replace = counted(Path.rename), counted(Path.replace)

def child(work):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 0
    try:
        work()
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
        code = 1
    os._exit(code)

def killed(folder, number, kind):
    def work():
        kill_at(number, kind)
        train(prepared, folder, config)
    return child(work)

def limited(folder, size):
    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        train(prepared, folder, config)
    return child(work)

found = {}
assert child(lambda: train(prepared, place + '/whole', config)) == 0
for kind, numbers in json.loads(sys.argv[5]).items():
    for number in numbers:
        folder = f'{place}/{kind}-{number}'
        first = killed(folder, number, kind)
        second = killed(folder, number + 3, kind) if first else 0
        last = child(lambda: train(prepared, folder, config))
        found[f'{kind}-{number}'] = [first, second, last]
folder = place + '/full'
first = limited(folder, 4000)
found['full'] = [first, child(lambda: train(prepared, folder, config))]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> mms_adapt.Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 24), folder / "prepared", target_lang="mdw")


OPTIONS = {
    "steps": 6,
    "learning_rate": 0.01,
    "batch_seconds": 12,
    "evaluate_steps": 2,
    "checkpoint_minutes": 0,
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_anywhere_it_goes_on_to_the_same_adapter(
    base: Path, prepared: mms_adapt.Prepared, tmp_path: Path
) -> None:
    numbers = {"before": [2, 7, 14, 31], "after": [1, 9, 22], "term": [4, 14]}
    words = [str(prepared.folder), str(tmp_path), str(base), json.dumps(OPTIONS), json.dumps(numbers)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True, timeout=850
    )
    *said, last = done.stdout.splitlines()
    codes = json.loads(last)
    whole = (tmp_path / "whole" / WEIGHTS).read_bytes()
    for name, (*killed, end) in codes.items():
        assert end == 0, (name, codes)
        assert (tmp_path / name / WEIGHTS).read_bytes() == whole, name
        assert not (tmp_path / name / ".checkpoints").exists() and killed[0] in (-9, 130, 1, 0)
    assert sum(one[0] == -9 for one in codes.values()) >= 6, codes
    assert sum(one[0] == 130 for one in codes.values()) >= 1, codes
    # no room for the checkpoint: one clear error, and the same command goes on when there is room
    assert codes["full"][0] == 1
    assert any("TrainingError" in one and "cannot be written" in one and "make room" in one for one in said)


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(
    base: Path, prepared: mms_adapt.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(backbone=str(base), device="cpu", **OPTIONS)
    train(prepared, tmp_path / "whole", config)
    real, calls = files.write_all, 0

    def full(folder: Path, contents: dict[str, bytes | str]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            name, content = next(iter(contents.items()))
            folder.mkdir(parents=True)
            (folder / name).write_bytes(bytes(content)[:100])  # type: ignore[arg-type]
            raise OSError(errno.ENOSPC, "No space left on device")
        real(folder, contents)

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(TrainingError, match="No space left on device; make room and run the same command"):
        train(prepared, tmp_path / "cut", config)
    found = sorted(one.name for one in (tmp_path / "cut" / resume.FOLDER).iterdir())
    assert found == ["step-000000001", "step-000000002", "step-000000003"]
    monkeypatch.setattr(files, "write_all", real)
    train(prepared, tmp_path / "cut", config)
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
