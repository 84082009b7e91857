"""Words that are known, and spelling for the others: probabilities against their definition."""

import itertools
import math

import pytest

from mms_adapt import ngram
from mms_adapt.errors import OptionError, TextError
from mms_adapt.ngram import BEGIN, END, UNKNOWN, NGram
from mms_adapt.open_vocabulary import OpenVocabulary

TEXT = ["ab ba ab", "ba b", "ab ab", "b ab ba", "ab", "ba ba ab b", "aab", "ch ab", "ch", "b ch ba"]


def letters(word: str) -> list[str]:
    """Spell with a digraph."""
    return [{"0": "ch"}.get(one, one) for one in word.replace("ch", "0")]


def spelt(sentence: str) -> list[str]:
    return [token for word in sentence.split() for token in ("|", *letters(word))][1:]


GRAPHEMES = ngram.estimate(map(spelt, TEXT), 3)
WORDS = ngram.estimate([one.split() for one in TEXT], 2)


def model(share: float, words: NGram = WORDS) -> OpenVocabulary:
    return OpenVocabulary(GRAPHEMES, words, share, letters, "|")


def defined(sentence: str, share: float, words: NGram = WORDS) -> float:
    """Return a sentence's log-probability as the definition has it, word by word."""
    known = {one for one in words.tokens if set(letters(one)) <= GRAPHEMES.tokens - {"|"}}
    history: tuple[str, ...] = (BEGIN,)
    context: tuple[str, ...] = (BEGIN,)
    total = 0.0
    parts = sentence.split()
    for place, word in enumerate(parts):
        last = place == len(parts) - 1
        spelling = 1.0
        for token in (*letters(word), END if last else "|"):
            spelling *= math.exp(GRAPHEMES.log(context, token))
            context = (*context, token)
        goes_on = 1 - math.exp(words.log(history, END))
        mass = sum(math.exp(words.log(history, one)) for one in known) / goes_on
        chance = math.exp(words.log(history, word)) / goes_on if word in known else 0.0
        history = words.shortened((*history, word if word in known else UNKNOWN))
        ended = math.exp(words.log(history, END))
        chance *= ended if last else 1 - ended
        total += math.log(share * chance + (1 - share * mass) * spelling)
    return total


@pytest.mark.parametrize("share", [0.0, 0.35, 0.9])
def test_it_is_the_mixture_that_it_is_defined_as(share: float) -> None:
    both = model(share)
    for sentence in ["ab", "ba b", "ch ab ba", "aba ab", "a", "chch b ch", "b b b b ab", "cha"]:
        tokens = spelt(sentence)
        expected = math.exp(-defined(sentence, share) / (len(tokens) + 1))
        assert both.perplexity([tokens]) == pytest.approx(expected, rel=1e-12), sentence


def test_what_may_follow_sums_to_one_everywhere() -> None:
    both = model(0.4)
    tokens = [*GRAPHEMES.tokens, UNKNOWN, END]
    for begun in itertools.chain.from_iterable(itertools.product("ab|", repeat=n) for n in range(5)):
        place = both.start
        for token in begun:
            place = both.step(place, token)[1]
        total = sum(math.exp(both.step(place, token)[0]) for token in tokens)
        assert total == pytest.approx(1, rel=1e-9), begun


def test_a_share_of_nothing_is_the_model_of_graphemes() -> None:
    sentences = [spelt(one) for one in (*TEXT, "bbab cha")]
    assert model(0.0).perplexity(sentences) == pytest.approx(GRAPHEMES.perplexity(sentences))
    other = model(0.0).with_share(0.5)
    assert other.share == 0.5 and other.perplexity(sentences[:3]) < GRAPHEMES.perplexity(sentences[:3])


def test_a_known_word_is_heard_of_at_its_first_grapheme() -> None:
    words = ngram.estimate([["bb"]] * 6 + [["ab"]], 1)
    plain, told = model(0.0), model(0.8, words)
    assert told.step(told.start, "b")[0] > plain.step(plain.start, "b")[0] + 0.3
    assert told.step(told.start, "a")[0] < plain.step(plain.start, "a")[0]


def test_words_that_cannot_be_spelt_are_left_to_spelling() -> None:
    words = ngram.estimate([["ab", "xyz"], ["ab"], ["a|b"]], 2)
    both = model(0.5, words)
    assert both.perplexity([["a", "b"]]) == pytest.approx(math.exp(-defined("ab", 0.5, words) / 3), rel=1e-9)
    total = sum(math.exp(both.step(both.start, one)[0]) for one in [*GRAPHEMES.tokens, UNKNOWN, END])
    assert total == pytest.approx(1, rel=1e-9)


def test_a_file_whose_numbers_are_rounded_still_sums_to_one() -> None:
    logs = dict(WORDS.logs)
    logs["ab", END] = 0.0  # as a file may have it that keeps few digits
    both = model(0.5, NGram(2, logs, WORDS.backoffs))
    place = both.start
    for token in (None, "a", "b", "|", "b"):
        place = place if token is None else both.step(place, token)[1]
        total = sum(math.exp(both.step(place, one)[0]) for one in [*GRAPHEMES.tokens, UNKNOWN, END])
        assert total == pytest.approx(1, rel=1e-9)


def test_bad_input_is_told() -> None:
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(OptionError, match=r"words_share=.*: give 0 to less than 1"):
            model(share)
    with pytest.raises(OptionError, match=r"words stands beside an lm of graphemes, and lm has no '\|'"):
        OpenVocabulary(WORDS, WORDS, 0.3, letters, "|")
    with pytest.raises(TextError, match="there is no sentence"):
        model(0.3).perplexity([])
