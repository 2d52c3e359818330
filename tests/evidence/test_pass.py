"""A pass that may end at any moment: taken up where it was, with the bytes that it would have had."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover.evidence import snapshot, trust
from cutover.evidence.errors import EvidenceError
from cutover.evidence.leaves import timestamp
from cutover.evidence.sources import RowList
from tests.evidence.world import LOG_KEY, STRANGER, TRUST, World, item, trust_file

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
NAMES = ("checkpoint.txt", "findings.jsonl", "lines.jsonl", "manifest.json")


@pytest.fixture(scope="module")
def world() -> World:
    """Make a site of 400 items, one of them altered, one gone."""
    world = World.of(100)
    world.objects[world.rows[7].object_key] += b"!"
    del world.objects[world.rows[333].object_key]
    return world


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a pass that nothing interrupted."""
    return files(world.snapshot(tmp_path_factory.mktemp("whole") / "s"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Failing:
    """A store that stops answering after some contents."""

    def __init__(self, world: World, after: int) -> None:
        self.world, self.left = world, after

    def open(self, key: str) -> Iterable[bytes]:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError(key)
        return self.world.open(key)


def interrupt(world: World, folder: Path, *, after: int) -> None:
    with pytest.raises(ConnectionError):
        snapshot.take(RowList(world.rows), Failing(world, after), folder, trust=TRUST, log=world, readers=1)


@pytest.mark.parametrize("after", [0, 1, 127, 128, 129, 300, 398])
def test_an_interrupted_pass_gives_the_bytes_of_a_whole_one(
    after: int, world: World, whole: dict[str, bytes], tmp_path: Path
):
    interrupt(world, tmp_path, after=after)
    assert "manifest.json" not in files(tmp_path)
    assert files(world.snapshot(tmp_path)) == whole


@pytest.mark.parametrize("where", ["_pass.ItemFinding", "snapshot.RootCursor"])
def test_a_stop_between_an_item_and_its_findings_loses_none(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Ctrl-C comes at any moment: a line is never kept without its findings, nor are the last findings kept twice."""
    world = World.of(3)
    del world.objects[world.rows[7].object_key]
    world.notes = ["rubbish"]
    whole = files(world.snapshot(tmp_path / "whole"))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"cutover.evidence.{where}", stop)
        with pytest.raises(KeyboardInterrupt):
            world.snapshot(tmp_path / "s")
    assert files(world.snapshot(tmp_path / "s")) == whole


def test_what_is_durable_is_not_read_again(world: World, tmp_path: Path):
    interrupt(world, tmp_path, after=260)
    again = Failing(world, 400 - 256)  # the first two batches of 128 were kept
    snapshot.take(RowList(world.rows), again, tmp_path, trust=TRUST, log=world, readers=1)
    assert again.left == 0


def test_a_pass_may_be_interrupted_again_and_again(world: World, whole: dict[str, bytes], tmp_path: Path):
    for _ in range(3):
        interrupt(world, tmp_path, after=130)
    assert files(world.snapshot(tmp_path)) == whole


def test_items_made_meanwhile_belong_to_the_next_snapshot(tmp_path: Path):
    """The last id is fixed when a pass begins, and so is the log's checkpoint."""
    world = World.of(40)
    expected = files(world.snapshot(tmp_path / "whole"))
    interrupt(world, tmp_path / "s", after=130)
    world.scan()
    assert files(world.snapshot(tmp_path / "s")) == expected


@pytest.mark.parametrize(
    ("name", "tear"),
    [
        ("pass.jsonl", lambda raw: raw + b'{"lines_bytes": 12'),
        ("pass.jsonl", lambda raw: raw[:-3]),
        ("pass.jsonl", lambda raw: raw[: raw.index(b"\n") - 4]),
        ("lines.partial", lambda raw: raw[:-10]),
        ("lines.partial", lambda raw: raw + b'{"id": "torn'),
        ("lines.partial", lambda _raw: b""),
        ("findings.partial", lambda raw: raw + b"{"),
    ],
    ids=["torn mark", "cut mark", "cut header", "lines cut", "lines torn", "lines empty", "findings torn"],
)
def test_torn_files_cost_work_and_nothing_else(
    name: str, tear: object, world: World, whole: dict[str, bytes], tmp_path: Path
):
    """What a power cut may leave: the end of each file is anything."""
    interrupt(world, tmp_path, after=300)
    path = tmp_path / name
    path.write_bytes(tear(path.read_bytes()))  # type: ignore[operator]
    assert files(world.snapshot(tmp_path)) == whole


@pytest.mark.parametrize(
    "content", [b"rubbish\n", b'{"schema": "other"}\n', b'{"schema": "cutover/evidence-pass/v1"}\n']
)
def test_a_journal_that_is_none_is_refused(content: bytes, world: World, tmp_path: Path):
    interrupt(world, tmp_path, after=300)
    (tmp_path / "pass.jsonl").write_bytes(content)
    with pytest.raises(EvidenceError) as refused:
        world.snapshot(tmp_path)
    assert refused.value.code == "snapshot-malformed"


def test_a_pass_over_another_site_or_trust_root_is_not_gone_on_with(world: World, tmp_path: Path):
    interrupt(world, tmp_path, after=300)
    other = trust.parse(trust_file(STRANGER, LOG_KEY))
    for arguments in ({"trust": other}, {"trust": TRUST, "site": "another"}):
        with pytest.raises(EvidenceError) as refused:
            snapshot.take(RowList(world.rows), world, tmp_path, log=world, **arguments)  # type: ignore[arg-type]
        assert refused.value.code == "pass-differs"


def test_a_pass_that_began_long_ago_is_not_gone_on_with(world: World, tmp_path: Path):
    """What it had read then says nothing of the site as it is."""
    interrupt(world, tmp_path, after=300)
    path = tmp_path / "pass.jsonl"
    header, marks = path.read_text(encoding="utf-8").split("\n", 1)
    old = timestamp(datetime.now(UTC) - snapshot.MAX_AGE - timedelta(minutes=1))
    path.write_text(json.dumps(json.loads(header) | {"begun": old}) + "\n" + marks, encoding="utf-8")
    with pytest.raises(EvidenceError) as refused:
        world.snapshot(tmp_path)
    assert (refused.value.code, refused.value.actual) == ("pass-old", old)


def test_two_passes_do_not_share_a_folder(world: World, tmp_path: Path):
    interrupt(world, tmp_path, after=300)
    with (tmp_path / "pass.jsonl").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EvidenceError) as refused:
            world.snapshot(tmp_path)
    assert refused.value.code == "snapshot-busy"


class Slow:
    """A store that takes its time; pickles, so that other processes read it too."""

    def __init__(self, world: World, delay_s: float = 0.004) -> None:
        self.world, self.delay_s = world, delay_s

    def open(self, key: str) -> Iterable[bytes]:
        time.sleep(self.delay_s)
        return self.world.open(key)


_TAKING = """
import sys
from pathlib import Path
from tests.evidence import test_pass
test_pass.take_slowly(Path(sys.argv[1]))
"""


def take_slowly(folder: Path) -> None:
    """Take the snapshot in this process, slowly: the body of the process that is killed."""
    world = World.of(100)
    world.objects[world.rows[7].object_key] += b"!"
    del world.objects[world.rows[333].object_key]
    snapshot.take(RowList(world.rows), Slow(world), folder, trust=TRUST, log=world, readers=1)


def test_a_killed_pass_gives_the_bytes_of_a_whole_one(world: World, whole: dict[str, bytes], tmp_path: Path):
    """Kill -9, as often as it takes to have some of it done and some not."""
    command = [sys.executable, "-c", _TAKING, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    with subprocess.Popen(command, env=environment, cwd=ROOT) as taking:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not done_bytes(tmp_path):
            time.sleep(0.01)
        taking.send_signal(signal.SIGKILL)
    assert taking.returncode == -signal.SIGKILL
    assert 0 < done_bytes(tmp_path) < len(whole["lines.jsonl"])
    assert files(world.snapshot(tmp_path)) == whole


def done_bytes(folder: Path) -> int:
    """Return how much the journal says is durable."""
    path = folder / "pass.jsonl"
    marks = path.read_bytes().splitlines()[1:] if path.exists() else []
    return max((json.loads(mark)["lines_bytes"] for mark in marks if mark.endswith(b"}")), default=0)


def test_processes_give_the_bytes_of_threads(world: World, whole: dict[str, bytes], tmp_path: Path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        workers = snapshot.Workers(executor=pool, count=2)
        snapshot.take(RowList(world.rows), world, tmp_path, trust=TRUST, log=world, workers=workers)
    assert files(tmp_path) == whole


def test_a_refusal_in_a_worker_is_the_refusal_here(tmp_path: Path):
    """What a store raises in another process arrives with its facts."""
    world = World.of(2)
    rows = RowList([replace(row, object_key="refused") for row in world.rows])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        workers = snapshot.Workers(executor=pool, count=1)
        with pytest.raises(EvidenceError) as refused:
            snapshot.take(rows, Refusing(), tmp_path, trust=TRUST, workers=workers)
    assert (refused.value.code, refused.value.item, refused.value.actual) == ("blob-missing", item(1), "f" * 200 + CUT)


CUT = "… (300 characters)"


class Refusing:
    """A store that refuses in the library's own words."""

    def open(self, key: str) -> bytes:
        raise EvidenceError("blob-missing", item(1), expected=key, actual="f" * 300)
