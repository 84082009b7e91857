"""Files of tensors read without a copy: as the library reads them; what it refuses is never taken."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from mms_adapt.tensor_file import Views, views

TENSORS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([7.0, -1.0]), "c": torch.ones(1)}


def held(content: bytes) -> memoryview:
    return memoryview(np.frombuffer(content, np.uint8).copy())


def made(header: Any, numbers: int = 4) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(4 * numbers)


def entry(first: int, stop: int, *shape: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, stop]}


def test_what_the_library_reads_is_the_same() -> None:
    for metadata in (None, {"format": "pt"}):
        content = save(TENSORS, metadata)
        found = views(held(content))
        assert found is not None and found.keys() == TENSORS.keys()
        assert all(torch.equal(one, found[name]) for name, one in load(content).items())
        assert len({one.untyped_storage().data_ptr() for one in found.values()}) == 1  # nothing was copied


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_none_is_seen_wherever_it_stands(bad: float) -> None:
    numbers = torch.full((100,), 3e38)  # whose squares and sums are too large
    numbers[1::2] *= -1
    shapes = {"a": (10, 5), "b": (50,)}
    assert Views(numbers, shapes).finite and Views(torch.empty(0), {}).finite
    for place in range(100):
        spoilt = numbers.clone()
        spoilt[place] = bad
        assert not Views(spoilt, shapes).finite, place


def test_on_another_device_they_are_the_same_by_one_transfer() -> None:
    found = views(held(save(TENSORS)))
    assert found is not None
    there = found.to(torch.device("meta"))
    assert [(name, one.shape, one.stride()) for name, one in there.items()] == [
        (name, one.shape, one.stride()) for name, one in found.items()
    ]
    assert all(one.device.type == "meta" for one in there.values())
    again = Views(found.whole.clone(), found.shapes)
    assert all(torch.equal(one, again[name]) for name, one in found.items())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"1234567", made({}), made([]), made(b"{"), made({"a": entry(0, 16, 4)})[:-1],
        made({"a": entry(0, 16, 4)}) + b"1", made({"a": entry(0, 12, 3)}), made({"a": entry(4, 16, 3)}),
        made({"a": entry(0, 16, 3)}), made({"a": entry(0, 8, 2), "b": entry(4, 16, 3)}),
        made({"a": entry(0, 16, -4)}), made({"a": entry(0, 16, 4.0)}), made({"a": entry(0, 16, True, 4)}),
        made({"a": {**entry(0, 16, 4), "more": 1}}), made({"a": {"dtype": "F32", "shape": [4]}}),
        made({"a": entry(0, 16, 8, dtype="F16")}), made({"a": 1}), made({"a": entry(0, "16", 4)}),
        made({"\ud800": entry(0, 16, 4)}), made({"__metadata__": {"a": float("nan")}, "a": entry(0, 16, 4)}),
        struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", 2) + b"{}",
        made(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[2,2],'
             b'"data_offsets":[0,16]}}'),
        made(b'{"a":{"dtype":"F32","shape":[2],"shape":[4],"data_offsets":[0,16]}}'),
        made(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[-0,16]}}'),
        made({"__metadata__": {"a": "\ud800"}, "a": entry(0, 16, 4)}),
        made(b'{"__metadata__":1,"__metadata__":{},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_library(content: bytes) -> None:
    assert views(held(content)) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_the_library_refuses_is_never_taken(data: st.DataObject) -> None:
    """Files with some bytes changed, cut or doubled: whatever is taken, the library takes and reads alike."""
    content = bytearray(save(TENSORS))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["set", "digit", "cut", "twice"]))
        if how == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif how == "digit":
            content[place] = ord(data.draw(st.sampled_from('0123456789,"[]{}')))
        elif how == "cut":
            del content[place : place + data.draw(st.integers(1, 8))]
        else:
            content[place:place] = content[place : place + data.draw(st.integers(1, 8))]
        if not content:
            return
    found = views(held(bytes(content)))
    if found is None:
        return
    try:
        expected = load(bytes(content))
    except (SafetensorError, ValueError, KeyError) as reason:
        raise AssertionError(f"the library refuses it: {reason}") from reason
    assert found.keys() == expected.keys()
    assert all(found[name].numpy().tobytes() == one.numpy().tobytes() for name, one in expected.items())


LAYERS = 12
PARTS = {"up": (2, 2), "down": (3,)}


def in_layers(order: list[int], gap: int | None = None) -> tuple[Views, list[list[str]]]:
    """Layers in some order behind a head, and what is asked for; something may lie between two of them."""
    shapes: dict[str, tuple[int, ...]] = {"head": (3,)}
    for place, layer in enumerate(order):
        shapes |= {f"{layer}.{part}": shape for part, shape in PARTS.items()}
        if place == gap:
            shapes["between"] = (1,)
    count = sum(math.prod(one) for one in shapes.values())
    return Views(torch.arange(float(count)), shapes), [[f"{n}.down", f"{n}.up"] for n in range(LAYERS)]


def test_layers_that_lie_alike_come_together_in_the_order_asked_for() -> None:
    for order in (list(range(LAYERS)), sorted(range(LAYERS), key=str), list(range(LAYERS))[::-1]):
        held, names = in_layers(order)
        found = held.together(names)
        assert found is not None and [one.shape for one in found] == [(LAYERS, 3), (LAYERS, 2, 2)]
        for part, together in enumerate(found):
            assert torch.equal(together, torch.stack([held[each[part]] for each in names]))
    held, names = in_layers(list(range(LAYERS)))
    some = held.together(names[3:5])  # those of the topmost layers, where the rest is asked for apart
    assert some is not None and torch.equal(some[1], torch.stack([held["3.up"], held["4.up"]]))


def test_layers_that_do_not_lie_alike_do_not_come_together() -> None:
    held, names = in_layers(list(range(LAYERS)), gap=5)
    assert held.together(names) is None
    held, names = in_layers(list(range(LAYERS)))
    assert held.together([names[0], names[1][::-1]]) is None  # parts of other shapes
    assert held.together([names[0], names[2]]) is None  # a layer between them
    assert held.together([names[0], names[0]]) is None
    assert held.together([each[:1] for each in names]) is None  # a part of each
    shapes = {"0.a": (2,), "0.b": (2,), "1.b": (2,), "1.a": (2,)}
    assert Views(torch.arange(8.0), shapes).together([["0.a", "0.b"], ["1.a", "1.b"]]) is None
    assert Views(torch.empty(0), {"0.a": (0,), "1.a": (0,)}).together([["0.a"], ["1.a"]]) is None
