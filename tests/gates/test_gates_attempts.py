"""Gates of an upgrade that was broken off and gone on with: the samples, a bake made again, the window."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.runbook import gates
from cutover.runbook.attempts import RESUMED
from cutover.runbook.gates import GateVerdict, archive, replay
from cutover.runbook.gates.window import watched_of

if TYPE_CHECKING:
    from pathlib import Path

    from quiet_site import FakeLoad, FakeSite

    from cutover.clock import ManualClock
    from cutover.runbook.upgrade import Upgrade


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def samples(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> Path:
    """Return the file of three samples."""
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    for name in ("error_ratio", "latency_p99", "error_ratio"):
        clock.advance(1)
        gates.measure(upgrade, site, name)
    return upgrade.path(*archive.SAMPLES)


def differences(upgrade: Upgrade) -> list[str]:
    return [str(one) for one in replay.replay(upgrade.folder).differences]


@pytest.mark.parametrize(
    "left", [b'{"name": "late', b'{"name": "x"}\n', b'{"name": "x"}\n{"na'], ids=["torn", "unnamed", "both"]
)
def test_what_a_killed_process_left_behind_is_cut_off_and_said(
    upgrade: Upgrade, site: FakeSite, samples: Path, left: bytes
) -> None:
    whole = samples.read_bytes()
    samples.write_bytes(whole + left)
    upgrade.journal.write(RESUMED, procedure="resume")
    gates.measure(upgrade, site, "latency_p99")
    assert samples.read_bytes().startswith(whole + b'{"name": "latency_p99"')
    said = upgrade.journal.last("observation", what="samples cut off")
    assert said is not None
    assert (said.data["after_line"], said.data["size_bytes"]) == (3, len(left))
    assert differences(upgrade) == []


def test_more_than_a_killed_process_leaves_is_not_cut_off(upgrade: Upgrade, site: FakeSite, samples: Path) -> None:
    samples.write_bytes(samples.read_bytes() + b'{"name": "x"}\n' * 2)
    upgrade.journal.write(RESUMED, procedure="resume")
    gates.measure(upgrade, site, "latency_p99")
    assert any("no entry of the journal names line 4" in one for one in differences(upgrade))


def test_lines_that_are_gone_are_missed_and_the_others_keep_their_numbers(
    upgrade: Upgrade, site: FakeSite, samples: Path
) -> None:
    samples.write_bytes(b"".join(samples.read_bytes().splitlines(keepends=True)[:2]))
    gates.measure(upgrade, site, "latency_p99")
    newest = upgrade.journal.last("gate")
    assert newest is not None
    assert newest.data["line"] == 4
    assert differences(upgrade) == ["line 3: error_ratio: it is missing"]


def break_off(upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock, *, after_s: float) -> None:
    """Bake at 10 percent until the process is killed, and let a day pass."""
    began, moved = clock.monotonic(), load.probe

    def probe(*arguments: object) -> object:
        if clock.monotonic() - began >= after_s:
            raise Killed
        return moved(*arguments)  # type: ignore[arg-type]

    load.probe = probe  # type: ignore[assignment,method-assign]
    with pytest.raises(Killed):
        gates.bake(upgrade, site, load, percent=10)
    load.probe = moved  # type: ignore[method-assign]
    clock.advance(86400)
    upgrade.journal.write(RESUMED, procedure="resume")


def test_a_bake_that_was_broken_off_is_made_again_from_its_beginning(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    break_off(upgrade, site, load, clock, after_s=9)
    left = json.loads(upgrade.path(*archive.SAMPLES).read_text().splitlines()[-1])
    assert left["percent"] == 10
    again_from = clock.now()
    made = gates.bake(upgrade, site, load, percent=10)
    assert made.effective >= again_from
    assert (clock.now() - made.effective).total_seconds() >= upgrade.policy.traffic.bake_s
    assert differences(upgrade) == []
    assert replay.replay(upgrade.folder).decisions == 1


def test_no_window_reaches_back_over_the_time_without_a_load(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    gates.bake(upgrade, site, load, percent=10)
    load.share = 0.25
    clock.advance(86400)
    upgrade.journal.write(RESUMED, procedure="resume")
    resumed = clock.now()
    gates.bake(upgrade, site, load, percent=25)
    asked = [json.loads(line) for line in upgrade.path(*archive.SAMPLES).read_text().splitlines()]
    sent = [one["asked"][0]["raw"] for one in asked if (one["name"], one["percent"]) == ("load_attempted", 25)]
    assert sent
    assert max(raw["elapsed_s"] for raw in sent) <= (clock.now() - resumed).total_seconds()
    probed = [one["asked"][1]["query"] for one in asked if (one["name"], one["percent"]) == ("failed_requests", 25)]
    began = upgrade.journal.entries()[0].time
    assert probed[0].endswith(f"since {began.isoformat().replace('+00:00', '.000000Z')}")


def test_failed_requests_of_an_earlier_attempt_still_count(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    break_off(upgrade, site, load, clock, after_s=9)
    load.failed = 1
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert "failed requests" in caught.value.message


@pytest.mark.usefixtures("samples")
def test_a_line_behind_the_verdict_that_is_of_no_later_attempt_is_found(upgrade: Upgrade) -> None:
    verdict = {"journal": {"entries": len(upgrade.journal), "head": upgrade.journal.head}}
    (upgrade.folder / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    upgrade.journal.write("observation", what="anything")
    assert any("does not end where the record says" in one for one in differences(upgrade))


@pytest.mark.usefixtures("samples")
def test_a_record_is_gone_on_with_behind_its_verdict(upgrade: Upgrade, site: FakeSite) -> None:
    verdict = {"journal": {"entries": len(upgrade.journal), "head": upgrade.journal.head}}
    (upgrade.folder / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    upgrade.journal.write(RESUMED, procedure="resume")
    gates.measure(upgrade, site, "latency_p99")
    assert differences(upgrade) == []


@pytest.mark.usefixtures("samples")
def test_a_second_window_has_a_file_of_its_own(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    for _ in range(2):
        began = clock.now()
        clock.advance(30)
        gates.over_window(upgrade, site, began=began, ended=clock.now())
    files = [entry.data["file"] for entry in upgrade.journal.entries() if entry.data.get("what") == "window"]
    assert files == ["gates/window.json", "gates/window-2.json"]
    assert (replay.replay(upgrade.folder).windows, differences(upgrade)) == (2, [])
    path = upgrade.folder / files[1]
    path.write_text(path.read_text().replace('"longest_gap_s": 2.0', '"longest_gap_s": 0.1', 1))
    assert any(one.startswith("gates/window-2.json was changed") for one in differences(upgrade))


@pytest.mark.parametrize(("gap", "since_s"), [(None, 0), ((20, 30), 31), ((0, 8), 9), ((55, 99), 60), ((-1, 99), 60)])
def test_a_window_is_whole_since_its_last_gap(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, gap: tuple[int, int] | None, since_s: int
) -> None:
    began = clock.now()
    if gap is not None:
        site.prometheus.outage = (began + timedelta(seconds=gap[0]), began + timedelta(seconds=gap[1]))
    clock.advance(60)
    ended = clock.now()
    watched = gates.so_far(upgrade, site, began=began, ended=ended)
    since = gates.whole_since(watched, upgrade.policy, began=began, ended=ended)
    assert abs((since - began).total_seconds() - since_s) <= upgrade.policy.observation.interval_s
    assert upgrade.journal.last("gate") is None
    if since != ended:
        later = gates.over_window(upgrade, site, began=since, ended=ended)
        assert all(item.is_whole for item in later)


@pytest.mark.parametrize(
    ("values", "behind", "failed"),
    [
        ([5, 5, 5], [0.4, 5, 5, 5], False),
        ([5, 5, 5], [0.4, 5, 0.4, 5], True),
        ([0.4, 5, 5], [5, 5, 5], True),
        ([5], [0.4], False),
    ],
    ids=["low behind the gap alone", "low later", "low before the gap", "too little behind it"],
)
def test_a_rate_that_is_low_for_a_gap_has_not_failed(
    upgrade: Upgrade, values: list[float], behind: list[float], failed: bool
) -> None:
    gate, began = gates.GATES["evidence_operations"], datetime(2026, 1, 1, tzinfo=UTC)
    times = [10.0 * (at + 1) for at in range(len(values))] + [86400 + 10.0 * at for at in range(len(behind))]
    rows = [[(began.timestamp() + at) * 1000, value, 100] for at, value in zip(times, [*values, *behind], strict=True)]
    total = gates.GateResult(
        name=gate.name,
        title=gate.title,
        source="prometheus",
        result=GateVerdict.FAIL,
        value=0.03,
        blue=None,
        percent=None,
        query="",
        time=began,
        limit=0.5,
        unit="1/s",
        samples=100,
        reason="",
    )
    watched = watched_of(
        gate,
        replace(upgrade.policy, observation=replace(upgrade.policy.observation, interval_s=10)),
        rows,
        verdict=total,
        queries={},
        range_s=10,
        began=began,
        ended=began + timedelta(seconds=times[-1]),
    )
    assert not watched.is_whole
    assert gates.has_failed(watched, upgrade.policy) is failed


def test_a_look_at_a_window_needs_prometheus(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    began = clock.now()
    clock.advance(60)
    site.prometheus.is_down = True
    with pytest.raises(CouldNotMeasure):
        gates.so_far(upgrade, site, began=began, ended=clock.now())
