"""The kill test: which moments it chooses, that the kill is one, and that it finds what a kill could leave behind."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785

from rehearsal import chained, chaos, killing, moments, survey, upgrades
from rehearsal.environment import layout
from rehearsal.killing import Moment, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Line = dict[str, Any]

INTENT = Moment(event="intent", clause="3.1b", action="shift", nth=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a journal, as a listener sees it."""

    event: str
    clause: str | None = "3.1b"
    data: dict[str, Any] = field(default_factory=dict)
    seq: int = 5


# -- the kill ----------------------------------------------------------------------------------------------------------


def _killer(moment: Moment) -> tuple[killing.Killer, list[bool]]:
    struck: list[bool] = []
    return killing.Killer(moment, struck.append), struck


def test_a_moment_is_the_nth_line_of_its_kind_and_no_other() -> None:
    killer, struck = _killer(Moment(event="done", clause="3.1b", action="shift", nth=2, is_whole=True))
    shift = {"action": "shift", "percent": 25}
    others = [
        Entry(event="intent", data=shift),
        Entry(event="done", data={"action": "promote"}),
        Entry(event="done", data=shift, clause="3.1c"),
        Entry(event="done", data=shift, seq=-1),
        Entry(event="done", data=shift),
    ]
    for entry in others:
        killer.on_entry(entry)
    assert struck == []
    killer.on_entry(Entry(event="done", data=shift))
    killer.on_entry(Entry(event="done", data=shift))
    assert struck == [True]


def test_a_line_of_no_clause_is_matched_too() -> None:
    killer, struck = _killer(Moment(event="load_finished"))
    killer.on_entry(Entry(event="load_finished", clause="5.2b"))
    assert struck == []
    killer.on_entry(Entry(event="load_finished", clause=None))
    assert struck == [False]


def test_a_moment_inside_of_an_action_is_later_than_its_line() -> None:
    killer, struck = _killer(Moment(event="intent", clause="3.1b", after_s=0.05))
    began = time.monotonic()
    killer.on_entry(Entry(event="intent"))
    assert struck == []
    while not struck and time.monotonic() - began < 10:
        time.sleep(0.005)
    assert struck == [False]
    assert time.monotonic() - began >= 0.05


def test_an_order_is_read_as_it_was_written() -> None:
    order = Order(moments=(INTENT, Moment(event="start", after_s=0.25), Moment(event="gate", is_whole=True)), told="x")
    assert Order.read(order.write()) == order


def test_of_several_moments_the_first_that_comes_strikes_and_says_which_it_was(tmp_path: Path) -> None:
    told = tmp_path / "told"
    struck: list[bool] = []
    missed = Moment(event="gate", clause="3.1a", is_whole=True)
    late_start = Moment(event="start", after_s=0.01, is_whole=True)
    armed = killing.killers(Order(moments=(missed, late_start, INTENT), told=str(told)), struck.append)
    for event in ("step", "intent"):
        for killer in armed:
            killer.on_entry(Entry(event=event, data={"action": "shift"}))
    assert told.read_text() == "2"
    assert struck == [False]


def test_a_moment_of_the_start_is_at_work_when_it_is_the_next_one(tmp_path: Path) -> None:
    struck: list[bool] = []
    order = Order(moments=(Moment(event="start", after_s=0.01, is_whole=True), INTENT), told=str(tmp_path / "told"))
    killing.killers(order, struck.append)
    began = time.monotonic()
    while not struck and time.monotonic() - began < 10:
        time.sleep(0.005)
    assert struck == [True]
    assert (tmp_path / "told").read_text() == "0"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (INTENT, "3.1b: intent shift"),
        (Moment(event="gate", clause="3.2", nth=4, after_s=0.5), "3.2: gate 4 + 0.50 s"),
        (Moment(event="run_finished"), "the run: run_finished"),
        (Moment(event="start", after_s=1), "1.00 s after the start"),
    ],
)
def test_a_moment_is_told_in_words(moment: Moment, words: str) -> None:
    assert str(moment) == words


_SESSION = """
import pytest
from dataclasses import dataclass

class Specs:
    @pytest.hookspec
    def pytest_cutover_start(self, config, upgrade): "As the runbook's own."

class Journal:
    def __init__(self): self.listeners, self.seq = [], 0
    def listen(self, listener): self.listeners.append(listener)
    def write(self, event, clause, **data):
        with open("journal", "a") as file:
            file.write(event + "\\n")
        for listener in self.listeners:
            listener(type("Entry", (), dict(event=event, clause=clause, data=data, seq=self.seq)))
        self.seq += 1

class Upgrade: journal = Journal()

def pytest_addhooks(pluginmanager): pluginmanager.add_hookspecs(Specs)
def pytest_runtestloop(session): session.config.hook.pytest_cutover_start(config=session.config, upgrade=Upgrade)
def pytest_sessionfinish(): open("finished", "w").close()
"""
_TEST = """
import subprocess, sys
from conftest import Upgrade

def test_run():
    with open("child", "w") as file:
        file.write(str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid))
    for event in ("intent", "done", "clause_finished"):
        Upgrade.journal.write(event, "3.1b", action="shift")
"""


def _run(folder: Path, moment: Moment | None) -> int:
    (folder / "conftest.py").write_text(_SESSION)
    (folder / "test_run.py").write_text(_TEST)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(layout.PROJECT), str(folder)])}
    if moment is not None:
        order = Order(moments=(moment,), told=str(folder / "told"))
        environment |= {killing.VARIABLE: order.write(), "PYTEST_ADDOPTS": f"-p {killing.PLUGIN}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-c", "/dev/null"]
    with (folder / "output").open("wb") as output:
        return subprocess.run(
            [*command, "--rootdir", str(folder), str(folder)],
            check=False,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ).returncode


def _is_alive(folder: Path) -> bool:
    """Whether the process that the run started is there, and remove it."""
    pid = int((folder / "child").read_text())
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_run_dies_at_its_moment_and_nothing_is_done_after_it(tmp_path: Path, is_whole: bool) -> None:
    code = _run(tmp_path, Moment(event="done", clause="3.1b", action="shift", is_whole=is_whole))
    assert code == -signal.SIGKILL
    assert (tmp_path / "journal").read_text().split() == ["intent", "done"]
    assert not (tmp_path / "finished").exists()
    assert (tmp_path / "told").read_text() == "0"
    assert _is_alive(tmp_path) is not is_whole


def test_a_run_without_a_moment_is_left_alone(tmp_path: Path) -> None:
    assert _run(tmp_path, None) == 0, (tmp_path / "output").read_text()
    assert (tmp_path / "journal").read_text().split() == ["intent", "done", "clause_finished"]
    assert (tmp_path / "finished").exists()
    _is_alive(tmp_path)


# -- which moments -----------------------------------------------------------------------------------------------------


def _line(event: str, clause: str | None = None, at_s: float = 0.0, **data: object) -> Line:
    return {"event": event, "clause": clause, "time": f"2026-11-23T10:00:{at_s:09.6f}Z", "data": data}


def _entries() -> list[Line]:
    """Return the lines of a small run: two clauses, an action in each, samples and lines by the clock between."""
    return [
        _line("run_started"),
        _line("plan"),
        _line("clause_started", "2.1a", 1),
        _line("intent", "2.1a", 2, action="install green"),
        _line("load", "2.1a", 3),
        _line("done", "2.1a", 6, action="install green"),
        _line("clause_finished", "2.1a", 7),
        _line("clause_started", "3.1a", 8),
        _line("intent", "3.1a", 8.001, action="shift", percent=10),
        _line("done", "3.1a", 8.002, action="shift", percent=10),
        *(_line("gate", "3.1a", 9 + number) for number in range(5)),
        _line("step", "3.1a", 15),
        _line("step", "3.1a", 16),
        _line("clause_finished", "3.1a", 17),
        _line("run_finished", None, 18),
    ]


def test_every_line_is_a_boundary_but_what_comes_by_the_clock_or_again_and_again() -> None:
    found = [moment for _, moment in moments.boundaries(_entries())]
    assert len(set(found)) == len(found)
    assert [moment.nth for moment in found if moment.event == "gate"] == [1, 3]
    assert {moment.event for moment in found}.isdisjoint({"load", "run_started", "plan"})
    assert [str(moment) for moment in found[:4]] == [
        "2.1a: clause_started",
        "2.1a: intent install green",
        "2.1a: done install green",
        "2.1a: clause_finished",
    ]
    assert str(found[-1]) == "the run: run_finished"


def test_insides_lie_between_the_beginning_and_the_end_of_what_takes_time() -> None:
    found = moments.insides(_entries(), random.Random(3))  # noqa: S311 - as in the module
    spans = {str(m).partition(" +")[0]: m.after_s for _, m in found if m.event != killing.START}
    assert set(spans) == {"2.1a: clause_started", "2.1a: intent install green", "3.1a: clause_started"}
    assert 0 < spans["2.1a: intent install green"] < 4
    assert 0 < spans["2.1a: clause_started"] < 6
    assert sum(m.event == killing.START for _, m in found) > 0


@pytest.mark.parametrize("kills", [0, 4, 9, 1000])
@pytest.mark.parametrize("a_site", [1, 3])
def test_every_moment_is_dealt_once_and_in_the_order_of_the_run(kills: int, a_site: int) -> None:
    every = moments.cases(_entries(), "gradual", seed=7, kills=kills, kills_per_site=a_site)
    dealt = [kill.moment for case in every for kill in case.kills]
    assert len(set(dealt)) == len(dealt)
    assert len(dealt) <= (kills or len(dealt))
    assert all(len(case.kills) <= a_site for case in every)
    assert len({case.name for case in every}) == len(every)
    if kills == 0:
        on_line = [str(moment) for _, moment in moments.boundaries(_entries())]
        assert {str(moment) for moment in dealt} >= set(on_line)
    for case in every:
        known = [moment.event for moment in (kill.moment for kill in case.kills)]
        assert "run_finished" not in known[:-1]


def test_the_same_seed_gives_the_same_cases_and_another_does_not() -> None:
    def dealt(seed: int) -> list[str]:
        return [case.name for case in moments.cases(_entries(), "instant", seed=seed, kills=0, kills_per_site=2)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_shards_share_the_cases_out(shards: int) -> None:
    every = moments.cases(_entries(), "gradual", seed=1, kills=0, kills_per_site=1)
    parts = [moments.of_shard(every, shard, shards) for shard in range(1, shards + 1)]
    assert sorted(case.name for part in parts for case in part) == sorted(case.name for case in every)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_some_journals_are_torn() -> None:
    every = moments.cases(_entries() * 20, "gradual", seed=1, kills=0, kills_per_site=1)
    torn = sum(kill.is_torn for case in every for kill in case.kills)
    assert 0 < torn < len(every)


def test_a_kill_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = _result(tmp_path, struck=(True,))
    document = json.loads(json.dumps(result.document()))
    assert moments.Kill.read(document["kills"][0]) == result.kills[0]


# -- the judge ---------------------------------------------------------------------------------------------------------


def _chain(lines: Sequence[Line]) -> bytes:
    """Return the file that the documented form makes of lines."""
    previous = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    content = b""
    for seq, line in enumerate(lines):
        document = {**line, "seq": seq, "previous": previous}
        previous = f"sha256:{hashlib.sha256(rfc8785.dumps(document)).hexdigest()}"
        content += json.dumps({**document, "digest": previous}).encode() + b"\n"
    return content


def _journal(tmp_path: Path, lines: Sequence[Line]) -> Path:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(_chain(lines))
    return path


RESUMED = _line("run_resumed", interrupted=True)
SHIFT = _line("done", "3.1a", action="shift", percent=10)


@pytest.mark.parametrize(
    ("lines", "killed", "words"),
    [
        ([_line("run_started"), RESUMED, SHIFT], 1, ""),
        ([_line("run_started"), SHIFT, _line("done", "3.1b", action="shift", percent=25)], 0, ""),
        ([_line("run_started"), _line("done", action="snapshot"), _line("done", action="snapshot")], 0, ""),
        ([_line("run_started"), SHIFT, RESUMED, SHIFT], 1, "done 2 times: shift 10"),
        ([_line("run_started"), RESUMED, RESUMED], 1, "2 resumed"),
        ([_line("run_started"), _line("run_resumed", interrupted=False)], 1, "0 as interrupted"),
        ([_line("run_started"), _line("run_started")], 0, "2 beginnings"),
    ],
)
def test_a_journal_tells_what_was_doubled_and_whether_it_was_interrupted(
    tmp_path: Path, lines: list[Line], killed: int, words: str
) -> None:
    said = list(chaos.of_journal(_journal(tmp_path, lines), killed=killed))
    assert (words in " ".join(said)) if words else said == []


def _drop(lines: list[bytes]) -> list[bytes]:
    return lines[:1] + lines[2:]


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _flip(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b"10", b"11"), *lines[3:]]


@pytest.mark.parametrize(
    ("damage", "line"),
    [(_drop, 2), (_swap, 2), (_flip, 3), (lambda lines: [*lines[:3], lines[3][:9]], 4), (lambda lines: lines, 0)],
)
def test_the_judges_own_reading_of_the_chain_finds_damage(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    path = _journal(tmp_path, [_line("run_started"), _line("plan"), SHIFT, _line("run_finished")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(damage(lines)))
    assert chained.broken_line(path) == line


SITE: survey.Facts = {
    "namespaces": {"stellaops-green": "Active"},
    "once": {"release stellaops-green/stellaops-green revision 1": "deployed"},
    "documents": {"CHANGELOG.md": "- Upgraded\n"},
    "databases": {"names": ["postgres", "stellaops"], "locks held": []},
}


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (("namespaces", "cutover-scratch-1"), "Active", 'namespaces / cutover-scratch-1: "Active", not absent'),
        (("once", "release stellaops-green/stellaops-green revision 2"), "deployed", "revision 2"),
        (("documents", "CHANGELOG.md"), "- Upgraded\n- Upgraded\n", "documents / CHANGELOG.md"),
        (("databases", "locks held"), ["cutover holds advisory lock 3"], "locks held"),
    ],
)
def test_a_site_that_a_kill_left_different_is_told_by_what(at: tuple[str, str], value: object, words: str) -> None:
    other = copy.deepcopy(SITE)
    other[at[0]][at[1]] = value
    assert survey.differences(SITE, SITE) == []
    said = survey.differences(SITE, other)
    assert len(said) == 1
    assert words in said[0]
    assert len(survey.differences(other, SITE)) == 1


def _result(tmp_path: Path, *, struck: tuple[bool, ...], differences: tuple[str, ...] = ()) -> chaos.Result:
    kill = moments.Kill(moment=Moment(event="intent", clause="2.1a", after_s=1.5), is_torn=True)
    return chaos.Result(
        case=f"gradual-{tmp_path.name[:4]}",
        strategy="gradual",
        kills=(kill,) * len(struck),
        struck=struck,
        attempts=(upgrades.Attempt(exit_code=137, duration_s=1.0, output="output-1.txt"),),
        came_up_s=6.0,
        duration_s=60.0,
        differences=differences,
        ended="2026-11-23T10:00:00+00:00",
        commit="abc",
    )


def test_the_table_counts_the_kills_that_struck_and_says_how_many_sites_ended_as_they_should(tmp_path: Path) -> None:
    results = [
        _result(tmp_path, struck=(True, True)),
        _result(tmp_path, struck=(True, False), differences=("served by nobody",)),
    ]
    rows = chaos.rows([result.document() for result in results])
    assert rows == [["gradual", "2", "3", "3", "3", "1 of 2", "60"]]
    assert "✘" in chaos.line(results[1])
    assert "served by nobody" in chaos.line(results[1])


def test_where_the_time_of_an_uninterrupted_run_went_is_read_from_its_journal(tmp_path: Path) -> None:
    kept = tmp_path / "reference-gradual"
    record = kept / "2026-11-23-1000"
    record.mkdir(parents=True)
    assert chaos.spent_in(kept) == []
    phases = {"P.1": "prerequisites", "1.1a": "1", "3.1a": "3", "E.4": "evidence", "R.1": "rollback"}
    clauses = [{"id": name, "phase": phase} for name, phase in phases.items()]
    (record / "plan.json").write_text(json.dumps({"clauses": clauses}))
    _journal(record, [_line("clause_finished", name, duration_s=2.0) for name in phases])
    (kept / chaos.RESULT).write_text(json.dumps(_result(tmp_path, struck=()).document()))
    # The sample: 6 s until the site was up, 1 s for the whole run, 8 s for its clauses.
    assert chaos.spent_in(kept) == ["gradual", "6.0", "4.0", "0.0", "2.0", "2.0", "0.0", "-7.0", "1.0"]
    assert len(chaos.spent_in(kept)) == len(chaos.TIMES)


def test_of_a_case_that_was_done_again_the_newest_result_counts(tmp_path: Path) -> None:
    bad, good = _result(tmp_path, struck=(True,), differences=("served by nobody",)), _result(tmp_path, struck=(True,))
    with (tmp_path / "results.jsonl").open("w") as file:
        file.writelines(json.dumps(result.document()) + "\n" for result in (bad, good))
    assert [one["differences"] for one in chaos.results_in(tmp_path)] == [[]]


def test_results_are_kept_and_half_a_line_ends_a_torn_journal(tmp_path: Path) -> None:
    assert chaos.results_in(tmp_path) == []
    assert not upgrades.record_in(tmp_path).exists()
    record, given_up = tmp_path / "2026-11-23-1000", tmp_path / "2026-11-23-1001"
    for folder in (record, given_up):
        folder.mkdir()
    (given_up / "journal.jsonl").touch()
    assert not upgrades.record_in(tmp_path).exists()
    _journal(record, [_line("run_started")])
    assert upgrades.record_in(tmp_path) == record
    chaos._tear(tmp_path)
    assert chained.broken_line(record / "journal.jsonl") == 2


def test_the_plugin_is_armed_for_the_processes_started_meanwhile_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-v")
    order = Order(moments=(INTENT,), told="told")
    with upgrades.armed(order):
        assert Order.read(os.environ[killing.VARIABLE]) == order
        assert killing.PLUGIN in os.environ["PYTEST_ADDOPTS"]
    assert os.environ["PYTEST_ADDOPTS"] == "-v"
    assert killing.VARIABLE not in os.environ
    with upgrades.armed(Order(moments=(), told="told")):
        assert killing.VARIABLE not in os.environ
