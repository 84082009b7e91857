"""A language model of an adapter's language: made from its training transcripts and other text, and tuned.

In: prepared data, text files, an adapter. Out: an n-gram model, what was left out of it, and the options of
the beam decoder that make fewest errors on the dev set. The test set is never read but to keep its sentences
out of the model. It does not know how models are estimated or searched.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from mms_adapt import audio, contents, files, ngram, passport, text
from mms_adapt.decoders import beam
from mms_adapt.decoding_trial import DecodingTrial, tokens_of
from mms_adapt.errors import OptionError, SplitError, TextError
from mms_adapt.manifest import evenly
from mms_adapt.ngram import NGram
from mms_adapt.open_vocabulary import OpenVocabulary
from mms_adapt.prepared import Prepared
from mms_adapt.ties import sentence_key
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Transcriber

Progress = Callable[..., None]
FILE, WORDS_FILE = "lm.arpa", "lm.words.arpa"
UNITS = {"grapheme": 6, "word": 3}  # and the order that suits each
_TRIED_WIDTH = 16  # texts kept while weight and bonus are sought
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model and what it was made of.

    Attributes:
        model: The n-gram model.
        unit: What its tokens are: "grapheme" or "word".
        sentences: Sentences that it was made of.
        held_out: Sentences left out since dev or test hold them.
        unwritable: Sentences left out since they hold characters that the adapter cannot write.
        dev_perplexity: Perplexity a token on the dev set; None where that is empty.
    """

    model: NGram
    unit: str
    sentences: int
    held_out: int
    unwritable: int
    dev_perplexity: float | None


@dataclass(frozen=True, slots=True)
class Tuned:
    """Options of the beam decoder, and what they bring on the dev set.

    Attributes:
        lm_weight: Power of the language model's probability.
        bonus: Added for every token.
        dev_cer: Character error rate with them.
        dev_wer: Word error rate with them.
        greedy_cer: Character error rate without a language model.
        greedy_wer: Word error rate without a language model.
        utterances: Utterances that were used.
        tried: How many settings were tried.
        words_share: Probability that a word comes from the model of words beside it; 0 where there is none.
        beam_width: Texts that are kept after each frame.
    """

    lm_weight: float
    bonus: float
    dev_cer: float
    dev_wer: float
    greedy_cer: float
    greedy_wer: float
    utterances: int
    tried: int
    words_share: float = 0.0
    beam_width: int = beam.WIDTH


def build(
    prepared: Prepared | str | PathLike[str],
    *,
    unit: str = "grapheme",
    order: int | None = None,
    texts: Iterable[str | PathLike[str]] = (),
) -> LanguageModel:
    """Make a language model from the training transcripts and other text.

    Args:
        prepared: What `prepare` returned, or its folder.
        unit: "grapheme" knows no words and so none too few, which suits little text; "word" suits much.
        order: Length of the longest n-gram; 6 graphemes or 3 words where not given.
        texts: Further text, a sentence a line, in UTF-8; it goes through the same normaliser.

    Raises:
        OptionError: If the unit is unknown, or the order makes no sense.
        TextError: If a file cannot be read, or no sentence is left.
    """
    if unit not in UNITS:
        raise OptionError(f"unit={unit!r}: give {' or '.join(UNITS)}")
    data = Prepared.of(prepared)
    normalise = text.get(data.normaliser, target_lang=data.target_lang)
    measured = {
        sentence_key(one.reference or "") for part in ("dev", "test") for one in data.utterances(part)
    }
    kept, left_out = [], Counter[str]()
    training = (one.reference or "" for one in data.utterances("train"))
    for sentence in (*training, *map(normalise, _lines(texts))):
        if not sentence:
            continue
        if data.vocab.unknown(sentence):
            left_out["unwritable"] += 1
        elif sentence_key(sentence) in measured:
            left_out["held_out"] += 1
        else:
            kept.append(sentence)
    model = ngram.estimate(
        (tokens_of(one, data.vocab, unit) for one in kept), UNITS[unit] if order is None else order
    )
    dev = [tokens_of(one.reference or "", data.vocab, unit) for one in data.utterances("dev")]
    return LanguageModel(
        model, unit, len(kept), left_out["held_out"], left_out["unwritable"],
        model.perplexity(dev) if dev else None,
    )  # fmt: skip


def build_both(prepared: Prepared | str | PathLike[str]) -> tuple[NGram, NGram | None]:
    """Make a model of graphemes and one of words, to stand beside it, from the training transcripts.

    Returns:
        Both; no model of words where no sentence has two, as in lists of words or scripts without spaces.

    Raises:
        TextError: If no sentence is left.
    """
    data = Prepared.of(prepared)
    graphemes = build(data).model
    if data.vocab.tokens[data.vocab.delimiter_id] not in graphemes.tokens:
        return graphemes, None
    return graphemes, build(data, unit="word").model


def share(prepared: Prepared | str | PathLike[str], graphemes: NGram, words: NGram) -> float:
    """Return the share of words that should come from a model of words, rather than be spelt.

    It is the one with which the dev set is most probable.

    Args:
        prepared: What `prepare` returned, or its folder.
        graphemes: Model of graphemes.
        words: Model of words.

    Returns:
        0 to 0.9; 0 where words are no help.

    Raises:
        OptionError: If the model of graphemes has no word delimiter.
        SplitError: If the dev set is empty.
    """
    data = Prepared.of(prepared)
    dev = [data.vocab.spell(one.reference or "") for one in data.utterances("dev")]
    if not dev:
        raise SplitError(f"{data.folder}: the dev set is empty, so nothing can be tuned")
    delimiter = data.vocab.tokens[data.vocab.delimiter_id]
    both = OpenVocabulary(graphemes, words, 0.0, data.vocab.spell, delimiter)
    return min(_SHARES, key=lambda one: both.with_share(one).perplexity(dev))


def _lines(texts: Iterable[str | PathLike[str]]) -> Iterator[str]:
    for path in map(Path, texts):
        try:
            with path.open(encoding="utf-8-sig") as file:
                yield from file
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"{path}: it cannot be read as text in UTF-8: {error}") from error


def tune(
    adapter: str | PathLike[str],
    prepared: Prepared | str | PathLike[str],
    lm: NGram | str | PathLike[str],
    *,
    words: NGram | str | PathLike[str] | None = None,
    unit: str = "cer",
    dev_minutes: float = 6.0,
    beam_width: int = beam.WIDTH,
    device: str = "auto",
    backbone: str | None = None,
    allow_sibling: bool = False,
    progress: Progress | None = None,
) -> Tuned:
    """Find how much a language model should count, on the dev set.

    The larger the weight, the more a token costs, and the larger its bonus has to be. So what is moved,
    one at a time and twice around, is the weight and the share of that cost which the bonus gives back, in a
    search of at most 16 texts. The first of equally good settings stays, and the better one of both widths.

    Args:
        adapter: Adapter folder.
        prepared: What `prepare` returned, or its folder.
        lm: The model, or its ARPA file.
        words: A model of words, or its ARPA file, to stand beside one of graphemes; `share` says how much it
            counts among the two.
        unit: What is to be low: "cer" or "wer"; the other counts a tenth.
        dev_minutes: At most so much of the dev set is used, evenly taken.
        beam_width: Texts that are kept after each frame at most.
        device: "auto", "cpu", "cuda" or "cuda:1".
        backbone: Name or folder of the backbone; that of the adapter's passport where not given.
        allow_sibling: Go on where the backbone is a sibling of the adapter's own.
        progress: Called with ("tune", done, total, note).

    Raises:
        AdapterMismatchError: If the adapter is of another language.
        OptionError: If the unit is unknown, there are no minutes, or the width makes no sense.
        SplitError: If the dev set is empty.
    """
    if unit not in ("cer", "wer"):
        raise OptionError(f"unit={unit!r}: give cer or wer")
    if not dev_minutes > 0:
        raise OptionError(f"dev_minutes={dev_minutes}: give more than 0")
    width = min(beam.Options(beam_width=beam_width).beam_width, _TRIED_WIDTH)  # a wrong one is refused here
    data = Prepared.of(prepared)
    model = lm if isinstance(lm, NGram) else ngram.read(lm)
    beside = words if words is None or isinstance(words, NGram) else ngram.read(words)
    utterances = evenly(data.utterances("dev"), dev_minutes)
    if not utterances:
        raise SplitError(f"{data.folder}: the dev set is empty, so nothing can be tuned")
    through = TranscribeOptions(device=device, decoder="greedy", allow_sibling=allow_sibling)
    transcriber = Transcriber.load(adapter, backbone=backbone, options=through)
    transcriber.check_language(data.target_lang, f"{data.folder}", "tune on")
    heard = transcriber.emissions([samples for _, samples in audio.read_utterances(utterances, data.root)])
    spelt = 0.0 if beside is None else share(data, model, beside)
    search = beam.Options(model, words=beside if spelt else None, words_share=spelt, beam_width=width)
    trial = DecodingTrial(data, utterances, heard, transcriber.vocab, search, unit, progress)
    greedy, best = trial.rates(None), trial.searched()
    taken, reached = trial.wide(best, beam_width)
    return Tuned(*best, *reached, *greedy, len(utterances), len(trial.known) - 1, spelt, taken)


def options_of(
    tuned: Tuned, lm: str | PathLike[str], words: str | PathLike[str] | None = None
) -> dict[str, str | float]:
    """Return what `decoder_options` should be with these settings.

    Args:
        tuned: The settings.
        lm: The model's ARPA file.
        words: That of the model of words beside it; not used where words were found to be no help.
    """
    found: dict[str, str | float] = {"lm": str(lm), "lm_weight": tuned.lm_weight, "bonus": tuned.bonus}
    found["beam_width"] = tuned.beam_width
    if words is not None and tuned.words_share:
        found |= {"words": str(words), "words_share": tuned.words_share}
    return found


def install(adapter: str | PathLike[str], lm: NGram, tuned: Tuned, words: NGram | None = None) -> Path:
    """Make a language model the adapter's own, to be used wherever nobody says otherwise.

    Args:
        adapter: Adapter folder; it has a passport.
        lm: The model.
        tuned: How much it counts.
        words: The model of words that it was tuned beside.

    Returns:
        The model's ARPA file in the adapter's folder.

    Raises:
        AdapterError: If the folder has no passport, or is not whole.
    """
    folder, content = Path(adapter), {FILE: lm.to_arpa()}
    if words is not None and tuned.words_share:
        content[WORDS_FILE] = words.to_arpa()
    options = options_of(tuned, FILE, WORDS_FILE if WORDS_FILE in content else None)
    with files.alone(folder):
        written = passport.read(folder)
        passport.check_files(folder, written)
        # whoever stops in between leaves an adapter without a model, which opens
        others = {name: one for name, one in written.files.items() if name not in (FILE, WORDS_FILE)}
        bare = replace(written, decoder={}, files=others)
        files.write(folder / passport.FILE, bare.to_json())
        (folder / WORDS_FILE).unlink(missing_ok=True)
        for name, arpa in content.items():
            files.write(folder / name, arpa)
        hashes = {name: contents.hash_of(arpa.encode("utf-8")) for name, arpa in content.items()}
        told = replace(bare, decoder={"name": "beam", "options": options}, files={**others, **hashes})
        files.write(folder / passport.FILE, told.to_json())
    return folder / FILE
