"""Audio to text with one adapter: files and arrays, one and many, short and long, and what cannot work."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny

import mms_adapt
from mms_adapt import backbone, plugins, registry, scoring, windows
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.cli import main
from mms_adapt.decoders import Hypothesis
from mms_adapt.errors import (
    AdapterError,
    AdapterMismatchError,
    AudioError,
    BackboneError,
    LanguageError,
    OptionError,
    RegistryError,
)
from mms_adapt.stretches import stretches
from mms_adapt.transcribe import TranscribeOptions, Transcriber, transcribe, transcribe_stream


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with an adapter that can spell a little."""
    folder = tmp_path_factory.mktemp("trained")
    base = backbone.load(tiny.backbone(folder / "base", seed=1), device="cpu")
    tiny.fitted(base, folder / "adapters" / "mdw")
    return folder / "adapters"


@pytest.fixture(scope="module")
def transcriber(trained: Path) -> Transcriber:
    return Transcriber.load(trained / "mdw", options=TranscribeOptions(device="cpu"))


WAVES = [
    tiny.speech("abc dab", 1),
    tiny.speech("b", 2),
    tiny.speech("cab bad cad dab", 3),
    tiny.speech("da ba", 4),
]


def test_it_writes_what_was_said(transcriber: Transcriber) -> None:
    sentences = [tiny.sentence(seed) for seed in range(500, 540)]
    spelt = transcriber.waveforms([tiny.speech(one, seed) for seed, one in enumerate(sentences)])
    assert (
        scoring.score(sentences, [one.text for one in spelt], bootstrap=0).cer < 0.75
    )  # at random it is above 1
    found = transcriber.waveforms(WAVES)
    assert set("".join(one.text for one in found)) <= set(tiny.LETTERS + " ")
    assert all(one.target_lang == "mdw" and one.adapter == transcriber.version for one in found)
    assert [one.duration_s for one in found] == [len(one) / 16_000 for one in WAVES]


def test_a_batch_equals_one_by_one_in_any_order(transcriber: Transcriber) -> None:
    together = [one.text for one in transcriber.waveforms(WAVES)]
    assert together == [transcriber.waveforms([one])[0].text for one in WAVES]
    assert together[::-1] == [one.text for one in transcriber.waveforms(WAVES[::-1])]


def test_files_arrays_and_lists(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, WAVES[0], 16_000, subtype="FLOAT")
    options: dict[str, Any] = {"registry": trained, "target_lang": "mdw", "device": "cpu"}
    one = transcribe(path, **options)
    assert one.recording == str(path) and one.text == transcribe(WAVES[0], **options).text
    several = transcribe([path, WAVES[2], str(path)], **options)
    assert [found.text for found in several] == [one.text, transcribe(WAVES[2], **options).text, one.text]
    assert transcribe([], **options) == []
    assert transcribe(path, adapter=trained / "mdw", device="cpu").text == one.text
    assert mms_adapt.transcribe(path, **options).adapter == one.adapter
    told: list[tuple[str, int, int]] = []
    transcribe([path, path], progress=lambda *words: told.append(words), **options)
    assert told[-1] == ("transcribe", 2, 2)


def test_silence_and_what_is_too_short_are_empty(transcriber: Transcriber) -> None:
    found = transcriber.waveforms(
        [np.zeros(16_000, np.float32), WAVES[0][:399], np.zeros(0, np.float32), WAVES[0]]
    )
    assert [one.text for one in found[:3]] == ["", "", ""] and found[3].text


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A recording of thirty sentences with pauses between them, as a file and as samples."""
    rng = np.random.default_rng(0)
    pause = (0.003 * rng.standard_normal(8_000)).astype(np.float32)
    pieces = [tiny.speech(tiny.sentence(seed), seed) for seed in range(30)]
    whole = np.concatenate([part for piece in pieces for part in (piece, pause)])
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, whole, 16_000, subtype="FLOAT")
    assert len(whole) > 40 * 16_000
    return path, whole


@pytest.mark.parametrize("cut", ["pauses", "overlap"])
def test_a_long_recording_goes_through_in_parts(
    trained: Path, long: tuple[Path, np.ndarray], cut: str
) -> None:
    path, whole = long
    told: list[tuple[Any, ...]] = []
    load = {"adapter": trained / "mdw", "device": "cpu", "cut": cut, "batch_seconds": 20.0}
    sizes = {"window_s": 15.0} if cut == "overlap" else {}
    found = transcribe(path, progress=lambda *words: told.append(words), **load, **sizes)
    assert found.text and found.duration_s == pytest.approx(len(whole) / 16_000)
    times = [one.start_s for one in found.words]
    assert times == sorted(times) and times[-1] < found.duration_s
    assert len(told) > 2 and told[-1][1] == told[-1][2] == int(np.ceil(len(whole) / 16_000))
    assert transcribe(whole, **load, **sizes) == replace(found, recording="")
    pieces = list(transcribe_stream(path, **load, **sizes))
    assert " ".join(one.text for one in pieces if one.text) == found.text
    assert [one for piece in pieces for one in piece.words] == list(found.words)


def test_no_word_is_lost_or_doubled_at_a_seam(
    transcriber: Transcriber, long: tuple[Path, np.ndarray]
) -> None:
    """The long recording has the words of its stretches, heard one by one, and each at its time."""
    path, whole = long
    parts = list(stretches(lambda a, b: whole[a:b], len(whole), 8.0, 4.0))
    assert len(parts) > 8
    heard = transcriber.emissions([whole[one.heard_start : one.heard_stop] for one in parts])
    vocab = transcriber.vocab
    expected = []
    for one, row in zip(parts, heard, strict=True):
        for first, piece in windows.at_word_ends([row[one.kept]], vocab.blank_id, vocab.delimiter_id):
            (single,) = transcriber.decoder.decode(piece[None], [len(piece)])
            start_s = (one.first_frame + first) * 0.02
            expected += [(word.word, start_s + word.start_s) for word in single.words]
    found = transcriber.recordings([path])[0]
    assert [one.word for one in found.words] == [word for word, _ in expected]
    assert [one.start_s for one in found.words] == pytest.approx([start for _, start in expected], abs=1e-6)


def test_parts_are_as_long_as_what_an_adapter_learnt_from(trained: Path) -> None:
    def parts(utterance_s: float | None, **chosen: Any) -> tuple[float, float]:
        adapter = AdapterFolder.load(trained / "mdw")
        if utterance_s is not None:
            heard = {"minutes": {"train": utterance_s}, "utterances": {"train": 60}}
            adapter = replace(adapter, passport=replace(adapter.passport, **heard))
        assert adapter.passport.utterance_s == utterance_s
        options = TranscribeOptions(device="cpu", **chosen)
        found = Transcriber(backbone.load(adapter.backbone_name, device="cpu"), adapter, options)
        assert found.window_samples == int(found.options.longest_s * 16_000)
        return found.options.usual_s or 0.0, found.options.longest_s

    assert parts(None) == (4.0, 8.0)
    assert parts(5.0) == pytest.approx((6.5, 13.0))
    assert parts(0.5) == (4.0, 8.0) and parts(60.0) == (10.0, 20.0)
    assert parts(5.0, usual_s=3.0) == (3.0, 6.0) and parts(5.0, window_s=6.0) == (3.0, 6.0)
    assert parts(5.0, cut="overlap")[1] == 30.0
    for spoilt in ({"train": "long"}, {"train": 0}, {}):
        told = replace(AdapterFolder.load(trained / "mdw").passport, minutes=spoilt, utterances={"train": 3})
        assert told.utterance_s is None


MEASURED = """
import sys
from pathlib import Path
from mms_adapt.transcribe import Transcriber, TranscribeOptions
model = Transcriber.load(sys.argv[1], options=TranscribeOptions(device="cpu", batch_seconds=60))
assert sum(1 for _ in model.stream(sys.argv[2])) > 1
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc/self/status")
def test_memory_does_not_grow_with_the_length(trained: Path, tmp_path: Path) -> None:
    """A longer recording of the same parts: what it takes more is a small share of its own samples."""
    random = np.random.default_rng(0)
    parts = [0.1 * random.standard_normal(count) for count in random.integers(9_000, 90_000, 40)]
    once = np.concatenate([np.append(part, np.zeros(8_000)) for part in parts])

    def peak_mb(times: int) -> float:
        path = tmp_path / f"{times}.wav"
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
            for _ in range(times):
                file.write(once)
        words = [sys.executable, "-c", MEASURED, str(trained / "mdw"), str(path)]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout) / 1024

    samples_mb = 9 * once.size * 4 / 2**20
    assert samples_mb > 65 and peak_mb(11) - peak_mb(2) < 0.6 * samples_mb


def test_what_cannot_work_is_told(trained: Path, tmp_path: Path) -> None:
    adapter = trained / "mdw"
    with pytest.raises(OptionError, match="which adapter"):
        transcribe(WAVES[0])
    with pytest.raises(OptionError, match="unknown options windows"):
        transcribe(WAVES[0], adapter=adapter, windows=3)
    with pytest.raises(RegistryError, match="did you mean mdw"):
        transcribe(WAVES[0], target_lang="mdy", registry=trained)
    with pytest.raises(LanguageError):
        transcribe(WAVES[0], target_lang="../mdw", registry=trained)
    with pytest.raises(AdapterError, match="no such adapter folder"):
        transcribe(WAVES[0], adapter=tmp_path / "nowhere")
    with pytest.raises(AudioError, match="nowhere"):
        transcribe(tmp_path / "nowhere.wav", adapter=adapter, device="cpu")
    with pytest.raises(AudioError, match="not finite"):
        transcribe(np.full(16_000, np.nan, np.float32), adapter=adapter, device="cpu")
    with pytest.raises(BackboneError, match="no such folder"):
        transcribe(WAVES[0], adapter=adapter, backbone="nowhere", device="cpu")
    other = tiny.backbone(tmp_path / "other", seed=2)
    with pytest.raises(AdapterMismatchError, match="give the backbone that it was trained on"):
        transcribe(WAVES[0], adapter=adapter, backbone=str(other), device="cpu")
    with pytest.raises(OptionError, match="beem"):
        transcribe(WAVES[0], adapter=adapter, decoder="beem", device="cpu")
    with pytest.raises(OptionError, match="device"):
        transcribe(WAVES[0], adapter=adapter, device="tpu")


def test_a_model_that_gives_no_numbers_is_an_error_not_a_text(
    transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = transcriber.backbone.logits
    monkeypatch.setattr(transcriber.backbone, "logits", lambda hidden: real(hidden) * np.nan)
    with pytest.raises(BackboneError, match="not finite"):
        transcriber.waveforms(WAVES)


def test_a_published_adapter_transcribes(trained: Path, tmp_path: Path) -> None:
    registry.publish(trained / "mdw", tmp_path / "registry", "first")
    one = transcribe(WAVES[0], target_lang="mdw", registry=tmp_path / "registry", device="cpu")
    assert one.text == transcribe(WAVES[0], target_lang="mdw", registry=trained, device="cpu").text


def test_into_a_copy_of_an_elan_document(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, document = tmp_path / "clip.wav", tmp_path / "clip.eaf"
    soundfile.write(clip, tiny.speech("abc dab", 1), 16_000)
    empty = plugins.load("writers", "elan").into
    made = plugins.load("writers", "elan").render([Hypothesis("old", recording="clip.wav")])
    document.write_text(made.replace('"mms-adapt', '"mine'), encoding="utf-8")
    before = document.read_bytes()
    common = ["transcribe", str(clip), "--target-lang", "mdw", "--registry", str(trained), "--quiet"]

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main([*common, *words])
        return int(stopped.value.code or 0)

    assert run("--add-to", str(document), "--out", str(tmp_path / "drafts")) == 0
    assert document.read_bytes() == before
    expected = transcribe(clip, target_lang="mdw", registry=trained)
    assert (tmp_path / "drafts" / "clip.eaf").read_bytes() == empty(before, expected)
    assert expected.text.split()[0] in (tmp_path / "drafts" / "clip.eaf").read_text(encoding="utf-8")
    for words, says in (
        (["--add-to", str(document)], "name another folder"),
        (["--add-to", str(document), "--out", str(tmp_path)], "name another folder"),
        (["--add-to", "gone.eaf", "--out", "drafts"], "no such ELAN document"),
        ([str(clip), "--add-to", str(document), "--out", "drafts"], "takes one recording"),
    ):
        capsys.readouterr()
        assert run(*words) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_seconds": float("inf")}, "batch_seconds=inf: give more than 0, and an end"),
        ({"batch_seconds": "9"}, "batch_seconds='9': give a number"),
        ({"window_s": "9", "overlap_s": None}, "window_s='9'.*overlap_s=None"),
    ],
)
def test_lengths_that_are_none_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        TranscribeOptions(**options)
