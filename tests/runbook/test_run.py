"""The run as an operator starts it: a process of its own, over a runbook in miniature."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from miniature import Miniature, Ran

pytestmark = pytest.mark.timeout(120)

GREEN = {"P.1": "PASS", "1.1a": "PASS", "2.1a": "PASS", "3.1a": "PASS", "3.2": "PASS", "4.1a": "PASS", "5.1": "PASS"}
ORDER = ["P.1", "1.1a", "2.1a", "3.1a", "3.2", "4.1a", "5.1", "5.2a"]


def test_everything_passes_in_the_catalogues_order(miniature: Miniature) -> None:
    ran = miniature.run()
    assert ran.code == 0, ran.out + ran.err
    assert ran.performed() == ORDER
    assert ran.results() == {**GREEN, "5.2a": "PASS", "R.1": "NOT_RUN", "T.1": "NOT_RUN"}
    assert ran.reason("R.1") == "no rollback was needed"
    assert ran.reason("T.1") == "not yet"
    assert ran.verdict["result"] == "PASSED"
    assert ran.verdict["scope"] == "all"
    assert ran.verdict["observation"] == {"state": "complete", "until": None, "window_s": 259200}
    assert ran.verdict["load"]["attempted"] == 200
    assert "PASSED" in ran.out
    assert "collected" not in ran.out, "pytest's own report is silent"


def test_the_record_holds_what_was_meant_and_what_happened(miniature: Miniature) -> None:
    ran = miniature.run()
    assert ran.folder is not None
    entries = Journal.verify(ran.folder / "journal.jsonl", head=ran.verdict["journal"]["head"])
    assert len(entries) == ran.verdict["journal"]["entries"]
    assert entries[0].event == "run_started"
    assert entries[-1].event == "run_finished"
    assert json.loads((ran.folder / "plan.json").read_text())["digest"] == ran.verdict["plan"]["digest"]
    assert (ran.folder / "policy.toml").read_text() == (miniature.root / "policy.toml").read_text()
    steps = [line["data"]["text"] for line in ran.journal if line["event"] == "step" and line["clause"] == "2.1a"]
    assert steps == ["the site is there", "clause 2.1a is performed", "it holds"]


@pytest.mark.parametrize("how", ["fail", "leak"])
def test_no_file_of_the_record_holds_a_secret(miniature: Miniature, how: str) -> None:
    ran = miniature.run(do={"3.2": how})
    assert ran.folder is not None
    files = [path for path in ran.folder.rglob("*") if path.is_file()]
    assert any("[redacted]" in path.read_text("utf-8") for path in files)
    assert [path for path in files if b"s3cret-value" in path.read_bytes()] == []


@pytest.mark.parametrize("planted", ["password s3cret-value", base64.b64encode(b"stella:s3cret-value").decode()])
def test_a_secret_in_the_record_spoils_the_run_and_is_not_repeated(miniature: Miniature, planted: str) -> None:
    ran = miniature.run(do={"3.2": "plant", "planted": planted})
    assert ran.code == 3, ran.out + ran.err
    assert ran.verdict["result"] == "ERROR"
    assert ran.verdict["reasons"][0].endswith("store.access_key in artifacts/canary.json")
    assert "SECRET IN THE RECORD: store.access_key in " in ran.err
    assert "s3cret-value" not in ran.out + ran.err + json.dumps(ran.journal)


def test_a_secret_in_a_report_alone_spoils_the_run_too(miniature: Miniature) -> None:
    """Reports are made after the verdict: it is computed once more, and every report says what it says now."""
    ran = miniature.run(do={"reported": "key s3cret-value"})
    assert ran.code == 3, ran.out + ran.err
    assert ran.verdict["result"] == "ERROR"
    assert ran.verdict["reasons"][0].endswith("the record holds secrets of the target: store.access_key in report.html")
    assert [line["data"]["result"] for line in ran.journal if line["event"] == "run_finished"] == ["PASSED", "ERROR"]
    assert ran.folder is not None
    assert (ran.folder / "report.html").read_text("utf-8").startswith("ERROR")
    assert "s3cret-value" not in ran.out + ran.err + json.dumps(ran.journal)
    assert ran.verdict["journal"]["head"] == Journal.verify(ran.folder / "journal.jsonl")[-1].digest


@pytest.mark.parametrize(
    ("how", "result", "outcome", "code", "halt"),
    [
        ("fail", "FAIL", "FAILED", 1, "2.1a failed"),
        ("assert", "FAIL", "FAILED", 1, "2.1a failed"),
        ("input", "ERROR", "ERROR", 2, "2.1a could not be measured"),
        ("error", "ERROR", "ERROR", 3, "2.1a could not be measured"),
        ("crash", "ERROR", "ERROR", 3, "2.1a could not be measured"),
        ("undecided", "INCONCLUSIVE", "INCONCLUSIVE", 4, "2.1a was inconclusive"),
        ("skip", "NOT_RUN", "INCOMPLETE", 4, "2.1a was not run"),
        ("refuse", "FAIL", "FAILED", 5, "2.1a failed"),
    ],
)
def test_the_first_clause_that_does_not_pass_ends_the_run(  # noqa: PLR0917  # a row of the table
    miniature: Miniature, how: str, result: str, outcome: str, code: int, halt: str
) -> None:
    ran = miniature.run(do={"2.1a": how})
    assert ran.code == code, ran.out + ran.err
    assert ran.verdict["result"] == outcome
    assert ran.verdict["exit_code"] == code
    assert ran.results()["2.1a"] == result
    assert ran.performed() == ["P.1", "1.1a", "2.1a"]
    assert ran.reason("3.1a") == f"not reached: {halt}"
    assert ran.reason("R.1") == "no rollback was needed: no traffic had moved"


def test_a_failure_says_what_was_seen_why_and_what_to_do(miniature: Miniature) -> None:
    ran = miniature.run(do={"2.1a": "fail"})
    clause = next(clause for clause in ran.verdict["clauses"] if clause["id"] == "2.1a")
    assert (clause["reason"], clause["cause"], clause["remedy"]) == ("it is broken", "a stone hit it", "mend it")
    block = ran.out[ran.out.index("FAIL 2.1a  it is broken") :]
    assert [line.split()[0] for line in block.splitlines()[1:6]] == ["seen", "cause", "guide", "do", "state"]
    assert "no traffic was moved away from blue" in block


def test_a_warning_in_a_step_fails_nothing(miniature: Miniature) -> None:
    assert miniature.run("-W", "error", do={"2.1a": "warn"}).code == 0


@pytest.mark.parametrize(
    ("do", "failed", "code"),
    [
        ({"3.1a": "fail"}, "3.1a", 1),
        ({"3.1a": "break-while-shifting"}, "3.1a", 1),
        ({"3.2": "error"}, "3.2", 3),
        ({"4.1a": "fail"}, "4.1a", 1),
        ({"5.1": "fail"}, "5.1", 1),
    ],
)
def test_a_failure_after_traffic_moved_is_rolled_back_next(
    miniature: Miniature, do: dict[str, object], failed: str, code: int
) -> None:
    ran = miniature.run(do=do)
    assert ran.code == code, ran.out + ran.err
    assert ran.performed() == [*ORDER[: ORDER.index(failed) + 1], "R.1"]
    assert ran.results()["R.1"] == "PASS"
    assert ran.verdict["rollback"] == {"performed": True, "serves": "blue", "took_s": 0.2, "trigger": "clause"}
    finished = [line["clause"] for line in ran.journal if line["event"] == "clause_finished"]
    assert finished[finished.index(failed) + 1] == "R.1", "nothing comes between"


def test_a_failure_after_blue_was_removed_is_not_rolled_back(miniature: Miniature) -> None:
    ran = miniature.run(do={"5.2a": "fail"})
    assert ran.code == 1
    assert ran.performed() == ORDER
    assert ran.results()["R.1"] == "NOT_RUN"


def test_a_rollback_that_fails_is_worse_than_what_it_answered(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "error", "R.1": "fail"})
    assert (ran.code, ran.verdict["result"], ran.results()["R.1"]) == (1, "FAILED", "FAIL")


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stop_restores_blue_and_writes_the_record(miniature: Miniature, signal: str) -> None:
    ran = miniature.run(do={"3.2": signal})
    assert ran.code == 4, ran.out + ran.err
    assert ran.verdict["result"] == "INCOMPLETE"
    assert ran.reason("3.2") == f"interrupted by {signal}"
    assert ran.reason("4.1a") == f"not reached: the run was stopped ({signal})"
    assert ran.results()["R.1"] == "PASS"
    assert f"interrupted by {signal}" in ran.verdict["reasons"]


def test_a_stop_whose_rescue_fails_is_a_failure(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "SIGINT", "rescued-by": "mixed"})
    assert (ran.code, ran.results()["R.1"]) == (1, "FAIL")
    assert ran.reason("R.1") == "blue does not serve every request: served by mixed"


def test_a_stop_as_the_way_back_begins_restores_blue(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "crash", "R.1 begins": "SIGINT"})
    assert ran.code != 0
    assert ran.verdict["rollback"]["serves"] == "blue"


def test_blue_gets_the_traffic_back_though_nothing_can_be_written(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "disk-full"})
    assert ran.code != 0
    assert ran.folder is not None
    assert (ran.folder / "restored").exists()


def test_a_stop_before_any_traffic_restores_nothing(miniature: Miniature) -> None:
    ran = miniature.run(do={"1.1a": "SIGINT"})
    assert (ran.code, ran.results()["R.1"]) == (4, "NOT_RUN")


def test_two_stops_end_at_once_and_leave_the_journal(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "twice"})
    assert ran.code == 4
    assert ran.verdict == {}
    assert ran.journal[-1]["event"] != "run_finished"
    assert "stopped at once (SIGINT)" in ran.out


def test_the_end_of_pytest_from_a_step_is_a_stop(miniature: Miniature) -> None:
    ran = miniature.run(do={"3.2": "exit"})
    assert (ran.code, ran.results()["3.2"], ran.results()["R.1"]) == (4, "NOT_RUN", "PASS")


@pytest.mark.parametrize(
    ("arguments", "performed", "scope"),
    [
        (["--phase", "1"], ["P.1", "1.1a"], "phases 1"),
        (["--phase", "2", "--phase", "1"], ["P.1", "1.1a", "2.1a"], "phases 1, 2"),
        (["--until", "3"], ORDER[:5], "until 3"),
        (["-m", "phase_1"], ["P.1", "1.1a"], "selected with -m phase_1"),
        (["-m", "clause_1_1a"], ["1.1a"], "selected with -m clause_1_1a"),
    ],
)
def test_a_part_of_a_run_is_incomplete(
    miniature: Miniature, arguments: list[str], performed: list[str], scope: str
) -> None:
    ran = miniature.run(*arguments)
    assert ran.code == 4, ran.out + ran.err
    assert ran.verdict["result"] == "INCOMPLETE"
    assert ran.verdict["scope"] == scope
    assert ran.performed() == performed
    assert ran.reason("4.1a") == f"not in the scope of this run: {scope}"


def test_a_selection_never_takes_the_way_back_away(miniature: Miniature) -> None:
    ran = miniature.run("-m", "phase_3", do={"3.2": "fail"})
    assert ran.performed() == ["3.1a", "3.2", "R.1"]
    assert next(line for line in ran.journal if line["event"] == "clause_started" and line["clause"] == "R.1")["data"][
        "scenario"
    ].startswith("Clause R.1")


@pytest.mark.parametrize("how", ["option", "policy"])
def test_instant_leaves_the_weights_out_and_passes(miniature: Miniature, how: str) -> None:
    if how == "policy":
        miniature.write_target(strategy="instant")
    ran = miniature.run(*(["--strategy", "instant"] if how == "option" else []))
    assert ran.code == 0, ran.out + ran.err
    assert ran.results()["3.1a"] == "NOT_RUN"
    assert ran.reason("3.1a") == "instant strategy"
    assert ran.verdict["strategy"] == "instant"


def test_a_live_site_is_observed_after_the_run(miniature: Miniature) -> None:
    miniature.write_target(in_run=False)
    ran = miniature.run()
    assert ran.code == 0, ran.out + ran.err
    assert ran.performed() == ORDER[:6]
    assert ran.reason("5.1") == f"observation runs until {ran.verdict['observation']['until']}"
    assert ran.verdict["observation"]["state"] == "running"


def test_failed_requests_fail_the_run_whatever_the_scenarios_said(miniature: Miniature) -> None:
    ran = miniature.run(do={"failed": 1})
    assert (ran.code, ran.verdict["result"]) == (1, "FAILED")
    assert ran.verdict["reasons"][0] == "1 of 200 requests failed at the public host"


def test_a_record_is_never_written_over(miniature: Miniature) -> None:
    miniature.run("--phase", "1")
    miniature.run("--phase", "1")
    folders = sorted(path.name for path in (miniature.root / "records").iterdir())
    assert len(folders) == 2


# -- wrong input -------------------------------------------------------------------------------------------------------


def _one_message(ran: Ran, *parts: str) -> None:
    assert ran.code == 2, ran.out + ran.err
    assert ran.out == ""
    assert ran.err.count("ERROR") == 1
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err
    assert ran.journal == []


def test_no_target(miniature: Miniature) -> None:
    _one_message(miniature.run(target=False), "no target file was given", "--target FILE")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--target", "absent.toml"], ["there is no target file at", "absent.toml"]),
        (["--phase", "six"], ["--phase six is not a number"]),
        (["--phase", "6"], ["there is no phase 6"]),
        (["--until", "0"], ["there is no phase 0"]),
        (["--phase", "1", "--until", "2"], ["exclude each other"]),
        (["--strategy", "sideways"], ["--strategy sideways is none"]),
        (["--record", "target.toml"], ["no record can be written in"]),
    ],
)
def test_wrong_arguments(miniature: Miniature, arguments: list[str], parts: list[str]) -> None:
    _one_message(miniature.run(*arguments), *parts)


def test_a_wrong_file(miniature: Miniature) -> None:
    path = miniature.root / "policy.toml"
    path.write_text(path.read_text("utf-8").replace("max = 0.001", "max = 2"), "utf-8")
    _one_message(miniature.run(), "gates.error_ratio.max", "contract/policy.schema.json")


def test_a_file_that_the_target_names_is_absent(miniature: Miniature) -> None:
    (miniature.root / "kubeconfig").unlink()
    _one_message(miniature.run(), "kubernetes.kubeconfig")


# -- guards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("    Then it holds\n", "    Then it shines\n", "Then 'it shines' has no definition"),
        ("@clause_2_1a", "@clause_2_1a @hasty", "hasty"),
        ("Feature:", "Feature", "2.feature"),
    ],
)
def test_a_feature_that_cannot_be_right_is_found_before_anything_runs(
    miniature: Miniature, old: str, new: str, part: str
) -> None:
    path = miniature.root / "features" / "2.feature"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    _one_message(miniature.run(), part)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ("@then('it holds')\ndef again():\n    pass\n", "2 definitions"),
        ("@then('it glows')\ndef glows():\n    pass\n", "glows defines a step that no scenario uses"),
        ("@given(parsers.parse('the site is {how}'))\nasync def later():\n    pass\n", "later is a coroutine"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_a_step_that_cannot_be_right_is_found_before_anything_runs(miniature: Miniature, more: str, part: str) -> None:
    path = miniature.root / "fake_steps.py"
    path.write_text(path.read_text("utf-8") + "\n\n" + more, "utf-8")
    ran = miniature.run()
    assert ran.code != 0
    assert part in ran.err + ran.out
    assert ran.journal == []


def test_collecting_alone_needs_no_target_and_checks_everything(miniature: Miniature) -> None:
    ran = miniature.run("--collect-only", "-q", target=False)
    assert ran.code == 0, ran.out + ran.err
    assert ran.journal == []
