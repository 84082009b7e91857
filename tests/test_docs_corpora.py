"""The commands of docs/corpora.md prepare what they say, each layout written on the spot."""

import csv
from collections.abc import Callable
from pathlib import Path

import layouts
import numpy as np
import pytest
import soundfile
import test_docs
import tiny
from annotations import TierOf, eaf_bytes, textgrid_text

from mms_adapt.cli import main
from mms_adapt.prepared import Prepared

HUB = "google/fleurs:xh_za"  # wants a network; test_datasets.py reads such a name from a stand-in


def said(folder: Path, code: str = "mdw") -> list[layouts.Clip]:
    return layouts.clips(tiny.corpus(folder / "spans", 20, target_lang=code))


def joined(path: Path, clips: list[layouts.Clip]) -> list[tuple[float, float, str]]:
    """Write clips one behind the other, and return where each lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([one.samples for one in clips]), tiny.RATE_HZ)
    ends = np.cumsum([len(one.samples) for one in clips]) / tiny.RATE_HZ
    return [(float(start), float(end), one.transcript)
            for start, end, one in zip([0, *ends[:-1]], ends, clips, strict=True)]  # fmt: skip


def a_table(folder: Path) -> None:
    with (folder / "corpus.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Datei", "Satz", "Wer"])
        for one in said(folder):
            rows.writerow([one.write(folder / f"{one.id}.wav").name, one.transcript, one.speaker])


def elan_documents(folder: Path) -> None:
    clips = said(folder, "abz")
    for day in range(5):
        path = folder / "fieldwork" / "2023" / f"day{day}.wav"
        rows = [
            (round(1000 * start), round(1000 * end), text) for start, end, text in joined(path, clips[day::5])
        ]
        name = "Phrase" if day % 2 else "tx@AB"
        path.with_suffix(".eaf").write_bytes(eaf_bytes(TierOf(name, rows), media=[{"MEDIA_URL": path.name}]))


def textgrids(folder: Path) -> None:
    for one in said(folder):
        path = folder / "recordings" / "words" / f"{one.id}.wav"
        rows = joined(path, [one])
        path.with_suffix(".TextGrid").write_text(textgrid_text(("sentence", rows)), encoding="utf-8")


def common_voice(folder: Path) -> None:
    said(folder, "twi")
    release = layouts.common_voice(folder / "spans", {"twi": "tw"})
    layouts.packed(folder / "cv-corpus-24.0-2025-12-05-tw.tar.gz", release, "cv-corpus-24.0-2025-12-05/tw")


def saved(folder: Path) -> None:
    said(folder, "xho")
    layouts.saved(folder / "spans").rename(folder / "speech")
    (folder / "saved").mkdir()
    (folder / "speech").rename(folder / "saved" / "speech")


def parquet(folder: Path) -> None:
    from datasets import load_from_disk

    saved(folder)
    (folder / "speech").mkdir()
    load_from_disk(str(folder / "saved" / "speech")).to_parquet(
        str(folder / "speech" / "train-00000-of-00001.parquet")
    )


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "corpus.csv": a_table,
    "fieldwork/2023": elan_documents,
    "recordings/words": textgrids,
    "cv-corpus-24.0-2025-12-05-tw.tar.gz": common_voice,
    "saved/speech": saved,
    "speech/train-00000-of-00001.parquet": parquet,
}
COMMANDS = [words for words in test_docs.commands("docs/corpora.md") if HUB not in words]


def test_every_layout_shown_is_written_here() -> None:
    assert {words[1] for words in COMMANDS} == LAYOUTS.keys()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_a_command_prepares_what_it_says(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    LAYOUTS[words[1]](tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr()
    assert not stopped.value.code, said.out + said.err
    made = Prepared.load(words[words.index("--out") + 1])
    assert sum(made.counts["utterances"].values()) + sum(made.counts["left_out"].values()) == 20
