"""An ELAN document of one recording: a tier of what was said, and one of how sure that is.

`into` adds both to a document that is there already, whose other bytes stay as they are; times are then those
of the document's media.

Source: EAF annotation format 3.0, The Language Archive, Max Planck Institute for Psycholinguistics.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from mms_adapt.decoders import geometric_mean
from mms_adapt.eaf_tier import TierSpan, add_tier
from mms_adapt.writers import only
from mms_adapt.writers._subtitles import timed

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis

SUFFIX = ".eaf"
ONE_RECORDING = True
TIER = "mms-adapt"
TEXT, DRAFT = "text", "draft"
_MIME = {".wav": "audio/x-wav", ".mp3": "audio/mpeg", ".mp4": "video/mp4", ".m4a": "audio/mp4"}


def render(hypotheses: "Sequence[Hypothesis]") -> str:
    """Return a new document that names the recording as its media."""
    hypothesis = only(hypotheses, SUFFIX)
    return into(_empty(hypothesis.recording), hypothesis).decode("utf-8")


def into(document: bytes, hypothesis: "Hypothesis", *, tier: str = TIER, name: str = "document") -> bytes:
    """Return a document with two more tiers: what was said, and how sure that is, in percent.

    Args:
        document: The document's bytes.
        hypothesis: What was recognised in its media.
        tier: What the new tier is called; the other one's name ends in "-confidence".
        name: The document's file, for errors.

    Raises:
        CorpusError: If it is no ELAN document, or is damaged.
        OptionError: If there is a tier of one of these names.
    """
    lines = list(timed(hypothesis.words))
    said = [TierSpan(start_s, end_s, " ".join(one.word for one in line)) for start_s, end_s, line in lines]
    sure = [
        TierSpan(start_s, end_s, f"{100 * geometric_mean(one.confidence for one in line):.0f}")
        for start_s, end_s, line in lines
    ]
    return add_tier(add_tier(document, tier, said, name=name), f"{tier}-confidence", sure, name=name)


def for_correction(recording: str, drafts: "Sequence[tuple[float, Hypothesis]]") -> str:
    """Return a document in which a person writes what was said beside what a machine made of it.

    The tier "text" has an empty annotation for each stretch, to be filled; "draft" has the machine's text,
    and "draft-confidence" how sure that is, in percent. `mms_adapt.corpora.elan` reads "text" alone.

    Args:
        recording: The audio file, which lies beside the document.
        drafts: Where each stretch starts, in seconds, and what was recognised in it. They do not overlap.
    """
    times = [(start_s, start_s + one.duration_s) for start_s, one in drafts]
    whole = _empty(recording)
    for tier, texts in (
        (TEXT, ["" for _ in drafts]),
        (DRAFT, [one.text for _, one in drafts]),
        (f"{DRAFT}-confidence", [f"{100 * one.confidence:.0f}" for _, one in drafts]),
    ):
        whole = add_tier(whole, tier, [TierSpan(*two, said) for two, said in zip(times, texts, strict=True)])
    return whole.decode("utf-8")


def _empty(recording: str) -> bytes:
    """Return a document without tiers that names its recording."""
    name = recording.replace("\\", "/").rpartition("/")[2]
    ending = "." + name.rpartition(".")[2].lower()
    media = (
        f"<MEDIA_DESCRIPTOR MEDIA_URL={quoteattr('./' + name)} RELATIVE_MEDIA_URL={quoteattr('./' + name)} "
        f"MIME_TYPE={quoteattr(_MIME.get(ending, 'unknown'))}/>"
        if name
        else ""
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ANNOTATION_DOCUMENT AUTHOR="" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">{media}</HEADER>\n'
        "<TIME_ORDER/>\n"
        '<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" '
        'TIME_ALIGNABLE="true"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    ).encode()
