"""Every upgrade of a folder is listed, whatever became of it, and nothing that did not end counts as if it had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sample_record
from click.testing import CliRunner
from test_report_page import HOSTILE, Page

from cutover.cli.group import cli
from cutover.errors import WrongInput
from cutover.runbook.journal import Journal
from reports import overview, overview_plugin
from reports.overview import BROKEN_OFF, RUNNING, UNREADABLE, Row
from reports.overview_command import records

if TYPE_CHECKING:
    from pathlib import Path

    from sample_record import Sample


def named(parent: Path, name: str, make: Any = sample_record.passed) -> Path:  # noqa: ANN401  # any of the samples
    """Make a sample record under a name of its own."""
    made: Sample = make(parent / "making")
    place = parent / name
    made.folder.rename(place)
    return place


def altered(folder: Path, **changes: object) -> Path:
    path = folder / "verdict.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return folder


def only(parent: Path) -> Row:
    (row,) = overview.read(parent).rows
    return row


def page(parent: Path) -> Page:
    return Page(overview.build(overview.read(parent)))


def test_a_passed_and_a_failed_upgrade_are_told_with_what_they_came_to(tmp_path: Path) -> None:
    altered(named(tmp_path, "a"), counts={"PASS": 4, "NOT_RUN": 2})
    altered(named(tmp_path, "b", sample_record.failed), started="2026-11-23T05:00:00Z", finished="2026-11-23T05:01:30Z")
    good, bad = overview.read(tmp_path).rows
    assert (good.state, good.passed, good.clauses, good.failed, good.went_back) == ("PASSED", 4, 6, 0, False)
    assert (bad.state, bad.failed, bad.went_back, bad.serves, bad.back_s) == ("FAILED", 3, True, "blue", 2.9)
    assert bad.duration_s == 90
    assert bad.reason.startswith("3.1a FAIL")
    shown = page(tmp_path).text
    for said in ("2 upgrades", "1 passed, 1 failed", "3 of 12 000 requests failed", "1 way back taken", "after 2.9 s"):
        assert said in shown.replace("\N{NO-BREAK SPACE}", " ")


def test_a_run_without_a_verdict_is_broken_off_or_still_running(tmp_path: Path) -> None:
    folder = named(tmp_path, "a")
    (folder / "verdict.json").unlink()
    assert (only(tmp_path).state, only(tmp_path).duration_s) == (BROKEN_OFF, None)
    assert (only(tmp_path).from_release, only(tmp_path).site) == ("2027.Q1", "small")
    journal = Journal(folder / "journal.jsonl")
    try:
        assert only(tmp_path).state == RUNNING
    finally:
        journal.close()
    assert overview.read(tmp_path).totals[0].by_state == {BROKEN_OFF: 1}


def test_a_run_that_went_on_after_its_verdict_is_not_what_that_says(tmp_path: Path) -> None:
    folder = named(tmp_path, "a")
    journal = Journal(folder / "journal.jsonl")
    journal.write("run_resumed", procedure="decommission")
    journal.close()
    assert only(tmp_path).state == BROKEN_OFF


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        ("verdict.json", b"{", BROKEN_OFF),
        ("verdict.json", b"[]", BROKEN_OFF),
        ("journal.jsonl", b"\xff\n", "PASSED"),
        ("journal.jsonl", b"", "PASSED"),
    ],
)
def test_what_cannot_be_read_is_told_and_hides_no_other(tmp_path: Path, name: str, content: bytes, state: str) -> None:
    folder = named(tmp_path, "a")
    altered(named(tmp_path, "b"), started="2027-01-01T00:00:00Z")
    (folder / name).write_bytes(content)
    first, second = overview.read(tmp_path).rows
    assert (first.state, second.state) == (state, "PASSED")
    assert name in first.problem
    assert first.problem in page(tmp_path).text


def test_a_folder_of_rubbish_has_a_row_and_one_that_is_no_record_has_none(tmp_path: Path) -> None:
    for name in ("rubbish", "nothing"):
        (tmp_path / name).mkdir()
    (tmp_path / "rubbish" / "journal.jsonl").write_bytes(b"\0\0")
    assert (only(tmp_path).folder, only(tmp_path).state) == ("rubbish", UNREADABLE)
    assert overview.draw(overview.read(tmp_path).rows) is not None


def test_any_value_of_a_verdict_may_be_of_another_kind(tmp_path: Path) -> None:
    folder = named(tmp_path, "a")
    verdict = json.loads((folder / "verdict.json").read_text("utf-8"))
    for name in verdict:
        for wrong in (None, 7, "x", [1], {"PASS": "x", "head": 1, "performed": 1}):
            altered(folder, **(verdict | {name: wrong}))
            assert page(tmp_path).text


def test_only_whole_upgrades_are_compared_by_their_time(tmp_path: Path) -> None:
    for number, took_s in enumerate((100, 40, 20, 20, 20, 20, 20)):
        altered(
            named(tmp_path, str(number)),
            started=f"2026-11-23T0{number}:00:00Z",
            finished=f"2026-11-23T0{number}:{took_s // 60:02d}:{took_s % 60:02d}Z",
        )
    altered(named(tmp_path, "cut"), scope="until 2", finished="2026-11-23T09:00:00Z")
    (totals,) = overview.read(tmp_path).totals
    assert (totals.upgrades, totals.median_s, totals.recent_median_s) == (8, 20, 20)
    altered(tmp_path / "6", attempts=[{}, {}])
    assert overview.read(tmp_path).totals[0].median_s == 20
    assert overview.read(tmp_path).totals[0].recent_median_s == 20


def test_sites_are_told_apart(tmp_path: Path) -> None:
    named(tmp_path, "a")
    altered(named(tmp_path, "b"), target={"name": "other"})
    assert [one.site for one in overview.read(tmp_path).totals] == ["small", "other"]
    assert [row.folder for row in overview.read(tmp_path, site="other").rows] == ["b"]


def test_a_seal_is_told_and_the_report_is_linked(tmp_path: Path) -> None:
    folder = named(tmp_path, "a b")
    assert (only(tmp_path).seal, only(tmp_path).page) == ("none", "")
    (folder / "report.html").write_text("", "utf-8")
    for content, said in (
        ('{"signature": {"kind": "key"}}', "signed"),
        ('{"signature": {"kind": "none"}}', "unsigned"),
        ("{", "unsigned"),
    ):
        (folder / "seal.json").write_text(content, "utf-8")
        assert only(tmp_path).seal == said
    assert "a%20b/report.html" in page(tmp_path).urls()


def test_the_page_loads_nothing_and_its_links_stay_in_the_folder(tmp_path: Path) -> None:
    named(tmp_path, "a")
    named(tmp_path, "b", sample_record.failed)
    shown = page(tmp_path)
    urls = shown.urls()
    assert not [url for url in urls if "://" in url or url.startswith(("/", ".."))]
    assert {url.removeprefix("#") for url in urls if url.startswith("#")} <= set(shown.ids())
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in shown.elements}
    heads = [attributes for tag, attributes in shown.elements if tag == "th"]
    assert all("scope" in attributes for attributes in heads)


def test_text_of_a_record_is_never_markup(tmp_path: Path) -> None:
    altered(named(tmp_path, "a", sample_record.failed), reasons=[HOSTILE], operator=HOSTILE, target={"name": HOSTILE})
    shown = page(tmp_path)
    assert not {"script", "img"} & {tag for tag, _ in shown.elements}
    assert "alert(" in shown.text


def test_everything_of_the_picture_is_inside_of_it(tmp_path: Path) -> None:
    for number in range(200):
        folder = tmp_path / f"{number:03d}"
        folder.mkdir()
        facts = {"result": "PASSED", "load": {"failed": number}, "rollback": {"performed": True, "took_s": number / 7}}
        times = {"started": f"2026-11-23T00:{number % 60:02d}:00Z", "finished": "2026-11-23T01:00:00Z"}
        (folder / "verdict.json").write_text(json.dumps(facts | times), "utf-8")
    drawing = overview.draw(overview.read(tmp_path).rows)
    assert drawing is not None
    boxes = [shape for shape in drawing.shapes if hasattr(shape, "height")]
    assert len(boxes) > overview._MOST_DRAWN
    assert all(box.x >= 0 and box.x + box.width <= drawing.width + 0.1 for box in boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawing.height for box in boxes)
    assert "The newest 120 of 200." in page(tmp_path).text


# -- index.html --------------------------------------------------------------------------------------------------------


def test_the_index_is_written_whole_and_again_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    named(tmp_path, "a")
    assert overview.write(tmp_path) == tmp_path / "index.html"
    first = (tmp_path / "index.html").read_bytes()
    assert overview.write(tmp_path) == tmp_path / "index.html"
    assert (tmp_path / "index.html").read_bytes() == first, "the same records give the same page"
    named(tmp_path, "b", sample_record.failed)
    overview.write(tmp_path)
    assert b"FAILED" in (tmp_path / "index.html").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_anothers_page_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = named(tmp_path, "a")
    (tmp_path / "index.html").write_text("<html>mine</html>", "utf-8")
    assert overview.write(tmp_path) is None
    overview_plugin.write(folder.parent, {})
    assert (tmp_path / "index.html").read_text("utf-8") == "<html>mine</html>"
    assert "left as it is" in capsys.readouterr().err


def test_each_run_writes_it_and_what_breaks_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = named(tmp_path, "a")
    overview_plugin.write(folder.parent, {})
    assert b"2027.Q2" in (tmp_path / "index.html").read_bytes()
    assert capsys.readouterr().err == ""
    (tmp_path / "index.html").unlink()
    (tmp_path / "index.html").mkdir()
    overview_plugin.write(folder.parent, {})
    assert capsys.readouterr().err.startswith("WARNING: ")


def test_a_page_that_would_show_a_secret_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered(named(tmp_path, "a", sample_record.failed), reasons=["401 for s3cret-value"])
    overview_plugin.write(tmp_path, {"s3cret-value": "store.secret_key"})
    assert not (tmp_path / "index.html").exists()
    said = capsys.readouterr().err
    assert "shows store.secret_key" in said
    assert "s3cret-value" not in said


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_lists_them_as_text_and_as_json(tmp_path: Path) -> None:
    named(tmp_path, "a")
    named(tmp_path, "b", sample_record.failed)
    shown = CliRunner().invoke(records, [str(tmp_path)])
    assert (shown.exit_code, shown.output.splitlines()[0].split()[:2]) == (0, ["record", "result"])
    assert "PASSED" in shown.output
    assert "    3.1a FAIL: green does not satisfy the gate" in shown.output
    document = json.loads(CliRunner().invoke(records, [str(tmp_path), "--json"]).stdout)
    assert document["schema"] == "cutover/records/v1"
    assert [row["state"] for row in document["records"]] == ["PASSED", "FAILED"]
    assert document["totals"][0]["ways_back"] == 1
    assert not (tmp_path / "index.html").exists(), "nothing is written unless it is asked for"


def test_the_command_writes_the_index_when_asked(tmp_path: Path) -> None:
    named(tmp_path, "a")
    assert CliRunner().invoke(records, [str(tmp_path), "--index"]).exit_code == 0
    assert (tmp_path / "index.html").is_file()
    (tmp_path / "index.html").write_text("mine", "utf-8")
    refused = CliRunner().invoke(records, [str(tmp_path), "--index"])
    assert isinstance(refused.exception, WrongInput)


def test_an_empty_folder_is_no_error_and_an_absent_one_is(tmp_path: Path) -> None:
    assert "no record in" in CliRunner().invoke(records, [str(tmp_path)]).output
    assert json.loads(CliRunner().invoke(records, [str(tmp_path), "--json"]).stdout)["records"] == []
    assert "There is no record" in page(tmp_path).text
    refused = CliRunner().invoke(records, [str(tmp_path / "absent")])
    assert isinstance(refused.exception, WrongInput)


def test_the_command_is_one_of_cutovers() -> None:
    shown = CliRunner().invoke(cli, ["records", "--help"])
    assert (shown.exit_code, "cutover records --index" in shown.output) == (0, True)
