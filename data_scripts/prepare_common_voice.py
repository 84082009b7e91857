"""Prepare a release of Common Voice in one language, as downloaded, for training.

    python data_scripts/prepare_common_voice.py cv-corpus-24.0-2025-12-05-tw.tar.gz --target-lang twi

In: the .tar.gz, or the folder with `validated.tsv` and `clips`. Out: a folder that `mms-adapt train` takes,
whose utterances carry Common Voice's licence. Every validated clip is used; `--split source` takes the
official parts, which leave most clips out, instead. Other options of `mms-adapt prepare` are passed on.

It does not know how a release is read: `mms_adapt.corpora.common_voice` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

LICENCE = "CC0-1.0"


def main(words: list[str] | None = None) -> NoReturn:
    """Run the script, and exit as `mms-adapt prepare` does."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="Other options are those of mms-adapt prepare.",
        allow_abbrev=False,
    )
    parser.add_argument("release", help="the .tar.gz as downloaded, or its folder with validated.tsv")
    parser.add_argument("--target-lang", required=True, help="three letters of ISO 639-3, such as twi")
    parser.add_argument("--out", type=Path, help="folder to write (default: prepared/CODE)")
    parser.add_argument("--split", default="auto", help="auto (default), speaker, sentence or source")
    options, others = parser.parse_known_args(words)
    out = options.out or Path("prepared") / options.target_lang

    from mms_adapt.cli import main as mms_adapt

    given = ["--target-lang", options.target_lang, "--out", str(out), "--split", options.split]
    mms_adapt(["prepare", options.release, *given, "--corpus", "common_voice", "--licence", LICENCE, *others])


if __name__ == "__main__":
    main()
