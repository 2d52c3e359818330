"""The first page tells an upgrade to somebody who was not there, whatever became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import sample_record

from reports import html, record, story, summary

if TYPE_CHECKING:
    from pathlib import Path

    from reports.story import Story

FROM, TO = "sha256:" + "d3" * 32, "sha256:" + "c1" * 32


def told(sample: sample_record.Sample, **changes: object) -> Story:
    """Return a record's first page after some of verdict.json was replaced."""
    path = sample.folder / "verdict.json"
    verdict = json.loads(path.read_text("utf-8")) if path.is_file() else None
    if verdict is not None and changes:
        sample.write_json("verdict.json", {**verdict, **changes})
    return story.tell(record.read(sample.folder))


def attempt(number: int, procedure: str, **changes: object) -> dict[str, Any]:
    return {
        "number": number,
        "procedure": procedure,
        "operator": "ci@runner",
        "started": "2026-11-23T04:12:07Z",
        "finished": "2026-11-23T04:13:07Z",
        **changes,
    }


# -- what it says of each outcome --------------------------------------------------------------------------------------


def test_a_run_that_passed_takes_one_sentence(tmp_path: Path) -> None:
    page = told(sample_record.passed(tmp_path))
    assert (page.outcome, page.tone) == ("PASSED", "good")
    assert page.sentences == ("Every clause that this plan performs passed.",)


def test_a_run_that_was_interrupted_and_gone_on_with_says_so(tmp_path: Path) -> None:
    attempts = [attempt(1, "run", broken_off=True), attempt(2, "resume", kept=30)]
    reasons = ["attempt 1 (run) was broken off during 3.1a"]
    page = told(sample_record.passed(tmp_path), attempts=attempts, reasons=reasons)
    assert page.sentences[1] == (
        "The work was broken off 1 time, the last time during 3.1a, and gone on with each time; "
        "30 clauses kept their result at the end."
    )
    assert "1 attempt of 2 broken off" in page.fact("exceptions").notes
    assert page.fact("exceptions").tone == "warn"


def test_many_attempts_are_counted_and_left_to_their_table(tmp_path: Path) -> None:
    attempts = [attempt(number, "resume", broken_off=number < 9) for number in range(1, 10)]
    sample = sample_record.passed(tmp_path)
    notes = told(sample, attempts=attempts).fact("executed").notes
    assert notes[1] == "9 attempts, 8 of them broken off; each is in the table of attempts"
    assert len(notes) == 3
    assert html.build(record.read(sample.folder)).count("broken off</span>") == 8


def test_a_failed_run_says_what_failed_then_what_was_done_what_serves_and_what_is_next(tmp_path: Path) -> None:
    page = told(sample_record.failed(tmp_path))
    failed, done = page.sentences
    assert failed.startswith("3.1a “The first weight moves to green” failed: green does not satisfy the gate")
    assert done.startswith("Every request was sent back to blue in 2.9 s")
    assert "blue serves now; next: look at green's pods" in done
    assert page.fact("clauses").tone == "bad"


def test_a_failure_without_words_of_its_own_has_those_of_the_diagnosis(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.journal.write("diagnosis", clause="3.1a", id="", cause="", remedy="")
    cause = "the selector wants web-frontend\nand the pods carry web"
    sample.journal.write("diagnosis", clause="3.1a", id="selector-wrong", cause=cause, remedy="correct the selector")
    sample.fails("3.1a", reason="nobody answers")
    sample.end("FAILED", exit_code=1)
    page = told(sample)
    assert page.sentences[0].endswith("failed: nobody answers, because the selector wants web-frontend.")
    assert page.sentences[1].endswith("next: correct the selector.")
    text = html.build(record.read(sample.folder))
    assert "no known cause fits" in text
    assert "and the pods carry web" in text


def test_a_run_that_no_clause_decided_says_what_speaks_against_it_and_what_is_next(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    load = {"planned": 6000, "attempted": 6000, "failed": 1}
    reasons = ["1 of 6000 requests failed at the public host"]
    sample.write_json("load/summary.json", load)
    page = told(sample, result="FAILED", exit_code=1, reasons=reasons, load=load)
    assert page.sentences[0] == (
        "No clause failed, but the run as a whole came to FAILED: 1 of 6000 requests failed at the public host."
    )
    assert "next: look at the first failed requests below" in page.sentences[1]
    assert page.fact("traffic").tone == "warn"


def test_an_inconclusive_run_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.fails("3.1a", result="INCONCLUSIVE", reason="too few samples", remedy="bake longer")
    sample.end("INCONCLUSIVE", exit_code=4)
    page = told(sample)
    assert (page.outcome, page.tone) == ("INCONCLUSIVE", "warn")
    assert page.sentences[0].endswith("was inconclusive: too few samples.")
    assert page.sentences[1].startswith("The run stopped there before any traffic had moved")
    assert page.sentences[1].endswith("next: bake longer.")
    assert page.fact("clauses").tone == "warn"


def test_a_cause_that_begins_as_the_reason_does_is_told_alone(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    cause = "too few samples to decide: error ratio: 8 samples, at least 20 are needed"
    sample.fails("3.1a", result="INCONCLUSIVE", reason="too few samples to decide: error ratio", cause=cause)
    sample.end("INCONCLUSIVE", exit_code=4)
    page = told(sample)
    assert page.sentences[0].endswith(f"was inconclusive: {cause}.")


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({"scope": "until 2"}, "The run did the part that it was asked for (scope: until 2)", "next: ./cutover resume"),
        (
            {"attempts": [attempt(1, "run", stopped_by="SIGINT")]},
            "The run was stopped by SIGINT",
            "next: ./cutover resume",
        ),
        (
            {"observation": {"state": "running", "until": "2026-11-26T04:14:00Z", "window_s": 259_200}},
            "The cutover is done, and the observation runs until 26 Nov 2026, 04:14:00 UTC",
            "next: ./cutover observe when that time has come",
        ),
        ({"scope": "drill diagnose"}, "This was a drill and no upgrade", "next: nothing, a drill is not gone on with"),
        (
            {"rollback": {"performed": True, "serves": "blue", "took_s": 1.0, "trigger": "stopped"}},
            "The run is not finished",
            "then begin a new upgrade",
        ),
    ],
    ids=["a part", "stopped", "observing", "drill", "went back"],
)
def test_an_incomplete_run_says_how_it_goes_on(
    tmp_path: Path, changes: dict[str, Any], first: str, second: str
) -> None:
    page = told(sample_record.passed(tmp_path), result="INCOMPLETE", exit_code=4, **changes)
    assert page.sentences[0].startswith(first)
    assert second in page.sentences[1]


def test_a_way_back_that_was_asked_for_says_what_became_of_the_site(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.weight(100)
    sample.rollback()
    sample.journal.write("state_compared", clause="R.1", kept=True, path="artifacts/state/after-2.json")
    sample.end("ROLLED_BACK", exit_code=1)
    page = told(sample, attempts=[attempt(1, "run"), attempt(2, "rollback", reason="a customer waits")])
    assert page.outcome == "ROLLED BACK"
    assert page.sentences[0] == (
        "The way back was asked for (a customer waits) and is proven: blue serves, proven by 100 requests 2.9 s after "
        "it began; this upgrade is not in effect."
    )
    assert page.sentences[1].startswith("The site's state was compared with the one before the upgrade")
    assert page.fact("undo").value.startswith("performed, 2.9 s; blue serves")


def test_without_a_verdict_nothing_counts_as_passed(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.passes("1.1a")
    page = told(sample)
    assert (page.outcome, page.tone) == ("NO VERDICT", "idle")
    assert "nothing here counts as passed" in page.sentences[0]
    assert "./cutover resume or ./cutover rollback" in page.sentences[1]


# -- what it answers ---------------------------------------------------------------------------------------------------


def test_it_says_from_which_digest_to_which(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.write_json("artifacts/state/before.json", {"state": {"blue": "blue", "images": [FROM]}})
    running = {"web": [TO], "worker": [TO]}
    sample.journal.write("observation", clause="1.1a", what="images", running={"web": [FROM]}, wanted=[TO])
    sample.journal.write("observation", clause="1.1a", what="images", running=running, wanted=[TO])
    sample.end("PASSED", exit_code=0)
    before, after = told(sample).changes
    assert (before.release, before.told) == ("2027.Q1", (f"{FROM} (blue)",))
    assert (after.release, after.told) == ("2027.Q2", (f"{TO} (web, worker)",))


def test_a_digest_that_nobody_looked_at_is_not_invented(tmp_path: Path) -> None:
    assert [change.told for change in told(sample_record.passed(tmp_path)).changes] == [
        ("image digests not recorded",),
        ("image digests not recorded",),
    ]


def test_it_says_how_it_would_be_undone_from_where_it_ended(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.journal.write("observation", clause="1.1a", what="roles", blue="blue", green="green", serving="blue")
    sample.journal.write("done", clause="3.1a", action="install green")
    assert told(sample).fact("undo").value == "not taken: green is installed"
    sample.weight(10)
    undo = told(sample).fact("undo")
    assert undo.value == "not taken; from here by ./cutover rollback: R.1, R.2c"
    assert undo.notes[0] == "traffic is moving to green"
    assert "R.1: the public route names blue alone" in undo.notes


def test_who_asked_approved_and_executed_is_told_or_said_to_be_missing(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    page = told(sample)
    assert [fact.value for fact in page.people] == ["A. Person", "B. Person", "ci@runner"]
    assert "“go, window agreed”" in page.fact("approved").notes
    bare = told(sample, approval={}, operator="")
    assert [fact.value for fact in bare.people[:2]] == ["not recorded", "not recorded"]


def test_a_record_names_its_digest_and_by_what_it_is_signed(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    page = told(sample)
    assert page.signature == "not sealed: the record has no manifest.json"
    sample.write("manifest.json", "{}")
    page = told(sample)
    assert page.digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert page.signature == "not signed: the record is sealed by its digests alone"
    sample.write_json("attestations/test-result.dsse.json", {"signatures": [{"keyid": "9f", "sig": "eA=="}]})
    page = told(sample)
    assert page.signature == "1 attestation signed with 9f; proven by ./cutover verify"
    text = summary.build(record.read(sample.folder))
    assert page.digest in text


def test_a_bundle_is_an_identitys_signature_and_a_statement_without_one_is_none(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    sample.write_json("manifest.json", {"number": 2, "previous": {"file": "seals/1/seal.json", "sha256": FROM}})
    sample.write_json("attestations/svr.sigstore.json", {"dsseEnvelope": {"signatures": [{"sig": "eA=="}]}})
    sample.write_json("attestations/upgrade-record.dsse.json", {"signatures": []})
    page = told(sample)
    assert page.signature == "1 attestation signed with a Sigstore identity; proven by ./cutover verify"
    assert ("seal before", FROM) in page.digests
    source = html.build(record.read(sample.folder))
    assert "this is seal 2 of the record" in source
    assert "attestations/upgrade-record" not in source


def test_exceptions_are_counted_with_their_reasons(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    observation = {"state": "complete", "until": "2026-11-23T04:14:00Z", "window_s": 30}
    fact = told(sample, scope="phase 3", observation=observation).fact("exceptions")
    assert fact.value == "1 deviation from the guide, each with its reason"
    assert fact.notes == ("observed for 30.0 s where the guide asks for 72 hours", "part of a run: scope phase 3")


def test_a_clock_that_was_put_ahead_is_told(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.journal.write("observation", what="clock ahead", ahead_s=86_400.0)
    sample.end("PASSED", exit_code=0)
    notes = told(sample).fact("exceptions").notes
    assert "the harness's clock was put ahead by 24 h 00 min, on purpose: times are not the site's" in notes


def test_the_upgrade_before_is_named_with_its_digests(tmp_path: Path) -> None:
    sample = sample_record.passed(tmp_path)
    before: dict[str, Any] = {
        "id": "2026-11-20-0300",
        "from": "2026.Q4",
        "to": "2027.Q1",
        "result": "PASSED",
        "problem": "",
    }
    before |= {"journal": {"entries": 9, "head": FROM}, "verdict_sha256": TO}
    page = told(sample, previous=before)
    assert page.previous == f"2026-11-20-0300 (2026.Q4 → 2027.Q1), PASSED; journal {FROM}; verdict {TO}"
    assert page.previous in html.build(record.read(sample.folder))
    assert told(sample, previous=None).previous == ""


def test_evidence_that_is_gone_asks_for_attention(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.evidence(missing=1)
    sample.end("FAILED", exit_code=1)
    assert told(sample).fact("evidence").tone == "bad"


def test_a_load_without_files_is_told_by_the_journal(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    for attempted, green in ((100, 0), (200, 10), (90, 40)):
        sample.clock.advance(1)
        sample.journal.write(
            "load", attempted=attempted, failed=0, by_colour={"blue": attempted - green, "green": green}
        )
    seconds = record.read(sample.folder).seconds
    assert [second.attempted for second in seconds] == [100, 100, 90]
    assert [second.by_colour for second in seconds] == [
        {"blue": 100, "green": 0},
        {"blue": 90, "green": 10},
        {"blue": 50, "green": 40},
    ]
