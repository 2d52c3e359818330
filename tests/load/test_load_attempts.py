"""The load of an upgrade that several processes worked on: what a killed one had written counts, and only that."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover import latency
from cutover.errors import CouldNotMeasure
from cutover.policy import Load
from cutover.runbook.journal import Journal
from cutover.site.load import LoadRunner
from cutover.site.measured import EarlierLoad, folder_of, read_earlier, run_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.load.conftest import BareHost

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Load(users=4, requests_per_s=80, write_share=0.3, scan_share=0.1, max_failed=0)


def second(number: int, *, failed: int = 0, phase: str = "prepare") -> str:
    """Return the line of the second that ends `number` seconds after the start."""
    facts = {
        "time": (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
        "elapsed_s": float(number),
        "users": 2,
        "attempted": 10,
        "failed": failed,
        "by_colour": {"blue": 9, "green": 1},
        "failed_by_colour": {"green": failed} if failed else {},
        "p50_ms": {},
        "p99_ms": {},
        "reads": 8,
        "writes": 2,
        "scans": 1,
        "planned": 12.0,
        "phase": phase,
        "failures": [],
        "workers": 1,
        "workers_lost": [],
    }
    return json.dumps(facts)


def marker(number: int, run: str = "load-u") -> str:
    return json.dumps({"run": run, "number": number, "time": "2026-01-01T00:00:01Z"})


def probed(number: int, ms: float = 2.0, error: str = "") -> str:
    facts = {"n": number, "ms": ms, "late_ms": 0.1, "status": 500 if error else 200, "colour": "blue", "error": error}
    return json.dumps(facts)


def killed(load: Path, attempt: int = 1) -> Path:
    """Write what a load leaves behind whose harness was killed in the middle of a line, and return its folder."""
    folder, run = folder_of(load, attempt), run_of("u", attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requests.jsonl").write_text(
        "\n".join([second(1), second(2, failed=1), second(3, phase="weight-10"), second(4)[:40]])
    )
    (folder / "markers.jsonl").write_text(
        "\n".join([*(marker(number, run) for number in (1, 2, 3)), marker(4, run)[:20]])
    )
    # Ten a second: 0 to 4 answered, 5 refused, 6 has no line, 7 was answered 100 ms after it was due.
    lines = [json.dumps({"start": START.timestamp(), "requests_per_s": 10.0}), *(probed(number) for number in range(5))]
    lines += [probed(5, error="status 500"), probed(7, 100.0), probed(8)[:10]]
    (folder / "probe.jsonl").write_text("\n".join(lines))
    return folder


def test_what_a_killed_load_had_written_counts_and_is_summed_up(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    earlier = EarlierLoad.read(folder, run="load-u", probe_timeout_s=2.0)
    totals = earlier.measured.tally.totals()
    assert (totals.attempted, totals.failed, totals.seconds, totals.planned) == (30, 1, 3.0, 36.0)
    assert earlier.measured.acknowledged == [1, 2, 3]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["attempted"], summary["failed"], summary["complete"]) == (30, 1, False)
    phases = json.loads((folder / "phases.json").read_text())["phases"]
    assert [(one["phase"], one["attempted"]) for one in phases] == [("prepare", 20), ("weight-10", 10)]
    for name, lines in (("requests.jsonl", 3), ("markers.jsonl", 3), ("probe.jsonl", 8)):
        content = (folder / name).read_bytes()
        assert content.endswith(b"\n")
        assert content.count(b"\n") == lines
    again = EarlierLoad.read(folder, run="load-u", probe_timeout_s=2.0)
    assert (again.measured.tally.totals().attempted, again.probed) == (30, earlier.probed)


def test_a_request_of_the_probe_that_was_under_way_has_neither_failed_nor_been_answered(tmp_path: Path) -> None:
    earlier = EarlierLoad.read(killed(tmp_path), run="load-u", probe_timeout_s=2.0)
    assert (earlier.probed.planned, earlier.probed.answered, earlier.probed.failed) == (8, 6, 1)
    half = earlier.probe(START, START + timedelta(seconds=0.5))
    assert (half.planned, half.answered) == (5, 5)
    assert earlier.probe(START + timedelta(seconds=5)).planned == 0


def test_a_probe_that_had_stalled_for_longer_than_its_timeout_had_failed(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    with (folder / "probe.jsonl").open("w") as file:
        file.write(json.dumps({"start": START.timestamp(), "requests_per_s": 10.0}) + "\n" + probed(50) + "\n")
    earlier = EarlierLoad.read(folder, run="load-u", probe_timeout_s=2.0)
    # 51 were due; the 30 oldest of those without a line are older than two seconds.
    assert (earlier.probed.planned, earlier.probed.answered, earlier.probed.failed) == (51, 1, 31)


def test_every_attempt_that_had_a_load_is_read_in_order(tmp_path: Path) -> None:
    killed(tmp_path, 1)
    killed(tmp_path, 3)
    found = read_earlier(tmp_path, upgrade_id="u", attempt=5, probe_timeout_s=2.0)
    assert [load.run for load in found] == ["load-u", "load-u-3"]
    assert read_earlier(tmp_path, upgrade_id="u", attempt=1, probe_timeout_s=2.0) == ()


@pytest.mark.parametrize("name", ["requests.jsonl", "markers.jsonl", "probe.jsonl"])
def test_a_whole_line_that_is_none_is_never_passed_over(tmp_path: Path, name: str) -> None:
    folder = killed(tmp_path)
    (folder / name).write_text("{}\n" + (folder / name).read_text())
    with pytest.raises(CouldNotMeasure) as caught:
        EarlierLoad.read(folder, run="load-u", probe_timeout_s=2.0)
    assert caught.value.code == "load-unreadable"
    assert f"line 1 of {folder / name}" in caught.value.seen


def whole(load: Path) -> Path:
    """Write what a load of three seconds leaves that ended by a kill between two lines, with its histograms."""
    folder = killed(load)
    for name in ("requests.jsonl", "markers.jsonl", "probe.jsonl"):
        content = (folder / name).read_text()
        (folder / name).write_text(content[: content.rindex("\n") + 1])
    with (folder / "latency.hlog").open("w") as stream:
        log = latency.HistogramLog(stream, started_s=START.timestamp())
        for number in range(3):
            moment_s = START.timestamp() + number
            log.write("blue", {1000 + number: 9, 90_000: 1}, start_s=moment_s, end_s=moment_s + 1)
    return folder


@pytest.mark.parametrize("name", ["requests.jsonl", "markers.jsonl", "probe.jsonl", "latency.hlog"])
def test_a_file_cut_off_at_any_byte_is_read_as_far_as_its_lines_are_whole(tmp_path: Path, name: str) -> None:
    content = (whole(tmp_path / "whole") / name).read_bytes()
    counted = []
    for size in range(0, len(content) + 1, 1 if name == "markers.jsonl" else 7):
        folder = whole(tmp_path / str(size))
        (folder / name).write_bytes(content[:size])
        earlier = EarlierLoad.read(folder, run="load-u", probe_timeout_s=2.0)
        whole_lines = content[:size].count(b"\n")
        assert (folder / name).read_bytes().count(b"\n") == whole_lines
        assert json.loads((folder / "summary.json").read_text())["complete"] is False
        numbers = (
            earlier.measured.tally.totals().attempted,
            len(earlier.measured.acknowledged),
            earlier.probed.answered + earlier.probed.failed,
        )
        counted.append(numbers)
    assert counted == sorted(counted)


KILLED = """
import json, sys, time
from pathlib import Path
from cutover.policy import Load
from cutover.site.load import LoadRunner
runner = LoadRunner(url=sys.argv[1], load=Load(**json.loads(sys.argv[2])), folder=Path(sys.argv[3]), run="load-u",
    colour_header="X-Stella-Colour")
runner.enter("weight-10")
runner.start()
while len(runner.seconds()) < 3:
    time.sleep(0.05)
print("measured", flush=True)
time.sleep(60)
"""


def test_an_upgrade_is_counted_over_a_kill(bare_host: BareHost, tmp_path: Path) -> None:
    load = tmp_path / "load"
    argv = [sys.executable, "-c", KILLED, bare_host.url, json.dumps(asdict(POLICY)), str(load)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "measured\n"
        parent.kill()
    time.sleep(0.3)  # the kernel ends what it had started
    journal = Journal(tmp_path / "journal.jsonl")
    runner = LoadRunner(
        url=bare_host.url,
        load=POLICY,
        folder=folder_of(load, 2),
        run=run_of("u", 2),
        colour_header="X-Stella-Colour",
        journal=journal,
        read_earlier=lambda: read_earlier(load, upgrade_id="u", attempt=2, probe_timeout_s=5.0),
    )
    before = runner.totals()
    assert before.attempted > 0
    runner.start()
    deadline = time.monotonic() + 20
    while len(runner.seconds()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    live = runner.totals()
    assert live.attempted > before.attempted
    summary = runner.stop()
    finished = journal.last("load_finished")
    assert finished is not None
    journal.close()

    of_files = Counter[str]()
    for number in (1, 2):
        for line in (folder_of(load, number) / "requests.jsonl").read_text().splitlines():
            of_files.update({name: json.loads(line)[name] for name in ("attempted", "failed", "writes")})
    total: dict[str, Any] = finished.data["total"]
    assert {name: total[name] for name in of_files} == of_files
    assert runner.totals().attempted == of_files["attempted"] == before.attempted + summary.attempted
    assert finished.data["attempted"] == summary.attempted
    assert total["loads"] == 2
    assert total["probe"]["planned"] > summary.probe.planned
    last = [entry for entry in journal.entries() if entry.event == "load"][-1]
    assert last.data["attempted"] == of_files["attempted"]
    assert last.data["probe"]["planned"] > summary.probe.planned

    series = runner.series()
    assert list(series) == ["load-u", "load-u-2"]
    assert all(series.values())
    assert total["markers_acknowledged"] == sum(map(len, series.values()))
    sent, _, markers = bare_host.counts()
    assert sent >= of_files["attempted"]
    assert Counter(markers) >= Counter(number for numbers in series.values() for number in numbers)
    assert runner.window(START).attempted == of_files["attempted"]
    phases = json.loads((load / "phases.json").read_text())["phases"]
    assert phases[-1]["phase"] == "weight-10"
    assert phases[-1]["colours"]["blue"]["p99_ms"] > 0
