"""Show the whole line on a small corpus of real speech: prepare, train, evaluate, a language model.

In: nothing. Out: a folder (default `demo/`) with the corpus, the prepared data, the adapter, `score.json`
and `report.html`. The corpus is Debian's recorded Italian voice prompts, since the backbone in the package
has heard no Italian; where they cannot be fetched, synthetic Italian takes their place, plainly labelled.

    make demo
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import prepare_asterisk
import synthesise_corpus

LIMIT_S = 300  # what the whole demo may take, set-up included, where nothing else keeps the machine busy
AFTER_TRAINING_S = 80  # evaluations, report and language model, on two slow cores
READING_S = 15  # what comes before learning, and is not limited
LONGEST_TRAINING_S = 155
EPOCHS = 8  # about what the time allows; more passes would call for stronger augmentation
LEAST_EPOCHS = 3  # with fewer it has learnt too little to show; then it rather takes longer


def get_corpus(folder: Path, *, synthetic: bool = False, downloads: Path = Path(".cache/debian")) -> bool:
    """Write the corpus and say what it is; return whether it is real speech."""
    if not synthetic:
        try:
            corpus = prepare_asterisk.build(folder, downloads)
        except prepare_asterisk.FetchError as error:
            print(f"The recorded prompts cannot be fetched here: {error}")
        else:
            count, minutes = corpus.utterance_count, corpus.duration_s / 60
            print(f"Real speech: {count} Italian voice prompts, {minutes:.0f} minutes, one speaker:")
            print("  Carlo Flora, for the telephone exchange Asterisk.")
            print(f"  Licence {corpus.licence}; the source is told in {folder}/SOURCE.md.")
            count = len(corpus.left_out)
            print(f"  {count} prompts left out: tones, silence, texts that are not what is said.")
            return True
    made = synthesise_corpus.build(folder)
    count, minutes = made.utterance_count, made.duration_s / 60
    print(f"SYNTHETIC speech: {count} sentences by espeak-ng, {minutes:.0f} minutes.")
    print("  It shows that every step works. It says nothing about how well real speech is recognised.")
    return False


def run(*words: str) -> None:
    """Print a command and run it in this process, which saves the seconds of importing torch again."""
    from mms_adapt.cli import main

    print(f"\n$ mms-adapt {shlex.join(words)}", flush=True)
    try:
        main(list(words))
    except SystemExit as stop:
        if stop.code:
            raise


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default: demo)")
    parser.add_argument("--synthetic", action="store_true", help="do not fetch recordings")
    parser.add_argument("--minutes", type=float, help="train so long, instead of what five minutes leave")
    parser.add_argument("--backbone", default="embedded", help="a name or folder (default: embedded)")
    options = parser.parse_args()
    started = float(os.environ.get("DEMO_STARTED") or time.time())
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    real = get_corpus(out / "corpus", synthetic=options.synthetic)
    prepared, adapter = str(out / "prepared" / "ita"), str(out / "adapters" / "ita")
    run("prepare", str(out / "corpus"), "--target-lang", "ita", "--out", prepared, "--overwrite")
    left_s = LIMIT_S - AFTER_TRAINING_S - READING_S - (time.time() - started)
    minutes = options.minutes or max(30, min(LONGEST_TRAINING_S, left_s)) / 60
    run(
        *("train", prepared, "--out", adapter, "--backbone", options.backbone, "--restart"),
        *("--max-minutes", f"{minutes:.1f}", "--epochs", str(EPOCHS)),
        *("--set", f"min_epochs={1 if options.minutes else LEAST_EPOCHS}"),
    )
    run("evaluate", adapter, prepared, "--split", "test", "--show", "0")
    print("\nA language model of the training transcripts knows how words of the language look:")
    run("tune", adapter, prepared, "--dev-minutes", "1", "--no-parts")
    json, report = str(out / "score.json"), str(out / "report.html")
    run("evaluate", adapter, prepared, "--split", "test", "--json", json, "--report", report)

    if not real:
        print("\nRemember: this was SYNTHETIC speech. The figures say nothing about real recordings.")
    late = ", since this machine is slow or busy" if time.time() - started > LIMIT_S else ""
    clip = sorted((out / "corpus" / "recordings").glob("*.flac"))[0]
    print(
        f"""
Open {report} in a browser to see every test utterance with its errors.
All of it took {time.time() - started:.0f} seconds{late}.

With your own language (docs/getting_started.md tells what the folder holds):

  source .venv/bin/activate
  mms-adapt prepare recordings/xyz --target-lang xyz --out prepared/xyz
  mms-adapt train prepared/xyz --out adapters/xyz
  mms-adapt tune adapters/xyz prepared/xyz
  mms-adapt evaluate adapters/xyz prepared/xyz --report report.html

And with this adapter:

  mms-adapt transcribe {clip} --target-lang ita --registry {out / "adapters"}
"""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
