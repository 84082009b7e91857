"""Make long recordings of many utterances, as a field session is, and play the person who corrects a draft.

In: a folder with `utterances.jsonl`. Out: one recording a speaker, with pauses, and what is said when; and a
tier with the right sentences in an ELAN document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from mms_adapt import files
from mms_adapt.eaf_tier import TierSpan, add_tier

PAUSE_S = 0.8


@dataclass(frozen=True, slots=True)
class Session:
    """One recording.

    Attributes:
        recording: The file.
        said: What is said in it, and when.
    """

    recording: Path
    said: tuple[TierSpan, ...]


def record(corpus: Path, out: Path, *, most: int = 20) -> list[Session]:
    """Put the first utterances of every speaker one behind the other.

    Args:
        corpus: Where `utterances.jsonl` is.
        out: Folder for the recordings.
        most: So many utterances at most in each.
    """
    rows = [
        json.loads(line) for line in (corpus / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    out.mkdir(parents=True, exist_ok=True)
    sessions = []
    for number, speaker in enumerate(dict.fromkeys(row["speaker"] for row in rows)):
        own = [row for row in rows if row["speaker"] == speaker][:most]
        pieces, said, start_s, rate_hz = [], [], 0.0, 16_000
        for row in own:
            samples, rate_hz = soundfile.read(corpus / row["recording"], dtype="float32")
            end_s = start_s + len(samples) / rate_hz
            said.append(TierSpan(round(start_s, 3), round(end_s, 3), row["transcript"]))
            pieces += [samples, np.zeros(round(PAUSE_S * rate_hz), np.float32)]
            start_s = end_s + round(PAUSE_S * rate_hz) / rate_hz
        path = out / f"session{number + 1}.wav"
        soundfile.write(path, np.concatenate(pieces), rate_hz)
        sessions.append(Session(path, tuple(said)))
    return sessions


def correct(document: Path, session: Session, *, tier: str = "corrected") -> None:
    """Add a tier with what is really said, as a person would who has listened to the draft."""
    files.write(document, add_tier(document.read_bytes(), tier, session.said, name=str(document)))
