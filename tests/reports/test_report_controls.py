"""Controls are answered by what a record says, and by nothing else; what is not answered says so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import sample_record

from cutover import project
from cutover.errors import RunbookInvalid
from cutover.runbook.catalogue import load_clauses
from reports import controls, record
from reports.controls import Answer, State

if TYPE_CHECKING:
    from pathlib import Path

    from sample_record import Sample

ASKED = "who asked, who approved"


def file_of(tmp_path: Path, *, clauses: str = "[]", fields: str = "[]", again: str = "") -> Path:
    path = tmp_path / "controls.toml"
    control = (
        f'[[control]]\nid = "X.1"\nframework = "Rules"\ntitle = "t"\nsource = "s"\nelsewhere = "e"\n'
        f'[[control.question]]\nasks = "{ASKED}"\nclauses = {clauses}\nfields = {fields}\n'
    )
    path.write_text(f'schema = "cutover/controls/v1"\n{control}{again and control}', "utf-8")
    return path


def answer(folder: Path, tmp_path: Path, *, clauses: str = "[]", fields: str = "[]") -> Answer:
    (view,) = controls.assess(record.read(folder), controls.load(file_of(tmp_path, clauses=clauses, fields=fields)))
    return view.answers[0]


def with_approval(tmp_path: Path, **changes: object) -> Path:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "verdict.json"
    verdict = json.loads(path.read_text("utf-8"))
    signed = verdict["approval"]["approvals"][0]
    signed |= {key: value for key, value in changes.items() if key in {"name", "account", "approved_at"}}
    verdict["approval"] |= {key: value for key, value in changes.items() if key not in {"name", "account"}}
    path.write_text(json.dumps(verdict), "utf-8")
    return sample.folder


# -- the file ----------------------------------------------------------------------------------------------------------


def test_the_four_controls_are_there_and_every_clause_answers_one() -> None:
    assert [control.name for control in controls.load()] == [
        "SOC 2 CC8.1",
        "ISO/IEC 27001:2022 A.8.32",
        "DORA 9(4)(e)",
        "21 CFR 11.50",
    ]
    assert set(controls.by_clause()) == {clause.id for clause in load_clauses()}
    assert controls.by_clause()["1.3f"] == ("CC8.1", "A.8.32", "9(4)(e)", "11.50")


def test_every_field_is_asked_for_and_is_at_its_place() -> None:
    asked = {name for control in controls.load() for question in control.questions for name in question.fields}
    assert asked == set(controls.FIELDS)
    schema = json.loads((project.CONTRACT / "verdict.schema.json").read_text("utf-8"))
    for field in controls.FIELDS.values():
        for path in re.findall(r"verdict\.json ([a-z0-9_.\[\]]+)", field.place):
            assert in_schema(schema, path), f"verdict.json has no field {path}"


def in_schema(schema: dict[str, Any], path: str) -> bool:
    here = schema
    for name in path.replace("[]", "").split("."):
        here = here.get("items", here)
        if "properties" not in here:
            return here.get("type") == "object"  # an open one: the approval
        if name not in here["properties"]:
            return False
        here = here["properties"][name]
    return True


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"clauses": '["9.9z"]'}, "9.9z"),
        ({"fields": '["the-moon"]'}, "the-moon"),
        ({}, "answered by nothing"),
        ({"clauses": '["1.3f"]', "again": "yes"}, "X.1 stands there twice"),
    ],
)
def test_a_file_that_names_what_is_not_there_is_refused(tmp_path: Path, facts: dict[str, str], said: str) -> None:
    with pytest.raises(RunbookInvalid) as refused:
        controls.load(file_of(tmp_path, **facts))
    assert said in refused.value.seen


@pytest.mark.parametrize("text", ["", "control = 1", 'schema = "x"\ncontrol = []', "[[control]]\nid = 'a'", "not toml"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "controls.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(RunbookInvalid):
        controls.load(path)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_clause_that_passed_answers(tmp_path: Path) -> None:
    found = answer(sample_record.passed(tmp_path).folder, tmp_path, clauses='["1.1a", "3.1a"]')
    assert found.state is State.ANSWERED
    assert not found.gaps
    assert [(clause.id, clause.result, clause.anchor) for clause in found.clauses] == [
        ("1.1a", "PASS", "clause-1-1a"),
        ("3.1a", "PASS", "clause-3-1a"),
    ]


def test_a_clause_that_this_upgrade_had_no_use_for_leaves_nothing_open(tmp_path: Path) -> None:
    assert answer(sample_record.passed(tmp_path).folder, tmp_path, clauses='["R.1", "1.1a"]').state is State.ANSWERED


def test_a_clause_that_failed_answers_with_an_exception(tmp_path: Path) -> None:
    found = answer(sample_record.failed(tmp_path).folder, tmp_path, clauses='["1.1a", "3.1a"]')
    assert (found.state, found.gaps) == (State.EXCEPTIONS, ("3.1a fail",))
    assert found.counted == (("PASS", 1), ("FAIL", 1))


def test_a_clause_that_was_not_reached_leaves_the_question_open_in_part(tmp_path: Path) -> None:
    found = answer(sample_record.failed(tmp_path).folder, tmp_path, clauses='["1.1a", "E.1"]')
    assert (found.state, found.gaps) == (State.PARTLY, ("not run: E.1",))


def test_a_clause_that_a_record_does_not_know_is_a_gap(tmp_path: Path) -> None:
    found = answer(sample_record.passed(tmp_path).folder, tmp_path, clauses='["4.1a"]')
    assert (found.state, found.gaps) == (State.OPEN, ("not run: 4.1a",))
    assert found.clauses[0].anchor == "", "a link would lead nowhere"


def test_an_empty_folder_answers_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    views = controls.assess(record.read(tmp_path))
    assert {one.state for view in views for one in view.answers} == {State.OPEN}
    assert not [field.text for view in views for one in view.answers for field in one.fields if field.text]
    assert views[0].summary == "0 of 9 questions answered, 9 not answered"


def test_a_record_that_is_torn_to_pieces_breaks_nothing(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "verdict.json"
    verdict = json.loads(path.read_text("utf-8"))
    for name in verdict:
        path.write_text(json.dumps(verdict | {name: [None, 1, "x", {}]}), "utf-8")
        controls.assess(record.read(sample.folder))
        path.write_text(json.dumps(verdict | {name: {"approvals": [1, {"name": 2}], "sha256": 3}}), "utf-8")
        controls.assess(record.read(sample.folder))


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({"account": "bperson"}, State.ANSWERED, "yes"),
        ({"account": "ci@runner"}, State.EXCEPTIONS, "no: B. Person signed as ci@runner, who also executed it"),
        ({"name": "A. Person", "account": "aperson"}, State.EXCEPTIONS, "no: A. Person also asked for it"),
        ({"approvals": [], "approved_by": "ci@runner"}, State.EXCEPTIONS, "no: ci@runner also executed it"),
        ({"approvals": []}, State.EXCEPTIONS, "by their names alone, which nothing proves"),
    ],
)
def test_an_approver_who_asked_or_executed_is_an_exception(
    tmp_path: Path, changes: dict[str, object], state: State, said: str
) -> None:
    found = answer(with_approval(tmp_path, **changes), tmp_path, fields='["approver-apart"]')
    assert (found.state, found.fields[0].text) == (state, said)


@pytest.mark.parametrize(
    ("at", "state", "said"),
    [
        ("2026-11-22T16:10:00Z", State.ANSWERED, "yes: 12 h 02 min before"),
        ("2026-11-23T04:13:07Z", State.EXCEPTIONS, "no: 1 min 00 s after"),
        ("some day", State.OPEN, ""),
    ],
)
def test_an_approval_that_came_after_the_first_line_is_an_exception(
    tmp_path: Path, at: str, state: State, said: str
) -> None:
    found = answer(with_approval(tmp_path, approved_at=at), tmp_path, fields='["approved-beforehand"]')
    assert found.state is state
    assert found.fields[0].text.startswith(said)


def test_an_unsigned_approval_is_no_signature(tmp_path: Path) -> None:
    found = answer(with_approval(tmp_path, approvals=[], signature=""), tmp_path, fields='["approval-signature"]')
    assert (found.state, found.gaps) == (State.EXCEPTIONS, ("signed with: not signed",))


@pytest.mark.parametrize(
    ("make", "field", "state"),
    [
        (sample_record.passed, "traffic", State.ANSWERED),
        (sample_record.failed, "traffic", State.EXCEPTIONS),
        (sample_record.failed, "gates", State.EXCEPTIONS),
        (sample_record.failed, "result", State.EXCEPTIONS),
        (sample_record.failed, "evidence", State.OPEN),
        (sample_record.passed, "manifest", State.OPEN),
        (sample_record.passed, "secrets-masked", State.OPEN),
    ],
)
def test_a_field_answers_as_far_as_the_record_goes(tmp_path: Path, make: object, field: str, state: State) -> None:
    sample: Sample = make(tmp_path)  # type: ignore[operator]
    assert answer(sample.folder, tmp_path, fields=f'["{field}"]').state is state


def test_a_changed_journal_is_an_exception(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "journal.jsonl"
    path.write_text(path.read_text("utf-8").replace("ci@runner", "xx@runner", 1), "utf-8")
    assert answer(sample.folder, tmp_path, fields='["journal"]').state is State.EXCEPTIONS


def test_what_is_made_after_the_page_changes_no_answer(tmp_path: Path) -> None:
    folder = sample_record.passed(tmp_path).folder
    before = controls.assess(record.read(folder))
    for name in ("report.html", "report.pdf", "summary.md", "seal.json"):
        (folder / name).write_text("{}", "utf-8")
    assert controls.assess(record.read(folder)) == before
    (folder / "manifest.json").write_text("{}", "utf-8")
    assert controls.assess(record.read(folder)) != before, "the manifest is there before any page"
