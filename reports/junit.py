"""junit.xml: the record for CI systems, one test case a clause and one for the verdict.

Ours and not pytest's own: pytest reports scenarios, so a clause without one would vanish, and a verdict that fails
although every scenario passed would look green.
Invariants: every clause is there, those that were not run as skipped with their reason; the file is green only when the
verdict is PASSED; the numbers on a suite are those of its cases.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from reports import gates, story, wording
from reports.views import NO_VERDICT, PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.views import ClauseView, Record

NAME = "junit.xml"
_ELEMENT = {"FAIL": "failure", "ERROR": "error", "INCONCLUSIVE": "error", "NOT_RUN": "skipped", "PASS": ""}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


def build(record: Record) -> str:
    """Return the file's content."""
    root = ET.Element("testsuites", name=_clean(f"{record.id} {wording.title(record)}"))
    suites = [_verdict_suite(record)]
    for name in dict.fromkeys([*PHASES, *(clause.phase for clause in record.clauses)]):
        clauses = [clause for clause in record.clauses if clause.phase == name]
        if clauses:
            suites.append(_suite(wording.phase(name), [_case(clause) for clause in clauses], record))
    root.extend(suites)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites[1:]):.3f}")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _suite(name: str, cases: Sequence[ET.Element], record: Record) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=_clean(name),
        tests=str(len(cases)),
        failures=str(_having(cases, "failure")),
        errors=str(_having(cases, "error")),
        skipped=str(_having(cases, "skipped")),
        time=f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
    )
    if record.started is not None:
        suite.set("timestamp", record.started.strftime("%Y-%m-%dT%H:%M:%S"))
    suite.extend(cases)
    return suite


def _having(cases: Sequence[ET.Element], element: str) -> int:
    return sum(case.find(element) is not None for case in cases)


def _verdict_suite(record: Record) -> ET.Element:
    case = ET.Element("testcase", classname="cutover.verdict", name="the verdict is PASSED")
    case.set("time", f"{record.duration_s or 0:.3f}")
    if record.result != "PASSED":
        element = "failure" if record.result == "FAILED" else "error"
        said = "the record has no verdict" if record.result == NO_VERDICT else f"the verdict is {record.result}"
        reasons = "\n".join(record.reasons)
        found = ET.SubElement(case, element, type=_clean(record.result), message=_clean(_first(said, record.reasons)))
        told = (" ".join(story.sentences(record)), gates.decision(record), reasons)
        found.text = _clean("\n".join(part for part in told if part))
    suite = _suite("Verdict", [case], record)
    properties = ET.Element("properties")
    for name, value in _properties(record):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    suite.insert(0, properties)
    return suite


def _properties(record: Record) -> list[tuple[str, str]]:
    pairs = [
        ("upgrade.id", record.id),
        ("upgrade.from", record.from_release),
        ("upgrade.to", record.to_release),
        ("target.name", record.target_name),
        ("target.kind", record.target_kind),
        ("notice", record.notice),
        ("strategy", record.strategy),
        ("scope", record.scope),
        ("verdict", record.result),
        ("exit_code", "" if record.exit_code is None else str(record.exit_code)),
        ("verdict.sha256", record.verdict_sha256),
        ("journal.head", record.journal_head),
    ]
    return [(name, value) for name, value in pairs if value]


def _case(clause: ClauseView) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=_clean(f"cutover.phase_{clause.phase or 'other'}"),
        name=_clean(f"{clause.id} {clause.title}".strip()),
        time=f"{clause.duration_s or 0:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (("clause", clause.id), ("scenario", clause.scenario), ("guide", clause.guide)):
        if value:
            ET.SubElement(properties, "property", name=name, value=_clean(value))
    # A result that is none of the known ones must not look passed.
    element = _ELEMENT.get(clause.result, "error")
    if element:
        message = clause.reason or "no reason is recorded"
        found = ET.SubElement(case, element, type=_clean(clause.result), message=_clean(message))
        parts = (("cause", clause.cause), ("seen", clause.seen), ("guide", clause.guide), ("next", clause.remedy))
        if element != "skipped":
            found.text = _clean("\n".join([message, *(f"{name}: {text}" for name, text in parts if text)]))
    if clause.steps:
        steps = [f"{s.status:<7} {wording.duration(s.duration_s):>9}  {s.keyword} {s.text}" for s in clause.steps]
        output = ET.SubElement(case, "system-out")
        output.text = _clean("\n".join(steps))
    return case


def _first(said: str, reasons: Sequence[str]) -> str:
    return f"{said}: {reasons[0]}" if reasons else said


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
