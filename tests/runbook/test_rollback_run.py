"""A rollback that a person asks for, over a runbook in miniature: which clauses, in which order, and what stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from miniature import CLAUSES, FEATURE, SCENARIO

if TYPE_CHECKING:
    from miniature import Miniature, Ran

pytestmark = pytest.mark.timeout(200)

EXTRA = ("R.2a", "R.2b", "R.2c", "R.2d", "R.2e", "R.3")
KILLED = -9
CONFTEST = """

def plan(upgrade, *, remove_green=False):
    from cutover.runbook import reverse

    seen = reverse.Observed(**json.loads(os.environ["MINIATURE"]).get("seen", {}))
    return reverse.plan(upgrade.journal.entries(), observed=seen, remove_green=remove_green)


going_back = types.ModuleType("cutover.procedures.rollback")
going_back.plan = plan
sys.modules["cutover.procedures.rollback"] = going_back
import cutover.procedures

cutover.procedures.rollback = going_back
"""
GREEN = {"serves": "green", "is_split": False, "blue_installed": True, "green_installed": True, "breaking": []}
WITHOUT_BLUE = {**GREEN, "blue_installed": False}


@pytest.fixture
def runbook(miniature: Miniature) -> Miniature:
    """Return the miniature with every clause of the way back."""
    miniature.write_catalogue(clauses=(*CLAUSES, *EXTRA))
    text = FEATURE.format(stage="rollback", title="The way back")
    text += "".join(SCENARIO.format(clause=clause, tag=clause.replace(".", "_")) for clause in EXTRA)
    (miniature.root / "features" / "wayback.feature").write_text(text, "utf-8")
    path = miniature.root / "conftest.py"
    path.write_text(path.read_text("utf-8") + CONFTEST, "utf-8")
    return miniature


def go_back(runbook: Miniature, ran: Ran, *arguments: str, procedure: str = "rollback", **do: object) -> Ran:
    assert ran.folder is not None
    return runbook.run("--continue", str(ran.folder), "--procedure", procedure, *arguments, do=do)


def begun(ran: Ran) -> list[str]:
    """Return the clauses that the last attempt began, in order."""
    last = max(index for index, line in enumerate(ran.journal) if line["event"] == "run_resumed")
    return [line["clause"] for line in ran.journal[last:] if line["event"] == "clause_started"]


def test_a_run_performs_none_of_it(runbook: Miniature) -> None:
    ran = runbook.run()
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.out + ran.err
    assert {ran.results()[clause] for clause in EXTRA} == {"NOT_RUN"}


def test_after_the_cutover_requests_go_back_once_it_is_decided_and_the_rest_follows(runbook: Miniature) -> None:
    first = runbook.run("--until", "4")
    ran = go_back(runbook, first, "--reason", "one customer waits", seen=GREEN, serves="green")
    assert begun(ran) == ["R.2b", "R.1", "R.2a", "R.2c"], ran.out + ran.err
    assert ran.verdict["result"] == "ROLLED_BACK"
    assert ran.code == 0, "what was asked for was done"
    assert ran.verdict["exit_code"] == 1, "the upgrade is not in effect"
    assert ran.results()["R.2d"] == "NOT_RUN"
    resumed = next(line for line in ran.journal if line["event"] == "run_resumed")
    assert resumed["data"]["reason"] == "one customer waits"
    assert resumed["data"]["way_back"]["schema"] == "cutover/reverse-plan/v1"
    assert ran.reason("R.2e") == "blue is installed"


def test_while_traffic_moves_it_goes_back_at_once(runbook: Miniature) -> None:
    first = runbook.run(do={"3.1a": "kill"})
    assert first.code == KILLED
    seen = {**GREEN, "serves": "mixed", "is_split": True}
    assert begun(go_back(runbook, first, seen=seen, serves="green")) == ["R.1", "R.2c"]


def test_nothing_to_send_back_is_refused_and_leaves_no_line(runbook: Miniature) -> None:
    first = runbook.run("--until", "2")
    ran = go_back(runbook, first, seen={**GREEN, "serves": "blue"})
    assert ran.code == 5
    assert "nothing to send back" in ran.err
    assert ran.journal == first.journal


def test_blue_gets_nothing_before_it_is_decided_that_it_can(runbook: Miniature) -> None:
    first = runbook.run("--until", "4")
    ran = go_back(runbook, first, seen=GREEN, serves="green", **{"R.2b": "fail"})
    assert begun(ran) == ["R.2b"]
    assert (ran.code, ran.verdict["result"]) == (1, "FAILED")
    assert ran.verdict["rollback"]["performed"] is False
    assert not list(runbook.root.rglob("restored")), "green serves as before"


def test_a_rollback_that_is_stopped_before_its_decision_changes_nothing(runbook: Miniature) -> None:
    first = runbook.run("--until", "4")
    ran = go_back(runbook, first, seen=GREEN, serves="green", **{"R.2b": "SIGINT"})
    assert ran.code == 4, ran.out + ran.err
    assert ran.verdict["rollback"]["performed"] is False
    again = go_back(runbook, ran, seen=GREEN, serves="green")
    assert (begun(again), again.verdict["result"]) == (["R.2b", "R.1", "R.2a", "R.2c"], "ROLLED_BACK")


def test_once_requests_go_back_a_stop_does_not_leave_them_half_way(runbook: Miniature) -> None:
    first = runbook.run("--until", "4")
    ran = go_back(runbook, first, seen=GREEN, serves="green", **{"R.1 begins": "SIGINT"})
    assert ran.verdict["rollback"] | {"took_s": 0, "trigger": ""} == {
        "performed": True,
        "serves": "blue",
        "took_s": 0,
        "trigger": "",
    }


def test_blue_is_deployed_again_before_a_request_goes_to_it(runbook: Miniature) -> None:
    first = runbook.run()
    ran = go_back(runbook, first, seen=WITHOUT_BLUE, serves="green")
    assert begun(ran) == ["R.2a", "R.2b", "R.2e", "R.1", "R.2c"]


def test_a_killed_rollback_is_gone_on_with_by_resume(runbook: Miniature) -> None:
    first = runbook.run()
    killed = go_back(runbook, first, "--remove-green", seen=WITHOUT_BLUE, serves="green", **{"R.2e": "kill"})
    assert killed.code == KILLED
    ran = go_back(runbook, killed, procedure="resume", seen=WITHOUT_BLUE, serves="green")
    assert begun(ran) == ["R.2a", "R.2b", "R.2e", "R.1", "R.2c", "R.3"], "green is still to be removed"
    assert ran.verdict["result"] == "ROLLED_BACK"
    assert [attempt["broken_off"] for attempt in ran.verdict["attempts"]] == [False, True, False]


def test_an_observation_performs_nothing_of_the_way_back(runbook: Miniature) -> None:
    first = runbook.run("--until", "4")
    ran = go_back(runbook, first, procedure="observe", serves="green")
    assert begun(ran) == ["5.1"], ran.out + ran.err
