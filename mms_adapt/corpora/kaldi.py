"""Data directories of Kaldi, one or a folder of several.

In: a folder with `wav.scp` and `text`, with or without `segments` and `utt2spk`; or a folder of such folders,
whose names then are the parts of the corpus's own division. Out: an utterance for every line of `text`.

`wav.scp` may hold commands and places in Kaldi's own archives; both are refused and nothing is run. Its paths
are tried as they are, from the folder itself, and from the folders above it, where Kaldi's scripts run. A
speaker of the same name as the utterance is Kaldi's way to say that nobody knows who speaks.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mms_adapt.corpora import Reading, Skipped, _lines, sifted
from mms_adapt.corpora._places import Places
from mms_adapt.errors import CorpusError
from mms_adapt.manifest import Utterance, shown

DESCRIPTION = "a Kaldi data directory with wav.scp and text (segments, utt2spk), or a folder of several"
_ABOVE = 3  # folders above a data directory from which its paths may start
_WHOLE = re.compile(r"-1(\.0*)?")  # as an end: that of the recording
_IN_ARCHIVE = re.compile(r".+:\d+(\[.*\])?")


@dataclass(frozen=True, slots=True)
class _Data:
    """One data directory.

    Attributes:
        name: The part that it is; None where it is the only one.
        texts: Transcript by utterance, with the number of its line.
        recordings: Path by recording, as written.
        segments: Recording, start and end by utterance; None where each recording is one utterance.
        speakers: Speaker by utterance.
    """

    name: str | None
    texts: Mapping[str, tuple[int, str]]
    recordings: Mapping[str, str]
    segments: Mapping[str, tuple[str, float, float | None]] | None
    speakers: Mapping[str, str]


def recognise(root: Path) -> bool:
    """Tell whether there is a `wav.scp` with a `text`, here or one folder below."""
    return bool(_directories(Path(root)))


def read(root: Path, split: str | None = None, *, target_lang: str) -> Reading:
    """Read the utterances, all of which are taken for the language.

    Args:
        root: The data directory, or the folder of several.
        split: Only the data directory of this name.
        target_lang: The language; Kaldi does not say it.

    Raises:
        CorpusError: If there is no data directory, a file cannot be read, `wav.scp` holds a command, or two
            directories hold the same utterance.
    """
    root = Path(root)
    if not (directories := _directories(root)):
        raise CorpusError(f"{root}: expected here is {DESCRIPTION}; there is no wav.scp with a text")
    several = directories != [root]
    data = [_load(one, one.name if several else None) for one in directories]
    held: dict[str, str | None] = {}
    for one in data:
        for name in one.texts:
            if name in held:
                raise CorpusError(
                    f"{root}: utterance {shown(name)} is in {held[name]} and in {one.name}; give a folder "
                    "with one of the two, or one of them alone"
                )
            held[name] = one.name
    above = [folder for one in directories for folder in (one, *list(one.absolute().parents)[:_ABOVE])]
    places = Places([root, *above])
    for one in data:
        for path in one.recordings.values():
            places.find(path)
    base = places.root(root)
    return Reading(_rows(data, places, base, split, target_lang), base)


def _directories(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    inner = sorted(path for path in root.iterdir() if path.is_dir())
    found = [one for one in (root, *inner) if (one / "wav.scp").is_file() and (one / "text").is_file()]
    return [root] if root in found else found


def _load(folder: Path, name: str | None) -> _Data:
    recordings = {}
    for number, key, path in _lines.pairs(folder / "wav.scp"):
        _check_path(f"{folder / 'wav.scp'}:{number}", path)
        recordings[key] = path
    segments = None
    if (folder / "segments").is_file():
        segments = {
            key: _segment(f"{folder / 'segments'}:{number}", rest)
            for number, key, rest in _lines.pairs(folder / "segments")
        }
    texts = {key: (number, text) for number, key, text in _lines.pairs(folder / "text")}
    speakers = {}
    if (folder / "utt2spk").is_file():
        speakers = {key: rest for _, key, rest in _lines.pairs(folder / "utt2spk")}
    return _Data(name, texts, recordings, segments, speakers)


def _check_path(place: str, path: str) -> None:
    """Refuse what is no path of a recording; nothing is ever run."""
    if not path:
        raise CorpusError(f"{place}: the path of the recording is missing")
    if path.endswith("|") or path.startswith("|") or path == "-":
        raise CorpusError(
            f"{place}: {shown(path)} is a command, and commands are never run; run it yourself, write WAV or "
            "FLAC files, and name these"
        )
    if _IN_ARCHIVE.fullmatch(path):
        raise CorpusError(
            f"{place}: {shown(path)} is a place in an archive of Kaldi's; write WAV or FLAC files "
            "(with wav-copy), and name these"
        )


def _segment(place: str, rest: str) -> tuple[str, float, float | None]:
    try:
        recording, start, end, *_ = rest.split()
        return recording, float(start), None if _WHOLE.fullmatch(end) else float(end)
    except ValueError:
        what = "an utterance, its recording, its start and its end in seconds are expected"
        raise CorpusError(f"{place}: {what}, not {shown(rest)}") from None


def _rows(
    data: list[_Data], places: Places, base: Path, split: str | None, target_lang: str
) -> Iterator[Utterance | Skipped]:
    for one in data:
        where = f"{one.name}/" if one.name else ""
        for name, (number, transcript) in one.texts.items():
            if one.segments is None:
                key, start_s, end_s = name, 0.0, None
            elif name in one.segments:
                key, start_s, end_s = one.segments[name]
            else:
                yield Skipped("not_in_segments", f"{where}text")
                continue
            # a recording that is not in wav.scp has no file, and is told of like any that is missing
            recording = places.recording(one.recordings[key], base) if key in one.recordings else key
            speaker = one.speakers.get(name)
            utterance = Utterance(
                name,
                recording,
                start_s,
                end_s,
                transcript,
                target_lang,
                speaker=speaker if speaker and speaker != name else None,
                source_split=one.name,
            )
            yield sifted(utterance, split, f"{where}text:{number}")
        spoken = one.recordings if one.segments is None else one.segments
        for _ in spoken.keys() - one.texts.keys():
            yield Skipped("no_transcript", f"{where}{'wav.scp' if one.segments is None else 'segments'}")
