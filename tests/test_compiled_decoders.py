"""Decoders that need a package more: flashlight's against the definition, torchaudio's as it is called."""

import builtins
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_decoders import ID, LETTERS, VOCAB, WORDS, emissions, few_tokens, texts_and_totals

from mms_adapt import plugins
from mms_adapt.errors import OptionError, TextError
from mms_adapt.ngram import NGram
from mms_adapt.orthography import Orthography
from mms_adapt.vocab import Vocab, build

WIDE = {"beam_width": 5000, "token_floor": -1000.0}


def flashlight(**options: Any) -> Any:
    try:
        return plugins.load("decoders", "flashlight").build(VOCAB, **options)
    except OptionError as reason:
        if "flashlight-text" not in str(reason):
            raise
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("lm", "weight", "score"), [(None, 0.0, 0.0), (LETTERS, 0.8, 0.0), (LETTERS, 2.0, 0.0), (WORDS, 0.7, 0.9)]
)
def test_flashlight_finds_the_best_of_all_texts(lm: NGram | None, weight: float, score: float) -> None:
    decoder = flashlight(lm=lm, lm_weight=weight, word_score=score, **WIDE)

    def counted(text: str, total: float) -> float:
        if lm is None:
            return math.log(total)
        tokens = list(text.replace(" ", "|")) if lm is LETTERS else text.split()
        return math.log(total) + weight * lm.sentence(tokens) + score * len(tokens)

    for seed in range(12):
        logs, wanted = few_tokens(seed)
        if lm is not WORDS:  # texts that differ in boundaries alone are told apart
            logs[:, ID["|"]] = -200.0
        totals = texts_and_totals(logs, wanted)
        if lm is WORDS:
            totals = {
                text: one for text, one in totals.items() if set(text.split()) <= {"ab", "ba", "b", "a"}
            }
        best = max(totals, key=lambda text: counted(text, totals[text]))
        assert decoder.decode(logs[None], [len(logs)])[0].text == best, seed


def test_only_words_of_the_list_are_found(tmp_path: Path) -> None:
    frames = emissions("b_a|a_b", sure=0.6)
    assert flashlight(lm=WORDS, lm_weight=0.1).decode(frames, [7])[0].text == "ba ab"
    listed = tmp_path / "words.txt"
    listed.write_text("ab\nöl\n", encoding="utf-8")  # no adapter of these letters writes ö
    decoder = flashlight(lm=WORDS, lexicon=listed, token_floor=-100)
    assert decoder.words == ["ab"] and set(decoder.decode(frames, [7])[0].text.split()) == {"ab"}
    listed.write_text("öl\n", encoding="utf-8")
    with pytest.raises(TextError, match=r"words\.txt: the adapter can write none of its words"):
        flashlight(lm=WORDS, lexicon=listed)


def test_flashlight_tells_times_as_the_beam_does() -> None:
    beam = plugins.load("decoders", "beam").build(VOCAB)
    for text in ("_aa_b||c_", "a_a_|b", "abc"):
        given = emissions(text, sure=0.95), [len(text)]
        assert flashlight().decode(*given) == beam.decode(*given)


def test_bad_models_and_lists_are_told(tmp_path: Path) -> None:
    for content, says in ((None, "cannot be read as an ARPA file"), ("hello", "no ARPA file")):
        if content:
            (tmp_path / "lm.arpa").write_text(content, encoding="utf-8")
        with pytest.raises(TextError, match=rf"lm\.arpa: .*{says}"):
            flashlight(lm=tmp_path / "lm.arpa")
    (tmp_path / "lm.arpa").write_text(LETTERS.to_arpa()[:200], encoding="utf-8")
    with pytest.raises(TextError, match=r"lm\.arpa: KenLM cannot read"):
        flashlight(lm=tmp_path / "lm.arpa")
    with pytest.raises(TextError, match=r"gone\.txt cannot be read"):
        flashlight(lm=WORDS, lexicon=tmp_path / "gone.txt")
    with pytest.raises(OptionError, match="the language model is one of graphemes"):
        flashlight(lm=LETTERS, lexicon=tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("flashlight", {"bonus": 3}, "takes lm, lm_weight, .*; given: bonus"),
        ("flashlight", {"beam_width": "wide"}, "beam_width='wide': give a number"),
        ("flashlight", {"beam_width": 0, "lm_weight": -1.0}, "lm_weight=-1.0: give 0 to 20; beam_width=0"),
        ("flashlight", {"word_score": float("nan"), "token_floor": 0}, "word_score=nan.*token_floor=0.0"),
        ("flashlight", {"lexicon": "words.txt"}, "lexicon='words.txt': it needs a language model"),
        ("torchaudio_cuda", {"lm": "x"}, "takes beam_width, blank_skip; given: lm"),
        ("torchaudio_cuda", {"beam_width": "wide"}, "beam_width='wide': give a number"),
        ("torchaudio_cuda", {"beam_width": 0, "blank_skip": 2}, "beam_width=0: .*; blank_skip=2.0"),
        ("torchaudio_cuda", {"beam_width": 7}, "beam_width=7: give 1 to 6"),
    ],
)
def test_bad_options_are_told_before_anything_is_loaded(name: str, options: Any, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        plugins.load("decoders", name).build(VOCAB, **options)


@pytest.mark.parametrize(
    "reason", [ImportError("no module"), OSError("libc10_cuda.so"), RuntimeError("version")]
)
def test_what_does_not_load_is_told(reason: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *given: Any, **named: Any) -> Any:
        if name.startswith(("flashlight", "torchaudio")):
            raise reason
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(OptionError, match=rf"needs a torchaudio .*\({reason}\).*mms-adapt\[gpu\]"):
        plugins.load("decoders", "torchaudio_cuda").build(VOCAB)
    if not isinstance(reason, RuntimeError):
        with pytest.raises(OptionError, match=rf"\({reason}\).*mms-adapt\[beam\]"):
            plugins.load("decoders", "flashlight").build(VOCAB)


def test_without_a_card_torchaudio_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="runs on a CUDA device alone, and there is none; take 'greedy'"):
        plugins.load("decoders", "torchaudio_cuda").build(VOCAB)


def test_torchaudio_is_called_as_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in that takes the best path: the blank is token 0, lengths are int32, texts come back."""
    vocab: Vocab = build(["abc"], Orthography())
    asked: dict[str, Any] = {}

    def search(logs: torch.Tensor, lengths: torch.Tensor) -> list[list[Any]]:
        assert logs.dtype == torch.float32 and logs.is_contiguous() and lengths.dtype == torch.int32
        found = []
        for row, count in zip(logs, lengths.tolist(), strict=True):
            path = torch.unique_consecutive(row[:count].argmax(dim=-1)).tolist()
            found.append([types.SimpleNamespace(tokens=[one for one in path if one])])
        return found

    def factory(tokens: list[str], **options: Any) -> Any:
        asked.update(options, tokens=tokens)
        return search

    module = types.ModuleType("torchaudio.models.decoder")
    module.cuda_ctc_decoder = factory  # type: ignore[attr-defined]
    for name in ("torchaudio", "torchaudio.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "torchaudio.models.decoder", module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    decoder = plugins.load("decoders", "torchaudio_cuda").build(vocab, beam_width="6")
    assert asked["nbest"] == 1 and asked["beam_size"] == min(6, len(vocab)) and asked["tokens"][0] == "<pad>"
    logs = np.full((2, 6, len(vocab)), -20.0, np.float32)
    for row, text in enumerate(("a_|b|_", "cc____")):
        for frame, one in enumerate(text):
            logs[row, frame, vocab.blank_id if one == "_" else vocab.tokens.index(one)] = -1e-3
    logs[1, 2:] = np.nan
    assert [one.text for one in decoder.decode(logs, [6, 2])] == ["a b", "c"]
    assert decoder.decode(torch.from_numpy(logs), [6, 2]) == decoder.decode(logs, [6, 2])
    assert [one.text for one in decoder.decode(logs, [0, 0])] == ["", ""]


ON_A_CARD = """
import numpy as np
from mms_adapt import plugins
from mms_adapt.errors import OptionError
from mms_adapt.orthography import Orthography
from mms_adapt.vocab import build
vocab = build(["the quick brown fox jumps over a lazy dog"], Orthography())
try:
    decoder = plugins.load("decoders", "torchaudio_cuda").build(vocab, blank_skip=1.0)
except OptionError as reason:
    raise SystemExit(f"skip: {reason}")
beam = plugins.load("decoders", "beam").build(vocab, beam_width=decoder.options.beam_width)
for seed in range(8):
    logits = np.random.default_rng(seed).normal(size=(3, 60, len(vocab.tokens))) * 5
    logs = (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype(np.float32)
    found, expected = (one.decode(logs, [60, 41, 7]) for one in (decoder, beam))
    assert [one.text for one in found] == [one.text for one in expected], seed
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_card_torchaudio_finds_what_the_beam_finds() -> None:
    """In a process of its own, since what goes wrong in its kernels ends the process."""
    done = subprocess.run([sys.executable, "-c", ON_A_CARD], capture_output=True, text=True, check=False)
    if done.stderr.startswith("skip: "):
        pytest.skip(done.stderr.removeprefix("skip: "))
    assert done.returncode == 0, done.stderr[-3000:]
