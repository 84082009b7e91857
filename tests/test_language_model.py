"""Language models of an adapter's language: what goes in and what stays out, tuning, the commands."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

import mms_adapt
from mms_adapt import files, ngram, registry
from mms_adapt.cli import app
from mms_adapt.decoding_trial import DecodingTrial
from mms_adapt.errors import AdapterError, AdapterMismatchError, OptionError, TextError
from mms_adapt.language_model import Tuned, build, build_both, install, options_of, share, tokens_of, tune
from mms_adapt.open_vocabulary import OpenVocabulary
from mms_adapt.orthography import Orthography
from mms_adapt.prepared import Prepared
from mms_adapt.training import TrainConfig, train
from mms_adapt.vocab import build as build_vocab


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data")
    return mms_adapt.prepare(tiny.corpus(folder / "corpus", 40), folder / "prepared", target_lang="mdw")


@pytest.fixture(scope="module")
def adapter(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny adapter that has learnt a little and errs."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny.backbone(folder / "tiny")
    options = {"steps": 40, "learning_rate": 2e-2, "batch_seconds": 20, "speed_factors": (1.0,)}
    train(prepared, folder / "mdw", TrainConfig(backbone=str(base), device="cpu", **options))  # type: ignore[arg-type]
    return folder / "mdw"


def test_sentences_become_tokens() -> None:
    vocab = build_vocab(["cha ba"], Orthography(("ch",)))
    assert tokens_of("cha ba", vocab, "grapheme") == ["ch", "a", "|", "b", "a"]
    assert tokens_of("cha ba", vocab, "word") == ["cha", "ba"]
    assert tokens_of("", vocab, "grapheme") == []


def test_the_model_is_of_the_training_transcripts(prepared: Prepared) -> None:
    made = build(prepared)
    assert (made.unit, made.model.order, made.held_out, made.unwritable) == ("grapheme", 6, 0, 0)
    assert made.sentences == len(prepared.utterances("train"))
    assert made.model.tokens <= set(prepared.vocab.tokens)
    assert made.dev_perplexity is not None and 1 < made.dev_perplexity < 10
    words = build(prepared, unit="word", order=2)
    assert words.model.order == 2 and "|" not in words.model.tokens


def test_other_text_goes_in_but_not_the_sentences_to_be_measured(prepared: Prepared, tmp_path: Path) -> None:
    measured = [one.reference or "" for part in ("dev", "test") for one in prepared.utterances(part)]
    path = tmp_path / "more.txt"
    lines = ["\ufeffAb, dab!", "", measured[0].upper() + ".", measured[-1], "zebra"]
    path.write_text("\n".join(lines), encoding="utf-8")
    plain, more = build(prepared), build(prepared, texts=[path])
    assert (more.sentences, more.held_out, more.unwritable) == (plain.sentences + 1, 2, 1)
    for odd in (tmp_path / "gone.txt", tmp_path):
        with pytest.raises(TextError, match="cannot be read as text in UTF-8"):
            build(prepared, texts=[odd])
    with pytest.raises(OptionError, match="order=0: give 1 to 12"):
        build(prepared, order=0)
    with pytest.raises(OptionError, match="unit='letter': give grapheme or word"):
        build(prepared, unit="letter")


def wrong(found: Tuned) -> float:
    """What is made low where characters count."""
    return found.dev_cer + found.dev_wer / 10


def test_tuning_never_ends_worse_than_it_began(prepared: Prepared, adapter: Path) -> None:
    lm, told = build(prepared).model, []
    found = tune(adapter, prepared, lm, progress=lambda *words: told.append(words))
    assert found.greedy_cer > 0 and wrong(found) <= found.greedy_cer + found.greedy_wer / 10 + 1e-9
    assert found.utterances == len(prepared.utterances("dev")) and found.tried >= 9
    assert told[-1][0] == "tune" and told[-1][1] == told[-1][2]
    assert len(told) == (found.tried + 1) + (found.utterances + 1)  # then each with 64 texts
    by_words = tune(adapter, prepared, lm, unit="wer")
    narrow = tune(adapter, prepared, lm, beam_width=16)
    assert narrow.beam_width == 16 and found.beam_width in (16, 64)
    assert (narrow.lm_weight, narrow.bonus) == (found.lm_weight, found.bonus) and wrong(found) <= wrong(
        narrow
    )
    assert by_words.dev_wer + by_words.dev_cer / 10 <= found.dev_wer + found.dev_cer / 10
    with pytest.raises(OptionError, match="unit='ser'"):
        tune(adapter, prepared, lm, unit="ser")
    with pytest.raises(OptionError, match="beam_width=20000: give 1 to 10000"):
        tune(adapter, prepared, lm, beam_width=20_000, progress=lambda *_: pytest.fail("it was tried"))
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match=r"dev_minutes=.*: give more than 0"):
            tune(adapter, prepared, lm, dev_minutes=minutes)


def test_words_stand_beside_graphemes_where_they_help(
    prepared: Prepared, adapter: Path, tmp_path: Path
) -> None:
    letters, words = build(prepared).model, build(prepared, unit="word").model
    best = share(prepared, letters, words)
    dev = [tokens_of(one.reference or "", prepared.vocab, "grapheme") for one in prepared.utterances("dev")]
    both = OpenVocabulary(letters, words, best, lambda word: tokens_of(word, prepared.vocab, "grapheme"), "|")
    for other in (0.0, best - 0.1, best + 0.1):
        if 0 <= other < 1:
            assert both.perplexity(dev) <= both.with_share(other).perplexity(dev)
    found = tune(adapter, prepared, letters, words=words)
    assert found.words_share == best and wrong(found) <= found.greedy_cer + found.greedy_wer / 10 + 1e-9
    assert options_of(found, "a", "b") == {
        "lm": "a", "lm_weight": found.lm_weight, "bonus": found.bonus, "beam_width": found.beam_width,
        "words": "b", "words_share": best,
    }  # fmt: skip
    assert "words" not in options_of(replace(found, words_share=0.0), "a", "b")
    strangers = ngram.estimate([["zzz"], ["zz"]], 2)
    assert share(prepared, letters, strangers) == 0.0
    with pytest.raises(OptionError, match="words stands beside an lm of graphemes"):
        tune(adapter, prepared, words, words=words)
    own = tmp_path / "mdw"
    shutil.copytree(adapter, own)
    install(own, letters, found, words)
    score = mms_adapt.evaluate(own, prepared, split="dev", device="cpu")
    assert "words=lm.words.arpa@" in score.signature
    assert score.cer == pytest.approx(found.dev_cer, abs=0.01)
    (tmp_path / "words.arpa").write_text(words.to_arpa(), encoding="utf-8")
    other = {"lm": str(tmp_path / "words.arpa"), "bonus": 5.0}  # beside which its own words have no place
    assert "words=" not in mms_adapt.evaluate(own, prepared, device="cpu", decoder_options=other).signature
    (own / "lm.words.arpa").write_text("other", encoding="utf-8")
    with pytest.raises(AdapterError, match=r"lm\.words\.arpa: it is not the file that passport\.json means"):
        mms_adapt.evaluate(own, prepared, split="dev", device="cpu")
    (own / "lm.words.arpa").write_text(words.to_arpa(), encoding="utf-8")
    install(own, letters, found)
    assert not (own / "lm.words.arpa").exists()
    assert "words=" not in mms_adapt.evaluate(own, prepared, split="dev", device="cpu").signature


def test_whoever_stops_while_a_model_is_put_in_leaves_an_adapter_that_opens(
    prepared: Prepared, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters, words = build_both(prepared)
    assert words is not None
    found, own = Tuned(0.5, 0.5, 0.1, 0.1, 0.2, 0.2, 3, 4, 0.3), tmp_path / "mdw"
    shutil.copytree(adapter, own)
    install(own, letters, found, words)
    for survived in range(4):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
            patched.setattr(files, "write", tiny.full_after(survived))
            install(own, letters, found, words)
        score = mms_adapt.evaluate(own, prepared, device="cpu")
        assert ("decoder:greedy|" in score.signature) == (survived > 0)
    install(own, letters, found, words)
    assert "words=lm.words.arpa@" in mms_adapt.evaluate(own, prepared, device="cpu").signature


def test_where_no_sentence_has_two_words_there_is_no_model_of_words(tmp_path: Path) -> None:
    corpus = tiny.corpus(tmp_path / "corpus", 40)
    manifest = corpus / "utterances.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["transcript"] = row["transcript"].replace(" ", "")
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    letters, words = build_both(mms_adapt.prepare(corpus, tmp_path / "prepared", target_lang="mdw"))
    assert words is None and "|" not in letters.tokens


@pytest.mark.parametrize("cost", [0.0, 9.5, 10.0])
def test_a_dear_model_is_tuned_within_what_the_decoder_takes(
    cost: float, prepared: Prepared, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodingTrial, "cost", lambda _: cost)
    found = tune(adapter, prepared, build(prepared).model)
    assert 0 <= found.bonus <= 20 and wrong(found) <= found.greedy_cer + found.greedy_wer / 10 + 1e-9


def test_another_language_is_refused(adapter: Path, tmp_path: Path) -> None:
    corpus = tiny.corpus(tmp_path / "corpus", 40)
    manifest = corpus / "utterances.jsonl"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("mdw", "xho"), encoding="utf-8")
    other = mms_adapt.prepare(corpus, tmp_path / "prepared", target_lang="xho")
    with pytest.raises(AdapterMismatchError, match="tune on data of its own language"):
        tune(adapter, other, build(other).model)


def test_on_the_command_line(prepared: Prepared, adapter: Path, tmp_path: Path) -> None:
    arpa, runner = tmp_path / "lm.arpa", CliRunner()
    made = runner.invoke(app, ["lm", str(prepared.folder), "--out", str(arpa), "--order", "3"])
    assert made.exit_code == 0 and "tokens are graphemes" in made.output, made.output
    assert ngram.read(arpa).order == 3
    words = ["tune", str(adapter), str(prepared.folder), "--lm", str(arpa), "--quiet", "--no-install"]
    words.append("--no-parts")
    tuned = runner.invoke(app, words)
    assert tuned.exit_code == 0, tuned.output
    given = tuned.output.strip().rpartition("transcribe: ")[2].split()
    score = tmp_path / "score.json"
    words = ["evaluate", str(adapter), str(prepared.folder), "--quiet", "--json", str(score), *given]
    found = runner.invoke(app, words)
    assert found.exit_code == 0, found.output
    signature = json.loads(score.read_text(encoding="utf-8"))["signature"]
    assert "decoder:beam(beam_width=" in signature and "lm=lm.arpa@" in signature
    nowhere = runner.invoke(app, ["tune", str(adapter), str(prepared.folder), "--no-install"])
    assert "make one with mms-adapt lm" in str(nowhere.exception)
    alone = runner.invoke(app, ["tune", str(adapter), str(prepared.folder), "--words", str(arpa)])
    assert "--words stands beside --lm" in str(alone.exception)
    wrong = runner.invoke(app, [*words, "--decoder-option", "oops"])
    assert isinstance(wrong.exception, OptionError)
    assert str(wrong.exception) == "--decoder-option 'oops': write KEY=VALUE, such as lm=mdw.arpa"


def test_an_adapter_with_a_language_model_uses_it(prepared: Prepared, adapter: Path, tmp_path: Path) -> None:
    own = tmp_path / "mdw"
    shutil.copytree(adapter, own)
    before = mms_adapt.evaluate(own, prepared, device="cpu")
    assert "decoder:greedy|" in before.signature
    found = CliRunner().invoke(app, ["tune", str(own), str(prepared.folder), "--quiet", "--no-parts"])
    assert found.exit_code == 0 and "use it from now on" in found.output, found.output
    after = mms_adapt.evaluate(own, prepared, device="cpu")
    assert "decoder:beam(beam_width=" in after.signature and "lm=lm.arpa@" in after.signature
    greedy = mms_adapt.evaluate(own, prepared, device="cpu", decoder="greedy")
    assert [one.hypothesis for one in greedy.per_utterance] == [
        one.hypothesis for one in before.per_utterance
    ]
    other = mms_adapt.evaluate(own, prepared, device="cpu", decoder_options={"lm_weight": 3})
    assert "lm_weight=3," in other.signature or "lm_weight=3)" in other.signature
    published = registry.publish(own, tmp_path / "adapters")
    clip = prepared.root / prepared.utterances("test")[0].recording
    there = mms_adapt.transcribe(clip, target_lang="mdw", registry=published.parent, device="cpu")
    assert there.text == mms_adapt.transcribe(clip, adapter=own, device="cpu").text
    (own / "lm.arpa").write_text("other", encoding="utf-8")
    with pytest.raises(AdapterError, match=r"lm\.arpa: it is not the file that passport\.json means"):
        mms_adapt.transcribe(clip, adapter=own, device="cpu")


@pytest.mark.parametrize("name", ["os.path", "beem", None, "../greedy"])
def test_a_passport_cannot_name_a_strangers_decoder(
    name: object, prepared: Prepared, adapter: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mdw"
    shutil.copytree(adapter, own)
    record = json.loads((own / "passport.json").read_text(encoding="utf-8"))
    record["decoder"] = {"name": name, "options": {}}
    (own / "passport.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(AdapterError, match=r"passport\.json: its decoder .* is none of beam, .*greedy"):
        mms_adapt.evaluate(own, prepared, device="cpu")
    assert mms_adapt.evaluate(own, prepared, device="cpu", decoder="greedy").utterances


def test_options_are_those_of_the_decoder(prepared: Prepared, adapter: Path, tmp_path: Path) -> None:
    lm = build(prepared)
    (tmp_path / "lm.arpa").write_text(lm.model.to_arpa(), encoding="utf-8")
    found = tune(adapter, prepared, lm.model)
    options = options_of(found, tmp_path / "lm.arpa")
    score = mms_adapt.evaluate(
        adapter, prepared, split="dev", decoder="beam", decoder_options=options, device="cpu"
    )
    assert score.cer == pytest.approx(found.dev_cer, abs=0.01)
