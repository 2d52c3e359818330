"""Agreement: the platform's reports against ours; each disagreement under its code and on its item."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover.evidence import agreement, diff, snapshot
from cutover.evidence.errors import EvidenceError
from tests.evidence.world import START, World, item

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence.errors import Finding

Report = dict[str, Any]
Change = Callable[[Report], object]


@pytest.fixture
def world() -> World:
    return World.of(3)


@pytest.fixture
def ours(world: World, tmp_path: Path) -> snapshot.Snapshot:
    return snapshot.load(world.snapshot(tmp_path / "ours"))


def named(found: list[Finding]) -> set[tuple[str, str]]:
    return {(one.code, one.item) for one in found}


def baseline(world: World) -> Report:
    """Make the file that the platform's verify-all writes (contract/stella/baseline.schema.json)."""
    results = [
        {
            "id": row.id,
            "kind": row.kind,
            "sha256": row.sha256,
            "size_bytes": row.size_bytes,
            "ok": True,
            "code": None,
        }
        for row in world.rows
    ]
    size = len(results)
    return {"items": size, "results": results, "root": world.root(1, size).hex(), "size": size, "schema_version": 1}


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a report disagrees, and what must be found."""

    what: str
    change: Change
    expected: set[tuple[str, str]]


@pytest.mark.parametrize(
    "case",
    [
        Case("nothing", lambda _: None, set()),
        Case("a digest", lambda r: r["results"][1].update(sha256="0" * 64), {("agreement-digest", item(1))}),
        Case("a verdict", lambda r: r["results"][1].update(ok=False), {("agreement-verdict", item(1))}),
        Case("no verdict", lambda r: r["results"][1].pop("ok"), {("agreement-verdict", item(1))}),
        Case(
            "an item omitted",
            lambda r: r["results"].pop(1),
            {("agreement-missing", item(1)), ("agreement-count", "the platform's report")},
        ),
        Case(
            "an item invented",
            lambda r: r["results"].append(r["results"][1] | {"id": "ev-x"}),
            {("agreement-unknown", "ev-x"), ("agreement-count", "the platform's report")},
        ),
        Case("the count", lambda r: r.update(items=13), {("agreement-count", "the platform's report")}),
        Case("the root", lambda r: r.update(root="0" * 64), {("agreement-root", "root of schema 1 at 12")}),
        Case(
            "a schema that no release has",
            lambda r: r.update(schema_version=3),
            {("schema-unknown", "the platform's report")},
        ),
        Case(
            "the schema of the root",
            lambda r: r.update(schema_version=2),
            {("agreement-root", "root of schema 2 at 12")},
        ),
    ],
    ids=lambda case: case.what,
)
def test_verify_all(case: Case, world: World, ours: snapshot.Snapshot):
    report = baseline(world)
    case.change(report)
    assert named(agreement.compare(ours, report)) == case.expected


@pytest.mark.parametrize("scans", [2, 4])
def test_a_report_made_earlier_or_later_agrees(scans: int, ours: snapshot.Snapshot):
    """The site goes on between the two; the tree's size says which items each can know."""
    assert agreement.compare(ours, baseline(World.of(scans))) == []


def test_what_we_refuse_the_platform_must_refuse_too(world: World, tmp_path: Path):
    """Content refused by the snapshot, or an item refused by the guarantees: silence of the platform disagrees."""
    report = baseline(world)
    world.objects[world.rows[1].object_key] += b"!"
    ours = snapshot.load(world.snapshot(tmp_path / "tampered"))
    assert named(agreement.compare(ours, report)) == {("agreement-verdict", item(1))}
    report["results"][1]["ok"] = False
    assert agreement.compare(ours, report) == []
    assert named(agreement.compare(ours, report, refused=[item(4)])) == {("agreement-verdict", item(4))}


def digests(world: World) -> Report:
    """Make the file that the platform's verify-digests writes (contract/stella/digests.schema.json)."""
    results = [
        {"id": row.id, "digest": f"sha256:{row.sha256}", "actual": f"sha256:{row.sha256}", "ok": True}
        for row in world.rows
    ]
    return {"items": len(results), "results": results}


@pytest.mark.parametrize(
    "case",
    [
        Case("nothing", lambda _: None, set()),
        Case(
            "a digest", lambda r: r["results"][1].update(actual="sha256:" + "0" * 64), {("agreement-digest", item(1))}
        ),
        Case("a content", lambda r: r["results"][1].update(actual=None), {("agreement-digest", item(1))}),
        Case("a verdict", lambda r: r["results"][1].update(ok=False), {("agreement-verdict", item(1))}),
        Case(
            "one for another",
            lambda r: r["results"][1].update(id="ev-x"),
            {("agreement-missing", item(1)), ("agreement-unknown", "ev-x")},
        ),
    ],
    ids=lambda case: case.what,
)
def test_verify_digests(case: Case, world: World, ours: snapshot.Snapshot):
    report = digests(world)
    case.change(report)
    assert named(agreement.compare_digests(ours, report)) == case.expected


ANSWER = {"schema": "stella/evidence-verify-all/v1", "ok": True, "size": 3, "root": "ab", "failures": [], "output": "f"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, set()),
        ({"size": 2}, {("agreement-answer", "size")}),
        ({"root": "cd", "size": 0}, {("agreement-answer", "root"), ("agreement-answer", "size")}),
    ],
    ids=str,
)
def test_what_a_command_prints_is_what_it_wrote(change: Report, expected: set[tuple[str, str]]):
    report = {"schema": "stella/evidence-baseline/v1", "created": "now", "size": 3, "root": "ab", "results": [{}]}
    assert named(agreement.compare_answer(report, ANSWER | change)) == expected


@pytest.mark.parametrize("scans", [2, 4])
def test_digests_made_earlier_or_later_agree(scans: int, ours: snapshot.Snapshot):
    assert agreement.compare_digests(ours, digests(World.of(scans))) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"attestations": 3, "invalid": []}, set()),
        ({"attestations": 4, "invalid": []}, set()),
        ({"attestations": 3, "invalid": [item(2)]}, {("agreement-verdict", item(2))}),
        ({"attestations": 2, "invalid": []}, {("agreement-count", "attestations")}),
    ],
)
def test_attest_verify_all(answer: Report, expected: set[tuple[str, str]], ours: snapshot.Snapshot):
    assert named(agreement.compare_attestations(ours, answer, since=START)) == expected


def test_attestations_before_the_instant_are_left_aside(ours: snapshot.Snapshot):
    answer = {"attestations": 1, "invalid": [item(2)]}
    assert agreement.compare_attestations(ours, answer, since=START + timedelta(seconds=7)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, set()),
        ({"added": 5, "after": 17}, set()),
        ({"missing": 1, "after": 11}, {("agreement-count", "missing")}),
        ({"changed": 1}, {("agreement-count", "changed")}),
        ({"after": 13}, {("agreement-count", "the platform's balance")}),
    ],
)
def test_verify_continuity(change: Report, expected: set[tuple[str, str]], ours: snapshot.Snapshot):
    balance = diff.compare(ours.folder, ours.folder)
    answer = {"before": 12, "missing": 0, "changed": 0, "added": 0, "after": 12} | change
    assert named(agreement.compare_totals(balance, answer)) == expected


@pytest.fixture
def export(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    bundles = []
    for row in world.rows:
        if row.kind == "bundle":
            (folder / f"{row.id}.tar.gz").write_bytes(world.objects[row.object_key])
            bundles.append({"id": row.id, "file": f"{row.id}.tar.gz", "sha256": row.sha256})
    (folder / "manifest.json").write_text(json.dumps({"bundles": bundles}))
    return folder


def test_a_whole_export(ours: snapshot.Snapshot, export: Path):
    assert agreement.verify_export(ours, export) == []


def test_an_export_with_later_bundles_is_checked_whole(ours: snapshot.Snapshot, export: Path):
    document = json.loads((export / "manifest.json").read_text())
    document["bundles"].append({"id": "ev-new", "file": "../ours/lines.jsonl", "sha256": "0" * 64})
    (export / "manifest.json").write_text(json.dumps(document))
    assert named(agreement.verify_export(ours, export)) == {("content-changed", "ev-new")}


def test_export_findings(ours: snapshot.Snapshot, export: Path):
    (export / f"{item(3)}.tar.gz").write_bytes(b"other")
    (export / f"{item(7)}.tar.gz").unlink()
    document = json.loads((export / "manifest.json").read_text())
    document["bundles"] = [one for one in document["bundles"] if one["id"] != item(11)]
    (export / "manifest.json").write_text(json.dumps(document))
    assert named(agreement.verify_export(ours, export)) == {
        ("content-changed", item(3)),
        ("content-missing", item(7)),
        ("agreement-missing", item(11)),
    }


@pytest.mark.parametrize(
    "change",
    [{"results": None}, {"results": [1]}, {"results": [{}]}, {"size": "12"}, {"size": True}, {"items": None}],
)
def test_reports_of_another_form_are_refused(change: Report, world: World, ours: snapshot.Snapshot):
    with pytest.raises(EvidenceError) as refused:
        agreement.compare(ours, baseline(world) | change)
    assert refused.value.code == "report-malformed"


def test_a_result_given_twice_is_refused(world: World, ours: snapshot.Snapshot):
    report = baseline(world)
    report["results"].append(report["results"][0])
    with pytest.raises(EvidenceError) as refused:
        agreement.compare(ours, report)
    assert refused.value.code == "report-malformed"


@pytest.mark.parametrize("answer", [{}, {"invalid": "ev"}, {"invalid": [[]]}, {"invalid": []}])
def test_attestation_answers_of_another_form_are_refused(answer: Report, ours: snapshot.Snapshot):
    with pytest.raises(EvidenceError):
        agreement.compare_attestations(ours, answer, since=START)


def test_a_folder_without_a_list_is_no_export(ours: snapshot.Snapshot, tmp_path: Path):
    with pytest.raises(EvidenceError) as refused:
        agreement.verify_export(ours, tmp_path)
    assert refused.value.code == "report-malformed"
