"""A record that one process begins and another goes on with, as an operator does it, over a runbook in miniature."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING

import pytest

from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from miniature import Miniature, Ran

pytestmark = pytest.mark.timeout(120)

ORDER = ["P.1", "1.1a", "2.1a", "3.1a", "3.2", "4.1a", "5.1", "5.2a"]
KILLED = -9


def go_on(miniature: Miniature, ran: Ran, *arguments: str, **do: object) -> Ran:
    """Go on with a record, and keep its chain whole."""
    assert ran.folder is not None
    found = miniature.run("--continue", str(ran.folder), *arguments, do=do)
    Journal.verify(ran.folder / "journal.jsonl")
    return found


def second(ran: Ran) -> list[str]:
    """Return the clauses that the last attempt began."""
    begins = [index for index, line in enumerate(ran.journal) if line["event"] == "run_resumed"]
    return [line["clause"] for line in ran.journal[begins[-1] :] if line["event"] == "clause_started"]


def attempts(ran: Ran) -> list[tuple[str, bool]]:
    return [(attempt["procedure"], attempt["broken_off"]) for attempt in ran.verdict["attempts"]]


def test_a_run_is_done_phase_by_phase(miniature: Miniature) -> None:
    first = miniature.run("--until", "2")
    assert (first.code, first.verdict["result"]) == (4, "INCOMPLETE")
    ran = go_on(miniature, first)
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.out + ran.err
    assert second(ran) == ORDER[2:], "no traffic had moved: green is looked at again"
    assert attempts(ran) == [("run", False), ("resume", False)]
    assert [line["clause"] for line in ran.journal if line["event"] == "clause_kept"] == ["P.1", "1.1a"]
    assert ran.verdict["scope"] == "all"


@pytest.mark.parametrize("clause", ORDER)
def test_a_killed_run_is_gone_on_with_wherever_it_was(miniature: Miniature, clause: str) -> None:
    first = miniature.run(do={clause: "kill"})
    assert (first.code, first.verdict) == (KILLED, {})
    serves = "green" if clause in ORDER[5:] else "blue"
    ran = go_on(miniature, first, serves=serves)
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.out + ran.err
    again = second(ran)
    assert again[-len(ORDER[ORDER.index(clause) :]) :] == ORDER[ORDER.index(clause) :]
    assert attempts(ran) == [("run", True), ("resume", False)]
    assert any("was broken off" in reason for reason in ran.verdict["reasons"])
    assert set(ran.results().values()) == {"PASS", "NOT_RUN"}


def test_what_passed_under_traffic_stands_while_green_has_it(miniature: Miniature) -> None:
    first = miniature.run(do={"4.1a": "kill"})
    assert second(go_on(miniature, first, serves="green")) == ["4.1a", "5.1", "5.2a"]


def test_the_cutover_is_made_again_when_somebody_sent_the_traffic_back(miniature: Miniature) -> None:
    first = miniature.run(do={"4.1a": "kill"})
    assert second(go_on(miniature, first, serves="blue")) == ["3.1a", "3.2", "4.1a", "5.1", "5.2a"]


def test_a_half_written_line_is_cut_off_and_told(miniature: Miniature) -> None:
    first = miniature.run(do={"2.1a": "kill-half-way"})
    ran = go_on(miniature, first)
    assert ran.verdict["result"] == "PASSED"
    resumed = next(line for line in ran.journal if line["event"] == "run_resumed")
    assert resumed["data"]["recovered_bytes"] == len(b'{"seq":99,"time":')


def test_a_run_that_saw_a_bad_gate_goes_back_and_never_forwards(miniature: Miniature) -> None:
    first = miniature.run(do={"3.1a": "kill-after-bad-gate"})
    ran = go_on(miniature, first)
    assert second(ran) == ["R.1"]
    assert (ran.code, ran.verdict["result"]) == (1, "FAILED")
    assert ran.verdict["rollback"]["performed"] is True
    assert "gate error_ratio had failed" in ran.reason("3.2")


def test_a_run_that_failed_under_traffic_and_died_is_brought_back(miniature: Miniature) -> None:
    first = miniature.run(do={"3.2": "fail", "R.1": "kill"})
    assert first.code == KILLED
    ran = go_on(miniature, first)
    assert ran.code == 1
    assert ran.results()["R.1"] == "PASS"
    assert ran.results()["3.2"] == "FAIL"
    assert "4.1a" not in second(ran)


def test_what_failed_before_the_first_change_is_tried_again_and_told(miniature: Miniature) -> None:
    first = miniature.run(do={"1.1a": "fail"})
    assert first.code == 1
    ran = go_on(miniature, first)
    assert (ran.code, ran.results()["1.1a"]) == (0, "PASS")
    assert "1.1a was FAIL in attempt 1 and performed again" in ran.verdict["reasons"]


def test_what_fails_again_stays_failed(miniature: Miniature) -> None:
    first = miniature.run(do={"1.1a": "fail"})
    ran = go_on(miniature, first, **{"1.1a": "fail"})
    assert (ran.code, ran.results()["1.1a"]) == (1, "FAIL")


@pytest.mark.parametrize(
    ("do", "code"), [({}, "nothing is left to resume"), ({"3.2": "fail"}, "the traffic went back to blue")]
)
def test_a_run_that_has_ended_is_not_resumed(miniature: Miniature, do: dict[str, object], code: str) -> None:
    first = miniature.run(do=do)
    ran = go_on(miniature, first)
    assert ran.code == 5
    assert code in ran.err
    assert len(ran.journal) == len(first.journal), "nothing was written"
    assert ran.verdict == first.verdict


def test_a_stopped_run_goes_on_from_the_first_weight(miniature: Miniature) -> None:
    first = miniature.run(do={"3.2": "SIGINT"})
    assert (first.code, first.verdict["rollback"]["serves"]) == (4, "blue")
    ran = go_on(miniature, first)
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.verdict["reasons"]
    assert second(ran)[-5:] == ["3.1a", "3.2", "4.1a", "5.1", "5.2a"]
    assert ran.verdict["rollback"]["performed"] is False


@pytest.mark.parametrize("file", ["target.toml", "policy.toml"])
def test_another_target_or_policy_is_refused(miniature: Miniature, file: str) -> None:
    first = miniature.run("--until", "2")
    with (miniature.root / file).open("a") as opened:
        opened.write("# another one\n")
    ran = go_on(miniature, first)
    assert ran.code == 5
    assert "is not the one that the record" in ran.err
    assert len(ran.journal) == len(first.journal)


def test_a_record_in_use_is_refused(miniature: Miniature) -> None:
    first = miniature.run("--until", "2")
    assert first.folder is not None
    with (first.folder / "journal.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = go_on(miniature, first)
    assert ran.code == 5
    assert "another process works on the record" in ran.err


def test_a_damaged_journal_is_not_gone_on_with(miniature: Miniature) -> None:
    first = miniature.run("--until", "2")
    assert first.folder is not None
    path = first.folder / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:5], *lines[6:]]))
    ran = miniature.run("--continue", str(first.folder))
    assert ran.code == 3
    assert "line 6 of journal.jsonl does not follow the one before it" in ran.err


def test_observation_and_removal_are_further_attempts(miniature: Miniature) -> None:
    miniature.write_target(in_run=False)
    first = miniature.run()
    assert (first.code, first.verdict["observation"]["state"]) == (0, "running")
    early = go_on(miniature, first, "--procedure", "decommission", serves="green")
    assert (early.code, early.verdict) == (5, first.verdict), early.err
    assert "before the observation window has ended" in early.err
    ran = go_on(miniature, first, "--procedure", "observe", serves="green")
    assert (ran.code, second(ran), ran.results()["5.1"]) == (0, ["5.1"], "PASS"), ran.out + ran.err


@pytest.mark.parametrize(
    ("ends", "code", "goes_back"),
    [("SIGINT", 4, False), ("error", 3, False), ("undecided", 4, False), ("refuse", 5, False), ("fail", 1, True)],
)
def test_green_keeps_the_traffic_unless_its_observation_speaks_against_it(
    *, miniature: Miniature, ends: str, code: int, goes_back: bool
) -> None:
    miniature.write_target(in_run=False)
    first = miniature.run()
    ran = go_on(miniature, first, "--procedure", "observe", serves="green", **{"5.1": ends})
    assert ran.code == code, ran.out + ran.err
    went_back = [line["event"] for line in ran.journal if line["event"] == "rollback_finished"]
    sent_back = [line for line in ran.journal if line["data"].get("what") == "sent back"]
    assert (bool(went_back), bool(sent_back)) == (goes_back, goes_back)
    if not goes_back:
        again = go_on(miniature, first, "--procedure", "observe", serves="green")
        assert (again.code, again.results()["5.1"]) == (0, "PASS"), again.out + again.err


def test_what_is_asked_of_no_cutover_is_refused(miniature: Miniature) -> None:
    first = miniature.run("--until", "2")
    ran = go_on(miniature, first, "--procedure", "observe")
    assert ran.code == 5
    assert "green does not have the traffic" in ran.err


def test_the_record_tells_who_worked_on_it(miniature: Miniature) -> None:
    first = miniature.run("--until", "1")
    ran = go_on(miniature, first, "--until", "2", "--reason", "the second evening")
    assert [attempt["number"] for attempt in ran.verdict["attempts"]] == [1, 2]
    assert ran.verdict["attempts"][1]["reason"] == "the second evening"
    assert ran.verdict["result"] == "INCOMPLETE"
    assert json.loads(json.dumps(ran.verdict["attempts"][0]))["result"] == "INCOMPLETE"


def test_an_observation_that_did_not_pass_is_looked_at_again_and_sends_nothing_back(miniature: Miniature) -> None:
    miniature.write_target(in_run=False)
    first = miniature.run()
    ran = go_on(miniature, first, "--procedure", "observe", **{"serves": "green", "5.1": "error"})
    assert (ran.code, ran.results()["5.1"], ran.results()["R.1"]) == (3, "ERROR", "NOT_RUN")
    again = go_on(miniature, ran, "--procedure", "observe", serves="green")
    assert (again.code, second(again), again.results()["R.1"]) == (0, ["5.1"], "NOT_RUN")
    resumed = go_on(miniature, ran, "--procedure", "resume", serves="green")
    assert "R.1" not in second(resumed)


def test_blue_is_not_removed_while_a_phase_was_left_out(miniature: Miniature) -> None:
    miniature.write_target(in_run=False)
    first = miniature.run("--until", "3")
    watched = go_on(miniature, first, "--procedure", "observe", serves="green")
    assert (watched.code, watched.verdict["result"]) == (4, "INCOMPLETE")
    ran = go_on(miniature, watched, "--procedure", "decommission", serves="green")
    assert ran.code == 5
    assert "4.1a was not performed" in ran.err
    assert len(ran.journal) == len(watched.journal), "nothing was written"
