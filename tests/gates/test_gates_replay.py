"""A record judged again: equal as it was written, and every kind of edit found and named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cutover.cli.gates import gates as command
from cutover.errors import ClauseFailed, WrongInput
from cutover.runbook import gates
from cutover.runbook.gates import replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quiet_site import FakeLoad, FakeSite

    from cutover.clock import ManualClock
    from cutover.runbook.upgrade import Upgrade


@pytest.fixture
def record(upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock) -> Path:
    """Two weights, a promotion and a window, by the live code."""
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    site.prometheus.blue_values["latency_p99"] = 0.019
    gates.route_topology(upgrade, site)
    for percent in (10, 50, 100):
        load.share = percent / 100
        gates.bake(upgrade, site, load, percent=percent)
    gates.measure(upgrade, site, "latency_p99")
    began = clock.now()
    clock.advance(30)
    gates.over_window(upgrade, site, began=began, ended=clock.now())
    return upgrade.folder


def lines_of(record: Path) -> list[str]:
    return (record / "gates" / "samples.jsonl").read_text(encoding="utf-8").splitlines()


def write(record: Path, lines: list[str]) -> None:
    (record / "gates" / "samples.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def number_of(record: Path, name: str, *, percent: int | None = 10) -> int:
    """Return the index of the last line of a gate at a weight."""
    found = [json.loads(line) for line in lines_of(record)]
    return max(at for at, line in enumerate(found) if (line["name"], line["percent"]) == (name, percent))


def said(record: Path) -> list[str]:
    return [str(difference) for difference in replay.replay(record).differences]


def test_a_record_as_it_was_written_is_equal(record: Path) -> None:
    again = replay.replay(record)
    assert again.differences == ()
    assert again.verdicts == len(lines_of(record)) > 200
    assert again.comparisons > 0
    assert (again.decisions, again.windows) == (3, 1)


def test_a_bake_that_failed_is_equal_too(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    site.prometheus.values["error_ratio"], site.prometheus.blue_values["error_ratio"] = 0.009, 0.0
    with pytest.raises(ClauseFailed):
        gates.bake(upgrade, site, load, percent=10)
    decided = upgrade.journal.last("gate_decision")
    assert decided is not None
    assert decided.data["gate"] == "error_ratio_vs_blue"
    assert said(upgrade.folder) == []


EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a value": ("latency_p99", lambda line: line.update(value=0.001)),
    "a verdict": ("latency_p99", lambda line: line.update(result="FAIL")),
    "a raw answer": ("latency_p99", lambda line: line["asked"][0]["raw"]["data"]["result"][0].update(value=[1, "9"])),
    "blue's raw answer": (
        "latency_p99",
        lambda line: line["asked"][2]["raw"]["data"]["result"][0].update(value=[1, "9"]),
    ),
    "a query": ("error_ratio", lambda line: line["asked"][0].update(query="vector(0)")),
    "a count of the load": ("failed_requests", lambda line: line["asked"][0]["raw"].update(failed=1)),
    "a lost marker": ("write_markers", lambda line: line["asked"][1]["raw"].update(present="1-198")),
    "a pod": ("green_ready", lambda line: line["asked"][0]["raw"]["pods"][0].update(status=503)),
    "a route": (
        "route_unchanged",
        lambda line: line["asked"][0].update(raw=[{"code": "x", "message": "m", "remedy": "r"}]),
    ),
    "a pair": ("latency_p99_vs_blue", lambda line: line["asked"][0]["raw"][0].__setitem__(1, 9.0)),
    "its being the last": ("served_by", lambda line: line.update(is_last=False)),
    "its time": ("served_by", lambda line: line.update(time="2026-01-01T00:00:00.000000Z")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_sample_is_found(record: Path, edit: str) -> None:
    name, change = EDITS[edit]
    lines, at = lines_of(record), number_of(record, name)
    document = json.loads(lines[at])
    change(document)
    lines[at] = json.dumps(document, ensure_ascii=False)
    write(record, lines)
    assert any(one.startswith(f"line {at + 1}: {name}: it was changed") for one in said(record))


def test_what_the_edit_would_have_hidden_is_said_too(record: Path) -> None:
    lines, at = lines_of(record), number_of(record, "latency_p99")
    document = json.loads(lines[at])
    document["asked"][0]["raw"]["data"]["result"][0]["value"] = [1, "9"]
    lines[at] = json.dumps(document)
    write(record, lines)
    found = said(record)
    assert f"line {at + 1}: latency_p99: result is FAIL from its raw answers, PASS in the journal" in found
    assert any("the decision at 10 percent" in one for one in found)


def test_a_line_that_is_gone_is_named_and_the_others_are_not(record: Path) -> None:
    lines, at = lines_of(record), number_of(record, "served_by")
    write(record, lines[:at] + lines[at + 1 :])
    assert f"line {at + 1}: served_by: it is missing" in said(record)
    assert len([one for one in said(record) if "changed" in one]) == 0


def test_the_last_lines_may_not_be_gone_either(record: Path) -> None:
    lines = lines_of(record)
    write(record, lines[:-1])
    assert any(one.startswith(f"line {len(lines)}: ") for one in said(record))


def test_swapped_lines_are_named(record: Path) -> None:
    lines = lines_of(record)
    lines[6], lines[7] = lines[7], lines[6]
    write(record, lines)
    found = said(record)
    assert any("it was moved to line" in one for one in found)


def test_a_line_more_is_named(record: Path) -> None:
    lines = lines_of(record)
    write(record, [*lines[:5], lines[4].replace("PASS", "FAIL"), *lines[5:]])
    assert any("no entry of the journal names line 6" in one for one in said(record))


def test_a_line_that_is_there_twice_is_named(record: Path) -> None:
    lines = lines_of(record)
    write(record, [*lines, lines[4]])
    assert any(f"no entry of the journal names line {len(lines) + 1}" in one for one in said(record))


def test_a_record_without_a_verdict_is_no_equal_record(upgrade: Upgrade) -> None:
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("run_started", policy_sha256=upgrade.policy.sha256)
    with pytest.raises(WrongInput, match="no gate"):
        replay.replay(upgrade.folder)


def test_samples_that_the_journal_never_names_differ(record: Path) -> None:
    path = record / "journal.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0], encoding="utf-8")
    assert any("no entry of the journal names line 1 " in one for one in said(record))


def test_no_samples_at_all_is_no_equal_record(record: Path) -> None:
    (record / "gates" / "samples.jsonl").unlink()
    assert len(said(record)) >= replay.replay(record).verdicts


def test_an_edited_policy_is_found(record: Path) -> None:
    path = record / "policy.toml"
    path.write_text(path.read_text().replace("max_s = 0.25", "max_s = 25"), encoding="utf-8")
    found = said(record)
    assert any("policy.toml is not the run's" in one for one in found)
    assert any("limit is 25" in one for one in found)


def test_an_edited_journal_is_found(record: Path) -> None:
    path = record / "journal.jsonl"
    text = path.read_text().replace('"decision":"advance"', '"decision":"rollback"', 1)
    path.write_text(text, encoding="utf-8")
    found = said(record)
    assert any(one.startswith("the journal: line") for one in found)
    assert any("decision is advance from the samples, rollback in the journal" in one for one in found)


def test_a_truncated_journal_is_found_where_the_verdict_names_its_end(record: Path, upgrade: Upgrade) -> None:
    verdict = {"journal": {"entries": len(upgrade.journal), "head": upgrade.journal.head}}
    (record / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    assert said(record) == []
    path = record / "journal.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]), encoding="utf-8")
    assert any("does not end where the record says" in one for one in said(record))


@pytest.mark.parametrize(
    ("old", "new"), [('"value": 0.02', '"value": 0.5'), ('"longest_gap_s": 2.0', '"longest_gap_s": 0.1')]
)
def test_an_edited_window_is_found(record: Path, old: str, new: str) -> None:
    path = record / "gates" / "window.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    found = said(record)
    assert any("gates/window.json was changed" in one for one in found)
    assert any("does not follow from its steps" in one for one in found)


def test_a_record_without_digests_cannot_be_replayed(upgrade: Upgrade) -> None:
    upgrade.path("policy.toml").write_text(upgrade.policy.text, encoding="utf-8")
    upgrade.journal.write("gate", name="latency_p99", result="PASS")
    with pytest.raises(WrongInput):
        replay.replay(upgrade.folder)


def test_the_command_says_equal_or_names_what_differs(record: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(command, ["replay", str(record)])
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "all equal")
    document = json.loads(runner.invoke(command, ["replay", str(record), "--json"]).stdout)
    assert document["equal"]
    assert document["differences"] == []
    lines, at = lines_of(record), number_of(record, "served_by")
    write(record, lines[:at] + lines[at + 1 :])
    result = runner.invoke(command, ["replay", str(record)])
    assert result.exit_code == 1
    assert f"DIFFERS  line {at + 1}: served_by: it is missing" in result.output
    document = json.loads(runner.invoke(command, ["replay", str(record), "--json"]).stdout)
    assert not document["equal"]
    assert document["differences"][0]["gate"] == "served_by"
