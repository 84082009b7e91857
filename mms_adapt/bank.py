"""Many languages beside one backbone: what is asked for goes through together, each row in its own language.

In: a registry, and recordings with their languages. Out: a `Hypothesis` for each, which names the version of
the adapter that wrote it. There is no active language, so any number of threads may ask at once. An adapter
that is replaced in the registry is read anew; a request in work keeps the edition that it began with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from mms_adapt import backbone as backbone_module
from mms_adapt import registry as registry_module
from mms_adapt.audio import SAMPLE_RATE_HZ
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Candidate, Hypothesis
from mms_adapt.errors import MmsAdaptError, OptionError, RegistryError
from mms_adapt.recordings import Recording, Source, is_silent, open_recording
from mms_adapt.residents import Residence, Residents
from mms_adapt.serving import identify as identification
from mms_adapt.serving.edition import Blend
from mms_adapt.serving.engine import Engine
from mms_adapt.serving.mms_lid import MmsLid
from mms_adapt.transcribe_options import TranscribeOptions
from mms_adapt.transcriber import Progress, by_length
from mms_adapt.voice import Voice

AUTO = "auto"  # the language that is found out
_IDENTIFY_S = 20.0


class Bank:
    """Adapters and heads of any number of languages beside one backbone.

    Args:
        registry: Folder of adapters by language.
        backbone: Name or folder of the backbone, or one that was loaded, which then is this bank's alone;
            that of the registry's first adapter where not given.
        options: How recordings go through, the device among them.
        device_bytes: Keep at most so many bytes of adapters beside the backbone; any number where not given.
        host_bytes: The same of main memory, from which they come back quickly. On a CPU there is but one
            memory, and `device_bytes` is its bound.

    Raises:
        RegistryError: If the registry is not there, or is empty and no backbone is given.
        BackboneError: If the backbone cannot be loaded.
    """

    def __init__(
        self,
        registry: str | PathLike[str] = "adapters",
        *,
        backbone: str | PathLike[str] | Backbone | None = None,
        options: TranscribeOptions | None = None,
        device_bytes: int | None = None,
        host_bytes: int | None = None,
    ) -> None:
        self.registry, self.options = Path(registry), options or TranscribeOptions()
        if not isinstance(backbone, Backbone):
            name = backbone if backbone is not None else self._backbone_name()
            backbone = backbone_module.load(name, device=self.options.device)
        backbone.quantise(self.options.quantise)
        self.backbone = backbone
        self.engine = Engine(backbone)
        self._lid = MmsLid(self.options.lid, backbone.device) if self.options.lid is not None else None
        self.residents = Residents(self.registry, self.engine, self.options, device_bytes, host_bytes)

    def transcribe(
        self,
        items: Iterable[tuple[Recording, str | Blend]],
        *,
        scale: float = 1.0,
        candidates: Sequence[str] | None = None,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        progress: Progress | None = None,
    ) -> list[Hypothesis]:
        """Write what is said in recordings of any languages and lengths, those of like length together.

        Args:
            items: Recordings, each with its language ("mdw"; "mdw/north" where a registry has several), with
                "auto", or with a `Blend`.
            scale: Strength of every adapter; 1 is as it was trained, 0 the backbone with the language's head.
            candidates: What "auto" chooses from; all of the registry where not given.
            sample_rate_hz: Sample rate of arrays; files know their own.
            progress: Called with ("transcribe", done, total).

        Returns:
            Hypotheses in the order given. All of one call that ask for the same get the same edition.

        Raises:
            AdapterError: If an adapter is missing, damaged or of another backbone.
            AudioError: If a recording cannot be read or holds no numbers.
            LanguageError: If a language is none.
        """
        pairs = list(items)
        sources = [open_recording(one, sample_rate_hz, place) for place, (one, _) in enumerate(pairs)]
        ranked = [
            self._identified(source, candidates, _IDENTIFY_S) if asked == AUTO else ()
            for source, (_, asked) in zip(sources, pairs, strict=True)
        ]
        asked = [
            Blend.of(found[0].place if found else one, scale)
            for found, (_, one) in zip(ranked, pairs, strict=True)
        ]
        by_blend = {one: self.voice(one) for one in dict.fromkeys(asked)}
        voices = [by_blend[one] for one in asked]
        found: dict[int, Hypothesis] = {}
        for heard in self._heard(sources, voices):
            found |= heard
            if progress:
                progress("transcribe", len(found), len(sources))
        return [
            replace(
                found[place],
                recording=source.name,
                duration_s=source.sample_count / SAMPLE_RATE_HZ,
                candidates=may_be,
            )
            for place, (source, may_be) in enumerate(zip(sources, ranked, strict=True))
        ]

    def identify(
        self,
        recording: Recording,
        candidates: Sequence[str] | None = None,
        *,
        seconds: float = _IDENTIFY_S,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
    ) -> tuple[Candidate, ...]:
        """Tell which language is spoken in a recording, and how sure that is.

        Args:
            recording: A path, or samples `(samples,)`.
            candidates: Languages, with names where the registry has several; where not given, all that it has
                and that can be opened (`refused` tells of others).
            seconds: How much of the recording is listened to, from the first that sounds on.
            sample_rate_hz: Sample rate of an array.

        Returns:
            The candidates, the most likely first; all as likely where nothing sounds. With the option `lid`,
            each tells what the adapters and MMS-LID alone made of it.

        Raises:
            BackboneError: If the checkpoint of MMS-LID is missing, or is none.
            OptionError: If there are no candidates, or no time is given.
        """
        return self._identified(open_recording(recording, sample_rate_hz), candidates, seconds)

    def _identified(
        self, source: Source, candidates: Sequence[str] | None, seconds: float
    ) -> tuple[Candidate, ...]:
        places = list(dict.fromkeys(self.languages() if candidates is None else candidates))
        if not places or not seconds > 0:
            raise OptionError(
                f"candidates={places}, seconds={seconds}: give languages to choose from and time to listen"
            )
        places, voices = self._voices(places, needed=candidates is not None)
        length = int(seconds * SAMPLE_RATE_HZ)
        for start in range(0, source.sample_count, length):
            samples = source.read(start, min(start + length, source.sample_count))
            if not is_silent(samples):
                break
        else:
            return identification.rank(places, [], 0)
        features, counts = self.engine.features([samples])
        at_once = max(1, self._batch_samples // len(samples))
        heard = []
        for first in range(0, len(voices), at_once):
            group = voices[first : first + at_once]
            rows = self.engine.emissions(
                features.expand(len(group), -1, -1), counts * len(group), [one.edition for one in group]
            )
            heard += [
                identification.hear(row[:, : len(one.vocab)].cpu().numpy(), one.vocab, one.spelling)
                for row, one in zip(rows, group, strict=True)
            ]
        ranked = identification.rank(places, heard, counts[0])
        return ranked if self._lid is None else identification.combine(ranked, self._lid.hear(samples))

    def _voices(self, places: Sequence[str], *, needed: bool) -> tuple[list[str], list[Voice]]:
        """Return voices with their places, where not all are needed without those that cannot be had.

        Raises:
            MmsAdaptError: Where one is needed, or all fail: what was wrong with the first.
        """
        found: dict[str, Voice] = {}
        wrong: list[MmsAdaptError] = []
        for one in places:
            try:
                found[one] = self.voice(one)
            except MmsAdaptError as error:
                if needed:
                    raise
                wrong.append(error)
        if not found:
            raise wrong[0]
        return list(found), list(found.values())

    @property
    def _batch_samples(self) -> int:
        return int(self.options.batch_seconds * SAMPLE_RATE_HZ)

    def _heard(self, sources: Sequence[Source], voices: Sequence[Voice]) -> Iterator[dict[int, Hypothesis]]:
        """Yield hypotheses by place: short recordings in batches, then long ones each alone."""
        short = [
            place for place, one in enumerate(sources) if one.sample_count <= voices[place].window_samples
        ]
        for batch in by_length([sources[place].sample_count for place in short], self._batch_samples):
            places = [short[one] for one in batch]
            silent = {place: voices[place].empty() for place in places}
            yield silent | dict(self._together(places, sources, voices))
        for place in sorted(set(range(len(sources))) - set(short)):
            whole: Recording = sources[place].name or sources[place].samples  # type: ignore[assignment]
            yield {place: voices[place].recordings([whole])[0]}

    def _together(
        self, places: Sequence[int], sources: Sequence[Source], voices: Sequence[Voice]
    ) -> Iterator[tuple[int, Hypothesis]]:
        """Transcribe short recordings in one pass, and yield their places and hypotheses."""
        waveforms = {place: sources[place].read(0, sources[place].sample_count) for place in places}
        sounding = [place for place in places if not is_silent(waveforms[place])]
        if not sounding:
            return
        features, counts = self.engine.features([waveforms[place] for place in sounding])
        emissions = self.engine.emissions(features, counts, [voices[place].edition for place in sounding])
        by_voice: dict[int, list[int]] = {}
        for row, place in enumerate(sounding):
            by_voice.setdefault(id(voices[place]), []).append(row)
        for rows in by_voice.values():
            voice = voices[sounding[rows[0]]]
            decoded = voice.decoded(emissions[rows], [counts[row] for row in rows])
            yield from zip((sounding[row] for row in rows), decoded, strict=True)

    def voice(self, asked: str | Blend) -> Voice:
        """Return the present edition of an adapter, or of a mix, ready to be asked; it never changes.

        Raises:
            AdapterError: If an adapter is missing, damaged or of another backbone.
            LanguageError: If a language is none.
            OptionError: If adapters of different kinds are mixed.
        """
        return self.residents.voice(asked)

    def pin(self, place: str) -> None:
        """Bring an adapter to the device and keep it there.

        Raises:
            OptionError: If what is pinned would be more than the budget.
        """
        self.residents.pin(place)

    def unpin(self, place: str) -> None:
        """Let an adapter go when its turn comes."""
        self.residents.unpin(place)

    def residences(self) -> list[Residence]:
        """Return where adapters are, the least recently used first; those on disk alone are not listed."""
        return self.residents.residences()

    @property
    def refused(self) -> Mapping[str, str]:
        """Why the newest edition of a place is not used; the one before it stays in service where it can."""
        return self.residents.refused

    def languages(self) -> list[str]:
        """Return what can be asked for: the registry's languages, with names where one has several."""
        return registry_module.names(self.registry)

    def _backbone_name(self) -> str:
        """Return the backbone of the first adapter in the registry that is whole and knows its own.

        Raises:
            MmsAdaptError: If none does; what was wrong with the first.
        """
        names = self.languages()
        if not names:
            raise RegistryError(
                f"{self.registry}: it holds no adapter, so the backbone is not known; give backbone, or "
                "the folder that adapters are in"
            )
        wrong: list[MmsAdaptError] = []
        for one in names:
            code, _, name = one.partition("/")
            try:
                folder = registry_module.find(self.registry, code, name or None)
                return AdapterFolder.load(folder).backbone_name
            except MmsAdaptError as error:
                wrong.append(error)
        raise wrong[0]
