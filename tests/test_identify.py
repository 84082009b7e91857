"""Which language is spoken: rows of candidates are ranked, and how sure that is."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from mms_adapt import backbone, ngram
from mms_adapt.backbone import Backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.cli import main
from mms_adapt.errors import LanguageError, OptionError
from mms_adapt.passport import file_sha256
from mms_adapt.serving.identify import Heard, hear, rank
from mms_adapt.transcribe import TranscribeOptions, transcribe
from mms_adapt.vocab import build

OPTIONS = TranscribeOptions(device="cpu")
VOCAB = build(["ab"])
WAVE = np.concatenate([tiny.speech(tiny.sentence(seed), seed) for seed in range(4)])


def spelt(text: str, sure: float = 0.9) -> np.ndarray:
    """Return emissions `(frames, vocab)` that spell a text, a blank behind each letter."""
    ids = [one for letter in text for one in (VOCAB.tokens.index(letter), VOCAB.blank_id)]
    found = np.full((len(ids), len(VOCAB)), np.log((1 - sure) / (len(VOCAB) - 1)), np.float32)
    found[np.arange(len(ids)), ids] = np.log(sure)
    return found


def test_a_language_model_tells_what_is_of_its_language() -> None:
    of_ab, of_ba = (ngram.estimate([list(one)] * 5, 3) for one in ("ab|ab|ab", "ba|ba|bba"))
    heard = [hear(spelt("ab|ab"), VOCAB, of_ab), hear(spelt("ab|ab"), VOCAB, of_ba)]
    assert [one.rate for one in heard] == [0.5, 0.5]
    assert heard[0].letters == pytest.approx(np.log(0.9), abs=1e-4)
    found = rank(["mdw", "wol"], heard, 100)
    assert [one.place for one in found] == ["mdw", "wol"] and found[0].probability > 0.9
    assert sum(one.probability for one in found) == pytest.approx(1)
    shorter = rank(["mdw", "wol"], heard, 10)
    assert found[0].probability > shorter[0].probability
    assert rank(["mdw", "wol"], heard, 10**6)[0].probability == pytest.approx(0.995)


def test_without_a_language_model_for_each_none_counts() -> None:
    sure, unsure = Heard(-0.1, -0.5, 0.2, None), Heard(-0.9, -0.5, 0.2, -1.0)
    assert rank(["mdw", "wol"], [unsure, sure], 100)[0].place == "wol"
    assert sure.score(False) == replace(sure, words=-5.0).score(False)


def test_nothing_heard_leaves_all_as_likely() -> None:
    found = rank(["wol", "mdw"], [], 0)
    assert [(one.place, one.probability) for one in found] == [("mdw", 0.5), ("wol", 0.5)]
    empty = hear(spelt(""), VOCAB, None) if len(spelt("")) else hear(spelt("a")[1:], VOCAB, None)
    assert empty.rate == 0 and np.isfinite(empty.letters)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("identify") / "base", seed=1), device="cpu")


@pytest.fixture(scope="module")
def registry(base: Backbone) -> Path:
    """Three languages of random adapters; the first two have language models of the letters they write."""
    folder = base.source.folder.parent / "adapters"
    for seed, (code, letters) in enumerate({"mdw": "abcd", "wol": "abcd", "chr": "xyz"}.items()):
        one = tiny.scribbled(base, folder / code, code, letters=letters, seed=seed)
        if code != "chr":
            heard = [each.token for each in transcribe(WAVE, adapter=folder / code, device="cpu").tokens]
            known = heard if code == "wol" else ["a", "|", "b", "c", "d"] * 9
            (folder / code / "lm.arpa").write_text(ngram.estimate([known], 3).to_arpa(), encoding="utf-8")
            written = {"name": "beam", "options": {"lm": "lm.arpa", "lm_weight": 0.0, "bonus": 0.0}}
            hashes = {"lm.arpa": file_sha256(folder / code / "lm.arpa")}
            replace(one, passport=replace(one.passport, decoder=written)).save(folder / code, others=hashes)
    return folder


def test_the_language_is_found_out_and_written_in(registry: Path) -> None:
    bank = Bank(registry, options=OPTIONS)
    found = bank.identify(WAVE, ["mdw", "wol"])
    assert found[0].place == "wol" and found[0].probability > 0.8
    assert len(bank.identify(WAVE)) == 3
    first, second = bank.transcribe([(WAVE, "auto"), (WAVE, "mdw")], candidates=["mdw", "wol"])
    assert first.target_lang == "wol" and first.candidates == found
    assert second.target_lang == "mdw" and second.candidates == ()
    expected = bank.transcribe([(WAVE, "wol")])[0]
    assert replace(first, candidates=()) == expected
    late = np.concatenate([np.zeros(25 * 16_000, np.float32), WAVE])
    assert bank.identify(late, ["mdw", "wol"])[0].place == "wol"
    silent = bank.transcribe([(np.zeros(16_000, np.float32), "auto")])[0]
    assert silent.text == "" and len({one.probability for one in silent.candidates}) == 1
    with pytest.raises(OptionError, match="languages to choose from"):
        bank.identify(WAVE, [])
    with pytest.raises(LanguageError):
        bank.identify(WAVE, ["mdw", "../wol"])


def test_one_call_finds_out_mixes_and_turns_the_strength(registry: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(registry, tmp_path / "adapters"))
    one = transcribe(WAVE, target_lang=["mdw", "wol"], registry=own, device="cpu")
    assert one.target_lang == "wol" and len(one.candidates) == 2
    assert len(transcribe([WAVE], target_lang="auto", registry=own, device="cpu")[0].candidates) == 3
    half = transcribe(WAVE, target_lang="mdw", registry=own, device="cpu", adapter_scale=0.5)
    assert half.adapter == f"0.5*{AdapterFolder.load(own / 'mdw').version}"
    mixed = transcribe(WAVE, mix={"mdw": 0.5, "wol": 0.5}, registry=own, device="cpu")
    assert mixed.adapter.count("@") == 2 and "head" not in mixed.adapter
    for options, says in (
        ({"adapter": own / "mdw", "adapter_scale": 0.5}, "need a registry"),
        ({"target_lang": "mdw", "mix": {"wol": 1.0}}, "one of the two"),
        ({"adapter_scale": 0.5}, "which adapter"),
        ({"target_lang": "mdw", "adapter_scale": -1.0}, "-1"),
    ):
        with pytest.raises(OptionError, match=says):
            transcribe(WAVE, registry=own, device="cpu", **options)  # type: ignore[call-overload]


def test_the_command_says_how_sure_it_is(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, WAVE, 16_000, subtype="FLOAT")

    def run(*words: str) -> int:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["transcribe", str(clip), "--registry", str(registry), "--quiet", "--device", "cpu", *words])
        return int(stopped.value.code or 0)

    assert run("--target-lang", "mdw,wol") == 0
    shown = capsys.readouterr()
    assert "Wolof (wol)" in shown.err and "then Mbosi (mdw)" in shown.err.replace("\n", "")
    assert shown.out.strip() == transcribe(WAVE, target_lang="wol", registry=registry, device="cpu").text
    assert run("--target-lang", "auto") == 0
    assert "%" in capsys.readouterr().err
    assert run("--target-lang", "mdw", "--adapter-scale", "0.5", "--format", "json") == 0
    assert '"adapter": "0.5*mdw@' in capsys.readouterr().out
    assert run("--mix", "mdw=0.5", "--mix", "wol=0.5", "--format", "json") == 0
    assert '"adapter": "0.5*mdw@' in capsys.readouterr().out
    assert run("--mix", "mdw=half") == 2
    assert "give a number" in capsys.readouterr().err
