"""report.html: complete, self-contained, and nothing of a record can become markup in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
import sample_record

from cutover.errors import RunbookInvalid
from reports import build, html, record, shapes, story, timeline, views, wording

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = '</style></script><script>alert("x")</script>&<img src=x onerror=alert(1)>"\'{{ 7*7 }}'
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def urls(self) -> list[str]:
        return [a[name] for _, a in self.elements for name in ("href", "src", "action", "data") if name in a]


def page(folder: Path) -> Page:
    return Page(html.build(record.read(folder)))


def test_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    source = html.build(record.read(sample_record.failed(tmp_path).folder))
    read = Page(source)
    assert all(not re.match(r"[a-z]+:|//|/", url) for url in read.urls()), "every URL stays in the record's folder"
    assert not re.search(r"@import|url\(|https?://", source)
    assert not read.open, "every element is closed"
    policy = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_links_lead_to_something(tmp_path: Path) -> None:
    folder = sample_record.passed(tmp_path).folder
    build.build(folder)
    read = Page((folder / "report.html").read_text("utf-8"))
    ids = read.ids()
    assert len(ids) == len(set(ids))
    for url in read.urls():
        if url.startswith("#"):
            assert url[1:] in ids
        elif url != "target.redacted.toml":
            assert (folder / url).is_file(), url


def test_an_approval_that_nobody_signed_is_said_to_be_unsigned(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "verdict.json"
    verdict = json.loads(path.read_text("utf-8"))
    verdict["approval"] |= {"approvals": [], "signature": "not signed: a name in the policy file"}
    path.write_text(json.dumps(verdict), "utf-8")
    assert "“go, window agreed” not signed: a name in the policy file" in page(sample.folder).text
    verdict["approval"] = {}
    path.write_text(json.dumps(verdict), "utf-8")
    assert "Approved by not recorded" in page(sample.folder).text


def test_the_plan_of_the_last_attempt_that_had_one_is_shown(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    plan = json.loads((sample.folder / "plan.json").read_text("utf-8"))
    for name, points in (("plan-2", ["5.2b"]), ("plan-10", ["5.2a", "5.2b"]), ("plan-x", [])):
        text = json.dumps({**plan, "points_of_no_return": points})
        (sample.folder / f"{name}.json").write_text(text, "utf-8")
    assert record.read(sample.folder).points_of_no_return == ("5.2a", "5.2b")


def test_the_first_page_says_what_the_verdict_says(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    text = page(sample.folder).text
    assert "PASSED" in text
    assert sample_record.NOTICE in text
    assert "A. Person" in text
    signed = "covers 5.2a, 5.2b signed with key 1300ab5783848215"
    assert f"B. Person 22 Nov 2026, 16:10:00 UTC “go, window agreed” {signed}" in text
    assert "6 clauses: 4 pass, 0 fail, 2 not run" in text
    assert "before 12\u00a0408 = unchanged 12\u00a0408 + changed 0 + missing 0" in text
    assert "added 391" in text
    assert "6\u00a0000 requests, 0 failed" in text
    assert "512 writes acknowledged" in text
    assert "not needed in this run" in text
    assert "5.2a (reached 04:12:31)" in text


def test_a_failed_run_says_what_failed_why_what_was_done_who_serves_and_what_is_next(tmp_path: Path) -> None:
    read = record.read(sample_record.failed(tmp_path).folder)
    assert " ".join(story.sentences(read)) == (
        "3.1a “The first weight moves to green” failed: green does not satisfy the gate: latency p99, because green "
        "answers too slowly. Every request was sent back to blue in 2.9 s (proven by 100 requests), and blue serves "
        "now; next: look at green's pods."
    )
    assert " ".join(story.sentences(read)) in page(read.folder).text


def test_every_clause_has_a_row_also_those_not_run(tmp_path: Path) -> None:
    sample = sample_record.failed(tmp_path)
    read = page(sample.folder)
    verdict = json.loads((sample.folder / "verdict.json").read_text("utf-8"))
    rows = {a["id"]: a["data-result"] for tag, a in read.elements if tag == "tr" and "data-result" in a}
    assert rows == {"clause-" + c["id"].lower().replace(".", "-"): c["result"] for c in verdict["clauses"]}
    assert "not reached: 3.1a failed" in read.text
    assert sample_record.REASON_NOT_BUILT in read.text
    assert "911\u202fms" in read.text, "the gate's value"
    assert "canary to 0 first" in read.text


def test_text_of_a_record_is_never_markup(tmp_path: Path) -> None:
    sample = sample_record.failed(tmp_path, reason=HOSTILE, cause=HOSTILE, seen=HOSTILE, remedy=HOSTILE)
    verdict = json.loads((sample.folder / "verdict.json").read_text("utf-8"))
    verdict["notice"] = verdict["operator"] = verdict["target"]["name"] = verdict["upgrade"]["to"] = HOSTILE
    verdict["clauses"][0]["title"] = verdict["deviations"][0]["did"] = HOSTILE
    sample.write_json("verdict.json", verdict)
    source = html.build(record.read(sample.folder))
    read = Page(source)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert "img" not in [tag for tag, _ in read.elements]
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
    assert "{{ 7*7 }}" in read.text


def test_the_notice_is_never_invented(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    verdict = json.loads((sample.folder / "verdict.json").read_text("utf-8"))
    verdict["notice"] = ""
    sample.write_json("verdict.json", verdict)
    lines = (sample.folder / "journal.jsonl").read_text("utf-8").replace(sample_record.NOTICE, "")
    sample.write("journal.jsonl", lines)
    source = html.build(record.read(sample.folder))
    assert 'class="notice"' not in source


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("verdict.json", "NO VERDICT"),
        ("plan.json", "plan.json is not in the record"),
        ("load", "no request was measured"),
        ("journal.jsonl", "journal.jsonl holds no line"),
        ("evidence", "OCI digests are unchanged"),
    ],
)
def test_a_record_without_a_part_is_still_a_page(tmp_path: Path, missing: str, said: str) -> None:
    folder = sample_record.passed(tmp_path).folder
    path = folder / missing
    for file in path.iterdir() if path.is_dir() else [path]:
        file.unlink()
    assert said in page(folder).text


def test_an_empty_folder_is_a_page_without_a_verdict(tmp_path: Path) -> None:
    text = page(tmp_path).text
    assert "NO VERDICT" in text
    assert "PASSED" not in text


def test_without_a_verdict_nothing_looks_passed_and_the_results_are_the_journals(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.passes("1.1a")
    sample.journal.write("clause_started", clause="3.1a", scenario="s", feature="f", phase="3", title="t")
    read = record.read(sample.folder)
    assert read.result == views.NO_VERDICT
    assert {clause.id: clause.result for clause in read.clauses if clause.result != "NOT_RUN"} == {"1.1a": "PASS"}
    started = read.clause("3.1a")
    assert started is not None
    assert started.reason == "started and never finished"
    assert "This record has no verdict" in " ".join(story.sentences(read))


def test_a_changed_journal_is_told(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    lines = (sample.folder / "journal.jsonl").read_text("utf-8")
    sample.write("journal.jsonl", lines.replace('"attempted":', '"attempted" :').replace("2027.Q1", "2027.Q0"))
    assert "the journal's chain does not hold: line 1 of journal.jsonl was changed" in page(sample.folder).text


def test_a_line_that_is_cut_short_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "load" / "requests.jsonl"
    path.write_text(path.read_text("utf-8") + '{"time": "2026-', "utf-8")
    read = record.read(sample.folder)
    assert len(read.seconds) == 60
    assert read.problems == ("load/requests.jsonl line 61 is no JSON object",)


def test_links_never_leave_the_record(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    (tmp_path / "secret.txt").write_text("x", "utf-8")
    sample.journal.write("observation", clause="1.1a", path="artifacts/../../secret.txt", other="/etc/passwd")
    clause = record.read(sample.folder).clause("1.1a")
    assert clause is not None
    assert clause.links == ()


def test_writes_count_as_found_only_up_to_the_look_for_them(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.load()
    found = {"keyword": "And", "text": "every acknowledged write is there exactly once", "duration_s": 0.1}
    assert "found" not in wording.traffic(record.read(sample.folder))[1]
    sample.clock.advance(40)
    sample.journal.write("step", clause="5.2a", **found, status="passed")
    assert wording.traffic(record.read(sample.folder))[1].endswith(
        "512 writes acknowledged · all acknowledged by 04:12:47 were found exactly once"
    )
    sample.journal.write("step", clause="5.2b", **found, status="failed")
    assert "found" not in wording.traffic(record.read(sample.folder))[1]


# -- the picture -------------------------------------------------------------------------------------------------------


def test_the_picture_shows_weights_failures_and_the_way_back(tmp_path: Path) -> None:
    drawing = timeline.draw(record.read(sample_record.failed(tmp_path).folder))
    assert drawing is not None
    labels = [shape.text for shape in drawing.shapes if isinstance(shape, shapes.Label)]
    assert {"10 %", "3.1a fail", "rolled back: blue", "limit 250 ms, above this scale"} <= set(labels)
    ticks = [s for s in drawing.shapes if isinstance(s, shapes.Path) and s.look == "error" and s.hint]
    assert [tick.hint for tick in ticks] == ["3 failed, 04:12:38"]
    marks = [s for s in drawing.shapes if isinstance(s, shapes.Box) and s.look == "bad" and s.hint]
    assert len(marks) == 1


def test_a_long_run_is_drawn_in_few_shapes_and_loses_no_failure(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.load(seconds=7200, failed_at=3601)
    sample.clock.advance(7200)
    sample.end("FAILED", exit_code=1)
    drawing = timeline.draw(record.read(sample.folder))
    assert drawing is not None
    points = sum(len(shape.points) for shape in drawing.shapes if isinstance(shape, shapes.Path))
    assert points < 6000
    assert any(
        isinstance(s, shapes.Path) and s.look == "error" and s.hint.startswith("3 failed") for s in drawing.shapes
    )


def test_everything_of_the_picture_is_inside_of_it(tmp_path: Path) -> None:
    drawing = timeline.draw(record.read(sample_record.failed(tmp_path).folder))
    assert drawing is not None
    for shape in drawing.shapes:
        points = shape.points if isinstance(shape, shapes.Path) else ((shape.x, shape.y),)
        assert all(0 <= x <= drawing.width and -1 <= y <= drawing.height for x, y in points), shape


def test_a_gap_in_the_load_is_a_gap_in_the_picture(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    path = sample.folder / "load" / "requests.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[40:]), "utf-8")
    drawing = timeline.draw(record.read(sample.folder))
    assert drawing is not None
    blue = [s for s in drawing.shapes if isinstance(s, shapes.Path) and s.look == "blue-area" and s.closed]
    assert len(blue) == 2


# -- transcripts, samples and controls ---------------------------------------------------------------------------------


def transcript(tmp_path: Path, text: str) -> str:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.command("1.1a", "stella", "doctor")
    sample.write(record.read(sample.folder).commands[0].transcript, text)
    return html.build(record.read(sample.folder))


def test_a_transcript_is_in_the_page_and_cannot_become_markup(tmp_path: Path) -> None:
    source = transcript(tmp_path, f"$ stella doctor\n{HOSTILE}\x1b[31mred\x00\r\nend")
    assert [tag for tag, _ in Page(source).elements].count("script") == 1
    assert "\ufffd[31mred\ufffd\nend</pre>" in source, "what would do something is shown as what it is not"


def test_a_long_transcript_is_cut_in_its_middle_and_says_by_how_much(tmp_path: Path) -> None:
    source = transcript(tmp_path, "beginning" + "x" * 50_000 + "ending")
    assert "beginning" in source
    assert "ending</pre>" in source
    assert "[34\u00a0015 characters are left out here; the file has them]" in source
    assert "x" * 12_001 not in source


def test_transcripts_end_where_they_would_make_the_page_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "_MOST_TRANSCRIPTS", 10)
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    for _ in range(3):
        sample.command("1.1a", "stella", "doctor")
    read = record.read(sample.folder)
    assert list(html.transcripts(read)) == [1]
    assert html.build(read).count("artifacts/commands/003-stella.txt") >= 1, "its file is named all the same"


def test_a_transcript_outside_of_the_record_is_not_read(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    (tmp_path / "secret.txt").write_text("do not show", "utf-8")
    facts = {"argv": ["stella"], "exit_code": 0, "duration_s": 0.1}
    sample.journal.write("command", clause="1.1a", **facts, transcript="../secret.txt")
    assert "do not show" not in html.build(record.read(sample.folder))


def test_every_measurement_of_a_gate_is_in_the_page(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    for number in range(4):
        sample.clock.advance(1)
        sample.verdict("error_ratio", result="FAIL" if number == 2 else "PASS", value=number / 100, reason="so bad")
    source = html.build(record.read(sample.folder))
    rows = re.search(r'id="samples-error_ratio">.*?<tbody>(.*?)</tbody>', source, re.DOTALL)
    assert rows is not None
    assert rows[1].count("<tr") == 4
    assert rows[1].count('<tr class="off">') == 1
    assert [f"{number}.00\u202f%" in rows[1] for number in range(4)] == [True] * 4


def test_the_page_says_what_the_record_answers_to_each_control(tmp_path: Path) -> None:
    read = page(sample_record.failed(tmp_path).folder)
    for name in ("SOC 2 CC8.1", "A.8.32", "9(4)(e)", "11.50"):
        assert name in read.text
    assert "#controls" in read.urls()
    assert "CC8.1" in read.text[read.text.index("Blue is healthy") - 80 : read.text.index("Blue is healthy")]


def test_a_map_of_controls_that_cannot_be_read_costs_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RunbookInvalid("the controls cannot be read", code="controls-unreadable")

    monkeypatch.setattr(html.controls, "assess", refuse)
    monkeypatch.setattr(html.controls, "by_clause", refuse)
    read = page(sample_record.failed(tmp_path).folder)
    assert "#controls" not in read.urls()
    assert "What failed" in read.text


def test_every_table_has_a_caption_and_every_head_a_scope(tmp_path: Path) -> None:
    read = page(sample_record.sent_back(tmp_path).folder)
    tags = [tag for tag, _ in read.elements]
    assert tags.count("caption") == tags.count("table") > 10
    assert all("scope" in attributes for tag, attributes in read.elements if tag == "th")
    assert tags.count("main") == tags.count("nav") == tags.count("footer") == 1
    regions = [attributes for tag, attributes in read.elements if tag == "section"]
    assert all(attributes.get("aria-labelledby") in read.ids() for attributes in regions)
