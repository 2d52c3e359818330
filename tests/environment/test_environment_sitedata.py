"""The cache of seeded data."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import commands, layout, sitedata
from rehearsal.environment.errors import EnvironmentFault
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


def test_the_digest_changes_with_the_size_of_the_history(tools: Tools) -> None:
    histories = [
        None,
        *(sitedata.History(items=items, object_bytes=size) for items in (2004, 4) for size in (None, 4096)),
    ]
    assert len({sitedata.digest(tools, history) for history in histories}) == len(histories)
    assert sitedata.digest(tools, sitedata.History()) == sitedata.digest(tools)


def test_what_is_cached_is_not_made_again(tools: Tools) -> None:
    made = layout.cache_folder() / "data" / sitedata.digest(tools)
    made.mkdir(parents=True)
    said: list[str] = []
    assert sitedata.ensure(tools, (), said.append) == made
    assert said == []


LARGE = sitedata.History(items=100_000, object_bytes=4096)


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(sitedata.History(), ["a", "b", "c", "large", "older"]), (LARGE, ["a", "b", "c", "d", "e"])],
)
def test_half_made_sets_and_all_but_the_last_used_of_this_size_are_cleared(
    tmp_path: Path, wanted: sitedata.History, left: list[str]
) -> None:
    for age, name in enumerate(("a", "b", "c", "d", "e", "large", "older")):
        (tmp_path / name).mkdir()
        if name in {"large", "older"}:
            (tmp_path / name / "history.json").write_text(json.dumps(dataclasses.asdict(LARGE)))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / ".making-x").mkdir()
    (tmp_path / ".lock").touch()
    sitedata._clear(tmp_path, wanted)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", *left]


def test_a_disk_that_is_too_small_is_said_before_anything_is_made(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(EnvironmentFault, match=r"100000 items of 4096 bytes may need 2\.5 GB") as caught:
        sitedata.ensure(tools, (), [].append, LARGE)
    assert "0.0 GB free" in caught.value.seen


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
