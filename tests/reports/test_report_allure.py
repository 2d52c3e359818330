"""allure-results/: a runbook in miniature, run by the real plug-ins in a process of its own.

What is looked at is in the files; the page that Allure makes of them is the business of test_report_allure_page.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import sample_record
from miniature import Miniature, Ran

from cutover import project
from cutover.runbook import inventory
from reports import allure_record, allure_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

Made = dict[str, Any]

OUTLINE = """\
  Rule: A weight is kept only while green does well

    Scenario Outline: <weight> percent moves
      When clause 3.1a is performed
      Then it holds
      And it is done

      @clause_3_1a
      Examples:
        | weight |
        | 10     |

  @clause_3_2
"""
COMMAND = """\
def there(upgrade):
    upgrade.path("artifacts", "commands", "001-probe.txt").write_text(f"$ probe {DO.get('word', 'it')}\\n", "utf-8")
    upgrade.journal.write(
        "command", argv=["probe"], exit_code=0, duration_s=0.1, transcript="artifacts/commands/001-probe.txt"
    )
    upgrade.journal.write(
        "gate", name="latency_p99", title="latency p99", result="PASS", value=0.02, limit=0.25, unit="s", percent=10,
        samples=812, query="q", reason="",
    )


@then("it is done")
def done(did):
    pass
"""


class Runbook(Miniature):
    """The miniature with a Rule, an outline, a command and a gate."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        steps = root / "fake_steps.py"
        steps.write_text(steps.read_text("utf-8").replace("def there(upgrade):\n    pass\n", COMMAND), "utf-8")

    def write_features(self) -> None:
        """Replace the plain scenario of 3.1a by an outline in a Rule."""
        super().write_features()
        path = self.root / "features" / "3.feature"
        text = path.read_text("utf-8")
        head, _, rest = text.partition("  @clause_3_2\n")
        scenario = "  @clause_3_2\n" + rest.partition("  @clause_3_1a\n")[0]
        path.write_text(head + scenario + OUTLINE.rpartition("  @clause_3_2\n")[0], "utf-8")

    def go(self, *arguments: str, **do: object) -> Ran:
        """Run it, reports included."""
        return self.run("-p", "reports.plugin", *arguments, do=do)

    def planned(self) -> tuple[inventory.PlannedScenario, ...]:
        """Return its scenarios."""
        return inventory.read_features(self.root / "features")


@pytest.fixture
def runbook(tmp_path: Path) -> Runbook:
    """Return a runbook in miniature, in a folder of its own."""
    return Runbook(tmp_path)


def results(folder: Path | None) -> list[Made]:
    assert folder is not None
    return [json.loads(path.read_text("utf-8")) for path in sorted((folder / "allure-results").glob("*-result.json"))]


def of(made: list[Made], clause: str) -> list[Made]:
    """Return a clause's results, the newest first."""
    found = [one for one in made if {"name": "clause", "value": clause} in one["labels"]]
    return sorted(found, key=lambda one: int(one["start"]), reverse=True)


def labels(one: Made, name: str) -> list[str]:
    return [label["value"] for label in one["labels"] if label["name"] == name]


def steps(one: Made) -> list[tuple[str, str]]:
    return [(step["name"], step["status"]) for step in one.get("steps", ())]


def every_file(folder: Path) -> Iterator[tuple[str, str]]:
    return ((path.name, path.read_text("utf-8")) for path in (folder / "allure-results").iterdir())


def agree(ran: Ran) -> None:
    """Fail when the newest result of a clause says something else than the verdict."""
    mapped = {"PASS": "passed", "FAIL": "failed", "NOT_RUN": "skipped", "ERROR": "broken", "INCONCLUSIVE": "unknown"}
    made = results(ran.folder)
    assert {clause: of(made, clause)[0]["status"] for clause in ran.results()} == {
        clause: mapped[result] for clause, result in ran.results().items()
    }


def test_a_failed_run_is_told_scenario_by_scenario(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.1a": "fail"})
    assert ran.code == 1, ran.err
    assert "allure-results" not in ran.err, "nothing went wrong with them"
    agree(ran)
    made = results(ran.folder)
    assert len(made) == len(ran.results()), "one for each clause, T.1 without a scenario too"

    [failed] = of(made, "3.1a")
    assert failed["name"] == "3.1a 10 percent moves"
    assert failed["fullName"] == "features/3#<weight> percent moves"
    assert failed["parameters"] == [{"name": "weight", "value": "10"}]
    assert labels(failed, "rule") == labels(failed, "story") == ["A weight is kept only while green does well"]
    assert labels(failed, "epic") == ["3 Cutover"]
    assert labels(failed, "severity") == ["critical"]
    assert labels(failed, "attempt") == ["1"]
    assert failed["links"][0]["url"] == "../report.html#clause-3-1a"
    assert steps(failed) == [
        ("Given the site is there", "passed"),
        ("When clause 3.1a is performed", "failed"),
        ("Then it holds", "skipped"),
        ("And it is done", "skipped"),
    ]
    assert failed["steps"][1]["parameters"] == [{"name": "clause", "value": "3.1a"}]
    assert failed["steps"][1]["stop"] >= failed["steps"][1]["start"] >= failed["start"]
    assert failed["statusDetails"]["message"].splitlines() == [
        "it is broken",
        "cause: a stone hit it",
        "seen: a crack",
        "next: mend it",
        "kind: product",
    ]
    assert "ClauseFailed" in failed["statusDetails"]["trace"]
    assert "site-packages" not in failed["statusDetails"]["trace"]

    transcript, samples = failed["steps"][0]["attachments"]
    assert (transcript["name"], samples["name"]) == ("001-probe.txt", "gate samples")
    assert ran.folder is not None
    folder = ran.folder / "allure-results"
    assert "latency_p99,PASS,0.02,0.25" in (folder / samples["source"]).read_text("utf-8")
    charts = {one["name"]: one for one in failed["attachments"]}
    assert (folder / charts["gates against their limits"]["source"]).read_text("utf-8").count("<rect") >= 2

    [never] = of(made, "3.2")
    assert never["statusDetails"]["message"] == "not reached: 3.1a failed"
    assert [status for _, status in steps(never)] == ["skipped"] * 3, "what would have been done is there to read"
    assert labels(of(made, "5.2a")[0], "severity") == ["blocker"]
    assert of(made, "T.1")[0]["statusDetails"]["message"] == "not yet"
    assert "_pytest_bdd_example" not in json.dumps(made)


def test_no_secret_is_in_any_file(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.1a": "leak", "word": "s3cret-value"})
    assert ran.folder is not None
    assert ran.code != 0
    leaking = [name for name, text in every_file(ran.folder) if "s3cret-value" in text]
    assert not leaking
    told = "".join(text for _, text in every_file(ran.folder))
    assert "password [redacted]" in told, "the error's own text is there, without the secret"
    assert "$ probe [redacted]" in told, "and so is the transcript"
    assert of(results(ran.folder), "3.1a")[0]["statusDetails"]["message"].endswith("kind: harness")


@pytest.mark.parametrize(
    ("clause", "does", "status", "kind"),
    [
        ("2.1a", "fail", "failed", "product"),
        ("2.1a", "error", "broken", "environment"),
        ("2.1a", "undecided", "unknown", "environment"),
        ("2.1a", "crash", "broken", "harness"),
        ("2.1a", "assert", "failed", "product"),
    ],
)
def test_every_kind_of_failure_has_its_category(
    runbook: Runbook, clause: str, does: str, status: str, kind: str
) -> None:
    ran = runbook.go(**{clause: does})
    agree(ran)
    [failed] = of(results(ran.folder), clause)
    assert failed["status"] == status
    assert ran.folder is not None
    categories = json.loads((ran.folder / "allure-results" / "categories.json").read_text("utf-8"))
    message = failed["statusDetails"]["message"]
    matching = [
        c["name"] for c in categories if re.search(c["messageRegex"], message) and status in c["matchedStatuses"]
    ]
    assert [name.partition(":")[0].lower() for name in matching] == [f"{kind} defect" if kind == "product" else kind]


def test_a_step_that_a_skip_cuts_short_is_closed_and_the_scenario_keeps_its_labels(runbook: Runbook) -> None:
    ran = runbook.go(**{"2.1a": "skip"})
    agree(ran)
    [skipped] = of(results(ran.folder), "2.1a")
    assert labels(skipped, "feature")
    assert steps(skipped)[1:] == [("When clause 2.1a is performed", "skipped"), ("Then it holds", "skipped")]


def test_a_killed_and_resumed_run_shows_what_was_broken_off_kept_and_made_again(runbook: Runbook) -> None:
    killed = runbook.go(**{"3.1a": "kill", "serves": "blue"})
    assert killed.code == -9
    before = results(killed.folder)
    assert {labels(one, "clause")[0] for one in before} == {"P.1", "1.1a", "2.1a"}, "left by the process that died"
    assert {one["status"] for one in before} == {"passed"}

    ran = runbook.go("--continue", str(killed.folder), serves="blue")
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.err
    agree(ran)
    made = results(ran.folder)
    again, broken_off = of(made, "3.1a")
    assert (again["status"], broken_off["status"]) == ("passed", "broken")
    for name in ("testCaseId", "historyId", "fullName", "parameters"):
        assert again[name] == broken_off[name], f"Allure takes one as a retry of the other by its {name}"
    assert broken_off["statusDetails"]["message"].startswith("attempt 1 was broken off here")
    assert broken_off["statusDetails"]["message"].endswith("kind: broken off")
    assert steps(broken_off) == [
        ("Given the site is there", "passed"),
        ("When clause 3.1a is performed", "broken"),
        ("Then it holds", "skipped"),
        ("And it is done", "skipped"),
        ("Attempt 2 (resume) performed it again", "passed"),
    ]
    assert [one["name"] for one in broken_off["steps"][0]["attachments"]] == ["001-probe.txt", "gate samples"]
    assert steps(again)[0] == ("Attempt 2 (resume) performs it again: attempt 1 was broken off here", "passed")
    assert labels(again, "attempt") == ["2"]

    [kept] = of(made, "1.1a")
    assert steps(kept)[-1] == ("Attempt 2 (resume) kept the result of attempt 1", "passed")
    assert kept["steps"][1]["parameters"] == [{"name": "clause", "value": "1.1a"}], "as the killed process left it"


def test_a_procedure_days_later_adds_to_the_results_and_takes_none_away(runbook: Runbook) -> None:
    runbook.write_target(in_run=False)
    first = runbook.go()
    before = {one["uuid"]: one for one in results(first.folder)}
    assert of(list(before.values()), "5.1")[0]["status"] == "skipped"
    ran = runbook.go("--continue", str(first.folder), "--procedure", "observe", serves="green")
    assert ran.results()["5.1"] == "PASS", ran.err
    agree(ran)
    after = {one["uuid"]: one for one in results(ran.folder)}
    assert len(after) == len(before), "what was not run yet has given way to what was"
    [observed] = of(list(after.values()), "5.1")
    assert labels(observed, "attempt") == ["2"]
    assert steps(of(list(after.values()), "1.1a")[0]) == steps(of(list(before.values()), "1.1a")[0])
    assert of(list(after.values()), "T.1")[0]["statusDetails"]["message"] == "not yet"


def test_what_a_stop_cut_short_and_the_safety_net_did_is_told(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.2": "SIGINT"})
    assert ran.results()["R.1"] == "PASS", ran.err
    agree(ran)
    made = results(ran.folder)
    [stopped] = of(made, "3.2")
    assert stopped["statusDetails"]["message"] == "interrupted by SIGINT"
    assert [status for _, status in steps(stopped)] == ["passed", "skipped", "skipped"]
    [back] = of(made, "R.1")
    assert steps(back) == [("Attempt 1: the run's own safety net", "passed")]
    assert of(made, "4.1a")[0]["statusDetails"]["message"].startswith("not reached")


def test_completing_a_record_twice_changes_nothing(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.1a": "fail"})
    assert ran.folder is not None
    once = dict(every_file(ran.folder))
    allure_record.write(ran.folder, runbook.planned())
    assert dict(every_file(ran.folder)) == once


def test_results_are_made_from_the_record_alone_where_there_are_none(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.1a": "fail"})
    assert ran.folder is not None
    live = {one["uuid"]: one for one in results(ran.folder)}
    shutil.rmtree(ran.folder / "allure-results")
    allure_record.write(ran.folder, runbook.planned())
    agree(ran)
    drawn = {one["uuid"]: one for one in results(ran.folder)}
    assert drawn.keys() == live.keys()
    for name, one in live.items():
        assert steps(drawn[name]) == steps(one)
        assert drawn[name]["labels"] == one["labels"]


def test_a_planned_scenario_that_nobody_reported_is_a_failure(runbook: Runbook) -> None:
    ran = runbook.go()
    assert ran.folder is not None
    journal = ran.folder / "journal.jsonl"
    lines = [line for line in journal.read_text("utf-8").splitlines() if json.loads(line)["clause"] != "4.1a"]
    journal.write_text("\n".join([*lines, ""]), "utf-8")
    allure_record.write(ran.folder, runbook.planned())
    [missing] = of(results(ran.folder), "4.1a")
    assert missing["status"] == "failed"
    assert missing["statusDetails"]["message"].startswith(allure_record.UNREPORTED)
    assert missing["statusDetails"]["message"].endswith("kind: harness")


def test_nothing_that_breaks_here_breaks_the_run(runbook: Runbook) -> None:
    (runbook.root / "broken_allure.py").write_text(
        "import allure_pytest.listener\n\n\n"
        "def broken(*_, **__):\n    raise KeyError('no such test')\n\n\n"
        "allure_pytest.listener.allure_full_name = broken\n"
        "allure_pytest.listener.AllureReporter.start_step = broken\n",
        "utf-8",
    )
    ran = runbook.go("-p", "broken_allure")
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.err
    assert "WARNING: allure-results was not made (KeyError" in ran.err
    agree(ran)


def test_the_environment_the_executor_and_the_verdict_are_told(runbook: Runbook) -> None:
    ran = runbook.go(**{"3.1a": "fail"})
    assert ran.folder is not None
    folder = ran.folder / "allure-results"
    environment = dict(
        line.split("=", 1) for line in (folder / "environment.properties").read_text("utf-8").splitlines()
    )
    assert environment["verdict"] == "FAILED"
    assert environment["to"] == ran.verdict["upgrade"]["to"]
    executor = json.loads((folder / "executor.json").read_text("utf-8"))
    assert executor["buildOrder"] == 1
    told = json.loads((folder / "record-globals.json").read_text("utf-8"))
    assert told["errors"][0]["message"].startswith("FAILED: ")
    assert json.loads((folder / told["attachments"][0]["source"]).read_text("utf-8")) == ran.verdict


def test_the_history_holds_every_earlier_upgrade_of_the_folder_once(tmp_path: Path) -> None:
    first = sample_record.passed(tmp_path).folder
    second = tmp_path / "2026-11-24-0412"
    shutil.copytree(first, second)
    verdict = json.loads((second / "verdict.json").read_text("utf-8"))
    later = {name: verdict[name].replace("2026-11-23", "2026-11-24") for name in ("started", "finished")}
    (second / "verdict.json").write_text(json.dumps(verdict | later), "utf-8")
    for folder in (first, second, second):
        allure_record.write(folder, ())
    assert not (first / "allure-results" / "history.jsonl").exists()
    [point] = [
        json.loads(line) for line in (second / "allure-results" / "history.jsonl").read_text("utf-8").splitlines()
    ]
    assert point["name"] == f"{first.name} PASSED"
    ours = of(results(second), "3.1a")[0]
    key = ".".join(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (ours["testCaseId"], ""))
    assert point["testResults"][key]["status"] == "passed", "under the name that Allure 3 looks for"


def test_the_scenarios_of_the_runbook_have_names_of_their_own() -> None:
    planned = inventory.read_features(project.FEATURES)
    book = allure_results.Book(record_id="r", site="s")
    made = [allure_results.described(book, one, (), attempt=1) for one in planned]
    assert len({(one.testCaseId, str(one.parameters)) for one in made}) == len(planned), "else one is taken for a retry"
