"""Real speech of five languages in one batch, in the package's backbone: bit-equal to one language."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from mms_adapt import audio, backbone
from mms_adapt.bank import Bank
from mms_adapt.transcribe import TranscribeOptions

CORPORA = {
    "mdw": "mdw-mboshi",
    "wol": "wol-alffa-subset",
    "chr": "chr-cherokee-phrases",
    "aka": "aka-twi-commonvoice",
    "bom": "bom-berom",
}


def first_utterances(corpora: Path, name: str, count: int) -> list[np.ndarray]:
    """Return the first utterances of a corpus, at most 4 s of each."""
    with (corpora / name / "utterances.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(next(lines)) for _ in range(count)]
    return [
        audio.read(corpora / name / row["recording"], row.get("start_s") or 0.0, row.get("end_s"))[:64_000]
        for row in rows
    ]


def test_a_mixed_batch_of_real_speech_is_bit_equal_to_one_language(
    real_corpora: Path, tmp_path: Path
) -> None:
    if missing := [name for name in CORPORA.values() if not (real_corpora / name).is_dir()]:
        pytest.skip(f"these corpora are not here: {', '.join(missing)}")
    base = backbone.load("embedded", device="cpu")
    for seed, code in enumerate(CORPORA):
        tiny.scribbled(base, tmp_path / code, code, letters="abcdefghij"[: 4 + seed], seed=seed)
    bank = Bank(tmp_path, backbone=base, options=TranscribeOptions(device="cpu"))
    heard = [(code, one) for code, name in CORPORA.items() for one in first_utterances(real_corpora, name, 2)]
    codes, waves = [code for code, _ in heard], [one for _, one in heard]
    features, counts = bank.engine.features(waves)

    def emissions(codes: list[str]) -> torch.Tensor:
        return bank.engine.emissions(features, counts, [bank.voice(code).edition for code in codes])

    mixed = emissions(codes)
    for code in CORPORA:
        single = emissions([code] * len(codes))
        width = len(bank.voice(code).vocab)
        for row, count in enumerate(counts):
            same = torch.equal(mixed[row, :count, :width], single[row, :count, :width])
            assert same == (codes[row] == code), (row, code)
    assert torch.equal(emissions(codes), mixed)
