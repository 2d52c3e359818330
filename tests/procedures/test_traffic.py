"""Acknowledged writes against the database (3.2, 4.2a, 5.2a)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cutover.errors import ClauseFailed
from steps import traffic as steps


def check(
    acknowledged: list[int], present: list[int], asked: list[str], written: list[dict[str, Any]] | None = None
) -> None:
    written = [] if written is None else written

    def markers() -> tuple[str, list[int]]:
        asked.append("load")
        return "run", acknowledged

    def rows(_run: str) -> list[int]:
        asked.append("database")
        return present

    site: Any = SimpleNamespace(database=SimpleNamespace(markers=rows))
    load: Any = SimpleNamespace(markers=markers)
    journal: Any = SimpleNamespace(write=lambda *_, **facts: written.append(facts))
    upgrade: Any = SimpleNamespace(journal=journal)
    steps.writes_there(site, upgrade, load)


def test_a_write_acknowledged_while_it_is_checked_is_no_loss() -> None:
    asked: list[str] = []
    written: list[dict[str, Any]] = []
    check([1, 2], [1, 2, 3], asked, written)
    assert asked == ["load", "database"]
    assert written == [{"run": "run", "acknowledged": 2, "missing": (), "repeated": ()}]


@pytest.mark.parametrize(("acknowledged", "present"), [([1, 2], [1]), ([1, 2], [1, 2, 2]), ([], [])])
def test_a_lost_or_doubled_write_or_none_at_all_is_refused(acknowledged: list[int], present: list[int]) -> None:
    with pytest.raises(ClauseFailed) as caught:
        check(acknowledged, present, [])
    assert caught.value.code == "writes-lost"
