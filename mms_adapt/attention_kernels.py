"""Attention within rows of several lengths that lie side by side, forwards and backwards, written in Triton.

In: query, key and value of all rows together, `(frames, 3, heads, channels)` in a card's memory, and where
rows begin and end. Out: what each frame hears of its row, `(frames, heads, channels)`, and gradients shaped
as what came in. It does not know layers; `attending` has the same in torch's own operators and chooses.

Scores are never written to memory: forwards, a program holds some frames' queries and goes along the keys of
their row; backwards, one kernel holds queries and one keys, and each computes the scores anew. Channels are
taken in two parts, both powers of two, since that is what the tensor cores' tiles are: heads of MMS-1B have
80 = 64 + 16, where one tile would be 128 wide, and more than a third of it nothing.

Source: Dao et al. 2022, FlashAttention; Dao 2023, FlashAttention-2.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Tiles:
    """How much of a row a program takes at a time.

    Attributes:
        held: Frames that stay in the program.
        passing: Frames that go by.
        warps: Warps of a program.
        stages: Tiles under way at a time.
    """

    held: int
    passing: int
    warps: int
    stages: int


# the quickest of some twenty on an H200, for heads of 80 channels and rows of 150 to 500 frames
FORWARD = Tiles(64, 64, 4, 3)
QUERIES = Tiles(64, 64, 4, 2)
KEYS = Tiles(64, 64, 4, 3)


@triton.jit
def _tile(base, frames, stride, count, FIRST: tl.constexpr, WIDTH: tl.constexpr, SIZE: tl.constexpr):
    """Return channels of frames, `(frames, WIDTH)`; zeros behind a row's end and the last channel."""
    channels = FIRST + tl.arange(0, WIDTH)
    real = frames[:, None] < count
    if FIRST + WIDTH > SIZE:
        real = real & (channels[None] < SIZE)
    return tl.load(base + frames[:, None] * stride + channels[None], mask=real, other=0.0)


@triton.jit
def _put(
    base, frames, stride, count, found, FIRST: tl.constexpr, WIDTH: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """Write what `_tile` reads."""
    channels = FIRST + tl.arange(0, WIDTH)
    real = frames[:, None] < count
    if FIRST + WIDTH > SIZE:
        real = real & (channels[None] < SIZE)
    tl.store(base + frames[:, None] * stride + channels[None], found.to(base.dtype.element_ty), mask=real)


@triton.jit
def _share(tiles, borders, HEADS: tl.constexpr):
    """Return what falls to a program: a tile, a head, and where its row begins and how long it is."""
    tile, pair = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    row = pair // HEADS
    start = tl.load(borders + row)
    return tile, pair % HEADS, start, tl.load(borders + row + 1) - start


@triton.jit
def _hear(
    tiles, three, out, levels, borders, all_frames, factor,
    HEADS: tl.constexpr, SIZE: tl.constexpr, MAIN: tl.constexpr, REST: tl.constexpr,
    HELD: tl.constexpr, PASSING: tl.constexpr,
):  # fmt: skip
    tile, head, start, count = _share(tiles, borders, HEADS)
    if tile * HELD < count:
        wide: tl.constexpr = 3 * HEADS * SIZE
        query = three + start.to(tl.int64) * wide + head * SIZE
        key, value = query + HEADS * SIZE, query + 2 * HEADS * SIZE
        held = tile * HELD + tl.arange(0, HELD)
        asked = _tile(query, held, wide, count, 0, MAIN, SIZE)
        heard = tl.zeros((HELD, MAIN), tl.float32)
        if REST:
            asked_rest = _tile(query, held, wide, count, MAIN, REST, SIZE)
            heard_rest = tl.zeros((HELD, REST), tl.float32)
        most = tl.full((HELD,), float("-inf"), tl.float32)
        total = tl.zeros((HELD,), tl.float32)
        for first in range(0, count, PASSING):
            passing = first + tl.arange(0, PASSING)
            scores = tl.dot(asked, tl.trans(_tile(key, passing, wide, count, 0, MAIN, SIZE)))
            if REST:
                scores = tl.dot(
                    asked_rest, tl.trans(_tile(key, passing, wide, count, MAIN, REST, SIZE)), scores
                )
            scores = tl.where(passing[None] < count, scores, float("-inf"))
            now = tl.maximum(most, tl.max(scores, 1) * factor)
            shares = tl.exp2(scores * factor - now[:, None])
            fade = tl.exp2(most - now)
            total = total * fade + tl.sum(shares, 1)
            shares = shares.to(three.dtype.element_ty)
            heard = tl.dot(shares, _tile(value, passing, wide, count, 0, MAIN, SIZE), heard * fade[:, None])
            if REST:
                heard_rest = tl.dot(
                    shares, _tile(value, passing, wide, count, MAIN, REST, SIZE), heard_rest * fade[:, None]
                )
            most = now
        narrow: tl.constexpr = HEADS * SIZE
        to = out + start.to(tl.int64) * narrow + head * SIZE
        _put(to, held, narrow, count, heard / total[:, None], 0, MAIN, SIZE)
        if REST:
            _put(to, held, narrow, count, heard_rest / total[:, None], MAIN, REST, SIZE)
        place = levels + head.to(tl.int64) * all_frames + start
        tl.store(place + held, most + tl.log2(total), mask=held < count)


@triton.jit
def _to_queries(
    tiles, three, out, levels, gradient, deltas, found, borders, all_frames, factor, scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, MAIN: tl.constexpr, REST: tl.constexpr,
    HELD: tl.constexpr, PASSING: tl.constexpr,
):  # fmt: skip
    tile, head, start, count = _share(tiles, borders, HEADS)
    if tile * HELD < count:
        wide: tl.constexpr = 3 * HEADS * SIZE
        narrow: tl.constexpr = HEADS * SIZE
        offset = start.to(tl.int64) * wide + head * SIZE
        query = three + offset
        key, value = query + narrow, query + 2 * narrow
        held = tile * HELD + tl.arange(0, HELD)
        of_out = start.to(tl.int64) * narrow + head * SIZE
        asked = _tile(query, held, wide, count, 0, MAIN, SIZE)
        given = _tile(gradient + of_out, held, narrow, count, 0, MAIN, SIZE)
        delta = tl.sum(
            given.to(tl.float32) * _tile(out + of_out, held, narrow, count, 0, MAIN, SIZE).to(tl.float32), 1
        )
        to_query = tl.zeros((HELD, MAIN), tl.float32)
        if REST:
            asked_rest = _tile(query, held, wide, count, MAIN, REST, SIZE)
            given_rest = _tile(gradient + of_out, held, narrow, count, MAIN, REST, SIZE)
            out_rest = _tile(out + of_out, held, narrow, count, MAIN, REST, SIZE)
            delta += tl.sum(given_rest.to(tl.float32) * out_rest.to(tl.float32), 1)
            to_query_rest = tl.zeros((HELD, REST), tl.float32)
        place = head.to(tl.int64) * all_frames + start + held
        tl.store(deltas + place, delta, mask=held < count)
        level = tl.load(levels + place, mask=held < count, other=0.0)
        for first in range(0, count, PASSING):
            passing = first + tl.arange(0, PASSING)
            # keys behind the end are zeros, and so is what they give
            keys = _tile(key, passing, wide, count, 0, MAIN, SIZE)
            scores = tl.dot(asked, tl.trans(keys))
            pull = tl.dot(given, tl.trans(_tile(value, passing, wide, count, 0, MAIN, SIZE)))
            if REST:
                keys_rest = _tile(key, passing, wide, count, MAIN, REST, SIZE)
                values_rest = _tile(value, passing, wide, count, MAIN, REST, SIZE)
                scores = tl.dot(asked_rest, tl.trans(keys_rest), scores)
                pull = tl.dot(given_rest, tl.trans(values_rest), pull)
            shares = tl.exp2(tl.minimum(scores * factor - level[:, None], 0.0))
            pull = (shares * (pull - delta[:, None])).to(three.dtype.element_ty)
            to_query = tl.dot(pull, keys, to_query)
            if REST:
                to_query_rest = tl.dot(pull, keys_rest, to_query_rest)
        _put(found + offset, held, wide, count, to_query * scale, 0, MAIN, SIZE)
        if REST:
            _put(found + offset, held, wide, count, to_query_rest * scale, MAIN, REST, SIZE)


@triton.jit
def _to_keys(
    tiles, three, levels, gradient, deltas, found, borders, all_frames, factor, scale,
    HEADS: tl.constexpr, SIZE: tl.constexpr, MAIN: tl.constexpr, REST: tl.constexpr,
    HELD: tl.constexpr, PASSING: tl.constexpr,
):  # fmt: skip
    tile, head, start, count = _share(tiles, borders, HEADS)
    if tile * HELD < count:
        wide: tl.constexpr = 3 * HEADS * SIZE
        narrow: tl.constexpr = HEADS * SIZE
        offset = start.to(tl.int64) * wide + head * SIZE
        query, key, value = three + offset, three + offset + narrow, three + offset + 2 * narrow
        of_out = gradient + start.to(tl.int64) * narrow + head * SIZE
        of_frame = head.to(tl.int64) * all_frames + start
        held = tile * HELD + tl.arange(0, HELD)
        keys = _tile(key, held, wide, count, 0, MAIN, SIZE)
        values = _tile(value, held, wide, count, 0, MAIN, SIZE)
        to_key = tl.zeros((HELD, MAIN), tl.float32)
        to_value = tl.zeros((HELD, MAIN), tl.float32)
        if REST:
            keys_rest = _tile(key, held, wide, count, MAIN, REST, SIZE)
            values_rest = _tile(value, held, wide, count, MAIN, REST, SIZE)
            to_key_rest = tl.zeros((HELD, REST), tl.float32)
            to_value_rest = tl.zeros((HELD, REST), tl.float32)
        for first in range(0, count, PASSING):
            passing = first + tl.arange(0, PASSING)
            # queries and gradients behind the end are zeros, and so is what they give
            asked = _tile(query, passing, wide, count, 0, MAIN, SIZE)
            given = _tile(of_out, passing, narrow, count, 0, MAIN, SIZE)
            level = tl.load(levels + of_frame + passing, mask=passing < count, other=0.0)
            delta = tl.load(deltas + of_frame + passing, mask=passing < count, other=0.0)
            scores = tl.dot(keys, tl.trans(asked))  # `(held, passing)`
            pull = tl.dot(values, tl.trans(given))
            if REST:
                asked_rest = _tile(query, passing, wide, count, MAIN, REST, SIZE)
                given_rest = _tile(of_out, passing, narrow, count, MAIN, REST, SIZE)
                scores = tl.dot(keys_rest, tl.trans(asked_rest), scores)
                pull = tl.dot(values_rest, tl.trans(given_rest), pull)
            shares = tl.exp2(tl.minimum(scores * factor - level[None], 0.0))
            pull = (shares * (pull - delta[None])).to(three.dtype.element_ty)
            shares = shares.to(three.dtype.element_ty)
            to_value = tl.dot(shares, given, to_value)
            to_key = tl.dot(pull, asked, to_key)
            if REST:
                to_value_rest = tl.dot(shares, given_rest, to_value_rest)
                to_key_rest = tl.dot(pull, asked_rest, to_key_rest)
        _put(found + offset + narrow, held, wide, count, to_key * scale, 0, MAIN, SIZE)
        _put(found + offset + 2 * narrow, held, wide, count, to_value, 0, MAIN, SIZE)
        if REST:
            _put(found + offset + narrow, held, wide, count, to_key_rest * scale, MAIN, REST, SIZE)
            _put(found + offset + 2 * narrow, held, wide, count, to_value_rest, MAIN, REST, SIZE)


def _parts(size: int) -> tuple[int, int]:
    """Return the widths of the two tiles that heads of so many channels are taken in; 0 for no second one."""
    main = max(16, 1 << (size.bit_length() - 1))
    return main, 0 if main >= size else max(16, triton.next_power_of_2(size - main))


def _run(kernel, tiles: Tiles, three: Tensor, borders: Tensor, longest: int, *given: object) -> None:
    _, _, heads, size = three.shape
    main, rest = _parts(size)
    # in one row of programs, since only that may be long; a row's own run together and share what they read
    count = triton.cdiv(longest, tiles.held)
    kernel[(count * (len(borders) - 1) * heads,)](
        count, *given, HEADS=heads, SIZE=size, MAIN=main, REST=rest, HELD=tiles.held, PASSING=tiles.passing,
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip


def hear(three: Tensor, borders: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Return what frames hear of their rows, and what the way back needs.

    Args:
        three: Queries, keys and values, `(frames, 3, heads, channels)`, contiguous.
        borders: Where rows begin and end, int32 `(rows + 1,)`.
        longest: Frames of a row at most.

    Returns:
        `(frames, heads, channels)`, and the logarithm of the sum of each frame's scores,
        float32 `(heads, frames)`.
    """
    frames, _, heads, size = three.shape
    out = three.new_empty(frames, heads, size)
    levels = torch.empty(heads, frames, dtype=torch.float32, device=three.device)
    _run(_hear, FORWARD, three, borders, longest, three, out, levels, borders, frames, size**-0.5 * _LOG2_E)
    return out, levels


def hear_backward(
    gradient: Tensor, three: Tensor, out: Tensor, levels: Tensor, borders: Tensor, longest: int
) -> Tensor:
    """Return the gradient of queries, keys and values, `(frames, 3, heads, channels)`.

    Args:
        gradient: Of what `hear` gave, `(frames, heads, channels)`, contiguous.
        three: What it was given.
        out: What it gave.
        levels: The second thing that it gave.
        borders: As there.
        longest: As there.
    """
    frames, size = three.shape[0], three.shape[3]
    found, deltas = torch.empty_like(three), torch.empty_like(levels)
    scale = size**-0.5
    factor = scale * _LOG2_E
    rows = (three, borders, longest)
    _run(
        _to_queries, QUERIES, *rows,
        three, out, levels, gradient, deltas, found, borders, frames, factor, scale,
    )  # fmt: skip
    _run(_to_keys, KEYS, *rows, three, levels, gradient, deltas, found, borders, frames, factor, scale)
    return found
