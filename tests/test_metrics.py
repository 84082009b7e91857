"""The shipped metric folder, opened by Hugging Face's evaluate without a network."""

import socket
from pathlib import Path

import jiwer
import pytest

from mms_adapt.metrics import ERROR_RATES

REFERENCES = ["the cat sat", "a cha", "", "é yes"]
PREDICTIONS = ["a cat sat now", "acha", "", "e\u0301 yes"]


def test_the_metric_loads_offline_and_equals_jiwer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import evaluate

    def refuse(*_: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    metric = evaluate.load(str(ERROR_RATES), cache_dir=str(tmp_path))
    found = metric.compute(references=REFERENCES, predictions=PREDICTIONS, bootstrap=50)
    composed = [one.replace("e\u0301", "é") for one in PREDICTIONS]
    assert found["wer"] == jiwer.wer(REFERENCES, composed)
    assert found["cer"] == jiwer.cer(REFERENCES, composed)
    assert found["wer_low"] <= found["wer"] <= found["wer_high"]
    assert "n=50" in found["signature"]
