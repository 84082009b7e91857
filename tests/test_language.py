"""Codes of languages: what is one, what may be meant, and hostile text."""

import subprocess
import sys

import pytest

from mms_adapt import language
from mms_adapt.errors import LanguageError


@pytest.mark.parametrize(
    "code",
    ["mdw", "wol", "chr", "aka", "bom", "deu", "qaa", "qtz", "azj-script_latin", "tzo-dialect_chamula"],
)
def test_codes_are_codes(code: str) -> None:
    assert language.parse(code) == code


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("de", r"did you mean deu \(German\)"),
        ("ger", r"did you mean deu \(German\)"),
        ("english", r"did you mean eng \(English\)"),
        ("MDW", r"did you mean mdw \(Mbosi\)"),
        ("Wolof", r"did you mean wol \(Wolof\)\?"),
        ("wollof", r"did you mean wol \(Wolof\)"),
        ("de_DE.UTF-8", r"did you mean deu"),
        ("azj-Latn", r"did you mean azj \(North Azerbaijani\)"),
        ("abx1", r"'abx1' is no language code.*did you mean abx \(Inabaknon\)"),
        ("xyz", r"'xyz' is not in the list of ISO 639-3: .* qaa to qtz"),
        ("bnt", r"'bnt' is a group, Bantu languages"),
        ("und", r"'und' is a group"),
        ("", r"'' is no language code"),
        ("mdw\n", r"'mdw\\n' is no language code.*did you mean mdw"),
        ("../x", r"'\.\./x' is no language code.*iso639-3\.sil\.org"),
        ("mdw/../../etc", r"is no language code"),
        ("mdw-script_../x", r"is no language code"),
        ("mdw-script_", r"is no language code"),
    ],
)
def test_what_is_no_code_says_what_may_be_meant(code: str, meant: str) -> None:
    with pytest.raises(LanguageError, match=meant):
        language.parse(code)


@pytest.mark.parametrize("code", ["\x1b[31mred", "a\u202eb", "\ud800", "x" * 100_000, "ⅿⅾⅿ", "ｍｄｗ"])
def test_hostile_text_is_shown_safely(code: str) -> None:
    with pytest.raises(LanguageError) as raised:
        language.parse(code)
    message = str(raised.value)
    assert len(message) < 400
    assert not set("\x1b\u202e\ud800") & set(message)


def test_names_are_english() -> None:
    names = [language.name(one) for one in ("chr", "mdw", "azj-script_latin", "qab")]
    assert names == ["Cherokee", "Mbosi", "North Azerbaijani (latin script)", "Language without a code"]
    with pytest.raises(LanguageError):
        language.name("english")


@pytest.mark.parametrize(
    ("tag", "code", "same"),
    [
        *[(tag, "twi", True) for tag in ("tw", "twi", "ak", "aka", "TW_gh", "tw-asante", " Twi ")],
        *[(tag, "twi", False) for tag in ("ee", "t", "", "fat", "English", "twi2", "\n")],
        *[("zh-HK", code, True) for code in ("zho", "cmn", "yue")],
        *[("zh", "nan", True), ("yue", "cmn", False), ("nb-NO", "nor", True), ("nn-NO", "nob", False)],
        *[("cmn_hans_cn", "cmn-script_simplified", True), ("Swahili", "swh", True), ("mdf", "mdf", True)],
        *[("ger", "deu", True), ("sursilvan", "roh", False), ("Swahili", "swa", True)],
        *[(tag, "qaa", True) for tag in ("qaa", "Kriolu", "x")],
        *[(tag, "qaa", False) for tag in ("en", "eng", "zu-ZA", "bnt")],
    ],
)
def test_what_others_call_a_language(tag: str, code: str, same: bool) -> None:
    assert language.means(tag, code) is same


def test_importing_it_is_quick() -> None:
    code = "import sys, mms_adapt.language; print('langcodes' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
