"""What follows the first page of report.pdf: one function a section, each from the record's plain data.

Invariants: the sections say what the page's do, in the same order and words; what is too long for paper names the file
of the record that holds it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Spacer

from reports import controls, shares, wording
from reports.controls import State
from reports.pdf_parts import CODE, H2, NONE, SMALL, WIDTH, Badge, Picture, p, rich, section, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.controls import ControlView
    from reports.gates import GateBlock, GateRow
    from reports.story import Story
    from reports.views import AttemptView, ClauseView, CommandView, GateView, Record

PICTURE: Final = 790.0
"""A picture is laid out in this width and scaled down to the page's: its smallest text is 6.5 points then."""
_WINDOW: Final = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")
_SINCE: Final = re.compile(r"since \d{4}-\S+Z")
_WORTH_TELLING_S: Final = 0.1
"""A step that passed faster is shown without its duration."""
_TRANSCRIPT_LINES: Final = 30
"""Of a command that failed, the last ones; the whole is in the record."""
_STATE_TONES: Final = {
    State.ANSWERED: "good",
    State.EXCEPTIONS: "warn",
    State.PARTLY: "idle",
    State.OPEN: "bad",
}


def every(record: Record, facts: Mapping[str, Any], carried: Sequence[str]) -> Iterable[Flowable]:
    """Yield all sections, in their order. carried: the names of the files inside of the document."""
    yield from _failures(facts["troubled"], record, facts["decision"])
    yield from _attempts(record)
    yield from _matrix(facts["phases"], facts["controls_by_clause"], facts["kept"])
    yield from _controls(facts["controls"])
    yield from _served(record)
    yield from _gates(facts["gates"], facts["decisions"])
    yield from _deviations(record)
    yield from _evidence(record, facts)
    yield from _load(record, facts)
    yield from _commands(record)
    yield from _journal(record, facts["events"])
    yield from _plan(record)
    yield from _proof(record, facts["story"], carried)


def _failures(troubled: Sequence[ClauseView], record: Record, decision: str) -> Iterable[Flowable]:
    if not troubled and not record.diagnoses:
        return
    yield from section("What failed" if troubled else "Diagnoses", "failures")
    for clause in troubled:
        yield CondPageBreak(30 * mm)
        yield p(f"{clause.id} {clause.title}: {clause.result}", H2)
        rows = (
            ("Reason", clause.reason or "none is recorded"),
            ("Seen", clause.seen),
            ("Cause", clause.cause),
            ("Next", clause.remedy),
            ("State", clause.state),
            ("Guide", clause.guide),
        )
        yield from table(["", ""], [56, 0], [[p(name, SMALL), text] for name, text in rows if text])
        for command in record.commands:
            if command.clause == clause.id and command.exit_code:
                yield from _transcript(record, command)
    if decision:
        yield Spacer(1, 4)
        yield p(f"Decision. {decision}")
    if record.rollback.performed:
        yield Spacer(1, 4)
        yield p(f"Rollback. Trigger: {record.rollback.trigger or 'unknown'}. It was {wording.undo(record)[0]}.")
    if record.diagnoses:
        yield CondPageBreak(30 * mm)
        yield p("Diagnoses", H2)
        yield p("What was seen is matched against the table of causes; a line without one says that none of them fits.")
        yield from table(
            ["AT", "CLAUSE", "CAUSE", "NEXT"],
            [46, 40, 0, 0],
            [
                [
                    wording.clock(one.time),
                    one.clause or NONE,
                    rich((one.id, "code"), (one.cause, "")) if one.id else "no known cause fits",
                    one.remedy or NONE,
                ]
                for one in record.diagnoses
            ],
        )


def _transcript(record: Record, command: CommandView) -> Iterable[Flowable]:
    """Yield the end of what a command that failed wrote."""
    path = record.folder / command.transcript
    if not command.transcript or not path.resolve().is_relative_to(record.folder.resolve()) or not path.is_file():
        return
    lines = path.read_text("utf-8", "replace").splitlines()
    left_out = len(lines) - _TRANSCRIPT_LINES
    cut = f", its last {_TRANSCRIPT_LINES} lines" if left_out > 0 else ""
    yield Spacer(1, 4)
    yield p(f"Command {command.number}, exit code {command.exit_code}: {command.transcript}{cut}", SMALL)
    for line in lines[-_TRANSCRIPT_LINES:]:
        yield p(line or " ", CODE)


def _attempts(record: Record) -> Iterable[Flowable]:
    if len(record.attempts) <= 1:
        return
    yield from section("Attempts", "attempts")
    yield p(
        "Every process that worked on this upgrade. What one finished, the next kept, and measured anew what it had to."
    )
    yield from table(
        ["NO.", "PROCEDURE", "BY", "FROM", "TO", "ENDED", "KEPT"],
        [24, 62, 0, 96, 52, 150, 34],
        [
            [
                str(one.number),
                rich((one.procedure, ""), (f"“{one.reason}”" if one.reason else "", "soft")),
                one.operator or "unknown",
                wording.moment_of(one.started),
                wording.clock(one.finished),
                _ended(one, record),
                wording.count(one.kept),
            ]
            for one in record.attempts
        ],
        numbers=(6,),
    )


def _ended(one: AttemptView, record: Record) -> str:
    if one.broken_off:
        return "broken off"
    return f"stopped by {one.stopped_by}" if one.stopped_by else one.result or record.result


def _controls(found: Sequence[ControlView]) -> Iterable[Flowable]:
    """Yield what the record answers to the controls that an auditor asks by."""
    if not found:
        return
    yield from section("Controls", "controls")
    yield p(
        "What the controls of four frameworks ask of a change, in our words, and where this record answers. "
        "An answer says where to look, not that the control is met."
    )
    for one in found:
        yield CondPageBreak(40 * mm)
        yield p(f"{one.control.name} {one.control.title}: {one.summary}", H2)
        yield p(f"Not in any record of one upgrade: {one.control.elsewhere}", SMALL)
        yield from table(
            ["IT ASKS", "THIS RECORD SAYS", "CLAUSES", "ANSWER"],
            [128, 0, 112, 66],
            [
                [
                    rich((answer.asks, ""), (answer.look, "soft")),
                    rich(*_said(answer)),
                    rich(
                        (", ".join(f"{number} {_word(name)}" for name, number in answer.counted), ""),
                        (", ".join(clause.id for clause in answer.clauses), "soft"),
                    ),
                    Badge(answer.state, _STATE_TONES[answer.state]),
                ]
                for answer in one.answers
            ],
        )


def _said(answer: controls.Answer) -> Iterable[tuple[str, str]]:
    """Yield what the record says, then what is missing or not as it should be."""
    for one in answer.fields:
        if one.text and not one.against:
            yield f"{one.title}: {one.text}", "soft"
    for gap in answer.gaps:
        yield gap, "soft-warn"


def _word(result: str) -> str:
    return {"PASS": "pass", "NOT_RUN": "not run"}.get(result, wording.RESULT_WORDS.get(result, result.lower()))


def _matrix(
    phases: Sequence[tuple[str, Sequence[ClauseView]]],
    answered: Mapping[str, Sequence[str]],
    kept: Mapping[str, int],
) -> Iterable[Flowable]:
    yield from section("Clauses", "clauses")
    yield p(
        "Every clause of the guide, in the order of a run, with what performed it, the controls that it answers and "
        "what its result rests on. "
        "A clause that was not run says why. Steps passed unless they say otherwise. "
        "File names are relative to the record's folder."
    )
    if not phases:
        yield p("The record names no clause.")
    for title, clauses in phases:
        yield CondPageBreak(52 * mm)
        yield p(title, H2)
        yield from table(
            ["CLAUSE", "SCENARIO AND STEPS", "RESULT", "TOOK", "EVIDENCE"],
            [64, 0, 58, 46, 124],
            [_clause_row(clause, answered.get(clause.id, ()), kept.get(clause.id, 0)) for clause in clauses],
            numbers=(3,),
        )


def _clause_row(clause: ClauseView, answered: Sequence[str], kept: int) -> list[object]:
    parts = [(clause.title or clause.scenario or clause.id, "bold")]
    if clause.result != "PASS":
        parts.append((clause.reason, "bad" if clause.result in wording.BAD else ""))
    parts.append((f"risk: {clause.risk}" if clause.risk not in {"", "reversible"} else "", "soft"))
    parts.append((f"kept by {wording.many(kept, 'later attempt')}" if kept else "", "soft"))
    for step in clause.steps:
        good = step.status == "passed"
        notes = [] if good else [step.status]
        if not good or step.duration_s >= _WORTH_TELLING_S:
            notes.append(wording.duration(step.duration_s))
        ending = f" ({', '.join(notes)})".replace(" ", "\N{NO-BREAK SPACE}") if notes else ""
        parts.append((f"{step.keyword} {step.text}{ending.replace(chr(160), ' ', 1)}", "soft" if good else "bad"))
    evidence = "\n".join(clause.links) or (NONE if clause.result == "NOT_RUN" else "journal.jsonl")
    took = wording.duration(clause.duration_s) if clause.duration_s is not None else NONE
    files = rich(*((line, "soft") for line in evidence.split("\n")))
    return [
        rich((clause.id, "bold"), *((name, "soft") for name in answered)),
        rich(*parts),
        Badge(clause.result),
        took,
        files,
    ]


def _served(record: Record) -> Iterable[Flowable]:
    yield from section("Served by", "served")
    drawing = shares.draw(record, width=PICTURE)
    if drawing is None:
        yield p("No weight was held long enough to measure who served it.")
    else:
        yield p(
            "Every answer at the public host names its colour. At each weight the share that green served must lie "
            "inside the exact binomial interval of that weight, or the route does something else than it says."
        )
        yield Spacer(1, 4)
        yield Picture(drawing)
        yield from table(
            ["CLAUSE", "WEIGHT", "GREEN", "OF", "SHARE", "INTERVAL", "INSIDE"],
            [50, 60, 70, 70, 70, 0, 60],
            [
                [
                    share.clause,
                    f"{share.percent:g} %",
                    wording.count(share.green),
                    wording.count(share.total),
                    f"{share.share * 100:.2f} %" if share.share is not None else "no data",
                    f"{share.low * 100:.2f} to {share.high * 100:.2f} %" if share.total else NONE,
                    Badge("PASS" if share.inside else "FAIL") if share.total else "not measured",
                ]
                for share in record.shares
            ],
            numbers=(1, 2, 3, 4, 5),
        )
    writes = wording.writes(record) or "The acknowledged writes were not compared with the table in this run"
    yield p("Write markers", H2)
    yield p(f"{writes}.")


def _gates(blocks: Sequence[GateBlock], decisions: Sequence[Sequence[str]]) -> Iterable[Flowable]:
    yield from section("Gates", "gates")
    if not blocks:
        yield p("No gate was measured in this run.")
        return
    yield p(
        "By gate: each weight with the measurement that decides, the worst, else the last. Every verdict is in "
        "gates/samples.jsonl with its queries and raw answers."
    )
    if decisions:
        yield p("Decisions", H2)
        yield from table(
            ["AT", "WEIGHT", "DECISION", "BY"],
            [60, 50, 90, 160],
            [list(one) for one in decisions],
        )
    for block in blocks:
        facts = " · ".join(part for part in (block.name, block.source, block.absent) if part)
        yield CondPageBreak(26 * mm)
        yield p(block.title, H2)
        yield p(facts, SMALL)
        yield from table(
            ["CLAUSE", "WEIGHT", "WORST", "", "GREEN", "BLUE", "LIMIT", "SAMPLES", "TAKEN", "LINE"],
            [38, 44, 62, 0, 58, 50, 50, 44, 34, 30],
            [_gate_row(row) for row in block.rows],
            numbers=(4, 5, 6, 7, 8, 9),
        )
    yield p("Queries", H2)
    yield p("The windows are those over which the measurements above were taken, in the same place of the query.")
    yield from table(
        ["GATE", "QUERY", "WINDOWS"],
        [92, 0, 92],
        [
            [title, rich((query, "code")), rich((", ".join(windows) or NONE, "soft"))]
            for (title, query), windows in _queries([row.gate for block in blocks for row in block.rows]).items()
        ],
    )


def _gate_row(row: GateRow) -> list[object]:
    gate = row.gate
    return [
        gate.clause or NONE,
        row.weight,
        Badge(gate.result),
        rich((gate.reason, "bad")),
        wording.measure(gate.value, gate.unit),
        wording.measure(gate.blue, gate.unit) if gate.blue is not None else NONE,
        wording.measure(gate.limit, gate.unit) if gate.limit is not None else NONE,
        wording.count(gate.samples),
        str(row.measured),
        str(gate.line) if gate.line is not None else NONE,
    ]


def _queries(gates: Sequence[GateView]) -> dict[tuple[str, str], list[str]]:
    """Return every gate's query with its window left open, and the windows it was asked with."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for gate in gates:
        asked = _SINCE.sub("since the weight took effect", _WINDOW.sub("[window]", gate.query))
        windows = found.setdefault((gate.title, asked), {})
        windows.update(dict.fromkeys(_WINDOW.findall(gate.query)))
    return {key: list(windows) for key, windows in found.items()}


def _deviations(record: Record) -> Iterable[Flowable]:
    yield from section("Deviations from the guide", "deviations")
    if not record.deviations:
        yield p("None is recorded.")
        return
    yield from table(
        ["ID", "DID", "INSTEAD OF", "BECAUSE"],
        [30, 0, 0, 0],
        [[d.id, d.did, d.instead_of, d.why or NONE] for d in record.deviations],
    )


def _evidence(record: Record, facts: Mapping[str, Any]) -> Iterable[Flowable]:
    yield from section("Evidence", "evidence")
    if record.evidence:
        names = list(record.evidence)
        counts = [wording.count(record.evidence[name]) for name in names]
        yield from table(
            [name.upper() for name in names], [WIDTH / len(names)] * len(names), [counts], numbers=range(len(names))
        )
        yield Spacer(1, 6)
    else:
        yield p("Evidence was not compared in this run.")
    checked = facts["checked"]
    if facts["guarantees"]:
        yield from table(
            ["ID", "GUARANTEE", "RESULT", "CHECKED", "FINDINGS", "FILES"],
            [30, 0, 62, 50, 52, 130],
            [
                [
                    clause.id,
                    rich(
                        (clause.title, "bold"),
                        (clause.reason if clause.result != "PASS" else "", "bad"),
                        (clause.check, "soft"),
                    ),
                    Badge(clause.result),
                    wording.count(checked[clause.id][0]) if clause.id in checked else NONE,
                    wording.count(checked[clause.id][1]) if clause.id in checked else NONE,
                    rich(*((name, "soft") for name in clause.links or (NONE,))),
                ]
                for clause in facts["guarantees"]
            ],
            numbers=(3, 4),
        )


def _load(record: Record, facts: Mapping[str, Any]) -> Iterable[Flowable]:
    yield from section("Load", "load")
    if not facts["load"]:
        yield p("No request was sent to the public host in this run.")
        return
    yield from table(["", ""], [170, 190], [list(row) for row in facts["load"]], numbers=(1,))
    if facts["latencies"]:
        yield CondPageBreak(30 * mm)
        yield p("Latency by phase and colour", H2)
        heads = [head.upper() for head in facts["latency_heads"]]
        yield from table(heads, [0, 50, *([52] * 7)], facts["latencies"], numbers=range(2, 9))
    failures = [one for one in record.load.get("failures") or [] if isinstance(one, dict)][:20]
    if failures:
        yield p("First failed requests", H2)
        yield from table(
            ["TIME", "REQUEST", "ERROR"],
            [110, 150, 0],
            [
                [str(f.get("time", "")), f"{f.get('method', '')} {f.get('name', '')}", str(f.get("error", ""))]
                for f in failures
            ],
        )


def _commands(record: Record) -> Iterable[Flowable]:
    yield from section("Commands", "commands")
    if not record.commands:
        yield p("No command was run.")
        return
    yield from table(
        ["NO.", "AT", "CLAUSE", "COMMAND AND TRANSCRIPT", "EXIT", "TOOK"],
        [24, 46, 40, 0, 32, 48],
        [
            [
                str(command.number),
                wording.clock(command.time),
                command.clause or NONE,
                rich((" ".join(command.argv), "code"), (command.transcript, "soft")),
                str(command.exit_code) if command.exit_code is not None else "none",
                wording.duration(command.duration_s),
            ]
            for command in record.commands
        ],
        numbers=(4, 5),
    )


def _journal(record: Record, events: Sequence[tuple[str, int]]) -> Iterable[Flowable]:
    yield from section("Journal", "journal")
    yield p(f"journal.jsonl holds {wording.many(len(record.lines), 'line')}, each naming the digest of the one before.")
    if record.journal_problem:
        yield p(f"The chain does not hold: {record.journal_problem}.")
    elif record.lines:
        yield p(
            f"The chain was checked when this document was made, from its first line to its head {record.journal_head}."
        )
    yield p(", ".join(f"{name} {number}" for name, number in events), SMALL)


def _plan(record: Record) -> Iterable[Flowable]:
    yield from section("Plan", "plan")
    digest = record.plan.get("digest")
    yield p(
        f"Strategy {record.strategy or 'unknown'}, scope {record.scope or 'unknown'}"
        + (f", digest {digest}" if digest else "")
        + ". What each clause was meant to change, and how that is undone; "
        "clauses that change nothing are left out here."
    )
    changing = [clause for clause in record.clauses if clause.changes]
    if changing:
        yield from table(
            ["CLAUSE", "CHANGES", "UNDONE BY", "RISK"],
            [40, 0, 0, 84],
            [
                [
                    c.id,
                    c.changes,
                    c.undo or NONE,
                    rich((c.risk, ""), ("point of no return" if c.id in record.points_of_no_return else "", "soft")),
                ]
                for c in changing
            ],
        )
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    yield Spacer(1, 4)
    yield p(
        "Inputs: plan.json, policy.toml, target.redacted.toml." + (f" Made by {versions}." if versions else ""), SMALL
    )


def _proof(record: Record, story: Story, carried: Sequence[str]) -> Iterable[Flowable]:
    yield from section("Proof", "proof")
    if record.manifest_sha256:
        number = record.sealed
        again = f" This is seal {number} of the record; the earlier ones are under seals/." if number > 1 else ""
        yield p(
            "manifest.json names the digest of every file that this record was made from; its own digest stands in the "
            "footer of every page and in each attestation. seal.json, written last, names the manifest, the "
            f"attestations and the reports, this one too.{again}"
        )
        yield p(f"{wording.capital(story.signature)}.")
    else:
        yield p(
            "This record has no manifest, so that nothing here is sealed: its files may have been changed since, the "
            "journal's lines excepted, of which each names the digest of the one before."
        )
    yield from table(
        ["", "SHA-256"],
        [170, 0],
        [
            [name, rich((digest, "code"))]
            for name, digest in ((story.digest_label, story.digest), *story.digests)
            if digest
        ],
    )
    yield Spacer(1, 4)
    yield p(f"Inside of this file, for machines: {', '.join(carried) or 'nothing'}.")
    yield p(
        "Whoever has the site's trust root proves all of it without a network: ./cutover verify RECORD --trust-root "
        "FILE. The signature of this document can be looked at with any reader of PDF that knows PAdES."
    )
