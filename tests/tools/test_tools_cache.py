"""Stamps, atomic publishing, leftovers and locks of the user cache."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from rehearsal.tools.cache import STAMP, Cache, remove_tree
from rehearsal.tools.catalogue import Unit
from rehearsal.tools.errors import CacheUnusableError, NoSpaceError
from rehearsal.tools.provision import select

Publish: TypeAlias = Callable[..., None]


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/cutover/tools"),
        ({"HOME": "/h"}, "/h/.cache/cutover/tools"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/cutover/tools"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/cutover/tools"),
    ],
)
def test_the_cache_is_where_the_xdg_specification_puts_it(environment: dict[str, str], root: str) -> None:
    assert Cache.locate(environment).root == Path(root)


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"XDG_CACHE_HOME": "x", "HOME": "y"}])
def test_no_home_is_one_clear_error(environment: dict[str, str]) -> None:
    with pytest.raises(CacheUnusableError, match="XDG_CACHE_HOME"):
        Cache.locate(environment)


def test_a_file_in_the_way_of_the_cache_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cutover").write_text("", encoding="utf-8")
    with pytest.raises(CacheUnusableError, match=str(tmp_path)):
        Cache.locate({"XDG_CACHE_HOME": str(tmp_path)}).prepare()


def test_what_is_published_is_complete_and_intact(cache: Cache, nginx: Unit, publish: Publish) -> None:
    assert not cache.is_complete(nginx)
    publish(nginx)
    assert cache.is_complete(nginx)
    assert cache.damage(nginx) == ()
    stamp = cache.stamp(nginx)
    assert stamp is not None
    assert set(stamp.files) == {"bin/nginx", "share/data"}
    assert list((cache.root / ".staging").iterdir()) == []


def _grow(program: Path) -> None:
    program.write_text("longer than before\n", encoding="utf-8")


def _same_size(program: Path) -> None:
    text = program.read_text(encoding="utf-8")
    program.write_text(text[::-1], encoding="utf-8")
    os.utime(program, ns=(1, 1))


@pytest.mark.parametrize("spoil", [_grow, _same_size, Path.unlink, lambda program: program.chmod(0o644)])
def test_a_spoilt_program_is_noticed_on_use(
    cache: Cache, nginx: Unit, publish: Publish, spoil: Callable[[Path], None]
) -> None:
    publish(nginx)
    spoil(cache.folder(nginx) / "bin" / "nginx")
    assert not cache.is_complete(nginx)


def test_a_changed_byte_with_size_and_time_kept_is_found_by_the_full_check(
    cache: Cache, nginx: Unit, publish: Publish
) -> None:
    publish(nginx)
    program = cache.folder(nginx) / "bin" / "nginx"
    status = program.stat()
    program.write_text("#!/bin/SH\n", encoding="utf-8")
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.is_complete(nginx)
    (damage,) = cache.damage(nginx)
    assert "bin/nginx" in damage
    assert "expected" in damage
    cache.discard_stamp(nginx)
    assert not cache.is_complete(nginx)


def test_a_copied_cache_is_taken_over_by_its_digests(cache: Cache, nginx: Unit, publish: Publish) -> None:
    publish(nginx)
    folder = cache.folder(nginx)
    shutil.copytree(folder, folder.with_name("copy"), copy_function=shutil.copy)
    remove_tree(folder)
    folder.with_name("copy").rename(folder)
    before = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    assert cache.is_complete(nginx)
    after = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    assert after["made_at"] == before["made_at"]
    assert after["files"]["bin/nginx"]["mtime_ns"] == (folder / "bin" / "nginx").stat().st_mtime_ns


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}', '{"schema": "cutover/tools/stamp/v1"}'])
def test_a_stamp_that_cannot_be_read_counts_as_none(cache: Cache, nginx: Unit, publish: Publish, text: str) -> None:
    publish(nginx)
    (cache.folder(nginx) / STAMP).write_text(text, encoding="utf-8")
    assert cache.stamp(nginx) is None
    assert not cache.is_complete(nginx)


def test_an_interruption_publishes_nothing_and_leaves_nothing(cache: Cache, nginx: Unit) -> None:
    def interrupted() -> None:
        with cache.staging(nginx) as staging:
            (staging / "content").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not cache.folder(nginx).exists()
    assert list((cache.root / ".staging").iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(cache: Cache, nginx: Unit, publish: Publish) -> None:
    leftover = cache.root / ".staging" / f"{nginx.folder_name}.abcd" / "content"
    leftover.mkdir(parents=True)
    leftover.chmod(0o500)
    (leftover.parent / "x").write_text("", encoding="utf-8")
    publish(nginx)
    assert not leftover.parent.exists()


def test_publishing_replaces_what_was_there(cache: Cache, nginx: Unit, publish: Publish) -> None:
    publish(nginx, text="#!/bin/sh\n# old\n")
    publish(nginx, text="#!/bin/sh\n# new\n")
    assert "new" in (cache.folder(nginx) / "bin" / "nginx").read_text(encoding="utf-8")
    assert cache.is_complete(nginx)


def test_a_held_lock_is_waited_for_and_its_holder_named(cache: Cache) -> None:
    told: list[str] = []
    order: list[str] = []
    waiting = threading.Event()

    def tell(who: str) -> None:
        told.append(who)
        waiting.set()

    def second() -> None:
        with cache.locked("x", waiting=tell):
            order.append("second")

    with cache.locked("x", waiting=told.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert told == [f"process {os.getpid()}"]


def test_a_lock_ends_with_its_process(cache: Cache) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom rehearsal.tools.cache import Cache\n"
        "with Cache(root=Path(sys.argv[1])).locked('x', waiting=print):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(cache.root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(KeyboardInterrupt), cache.locked("x", waiting=str, cancelled=lambda: True):
            pass
        process.kill()
        process.wait()
        told: list[str] = []
        with cache.locked("x", waiting=told.append):
            pass
    assert told == []


def test_locks_of_different_names_do_not_meet(cache: Cache) -> None:
    told: list[str] = []
    with cache.locked("x", waiting=told.append), cache.locked("y", waiting=told.append):
        pass
    assert told == []


def test_too_little_room_is_said_with_both_numbers(cache: Cache) -> None:
    with pytest.raises(NoSpaceError, match=r"needs about \d+\.\d GB in .*, and \d+\.\d GB are free"):
        cache.require_space(10**18, purpose="a test")
    cache.require_space(1, purpose="a test")


def test_a_unit_without_programs_is_judged_by_its_files(cache: Cache) -> None:
    (unit,) = select(["gateway-api"])
    with cache.staging(unit) as staging:
        manifests = staging / "content" / unit.programs["gateway-api-crds"]
        manifests.mkdir(parents=True)
        (manifests / "routes.yaml").write_text("kind: CustomResourceDefinition\n", encoding="utf-8")
        cache.publish(unit, staging / "content", made_by="a test")
    assert cache.is_complete(unit)
    (cache.folder(unit) / "crds" / "routes.yaml").write_text("kind: Something else\n", encoding="utf-8")
    assert not cache.is_complete(unit)
    (cache.folder(unit) / "crds" / "routes.yaml").unlink()
    assert not cache.is_complete(unit)
