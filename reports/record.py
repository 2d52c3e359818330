"""A record's folder, read into plain data: what every builder is made from.

Invariants: nothing outside the folder is read; a file that is absent, cut short or unreadable leaves its part empty and
is named in `Record.problems`, for a run that was stopped has a record too; nothing is judged here, results are
verdict.json's. Without verdict.json the journal's own words are shown and the outcome is NONE.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cutover.errors import CutoverError
from cutover.model import Result
from cutover.runbook import proof
from cutover.runbook.attempts import RESUMED
from reports import record_traffic, values
from reports.views import (
    NO_VERDICT,
    ApprovalView,
    AttemptView,
    ClauseView,
    CommandView,
    DeviationView,
    DiagnosisView,
    GateView,
    Line,
    Record,
    Rollback,
    StepView,
    WayBackStep,
    WeightView,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cutover.runbook.journal import Entry

_STATE_BEFORE = "artifacts/state/before.json"
"""The site's state before anything was changed, the images of the release before among it."""
_BOOKS = ("artifacts/", "evidence/", "gates/", "load/")
"""The folders of a record that hold what its results rest on."""
CONTINUITY = "evidence/continuity.html"
"""The page on evidence before and after, where the record has one."""
_OF_CONTINUITY = frozenset({"4.1a", "E.1", "E.2", "E.3", "E.4", "E.5"})
_MOST_LINKS = 8


class _Reader:
    """Reads files of a folder and remembers what was wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def json(self, name: str, *, expected: bool = True) -> dict[str, Any]:
        """Return a JSON object; empty when the file is absent or no JSON object."""
        path = self.folder / name
        if not path.is_file():
            if expected:
                self.problems.append(f"{name} is not in the record")
            return {}
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, OSError) as problem:
            self.problems.append(f"{name} cannot be read: {problem}")
            return {}
        if not isinstance(document, dict):
            self.problems.append(f"{name} is no JSON object")
            return {}
        return document

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON objects of a file, one a line; a line that is none is named and left out."""
        path = self.folder / name
        found: list[dict[str, Any]] = []
        if not path.is_file():
            return found
        try:
            raw = path.read_bytes().splitlines()
        except OSError as problem:
            self.problems.append(f"{name} cannot be read: {problem}")
            return found
        for number, line in enumerate(raw, start=1):
            try:
                document = json.loads(line)
            except ValueError:
                document = None
            if isinstance(document, dict):
                found.append(document)
            else:
                self.problems.append(f"{name} line {number} is no JSON object")
        return found


def read(folder: Path) -> Record:
    """Return what a record's folder holds. Raises nothing for what is missing in it: see `Record.problems`."""
    reader = _Reader(folder)
    verdict = reader.json("verdict.json")
    plan = reader.json(_newest_plan(folder))
    lines = tuple(_line(raw) for raw in reader.lines("journal.jsonl"))
    if not lines:
        reader.problems.append("journal.jsonl holds no line")
    head = next((line.data for line in lines if line.event == "run_started"), {})
    target = values.obj(verdict.get("target")) or values.obj(head.get("target"))
    upgrade = values.obj(verdict.get("upgrade"))
    result = values.text(verdict.get("result")) or NO_VERDICT
    journal_head, journal_problem = _chain(folder / "journal.jsonl", verdict)
    standing, way_back_now = ("", ()) if journal_problem else _standing(lines)
    manifest = reader.json("manifest.json", expected=False)
    envelopes = {
        path.name: _signers(reader.json(f"attestations/{path.name}"))
        for path in sorted((folder / "attestations").glob("*.json"))
    }
    commands = _commands(lines)
    traffic = values.obj(verdict.get("traffic")) or proof.document(lines)
    loads = record_traffic.loads(folder)
    return Record(
        folder=folder,
        verdict=verdict,
        verdict_sha256=_digest(folder / "verdict.json") if verdict else "",
        plan=plan,
        lines=lines,
        journal_head=journal_head,
        journal_problem=journal_problem,
        id=values.text(upgrade.get("id")) or values.text(head.get("upgrade_id")) or folder.name,
        result=result,
        exit_code=values.whole(verdict.get("exit_code")),
        from_release=values.text(upgrade.get("from")) or values.text(head.get("from")),
        to_release=values.text(upgrade.get("to")) or values.text(head.get("to")),
        target_name=values.text(target.get("name")),
        target_kind=values.text(target.get("kind")),
        notice=values.text(verdict.get("notice")) or values.text(values.obj(head.get("target")).get("notice")),
        strategy=values.text(verdict.get("strategy")) or values.text(head.get("strategy")),
        scope=values.text(verdict.get("scope")) or values.text(head.get("scope")),
        operator=values.text(verdict.get("operator")) or values.text(head.get("operator")),
        approval=values.texts(verdict.get("approval") or head.get("approval")),
        approvals=tuple(
            _approval(raw)
            for raw in values.items(values.obj(verdict.get("approval") or head.get("approval")).get("approvals"))
        ),
        started=values.time(verdict.get("started")) or (lines[0].time if lines else None),
        finished=values.time(verdict.get("finished")) or (lines[-1].time if lines else None),
        reasons=tuple(values.text(reason) for reason in values.items(verdict.get("reasons"))),
        clauses=_clauses(verdict, plan, lines, folder),
        deviations=_deviations(verdict, lines),
        commands=commands,
        gates=tuple(_gate(line) for line in lines if line.event == "gate"),
        seconds=tuple(
            record_traffic.second(raw)
            for load in loads
            for raw in reader.lines(f"{load}/requests.jsonl")
            if values.time(raw.get("time")) is not None
        )
        or record_traffic.told_seconds(lines),
        load=record_traffic.load(
            values.obj(verdict.get("load")), [reader.json(f"{load}/summary.json", expected=False) for load in loads]
        ),
        evidence=_evidence(verdict, lines),
        weights=tuple(
            WeightView(time=line.time, percent=values.number(line.data.get("percent")) or 0.0)
            for line in lines
            if line.event == "weight"
        ),
        shares=tuple(record_traffic.share(raw) for raw in map(values.obj, values.items(traffic.get("shares")))),
        decisions=tuple(
            record_traffic.decision(raw) for raw in map(values.obj, values.items(traffic.get("decisions")))
        ),
        way_back=record_traffic.way_back(values.obj(traffic.get("rollback"))),
        markers=record_traffic.markers(values.obj(traffic.get("markers"))),
        probe=values.numbers(traffic.get("probe")),
        probed=tuple(second for load in loads for second in record_traffic.probed(reader.lines(f"{load}/probe.jsonl"))),
        latencies=tuple(
            view
            for load in loads
            for view in record_traffic.latencies(
                reader.json(f"{load}/phases.json", expected=False), attempt=record_traffic.attempt_of(load)
            )
        ),
        rollback=_rollback(verdict, lines),
        observation=values.obj(verdict.get("observation")),
        points_of_no_return=tuple(values.text(name) for name in values.items(plan.get("points_of_no_return"))),
        serving_first=_serving_first(lines),
        versions=values.texts(verdict.get("versions") or head.get("versions")),
        attempts=tuple(_attempt(raw) for raw in map(values.obj, values.items(verdict.get("attempts")))),
        images_from=_images_before(reader.json(_STATE_BEFORE, expected=False)),
        images_to=_images(lines),
        diagnoses=tuple(_diagnosis(line) for line in lines if line.event == "diagnosis"),
        standing=standing,
        way_back_now=way_back_now,
        manifest_sha256=_digest(folder / "manifest.json"),
        attested=tuple(name for name, keys in envelopes.items() if keys),
        signed_with=tuple(dict.fromkeys(key for keys in envelopes.values() for key in keys)),
        sealed=values.whole(manifest.get("number")) or 0,
        sealed_before=values.text(values.obj(manifest.get("previous")).get("sha256")),
        clock_ahead_s=max(
            (
                values.number(line.data.get("ahead_s")) or 0.0
                for line in lines
                if line.data.get("what") == "clock ahead"
            ),
            default=0.0,
        ),
        previous=_previous(values.obj(verdict.get("previous")) or values.obj(head.get("previous"))),
        problems=tuple(reader.problems),
    )


# -- parts -------------------------------------------------------------------------------------------------------------


def _line(raw: Mapping[str, Any]) -> Line:
    return Line(
        seq=values.whole(raw.get("seq")) or 0,
        time=values.time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        event=values.text(raw.get("event")),
        clause=values.text(raw.get("clause")),
        data=values.obj(raw.get("data")),
    )


def _chain(path: Path, verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Return the digest of the journal's last line, and what is wrong with its chain."""
    from cutover.runbook.journal import Journal  # noqa: PLC0415  # the only part of the engine that is needed

    sealed = values.obj(verdict.get("journal"))
    expected = values.text(sealed.get("head")) or None
    try:
        entries = Journal.verify(path)
        if expected is not None and not _is_gone_on_with(entries, expected, values.whole(sealed.get("entries")) or 0):
            Journal.verify(path, head=expected)
    except CutoverError as problem:
        return "", str(problem)
    except OSError as problem:
        return "", f"it cannot be read: {problem.strerror or problem}"
    return (entries[-1].digest if entries else "", "")


def _is_gone_on_with(entries: Sequence[Entry], head: str, count: int) -> bool:
    """Whether a later attempt, which has no verdict, went on from the end that the verdict names."""
    sealed, later = entries[max(0, count - 1) : count], entries[count : count + 1]
    return bool(sealed and later) and sealed[0].digest == head and later[0].event == RESUMED


def _digest(path: Path) -> str:
    try:
        return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _clauses(
    verdict: Mapping[str, Any], plan: Mapping[str, Any], lines: Sequence[Line], folder: Path
) -> tuple[ClauseView, ...]:
    planned = {values.text(raw.get("id")): raw for raw in map(values.obj, values.items(plan.get("clauses")))}
    judged = {values.text(raw.get("id")): raw for raw in map(values.obj, values.items(verdict.get("clauses")))}
    mine: dict[str, list[Line]] = {}
    for line in lines:
        if line.clause:
            mine.setdefault(line.clause, []).append(line)
    names = list(dict.fromkeys([*(judged or planned), *planned, *judged]))
    return tuple(
        _clause(name, judged.get(name), planned.get(name, {}), mine.get(name, ()), folder) for name in names if name
    )


def _clause(
    name: str, judged: Mapping[str, Any] | None, planned: Mapping[str, Any], lines: Sequence[Line], folder: Path
) -> ClauseView:
    finished = [line for line in lines if line.event == "clause_finished"]
    words = judged if judged is not None else _from_journal(lines)
    decisive = next((line for line in finished if line.data.get("result") == words.get("result")), None)
    said = decisive.data if decisive is not None else {}
    scenarios = " · ".join(values.text(title) for title in values.items(planned.get("scenarios")))
    return ClauseView(
        id=name,
        title=values.text(words.get("title")) or values.text(planned.get("title")),
        phase=values.text(words.get("phase")) or values.text(planned.get("phase")),
        result=values.text(words.get("result")) or Result.NOT_RUN.value,
        scenario=values.text(words.get("scenario")) or scenarios,
        started=values.time(words.get("started")),
        finished=values.time(words.get("finished")),
        reason=values.text(words.get("reason")) or values.text(values.obj(planned.get("not_run")).get("reason")),
        cause=values.text(words.get("cause")),
        remedy=values.text(words.get("remedy")),
        guide=values.text(planned.get("guide")),
        check=values.text(planned.get("check")),
        risk=values.text(planned.get("risk")),
        changes=values.text(planned.get("changes")),
        undo=values.text(planned.get("undo")),
        seen=values.text(said.get("seen")),
        state=values.text(said.get("state")),
        kind=values.text(said.get("kind")) or values.text(values.obj(planned.get("not_run")).get("kind")),
        steps=tuple(_step(line) for line in lines if line.event == "step"),
        links=_links(name, lines, folder),
    )


def _from_journal(lines: Sequence[Line]) -> dict[str, Any]:
    """Return a clause's words as the journal has them: the record has no verdict."""
    started = next((line for line in lines if line.event == "clause_started"), None)
    finished = next((line for line in reversed(lines) if line.event == "clause_finished"), None)
    words: dict[str, Any] = dict(finished.data) if finished is not None else {}
    if finished is None:
        words["reason"] = "started and never finished" if started is not None else "the run ended before it"
    if started is not None:
        words["started"] = started.time.isoformat()
        words["finished"] = finished.time.isoformat() if finished is not None else None
        words["scenario"] = started.data.get("scenario")
    return words


def _step(line: Line) -> StepView:
    data = line.data
    return StepView(
        keyword=values.text(data.get("keyword")).strip(),
        text=values.text(data.get("text")),
        status=values.text(data.get("status")),
        duration_s=values.number(data.get("duration_s")) or 0.0,
    )


def _links(name: str, lines: Sequence[Line], folder: Path) -> tuple[str, ...]:
    """Return the files of the record that a clause's lines name, and the file of its own that it may have."""
    found: dict[str, None] = {}
    for line in lines:
        if line.event in {"evidence", "gate"}:
            found["evidence/diff.json" if line.event == "evidence" else "gates/samples.jsonl"] = None
        for text in _strings(line.data):
            path = _inside(text, folder)
            if path:
                found[path] = None
    found[f"evidence/{name}.json"] = None
    if name in _OF_CONTINUITY:
        found[CONTINUITY] = None
    files = [path for path in found if (folder / path).exists()]
    return tuple(files[:_MOST_LINKS])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _inside(text: str, folder: Path) -> str:
    """Return a path relative to the record when the text names something in one of its folders, else nothing."""
    candidate = text.rpartition(f"/{folder.name}/")[2]
    if not candidate.startswith(_BOOKS) or any(mark in candidate for mark in "\n\r\0"):
        return ""
    path = PurePosixPath(candidate)
    if ".." in path.parts:
        return ""
    manifest = path / "manifest.json"
    return str(manifest) if (folder / manifest).is_file() else str(path)


def _deviations(verdict: Mapping[str, Any], lines: Sequence[Line]) -> tuple[DeviationView, ...]:
    found: Iterable[Mapping[str, Any]]
    if verdict:
        found = map(values.obj, values.items(verdict.get("deviations")))
    else:
        found = {values.text(line.data.get("id")): line.data for line in lines if line.event == "deviation"}.values()
    return tuple(
        DeviationView(
            id=values.text(raw.get("id")),
            did=values.text(raw.get("did")),
            instead_of=values.text(raw.get("instead_of")),
            why=values.text(raw.get("why")),
        )
        for raw in found
    )


def _commands(lines: Sequence[Line]) -> tuple[CommandView, ...]:
    return tuple(
        CommandView(
            number=number,
            time=line.time,
            clause=line.clause,
            argv=tuple(values.text(word) for word in values.items(line.data.get("argv"))),
            exit_code=values.whole(line.data.get("exit_code")),
            duration_s=values.number(line.data.get("duration_s")) or 0.0,
            transcript=values.text(line.data.get("transcript")),
        )
        for number, line in enumerate((line for line in lines if line.event == "command"), start=1)
    )


def _gate(line: Line) -> GateView:
    data = line.data
    return GateView(
        time=line.time,
        clause=line.clause,
        name=values.text(data.get("name")),
        title=values.text(data.get("title")) or values.text(data.get("name")),
        result=values.text(data.get("result")),
        value=values.number(data.get("value")),
        limit=values.number(data.get("limit")),
        unit=values.text(data.get("unit")),
        query=values.text(data.get("query")),
        percent=values.whole(data.get("percent")),
        samples=values.whole(data.get("samples")) or 0,
        reason=values.text(data.get("reason")),
        source=values.text(data.get("source")),
        blue=values.number(data.get("blue")),
        line=values.whole(data.get("line")),
    )


def _evidence(verdict: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, int]:
    """Return the balance; `unchanged` comes from the journal alone. Empty when nothing was compared."""
    last: Mapping[str, Any] = next((line.data for line in reversed(lines) if line.event == "evidence"), {})
    judged = values.obj(verdict.get("evidence"))
    if not last and not any(values.whole(number) for number in judged.values()):
        return {}
    keys = ("before", "after", "unchanged", "changed", "missing", "added")
    return {key: values.whole(judged.get(key, last.get(key))) or 0 for key in keys}


def _rollback(verdict: Mapping[str, Any], lines: Sequence[Line]) -> Rollback:
    began = next((line for line in reversed(lines) if line.event == "rollback_started"), None)
    ended: Mapping[str, Any] = next((line.data for line in reversed(lines) if line.event == "rollback_finished"), {})
    judged = values.obj(verdict.get("rollback"))
    if began is None and not judged.get("performed"):
        return Rollback()
    return Rollback(
        performed=True,
        took_s=values.number(judged.get("took_s", ended.get("took_s"))),
        serves=values.text(judged.get("serves")) or values.text(ended.get("serves")),
        trigger=values.text(judged.get("trigger")) or (values.text(began.data.get("trigger")) if began else ""),
        verified_requests=values.whole(ended.get("verified_requests")) or 0,
        began=began.time if began else None,
    )


def _images_before(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the images that the colour ran which served before the upgrade; it tells of all its pods together."""
    state = values.obj(document.get("state"))
    digests = tuple(map(values.text, values.items(state.get("images"))))
    return {values.text(state.get("blue")) or "blue": digests} if digests else {}


def _images(lines: Sequence[Line]) -> dict[str, tuple[str, ...]]:
    """Return the new release's images as they were looked at last, by component."""
    said = (line.data for line in reversed(lines) if line.event == "observation" and line.data.get("what") == "images")
    running = values.obj(next(said, {}).get("running"))
    return {name: tuple(map(values.text, values.items(digests))) for name, digests in running.items()}


def _diagnosis(line: Line) -> DiagnosisView:
    return DiagnosisView(
        time=line.time,
        clause=line.clause,
        id=values.text(line.data.get("id")),
        cause=values.text(line.data.get("cause")),
        remedy=values.text(line.data.get("remedy")),
    )


def _standing(lines: Sequence[Line]) -> tuple[str, tuple[WayBackStep, ...]]:
    """Return how far the upgrade has come by its journal, and the way back from there."""
    from cutover.runbook import reverse  # noqa: PLC0415  # as `_chain`: not needed to read a folder's other files

    if not lines:
        return "", ()
    try:
        plan = reverse.plan(lines)
    except (AttributeError, KeyError, TypeError, ValueError):  # lines of another version than this one
        return "", ()
    return plan.point.value, tuple(
        WayBackStep(clause=step.clause, needed=step.needed, why=step.why, changes=step.changes) for step in plan.steps
    )


def _previous(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return what a record says of the upgrade before it."""
    found = {name: values.text(raw.get(name)) for name in ("id", "from", "to", "result", "problem")}
    found["journal"] = values.text(values.obj(raw.get("journal")).get("head"))
    found["verdict"] = values.text(raw.get("verdict_sha256"))
    return {name: value for name, value in found.items() if value}


def _signers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the keys that signed an envelope; of a Sigstore bundle, that an identity did."""
    if "dsseEnvelope" in document:
        return ("a Sigstore identity",) if values.items(values.obj(document["dsseEnvelope"]).get("signatures")) else ()
    envelope = document
    return tuple(
        values.text(values.obj(raw).get("keyid")) or "unnamed key" for raw in values.items(envelope.get("signatures"))
    )


def _serving_first(lines: Sequence[Line]) -> str:
    roles = (line.data for line in lines if line.event == "observation" and line.data.get("what") == "roles")
    return values.text(next(roles, {}).get("serving"))


def _newest_plan(folder: Path) -> str:
    """Return the name of the last plan that was begun with: a further attempt may perform more than the first."""
    numbers = [path.stem.partition("-")[2] for path in folder.glob("plan-*.json")]
    newest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    return f"plan-{newest}.json" if newest else "plan.json"


def _attempt(raw: Mapping[str, Any]) -> AttemptView:
    return AttemptView(
        number=values.whole(raw.get("number")) or 0,
        procedure=values.text(raw.get("procedure")),
        operator=values.text(raw.get("operator")),
        started=values.time(raw.get("started")),
        finished=values.time(raw.get("finished")),
        broken_off=raw.get("broken_off") is True,
        stopped_by=values.text(raw.get("stopped_by")),
        result=values.text(raw.get("result")),
        reason=values.text(raw.get("reason")),
        kept=values.whole(raw.get("kept")) or 0,
    )


def _approval(value: object) -> ApprovalView:
    raw = values.obj(value)
    return ApprovalView(
        name=values.text(raw.get("name")),
        at=values.text(raw.get("approved_at")),
        meaning=values.text(raw.get("meaning")),
        covers=tuple(values.text(clause_id) for clause_id in values.items(raw.get("covers"))),
        signed_with=values.text(raw.get("signed_with")),
    )
