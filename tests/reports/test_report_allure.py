"""allure-results/: real scenarios, run by a pytest of their own, joined with a record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import sample_record

from cutover import project

if TYPE_CHECKING:
    from pathlib import Path

FEATURE = """
@phase_3
Feature: Gradual cutover
  Undone by restore.

  Rule: A weight is kept only while green does well

    Scenario Outline: <weight> percent moves
      Given the load runs
      When the weight is set to <weight>
      Then the gate passes
      And nothing else is done

      @clause_3_1a
      Examples:
        | weight |
        | 10     |

  @clause_1_1a
  Scenario: Blue is healthy
    Given the load runs

  @clause_5_2a
  Scenario: Blue is removed
    Given the load runs
"""

CONFTEST = """
from pathlib import Path

import pytest
from pytest_bdd import given, parsers, then, when

from cutover.errors import ClauseFailed
from reports.allure import Collector

COLLECTOR = Collector(["hunter2"])


def pytest_configure(config):
    config.pluginmanager.register(COLLECTOR)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if "clause_5_2a" in {mark.name for mark in item.iter_markers()}:
        pytest.skip("not reached")


def pytest_sessionfinish():
    COLLECTOR.write(Path(__file__).parent / "2026-11-23-0412")


@given("the load runs")
def _(): ...


@when(parsers.parse("the weight is set to {weight}"))
def _(weight): ...


@then("the gate passes")
def _():
    raise ClauseFailed("green does not satisfy the gate, says hunter2", code="gate-failed")


@then("nothing else is done")
def _(): ...
"""


@pytest.fixture
def results(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the results of three scenarios: one fails, one passes, one is skipped before it begins."""
    folder = sample_record.failed(tmp_path).folder
    (tmp_path / "cutover.feature").write_text(FEATURE, "utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    (tmp_path / "test_it.py").write_text('from pytest_bdd import scenarios\n\nscenarios(".")\n', "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:cov", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (project.ROOT / "src", project.ROOT)))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "1 failed, 1 passed, 1 skipped" in ran.stdout, ran.stdout + ran.stderr
    return [json.loads(path.read_text("utf-8")) for path in (folder / "allure-results").glob("*-result.json")]


def of(results: list[dict[str, Any]], clause: str) -> dict[str, Any]:
    return next(r for r in results if {"name": "clause", "value": clause} in r["labels"])


def labels(result: dict[str, Any], name: str) -> list[str]:
    return [label["value"] for label in result["labels"] if label["name"] == name]


def test_results_agree_with_the_record(results: list[dict[str, Any]], tmp_path: Path) -> None:
    verdict = json.loads((tmp_path / sample_record.ID / "verdict.json").read_text("utf-8"))
    mapped = {"PASS": "passed", "FAIL": "failed", "NOT_RUN": "skipped"}
    assert {labels(r, "clause")[0]: r["status"] for r in results} == {
        clause["id"]: mapped[clause["result"]] for clause in verdict["clauses"]
    }, "also the clauses that have no scenario"

    failed = of(results, "3.1a")
    assert labels(failed, "feature") == ["Gradual cutover"]
    assert labels(failed, "rule") == labels(failed, "story") == ["A weight is kept only while green does well"]
    assert labels(failed, "epic") == ["3 Cutover"]
    assert labels(failed, "severity") == ["critical"]
    assert failed["parameters"] == [{"name": "weight", "value": "10"}]
    assert [(step["name"], step["status"]) for step in failed["steps"]] == [
        ("Given the load runs", "passed"),
        ("When the weight is set to 10", "passed"),
        ("Then the gate passes", "failed"),
        ("And nothing else is done", "skipped"),
    ]
    assert failed["steps"][1]["parameters"] == [{"name": "weight", "value": "10"}]
    assert failed["statusDetails"]["message"].startswith("green does not satisfy the gate: latency p99")
    assert "ClauseFailed" in failed["statusDetails"]["trace"]
    assert "site-packages" not in failed["statusDetails"]["trace"]
    assert "says [redacted]" in failed["steps"][2]["statusDetails"]["message"]
    assert failed["links"][0]["url"] == "../report.html#clause-3-1a"
    folder = tmp_path / sample_record.ID / "allure-results"
    assert [attachment["name"] for attachment in failed["attachments"]] == ["gate samples 3.1a"]
    assert "latency_p99,FAIL,0.911" in (folder / failed["attachments"][0]["source"]).read_text("utf-8")

    skipped = of(results, "5.2a")
    assert skipped["statusDetails"]["message"] == "not reached: 3.1a failed"
    assert labels(skipped, "severity") == ["blocker"]
    assert "clause_5_2a" in labels(skipped, "tag")
    assert labels(of(results, "S.1"), "epic") == ["Support"]
    assert "_pytest_bdd_example" not in json.dumps(results)
    assert "hunter2" not in json.dumps(results).replace('hunter2\\", code', "")
