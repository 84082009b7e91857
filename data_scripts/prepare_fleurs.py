"""Prepare one language of FLEURS, as downloaded, for training.

    python data_scripts/prepare_fleurs.py fleurs/sn_zw --target-lang sna

In: the folder of the language with `train.tsv`, `dev.tsv`, `test.tsv` and `audio`, or an archive of it.
Out: a folder that `mms-adapt train` takes, whose utterances carry FLEURS's licence. The official parts are
kept, so that scores can stand beside others'. FLEURS does not say who speaks, so another `--split` is by
sentence. Other options of `mms-adapt prepare` are passed on.

It does not know how FLEURS is read: `mms_adapt.corpora.fleurs` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

LICENCE = "CC-BY-4.0"


def main(words: list[str] | None = None) -> NoReturn:
    """Run the script, and exit as `mms-adapt prepare` does."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="Other options are those of mms-adapt prepare.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", help="the language's folder with train.tsv, or an archive of it")
    parser.add_argument("--target-lang", required=True, help="three letters of ISO 639-3, such as sna")
    parser.add_argument("--out", type=Path, help="folder to write (default: prepared/CODE)")
    parser.add_argument("--split", default="source", help="source (default, the official parts) or sentence")
    options, others = parser.parse_known_args(words)
    out = options.out or Path("prepared") / options.target_lang

    from mms_adapt.cli import main as mms_adapt

    given = ["--target-lang", options.target_lang, "--out", str(out), "--split", options.split]
    mms_adapt(["prepare", options.folder, *given, "--corpus", "fleurs", "--licence", LICENCE, *others])


if __name__ == "__main__":
    main()
