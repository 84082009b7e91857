"""Recordings with a text file of the same name beside each, in a folder and all folders below.

In: the folder. Out: an utterance for every text file (.txt, .lab), the whole file its transcript. A text
without a recording is told of like any whose recording is missing; a recording without a text is counted.

What folders mean, only people know: speakers, days, villages. So nobody speaks, unless the option `speaker`
says that the folder of a recording is its speaker's ("folder"), or the topmost one is ("top"). Topmost
folders that are all named by parts (train, dev, test) are taken for these.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_adapt.corpora import Reading, Skipped, _lines, sifted
from mms_adapt.corpora._columns import is_part
from mms_adapt.corpora._places import AUDIO_SUFFIXES
from mms_adapt.errors import CorpusError, OptionError
from mms_adapt.manifest import Utterance, shown

DESCRIPTION = "recordings (.wav, .flac, .mp3 …), each with a .txt or .lab of the same name beside it"
TEXT_SUFFIXES = frozenset({".txt", ".lab"})
SPEAKERS = ("folder", "top")


@dataclass(frozen=True, slots=True)
class _Name:
    """What a folder holds under one name, endings left out.

    Attributes:
        parts: The folders between the root and it.
        stem: The name.
        recordings: File names of recordings.
        texts: File names of texts.
    """

    parts: tuple[str, ...]
    stem: str
    recordings: Sequence[str]
    texts: Sequence[str]

    @property
    def id(self) -> str:
        """The path below the root, without an ending."""
        return "/".join((*self.parts, self.stem))


def recognise(root: Path) -> bool:
    """Tell whether there is a recording with a text file of its name, here or below."""
    return any(one.recordings and one.texts for one in _names(Path(root)) if isinstance(one, _Name))


def read(root: Path, split: str | None = None, *, target_lang: str, speaker: str | None = None) -> Reading:
    """Read the texts, all of which are taken for the language.

    Args:
        root: The folder.
        split: Only what is below the topmost folder of this name.
        target_lang: The language; nothing here says it.
        speaker: "folder" where the folder of a recording is its speaker's, "top" where the topmost one is.

    Raises:
        CorpusError: If there is no pair, a text cannot be read, or two files are each other's rivals.
        OptionError: If speaker is something else.
    """
    root = Path(root)
    if speaker is not None and speaker not in SPEAKERS:
        raise OptionError(f"corpus option speaker={shown(speaker)}: give {' or '.join(SPEAKERS)}")
    if not recognise(root):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is no such pair")
    return Reading(_rows(root, split, target_lang, speaker))


def _names(root: Path) -> Iterator[_Name | Skipped]:
    """Return the names in a folder and below, in the order of the alphabet; hidden ones are none."""
    for folder, inner, names in os.walk(root):
        parts = Path(folder).relative_to(root).parts
        inner[:] = sorted(one for one in inner if not one.startswith((".", "__MACOSX")))
        for one in inner:
            if os.path.islink(os.path.join(folder, one)):  # it is not gone into, since it may lead in circles
                yield Skipped("linked_folder", shown("/".join((*parts, one))))
        recordings: Mapping[str, list[str]] = defaultdict(list)
        texts: Mapping[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if not name.startswith("."):
                if suffix.lower() in AUDIO_SUFFIXES:
                    recordings[stem].append(name)
                elif suffix.lower() in TEXT_SUFFIXES:
                    texts[stem].append(name)
        for stem in sorted({*recordings, *texts}):
            yield _Name(parts, stem, tuple(recordings.get(stem, ())), tuple(texts.get(stem, ())))


def _rows(
    root: Path, split: str | None, target_lang: str, speaker: str | None
) -> Iterator[Utterance | Skipped]:
    names = list(_names(root))
    found = [one for one in names if isinstance(one, _Name)]
    yield from (one for one in names if isinstance(one, Skipped))
    tops = {one.parts[0] if one.parts else "" for one in found}
    has_parts = all(map(is_part, tops))
    usual = Counter(os.path.splitext(name)[1] for one in found for name in one.recordings).most_common(1)[0][
        0
    ]
    for one in found:
        if not one.texts:
            yield Skipped("no_transcript", os.path.splitext(one.recordings[0])[1])
            continue
        for kind, files in (("recordings", one.recordings), ("texts", one.texts)):
            if len(files) > 1:
                places = " and ".join(shown("/".join((*one.parts, name))) for name in files)
                raise CorpusError(f"{root}: {places} are two {kind} of one name; move one of them away")
        below = one.parts[1:] if has_parts else one.parts
        voice = {None: None, "folder": below[-1:], "top": below[:1]}[speaker]
        utterance = Utterance(
            one.id,
            "/".join((*one.parts, one.recordings[0] if one.recordings else f"{one.stem}{usual}")),
            0.0,
            None,
            _text(root.joinpath(*one.parts, one.texts[0])),
            target_lang,
            speaker=voice[0] if voice else None,
            source_split=one.parts[0] if has_parts else None,
        )
        yield sifted(utterance, split, shown("/".join((*one.parts, one.texts[0]))))


def _text(path: Path) -> str:
    """Return what a text file holds, without the line ends behind it."""
    return "\n".join(line for _, line in _lines.lines(path)).rstrip("\n")
