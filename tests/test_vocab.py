"""Vocabularies: their order, both ways through them, and the stock layout of their file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_adapt.errors import OptionError, VocabError
from mms_adapt.orthography import Orthography
from mms_adapt.vocab import Vocab, build

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "|")


def test_specials_stand_first_and_letters_by_code_point() -> None:
    vocab = build(["ñb a", "Éa"], Orthography())
    assert vocab.tokens == (*SPECIALS, "a", "b", "É", "ñ")
    assert (vocab.blank_id, vocab.unk_id, vocab.delimiter_id) == (0, 3, 4)


def test_word_boundaries_beside_long_graphemes_are_kept() -> None:
    vocab = build(["acha ch a"], Orthography(("ch",)))
    texts = ["acha", "a cha", "ach a"]
    ids = [vocab.encode(text) for text in texts]
    assert len({tuple(one) for one in ids}) == 3
    assert [vocab.decode(one) for one in ids] == texts


@given(st.lists(st.text("abcɛ\u0301éh", min_size=1, max_size=6), min_size=1, max_size=5))
def test_there_and_back(words: list[str]) -> None:
    for orthography in (Orthography(), Orthography(("ch", "ɛ\u0301"))):
        vocab = build(words, orthography)
        text = " ".join(words)
        ids = vocab.encode(f"  {text} ")
        assert vocab.encode(vocab.decode(ids)) == ids
        assert not {*ids} & {0, 1, 2, 3}
        assert ids.count(4) == len(words) - 1
        assert Vocab.from_json(vocab.to_json("mdw"), "mdw") == vocab


def test_what_is_outside_is_named() -> None:
    vocab = build(["abc"])
    assert vocab.unknown("abx Ɛ") == {"x", "Ɛ"}
    with pytest.raises(VocabError, match=r"'ab x'.* 'x' \(U\+0078 LATIN SMALL LETTER X\)"):
        vocab.encode("ab x")
    assert vocab.encode("ab x", unknown="unk") == [5, 6, 4, 3]
    assert vocab.decode([5, 6, 4, 3, 7]) == "ab c"
    with pytest.raises(OptionError, match="give error or unk"):
        vocab.encode("a", unknown="skip")
    with pytest.raises(VocabError, match="99"):
        vocab.decode([5, 99])


def test_tokens_of_its_own_are_no_text() -> None:
    vocab = build(["abc <>"])
    assert vocab.unknown("a|b <pad>") == {"|", "p", "d"}
    assert vocab.decode(vocab.encode("<a>")) == "<a>"
    with pytest.raises(VocabError, match=r"'\|' is the space"):
        build(["a|b"])
    with pytest.raises(VocabError, match="<unk>"):
        build(["a<unk>b"], Orthography(("<unk>",)))
    with pytest.raises(VocabError, match="nothing to learn"):
        build(["", "  "])


def test_repeats_need_a_frame_between_them() -> None:
    assert Vocab.min_frames([]) == 0
    assert Vocab.min_frames([5, 6, 5]) == 3
    assert Vocab.min_frames([5, 5, 5, 4, 4]) == 8


def test_the_file_has_the_stock_layout() -> None:
    text = build(["ba"]).to_json("azj-script_latin")
    wanted = {"azj-script_latin": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "b": 6}}
    assert json.loads(text) == wanted
    assert list(json.loads(text)["azj-script_latin"].values()) == list(range(7))


def test_vocabularies_of_others_are_read() -> None:
    flat = Vocab.from_json('{"|": 0, "a": 1, "[UNK]": 2, "[PAD]": 3}', "mdw")
    assert (flat.tokens, flat.blank_id, flat.unk_id, flat.delimiter_id) == (
        ("|", "a", "[UNK]", "[PAD]"),
        3,
        2,
        0,
    )
    assert flat.decode(flat.encode("a a")) == "a a"
    several = '{"eng": {"<pad>": 0, "|": 1, "e": 2}, "deu": {"|": 0, "d": 1, "<pad>": 2}}'
    assert Vocab.from_json(several, "deu").blank_id == 2
    with pytest.raises(VocabError, match="'mdw' but deu, eng"):
        Vocab.from_json(several, "mdw")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "no tokens"),
        ("{}", "no tokens"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 0}', "no <pad>"),
        ('{"<pad>": 0, "a": 1}', r"no \|"),
        ('{"<pad>": 0, "|": 2}', "0 to 1, each once"),
        ('{"<pad>": 0, "|": 0}', "each once"),
        ('{"<pad>": 0, "|": true}', "each once"),
        ('{"<pad>": 0, "|": "1"}', "each once"),
        ('{"<pad>": 0, "|": 1, "": 2}', "not empty"),
        ('{"mdw": {"<pad>": 0}, "x": 1}', "each once"),
    ],
)
def test_what_is_no_vocabulary_is_refused(text: str, says: str) -> None:
    with pytest.raises(VocabError, match=says):
        Vocab.from_json(text, "mdw")
