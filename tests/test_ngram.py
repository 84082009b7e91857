"""N-gram models: probabilities sum to one, equal a plain reckoning, survive ARPA; others are refused."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from mms_adapt import ngram
from mms_adapt.errors import OptionError, TextError
from mms_adapt.ngram import BEGIN, END, UNKNOWN, NGram, estimate, read


def text(count: int = 300, seed: int = 0) -> list[list[str]]:
    """Sentences of a small grammar, so that counts of one to four all come up."""
    generator = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(40)]
    weights = 1 / np.arange(1, 41) ** 1.1
    return [
        list(generator.choice(words, size=generator.integers(1, 8), p=weights / weights.sum()))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def model() -> NGram:
    return estimate(text(), 3)


def test_probabilities_of_what_may_follow_sum_to_one(model: NGram) -> None:
    everything = [*model.tokens, END, UNKNOWN]
    generator = np.random.default_rng(1)
    seen = [gram[:-1] for gram in model.logs if len(gram) == 3]
    contexts = [(), (BEGIN,), ("w0",), ("w5", "w39"), ("unheard", "w1"), (BEGIN, "w2")]
    contexts += [seen[place] for place in generator.integers(0, len(seen), 20)]
    for context in contexts:
        total = sum(math.exp(model.log(context, one)) for one in everything)
        assert total == pytest.approx(1.0, abs=1e-9), context


def test_probabilities_equal_those_of_the_formula() -> None:
    """Chen and Goodman's equations written out for a text of which every number can be counted by hand."""
    model = estimate([["a", "b"], ["a", "b"], ["a", "c"]], 2)
    # too few counts for discounts: 0.5, 1 and 1.5 are taken from counts of one, two and more
    # continuations: a 1 (behind <s>), b 1, c 1, </s> 2; in all 5
    left = (0.5 * 3 + 1.0) / 5
    low = {"a": 0.5 / 5 + left / 5, "b": 0.5 / 5 + left / 5, END: 1.0 / 5 + left / 5, UNKNOWN: left / 5}
    for token, expected in low.items():
        assert math.exp(model.log((), token)) == pytest.approx(expected)
    # behind a: b twice, c once
    left = (1.0 + 0.5) / 3
    assert math.exp(model.log(("a",), "b")) == pytest.approx((2 - 1.0) / 3 + left * low["b"])
    assert math.exp(model.log(("a",), END)) == pytest.approx(left * low[END])
    assert math.exp(model.log((BEGIN,), "a")) == pytest.approx((3 - 1.5) / 3 + 1.5 / 3 * low["a"])
    assert model.log(("a",), "never heard") == model.log(("a",), UNKNOWN)


def test_discounts_are_those_of_the_text() -> None:
    found = ngram._discounts([1] * 50 + [2] * 20 + [3] * 12 + [4] * 8 + [9] * 3)
    share = 50 / 90
    assert found == pytest.approx((1 - 2 * share * 20 / 50, 2 - 3 * share * 12 / 20, 3 - 4 * share * 8 / 12))
    assert ngram._discounts([1, 1, 2]) == (0.5, 1.0, 1.5)


def test_more_context_and_more_text_are_less_perplexed() -> None:
    grammar = [["a", "b", "c", "d"], ["b", "a", "d", "c"], ["c", "d", "a", "b"]] * 30
    held = grammar[:3]
    assert [round(estimate(grammar, n).perplexity(held), 2) for n in (1, 2, 3)] == sorted(
        (round(estimate(grammar, n).perplexity(held), 2) for n in (1, 2, 3)), reverse=True
    )
    assert estimate(text(1000), 2).perplexity(text(50, 9)) < estimate(text(20), 2).perplexity(text(50, 9))


def test_arpa_gives_the_same_model_again(model: NGram, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(model.to_arpa(), encoding="utf-8")
    again = read(path)
    assert again.order == 3 and again.logs.keys() == model.logs.keys()
    for sentence in text(20, 5):
        assert again.sentence(sentence) == pytest.approx(model.sentence(sentence), abs=1e-4)
    assert again.to_arpa() == model.to_arpa()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.rpartition("\\end\\")[0], "no whole ARPA file"),
        (lambda text: text.replace("ngram 2=", "ngram 2=9"), "no whole ARPA file .* 2-grams"),
        (lambda text: text.replace("\\2-grams:", "\\two-grams:"), "'two' is no number"),
        (lambda text: text.replace("<unk>", "<unk> x y z"), "is no 1-gram"),
        (lambda text: text.replace("\\1-grams:\n-", "\\1-grams:\n+"), "is no 1-gram"),
        (lambda text: "hello", "no counts"),
    ],
)
def test_what_is_no_arpa_file_is_refused(model: NGram, tmp_path: Path, change: object, says: str) -> None:
    path = tmp_path / "lm.arpa"
    assert callable(change)
    path.write_text(change(model.to_arpa()), encoding="utf-8")
    with pytest.raises(TextError, match=says):
        read(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no such language model; mms-adapt lm makes one"):
        read(tmp_path / "gone.arpa")
    (tmp_path / "odd.arpa").write_bytes(b"\\data\\\nngram 1=1\n\xff\xfe")
    with pytest.raises(TextError, match="UTF-8"):
        read(tmp_path / "odd.arpa")


def test_text_that_gives_no_model_is_refused() -> None:
    with pytest.raises(TextError, match="no text to learn"):
        estimate([[], []], 2)
    for token in ("<s>", "a b", ""):
        with pytest.raises(TextError, match="cannot stand in a language model"):
            estimate([["a", token]], 2)
    for order in (0, 13):
        with pytest.raises(OptionError, match="give 1 to 12"):
            estimate([["a"]], order)
    with pytest.raises(TextError, match="no sentence"):
        estimate([["a"]], 1).perplexity([])


def test_contexts_are_cut_to_what_matters(model: NGram) -> None:
    assert model.shortened(("a", "b", "c")) == ("b", "c")
    assert model.shortened(("a",)) == ("a",)
    assert estimate([["a"]], 1).shortened(("a", "b")) == ()
    for context in itertools.product(["w0", "w1"], repeat=4):
        assert model.log(context, "w2") == model.log(context[-2:], "w2")
