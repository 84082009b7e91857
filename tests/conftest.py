"""Fixtures that several tests share: corpora made on the spot, and real ones where there are any."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
MakeCorpus = Callable[..., Path]


def noise(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Return noise that swells and falls, different for every seed."""
    count = round(seconds * rate_hz)
    samples = np.random.default_rng(seed).normal(size=count) * 0.05
    return (samples * (1.2 + np.sin(np.arange(count) / rate_hz * 9))).astype(np.float32)


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """The folder of real corpora; see CONTRIBUTING.md."""
    named = os.environ.get("MMS_ADAPT_CORPORA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("no real corpora: set MMS_ADAPT_CORPORA to their folder")
    return folder


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Write a corpus: one recording with an utterance of noise for each row of fields."""

    def make(rows: Sequence[dict[str, Any]], name: str = "corpus", seconds: float = 1.0) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        sounds, lines, start_s = [], [], 0.0
        for number, fields in enumerate(rows):
            sounds.append(noise(fields.pop("seconds", seconds), fields.pop("sound", number)))
            end_s = start_s + len(sounds[-1]) / RATE_HZ
            row = {
                "id": f"u{number:03d}",
                "recording": "all.wav",
                "start_s": start_s,
                "end_s": end_s,
                "transcript": f"sentence {number}",
                "target_lang": "xho",
            }
            lines.append(json.dumps(row | fields, ensure_ascii=False))
            start_s = end_s
        if sounds:
            soundfile.write(folder / "all.wav", np.concatenate(sounds), RATE_HZ, subtype="FLOAT")
        (folder / "utterances.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return folder

    return make
