"""Batches: every example once, in an order that comes back; what CTC cannot align is left out and named."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from torch import Tensor

from mms_adapt.augment import Draw, Shares, draw, dropped
from mms_adapt.batches import Batches, Example, Selection, select
from mms_adapt.errors import TrainingError, VocabError
from mms_adapt.manifest import Utterance
from mms_adapt.masks import Masks, means
from mms_adapt.schedule import Limits, rate

VOCAB = tiny.build(["abcd"])


def utterance(name: str, reference: str) -> Utterance:
    return Utterance(name, "a.wav", 0.0, 1.0, reference, "mdw", reference=reference, audio_sha256=name)


def features(key: str, speed: float) -> NDArray[np.float16]:
    """Return as many frames as the name says, of a value that tells name and speed."""
    return np.full((round(int(key) / speed), 3), int(key) * speed, np.float16)


def examples(counts: list[int], speeds: tuple[float, ...] = (1.0,)) -> list[Example]:
    return [
        Example(f"u{count}", str(count), (5, 6), tuple((one, round(count / one)) for one in speeds))
        for count in counts
    ]


COUNTS = [int(one) for one in np.random.default_rng(0).integers(20, 400, 60)]


def test_a_batch_holds_features_labels_counts_and_ids() -> None:
    pair = [
        Example("b", "4", (5, 6, 5), ((1.0, 4),)),
        Example("a", "6", (7,), ((1.0, 6),)),
    ]
    batches = Batches(pair, features, batch_seconds=48)
    batch = batches.load(batches.in_order()[0])
    assert batch.ids == ("b", "a")
    assert batch.features.shape == (2, 6, 3) and batch.features.dtype == torch.float16
    assert batch.features[0, :4].eq(4).all() and batch.features[0, 4:].eq(0).all()
    assert batch.frame_counts.tolist() == [4, 6] and batch.label_counts.tolist() == [3, 1]
    assert batch.labels.tolist() == [[5, 6, 5], [7, 0, 0]]
    assert batch.audio_s == pytest.approx(0.2)


@pytest.mark.parametrize("speeds", [(1.0,), (0.9, 1.0, 1.1)])
def test_every_epoch_has_every_example_once_within_the_bound(speeds: tuple[float, ...]) -> None:
    batches = Batches(examples(COUNTS, speeds), features, batch_seconds=20, seed=1)
    for epoch in range(3):
        plan = batches.plan(epoch)
        assert Counter(one.id for items in plan for one, _, _ in items) == Counter(f"u{n}" for n in COUNTS)
        for items in plan:
            longest = max(count for _, _, count in items)
            assert longest * len(items) <= 1000 or len(items) == 1
        padded = sum(max(count for _, _, count in items) * len(items) for items in plan)
        assert sum(count for items in plan for _, _, count in items) > 0.85 * padded


def test_a_plan_follows_from_seed_and_epoch_alone() -> None:
    made = {
        (seed, epoch): Batches(examples(COUNTS, (0.9, 1.0, 1.1)), features, batch_seconds=20, seed=seed).plan(
            epoch
        )
        for seed, epoch in itertools.product((0, 1), (0, 1))
    }
    again = Batches(examples(COUNTS, (0.9, 1.0, 1.1)), features, batch_seconds=20, seed=1)
    assert again.plan(1) == made[1, 1] and again.plan(0) == made[1, 0]
    for left, right in itertools.combinations(made.values(), 2):
        assert left != right
    used = Counter(speed for items in made[0, 0] for _, speed, _ in items)
    assert set(used) == {0.9, 1.0, 1.1} and min(used.values()) > 8


def test_an_epoch_goes_on_in_its_middle() -> None:
    batches = Batches(examples(COUNTS), features, batch_seconds=20)
    whole = [one.ids for one in batches.epoch(2)]
    assert [one.ids for one in batches.epoch(2, start=3)] == whole[3:] and len(whole) > 6


def test_a_very_long_utterance_is_a_batch_alone() -> None:
    batches = Batches(examples([30, 40, 5000]), features, batch_seconds=10)
    assert sorted(len(items) for items in batches.plan(0)) == [1, 2]


def test_what_ctc_cannot_align_is_left_out_and_named() -> None:
    frames = {"fits": 5, "repeat": 4, "fast": 5, "empty": 50}

    def count(key: str, speed: float) -> int:
        return int(frames[key] / speed)

    utterances = [
        utterance("fits", "abcd"),
        utterance("repeat", "aabb"),  # four labels and two blanks between equal ones
        utterance("fast", "abcda"),
        utterance("empty", " "),
    ]
    found = select(utterances, VOCAB, count, speeds=(1.0, 1.25))
    assert [one.id for one in found.examples] == ["fits", "fast"]
    assert found == Selection(found.examples, ("repeat",), ("fast",), ("empty",))
    assert found.examples[1].frames == ((1.0, 5),)
    assert found.examples[0].frames == ((1.0, 5), (1.25, 4))
    # and CTC agrees: exactly these losses are infinite
    for labels, frames_there, possible in [("aabb", 5, False), ("aabb", 6, True), ("abcda", 4, False)]:
        ids = torch.tensor([VOCAB.encode(labels)])
        loss = torch.nn.functional.ctc_loss(
            torch.randn(frames_there, 1, len(VOCAB)).log_softmax(-1),
            ids,
            torch.tensor([frames_there]),
            torch.tensor([ids.shape[1]]),
        )
        assert bool(torch.isfinite(loss)) is possible is (frames_there >= VOCAB.min_frames(ids[0].tolist()))


def test_a_character_outside_the_vocabulary_is_an_error_in_training_only() -> None:
    with pytest.raises(VocabError, match="'z'"):
        select([utterance("u", "az")], VOCAB, lambda *_: 50)
    found = select([utterance("u", "az")], VOCAB, lambda *_: 50, unknown="unk")
    assert found.examples[0].labels == (5, VOCAB.unk_id)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(TrainingError, match="no utterance"):
        Batches([], features, batch_seconds=10)


SHARES = Shares(time=0.3, time_length=10, channels=0.2, channel_length=4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masks_of(counts: Tensor, frames: int, random: torch.Generator, shares: Shares = SHARES) -> Masks:
    return draw([Draw(counts, frames, shares, random)], 32)[0]


def test_masks_have_their_share_and_stay_within_each_row() -> None:
    counts = torch.tensor([500, 200, 30, 20, 12, 3, 1, 0])
    random = generator()
    drawn = [masks_of(counts, 500, random) for _ in range(200)]
    for masks in drawn:
        assert masks.time.shape == (8, 500) and masks.channels.shape == (8, 32)
        assert not any(masks.time[row, count:].any() for row, count in enumerate(counts.tolist()))
    share = torch.stack([one.time[0].float().mean() for one in drawn]).mean()
    assert 0.2 < float(share) < 0.3  # overlaps counted twice in the 0.3
    assert 0.1 < float(torch.stack([one.channels.float().mean() for one in drawn]).mean()) < 0.21
    # an utterance shorter than a mask is never hidden as a whole
    for row, count in ((3, 20), (4, 12), (5, 3), (6, 1)):
        assert max(int(one.time[row].sum()) for one in drawn) < count
    assert not torch.equal(drawn[0].time, drawn[1].time)


def test_masks_follow_from_the_generator_and_can_be_turned_off() -> None:
    counts = torch.tensor([100, 80])
    first, second = (masks_of(counts, 100, generator(3)) for _ in range(2))
    assert torch.equal(first.time, second.time) and torch.equal(first.channels, second.channels)
    none = masks_of(counts, 100, generator(), replace(SHARES, time=0.0, channels=0.0))
    assert not none.time.any() and not none.channels.any()


def test_batches_drawn_together_get_what_each_gets_alone() -> None:
    shares = [SHARES, replace(SHARES, time=0.1, dropout=0.2), replace(SHARES, time=0.0, channels=0.05)]
    counts = [torch.tensor([100, 80]), torch.tensor([250]), torch.tensor([30, 12, 30])]
    seeds = range(3)

    def asked() -> list[Draw]:
        return [
            Draw(one, int(one.max()), share, generator(seed))
            for one, share, seed in zip(counts, shares, seeds, strict=True)
        ]

    together, kept = draw(asked(), 32)
    assert together.time.shape == (6, 250) and together.channels.shape == (6, 32) and kept is not None
    start = 0
    for one in asked():
        alone, own = draw([one], 32)
        end = start + len(one.frame_counts)
        assert torch.equal(together.time[start:end, : one.frames], alone.time)
        assert not together.time[start:end, one.frames :].any()
        assert torch.equal(together.channels[start:end], alone.channels)
        here = kept[start:end, : one.frames]
        assert torch.equal(here, own) if own is not None else bool(here.all())
        start = end


def test_hidden_frames_become_a_vector_or_the_mean_of_their_row() -> None:
    hidden = torch.arange(24.0).view(2, 4, 3)
    time = torch.tensor([[True, False, False, False], [False, False, True, False]])
    masks = Masks(time, torch.tensor([[False, False, False], [True, False, False]]))
    plain = masks.hide(hidden, torch.tensor([7.0, 8.0, 9.0]))
    assert plain[0, 0].tolist() == [7, 8, 9] and plain[1, 2].tolist() == [0, 8, 9]
    filled = masks.hide(hidden, means(hidden, torch.tensor([2, 4])))
    assert filled[0, 0].tolist() == [1.5, 2.5, 3.5], "frames behind the end counted"
    assert filled[1, 2].tolist() == [0, 17.5, 18.5] and filled[0, 1:].equal(hidden[0, 1:])


def test_dropout_keeps_the_mean() -> None:
    hidden, counts = torch.ones(4, 50, 32), torch.full((4,), 50)
    _, kept = draw([Draw(counts, 50, replace(SHARES, dropout=0.25), generator())], 32)
    found = dropped(hidden, kept, 0.25)
    assert 0.22 < float((found == 0).float().mean()) < 0.28 and float(found.mean()) == pytest.approx(
        1, abs=0.05
    )
    assert (
        draw([Draw(counts, 50, SHARES, generator())], 32)[1] is None and dropped(hidden, None, 0.0) is hidden
    )


def test_the_limit_that_comes_first_decides() -> None:
    limits = Limits(epochs=10, steps=100, seconds_s=60)
    assert limits.share(epochs=1, steps=20, seconds_s=3) == 0.2
    assert limits.share(epochs=1, steps=20, seconds_s=30) == 0.5
    assert limits.share(epochs=11, steps=20, seconds_s=30) == 1.0
    assert Limits(seconds_s=-1.0).share(epochs=0, steps=0, seconds_s=0) == 1.0
    late = Limits(epochs=10, seconds_s=60, least_epochs=2)
    assert late.share(epochs=1, steps=0, seconds_s=90) == 0.5
    assert late.share(epochs=2, steps=0, seconds_s=90) == 1.0
    assert late.share(epochs=1, steps=0, seconds_s=6) == 0.1


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [rate(share / 100, peak=2.0, warmup=0.1, step=share) for share in range(101)]
    assert max(rates) == rates[10] == 2.0 and rates[-1] == 0.0
    assert 0 < rates[0] < rates[5] < rates[10] > rates[11] > rates[60] > rates[99] > 0
    assert rate(0.0, peak=2.0, warmup=0.0, step=0) == 2.0
