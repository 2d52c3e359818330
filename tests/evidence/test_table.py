"""The table of hashes: a dictionary with gaps, whatever the order; roots over its first cells in any order."""

from __future__ import annotations

import os
import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.evidence._table import HashTable, RootCursor
from tests.evidence import reference

LIMIT = 40_000


def hashed(index: int) -> bytes:
    return sha256(b"%d" % index).digest()


@settings(max_examples=40)
@given(st.lists(st.integers(0, LIMIT - 1), max_size=200), st.integers(0, LIMIT), st.integers(0, LIMIT + 5))
def test_a_table_is_a_dictionary(indexes: list[int], start: int, end: int):
    """More pages than are kept, in any order: every cell once, gaps as None."""
    expected: dict[int, bytes] = {}
    with HashTable(LIMIT) as table:
        for index in indexes:
            assert table.put(index, hashed(index)) == (index not in expected)
            expected[index] = hashed(index)
        read = list(table.cells(start, end))
    assert read == [expected.get(index) for index in range(start, min(end, LIMIT))]


def test_cells_can_be_set_after_they_were_read():
    with HashTable(10) as table:
        assert table.put(3, hashed(3))
        assert list(table.cells(3, 5)) == [hashed(3), None]
        assert table.put(4, hashed(4))
        assert not table.put(3, hashed(4))
        assert list(table.cells(3, 5)) == [hashed(3), hashed(4)]


@pytest.mark.parametrize("index", [-1, 10, 2**70])
def test_an_index_outside_the_table_is_not_set(index: int):
    with HashTable(10) as table:
        assert not table.put(index, hashed(1))
        assert set(table.cells()) == {None}


@given(st.integers(0, 60), st.lists(st.integers(-1, 70), max_size=12))
def test_roots_in_any_order(gap: int, sizes: list[int]):
    """A root is over its own cells, whatever was asked before; none where a cell is missing."""
    leaves = [hashed(index) for index in range(60)]
    with HashTable(60) as table:
        for index, leaf in enumerate(leaves):
            assert index == gap or table.put(index, leaf)
        cursor = RootCursor(table)
        for size in sizes:
            is_whole = 0 <= size <= 60 and (gap >= size)
            assert cursor.root_at(size) == (reference.root(leaves[:size]) if is_whole else None)


def test_memory_does_not_grow_with_the_cells():
    peaks = []
    for count in (10_000, 80_000):
        tracemalloc.start()
        with HashTable(count) as table:
            for index in range(count):
                table.put(index, b"%032d" % index)
            RootCursor(table).root_at(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_full_disk_is_an_error_of_the_put(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    pages = range(0, 1 << 30, 1 << 20)
    with HashTable(1 << 32) as table, pytest.raises(OSError, match="No space"):
        all(table.put(index, hashed(index)) for index in pages)
