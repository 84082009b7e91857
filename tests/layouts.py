"""Writes the layouts of corpora: the same utterances in each, taken from a folder in the layout `spans`."""

import csv
import json
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from mms_adapt import manifest


@dataclass(frozen=True)
class Clip:
    """An utterance with its sound."""

    id: str
    samples: NDArray[np.float32]
    transcript: str
    target_lang: str
    speaker: str | None
    part: str | None

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, self.samples, 16_000)
        return path


def clips(spans: Path) -> list[Clip]:
    found = []
    for one in manifest.read(spans / "utterances.jsonl"):
        end = None if one.end_s is None else round(one.start_s * 16_000) + round(one.duration_s * 16_000)
        samples, _ = soundfile.read(spans / one.recording, start=round(one.start_s * 16_000), stop=end)
        found.append(Clip(one.id, samples, one.transcript, one.target_lang, one.speaker, one.source_split))
    return found


def tsv(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def packed(archive: Path, folder: Path, name: str) -> Path:
    """Move a folder into a .tar.gz."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, name)
    shutil.rmtree(folder)
    return archive


CV_HEADER = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents".split()
)
CV_HEADER += ["variant", "locale", "segment"]


def common_voice(spans: Path, locales: dict[str, str] | None = None) -> Path:
    root = spans.with_name("cv-corpus-1.0") / "xh"
    locales = locales or {"xho": "xh", "zul": "zu"}
    rows = []
    for one in clips(spans):
        name = one.write(root / "clips" / f"common_voice_xh_{one.id[1:]}.mp3").name
        values = dict.fromkeys(CV_HEADER, "") | {"client_id": one.speaker or "nobody", "path": name}
        values |= {"sentence": one.transcript, "locale": locales[one.target_lang], "up_votes": "2"}
        rows.append((one.part, list(values.values())))
    tsv(root / "validated.tsv", [CV_HEADER, *(row for _, row in rows)])
    for part in ("train", "dev", "test"):
        tsv(root / f"{part}.tsv", [CV_HEADER, *(row for its, row in rows if its == part)])
    tsv(root / "clip_durations.tsv", [("clip", "duration[ms]"), ("common_voice_xh_000.mp3", 1000)])
    tsv(root / "reported.tsv", [("sentence_id", "sentence", "locale", "reason")])
    return root


def fleurs(spans: Path, *, archives: bool = True) -> Path:
    root = spans.with_name("fleurs") / "xh_za"
    rows: dict[str, list[Sequence[object]]] = {"train": [], "dev": [], "test": []}
    for one in clips(spans):
        if one.target_lang == "xho":
            part = one.part or "train"
            one.write(root / "audio" / part / f"{one.id}.wav")
            letters = " ".join(one.transcript.replace(" ", "|"))
            row = (17, f"{one.id}.wav", one.transcript, one.transcript.lower(), letters, 16_000, "FEMALE")
            rows[part].append(row)
    for part, its in rows.items():
        tsv(root / f"{part}.tsv", its)
        if archives and its:
            packed(root / "audio" / f"{part}.tar.gz", root / "audio" / part, part)
    return root


def kaldi(spans: Path, *, segments: bool = True) -> Path:
    """A folder of data directories; with segments, all in one recording."""
    root = spans.with_name("data")
    by_part: dict[str, list[Clip]] = {}
    for one in clips(spans):
        if one.target_lang == "xho":
            by_part.setdefault(one.part or "extra", []).append(one)
    for part, its in by_part.items():
        folder, wav = root / part, root / "wav" / part
        paths = {one.id: one.write(wav / f"{one.id}.wav") for one in its}
        if segments:
            whole = wav / "whole.wav"
            soundfile.write(whole, np.concatenate([one.samples for one in its]), 16_000)
            paths = {f"{part}-rec": whole}
            ends = np.cumsum([len(one.samples) for one in its]) / 16_000
            starts = [0, *ends[:-1]]
            rows = [
                (one.id, f"{part}-rec", start, end) for one, start, end in zip(its, starts, ends, strict=True)
            ]
            kaldi_file(folder / "segments", rows)
        kaldi_file(folder / "wav.scp", paths.items())
        kaldi_file(folder / "text", [(one.id, one.transcript) for one in its])
        kaldi_file(folder / "utt2spk", [(one.id, one.speaker) for one in its])
        kaldi_file(folder / "spk2gender", [(one.speaker, "f") for one in its])
    return root


def kaldi_file(path: Path, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def records(spans: Path, folder: Path) -> list[dict[str, Any]]:
    """Rows of a table whose recordings are written to a folder."""
    return [
        {
            "file_name": one.write(folder / "wavs" / f"{one.id}.wav").relative_to(folder).as_posix(),
            "transcription": one.transcript,
            "speaker_id": one.speaker or "",
            "language": one.target_lang,
            "split": one.part or "",
        }
        for one in clips(spans)
    ]


def table(spans: Path) -> Path:
    root = spans.with_name("table")
    rows = records(spans, root)
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def audio_text(spans: Path) -> Path:
    root = spans.with_name("pairs")
    for one in clips(spans):
        if one.target_lang == "xho":
            path = one.write(root / (one.part or "dev") / f"{one.id}.flac")
            path.with_suffix(".txt").write_text(f"{one.transcript}\n", encoding="utf-8")
    return root


def saved(spans: Path) -> Path:
    """What `save_to_disk` writes, its sounds inside."""
    from datasets import Audio, Dataset, Features, Value

    root = spans.with_name("saved")
    rows = [row | {"sound": sound(spans.with_name("loose") / row.pop("file_name"))} for row in
            records(spans, spans.with_name("loose"))]  # fmt: skip
    features = {name: Value("string") for name in rows[0]}
    inside = {"bytes": Value("binary"), "path": Value("string")}
    made = Dataset.from_list(rows, features=Features(features | {"sound": inside}))
    made.cast_column("sound", Audio(decode=False)).save_to_disk(str(root))
    return root


def sound(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name}
