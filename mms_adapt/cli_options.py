"""Options that several commands share.

In: nothing. Out: types of options, and those that were given. It does not know the commands.
"""

import json
from collections.abc import Iterable
from pathlib import Path
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
LetIn = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Use this utterance though it is silent, too short or long; repeatable."),
]
Normaliser = Annotated[str, typer.Option(help="How transcripts become references: basic or raw.")]
Graphemes = Annotated[str | None, typer.Option(help='Graphemes of several characters, such as "ch ny".')]
Decoder = Annotated[str, typer.Option(help="greedy or beam; auto is what tune chose, or else greedy.")]
DecoderOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What the decoder may be told, such as lm=mdw.arpa; repeatable."),
]
HotWord = Annotated[
    list[str] | None,
    typer.Option(metavar="WORD[=WEIGHT]", help="A word to be expected, such as a name; repeatable."),
]
HotWords = Annotated[
    Path | None, typer.Option(help="File of such words, one a line, a weight behind it where it is not 3.")
]
Cut = Annotated[
    str,
    typer.Option(
        metavar="pauses|silero|overlap",
        help="How long recordings are cut: at pauses of loudness, where silero-vad hears nobody speak (extra "
        "vad), or into windows that overlap.",
    ),
]
Lid = Annotated[
    str | None,
    typer.Option(
        metavar="CHECKPOINT",
        help="Ask MMS-LID too which language it is: a folder, or a name such as facebook/mms-lid-126.",
    ),
]
Quantise = Annotated[
    str, typer.Option(help="none; int8 on a CPU, fp8 on a card: quicker, a little less exact.")
]
Backbone = Annotated[
    str | None, typer.Option(help="embedded, a name such as facebook/mms-1b-all, or a folder.")
]
AdaptersBackbone = Annotated[
    str | None, typer.Option("--backbone", help="The backbone; the adapter's own where not given.")
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        "--adapter-layers",
        help="Layers with an adapter: all, a number of the topmost, or top:12 to train these from a cache.",
    ),
]
Checkpointing = Annotated[
    bool, typer.Option("--checkpointing", help="Compute layers anew for the backward pass; less memory.")
]
Lean = Annotated[bool, typer.Option("--lean", help="For cards with little memory.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any other option of docs/training.md, such as dropout=0.1."
    ),
]
AdapterScale = Annotated[
    float, typer.Option(help="Strength of the adapter: 1 as trained, 0 the backbone with its head.")
]
Mix = Annotated[
    list[str] | None,
    typer.Option(metavar="CODE=WEIGHT", help="Mix adapters of the registry, such as mdw/north=0.7; repeat."),
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
On = Annotated[
    Path | None,
    typer.Option("--on", help="An adapter that stays as it is; a second one is trained to stand on it."),
]
OnHead = Annotated[
    str | None, typer.Option(help="With --on, the first one's head: frozen, or continued to train along.")
]
AddTo = Annotated[
    Path | None,
    typer.Option(help="ELAN document of the one recording: --out gets a copy of it with two more tiers."),
]
AllowSibling = Annotated[
    bool,
    typer.Option(
        "--allow-sibling",
        "--yes",
        help="Go on where the backbone is the adapter's own after further training, or before it.",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew; do not go on from a checkpoint.")]
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


def layers(text: str | None) -> dict[str, Any]:
    """Return the options that `--layers` stands for.

    Raises:
        OptionError: If it is written in another way.
    """
    if text is None:
        return {}
    prefix, colon, number = text.rpartition(":")
    if text == "all" or (number.isdecimal() and prefix in ("", "top")):
        count = text if text == "all" else int(number)
        return {"adapter_layers": count, **({"from_hidden": True} if colon and prefix else {})}
    raise OptionError(f"--layers {text!r}: write all, a number of layers, or top: and a number")


def settings(words: Iterable[str] | None, known: Iterable[str]) -> dict[str, Any]:
    """Return options by name, KEY=VALUE each; a value is read as JSON where it is that.

    Args:
        words: As they stand on the command line.
        known: The names that there are.

    Raises:
        OptionError: If one is written in another way, is not known, or comes twice.
    """
    names, found = sorted(known), pairs(words, option="--set", such_as="dropout=0.1")
    if unknown := sorted(found.keys() - set(names)):
        raise OptionError(f"--set {', '.join(unknown)}: there is no such option; known: {', '.join(names)}")
    return {name: _value(text) for name, text in found.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def decoder_pairs(words: Iterable[str] | None) -> dict[str, str]:
    """Return options of a decoder, KEY=VALUE each.

    Raises:
        OptionError: If one is written in another way, or comes twice.
    """
    return pairs(words, option="--decoder-option", such_as="lm=mdw.arpa")


def languages(text: str | None) -> str | list[str] | None:
    """Return a language, or several that are separated by commas."""
    return text.split(",") if text is not None and "," in text else text


def weights(words: Iterable[str] | None) -> dict[str, float]:
    """Return adapters with their weights, CODE=WEIGHT each.

    Raises:
        OptionError: If one is written in another way, comes twice, or has no number.
    """
    found = {}
    for place, text in pairs(words, option="--mix", such_as="mdw/north=0.7").items():
        try:
            found[place] = float(text)
        except ValueError:
            raise OptionError(f"--mix {place}={text!r}: give a number, such as 0.7") from None
    return found


def decoding(
    words: Iterable[str] | None, hot_word: Iterable[str] | None = None, hot_words: Path | None = None
) -> dict[str, Any]:
    """Return options of a decoder, hot words among them.

    Args:
        words: KEY=VALUE each.
        hot_word: WORD or WORD=WEIGHT each.
        hot_words: A file of words.

    Raises:
        OptionError: If one is written in another way, or comes twice.
    """
    from mms_adapt.decoders import _hot_words

    found: dict[str, Any] = dict(decoder_pairs(words))
    hot = {} if hot_words is None else _hot_words.of(hot_words)
    for one in hot_word or ():
        word, equals, weight = one.partition("=")
        try:
            hot[word] = float(weight) if equals else _hot_words.WEIGHT
        except ValueError:
            raise OptionError(f"--hot-word {one!r}: write WORD or WORD=WEIGHT, such as brazza=4") from None
    if hot:
        found["hot_words"] = hot
    return found


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
