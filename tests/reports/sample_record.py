"""Small records as a run writes them: a real journal, chained, and the files beside it.

Four clauses, a load of a minute, two weights. Every number is chosen, so that a test can say what a report must show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.clock import ManualClock, rfc3339
from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 23, 4, 12, 7, tzinfo=UTC)
ID = "2026-11-23-0412"
NOTICE = "Practice on a small site, not a production system"
DIGEST = "sha256:" + "3f" * 32
REASON_NOT_BUILT = "the support bundle is not built yet"
QUERY = 'sum(rate(http_requests_total{status=~"5.."}[5s]))'


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A clause of the sample's plan and what it comes to."""

    id: str
    title: str
    phase: str
    risk: str = "reversible"
    changes: str = ""
    undo: str = ""


CLAUSES = (
    Planned(id="1.1a", title="Blue is healthy", phase="1"),
    Planned(
        id="3.1a",
        title="The first weight moves to green",
        phase="3",
        changes="the canary sends 10 % to green",
        undo="restore: weight 0",
    ),
    Planned(id="E.1", title="OCI digests are unchanged", phase="evidence"),
    Planned(
        id="5.2a", title="Blue's release is removed", phase="5", risk="irreversible", changes="blue is uninstalled"
    ),
    Planned(id="R.1", title="Every request goes back to blue", phase="rollback"),
    Planned(id="S.1", title="A support bundle is made", phase="support"),
)


class Sample:
    """Writes one record."""

    def __init__(self, records: Path, *, name: str = ID) -> None:
        self.folder = records / name
        self.folder.mkdir(parents=True)
        self.clock = ManualClock(START)
        self.journal = Journal(self.folder / "journal.jsonl", clock=self.clock)
        self.results: dict[str, dict[str, Any]] = {}

    # -- as the run goes on --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Write the run's start and its plan."""
        self.journal.write(
            "run_started",
            upgrade_id=ID,
            target={"name": "small", "kind": "staging", "notice": NOTICE},
            **{"from": "2027.Q1"},
            to="2027.Q2",
            strategy="gradual",
            scope="all",
            operator="ci@runner",
        )
        plan = {
            "digest": DIGEST,
            "points_of_no_return": ["5.2a"],
            "clauses": [
                {
                    "id": c.id,
                    "title": c.title,
                    "phase": c.phase,
                    "guide": f"Section {c.id}",
                    "check": "looked at independently",
                    "risk": c.risk,
                    "changes": c.changes,
                    "undo": c.undo,
                    "scenarios": [f"{c.title}, as a scenario"],
                    "not_run": None,
                }
                for c in CLAUSES
            ],
        }
        self.write_json("plan.json", plan)
        self.write("policy.toml", 'strategy = "gradual"\n')

    def passes(self, clause_id: str, *, took_s: float = 2.0, **facts: object) -> None:
        """Let a clause pass."""
        self._clause(clause_id, "PASS", took_s=took_s, status="passed", facts=facts)

    def fails(self, clause_id: str, *, result: str = "FAIL", took_s: float = 2.0, **facts: object) -> None:
        """Let a clause fail, with reason, cause, remedy and so on among the facts."""
        self._clause(clause_id, result, took_s=took_s, status="failed", facts=facts)

    def not_run(self, clause_id: str, *, reason: str, kind: str = "not-reached") -> None:
        """Pass a clause over."""
        self.journal.write("clause_finished", clause=clause_id, scenario="", result="NOT_RUN", kind=kind, reason=reason)
        self.results[clause_id] = {"result": "NOT_RUN", "reason": reason, "started": None, "finished": None}

    def _clause(self, clause_id: str, result: str, *, took_s: float, status: str, facts: dict[str, object]) -> None:
        started = self.clock.now()
        title = self._title(clause_id)
        self.journal.clause = clause_id
        self.journal.write("clause_started", scenario=title, feature="Feature", phase="1", title=title)
        self.journal.write("step", keyword="When", text=f"{clause_id} is done", status="passed", duration_s=0.5)
        self.clock.advance(took_s)
        self.journal.write("step", keyword="Then", text=f"{clause_id} is so", status=status, duration_s=0.25)
        self.journal.write("clause_finished", scenario=title, result=result, **{"reason": "", **facts})
        self.journal.clause = None
        words = {key: facts[key] for key in ("reason", "cause", "remedy") if key in facts}
        self.results[clause_id] = {
            "result": result,
            "scenario": title,
            "started": rfc3339(started),
            "finished": rfc3339(self.clock.now()),
            **words,
        }

    def _title(self, clause_id: str) -> str:
        return next(clause.title for clause in CLAUSES if clause.id == clause_id)

    def command(self, clause_id: str, *argv: str, exit_code: int = 0) -> None:
        """Run a command, with a transcript."""
        number = sum(1 for entry in self.journal.entries() if entry.event == "command") + 1
        path = f"artifacts/commands/{number:03d}-{argv[0]}.txt"
        self.write(path, f"$ {' '.join(argv)}\n")
        self.journal.write(
            "command", clause=clause_id, argv=list(argv), exit_code=exit_code, duration_s=0.3, transcript=path
        )

    def weight(self, percent: int) -> None:
        """Move the traffic."""
        self.journal.write("weight", clause="3.1a", percent=percent, target="green")

    def gate(self, *, result: str = "PASS", value: float | str | None = 0.021) -> None:
        """Measure a gate at weight 10."""
        sample = {
            "name": "latency_p99",
            "title": "latency p99",
            "result": result,
            "value": value,
            "limit": 0.25,
            "unit": "s",
            "query": QUERY,
            "percent": 10,
            "samples": 812,
        }
        self.journal.write("gate", clause="3.1a", **sample)
        self.write("gates/samples.jsonl", json.dumps(sample) + "\n")

    def verdict(self, name: str, *, result: str = "PASS", percent: int | None = 10, **facts: object) -> None:
        """Write one verdict of a gate, as a run with all of its gates does."""
        number = sum(1 for entry in self.journal.entries() if entry.event == "gate") + 1
        data = {
            "title": name.replace("_", " "),
            "source": "prometheus",
            "value": 0.002,
            "blue": None,
            "limit": 0.01,
            "unit": "ratio",
            "samples": 812,
            "reason": "",
            "query": QUERY,
            "line": number,
            "sha256": "00",
            **facts,
        }
        self.journal.write("gate", clause="3.1a", name=name, result=result, percent=percent, **data)

    def share(self, *, percent: int = 10, green: int = 174, total: int = 1740, inside: bool = True) -> None:
        """Write what green served at a weight."""
        low, high = (0.077011, 0.124138) if inside else (0.2, 0.3)
        self.journal.write("share", clause="3.1a", percent=percent, green=green, total=total, low=low, high=high)

    def decide(self, *, gate: str = "", result: str = "PASS", percent: int = 10, bad_for_s: float = 0.0) -> None:
        """End a bake: go back when the result is no PASS."""
        first_bad = rfc3339(self.clock.now() - timedelta(seconds=bad_for_s)) if result != "PASS" else None
        decision = "advance" if result == "PASS" else "rollback"
        facts = {"gate": gate, "result": result, "decided_after_s": bad_for_s, "first_bad": first_bad}
        self.journal.write("gate_decision", clause="3.1a", percent=percent, decision=decision, **facts)

    def markers(self, *, acknowledged: int, missing: int = 0, repeated: int = 0) -> None:
        """Compare the acknowledged writes with the table."""
        facts = {"acknowledged": acknowledged, "missing": missing, "repeated": repeated}
        self.journal.write("markers", clause="3.1a", run="load-1", **facts)

    def probe(self, *, seconds: int = 60, frozen_at: int | None = None) -> None:
        """Write a minute of the open-loop probe at 10 requests a second, and the latencies by phase and colour."""
        lines: list[dict[str, object]] = [{"start": START.timestamp(), "requests_per_s": 10.0}]
        for number in range(seconds * 10):
            frozen = frozen_at is not None and 0 <= number - frozen_at * 10 < 20
            ms = 2000.0 - (number % 20) * 100 if frozen else 8.0 + number % 5
            lines.append({"n": number, "ms": ms, "late_ms": 0.1, "status": 200, "colour": "blue", "error": ""})
        lines.append({"end": START.timestamp() + seconds, "planned": seconds * 10})
        self.write("load/probe.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        facts = {"count": 5400, "failed": 0, "p50_ms": 5.0, "p90_ms": 9.25, "p99_ms": 21.5, "p99_9_ms": 40.0}
        facts["max_ms"] = 77.7
        probe = {"planned": 600, "answered": 600, "failed": 0, "p50_ms": 10.0, "p99_ms": 1700.0, "max_ms": 2000.0}
        colours = {"blue": facts, "green": {**facts, "count": 600}}
        phase = {"phase": "weight-10", "planned": 6000, "attempted": 6000, "failed": 0, "colours": colours}
        self.write_json("load/phases.json", {"phases": [{**phase, "probe": probe}]})

    def load(self, *, seconds: int = 60, failed_at: int | None = None) -> None:
        """Write a minute of load at 100 requests a second, a tenth of them green's after 20 s."""
        lines, totals = [], {"blue": 0, "green": 0, "failed": 0}
        for second in range(seconds):
            failed = 3 if second == failed_at else 0
            served = {"blue": 90 - failed, "green": 10} if second >= 20 else {"blue": 100 - failed}
            totals = {key: totals[key] + ({**served, "failed": failed}).get(key, 0) for key in totals}
            lines.append(
                {
                    "time": rfc3339(START + timedelta(seconds=second + 1)),
                    "elapsed_s": second + 1,
                    "attempted": 100,
                    "failed": failed,
                    "by_colour": served,
                    "p50_ms": dict.fromkeys(served, 5.0),
                    "p99_ms": dict.fromkeys(served, 20.0 + second % 7),
                }
            )
        self.write("load/requests.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        summary = {
            "planned": 100 * seconds,
            "attempted": 100 * seconds,
            "failed": totals["failed"],
            "by_colour": {"blue": totals["blue"], "green": totals["green"]},
            "reads": 90 * seconds,
            "writes": 10 * seconds,
            "markers_acknowledged": 512,
            "seconds": float(seconds),
            "failures": [],
        }
        self.write_json("load/summary.json", summary)

    def evidence(self, *, missing: int = 0) -> None:
        """Write the evidence balance: 12 408 before, 391 added."""
        facts = {"before": 12_408, "after": 12_799 - missing, "missing": missing, "changed": 0, "added": 391}
        self.journal.write("evidence", clause="E.1", **facts, unchanged=12_408 - missing)
        self.journal.write("observation", clause="E.1", what="OCI digests", checked=6204, findings=0)
        self.write_json("evidence/E.1.json", {"checked": 6204})

    def rollback(self, *, serves: str = "blue") -> None:
        """Go back to blue in 2.9 s."""
        self.journal.write("rollback_started", clause="R.1", trigger="3.1a failed")
        self.journal.write("rollback_finished", clause="R.1", took_s=2.9, serves=serves, verified_requests=100)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, result: str, *, exit_code: int, reasons: tuple[str, ...] = (), **changes: object) -> dict[str, Any]:
        """Close the journal and write verdict.json; return it."""
        self.journal.write("run_finished", result=result, exit_code=exit_code, reasons=list(reasons))
        entries = self.journal.entries()
        evidence = next((entry.data for entry in reversed(entries) if entry.event == "evidence"), {})
        back = next((entry.data for entry in reversed(entries) if entry.event == "rollback_finished"), None)
        clauses = [
            {
                "id": clause.id,
                "title": clause.title,
                "phase": clause.phase,
                "scenario": "",
                "started": None,
                "finished": None,
                "reason": "no scenario of it reported a result",
                "result": "NOT_RUN",
                "cause": "",
                "remedy": "",
                **self.results.get(clause.id, {}),
            }
            for clause in CLAUSES
        ]
        verdict: dict[str, Any] = {
            "schema": "cutover/verdict/v1",
            "result": result,
            "exit_code": exit_code,
            "upgrade": {"id": ID, "from": "2027.Q1", "to": "2027.Q2"},
            "target": {"name": "small", "kind": "staging", "sha256": DIGEST},
            "notice": NOTICE,
            "strategy": "gradual",
            "scope": "all",
            "observation": {"state": "complete", "until": "2026-11-23T04:14:00Z"},
            "clauses": clauses,
            "counts": {},
            "deviations": [
                {"id": "F.4", "did": "canary to 0 first", "instead_of": "the primary alone", "why": "it keeps sending"}
            ],
            "load": self._totals(),
            "evidence": {key: evidence.get(key, 0) for key in ("before", "after", "missing", "changed", "added")},
            "rollback": {
                "performed": back is not None,
                "serves": (back or {}).get("serves", ""),
                "took_s": (back or {}).get("took_s"),
                "trigger": "3.1a failed" if back is not None else "",
            },
            "reasons": list(reasons),
            "started": rfc3339(START),
            "finished": rfc3339(self.clock.now() + timedelta(seconds=70)),
            "approval": {
                "requested_by": "A. Person",
                "approved_by": "B. Person",
                "meaning": "go, window agreed",
                "approved_at": "2026-11-22T16:10:00Z",
                "signature": "signed: B. Person with key 1300ab5783848215",
                "approvals": [
                    {
                        "name": "B. Person",
                        "approved_at": "2026-11-22T16:10:00Z",
                        "meaning": "go, window agreed",
                        "covers": ["5.2a", "5.2b"],
                        "signed_with": "key 1300ab5783848215",
                    }
                ],
            },
            "operator": "ci@runner",
            "commands": sum(entry.event == "command" for entry in entries),
            "versions": {"cutover": "0.1.0"},
            "journal": {"entries": len(entries), "head": self.journal.head},
            **changes,
        }
        self.write_json("verdict.json", verdict)
        self.journal.close()
        return verdict

    def _totals(self) -> dict[str, Any]:
        path = self.folder / "load" / "summary.json"
        summary = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return {key: summary.get(key, 0) for key in ("planned", "attempted", "failed")}

    def write(self, name: str, text: str) -> None:
        """Write a file of the record."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def write_json(self, name: str, document: object) -> None:
        """Write a JSON file of the record."""
        self.write(name, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def passed(records: Path) -> Sample:
    """Write the record of a run that passed."""
    sample = Sample(records)
    sample.begin()
    sample.command("1.1a", "stella", "doctor", "--full")
    sample.passes("1.1a")
    sample.weight(10)
    sample.gate()
    sample.passes("3.1a", took_s=20)
    sample.weight(100)
    sample.evidence()
    sample.passes("E.1")
    sample.passes("5.2a")
    sample.not_run("R.1", reason="no rollback was needed", kind="not-needed")
    sample.not_run("S.1", reason=REASON_NOT_BUILT, kind="not-built")
    sample.load()
    sample.end("PASSED", exit_code=0)
    return sample


def failed(records: Path, **facts: object) -> Sample:
    """Write the record of a run whose first weight failed its gate and that went back to blue."""
    sample = Sample(records)
    sample.begin()
    sample.passes("1.1a")
    sample.weight(10)
    sample.gate(result="FAIL", value=0.911)
    words = {
        "reason": "green does not satisfy the gate: latency p99",
        "cause": "green answers too slowly",
        "remedy": "look at green's pods",
        "seen": "latency p99: 911 ms, limit 250 ms",
        **facts,
    }
    sample.fails("3.1a", **words)
    sample.rollback()
    sample.passes("R.1")
    sample.weight(0)
    for clause_id in ("E.1", "5.2a"):
        sample.not_run(clause_id, reason="not reached: 3.1a failed")
    sample.not_run("S.1", reason=REASON_NOT_BUILT, kind="not-built")
    sample.load(failed_at=30)
    sample.end("FAILED", exit_code=1, reasons=("3.1a FAIL: green does not satisfy the gate: latency p99",))
    return sample


def sent_back(records: Path, **facts: object) -> Sample:
    """Write the record of a run of today whose second weight broke a gate beside blue, with everything it measures."""
    sample = Sample(records)
    sample.begin()
    sample.passes("1.1a")
    sample.weight(10)
    for _ in range(3):
        sample.clock.advance(1)
        sample.verdict("error_ratio")
        sample.verdict("error_ratio_vs_blue", blue=0.0, title="error ratio beside blue")
        sample.verdict("served_by", source="load", value=0.1, limit=None)
    sample.share()
    sample.markers(acknowledged=211)
    sample.decide()
    sample.weight(25)
    sample.clock.advance(2)
    words = {"value": 0.182, "blue": 0.001, "samples": 411, "reason": "18.2 %, limit 1 %", **facts}
    sample.verdict("error_ratio", percent=25)
    sample.verdict("error_ratio_vs_blue", result="FAIL", percent=25, title="error ratio beside blue", **words)
    sample.verdict("probe_latency", percent=25, source="load", value=0.011, limit=1.0, unit="s")
    sample.clock.advance(1.5)
    sample.decide(gate="error_ratio_vs_blue", result="FAIL", percent=25, bad_for_s=1.5)
    sample.fails("3.1a", took_s=0.1, reason="a gate does not hold: error ratio beside blue", remedy="read its log")
    sample.rollback()
    sample.weight(0)
    sample.probe(frozen_at=30)
    sample.load(failed_at=30)
    sample.end("FAILED", exit_code=1, reasons=("3.1a FAIL: a gate does not hold",))
    return sample
