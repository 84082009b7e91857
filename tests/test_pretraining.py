"""Pre-training of the backbone: labels, batches, losses, equality with stock, resumption, export."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")
import pretrain_backbone
import soundfile
from pretraining import augment, export, feed, losses, pack, sound, synthesis
from pretraining.labels import characters, phonemise, phones_of_ipa
from pretraining.loop import Options, Training
from pretraining.losses import Weights
from pretraining.model import Pretraining, configuration
from pretraining.scores import greedy, normalise
from synthesise_corpus import Synthesiser
from torch.nn import functional as F

TINY = {
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "conv_dim": (16, 16, 16, 16, 16, 16, 24),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "adapter_attn_dim": 4,
}


@pytest.fixture(scope="module")
def speaker() -> Synthesiser:
    return Synthesiser()


def example(length: int, *, held: bool = False, name: str = "a", start: int = 0) -> sound.Labelled:
    labels = np.array([5, 6, 6], np.int32)
    return sound.Labelled(name, start, length, labels, labels, held)


def test_transcripts_become_characters_and_phones(speaker: Synthesiser) -> None:
    assert characters("L’Été, d'or!") == list("l'été|d'or")
    assert characters("...") == []
    assert phones_of_ipa("tʃˈɜːtʃ", keep_length=False) == list("tʃɜtʃ")
    assert phones_of_ipa("bɔ̃", keep_length=False) == ["b", "ɔ", "\u0303"]
    assert "ː" in phones_of_ipa("ziː", keep_length=True)
    cmn, eng = phonemise(["hao3 ma1"], "cmn", speaker), phonemise(["THE CHURCH"], "eng", speaker)
    assert [tone for tone in cmn[0] if tone in "˥˨˩˦" or len(tone) > 1] == ["˨˩˦", "˥"]
    assert "".join(eng[0]) == "ðətʃɜtʃ"


def test_synthesis_repeats_and_tells_its_phones(speaker: Synthesiser) -> None:
    made = [one for seed in range(12) if (one := synthesis.speak(seed, speaker))]
    again = [one for seed in range(12) if (one := synthesis.speak(seed, speaker))]
    assert len(made) > 6
    assert [(one.voice, one.phones) for one in made] == [(one.voice, one.phones) for one in again]
    assert all(np.abs(one.samples).max() == 16000 and len(one.phones) > 3 for one in made)
    assert not {one.voice.split("+")[0] for one in made} & {"it", "chr"}
    text, phones = synthesis._toned(random.Random(1), "vietnamese", "vi", speaker)
    assert text.split() and sum(one[0] in "˥˦˧˨˩" for one in phones) == len(text.split())


def test_packing_holds_out_sentences_and_speakers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speaker: Synthesiser
) -> None:
    rows = [
        {"recording": "r.ogg", "start_s": n * 1.0, "end_s": n + 1.0, "transcript": f"satz {word}",
         "speaker": f"s{n % 30}", "target_lang": "deu"}
        for n, word in enumerate("ab ba ca da fe ge ha ja ka la ma na pa ra sa ta wa za be de".split() * 6)
    ]  # fmt: skip
    (tmp_path / "deu-kerstin").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "deu-kerstin" / "utterances.jsonl").write_text(lines, encoding="utf-8")
    found = list(pack.read_set(tmp_path, "deu-kerstin", speaker))
    held = {one.characters for one in found if one.held}
    assert held and not held & {one.characters for one in found if not one.held}
    monkeypatch.setattr(pack, "MANY_SPEAKERS", ("deu-kerstin",))
    speakers = pack.held_speakers(rows)
    assert 0 < len(speakers) <= 3
    chosen = [one for one in pack.read_set(tmp_path, "deu-kerstin", speaker) if one.held]
    assert len(chosen) == sum(row["speaker"] in speakers for row in rows)


def test_batches_mix_sets_by_their_shares_and_repeat() -> None:
    generator = np.random.default_rng(0)
    examples = [
        example(int(generator.integers(8000, 90000)), name=name, start=n)
        for name, count in (("a", 300), ("b", 20))
        for n in range(count)
    ]

    def take(seed: int) -> list[feed.Plan]:
        made = feed.batches(
            examples, batch_s=60, seed=seed, slowest=0.9, fastest=1.1, shares={"a": 0.5, "b": 0.5}
        )
        return [next(made) for _ in range(150)]

    plans, again, other = take(1), take(1), take(2)
    assert all(np.array_equal(x.starts, y.starts) for x, y in zip(plans, again, strict=True))
    assert not all(np.array_equal(x.starts, y.starts) for x, y in zip(plans, other, strict=True))
    few = sum(float(one.counts[one.starts < 20].sum()) for one in plans)
    share = few / sum(float(one.counts.sum()) for one in plans)
    assert 0.4 < share < 0.7  # set b, and a's first twenty
    sizes = {one.frames: len(one.starts) for one in plans}
    assert all(len(one.starts) == sizes[one.frames] for one in plans), "a width always has one size"
    assert all((one.counts <= 320 * one.frames).all() for one in plans)


def tiny_model(vocab_count: int = 11) -> Pretraining:
    torch.manual_seed(0)
    model = Pretraining(configuration(vocab_count, **TINY), 9, middle=2)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        parameter.requires_grad_(True)
    return model.eval()


def test_the_forward_pass_and_its_gradients_are_those_of_stock() -> None:
    model = tiny_model()
    counts = torch.tensor([15900, 9001, 6000])
    waves = normalise(torch.randn(3, 320 * 51), counts)
    attention = torch.arange(waves.shape[1]) < counts[:, None]
    frames = model.stock._get_feat_extract_output_lengths(counts)
    with torch.no_grad():
        stock = model.stock.wav2vec2(waves, attention_mask=attention.long()).last_hidden_state
    real = torch.arange(stock.shape[1]) < frames[:, None]
    found = model(waves, frames, adapted=True).last
    torch.testing.assert_close(found[:, : stock.shape[1]][real], stock[real], rtol=1e-4, atol=1e-5)

    def gradients(hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        hidden[:, : stock.shape[1]][real].square().sum().backward()  # type: ignore[no-untyped-call]
        return {n: p.grad.clone() for n, p in model.stock.named_parameters() if p.grad is not None}

    ours = gradients(model(waves, frames, adapted=True).last)
    theirs = gradients(model.stock.wav2vec2(waves, attention_mask=attention.long()).last_hidden_state)
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        assert float((ours[name] - one).norm()) <= 1e-4 * float(one.norm()) + 1e-5, name


def test_one_call_of_ctc_gives_what_several_give() -> None:
    torch.manual_seed(1)
    first, second = (torch.randn(3, 20, width).log_softmax(-1) for width in (8, 12))
    counts = torch.tensor([20, 15, 9])
    some = [np.array(row, np.int32) for row in ([1, 2, 2], [], [3] * 30)]
    every = [np.array(row, np.int32) for row in ([7, 11], [1], [4, 4])]
    found = losses.ctc([(first, counts, some), (second, counts, every)])
    alone = F.ctc_loss(first[:1].transpose(0, 1), torch.tensor([[1, 2, 2]]), (20,), (3,), reduction="sum")
    assert float(found[0]) == pytest.approx(float(alone) / 33, rel=1e-5), "the row of 30 labels adds nothing"
    rows = F.ctc_loss(
        second.transpose(0, 1), torch.tensor([7, 11, 1, 4, 4]), (20, 15, 9), (2, 1, 2), reduction="sum"
    )
    assert float(found[1]) == pytest.approx(float(rows) / 5, rel=1e-5)


def test_views_that_agree_cost_nothing() -> None:
    one = torch.randn(2, 7, 5).log_softmax(-1)
    real = torch.ones(4, 7, dtype=torch.bool)
    assert float(losses.agreement(torch.cat([one, one]), real, 3)) == pytest.approx(0, abs=1e-6)
    assert float(losses.agreement(torch.cat([one, one.flip(-1)]), real, 3)) > 0.1
    masked = losses.hidden_frames(torch.tensor([400, 40]), 400, 0.25, 24).float().mean(1)
    assert 0.02 < float(masked[0]) < 0.6


def test_speed_and_spoiling_keep_shape_and_end() -> None:
    torch.manual_seed(2)
    samples = (3000 * torch.randn(50000)).to(torch.int16)
    starts, lengths = torch.tensor([0, 20000]), torch.tensor([16000, 8000])
    same = augment.gather(samples, starts, lengths, torch.ones(2), 16000)
    assert torch.equal(same[0], samples[:16000] / 32768)
    assert not same[1, 8000:].any()
    quick = augment.gather(samples, starts, lengths, torch.tensor([1.25, 0.8]), 16000)
    assert quick[0, :12700].any() and not quick[0, 12801:].any() and quick[1, :9900].any()
    heard = augment.spoil(same, lengths, augment.Strength())
    assert heard.shape == same.shape and bool(heard.isfinite().all()) and not heard[1, 8000:].any()
    targets = augment.FirstTargets()(same)
    assert targets.shape == (2, 50, 104) and float(targets.abs().mean()) < 3


def small_sound(folder: Path) -> None:
    """Write a packed folder of two tones that are two letters."""
    (folder / "part0").mkdir(parents=True)
    generator = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    pieces, rows = [], []
    for n in range(40):
        tone = 0.3 * np.sin(2 * np.pi * (300 if n % 2 else 900) * time) + 0.01 * generator.normal(size=16000)
        pieces.append(tone)
        letter = "a" if n % 2 else "b"
        rows.append({"set": "deu-kerstin", "recording": "r.ogg", "start": n * 16000, "end": (n + 1) * 16000,
                     "characters": letter, "phones": letter, "held": n >= 36})  # fmt: skip
    soundfile.write(folder / "part0" / "r.ogg", np.concatenate(pieces), 16000, format="OGG", subtype="OPUS")
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
def test_training_is_interrupted_goes_on_and_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2ForCTC

    monkeypatch.setattr(sound, "RARE", 5)
    small_sound(tmp_path / "packed")
    made = sound.load(tmp_path / "packed", synthetic_count=0, workers=1)
    assert made.characters == (*sound.SPECIALS, "a", "b")
    assert len(made.samples) == 640000 and sum(one.held for one in made.examples) == 4
    options = Options(minutes=0.05, batch_s=16, first_steps=1, middle=2, synthetic_share=0.0, changes=TINY)
    path = tmp_path / "out" / "backbone.pt"
    first = Training(made, options, torch.device("cpu"))
    assert not first.run(path, stop_after_s=0.5, report_s=0)
    steps = first.state.step
    again = Training(made, options, torch.device("cpu"))
    assert again.run(path, report_s=0)
    assert again.state.step > steps > 0 and again.state.elapsed_s >= 3
    assert f"going on from step {steps}" in capsys.readouterr().out
    assert "deu-kerstin" in again.scores()
    others = Options(minutes=0.05, changes=TINY)
    with pytest.raises(ValueError, match="other vocabularies"):
        Training(sound.Sound(made.samples, made.examples, (*made.characters, "c"), made.phones), others,
                 torch.device("cpu")).run(path)  # fmt: skip
    record = {"scores": [], **a_training(3600, 60, 9)}
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(
        "sys.argv", ["x", "export", "--checkpoint", str(path), "--out", str(tmp_path / "model")]
    )
    assert pretrain_backbone.main() == 0
    stock = Wav2Vec2ForCTC.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    counts = torch.tensor([8000])
    wave = normalise(torch.from_numpy(made.samples[None, :16000].astype(np.float32))[:, :8000], counts)
    with torch.no_grad():
        ours = again.model.eval()(F.pad(wave, (0, 320)), torch.tensor([24])).last[:, :24]
        torch.testing.assert_close(stock(wave).logits, again.model.stock.lm_head(ours), rtol=0.02, atol=0.02)
    assert Wav2Vec2CTCTokenizer.from_pretrained(tmp_path / "model").encode("ab") == [5, 6]
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "1 hours in 1 minutes" in card and card.startswith("---\nlicense:")


def a_training(heard_s: float, elapsed_s: float, step: int, **weights: float) -> dict[str, Any]:
    """The record of a training, as far as a card tells of it."""
    options = {"middle": 2, "views": 2, "weights": asdict(Weights(**weights))}
    return {"state": {"heard_s": heard_s, "elapsed_s": elapsed_s, "step": step}, "options": options}


def test_another_training_starts_from_a_finished_one_and_tells_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound, "RARE", 5)
    small_sound(tmp_path / "packed")
    made = sound.load(tmp_path / "packed", synthetic_count=0, workers=1)
    options = Options(minutes=1, batch_s=16, first_steps=1, middle=2, synthetic_share=0.0, changes=TINY)
    first = Training(made, options, torch.device("cpu"))
    path = tmp_path / "out" / "backbone.pt"
    first.run(path, stop_after_s=0)
    another = Training(made, replace(options, seed=1), torch.device("cpu"))
    assert not same(first, another)
    with pytest.raises(FileNotFoundError, match=r"what .* has heard"):
        another.begin_from(path)
    record = {"scores": [], **a_training(3600, 60, 9)}
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    another.begin_from(path)
    assert same(first, another) and another.before == [a_training(3600, 60, 9)]
    assert another.state.step == 0

    saved = torch.load(path, weights_only=True)
    later = {"scores": [], "before": another.before, **a_training(7200, 120, 5, agreement=0, first=0)}
    export.export(another.model, saved, later, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "3 hours in 3 minutes" in card
    assert "| 1 | 1 | 1 | 9 | 2 | characters, phones, phones at layer 2, agreement of the views" in card
    assert "| 2 | 2 | 2 | 5 | 2 | characters, phones, phones at layer 2 |" in card
    third = Training(made, replace(options, seed=2), torch.device("cpu"))
    third.begin_from(tmp_path / "model")
    assert len(third.before) == 2
    assert torch.equal(third.model.stock.lm_head.weight, another.model.stock.lm_head.weight.float())
    vocab = json.loads((tmp_path / "model" / "vocab.json").read_text("utf-8"))
    del vocab["mul"]["b"]
    (tmp_path / "model" / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    with pytest.raises(ValueError, match="another character vocabulary"):
        third.begin_from(tmp_path / "model")


def same(first: Training, second: Training) -> bool:
    """Whether two trainings hold the same weights."""
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_convolutions_stay_from_a_share_of_the_time_on_and_scores_come_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sound, "RARE", 5)
    small_sound(tmp_path / "packed")
    made = sound.load(tmp_path / "packed", synthetic_count=0, workers=1)
    options = Options(
        minutes=0.01, batch_s=16, first_steps=0, middle=2, synthetic_share=0.0, changes=TINY, frozen_from=0.0
    )
    training = Training(made, options, torch.device("cpu"))
    before = {name: one.clone() for name, one in training.model.stock.state_dict().items()}
    training.run(tmp_path / "backbone.pt", score_s=0)
    after = training.model.stock.state_dict()
    moved = {name for name, one in after.items() if not torch.equal(one, before[name])}
    assert any(name.startswith("wav2vec2.encoder.layers.0.attention") for name in moved)
    assert not [name for name in moved if "feature_extractor" in name]
    assert capsys.readouterr().out.count("mean CER") == training.state.step


def test_greedy_joins_repeats_and_stops_at_the_end() -> None:
    best = torch.tensor([[5, 5, 0, 5, 6, 6, 6]])
    assert greedy(F.one_hot(best, 8).float(), [5]) == [[5, 5, 6]]
