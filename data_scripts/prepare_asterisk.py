"""Make a small speech corpus of Debian's recorded Italian voice prompts.

In: nothing but a Debian or Ubuntu system with `apt-get` and a network (no root), or the two packages
already downloaded. Out: a folder with `utterances.jsonl`, `recordings/*.flac` (16 kHz, mono),
`left_out.jsonl` (every prompt that was not used, with its reason) and `SOURCE.md` (speaker, licence).

    python data_scripts/prepare_asterisk.py --out demo/corpus

The prompts were recorded by Carlo Flora for the telephone exchange Asterisk. The transcripts are a list
of `name: text` in the package `asterisk-core-sounds-it`, the audio is raw G.722 in
`asterisk-core-sounds-it-g722`.

It does not know: mms_adapt. It only writes the layout that mms_adapt reads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

TEXT_PACKAGE = "asterisk-core-sounds-it"
AUDIO_PACKAGE = "asterisk-core-sounds-it-g722"
SPEAKER = "it_IT_m_Carlo"
TARGET_LANG = "ita"
SAMPLE_RATE_HZ = 16000
DIGITS = dict(zip("0123456789", "zero uno due tre quattro cinque sei sette otto nove".split(), strict=True))


class FetchError(RuntimeError):
    """The packages cannot be had here: no apt, no network, or no such package."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recorded prompt: its name, the text of the list and the audio file."""

    name: str
    transcript: str
    audio: Path


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One prompt that was not used, and why."""

    name: str
    reason: str
    transcript: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written: the folder, the seconds of speech and the prompts left out by reason."""

    folder: Path
    utterance_count: int
    duration_s: float
    left_out: tuple[LeftOut, ...]
    licence: str


def download(folder: Path, timeout_s: float = 90) -> tuple[Path, Path]:
    """Download the two packages with `apt-get download`, which needs no root.

    Where apt's own package lists are missing or out of date, fresh ones are fetched into `folder`.

    Returns:
        The paths of the text package and of the audio package.

    Raises:
        FetchError: apt is absent, or it answered no.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (found := _find(folder)) is not None:
        return found
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise FetchError("this system has no apt-get and dpkg")
    private = folder.resolve() / "apt"
    (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    configuration = private / "apt.conf"
    configuration.write_text(
        f'Dir::State::Lists "{private}/lists";\nDir::Cache "{private}";\n'
        "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n",
        encoding="utf-8",
    )
    quick = ["apt-get", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    own_lists = {"APT_CONFIG": str(configuration)}
    complaint = _run([*quick, "download", TEXT_PACKAGE, AUDIO_PACKAGE], folder, {}, timeout_s)
    if _find(folder) is None:
        complaint = _run([*quick, "update"], folder, own_lists, timeout_s) or complaint
        complaint = (
            _run([*quick, "download", TEXT_PACKAGE, AUDIO_PACKAGE], folder, own_lists, timeout_s) or complaint
        )
    shutil.rmtree(private, ignore_errors=True)
    if (found := _find(folder)) is None:
        raise FetchError(f"apt-get could not download {AUDIO_PACKAGE}: {complaint or 'it gave no reason'}")
    return found


def _find(folder: Path) -> tuple[Path, Path] | None:
    """Return the two packages where both lie in `folder`."""
    text = sorted(folder.glob(f"{TEXT_PACKAGE}_*.deb"))
    audio = sorted(folder.glob(f"{AUDIO_PACKAGE}_*.deb"))
    return (text[-1], audio[-1]) if text and audio else None


def _run(command: list[str], folder: Path, environment: dict[str, str], timeout_s: float) -> str:
    """Run a command and return its last error line, empty where it succeeded."""
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return (errors or done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]


def unpack(packages: tuple[Path, Path], folder: Path) -> None:
    """Unpack the packages below `folder` without installing them.

    Raises:
        FetchError: `dpkg -x` failed, for instance on a truncated download.
    """
    for package in packages:
        if complaint := _run(
            ["dpkg", "-x", str(package.resolve()), str(folder.resolve())], Path.cwd(), {}, 60
        ):
            raise FetchError(f"{package} cannot be unpacked ({complaint}); delete it and try again")


def read_list(path: Path) -> dict[str, str]:
    """Read the list of transcripts, `name: text` a line, `;` before a comment."""
    with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
        pairs = (line.strip().partition(":") for line in lines if line.strip() and line[0] != ";")
        return {name.strip(): text.strip() for name, _, text in pairs}


def read_prompts(root: Path) -> Iterator[Prompt | LeftOut]:
    """Pair every recording of the unpacked packages with its transcript, in the order of names.

    Names are compared without case, since the list says `letters/O` where the file is `letters/o`.
    """
    sounds = root / "usr/share/asterisk/sounds" / SPEAKER
    listed = read_list(root / "usr/share/doc" / TEXT_PACKAGE / "core-sounds-it.txt.gz")
    transcripts = {name.casefold(): text for name, text in listed.items()}
    recorded = {path.relative_to(sounds).with_suffix("").as_posix(): path for path in sounds.rglob("*.g722")}
    for name, path in sorted(recorded.items()):
        transcript = transcripts.get(name.casefold())
        if transcript is None:
            yield LeftOut(name, "no_transcript", "")
        elif (reason := why_left_out(transcript)) is not None:
            yield LeftOut(name, reason, transcript)
        else:
            yield Prompt(name, spell_digits(transcript), path)
    for name in sorted(set(transcripts) - {name.casefold() for name in recorded}):
        yield LeftOut(name, "no_audio", transcripts[name])


def why_left_out(transcript: str) -> str | None:
    """Return why a transcript does not say what is heard, or None where it does.

    The list describes tones and silence in words, adds notes in brackets that are not spoken, lost some
    accented letters to `?`, and writes letters, acronyms and long numbers that are read by their names.
    """
    if re.fullmatch(r"[\[(].*[\])]", transcript) or transcript.startswith("un suono"):
        return "tone_or_silence"
    if re.search(r"[\[\](){}]", transcript):
        return "note_in_brackets"
    if re.search(r"\?(?!\W*$)", transcript):
        return "letter_lost"
    if re.search(r"\d\d", transcript):
        return "number_in_figures"
    if re.fullmatch(r"[B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]|[A-Z]{2,}|[A-Z](\W*[A-Z])+", transcript):
        return "letters_said_by_name"
    return None


def spell_digits(transcript: str) -> str:
    """Write single digits as the Italian words that the voice says.

    >>> spell_digits("Premere 3 per uscire")
    'Premere tre per uscire'
    """
    return re.sub(r"\d", lambda digit: DIGITS[digit[0]], transcript)


def read_licence(root: Path) -> str:
    """Return the licence that the package's copyright file states for the Italian prompts."""
    text = (root / "usr/share/doc" / TEXT_PACKAGE / "copyright").read_text(encoding="utf-8")
    for stanza in re.split(r"\n\s*\n", text):
        if re.search(r"^Files: it-\*", stanza, re.M) and (
            found := re.search(r"^License: *(\S+)", stanza, re.M)
        ):
            return found[1]
    return "CC-BY-SA-3.0"


def decode(path: Path) -> np.ndarray:
    """Decode raw G.722 to `(samples,)` of int16 at 16 kHz."""
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames) if frames else np.zeros(0, dtype=np.int16)


def write_corpus(root: Path, out: Path) -> Corpus:
    """Write the corpus of the unpacked packages below `root` into `out`, which is replaced."""
    import soundfile

    licence = read_licence(root)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "recordings").mkdir(parents=True)
    rows, left_out, duration_s = [], [], 0.0
    for prompt in read_prompts(root):
        if isinstance(prompt, LeftOut):
            left_out.append(prompt)
            continue
        samples = decode(prompt.audio)
        recording = f"recordings/{prompt.name.replace('/', '-')}.flac"
        soundfile.write(partial / recording, samples, SAMPLE_RATE_HZ)
        end_s = len(samples) / SAMPLE_RATE_HZ
        duration_s += end_s
        rows.append(
            {
                "id": f"ita-asterisk-{prompt.name.replace('/', '-')}",
                "recording": recording,
                "start_s": 0.0,
                "end_s": end_s,
                "transcript": prompt.transcript,
                "speaker": SPEAKER,
                "source_split": None,
                "target_lang": TARGET_LANG,
                "licence": licence,
            }
        )
    _write_lines(partial / "utterances.jsonl", rows)
    _write_lines(partial / "left_out.jsonl", [asdict(one) for one in left_out])
    (partial / "SOURCE.md").write_text(
        f"Italian voice prompts of Asterisk, read by Carlo Flora, translated by Silvia Petrin.\n"
        f"From the Debian packages {TEXT_PACKAGE} and {AUDIO_PACKAGE}.\n"
        f"Licence, as their copyright file states it: {licence}.\n"
        f"Changed here: decoded from G.722 to FLAC; single digits in transcripts written as words;\n"
        f"{len(left_out)} prompts left out, each with its reason in left_out.jsonl.\n",
        encoding="utf-8",
    )
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return Corpus(out, len(rows), duration_s, tuple(left_out), licence)


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def build(out: Path, downloads: Path) -> Corpus:
    """Download, unpack and write the corpus.

    Raises:
        FetchError: the packages cannot be had here.
    """
    packages = download(downloads)
    root = downloads / "unpacked"
    shutil.rmtree(root, ignore_errors=True)
    unpack(packages, root)
    corpus = write_corpus(root, out)
    shutil.rmtree(root)
    return corpus


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument(
        "--downloads", type=Path, default=Path(".cache/debian"), help="where packages are kept"
    )
    options = parser.parse_args()
    try:
        corpus = build(options.out, options.downloads)
    except FetchError as error:
        print(f"prepare_asterisk: {error}", file=sys.stderr)
        return 1
    reasons = Counter(one.reason for one in corpus.left_out)
    print(f"{corpus.utterance_count} prompts, {corpus.duration_s / 60:.1f} minutes, in {corpus.folder}")
    print(f"left out: {', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
