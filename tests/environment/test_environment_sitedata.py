"""The cache of seeded data."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from rehearsal.environment import commands, layout, sitedata
from rehearsal.environment.errors import EnvironmentFault, PartFailed
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


@pytest.mark.parametrize(
    ("items", "object_bytes", "said"),
    [
        (0, None, "--items a multiple of 4"),
        (-4, None, "--items a multiple of 4"),
        (6, None, "--items a multiple of 4"),
        (1_000_004, None, "4 to 1000000"),
        (8, 4095, "--object-bytes 4096 to 65536"),
        (None, 65537, "--object-bytes 4096 to 65536"),
    ],
)
def test_a_history_that_cannot_be_made_is_wrong_input(items: int | None, object_bytes: int | None, said: str) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        sitedata.History.wanted(items, object_bytes)
    assert caught.value.exit_code == 2
    assert said in caught.value.do


@pytest.mark.parametrize(
    ("items", "object_bytes", "wanted"),
    [
        (None, None, None),
        (100_000, 4096, sitedata.History(items=100_000, object_bytes=4096)),
        (None, 4096, sitedata.History(items=sitedata.ITEMS, object_bytes=4096)),
        (8, None, sitedata.History(items=8)),
    ],
)
def test_a_history_is_what_was_asked_for(
    tmp_path: Path, items: int | None, object_bytes: int | None, wanted: sitedata.History | None
) -> None:
    assert sitedata.History.wanted(items, object_bytes) == wanted
    (wanted or sitedata.History()).write(tmp_path)
    assert sitedata.History.read(tmp_path) == (wanted or sitedata.History())


def test_a_set_may_take_longer_and_more_room_the_more_items_it_has() -> None:
    small, large = sitedata.History(), sitedata.History(items=100_000, object_bytes=65536)
    assert large.bound_s - small.bound_s == pytest.approx(980)
    assert large.disk_bytes > 100_000 * 65536 * 2 > small.disk_bytes


def test_only_what_decides_the_bytes_is_in_the_digest() -> None:
    """Whatever seeding imports of the platform is in `core`, which the digest covers with `seed.py` itself."""
    tree = ast.parse((layout.PROJECT / "rehearsal" / "platform" / "app" / "seed.py").read_text())
    ours = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in ours if name.startswith("rehearsal.")} == {
        "rehearsal.platform.core",
        "rehearsal.platform.core.settings",
        "rehearsal.platform.core.store",
    }


def test_what_the_seeding_says_is_passed_on(place: layout.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitedata, "_LOOK_S", 0.01)
    place.logs().mkdir()
    script = 'printf "one\\ntwo\\npart" > "$0"; sleep 0.3; exit 7'
    holder = subprocess.Popen(["sh", "-c", script, str(place.logs("seed"))])
    said: list[str] = []
    assert sitedata._attend(holder, place, sitedata.History(), said.append) == 7
    assert said == ["  one", "  two"]


def test_a_set_that_takes_too_long_is_given_up(place: layout.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitedata, "_LOOK_S", 0.01)
    monkeypatch.setattr(sitedata, "_BOUND_S", -1000.0)
    holder = subprocess.Popen(["sleep", "60"])
    with pytest.raises(PartFailed, match="was not made within"):
        sitedata._attend(holder, place, sitedata.History(), [].append)
    holder.kill()
    holder.wait()


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
            LARGE.write(tmp_path / name)
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
    assert known.dsn("x", host="h") == f"postgresql://stellaops:{quote(known.password, safe='')}@h:5432/x"
    assert known.dsn("x", admin=True).startswith(f"postgresql://postgres:{quote(known.admin_password, safe='')}@")


def test_the_end_of_a_log_is_told_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"{number}\n" for number in range(20)))
    assert commands.tail(log, 2) == "18\n19"
    assert commands.tail(tmp_path / "none.log") == ""
