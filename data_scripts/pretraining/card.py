"""The model card of the embedded backbone. In: the checkpoint's record and scores. Out: Markdown."""

from __future__ import annotations

from typing import Any

from . import lineage

SOURCES = {
    "eng-librispeech-train-clean-5": ("English, books, 28 speakers", "LibriSpeech (OpenSLR 12)", "CC BY 4.0"),
    "eng-speechocean762": (
        "English with a Mandarin accent, 250 speakers, half of them children",
        "speechocean762 (OpenSLR 101)",
        "free for commercial and non-commercial use",
    ),
    "eng-cathy-arctic": ("English, 1 speaker", "rhasspy/dataset-voice-cathy", "CC0 1.0"),
    "eng-ljspeech-part1": ("English, 1 speaker", "LJSpeech, its first part", "public domain"),
    "deu-kerstin": ("German, 1 speaker", "rhasspy/dataset-voice-kerstin", "CC0 1.0"),
    "fas-commonvoice-subset": ("Persian, 42 speakers, mostly unvoted", "Common Voice", "CC0 1.0"),
    "cmn-syllables": ("Mandarin syllables, 1 speaker", "hugolpz/audio-cmn", "CC BY-SA"),
    "eng-asterisk-prompts": ("English, 1 speaker", "Debian asterisk-core-sounds-en-g722", "CC BY-SA 3.0"),
    "fra-asterisk-prompts": ("French, 1 speaker", "Debian asterisk-core-sounds-fr-g722", "CC BY-SA 3.0"),
    "spa-asterisk-prompts": ("Spanish, 1 speaker", "Debian asterisk-core-sounds-es-g722", "CC BY-SA 3.0"),
    "rus-asterisk-prompts": ("Russian, 1 speaker", "Debian asterisk-core-sounds-ru-g722", "CC BY 3.0"),
    "synthetic": ("pseudo-words of 50 languages' voices", "espeak-ng, made by the script", "our own"),
}

_CARD = """---
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: automatic-speech-recognition
---

# The backbone in the package

A small speech model with exactly the architecture of Meta's MMS (`Wav2Vec2ForCTC`, stable layer norm, an
adapter in every layer), so that mms_adapt can be tried, tested and taught offline. {millions:.1f} million
parameters: {layers} layers, hidden size {hidden}, {heads} heads, feed-forward {feed}, one frame every 320
samples at 16 kHz.

## What it is not

It is not MMS: `facebook/mms-1b-all` has 965 million parameters and heard half a million hours. What is
trained on this backbone makes several times as many errors. It is no recogniser for the languages below
either: the error rates show what a model of this size knows. Its speech is read aloud, most of it English;
children, telephones and conversations are rare or absent.

## What it heard

{hours:.0f} hours in {minutes:.0f} minutes on one NVIDIA H100, counting repetitions and every view of an
utterance. It has heard no Italian and none of the languages in `docs/results.md`.

| training | hours | minutes | steps | views of an utterance | losses |
|---|---|---|---|---|---|
{trainings}

Each training starts from the weights of the one before it. Characters are those of the transcripts, phones
those that espeak-ng would say; both losses are CTC. `data_scripts/pretrain_backbone.py` makes it again, with
the options in `pretraining.json`.

| speech | source | licence as found | held out, min | CER % | phones wrong % |
|---|---|---|---|---|---|
{rows}

Held out: speakers of their own for LibriSpeech, speechocean762 and Common Voice, sentences of their own for
the others. Greedy decoding; the phone error rate counts against espeak-ng's guess of the pronunciation.

## Files

`config.json`, `model.safetensors` (float16), `preprocessor_config.json`, `vocab.json` and the tokenizer's
files, as stock transformers writes them:

```python
from transformers import Wav2Vec2ForCTC

model = Wav2Vec2ForCTC.from_pretrained("mms_adapt/embedded")
```

The head writes the {characters} characters of all languages above; its adapters add nothing until they are
trained.

## Licence

CC BY-SA 4.0, since some of the recordings are share-alike. The table names who made them.
"""


def card(saved: dict[str, Any], record: dict[str, Any], config: Any, size: int) -> str:
    """Return the card's text.

    Args:
        saved: The checkpoint.
        record: Scores, options, state and earlier trainings that `train` wrote beside it.
        config: The model's configuration.
        size: Its parameters.
    """
    rows = []
    for one in record["scores"]:
        speech, source, licence = SOURCES[one["set"]]
        rates = ["–" if one[name] is None else f"{100 * one[name]:.1f}" for name in ("cer", "per")]
        rows.append(
            f"| {speech} | {source} | {licence} | {one['duration_s'] / 60:.1f} | {' | '.join(rates)} |"
        )
    trainings = lineage.of_record(record)
    return _CARD.format(
        millions=size / 1e6,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        feed=config.intermediate_size,
        hours=sum(one["state"]["heard_s"] for one in trainings) / 3600,
        minutes=sum(one["state"]["elapsed_s"] for one in trainings) / 60,
        trainings="\n".join(_training(n, one) for n, one in enumerate(trainings, start=1)),
        rows="\n".join(rows),
        characters=len(saved["characters"]) - 5,
    )


def _training(number: int, one: dict[str, Any]) -> str:
    state, options = one["state"], one["options"]
    losses = {
        "characters": "characters",
        "phones": "phones",
        "middle": f"phones at layer {options['middle']}",
        "agreement": "agreement of the views (CR-CTC)",
        "first": "log-mel energies and pitch from the convolutions",
    }
    used = ", ".join(text for name, text in losses.items() if options["weights"][name] > 0)
    return (
        f"| {number} | {state['heard_s'] / 3600:.0f} | {state['elapsed_s'] / 60:.0f} | {state['step']:,} | "
        f"{options['views']} | {used} |"
    )
