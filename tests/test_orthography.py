"""Graphemes: the longest first, one code point each where nothing is said."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_adapt.errors import OptionError
from mms_adapt.orthography import Orthography


@pytest.mark.parametrize(
    ("graphemes", "text", "split"),
    [
        ((), "acha é", ["a", "c", "h", "a", " ", "é"]),
        (("ch",), "acha", ["a", "ch", "a"]),
        (("ch", "chw", "wi"), "chwi", ["chw", "i"]),
        (("ng", "ngʼ"), "ngʼa nga", ["ngʼ", "a", " ", "ng", "a"]),
        (("e\u0301",), "é e", ["é", " ", "e"]),
        (("ɛ\u0301",), "ɛ\u0301ɛ", ["ɛ\u0301", "ɛ"]),
        ((), "ɛ\u0301", ["ɛ", "\u0301"]),
        (("a.b", "a*"), "a.ba*axb", ["a.b", "a*", "a", "x", "b"]),
        (("ch",), "", []),
        ((), "a\nb", ["a", "\n", "b"]),
    ],
)
def test_text_is_split_at_the_longest_graphemes(
    graphemes: tuple[str, ...], text: str, split: list[str]
) -> None:
    assert Orthography(graphemes).split(text) == split


@given(st.text(max_size=30), st.lists(st.text("abc\u0301", min_size=1, max_size=3), max_size=4))
def test_nothing_is_lost(text: str, graphemes: list[str]) -> None:
    assert "".join(Orthography(tuple(graphemes)).split(text)) == unicodedata.normalize("NFC", text)


def test_the_order_of_graphemes_does_not_matter() -> None:
    assert Orthography(("ng", "ch", "ng", "a")) == Orthography(("ch", "ng"))
    assert Orthography(["ch"]).graphemes == ("ch",)  # type: ignore[arg-type]


@pytest.mark.parametrize("graphemes", [("",), ("a b",), ("a|b",), ("\t",)])
def test_what_is_no_grapheme_is_refused(graphemes: tuple[str, ...]) -> None:
    with pytest.raises(OptionError, match="letters and marks only"):
        Orthography(graphemes)


def test_one_string_is_not_taken_for_its_letters() -> None:
    with pytest.raises(OptionError, match="give a tuple"):
        Orthography("ch")  # type: ignore[arg-type]
