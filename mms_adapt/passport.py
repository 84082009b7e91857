"""The passport of an adapter: where it comes from, what it fits, what it scored.

In: `passport.json`, or what a training knows. Out: a `Passport`, checked field by field, and the check of the
files that it names; or one that is changed, whole at every moment. It does not know tensors; reading one runs
no code.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, get_args, get_origin, get_type_hints

from mms_adapt import contents, files, language, plugins
from mms_adapt.errors import AdapterError, LanguageError

FILE = "passport.json"
FORMAT = 2  # 2: hashes of large files are those of trees
LONGEST_PART_S = 60.0  # what an adapter's folder may ask for: longer parts take much memory


@dataclass(frozen=True)
class Passport:
    """What is known about an adapter. Unknown is "" or empty, never guessed."""

    target_lang: str
    """The language that it writes."""
    kind: str
    """A module of `mms_adapt.adapters`."""
    kind_options: Mapping[str, Any]
    """The fields of that module's `Config`."""
    backbone: str = ""
    """What the user called the backbone; "backbone" alone is the folder of this name inside the adapter's."""
    backbone_fingerprint: str = ""
    """Hash of the backbone's frozen weights; "" where nobody noted it, so that nothing can be verified."""
    backbone_parents: tuple[str, ...] = ()
    """Fingerprints of earlier states of the backbone, from which a sibling is known."""
    licence: str = ""
    """Licence of the backbone's weights, which holds for what is derived from them."""
    data_licence: str = ""
    """What the corpus says about its own use."""
    corpus: str = ""
    """The corpus that it was trained on."""
    normaliser: str = ""
    """How transcripts became references, with its version."""
    orthography: tuple[str, ...] = ()
    """Graphemes of more than one code point."""
    split_sha256: Mapping[str, str] = field(default_factory=dict)
    """Hash of each part of the data: train, dev and test."""
    marks: tuple[str, ...] = ()
    """What to keep in mind about the split."""
    utterances: Mapping[str, int] = field(default_factory=dict)
    """Utterances of each part that were used."""
    minutes: Mapping[str, float] = field(default_factory=dict)
    """Minutes of speech of each part that were used."""
    speakers: Mapping[str, Any] = field(default_factory=dict)
    """Pseudonyms of the speakers of each part that was used, so that one who withdraws can be found."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Utterances that training left out, by reason."""
    parents: Mapping[str, float] = field(default_factory=dict)
    """Of a merge: the adapters that it was made of, each language@hash with its weight."""
    merge: Mapping[str, Any] = field(default_factory=dict)
    """Of a merge: its method and options, and what each parent's passport tells of data and licences."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Every option of the training."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What the training was about: hashes of its data, its vocabulary, and the backbone it began with."""
    start: str = ""
    """Where the adapter's weights started."""
    head_start: str = ""
    """Where the head's weights started, and how many of its tokens were known."""
    decoder: Mapping[str, Any] = field(default_factory=dict)
    """How its emissions become text where nobody says otherwise: "name", a module of `mms_adapt.decoders`,
    and "options"; an option that is a file of the folder is named as in `files`. Empty: greedy decoding."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Into what parts a long recording is cut where nobody says otherwise: "usual_s" and "longest_s", chosen
    on the dev set, and what they reached there. Empty: by the utterances of the training."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What it reached on the dev set, and how long that took."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """What `evaluate` measured and noted, by part of the data; `mms_adapt.noted` documents the fields."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the software."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the other files in the folder, as `mms_adapt.contents` tells them."""
    format: int = FORMAT
    """Version of this layout."""

    @property
    def verified(self) -> bool:
        """Whether it is known which backbone the adapter belongs to."""
        return bool(self.backbone_fingerprint)

    @property
    def sha256(self) -> str:
        """Hash of what decides what the adapter writes: weights and tokens. Nothing else here counts."""
        hashes = [self.files.get(name, "") for name in (self.weights_file, "vocab.json")]
        return hashlib.sha256(" ".join(hashes).encode("ascii", "replace")).hexdigest()

    @property
    def version(self) -> str:
        """Its language and hash; "unverified" where nobody noted its backbone."""
        told = f"{self.target_lang}@{self.sha256[:12]}"
        return told if self.verified else f"{told} unverified"

    @property
    def weights_file(self) -> str:
        """Name of the file with the weights."""
        return f"adapter.{self.target_lang}.safetensors"

    def speakers_of(self, part: str) -> tuple[str, ...]:
        """Pseudonyms of the speakers of a part; none where it does not tell."""
        held = self.speakers.get(part, ())
        return tuple(map(str, held)) if isinstance(held, list | tuple) else ()

    @property
    def utterance_s(self) -> float | None:
        """Mean length of the utterances that it was trained on; None where that was not noted."""
        minutes, count = self.minutes.get("train"), self.utterances.get("train")
        if not (isinstance(minutes, int | float) and isinstance(count, int) and minutes > 0 and count > 0):
            return None
        return 60 * minutes / count

    @property
    def part_s(self) -> tuple[float, float] | None:
        """Usual and longest part of a long recording; None where none was chosen, or it makes no sense."""
        usual_s, longest_s = self.parts.get("usual_s"), self.parts.get("longest_s")
        if not (isinstance(usual_s, int | float) and isinstance(longest_s, int | float)):
            return None
        return (usual_s, longest_s) if 1 <= usual_s < longest_s <= LONGEST_PART_S else None

    def to_json(self) -> str:
        """Return the content of `passport.json`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read(folder: Path) -> Passport:
    """Read and check the passport of a folder.

    Raises:
        AdapterError: If it is missing, or a field is not what it should be.
    """
    path = folder / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{folder}: there is no {FILE}, so this is no adapter folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path}: it cannot be read: {error}; copy the folder again") from error
    if not isinstance(record, dict):
        raise AdapterError(f"{path}: a JSON object is expected")
    if isinstance(record.get("format"), int) and record["format"] > FORMAT:
        raise AdapterError(f"{path}: a newer version of mms-adapt wrote it; install that")
    known = {one.name for one in fields(Passport)}
    kinds = _kinds()
    wrong = [f"{name} is missing" for name in ("target_lang", "kind", "kind_options") if name not in record]
    values: dict[str, Any] = {}
    for name in known & record.keys():
        expected = get_origin(kinds[name]) or kinds[name]
        value = tuple(record[name]) if expected is tuple and isinstance(record[name], list) else record[name]
        if not isinstance(value, expected):
            wrong.append(f"{name} is {str(record[name])[:40]!r}")
        else:
            wrong += _inside_wrong(name, value, get_args(kinds[name]))
        values[name] = value
    if wrong:
        raise AdapterError(f"{path}: {'; '.join(sorted(wrong))}")
    found = Passport(**values)
    check_code(path, found.target_lang)
    return found


@cache
def _kinds() -> dict[str, Any]:
    """Return the types of the fields."""
    return get_type_hints(Passport)


def _inside_wrong(name: str, value: Any, kinds: tuple[Any, ...]) -> list[str]:
    """Say which elements of a field are not of the type that its annotation names."""
    if not kinds or Any in kinds:
        return []
    is_mapping = isinstance(value, Mapping)
    expected = kinds[1] if is_mapping else kinds[0]
    allowed = (int, float) if expected is float else expected
    named = value.items() if is_mapping else ((str(place), one) for place, one in enumerate(value))
    return [
        f"{name}.{key} is {str(one)[:40]!r}"
        for key, one in named
        if not isinstance(one, allowed) or isinstance(one, bool)
    ][:3]


def change(folder: Path, how: Callable[[Passport], Passport]) -> Passport:
    """Change the passport of a folder; readers find the old one or the new one, whole.

    Several who do this at once take turns, so that no change is lost. Weights and tokens, and with them what
    `AdapterFolder.version` says, stay as they are.

    Args:
        folder: The adapter folder.
        how: Returns the new passport for the one that was read.

    Raises:
        AdapterError: If the passport is missing, or a field is not what it should be.
    """
    if not (folder / FILE).is_file():
        raise AdapterError(f"{folder}: there is no {FILE} in which anything could be noted")
    with files.alone(folder):
        changed = how(read(folder))
        files.write(folder / FILE, changed.to_json())
    return changed


def decoder_of(folder: Path, passport: Passport) -> tuple[str, dict[str, Any]]:
    """Return name and options of the decoder that an adapter asks for, its files as paths.

    Raises:
        AdapterError: If the decoder is none of the package's own: what a file says is never imported.
    """
    if not passport.decoder:
        return "greedy", {}
    name, options = passport.decoder.get("name"), passport.decoder.get("options", {})
    if name not in plugins.names("decoders") or not isinstance(options, dict):
        known = ", ".join(plugins.names("decoders"))
        raise AdapterError(f"{folder / FILE}: its decoder {str(name)[:40]!r} is none of {known}")
    return str(name), {
        key: inside(folder, value) if isinstance(value, str) and value in passport.files else value
        for key, value in options.items()
    }


def check_code(path: Path, target_lang: str) -> str:
    """Return a language code that was read from a file, if it is one.

    Raises:
        AdapterError: If it is none, so that it can never become part of a path.
    """
    try:
        return language.parse(target_lang)
    except LanguageError as error:
        raise AdapterError(f"{path}: {error}") from error


@contextmanager
def checking(folder: Path, passport: Passport, hashes: Mapping[str, contents.Hash]) -> Iterator[None]:
    """Check the files of a passport, as `check_files` does, while a block already works on what was read.

    Args:
        folder: The folder.
        passport: Its passport.
        hashes: What will be the hashes of files that were read; see `contents.read`.

    Raises:
        AdapterError: When the block ends, if a file is missing, lies elsewhere, or has changed. That is told
            rather than what went wrong in the block.
    """
    try:
        yield
    except Exception:
        check_files(folder, passport, {name: one.result() for name, one in hashes.items()})
        raise
    check_files(folder, passport, {name: one.result() for name, one in hashes.items()})


def check_files(folder: Path, passport: Passport, hashes: Mapping[str, str] | None = None) -> None:
    """Check that the files that a passport names are in the folder and are the ones it means.

    Args:
        folder: The folder.
        passport: Its passport.
        hashes: Hashes of what was read from some of the files, by `inside`; they are not looked at again.

    Raises:
        AdapterError: If one is missing, lies elsewhere, or has changed.
    """
    needed = {passport.weights_file, "vocab.json"}
    if missing := needed - passport.files.keys():
        raise AdapterError(f"{folder}: its passport names no hash of {' and '.join(sorted(missing))}")
    for name, expected in passport.files.items():
        found = (hashes or {}).get(name)
        if found is None:
            path = inside(folder, name)
            if not path.is_file():
                raise AdapterError(f"{folder}: {name} is missing; copy the folder again")
            found = contents.file_hash(path, expected)
        if found != expected:
            raise AdapterError(
                f"{folder / name}: it is not the file that {FILE} means (its hash differs): it is damaged "
                "or was replaced; copy the folder again"
            )


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    Raises:
        AdapterError: If the name, or a link, leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    path = folder / name
    outside = not files.is_inside(path, folder)
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or outside:
        raise AdapterError(f"{folder}: the path {name!r} leads out of the folder; do not use this adapter")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return contents.file_hash(path)
