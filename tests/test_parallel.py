"""A team: what two processes learn is what one learns from the same batches."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

import mms_adapt
from mms_adapt import parallel
from mms_adapt.errors import OptionError
from mms_adapt.parallel import Team
from mms_adapt.training import TrainConfig, train

OPTIONS = {
    "steps": 6, "learning_rate": 0.003, "batch_seconds": 12, "evaluate_steps": 2, "checkpoint_minutes": 0,
    "start": "backbone", "device": "cpu",
}  # fmt: skip
SCRIPT = """
import json, os, signal, sys
import torch
from mms_adapt.training import TrainConfig, train
torch.set_num_threads(1)
prepared, out, options, stop = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])

def say(line):
    os.write(1, f"rank {os.environ['RANK']} {line}\\n".encode())  # one write, whole in the pipe of both

def progress(stage, done, *_):
    if stage == 'train' and done == stop and os.environ['RANK'] == '1':
        os.kill(os.getpid(), signal.SIGTERM)

try:
    result = train(prepared, out, TrainConfig(**options), progress=progress)
    say(f"best {result.best_dev_cer}")
except KeyboardInterrupt:
    say("stopped")
"""


def test_rows_are_divided_evenly() -> None:
    counts = [50, 10, 40, 20, 30]
    parts = [Team(rank, 2).rows(counts) for rank in range(2)]
    assert parts == [[0, 1, 4], [2, 3]]
    assert Team(2, 3).rows([5, 6]) == []


def test_one_alone_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone, device = parallel.join("auto")
    assert (alone.size, alone.leads, device) == (1, True, "auto")
    alone.leave()
    assert alone.told([1.5]) == [1.5] and alone.any(True) and alone.in_turn(lambda: 3) == 3
    tensor = torch.ones(2)
    alone.add_up([tensor])
    assert tensor.tolist() == [1, 1]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="each of 2 processes needs a card of its own"):
        parallel.join("cuda:1")


LEAVING = """
import os, sys, time
from datetime import timedelta
import torch
from torch import distributed
from mms_adapt import parallel
team, _ = parallel.join("cpu")
whole = distributed.all_reduce

def late(*given, **options):
    if team.leads:
        time.sleep(0.3)
    whole(*given, **options)

for _ in range(2):  # two trainings of one process
    team.wait()
    team.leave()
distributed.all_reduce = late  # the leader is behind in the last exchange
team.leave()
os.write(1, f"rank {team.rank} left\\n".encode())
os._exit(0)  # as abruptly as can be
"""


@pytest.mark.slow
@pytest.mark.parametrize("keeps", ["torchrun", "the leader"])
def test_nobody_goes_while_another_is_in_an_exchange(tmp_path: Path, keeps: str) -> None:
    script = tmp_path / "leaving.py"
    script.write_text(LEAVING, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if keeps == "torchrun":
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            str(script),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-20_000:]
        assert sorted(re.findall(r"rank \d left", done.stdout)) == ["rank 0 left", "rank 1 left"]
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    members = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank, member in enumerate(members):
        said, errors = member.communicate(timeout=120)
        assert member.returncode == 0 and said == f"rank {rank} left\n", errors[-20_000:]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    base = tiny.backbone(tmp_path / "tiny")
    data = mms_adapt.prepare(tiny.corpus(tmp_path / "corpus", 24), tmp_path / "prepared", target_lang="mdw")
    options = {**OPTIONS, "backbone": str(base)}
    alone = train(data, tmp_path / "one", TrainConfig(**options))

    def together(stop: int) -> list[str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        script = tmp_path / "script.py"
        script.write_text(SCRIPT, encoding="utf-8")
        words = [str(data.folder), str(tmp_path / "two"), json.dumps(options), str(stop)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, str(script), *words], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr[-20_000:]
        return sorted(one for one in done.stdout.splitlines() if one.startswith("rank"))

    # a signal to one of them stops both, and both go on
    assert together(3) == ["rank 0 stopped", "rank 1 stopped"]
    assert together(0) == [f"rank {rank} best {alone.best_dev_cer}" for rank in range(2)]
    name = "adapter.mdw.safetensors"
    found, expected = (load_file(tmp_path / one / name) for one in ("two", "one"))
    # sums in another order: AdamW makes of a rounding error in a tiny gradient what it makes of a gradient
    moved = sum(float((found[key] - one).norm()) for key, one in expected.items())
    assert moved < 2e-3 * sum(float(one.norm()) for one in expected.values())
    lines = [(tmp_path / one / "metrics.jsonl").read_text("utf-8").splitlines() for one in ("two", "one")]
    losses = [[json.loads(line)["loss"] for line in one] for one in lines]
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=1e-4)
