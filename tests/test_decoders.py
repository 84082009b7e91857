"""Every decoder found keeps the contract; greedy against CTC's definition, its times and confidences."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mms_adapt import plugins
from mms_adapt.decoders import Decoder, Hypothesis, _hot_words, join
from mms_adapt.errors import OptionError, VocabError
from mms_adapt.ngram import NGram, estimate
from mms_adapt.open_vocabulary import OpenVocabulary
from mms_adapt.orthography import Orthography
from mms_adapt.vocab import Vocab, build

VOCAB: Vocab = build(["abc ñ"], Orthography())
ID = {token: number for number, token in enumerate(VOCAB.tokens)}
DECODERS = plugins.names("decoders")


def emissions(text: str, *, sure: float = 0.9) -> NDArray[np.float32]:
    """Return log-probabilities `(1, frames, vocab)` of these best tokens; "_" is the blank."""
    count = len(VOCAB.tokens)
    found = np.full((1, len(text), count), (1 - sure) / (count - 1), np.float32)
    for frame, character in enumerate(text):
        found[0, frame, VOCAB.blank_id if character == "_" else ID[character]] = sure
    return np.log(found)


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    try:
        made: Decoder = plugins.load("decoders", request.param).build(VOCAB)
    except OptionError as reason:
        if request.param not in {"flashlight", "torchaudio_cuda"}:
            raise
        pytest.skip(str(reason))  # what it needs is not installed here, or not plugged in
    return made


def text_of(decoder: Decoder, frames: str) -> str:
    return decoder.decode(emissions(frames), [len(frames)])[0].text


def test_blanks_alone_give_nothing(decoder: Decoder) -> None:
    (found,) = decoder.decode(emissions("______"), [6])
    assert (found.text, found.tokens, found.words) == ("", (), ())
    assert found.confidence == pytest.approx(0.9, abs=1e-4)
    assert decoder.decode(emissions("ab"), [0])[0].text == ""
    assert decoder.decode(np.zeros((0, 5, len(VOCAB.tokens)), np.float32), []) == []
    assert decoder.decode(np.zeros((2, 0, len(VOCAB.tokens)), np.float32), [0, 0]) == [Hypothesis("")] * 2


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("aab__b", "abb"),
        ("a_a|_b", "aa b"),
        ("||a|||_|b||", "a b"),
        ("ñ", "ñ"),
        ("_|_|_", ""),
        ("a<b" if "<" in ID else "a_b", "ab"),
    ],
)
def test_repeats_collapse_and_blanks_fall_away(decoder: Decoder, frames: str, text: str) -> None:
    assert text_of(decoder, frames) == text


def test_padding_is_not_looked_at(decoder: Decoder) -> None:
    padded = np.concatenate([emissions("ab|c"), emissions("bbbb")], axis=1)
    padded[:, 6:] = np.nan
    assert decoder.decode(padded, [4]) == decoder.decode(emissions("ab|c"), [4])


def test_a_batch_equals_one_by_one_and_tensors_equal_arrays(decoder: Decoder) -> None:
    generator = np.random.default_rng(1)
    logits = torch.tensor(generator.normal(size=(4, 30, len(VOCAB.tokens))) * 3, dtype=torch.float32)
    batch, counts = logits.log_softmax(-1), [30, 7, 0, 19]
    whole = decoder.decode(batch, counts)
    assert whole == decoder.decode(batch.numpy(), counts)
    singles = [decoder.decode(batch[row : row + 1, :count], [count])[0] for row, count in enumerate(counts)]
    assert whole == singles


def test_emissions_of_another_vocabulary_are_refused(decoder: Decoder) -> None:
    with pytest.raises(VocabError, match=r"\(1, 3, 2\)"):
        decoder.decode(np.zeros((1, 3, 2), np.float32), [3])
    with pytest.raises(VocabError, match="2 frame counts"):
        decoder.decode(emissions("abc"), [3, 3])


def test_greedy_is_the_best_path_of_ctc() -> None:
    """Against the definition: the most probable path of all paths, collapsed."""
    greedy = plugins.load("decoders", "greedy").build(VOCAB)
    generator = np.random.default_rng(2)
    wanted = [VOCAB.blank_id, ID["a"], ID["b"], ID["|"]]
    for _ in range(20):
        logits = np.full((1, 4, len(VOCAB.tokens)), -30.0)
        logits[..., wanted] = generator.normal(size=(1, 4, len(wanted)))
        paths = itertools.product(wanted, repeat=4)
        best = max(paths, key=lambda path: sum(logits[0, frame, one] for frame, one in enumerate(path)))
        collapsed = [one for one, _ in itertools.groupby(best) if one != VOCAB.blank_id]
        text = "".join(VOCAB.tokens[one] for one in collapsed).replace("|", " ")
        assert greedy.decode(logits, [4])[0].text == " ".join(text.split())


def test_greedy_tells_times_and_confidences() -> None:
    greedy = plugins.load("decoders", "greedy").build(VOCAB)
    (found,) = greedy.decode(emissions("_aa_b||c_", sure=0.8), [9])
    assert [(one.token, one.start_s, one.end_s) for one in found.tokens] == [
        ("a", pytest.approx(0.02), pytest.approx(0.06)),
        ("b", pytest.approx(0.08), pytest.approx(0.10)),
        ("|", pytest.approx(0.10), pytest.approx(0.14)),
        ("c", pytest.approx(0.14), pytest.approx(0.16)),
    ]
    assert [(one.word, one.start_s, one.end_s) for one in found.words] == [
        ("ab", pytest.approx(0.02), pytest.approx(0.10)),
        ("c", pytest.approx(0.14), pytest.approx(0.16)),
    ]
    assert found.confidence == pytest.approx(0.8, abs=1e-5)
    assert found.words[0].confidence == pytest.approx(0.8, abs=1e-5)


def test_greedy_takes_no_options() -> None:
    with pytest.raises(OptionError, match="takes no options; given: beam_width"):
        plugins.load("decoders", "greedy").build(VOCAB, beam_width=3)


def test_words_are_composed() -> None:
    vocab = build(["e\u0301"], Orthography())
    greedy = plugins.load("decoders", "greedy").build(vocab)
    ids = vocab.encode("e\u0301")
    frames = np.full((1, len(ids), len(vocab.tokens)), -20.0)
    frames[0, range(len(ids)), ids] = 0
    assert greedy.decode(frames, [len(ids)])[0].text == "é"


def test_parts_of_a_recording_are_joined() -> None:
    greedy = plugins.load("decoders", "greedy").build(VOCAB)
    whole = greedy.decode(emissions("a_b|__|c_a_|"), [12])[0]
    parts = [(0.0, greedy.decode(emissions("a_b|"), [4])[0]), (0.08, greedy.decode(emissions("__"), [2])[0])]
    parts.append((0.12, greedy.decode(emissions("|c_a_|"), [6])[0]))
    joined = join(parts)
    assert joined.text == whole.text
    assert [one.word for one in joined.words] == [one.word for one in whole.words]
    assert joined.words[1].start_s == pytest.approx(whole.words[1].start_s)
    assert join([]) == Hypothesis("")
    assert join([(0.0, Hypothesis("", confidence=0.4))]).confidence == 0.4


def texts_and_totals(logs: NDArray[np.float64], wanted: list[int]) -> dict[str, float]:
    """Return the probability of every text: the sum over all paths that give it."""
    found: dict[str, float] = {}
    for path in itertools.product(wanted, repeat=len(logs)):
        collapsed = "".join(VOCAB.tokens[one] for one, _ in itertools.groupby(path) if one != VOCAB.blank_id)
        text = " ".join(collapsed.replace("|", " ").split())
        found[text] = found.get(text, 0.0) + float(np.exp(sum(logs[n, one] for n, one in enumerate(path))))
    return found


def few_tokens(seed: int, frames: int = 5) -> tuple[NDArray[np.float64], list[int]]:
    wanted = [VOCAB.blank_id, ID["a"], ID["b"], ID["|"]]
    logits = np.full((frames, len(VOCAB.tokens)), -200.0)
    logits[:, wanted] = np.random.default_rng(seed).normal(size=(frames, len(wanted))) * 1.5
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), wanted


LETTERS: NGram = estimate([list("ab|ab"), list("ba"), list("ab|b"), list("a|ab")], 3)
WORDS: NGram = estimate([["ab", "ab"], ["ba"], ["ab", "b"], ["a", "ab"]], 2)


@pytest.mark.parametrize(
    ("lm", "weight", "bonus"),
    [(None, 0.0, 0.0), (LETTERS, 0.8, 0.4), (LETTERS, 2.0, -0.3), (WORDS, 0.7, 0.9)],
)
def test_a_wide_beam_finds_the_best_of_all_texts(lm: NGram | None, weight: float, bonus: float) -> None:
    beam = plugins.load("decoders", "beam").build(
        VOCAB, lm=lm, lm_weight=weight, bonus=bonus, beam_width=5000, token_floor=-1000.0
    )

    def counted(text: str, total: float) -> float:
        if lm is None:
            return math.log(total)
        tokens = list(text.replace(" ", "|")) if lm is LETTERS else text.split()
        return math.log(total) + weight * lm.sentence(tokens) + bonus * len(tokens)

    for seed in range(12):
        logs, wanted = few_tokens(seed)
        totals = texts_and_totals(logs, wanted)
        best = max(totals, key=lambda text: counted(text, totals[text]))
        assert beam.decode(logs[None], [len(logs)])[0].text == best, seed


def test_a_wide_beam_with_words_beside_letters_finds_the_best_of_all_texts() -> None:
    options = {"lm": LETTERS, "words": WORDS, "words_share": 0.6}
    beam = plugins.load("decoders", "beam").build(
        VOCAB, lm_weight=0.8, bonus=0.4, beam_width=5000, token_floor=-1000.0, **options
    )
    both, changed = OpenVocabulary(LETTERS, WORDS, 0.6, list, "|"), 0

    def counted(text: str, total: float, model: OpenVocabulary | NGram) -> float:
        tokens = list(text.replace(" ", "|"))
        said = -math.log(model.perplexity([tokens])) * (len(tokens) + 1)
        return math.log(total) + 0.8 * said + 0.4 * len(tokens)

    for seed in range(12):
        logs, wanted = few_tokens(seed)
        totals = texts_and_totals(logs, wanted)
        best, letters = (
            max(totals, key=lambda text: counted(text, totals[text], model)) for model in (both, LETTERS)
        )
        assert beam.decode(logs[None], [len(logs)])[0].text == best, seed
        changed += best != letters
    assert changed


@pytest.mark.parametrize("options", [
    {}, {"lm": LETTERS, "bonus": -0.5}, {"lm": WORDS, "lm_weight": 0.9, "bonus": 1.2},
    {"lm": LETTERS, "words": WORDS, "lm_weight": 1.5, "bonus": 1.0},
    {"lm": LETTERS, "hot_words": {"ab": 3.0, "bb": -2.0, "c": 1.0}},
])  # fmt: skip
def test_what_is_not_tried_would_not_have_been_kept(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = np.random.default_rng(3).normal(size=(12, 40, len(VOCAB.tokens))) * 3
    logits[:, ::2, VOCAB.blank_id] += 6
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    for width in (1, 2, 5):
        beam = plugins.load("decoders", "beam").build(VOCAB, beam_width=width, **options)
        tried = beam.decode(logs, [40] * 12)
        with monkeypatch.context() as patched:
            patched.setattr(type(beam), "_least", lambda *_: -math.inf)
            assert beam.decode(logs, [40] * 12) == tried


@pytest.mark.parametrize("lm", [None, LETTERS, WORDS])
def test_a_wide_beam_with_hot_words_finds_the_best_of_all_texts(lm: NGram | None) -> None:
    hot = {"ab": 2.5, "b": -1.5, "aba": 4.0, "bb": 1.0}
    beam = plugins.load("decoders", "beam").build(
        VOCAB, lm=lm, lm_weight=0.7, bonus=0.4, beam_width=5000, token_floor=-1000.0, hot_words=hot
    )

    def counted(text: str, total: float) -> float:
        known = math.log(total) + sum(hot.get(word, 0.0) for word in text.split())
        if lm is None:
            return known
        tokens = list(text.replace(" ", "|")) if lm is LETTERS else text.split()
        return known + 0.7 * lm.sentence(tokens) + 0.4 * len(tokens)

    changed = 0
    for seed in range(12):
        logs, wanted = few_tokens(seed)
        totals = texts_and_totals(logs, wanted)
        best = max(totals, key=lambda text: counted(text, totals[text]))
        assert beam.decode(logs[None], [len(logs)])[0].text == best, seed
        changed += best != max(totals, key=lambda text: totals[text])
    assert changed > 3


def test_a_narrow_beam_keeps_what_may_become_a_hot_word() -> None:
    """Its first letters are unlikely, so that a beam of two would lose it if it counted the whole alone."""
    frames = emissions("a_a_a", sure=0.9)
    for frame in (0, 2, 4):
        frames[0, frame] = np.log(0.02)
        frames[0, frame, [ID["a"], ID["b"], ID["c"]]] = np.log([0.5, 0.3, 0.16])
    plain = plugins.load("decoders", "beam").build(VOCAB, beam_width=2)
    told = plugins.load("decoders", "beam").build(VOCAB, beam_width=2, hot_words={"ccc": 8.0})
    assert plain.decode(frames, [5])[0].text == "aaa"
    assert told.decode(frames, [5])[0].text == "ccc"


def test_hot_words_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeff# places\nab\n\nñ  1.5\n", encoding="utf-8")
    assert _hot_words.of(path) == _hot_words.of(str(path)) == {"ab": 3.0, "ñ": 1.5}
    frames = emissions("a_b", sure=0.9)
    frames[0, 2, ID["b"]] = frames[0, 2, ID["c"]] - 0.5
    assert plugins.load("decoders", "beam").build(VOCAB, hot_words=path).decode(frames, [3])[0].text == "ab"
    path.write_text("ab\nab c d\n", encoding="utf-8")
    with pytest.raises(OptionError, match=r"names.txt:2: 'ab c d': write a word, or a word and its weight"):
        plugins.load("decoders", "beam").build(VOCAB, hot_words=path)
    with pytest.raises(OptionError, match=r"gone.txt cannot be read"):
        plugins.load("decoders", "beam").build(VOCAB, hot_words=tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("hot", "says"),
    [
        ({"a b": 1.0, "": 1.0}, "'a b': give single words, without spaces; hot word '': give single"),
        ({"a|b": 1.0}, "single words"),
        ({"axb": 1.0}, "'axb': the adapter cannot write 'x'"),
        ({"ab": float("nan")}, "weight nan: give a number from -20 to 20"),
        ({"ab": 21}, "weight 21"),
        ({"ab": "much"}, "weight 'much'"),
    ],
)
def test_bad_hot_words_are_told(hot: dict[str, float], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        plugins.load("decoders", "beam").build(VOCAB, hot_words=hot)


def test_a_language_model_corrects_what_is_not_sure() -> None:
    frames = emissions("a_b|a_", sure=0.9)
    frames[0, 5] = np.log(np.where(np.arange(len(VOCAB.tokens)) == ID["b"], 0.45, 0.05))
    plain = plugins.load("decoders", "beam").build(VOCAB, lm=LETTERS, lm_weight=0.0, bonus=0.0)
    strong = plugins.load("decoders", "beam").build(VOCAB, lm=LETTERS, lm_weight=2.0, bonus=1.0)
    frames[0, 5, VOCAB.blank_id] = np.log(0.5)
    assert plain.decode(frames, [6])[0].text == "ab a"
    assert strong.decode(frames, [6])[0].text == "ab ab"


def test_beam_tells_times_and_confidences() -> None:
    beam = plugins.load("decoders", "beam").build(VOCAB)
    greedy = plugins.load("decoders", "greedy").build(VOCAB)
    for text in ("_aa_b||c_", "a_a_|b", "abc"):
        (ours,), (plain,) = (one.decode(emissions(text, sure=0.95), [len(text)]) for one in (beam, greedy))
        assert ours.text == plain.text and ours.words[0].word == plain.words[0].word
        assert [(one.start_s, one.end_s) for one in ours.words] == [
            (one.start_s, one.end_s) for one in plain.words
        ]
        assert ours.confidence == pytest.approx(plain.confidence)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 3}, "takes lm, lm_weight, .*; given: beams"),
        ({"beam_width": "wide"}, "beam_width='wide': give a number"),
        ({"beam_width": 0, "lm_weight": -1.0}, "lm_weight=-1.0: give 0 to 20; beam_width=0"),
        ({"bonus": float("nan")}, "bonus=nan"),
        ({"token_floor": 1}, "token_floor=1.0"),
        ({"words": WORDS}, "words: they stand beside a model of graphemes, so give lm, too"),
        ({"lm": LETTERS, "words": WORDS, "words_share": 1}, "words_share=1.0: give 0 to less than 1"),
        ({"lm": WORDS, "words": WORDS}, "words stands beside an lm of graphemes"),
    ],
)
def test_bad_options_of_the_beam_are_told(options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        plugins.load("decoders", "beam").build(VOCAB, **options)
