"""The bank: rows of many languages in one pass, editions replaced under requests, hostile folders."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from mms_adapt import backbone, packed, passport, residents
from mms_adapt.backbone import Backbone
from mms_adapt.bank import Bank
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.decoders import Hypothesis
from mms_adapt.errors import (
    AdapterError,
    AdapterMismatchError,
    BackboneError,
    LanguageError,
    OptionError,
    RegistryError,
)
from mms_adapt.serving.edition import Blend
from mms_adapt.transcribe import TranscribeOptions, Transcriber, transcribe
from mms_adapt.voice import Voice

OPTIONS = TranscribeOptions(device="cpu")
LETTERS = {
    "mdw": "abcd",
    "wol": "abcdefghijklmnopqrstuvwxyz" * 2,
    "chr": "xyz",
    "aka": "klmnopqrst",
    "bom": "uvw",
}
LETTERS["wol"] += "".join(map(chr, range(0x400, 0x430)))  # more than 64 tokens: a wider head than the others
WAVES = [tiny.speech(tiny.sentence(seed), seed) for seed in range(10)]
MIXED = [list(LETTERS)[number % 5] for number in range(10)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A backbone that writes adapters; the banks have one of their own."""
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("bank") / "base", seed=1), device="cpu")


@pytest.fixture(scope="module")
def registry(base: Backbone) -> Path:
    folder = base.source.folder.parent / "adapters"
    for seed, (code, letters) in enumerate(LETTERS.items()):
        tiny.scribbled(base, folder / code, code, letters=letters, seed=seed)
    return folder


@pytest.fixture(scope="module")
def five(registry: Path) -> Bank:
    return Bank(registry, options=OPTIONS)


@pytest.fixture
def own(registry: Path, tmp_path: Path) -> Path:
    """A registry of the test's own, to be spoilt."""
    return Path(shutil.copytree(registry, tmp_path / "adapters"))


def emissions(one: Bank, waves: list[Any], codes: list[str]) -> list[torch.Tensor]:
    """Emissions `(frames, vocab)` of each row of a batch."""
    voices = [one.voice(code) for code in codes]
    features, counts = one.engine.features(waves)
    found = one.engine.emissions(features, counts, [voice.edition for voice in voices])
    return [row[:count, : len(voice.vocab)] for row, count, voice in zip(found, counts, voices, strict=True)]


def test_mixed_batches_are_bit_equal_to_batches_of_one_language(five: Bank) -> None:
    mixed = emissions(five, WAVES, MIXED)
    for code in LETTERS:
        single = emissions(five, WAVES, [code] * len(WAVES))
        for row, own_code in enumerate(MIXED):
            assert torch.equal(mixed[row], single[row]) == (own_code == code), (row, code)


def test_a_batch_equals_one_by_one_and_the_adapter_alone(five: Bank, registry: Path) -> None:
    alone = {code: Transcriber.load(registry / code, options=OPTIONS) for code in LETTERS}
    together = emissions(five, WAVES, MIXED)
    for row, code, wave in zip(together, MIXED, WAVES, strict=True):
        assert tiny.close(row, emissions(five, [wave], [code])[0])
        assert tiny.close(row, torch.from_numpy(alone[code].emissions([wave])[0]))


@pytest.mark.parametrize("codes", [MIXED, ["chr"] * 10, ["bom", "mdw"] * 5], ids=["five", "one", "two"])
def test_frames_side_by_side_give_what_padded_rows_give(
    five: Bank, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = emissions(five, WAVES, codes)
    called: list[int] = []
    run = packed.run
    monkeypatch.setattr(packed, "run", lambda *given: called.append(1) or run(*given))
    monkeypatch.setattr(five.backbone, "packing", True)
    for row, expected in zip(emissions(five, WAVES, codes), padded, strict=True):
        assert tiny.close(row, expected)
    assert len(called) == five.backbone.layer_count


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_card_each_row_goes_through_its_own_adapter(five: Bank, registry: Path) -> None:
    card = Bank(registry, options=TranscribeOptions(device="cuda"))
    assert card.backbone.packing
    mixed = emissions(card, WAVES, MIXED)

    def off(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one.cpu().exp() - other.cpu().exp()).abs().max()) if one.shape == other.shape else 1.0

    for code in LETTERS:
        single = emissions(card, WAVES, [code] * len(WAVES))
        for row, own_code in enumerate(MIXED):
            assert (own_code == code) == (off(mixed[row], single[row]) < 0.02), (row, code)
    for found, exact in zip(mixed, emissions(five, WAVES, MIXED), strict=True):
        assert off(found, exact) < 0.1


def test_a_b_a(five: Bank) -> None:
    first, second, third = (emissions(five, WAVES[:2], [code] * 2)[0] for code in ("mdw", "bom", "mdw"))
    assert torch.equal(first, third) and not torch.equal(first[:, :5], second[:, :5])


def test_hypotheses_are_those_of_the_adapter_alone(five: Bank, registry: Path) -> None:
    long = np.concatenate(WAVES * 3)
    silence = np.zeros(8_000, np.float32)
    items = [*zip(WAVES, MIXED, strict=True), (long, "chr"), (silence, "wol"), (WAVES[0][:100], "bom")]
    told: list[tuple[str, int, int]] = []
    assert len(long) > OPTIONS.longest_s * 16_000
    found = five.transcribe(items, progress=lambda *words: told.append(words))
    assert told[-1] == ("transcribe", 13, 13)
    for (wave, code), one in zip(items, found, strict=True):
        expected = transcribe(wave, adapter=registry / code, device="cpu")
        assert (one.text, one.target_lang, one.adapter) == (expected.text, code, expected.adapter)
        assert one.duration_s == expected.duration_s
    assert any(one.text for one in found) and found[-1].text == found[-2].text == ""
    assert five.transcribe([]) == []


def test_adapters_of_other_sizes_and_layers_stand_side_by_side(base: Backbone, own: Path) -> None:
    tiny.scribbled(base, own / "bom", "bom", letters="uvw", seed=4, size=7)
    upper = replace(AdapterFolder.load(own / "chr"), path=None)
    lowest = {
        name: torch.ones_like(one) if name.endswith("norm.weight") else torch.zeros_like(one)
        for name, one in upper.tensors.items()
        if ".layers.0." in name
    }
    written = replace(upper.passport, kind_options={"size": base.adapter_size, "layers": 2})
    replace(upper, passport=written, tensors={**upper.tensors, **lowest}).save(own / "chr")
    mixed = Bank(own, options=OPTIONS)
    for row, code, wave in zip(emissions(mixed, WAVES, MIXED), MIXED, WAVES, strict=True):
        alone = Transcriber.load(own / code, options=OPTIONS).emissions([wave])[0]
        assert tiny.close(row, torch.from_numpy(alone))


def test_strength_and_mixtures(five: Bank, base: Backbone, own: Path) -> None:
    tiny.scribbled(base, own / "mdw2", "mdw", letters="dcba", seed=9)
    (own / "two").mkdir()
    (own / "mdw").rename(own / "two" / "north")
    (own / "mdw2").rename(own / "two" / "south")
    (own / "two").rename(own / "mdw")
    slider = Bank(own, options=OPTIONS)

    def heard(*parts: tuple[str, float]) -> torch.Tensor:
        voice = slider.voice(Blend(parts))
        features, counts = slider.engine.features(WAVES[:1])
        return slider.engine.emissions(features, counts, [voice.edition])[0][:, : len(voice.vocab)]

    north, south = heard(("mdw/north", 1.0)), heard(("mdw/south", 1.0))
    assert tiny.close(heard(("mdw/north", 1.0), ("mdw/south", 0.0)), north)
    assert tiny.close(heard(("mdw/north", 0.0), ("mdw/south", 1.0)), south)
    both = heard(("mdw/north", 0.5), ("mdw/south", 0.5))
    assert not tiny.close(both, north) and not tiny.close(both, south)

    with torch.inference_mode():  # at strength 0 the head stands on the bare backbone
        features, counts = slider.engine.features(WAVES[:1])
        states = slider.backbone.encode(features, torch.tensor(counts))
        tensors = AdapterFolder.load(own / "mdw" / "north").tensors
        logits = states @ tensors["lm_head.weight"].T + tensors["lm_head.bias"]
    assert tiny.close(heard(("mdw/north", 0.0)), logits.log_softmax(-1)[0])
    half = heard(("mdw/north", 0.5))
    assert not tiny.close(half, north)

    named = slider.transcribe([(WAVES[0], Blend((("mdw/north", 0.5), ("chr", 1.0))))])[0].adapter
    assert named.startswith("0.5*mdw@") and " + 1*chr@" in named and " head mdw@" in named


def test_a_mixture_is_the_sum_of_what_its_adapters_give(five: Bank) -> None:
    """One layer's output by hand: both adapters see the same state."""
    parts = [five.voice(code).edition for code in ("mdw", "chr")]
    kind = parts[0].kind
    which, state = torch.tensor([0]), torch.randn(1, 9, five.backbone.hidden_size)
    added = [kind.stack([one.weights]).add("", 2, state, state, which) - state for one in parts]
    mixed = kind.mix([(0.3, parts[0].weights), (2.0, parts[1].weights)])
    found = kind.stack([mixed]).add("", 2, state, state, which) - state
    assert torch.allclose(found, 0.3 * added[0] + 2.0 * added[1], atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((), "empty mix"),
        ((("mdw", -1.0),), "-1"),
        ((("mdw", float("nan")),), "nan"),
        ((("mdw", 1.0), ("mdw", 2.0)), "twice"),
        ((("mdw", 0.0), ("wol", 0.0)), "all weights are 0"),
    ],
)
def test_mixtures_that_make_no_sense(parts: tuple[tuple[str, float], ...], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Blend(parts)


def test_the_least_recently_used_go_out_and_pinned_ones_stay(registry: Path) -> None:
    needed = Bank(registry, options=OPTIONS).voice("mdw").byte_count
    small = Bank(registry, options=OPTIONS, device_bytes=int(2.5 * needed))
    small.pin("mdw")
    for code in ("chr", "aka", "bom"):
        small.transcribe([(WAVES[0], code)])
    held = small.residences()
    assert [(one.place, one.pinned) for one in held] == [("mdw", True), ("bom", False)]
    assert all(one.memory == "device" and one.byte_count == needed for one in held)
    small.transcribe([(WAVES[0], "chr")])
    assert [one.place for one in small.residences()] == ["mdw", "chr"]
    small.unpin("mdw")
    small.transcribe([(WAVES[0], code) for code in ("aka", "bom")])
    assert [one.place for one in small.residences()] == ["aka", "bom"]
    with pytest.raises(OptionError, match="device_bytes"):
        for code in ("aka", "bom", "chr"):
            small.pin(code)
    # more at once than there is room for is served all the same
    nothing = Bank(registry, options=OPTIONS, device_bytes=0)
    expected = small.transcribe(list(zip(WAVES, MIXED, strict=True)))
    found = nothing.transcribe(list(zip(WAVES, MIXED, strict=True)))
    assert [one.text for one in found] == [one.text for one in expected]
    assert nothing.residences() == []
    with pytest.raises(OptionError, match="host_bytes=-1"):
        Bank(registry, options=OPTIONS, host_bytes=-1)


def test_resident_adapters_are_not_read_again(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Bank(registry, options=OPTIONS)
    first = one.voice("mdw")
    monkeypatch.setattr(AdapterFolder, "opening", None)  # whoever calls it now fails
    assert one.voice("mdw") is first
    with pytest.raises(TypeError):
        one.voice("wol")


def test_what_left_the_device_comes_back_from_main_memory(base: Backbone, own: Path) -> None:
    """As beside a card: main memory keeps adapters as their files have them."""
    needed = Bank(own, options=OPTIONS).voice("chr").byte_count
    one = Bank(own, options=OPTIONS, device_bytes=int(1.5 * needed))
    one.residents._apart = True
    first = one.transcribe([(WAVES[0], "mdw")])[0]
    one.voice("chr")
    assert [(each.place, each.memory) for each in one.residences()] == [
        ("chr", "device"), ("mdw", "host"), ("chr", "host"),
    ]  # fmt: skip
    stored = sum(4 * each.numel() for each in AdapterFolder.load(own / "mdw").tensors.values())
    assert [each.byte_count for each in one.residences() if each.place == "mdw"] == [stored]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdapterFolder, "opening", None)  # whoever calls it now fails
        again = one.transcribe([(WAVES[0], "mdw")])[0]
    assert again == first
    one.voice("chr")
    with pytest.MonkeyPatch.context() as patch:  # a bad edition: the one in main memory serves on
        patch.setattr(residents, "_WAITS_S", (0.001,))
        spoil_nan(base, own / "mdw")
        assert one.transcribe([(WAVES[0], "mdw")])[0] == first and "not finite" in one.refused["mdw"]
    newer = tiny.scribbled(base, own / "mdw", "mdw", seed=78)
    one.voice("chr")
    assert one.voice("mdw").version == newer.version != first.adapter and one.refused == {}


def test_a_replaced_adapter_is_read_anew_and_a_removed_one_is_gone(base: Backbone, own: Path) -> None:
    one = Bank(own, options=OPTIONS)
    before = one.voice("mdw")
    old = one.transcribe([(WAVES[0], "mdw")])[0]
    newer = tiny.scribbled(base, own / "mdw", "mdw", letters="mnop", seed=77)
    new = one.transcribe([(WAVES[0], "mdw")])[0]
    assert new.adapter == newer.version != old.adapter == before.version
    assert set(new.text) <= set("mnop ")
    again = before.waveforms([WAVES[0]])[0]  # who holds the old edition keeps it
    assert (again.text, again.adapter) == (old.text, old.adapter)
    shutil.rmtree(own / "mdw")
    with pytest.raises(RegistryError, match="no adapter for mdw"):
        one.voice("mdw")
    assert "mdw" not in [each.place for each in one.residences()]


def spoil_nan(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    name = next(iter(one.tensors))
    spoilt = {**one.tensors, name: one.tensors[name] * np.nan}
    replace(one, tensors=spoilt).save(folder)


def spoil_cut(base: Backbone, folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:500])


def spoil_cut_with_a_passport_that_agrees(base: Backbone, folder: Path) -> None:
    spoil_cut(base, folder)
    one = passport.read(folder)
    path = folder / one.weights_file
    hashes = {**one.files, path.name: passport.file_sha256(path)}
    (folder / "passport.json").write_text(replace(one, files=hashes).to_json(), encoding="utf-8")


def spoil_shape(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    name = "wav2vec2.encoder.layers.1.adapter_layer.linear_1.weight"
    replace(one, tensors={**one.tensors, name: one.tensors[name][:, :-1].contiguous()}).save(folder)


def spoil_tensor(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    replace(one, tensors={**one.tensors, "wav2vec2.encoder.layer_norm.bias": torch.ones(32)}).save(folder)


def spoil_language(base: Backbone, folder: Path) -> None:
    shutil.rmtree(folder)
    tiny.scribbled(base, folder, "chr", seed=3)


def spoil_backbone(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    replace(one, passport=replace(one.passport, backbone_fingerprint="0" * 64)).save(folder)


def spoil_kind(base: Backbone, folder: Path) -> None:
    one = AdapterFolder.load(folder)
    replace(one, passport=replace(one.passport, kind="os.path")).save(folder)


def spoil_link(base: Backbone, folder: Path) -> None:
    outside = folder.parents[1] / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)


def spoil_file_link(base: Backbone, folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    outside = folder.parents[1] / path.name
    path.rename(outside)
    path.symlink_to(outside)


def spoil_passport(base: Backbone, folder: Path) -> None:
    (folder / "passport.json").write_text('{"target_lang": "../../x", "kind": 3}', encoding="utf-8")


def spoil_pickle(base: Backbone, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "adapter.mdw.bin").write_bytes(b"\x80\x04.")


SPOILT: dict[Callable[[Backbone, Path], None], str] = {
    spoil_nan: "not finite",
    spoil_cut: "hash differs",
    spoil_cut_with_a_passport_that_agrees: "no whole safetensors",
    spoil_shape: "is .*, not ",
    spoil_tensor: "has no place",
    spoil_language: "'chr'",
    spoil_backbone: "fingerprint",
    spoil_kind: "kind 'os.path'",
    spoil_link: "leads out of the registry",
    spoil_file_link: "leads out of the folder",
    spoil_passport: "target_lang|kind",
    spoil_pickle: "nothing that is an adapter|no adapter",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residents, "_WAITS_S", (0.001,))


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda one: one.__name__)
@pytest.mark.usefixtures("impatient")
def test_what_must_not_come_in(spoil: Callable[[Backbone, Path], None], base: Backbone, own: Path) -> None:
    spoil(base, own / "mdw")
    one = Bank(own, backbone=base.source.folder, options=OPTIONS)
    for _ in range(2):  # the second time the answer is known without reading
        with pytest.raises(AdapterError, match=SPOILT[spoil]):
            one.transcribe([(WAVES[0], "mdw")])
    assert one.transcribe([(WAVES[0], "wol")])[0].target_lang == "wol"
    assert [each.place for each in one.residences()] == ["wol"]


@pytest.mark.usefixtures("impatient")
def test_a_bad_replacement_leaves_the_edition_before_it_in_service(base: Backbone, own: Path) -> None:
    one = Bank(own, options=OPTIONS)
    before = one.transcribe([(WAVES[0], "mdw")])[0]
    assert one.refused == {}
    spoil_nan(base, own / "mdw")
    after = one.transcribe([(WAVES[0], "mdw")])[0]
    assert (after.text, after.adapter) == (before.text, before.adapter)
    assert "not finite" in one.refused["mdw"]
    mended = tiny.scribbled(base, own / "mdw", "mdw", seed=5)
    assert one.transcribe([(WAVES[0], "mdw")])[0].adapter == mended.version
    assert one.refused == {}


@pytest.mark.usefixtures("impatient")
def test_one_that_lost_its_passport_does_not_take_the_place_of_one_that_had_it(
    base: Backbone, own: Path
) -> None:
    one = Bank(own, options=OPTIONS)
    before = one.transcribe([(WAVES[0], "mdw")])[0]
    passport_file = own / "mdw" / "passport.json"
    held = passport_file.read_bytes()
    passport_file.unlink()
    after = one.transcribe([(WAVES[0], "mdw")])[0]
    assert (after.text, after.adapter) == (before.text, before.adapter)
    assert "copy passport.json, too" in one.refused["mdw"]
    passport_file.write_bytes(held)
    assert one.transcribe([(WAVES[0], "mdw")])[0].adapter == before.adapter and one.refused == {}
    other = Bank(own, backbone=base, options=OPTIONS)
    passport_file.unlink()  # nobody knew another one: after some patience it is taken as it is
    assert other.voice("mdw").version.endswith(" unverified") and other.refused == {}


@pytest.mark.usefixtures("impatient")
def test_what_is_broken_takes_down_neither_the_others_nor_the_choice_among_them(
    base: Backbone, own: Path
) -> None:
    (own / "aaa").mkdir()
    (own / "aaa" / "passport.json").write_text("{", encoding="utf-8")
    shutil.copytree(own / "mdw", own / "aab")  # an adapter for another language than its folder says
    one = Bank(own, options=OPTIONS)  # the backbone is told by the first that is whole
    assert one.backbone.fingerprint == base.fingerprint
    ranked = one.identify(WAVES[0])
    assert {each.place for each in ranked} == set(one.languages()) - {"aaa", "aab"}
    assert "cannot be read" in one.refused["aaa"] and "'mdw'" in one.refused["aab"]
    with pytest.raises(AdapterError, match="cannot be read"):
        one.identify(WAVES[0], candidates=["mdw", "aaa"])
    for code in set(one.languages()) - {"aaa", "aab"}:
        shutil.rmtree(own / code)
    with pytest.raises(AdapterError, match="cannot be read"):
        one.identify(WAVES[0])
    shutil.rmtree(own / "aab")
    with pytest.raises(AdapterError, match="cannot be read"):
        Bank(own, options=OPTIONS)


@pytest.mark.parametrize("code", ["../../etc", "mdw/../wol", "x/../../evil", "", "..", "/", "mdw\n", "de"])
def test_hostile_names_lead_nowhere(five: Bank, code: str) -> None:
    with pytest.raises((LanguageError, RegistryError)):
        five.transcribe([(WAVES[0], code)])
    assert five.transcribe([(WAVES[0], "wol")])[0].target_lang == "wol"


def test_a_bank_without_anything_says_so(tmp_path: Path, base: Backbone) -> None:
    with pytest.raises(RegistryError, match="no adapter, so the backbone is not known"):
        Bank(tmp_path, options=OPTIONS)
    with pytest.raises(BackboneError, match="no such folder"):
        Bank(tmp_path, backbone="nowhere", options=OPTIONS)
    other = tiny.backbone(tmp_path / "other", seed=2)
    adapters = base.source.folder.parent / "adapters"
    with pytest.raises(AdapterMismatchError, match="give the backbone that it was trained on"):
        Bank(adapters, backbone=other, options=OPTIONS).voice("mdw")


def test_numbers_that_are_not_finite_are_an_error_that_names_the_adapter(base: Backbone, own: Path) -> None:
    one = AdapterFolder.load(own / "mdw")
    huge = {name: 1e38 * each if "linear_2.weight" in name else each for name, each in one.tensors.items()}
    replace(one, tensors=huge).save(own / "mdw")
    served = Bank(own, options=OPTIONS)
    with pytest.raises(BackboneError, match=r"not finite .* mdw@"):
        served.transcribe([(WAVES[0], "mdw"), (WAVES[1], "wol")])
    assert served.transcribe([(WAVES[1], "wol")])[0].adapter.startswith("wol@")


def test_each_of_many_threads_gets_one_edition_while_adapters_are_replaced(base: Backbone, own: Path) -> None:
    one = Bank(own, options=OPTIONS, device_bytes=60_000)  # room for three of five
    codes = list(LETTERS)
    serial: dict[tuple[str, int], str] = {}

    def replaced() -> Iterator[AdapterFolder]:
        for seed in range(100, 112):
            code = codes[seed % 3]
            yield tiny.scribbled(base, own / code, code, letters=LETTERS[code][:30], seed=seed)

    def note(adapter: AdapterFolder) -> None:
        alone = Voice(one.engine, one.voice(adapter.passport.target_lang).edition, OPTIONS)
        assert alone.version == adapter.version
        for number, wave in enumerate(WAVES):
            serial[adapter.version, number] = alone.waveforms([wave])[0].text

    for code in codes:
        note(AdapterFolder.load(own / code))
    first = set(serial)

    def ask(seed: int) -> list[tuple[int, str, Hypothesis]]:
        random = np.random.default_rng(seed)
        found = []
        for _ in range(12):
            rows = [(int(random.integers(10)), codes[random.integers(5)]) for _ in range(4)]
            heard = one.transcribe([(WAVES[number], code) for number, code in rows])
            assert len({each.adapter for each in heard}) == len({code for _, code in rows})
            found += [(number, code, each) for (number, code), each in zip(rows, heard, strict=True)]
        return found

    with ThreadPoolExecutor(17) as pool:
        asked = [pool.submit(ask, seed) for seed in range(16)]
        for adapter in replaced():
            note(adapter)
        answers = [each for future in asked for each in future.result()]
    assert len(answers) == 16 * 12 * 4
    for number, code, each in answers:
        assert each.target_lang == code
        assert each.text == serial[each.adapter, number], each.adapter
    assert {each.adapter for _, _, each in answers} - {version for version, _ in first}


def test_places_inside_a_layer_give_what_the_stock_layer_gives(five: Bank) -> None:
    """Kinds may change any projection; where they change nothing, nothing changes."""

    class Nothing:
        inside = True

        def __init__(self) -> None:
            self.seen: set[str] = set()

        def __call__(self, place: str, layer: int, given: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
            self.seen.add(place)
            return found

    with torch.inference_mode():
        features, counts = five.engine.features(WAVES[:3])
        plain = five.backbone.encode(features, torch.tensor(counts))
        nothing = Nothing()
        found = five.backbone.encode(features, torch.tensor(counts), adapt=nothing)
    for row, other, count in zip(found, plain, counts, strict=True):
        assert tiny.close(row[:count], other[:count])
    layer = dict(five.backbone.model.wav2vec2.encoder.layers[0].named_modules())
    assert nothing.seen <= set(layer) and {"attention.q_proj", "feed_forward.output_dense"} <= nothing.seen


def test_bytes_are_counted(five: Bank, registry: Path) -> None:
    voice, adapter = five.voice("mdw"), AdapterFolder.load(registry / "mdw")
    stored = sum(4 * one.numel() for one in adapter.tensors.values())
    norms = 3 * 2 * 32 * 4  # taken into the matrices
    channels = 3 * (8 * 32 + 8 + 7 * 32) * 4  # eight more inside, one of which holds the bias
    tokens = (64 - len(voice.vocab)) * 33 * 4
    assert voice.byte_count == stored - norms + channels + tokens
