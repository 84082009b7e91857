"""Which tiers hold the transcript: by their names in several languages, and as asked for."""

import doctest

import pytest

from mms_adapt import tiers
from mms_adapt.errors import OptionError
from mms_adapt.tiers import Candidate, Wanted, choose, holed, kind, transcribed

FULL = ("something said",)
NAMES = {
    "transcript": """Transcription transcript TX tx@SL Tx@griots_r30_4.wav tranx transcri Transcrip2 text@A
        TRN A_text utterance Utt-A phrase A_phrase-txt-kmr SentenceA orthography transcripción transcrição
        trascrizione Транскрипция""",
    "translation": """Trad Traduction Trd translation@A ft@SL FreeTranslation A_free-translation transl
        Übersetzung traducción literal_translation text_translation""",
    "gloss": "ge@SL gloss A_morph-gls-en glosses mb@SL ps@A morphemes",
    "notes": """com Com@x.wav CMNT Comment Commentaire notes nt@A Kommentar observations
        transcription_notes""",
    "sounds": """phones phone phons syllable MAU ipa tonicVowel pitch phonetic-transcription
        IPA_transcription KAN-MAU""",
    "words": "word words wd@A mot@SL A_word-txt-kmr ORT-MAU palabras bob_-_words",
    "gesture": "gesture gaze left_hand",
    "numbers": "A_phrase-segnum-en id@A",
    "unnamed": "default ref@SL @Ref Wodjo A GN MB Tom Mo Phong Ann K2 speaker_1",
    "another language": "English Français español",
    "a machine's draft": "draft draft-confidence Draft@A A_draft-text mms-adapt ASR_text",
}


@pytest.mark.parametrize(
    ("name", "expected"), [(name, what) for what, names in NAMES.items() for name in names.split()]
)
def test_names(name: str, expected: str) -> None:
    assert kind(Candidate(name.replace("_-_", " - "), texts=FULL)) == expected


def test_the_type_counts_where_the_name_says_nothing() -> None:
    assert (
        kind(Candidate("Wodjo", "TX")) == "transcript" and kind(Candidate("Wodjo", "Trad")) == "translation"
    )
    assert kind(Candidate("Com@x", "tx")) == "notes" and kind(Candidate("Wodjo", "default-lt")) == "unnamed"


def test_numbers_of_annotations_are_no_transcripts() -> None:
    assert kind(Candidate("ref@A", texts=("Story_001", "Story_002", "hm"))) == "numbers"
    assert kind(Candidate("ref@A", texts=("he said 5", "so it is", "x1"))) == "unnamed"


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(tiers).failed == 0


def chosen(*given: Candidate, **wanted: str) -> list[str]:
    found = choose(given, Wanted(**wanted))
    assert sorted([*found.chosen, *found.why]) == list(range(len(given)))
    return [given[place].name + ("+" if found.joined else "") for place in found.chosen]


def tier(name: str, texts: tuple[str, ...] = FULL, **fields: object) -> Candidate:
    return Candidate(name, texts=texts, **fields)  # type: ignore[arg-type]


def test_a_transcript_by_name_comes_before_others() -> None:
    assert chosen(tier("default"), tier("tx"), tier("Trad"), tier("words")) == ["tx"]
    assert chosen(tier("default"), tier("tx", ("", " ")), tier("Trad"), tier("words")) == ["default"]
    assert chosen(tier("Trad"), tier("words"), tier("phones")) == ["words+"]
    assert chosen(tier("Trad"), tier("phones"), tier("tx", ())) == []
    assert chosen() == []


def test_all_speakers_are_chosen_each_once() -> None:
    assert chosen(tier("text@A", speaker="A"), tier("text@B", speaker="B")) == ["text@A", "text@B"]
    spelt_twice = [tier("orth@A", speaker="A"), tier("text@A", speaker="A"), tier("orth@B", speaker="B")]
    assert chosen(*spelt_twice) == ["text@A", "orth@B"]
    assert chosen(tier("text1"), tier("text2"), tier("orth")) == ["text1", "text2"]
    assert chosen(tier("text"), tier("text-a", parent=0), tier("text-b", parent=1)) == ["text"]
    assert chosen(tier("ref"), tier("tx", parent=0, aligned=False), tier("ft", parent=0)) == ["tx"]
    assert chosen(tier("text", parent=1), tier("text", parent=0)) == []  # each hangs on the other


def test_tiers_without_a_telling_name_stand_at_the_top_and_have_times() -> None:
    assert chosen(tier("Wodjo"), tier("Malle"), tier("x", parent=0), tier("y", aligned=False)) == [
        "Wodjo",
        "Malle",
    ]
    assert chosen(tier("p", points=True), tier("words", points=True)) == []
    assert chosen(tier("text", other_language="eng"), tier("Wodjo")) == ["Wodjo"]


def test_what_is_asked_for_overrules() -> None:
    given = [
        tier("A_Text", type="t", speaker="Ann"),
        tier("B_text", type="u", speaker="Ben"),
        tier("B_trad"),
        tier("C", ()),
    ]
    assert chosen(*given, tiers="b_*") == ["B_text", "B_trad"]
    assert chosen(*given, tiers="a_text, c") == ["A_Text", "C"]
    assert chosen(*given, tier_type="U") == ["B_text"]
    assert chosen(*given, tiers="*_text", tier_type="?", participant="ann") == ["A_Text"]
    assert chosen(*given, tiers="zz") == []
    assert chosen(*given, participant="b*") == ["B_text"]  # narrows the choice by name
    found = choose(given, Wanted(participant="b*"))
    assert found.why == {0: "another participant", 2: "another participant", 3: "empty"}


def test_options_that_say_nothing() -> None:
    with pytest.raises(OptionError, match="corpus option tiers, participant: give a name"):
        Wanted(tiers="", participant=" , ")
    assert str(Wanted("A_*", None, "ann")) == "tiers='A_*', participant='ann'" and str(Wanted()) == ""


@pytest.mark.parametrize(
    "text", ["xxx", "XXX", "***", "xxx xxx.", "[xxxx]", "???", "…", "-", "www", "  ", "(***)"]
)
def test_nothing_is_written_down(text: str) -> None:
    assert not transcribed(text) and not holed(text)


@pytest.mark.parametrize("text", ["a", "xx", "bɛ", "wwwa", "मैं", "5", "ᏣᎳᎩ"])
def test_something_is_written_down(text: str) -> None:
    assert transcribed(text) and not holed(text)


def test_places_that_are_not_written_down() -> None:
    assert holed("a ye xxx fɔ") and holed("a ye *** fɔ") and not holed("xxxa")
    assert transcribed("x" * 100_000 + "a")
