"""The other reports: JUnit, summary; what breaks in one of them, and the command that makes them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import sample_record
from click.testing import CliRunner

from reports import build, command, junit, record, summary, views

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<b>x</b> & </para> 中文 \x00\x1b[31m | `code` <script>alert(1)</script> " + "w" * 400


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # our own file, read back


# -- JUnit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sample_record.passed, sample_record.failed])
def test_junit_counts_are_the_verdicts_plus_one_case_for_the_verdict_itself(tmp_path: Path, make: object) -> None:
    assert callable(make)
    read = record.read(make(tmp_path).folder)
    root = parsed(junit.build(read))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == int(root.attrib["tests"]) == len(read.clauses) + 1
    verdict_failed = int(read.result == "FAILED")
    assert int(root.attrib["failures"]) == len(root.findall(".//failure")) == read.count("FAIL") + verdict_failed
    assert int(root.attrib["skipped"]) == len(root.findall(".//skipped")) == read.count("NOT_RUN")
    assert int(root.attrib["errors"]) == 0
    for suite in root.findall("testsuite"):
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))


def test_junit_says_why_a_clause_was_not_run_and_what_failed(tmp_path: Path) -> None:
    root = parsed(junit.build(record.read(sample_record.failed(tmp_path).folder)))
    skipped = {
        case.attrib["name"]: skip.attrib["message"] for case in root.iter("testcase") for skip in case.iter("skipped")
    }
    assert skipped["S.1 A support bundle is made"] == sample_record.REASON_NOT_BUILT
    failure = next(case.find("failure") for case in root.iter("testcase") if case.attrib["name"].startswith("3.1a"))
    assert failure is not None
    assert failure.attrib["message"] == "green does not satisfy the gate: latency p99"
    assert "next: look at green's pods" in (failure.text or "")
    properties = {p.attrib["name"]: p.attrib["value"] for p in root.iter("property")}
    assert properties["upgrade.id"] == sample_record.ID
    assert properties["verdict"] == "FAILED"


@pytest.mark.parametrize(("outcome", "element"), [("FAILED", "failure"), ("INCOMPLETE", "error"), ("", "error")])
def test_junit_is_never_green_without_a_passed_verdict(tmp_path: Path, outcome: str, element: str) -> None:
    sample = sample_record.passed(tmp_path)
    verdict = json.loads((sample.folder / "verdict.json").read_text("utf-8"))
    sample.write_json("verdict.json", {**verdict, "result": outcome, "reasons": ["3 requests failed"]})
    root = parsed(junit.build(record.read(sample.folder)))
    assert int(root.attrib[f"{element}s"]) == 1
    assert root.find(f"testsuite[@name='Verdict']/testcase/{element}") is not None


def test_junit_maps_what_could_not_be_measured_to_errors(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.fails("1.1a", result="ERROR", reason="Prometheus is unreachable")
    sample.fails("3.1a", result="INCONCLUSIVE", reason="too few requests")
    sample.end("ERROR", exit_code=3)
    root = parsed(junit.build(record.read(sample.folder)))
    assert {e.attrib["type"] for e in root.findall(".//error")} == {"ERROR", "INCONCLUSIVE"}
    assert int(root.attrib["errors"]) == 3, "two clauses and the verdict"


def test_junit_is_xml_whatever_the_text(tmp_path: Path) -> None:
    root = parsed(junit.build(record.read(sample_record.failed(tmp_path, reason=HOSTILE).folder)))
    failure = next(
        f for case in root.iter("testcase") if case.attrib["name"].startswith("3.1a") for f in case.iter("failure")
    )
    assert failure.attrib["message"].startswith("<b>x</b> & </para> 中文 \N{REPLACEMENT CHARACTER}")


# -- summary -----------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_the_first_page_says(tmp_path: Path) -> None:
    text = summary.build(record.read(sample_record.failed(tmp_path).folder))
    assert text.startswith("## FAILED · Stella Ops 2027.Q1 → 2027.Q2 · 2026-11-23-0412\n")
    assert "6 clauses: 2 pass, 1 fail, 3 not run" in text
    assert "look at green's pods" in text


def test_the_summarys_text_is_never_markup(tmp_path: Path) -> None:
    text = summary.build(record.read(sample_record.failed(tmp_path, reason=HOSTILE).folder))
    assert "<script>" not in text.replace("\\<script\\>", "")
    row = next(line for line in text.splitlines() if line.startswith("| 3.1a"))
    assert row.replace("\\|", "").count("|") == 5


# -- all of them -------------------------------------------------------------------------------------------------------


def test_a_builder_that_breaks_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_record.passed(tmp_path).folder
    before = (folder / "verdict.json").read_bytes()

    def broken(_: views.Record) -> bytes:
        raise RuntimeError("out of ink\nand more")

    monkeypatch.setitem(build.BUILDERS, "report.html", broken)
    made = {one.name: one.problem for one in build.build(folder)}
    assert made == {"junit.xml": "", "summary.md": "", "report.html": "RuntimeError: out of ink", "report.pdf": ""}
    assert not (folder / "report.html").exists()
    assert (folder / "report.pdf").is_file()
    assert (folder / "verdict.json").read_bytes() == before
    assert not list(folder.glob(".*")), "nothing half written is left"


def test_an_empty_folder_gives_every_report(tmp_path: Path) -> None:
    assert [one.problem for one in build.build(tmp_path)] == [""] * 4


def test_the_command_makes_them_again(tmp_path: Path) -> None:
    folder = sample_record.passed(tmp_path).folder
    ran = CliRunner().invoke(command.report, [str(folder), "--only", "report.pdf", "--only", "junit.xml"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.split() == [str(folder / "report.pdf"), str(folder / "junit.xml")]
    assert not (folder / "report.html").exists()


def test_the_command_refuses_what_is_no_record(tmp_path: Path) -> None:
    ran = CliRunner().invoke(command.report, [str(tmp_path)])
    assert "holds neither a record nor two snapshots" in str(ran.exception)
