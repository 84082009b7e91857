"""Adapters made of several: sums are exact, rows of heads go by token, passports tell the parents."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from mms_adapt import backbone, licences
from mms_adapt.backbone import Backbone
from mms_adapt.checkpoint import AdapterFolder
from mms_adapt.composition import heads, low_rank
from mms_adapt.composition.merging import merge
from mms_adapt.errors import AdapterMismatchError, OptionError

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("attention", {}),
    "parallel": ("bottleneck", {"width": 3, "factor": 0.7}),
    "sequential": ("bottleneck", {"width": 3, "mode": "sequential", "sublayers": ["attention"]}),
    "lora": ("lora", {"rank": 2}),
}
BATCH = tiny.padded(tiny.speech("abc de"), tiny.speech("dab"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return backbone.load(tiny.backbone(tmp_path_factory.mktemp("models") / "tiny"), device="cpu")


def pair(base: Backbone, place: Path, name: str, **more: Any) -> list[AdapterFolder]:
    kind, options = KINDS[name]
    return [
        tiny.scribbled(base, place / f"{name}{seed}", seed=seed, kind=kind, options=options, **more)
        for seed in (1, 2)
    ]


def logits(base: Backbone, one: AdapterFolder) -> torch.Tensor:
    one.attach(base)
    with torch.no_grad():
        features = base.cnn(BATCH.waveforms, BATCH.sample_counts)
        return base.logits(base.encode(features, BATCH.frame_counts))


def first_addition(base: Backbone, one: AdapterFolder) -> torch.Tensor:
    """What the lowest place adds to what goes in, in a hidden state of noise."""
    one.attach(base)
    layer = base.model.wav2vec2.encoder.layers[0]
    noise = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        if one.passport.kind == "attention":
            return layer.adapter_layer(noise)
        if one.passport.kind == "lora":
            matrix = layer.attention.q_proj
            return matrix(noise) - matrix.inner(noise)
        place = "attention" if "sequential" in one.passport.kind_options["mode"] else "feed_forward"
        return getattr(layer, place).bottleneck(noise)


@pytest.mark.parametrize("name", KINDS)
def test_a_concatenation_adds_what_both_add(base: Backbone, tmp_path: Path, name: str) -> None:
    both = pair(base, tmp_path, name)
    made = merge(both, [0.7, 0.4]).save(tmp_path / "out")
    expected = 0.7 * first_addition(base, both[0]) + 0.4 * first_addition(base, both[1])
    assert tiny.close(first_addition(base, AdapterFolder.load(tmp_path / "out")), expected)
    assert made.passport.parents == {both[0].version: 0.7, both[1].version: 0.4}


@pytest.mark.parametrize("name", KINDS)
def test_one_alone_stays_and_is_scaled(base: Backbone, tmp_path: Path, name: str) -> None:
    one = pair(base, tmp_path, name)[0]
    assert tiny.close(logits(base, merge([one], [1.0])), logits(base, one))
    assert tiny.close(first_addition(base, merge([one], [1.5])), 1.5 * first_addition(base, one))
    assert not first_addition(base, merge([one], [0.0])).any()


@pytest.mark.parametrize("name", KINDS)
def test_weights_of_one_and_nothing_give_the_one(base: Backbone, tmp_path: Path, name: str) -> None:
    both = pair(base, tmp_path, name)
    alone, made = logits(base, both[0]), logits(base, merge(both, [1.0, 0.0]))
    assert tiny.close(made.log_softmax(-1), alone.log_softmax(-1))


def test_the_mean_of_an_adapter_and_itself_is_itself(base: Backbone, tmp_path: Path) -> None:
    one, other = pair(base, tmp_path, "attention")
    same = replace(one, passport=replace(one.passport, files={**one.passport.files, "vocab.json": "0" * 64}))
    mean = logits(base, merge([one, same], method="average"))
    assert tiny.close(mean.log_softmax(-1), logits(base, one).log_softmax(-1))
    assert merge([one, other], method="average").passport.kind_options["size"] == 4
    wide = tiny.scribbled(base, tmp_path / "wide", seed=3, size=6)
    with pytest.raises(AdapterMismatchError, match="different widths"):
        merge([one, wide], method="average")


def test_rows_of_heads_go_by_their_token(base: Backbone, tmp_path: Path) -> None:
    first = tiny.scribbled(base, tmp_path / "first", letters="abd", seed=1)
    second = tiny.scribbled(base, tmp_path / "second", letters="bcd", seed=2)
    made = merge([first, second], [1.0, 0.0])
    assert made.vocab.tokens[5:] == ("a", "b", "c", "d")
    found, own = logits(base, made), logits(base, first)
    places = [made.vocab.tokens.index(token) for token in first.vocab.tokens]
    assert tiny.close(found[..., places].log_softmax(-1), own.log_softmax(-1))
    spelt = tiny.scribbled(base, tmp_path / "spelt", letters="abd", seed=3)
    long = replace(spelt, vocab=replace(spelt.vocab, tokens=(*spelt.vocab.tokens[:-1], "ab")))
    with pytest.raises(AdapterMismatchError, match="'ab' is one grapheme"):
        heads.united([first.vocab, long.vocab])


def test_a_change_of_low_rank_is_cut_exactly(base: Backbone, tmp_path: Path) -> None:
    both = pair(base, tmp_path, "lora")
    whole = merge(both, [1.0, 1.0], method="reduce", rank=4)
    assert whole.passport.merge["lost_share"] < 1e-20
    assert tiny.close(first_addition(base, whole), first_addition(base, merge(both, [1.0, 1.0])))
    less = merge(both, [1.0, 1.0], method="reduce", rank=2)
    assert 0.01 < less.passport.merge["lost_share"] < 0.9
    assert less.passport.kind_options["rank"] == 2


def test_ties_trims_elects_and_averages(base: Backbone, tmp_path: Path) -> None:
    first = torch.tensor([[3.0, -1.0, 0.2], [2.0, 0.1, -4.0]])
    assert torch.equal(low_rank.trimmed(first, 0.5), torch.tensor([[3.0, 0, 0], [2.0, 0, -4.0]]))
    second = torch.tensor([[1.0, 2.0, 0.0], [-3.0, 0.0, -2.0]])
    # signs of the sum: + + ., - . -; means of those that agree
    expected = torch.tensor([[2.0, 2.0, 0.2], [-3.0, 0.1, -3.0]])
    assert torch.allclose(low_rank.elected([(0.5, first), (0.5, second)]), expected)
    both = pair(base, tmp_path, "lora")
    made = merge(both, method="ties", density=0.3, rank=3)
    assert 0 < made.passport.merge["lost_share"] < 1 and logits(base, made).isfinite().all()


def test_the_passport_tells_of_the_parents(base: Backbone, tmp_path: Path) -> None:
    both = [
        replace(one, passport=replace(one.passport, **given))
        for one, given in zip(
            pair(base, tmp_path, "attention"),
            [
                {"licence": "cc-by-4.0", "corpus": "north", "speakers": {"train": ["p1"]}},
                {"licence": "cc-by-nc-4.0", "corpus": "south", "speakers": {"train": ["p2"], "dev": ["p3"]}},
            ],
            strict=True,
        )
    ]
    found = merge(both).passport
    assert (found.licence, found.corpus, found.start) == ("cc-by-nc-4.0", "north; south", "merge")
    assert found.speakers == {"train": ["p1", "p2"], "dev": ["p3"]}
    assert [one["adapter"] for one in found.merge["parents"]] == [one.version for one in both]
    unknown = replace(both[1], passport=replace(both[1].passport, licence="mine"))
    with pytest.raises(OptionError, match="say which one holds"):
        merge([both[0], unknown])
    assert merge([both[0], unknown], licence="mine").passport.licence == "mine"


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (["mit", "mit"], "mit"),
        (["cc-by-4.0", "apache-2.0", "cc0-1.0"], "cc-by-4.0"),
        (["cc-by-sa-4.0", "mit"], "cc-by-sa-4.0"),
        (["cc-by-nc-sa-4.0", "cc-by-nc-4.0"], "cc-by-nc-sa-4.0"),
        (["", ""], ""),
        (["own", "own"], "own"),
    ],
)
def test_the_strictest_licence_holds(held: list[str], says: str) -> None:
    assert licences.strictest(held) == says


@pytest.mark.parametrize("held", [["mit", ""], ["cc-by-nd-4.0", "mit"], ["cc-by-sa-4.0", "cc-by-nc-4.0"]])
def test_licences_that_do_not_go_together(held: list[str]) -> None:
    with pytest.raises(OptionError, match="licences"):
        licences.strictest(held)


def test_what_does_not_fit_is_refused(base: Backbone, tmp_path: Path) -> None:
    one, other = pair(base, tmp_path, "attention")
    low = pair(base, tmp_path, "lora")[0]
    for adapters, options, says in (
        ([], {}, "at least one"),
        ([one, other], {"method": "sum"}, "method='sum'"),
        ([one, other], {"weights": [1.0]}, "1 weights for 2"),
        ([one, other], {"weights": [1.0, -1.0]}, "above 0"),
        ([one, one], {}, "comes twice"),
        ([one, other], {"method": "ties"}, "for the kind lora"),
        ([low], {"method": "ties", "density": 0.0}, "density"),
    ):
        with pytest.raises(OptionError, match=says):
            merge(adapters, **options)
    with pytest.raises(AdapterMismatchError, match="different kinds"):
        merge([one, low])
    strange = replace(other, passport=replace(other.passport, backbone_fingerprint="f" * 64))
    with pytest.raises(AdapterMismatchError, match="different backbones"):
        merge([one, strange])
