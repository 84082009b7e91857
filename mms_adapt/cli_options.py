"""Options that several commands share.

In: nothing. Out: types of options, and those that were given. It does not know the commands.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from mms_adapt.errors import OptionError

Code = Annotated[
    str,
    typer.Option(
        "--target-lang", help="The language: three letters of ISO 639-3 (mdw), with MMS's script if needed."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Layout = Annotated[
    str | None, typer.Option("--corpus", help="Layout of the source; found out where not given.")
]
CorpusOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What the layout may be told, such as tiers='A_*'; repeatable."),
]
Normaliser = Annotated[str, typer.Option(help="How transcripts become references: basic or raw.")]
Graphemes = Annotated[str | None, typer.Option(help='Graphemes of several characters, such as "ch ny".')]
Decoder = Annotated[str, typer.Option(help="greedy or beam; auto is what tune chose, or else greedy.")]
DecoderOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What the decoder may be told, such as lm=mdw.arpa; repeatable."),
]
Backbone = Annotated[
    str | None, typer.Option(help="embedded, a name such as facebook/mms-1b-all, or a folder.")
]
AdaptersBackbone = Annotated[
    str | None, typer.Option("--backbone", help="The backbone; the adapter's own where not given.")
]
Kind = Annotated[
    str | None, typer.Option(help="Kind of adapter: attention (MMS's own), bottleneck, lora or head_only.")
]
KindOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What the kind may be told, such as rank=8; repeatable."),
]
StartAt = Annotated[
    str | None,
    typer.Option("--start", help="Where the adapter starts: zero, random, auto, backbone or language:CODE."),
]
Relatives = Annotated[
    str | None, typer.Option(help="Folder of adapters by language, from which --start chooses.")
]
AllowSibling = Annotated[
    bool,
    typer.Option(
        "--allow-sibling", help="Go on where the backbone is the adapter's own after further training."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave, so that the functions' own defaults hold for the rest."""
    return {name: value for name, value in options.items() if value is not None}


def pairs(
    words: Iterable[str] | None, *, option: str = "--corpus-option", such_as: str = "tiers='A_*'"
) -> dict[str, str]:
    """Return options of a layout or a decoder, KEY=VALUE each.

    Args:
        words: As they stand on the command line.
        option: What the option is called there.
        such_as: An example of one.

    Raises:
        OptionError: If one is written in another way, or comes twice.
    """
    found: dict[str, str] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise OptionError(f"{option} {word!r}: write KEY=VALUE, such as {such_as}")
        if key in found:
            raise OptionError(f"{option} {key} comes twice; several patterns go into one, with commas")
        found[key] = value
    return found


def decoder_pairs(words: Iterable[str] | None) -> dict[str, str]:
    """Return options of a decoder, KEY=VALUE each.

    Raises:
        OptionError: If one is written in another way, or comes twice.
    """
    return pairs(words, option="--decoder-option", such_as="lm=mdw.arpa")


def kind_given(kind: str | None, words: Iterable[str] | None) -> dict[str, Any]:
    """Return the kind of adapter and its options as a training takes them; empty where neither was given.

    Raises:
        OptionError: If an option is written in another way, is not the kind's, or is of another type.
    """
    options = pairs(words, option="--kind-option", such_as="rank=8")
    found: dict[str, Any] = {} if kind is None else {"adapter": kind}
    if options:
        from mms_adapt import kind_options

        found["adapter_options"] = kind_options.parse(kind or "attention", options)
    return found
