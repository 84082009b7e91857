"""Recordings whose links are stale: what is tried, in which order, and what is never taken."""

from pathlib import Path, PurePosixPath

import pytest

from mms_adapt.media import Found, Link, Shelf, any_document, documents


def shelf(root: Path, *names: str) -> Shelf:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return Shelf(root)


def find(found: Shelf, document: str, *links: Link | str) -> Found:
    return found.find(PurePosixPath(document), [Link(one) if isinstance(one, str) else one for one in links])


STALE = "file:///C:/Users/ann/My%20Files/Tale%201.wav"


@pytest.mark.parametrize(
    ("names", "link", "recording", "how"),
    [
        (["d/audio/x.wav", "d/t.wav"], Link("file:///gone/x.wav", "audio/x.wav"), "d/audio/x.wav", "link"),
        (["d/audio/x.wav", "d/t.wav"], Link("file:///gone/x.wav", "./audio\\x.wav"), "d/audio/x.wav", "link"),
        (["a/x 1.wav"], Link("", "../a/x%201.wav"), "a/x 1.wav", "link"),
        (["d/tale 1.WAV", "d/t.wav"], Link(STALE, "../Tale 1.wav"), "d/tale 1.WAV", "name"),
        (["a/Tale 1.flac", "a/Tale 1.mp3", "d/t.wav"], Link(STALE), "a/Tale 1.flac", "stem"),
        (["d/a/Tale 1.mp3", "a/Tale 1.wav"], Link(STALE), "d/a/Tale 1.mp3", "stem"),
        (["Tale 1.wav", "a/b/Tale 1.wav", "d/Tale 1.wav"], Link("x/Tale 1.mp3"), "d/Tale 1.wav", "stem"),
        (["d/t.wav"], Link(STALE), "d/t.wav", "stem"),
        (["other/t.ogg"], Link(STALE), "other/t.ogg", "stem"),
        ([], Link(STALE), "d/Tale 1.wav", ""),
        ([], Link("C:\\Users\\x\\speech.wav"), "d/speech.wav", ""),
        ([], Link("rtsp://server/speech.wav"), "d/speech.wav", ""),
        ([], Link(""), "d/t.wav", ""),
        (["d/.hidden/t.wav", "d/__MACOSX/t.wav", "d/._t.wav"], Link(""), "d/t.wav", ""),
    ],
)
def test_one_link(names: list[str], link: Link, recording: str, how: str, tmp_path: Path) -> None:
    found = find(shelf(tmp_path, *names), "d/t.eaf", link)
    assert (found.recording, found.how, bool(found.why)) == (recording, how, not how)


def test_a_link_as_given(tmp_path: Path) -> None:
    files = shelf(tmp_path, "audio/é x.wav", "t.wav")
    assert find(files, "t.eaf", (tmp_path / "audio/é x.wav").as_uri()).recording == "audio/é x.wav"
    assert find(files, "t.eaf", str(tmp_path / "audio/é x.wav")).how == "link"
    turned = tmp_path.parent / f"{tmp_path.name}-link"
    turned.symlink_to(tmp_path)
    assert find(Shelf(turned), "t.eaf", (tmp_path / "audio/é x.wav").as_uri()).recording == "audio/é x.wav"


def test_a_recording_outside_the_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "x.wav").touch()
    files = shelf(tmp_path / "in", "t.eaf")
    for link in (Link((tmp_path / "x.wav").as_uri()), Link("", "../x.wav"), Link("../x.wav")):
        found = find(files, "t.eaf", link)
        assert (found.recording, found.how) == ("x.wav", "")
        assert f"{tmp_path / 'x.wav'} is outside the folder that is read" in found.why


def test_sound_comes_before_film(tmp_path: Path) -> None:
    files = shelf(tmp_path, "v.mp4", "x.wav", "only.mp4")
    assert find(files, "t.eaf", "v.mp4", "x.wav") == Found("x.wav", "link", 1)
    assert find(files, "t.eaf", "gone/x.mp4", "gone/y.mov") == Found("x.wav", "stem", 0)
    assert find(files, "t.eaf", "only.mp4") == Found("only.mp4", "link", 0)
    missing = find(files, "t.eaf", "no.mp4", "gone.wav")
    assert missing.recording == "gone.wav" and missing.why == "gone.wav or no.mp4"


def test_two_that_are_as_near_are_not_guessed(tmp_path: Path) -> None:
    found = find(shelf(tmp_path, "a/x.wav", "b/x.wav"), "t.eaf", "gone/x.wav")
    assert (found.how, found.why) == ("", "gone/x.wav; could be a/x.wav or b/x.wav: correct the link")


@pytest.mark.parametrize(
    ("document", "recording"),
    [
        ("story_words", "story.wav"),
        ("story 2_AB", "story 2.wav"),
        ("story_3", None),
        ("storyboard", None),
        ("story.checked", "story.wav"),
        ("Story-Ann-B", "story.wav"),
    ],
)
def test_a_name_that_begins_with_a_recordings(document: str, recording: str | None, tmp_path: Path) -> None:
    found = find(shelf(tmp_path, "story.wav", "story 2.wav", "far/story_3.txt"), f"{document}.TextGrid")
    assert (found.recording if found.how == "beginning" else None) == recording


def test_documents_in_a_folder(tmp_path: Path) -> None:
    shelf(tmp_path, "b/x.EAF", "a.eaf", "b/y.eaf.txt", ".backup/z.eaf", "b/._x.eaf", "__MACOSX/a.eaf")
    assert list(map(str, documents(tmp_path, ".eaf"))) == ["a.eaf", "b/x.EAF"]
    assert list(map(str, documents(tmp_path / "a.eaf", ".eaf"))) == ["a.eaf"]
    assert any_document(tmp_path, ".eaf") and any_document(tmp_path / "b/x.EAF", ".eaf")
    assert not any_document(tmp_path, ".wav") and not any_document(tmp_path / "b/y.eaf.txt", ".eaf")
