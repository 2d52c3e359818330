"""The cache of seeded data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import commands, layout, sitedata
from rehearsal.environment.parts import Tools

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    programs = {name: str(tmp_path / name) for name in ("postgres", "weed")}
    for path in programs.values():
        with open(path, "w") as file:  # noqa: PTH123
            file.write("one")
    return Tools(programs=programs)


def test_the_digest_changes_with_the_servers(tools: Tools, tmp_path: Path) -> None:
    before = sitedata.digest(tools)
    assert before == sitedata.digest(tools)
    (tmp_path / "weed").write_text("another version")
    assert sitedata.digest(tools) != before


def test_the_digest_changes_with_the_size_of_the_history(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sitedata.digest(tools)
    monkeypatch.setattr(sitedata, "ITEMS", sitedata.ITEMS + 4)
    assert sitedata.digest(tools) != before


def test_what_is_cached_is_not_made_again(tools: Tools) -> None:
    made = layout.cache_folder() / "data" / sitedata.digest(tools)
    made.mkdir(parents=True)
    said: list[str] = []
    assert sitedata.ensure(tools, (), said.append) == made
    assert said == []


def test_half_made_sets_and_all_but_the_last_used_are_cleared(tmp_path: Path) -> None:
    for age, name in enumerate(("a", "b", "c", "d", "e")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / ".making-x").mkdir()
    (tmp_path / ".lock").touch()
    sitedata._clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a", "b", "c"]


def test_secrets_are_kept_for_their_owner_and_make_connection_urls(tmp_path: Path) -> None:
    known = sitedata.Secrets.fresh()
    known.write(tmp_path)
    assert sitedata.Secrets.read(tmp_path) == known
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert known.dsn("x", host="h") == f"postgresql://stellaops:{known.password}@h:5432/x"
    assert known.dsn("x", admin=True).startswith(f"postgresql://postgres:{known.admin_password}@")


def test_the_end_of_a_log_is_told_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"{number}\n" for number in range(20)))
    assert commands.tail(log, 2) == "18\n19"
    assert commands.tail(tmp_path / "none.log") == ""
