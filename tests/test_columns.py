"""Many utterances in little memory: the table on disk, hashes of ids, and what a longer manifest takes."""

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mms_adapt import columns, disjoint, manifest, splits
from mms_adapt.columns import Columns
from mms_adapt.errors import ManifestError, SplitError
from mms_adapt.manifest import Utterance
from mms_adapt.seen import Seen

KINDS = {"number": "i", "seconds": "d", "hash": "Q"}
TEXTS = ["b", "a", "é", "z", "\U00010348", "\ue000", "a\0", "", "\ud800", "a", "B"]


def rows(count: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    draw = random.Random(0)
    for number in draw.sample(range(count), count):
        yield f"u{number}", (number, number / 3, (1 << 63) + number)


def utterances(count: int) -> Iterator[Utterance]:
    draw = random.Random(0)
    for number in range(count):
        said = f"line {draw.randrange(10 * count)} or so"
        yield Utterance(f"u-{number:06d}", f"{number:06d}.wav", 0.0, 3.0, said, "xho", f"s{number % 50}",
                        reference=said)  # fmt: skip


def test_columns_are_in_the_order_of_their_texts() -> None:
    count = 20_000
    with Columns(KINDS, rows(count)) as found:
        texts = sorted(f"u{number}" for number in range(count))
        assert len(found) == count and list(found.texts()) == texts
        numbers = [int(text[1:]) for text in texts]
        assert found["number"].tolist() == numbers and found["number"].dtype == np.int32
        assert found["seconds"].tolist() == [number / 3 for number in numbers]
        assert found["hash"].tolist() == [(1 << 63) + number for number in numbers]
        found["hash"] = np.arange(count, dtype=np.int32)[::-1]
        assert found["hash"].tolist() == list(range(count))[::-1] and found["hash"].dtype == np.int32


def test_the_order_is_that_of_python_and_equal_texts_keep_theirs() -> None:
    with Columns({"number": "i"}, ((text, (number,)) for number, text in enumerate(TEXTS))) as found:
        assert list(found.texts()) == sorted(TEXTS)
        assert found["number"].tolist() == sorted(range(len(TEXTS)), key=TEXTS.__getitem__)
    with Columns({"number": "i"}, []) as found:
        assert len(found) == 0 and list(found.texts()) == [] and found["number"].shape == (0,)


def test_a_full_disk_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_SETTINGS", (*columns._SETTINGS, "max_page_count = 50"))
    with pytest.raises(
        SplitError, match=r"does not fit .*full.*: make room, or name another .*SQLITE_TMPDIR"
    ):
        splits.plan(utterances(5_000))


def test_an_error_on_the_way_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    manifest.write(path, [*utterances(3), *utterances(1)])
    with pytest.raises(ManifestError, match="stands in line 1 already"):
        splits.plan(manifest.read(path))


def test_texts_that_came_before_are_known() -> None:
    seen = Seen()
    texts = [f"u{number}" for number in range(20_000)]
    assert not any(map(seen.add, texts)) and all(map(seen.add, texts))


def test_ids_with_one_hash_are_two_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "add", lambda self, text: True)
    given = list(utterances(20))
    manifest.write(tmp_path / "m.jsonl", given)
    assert list(manifest.read(tmp_path / "m.jsonl")) == given
    manifest.write(tmp_path / "m.jsonl", [*given, given[7]])
    with pytest.raises(ManifestError, match=r"m\.jsonl:21: .* stands in line 8 already"):
        list(manifest.read(tmp_path / "m.jsonl"))


def test_draws_that_start_alike_are_told_apart_by_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"u{number}" for number in range(300)]
    whole = disjoint.draw_order(7, "sentence", lambda: names, len(names)).tolist()
    assert whole == sorted(range(300), key=lambda one: disjoint.draw(7, "sentence", names[one]))
    monkeypatch.setattr(disjoint, "_DRAW_BYTES", 1)
    assert disjoint.draw_order(7, "sentence", lambda: names, len(names)).tolist() == whole


def test_arrays_in_pieces_are_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given = list(utterances(600))
    random.Random(1).shuffle(given)
    for mode in ("speaker", "sentence"):
        whole = splits.plan(given, splits.SplitOptions(mode=mode))
        monkeypatch.setattr(disjoint, "_AT_A_TIME", 7)
        monkeypatch.setattr(columns, "_AT_A_TIME", 5)
        assert splits.plan(given, splits.SplitOptions(mode=mode)).places.tolist() == whole.places.tolist()
        monkeypatch.undo()


def peak(work: Callable[[], object]) -> int:
    """The most memory in bytes that Python and numpy held at once."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_an_utterance_more_takes_few_bytes() -> None:
    splits.plan(utterances(300))  # pays for what is imported
    less, more = (peak(lambda: splits.plan(utterances(count))) for count in (6_000, 16_000))  # noqa: B023
    grown = (more - less) / 10_000
    assert grown < 160, f"{grown:.0f} bytes an utterance; an id alone takes a hundred"


def test_an_id_that_was_seen_takes_few_bytes() -> None:
    seen = Seen()
    taken = peak(lambda: [None for number in range(30_000) if seen.add(f"u{number}")]) / 30_000
    assert taken < 24, f"{taken:.0f} bytes an id"
