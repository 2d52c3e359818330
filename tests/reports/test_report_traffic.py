"""What the reports say of the cutover: who served, what the gates measured and decided, what load and probe saw."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import pypdf
import pytest
import sample_record

from reports import gates, html, junit, pdf, record, shapes, shares, summary, timeline, wording

if TYPE_CHECKING:
    from pathlib import Path

    from sample_record import Sample

DECISION = (
    "At 25 % the gate “error ratio beside blue” did not hold: green 18.20\u202f%, blue 0.10\u202f%, limit 1.00\u202f%, "
    "over 411 samples. The decision fell at 04:12:15.5, 1.5 s after the first bad sample at 04:12:14.0; 3.0 s later "
    "blue served every request, 4.5 s in all."
)


def plain(source: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", source.partition("<body>")[2]))


def cutover(tmp_path: Path) -> Sample:
    """Begin a record whose first weight has a share."""
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.weight(10)
    return sample


# -- the decision ------------------------------------------------------------------------------------------------------


def test_the_first_page_says_which_gate_went_back_and_how_long_that_took(tmp_path: Path) -> None:
    read = record.read(sample_record.sent_back(tmp_path).folder)
    assert gates.decision(read) == DECISION
    head = html.build(read).partition("</header>")[0]
    assert DECISION in head
    assert "error ratio beside blue" in summary.build(read)
    assert DECISION in junit.build(read)
    first = pypdf.PdfReader(io.BytesIO(pdf.build(read))).pages[0].extract_text()
    assert "The decision fell at 04:12:15.5" in " ".join(first.split())


@pytest.mark.parametrize(
    ("result", "facts", "said"),
    [
        ("NO_DATA", {"value": None, "reason": "no data"}, "could not be measured: no data."),
        ("ERROR", {"value": "nan", "reason": "not a number"}, "could not be measured: not a number."),
        (
            "FAIL",
            {"source": "load", "value": 5.0, "limit": 0.0, "unit": "requests", "samples": 4538},
            "did not hold: measured 5 requests, limit 0 requests, over 4\u00a0538 samples.",
        ),
        ("INCONCLUSIVE", {"samples": 2}, "could not be decided: green 0.20\u202f%, limit 1.00\u202f%, over 2 samples."),
    ],
)
def test_the_decision_says_what_was_measured_or_why_nothing_was(
    tmp_path: Path, result: str, facts: dict[str, object], said: str
) -> None:
    sample = cutover(tmp_path)
    sample.verdict("error_ratio", result=result, **facts)
    sample.decide(gate="error_ratio", result=result, bad_for_s=0.2)
    sample.rollback()
    sample.end("ERROR", exit_code=3)
    assert gates.decision(record.read(sample.folder)).startswith(f"At 10 % the gate “error ratio” {said}")


def test_a_way_back_without_its_end_claims_no_time(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.verdict("error_ratio", result="FAIL")
    sample.decide(gate="error_ratio", result="FAIL", bad_for_s=1)
    sample.journal.write("rollback_started", clause="R.1", trigger="3.1a failed")
    sample.end("FAILED", exit_code=1)
    assert gates.decision(record.read(sample.folder)).endswith(
        "who serves is unknown, and when it began to is not in the record."
    )


@pytest.mark.parametrize("make", [sample_record.passed, sample_record.failed])
def test_an_older_record_has_no_decision_and_still_renders(tmp_path: Path, make: object) -> None:
    assert callable(make)
    read = record.read(make(tmp_path).folder)
    assert (gates.decision(read), read.decisions, read.latencies, read.probed, dict(read.probe)) == ("", (), (), (), {})
    assert "Latency by phase and colour" not in html.build(read)


# -- the gates ---------------------------------------------------------------------------------------------------------


def test_a_comparison_stands_behind_its_gate_with_blue_and_source(tmp_path: Path) -> None:
    read = record.read(sample_record.sent_back(tmp_path).folder)
    blocks = gates.blocks(read)
    assert [(block.name, block.source, block.worst) for block in blocks] == [
        ("error_ratio", "Prometheus", "PASS"),
        ("error_ratio_vs_blue", "Prometheus", "FAIL"),
        ("served_by", "load generator and probe", "PASS"),
        ("probe_latency", "load generator and probe", "PASS"),
    ]
    rows = blocks[1].rows
    assert [(row.weight, row.measured, row.gate.result, row.gate.blue, row.gate.line) for row in rows] == [
        ("10 %", 3, "PASS", 0.0, 8),
        ("25 %", 1, "FAIL", 0.001, 11),
    ]
    text = plain(html.build(read))
    assert "error ratio beside blue error_ratio_vs_blue · Prometheus" in text
    assert "18.2 %, limit 1 %" in text


def test_a_comparison_that_was_not_made_at_100_percent_says_so(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.verdict("error_ratio")
    sample.verdict("error_ratio_vs_blue", blue=0.0)
    sample.verdict("error_ratio", percent=100)
    sample.end("PASSED", exit_code=0)
    read = record.read(sample.folder)
    assert [block.absent for block in gates.blocks(read)] == [
        "",
        "Not compared at 100 %: blue has no traffic. The absolute limit stands alone there.",
    ]
    assert "Not compared at 100 %" in plain(html.build(read))
    text = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.build(read))).pages)
    assert "Not compared at 100 %" in " ".join(text.split())


def test_why_nothing_was_compared_is_the_records_own_word(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.verdict("error_ratio_vs_blue", blue=0.0)
    sample.verdict("error_ratio", percent=25)
    sample.verdict("error_ratio", percent=50)
    sample.journal.write("observation", what="no comparison with blue", percent=25, why="nobody asked for it")
    sample.end("PASSED", exit_code=0)
    assert gates.blocks(record.read(sample.folder))[1].absent == (
        "Not compared at 25 %: nobody asked for it. Not compared at 50 %. The absolute limit stands alone there."
    )


def test_the_worst_measurement_of_a_weight_is_shown_whatever_came_after(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    for result in ("PASS", "FAIL", "INCONCLUSIVE", "PASS"):
        sample.verdict("error_ratio", result=result, reason=result)
    sample.verdict("green_ready", result="NO_DATA", value=None, source="kubernetes")
    sample.verdict("green_ready")
    sample.end("FAILED", exit_code=1)
    blocks = gates.blocks(record.read(sample.folder))
    assert [(block.worst, block.rows[0].gate.result) for block in blocks] == [("FAIL", "FAIL"), ("NO_DATA", "NO_DATA")]


# -- who served --------------------------------------------------------------------------------------------------------


def test_each_share_is_a_point_in_its_band(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.share()
    sample.share(percent=25, inside=False)
    sample.share(percent=100, green=1760, total=1760)
    sample.share(percent=50, green=0, total=0)
    sample.end("FAILED", exit_code=1)
    read = record.read(sample.folder)
    assert [share.inside for share in read.shares] == [True, False, False, False]
    drawing = shares.draw(read)
    assert drawing is not None
    points = [s for s in drawing.shapes if isinstance(s, shapes.Path) and s.closed]
    assert [point.look for point in points][:4] == ["share-point", "share-point", "bad", "bad"]
    labels = [shape.text for shape in drawing.shapes if isinstance(shape, shapes.Label)]
    assert {
        "10.00 %",
        "174 of 1\u00a0740",
        "7.70 %",
        "12.41 %",
        "not measured: no request was answered in its time",
    } <= set(labels)
    for shape in drawing.shapes:
        corners = shape.points if isinstance(shape, shapes.Path) else ((shape.x, shape.y),)
        assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in corners), shape
    page = html.build(read)
    assert 'aria-labelledby="shares-title shares-text"' in page
    assert "7.70 to 12.41 %" in plain(page)


def test_the_verdicts_own_words_on_the_traffic_come_first(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.share()
    share = {"clause": "3.1a", "percent": 10, "green": 1, "total": 9, "low": 0.0, "high": 0.5, "inside": True}
    sample.end("PASSED", exit_code=0, traffic={"shares": [share], "markers": {"compared": 2, "acknowledged": 7}})
    read = record.read(sample.folder)
    assert [(one.green, one.total) for one in read.shares] == [(1, 9)]
    assert read.markers is not None
    assert (read.markers.compared, read.markers.acknowledged, read.markers.missing) == (2, 7, 0)


def test_write_markers_are_told_with_what_was_compared_and_when(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.markers(acknowledged=90)
    sample.clock.advance(60)
    sample.markers(acknowledged=512, missing=1, repeated=2)
    sample.load()
    sample.end("FAILED", exit_code=1)
    read = record.read(sample.folder)
    said = "512 writes acknowledged: 1 missing, 2 doubled, compared 2 times, last at 04:13:07"
    assert wording.writes(read) == said
    assert said in plain(html.build(read))


# -- load and probe ----------------------------------------------------------------------------------------------------


def test_the_load_has_its_plan_its_probe_and_its_latencies(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    sample.load()
    sample.probe(frozen_at=30)
    probe = {"planned": 600, "answered": 600, "failed": 0, "p50_ms": 10.0, "p99_ms": 1700.0, "max_ms": 2000.0}
    sample.journal.write("load_finished", planned=6000, attempted=6000, failed=0, by_colour={}, probe=probe)
    sample.end("PASSED", exit_code=0)
    read = record.read(sample.folder)
    rows = dict(html.load_rows(read))
    assert rows["sent of planned"] == "100.0%"
    assert rows["probe, requests by the clock"] == "600"
    assert rows["probe, from the intended start"] == "p50 10.0 ms, p99 1700.0 ms, max 2000.0 ms"
    assert html.latency_rows(read)[1:] == [
        ["weight-10", "green", "600", "0", "5.0", "9.2", "21.5", "40.0", "77.7"],
        ["weight-10", "probe", "600", "0", "10.0", "", "1700.0", "", "2000.0"],
    ]
    assert wording.probe(read) == "probe: 600 requests by the clock, 0 failed, p99 1700\u202fms"
    assert "Latency by phase and colour" in plain(html.build(read))


def test_the_picture_shows_the_decisions_and_a_freeze_by_the_probe(tmp_path: Path) -> None:
    read = record.read(sample_record.sent_back(tmp_path).folder)
    drawing = timeline.draw(read)
    assert drawing is not None
    labels = [shape.text for shape in drawing.shapes if isinstance(shape, shapes.Label)]
    assert "back: error_ratio_vs_blue FAIL" in labels
    assert "2000 ms" in labels, "the probe's p99 sets the scale"
    assert "p99 of the probe" in labels
    looks = [shape.look for shape in drawing.shapes if isinstance(shape, shapes.Path)]
    assert looks.count("flag-good") == 1


def test_passes_close_together_are_one_bar_and_a_failure_between_them_stands_out(tmp_path: Path) -> None:
    sample = cutover(tmp_path)
    for number in range(600):
        sample.clock.advance(0.1)
        sample.verdict("error_ratio", result="FAIL" if number == 300 else "PASS")
    sample.end("FAILED", exit_code=1)
    drawing = timeline.draw(record.read(sample.folder))
    assert drawing is not None
    marks = [shape for shape in drawing.shapes if isinstance(shape, shapes.Box) and shape.hint]
    assert [mark.hint for mark in marks if mark.look == "good"] == ["error ratio: 599 passes"]
    assert len([mark for mark in marks if mark.look == "bad"]) == 1


@pytest.mark.parametrize("name", ["load/phases.json", "load/probe.jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1, 2]",
        '{"phases": {"b": 2}}',
        '{"phases": [{"colours": [3], "probe": 1}, 4]}',
        '{"start": 1e300, "requests_per_s": 10}\n{"n": 7}',
        '{"start": 1, "requests_per_s": 0}\n{"n": 7}',
        '{"start": 1, "requests_per_s": 1}\n{"n": 1e12}\n{"n": 3, "ms": "x"}',
        "\x00",
    ],
)
def test_a_broken_file_of_the_load_breaks_no_report(tmp_path: Path, name: str, content: str) -> None:
    sample = sample_record.passed(tmp_path)
    sample.write(name, content)
    read = record.read(sample.folder)
    assert html.build(read)
    assert pdf.build(read)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("share", {"percent": "x", "green": "y", "total": None}),
        ("gate", {"result": 7, "value": "nan", "percent": "ten"}),
        ("gate_decision", {"decision": 9, "first_bad": "yesterday"}),
        ("markers", {"missing": "some"}),
        ("load_finished", {"probe": [1], "planned": "many", "attempted": {}}),
    ],
)
def test_lines_of_another_kind_break_no_report(tmp_path: Path, event: str, data: dict[str, object]) -> None:
    sample = cutover(tmp_path)
    sample.journal.write(event, **data)
    sample.end("ERROR", exit_code=3)
    read = record.read(sample.folder)
    assert html.build(read)
    assert pdf.build(read)
    assert json.dumps(html.load_rows(read)) == "[]"
