"""Normalisers: every rule by examples in many scripts, and what holds for any text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_adapt import text
from mms_adapt.errors import TextError

BASIC = text.get("basic", target_lang="mdw")
RAW = text.get("raw", target_lang="mdw")
ACUTE, GRAVE, TILDE_BELOW = "\u0301", "\u0300", "\u0330"
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aAbɛıİIΣσς'’-:·()[]<>" + ACUTE + GRAVE + TILDE_BELOW + "˥ꜛʼʻꞌ \u200c\u200d\u00ad"),
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    ("transcript", "reference"),
    [
        ("  Dabi,   ɛnte saa. ", "dabi ɛnte saa"),
        ("Mósωngώsώ NGÁ pórá", "mósωngώsώ ngá pórá"),
        ("Gawó:ni:sgí Sà:gwű: O:sǐ:gwu!", "gawó:ni:sgí sà:gwű o:sǐ:gwu"),
        ("ᏣᎳᎩ ꭰ", "ᏣᎳᎩ Ꭰ"),
        ("It’s ‘quoted’, isn`t it", "it's quoted isn't it"),
        ("N' adiwo w’ani", "n adiwo w'ani"),
        ("ʼOkina ʻokina ʔa Ꞌa ꞌb", "ʼokina ʻokina ʔa ꞌa ꞌb"),
        ("(laughs) yes [noise] <unk> no", "yes no"),
        ("a (b (c) d) e", "a e"),
        ("（笑）はい【雑音】", "はい"),
        ("a ( b", "a b"),
        ("e-mail – re‐do — well- -known", "e-mail re-do well known"),
        ("col·lecció l‧l ·a", "col·lecció l·l a"),
        ("word--word 3:45 U.S.A.", "word word 3:45 u s a"),
        ("“quoted” «guillemets» 50% $5", "quoted guillemets 50 5"),
        ("ΟΔΟΣ ΣΑΣ", "οδος σας"),
        ("СЪЕШЬ Ёлку", "съешь ёлку"),
        ("می\u200cخواهم، برم؟", "می\u200cخواهم برم"),
        ("ہے\u200c ،", "ہے"),
        ("हिन्दी। क्\u200dष", "हिन्दी क्\u200dष"),
        ("ሰላም፡ዓለም።", "ሰላም ዓለም"),
        ("ཀ་ཁ།", "ཀ ཁ"),
        ("ինչո՞ւ", "ինչու"),
        ("צה״ל בית־ספר!", "צה״ל בית־ספר"),
        ("ߒߞߏ߫ ߸", "ߒߞߏ߫"),
        ("ภาษาไทย", "ภาษาไทย"),
        ("₩a˥˩ ma꜀ ꜛba ^x", "a˥˩ ma꜀ ꜛba x"),
        ("ma⁵⁵ hao3", "ma⁵⁵ hao3"),
        (f"ɛ{ACUTE}{TILDE_BELOW} e{ACUTE}", f"ɛ{TILDE_BELOW}{ACUTE} é"),
        ("a\u00adb \ufeffc \u202ed\u202c", "ab c d"),
        ("ǃXóõ ǀgui", "ǃxóõ ǀgui"),
        ("😀 ok 👍🏽", "ok"),
        ("tab\tnew\nline\u00a0\u2003end", "tab new line end"),
        ("... ?!", ""),
        ("", ""),
    ],
)
def test_basic_by_examples(transcript: str, reference: str) -> None:
    assert BASIC(transcript) == reference


def test_dotted_and_dotless_i_go_with_the_language() -> None:
    for code in ("tur", "azj-script_latin", "crh"):
        assert text.get("basic", target_lang=code)("İstanbul IŞIK Iı") == "istanbul ışık ıı"
    assert BASIC("IŞIK") == "işik"


def test_raw_changes_composition_and_spaces_only() -> None:
    assert RAW(f"  E{ACUTE}x! \n (Y) ") == "Éx! (Y)"


@given(TEXTS)
def test_what_holds_for_any_text(transcript: str) -> None:
    for rule in (BASIC, RAW, text.get("basic", target_lang="tur")):
        reference = rule(transcript)
        assert rule(reference) == reference
        assert reference == " ".join(reference.split())
        assert unicodedata.is_normalized("NFC", reference)
    left = {one for one in BASIC(transcript) if unicodedata.category(one) in ("Cc", "Po", "Ps", "Sm", "So")}
    assert left <= set("':·׳״")


@given(
    st.lists(
        st.sampled_from("aeɛo") | st.sampled_from([ACUTE, GRAVE, TILDE_BELOW, "˥", "ː", "ʼ"]), max_size=12
    )
)
def test_letters_marks_and_tones_survive(parts: list[str]) -> None:
    written = "".join(parts).lstrip(ACUTE + GRAVE + TILDE_BELOW)
    assert BASIC(f"«{written}».") == unicodedata.normalize("NFC", written)


def test_names_and_versions() -> None:
    assert BASIC.signature == "basic-1" == text.get("basic-1", target_lang="mdw").signature
    assert RAW.signature == "raw-1"
    assert text.get("basic-1", target_lang="mdw") == BASIC
    with pytest.raises(
        TextError, match=r"no normaliser 'basik'; did you mean 'basic'\? \(known: basic, raw\)"
    ):
        text.get("basik", target_lang="mdw")
    with pytest.raises(TextError, match="no normaliser 'basic-9'"):
        text.get("basic-9", target_lang="mdw")
