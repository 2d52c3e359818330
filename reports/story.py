"""The first page as data: what page, PDF and summary tell alike, each in its own form.

A record that passed is told in a sentence or two. One that did not is told in two: what failed and why; then what was
done about it, what serves now and what to do next.
Invariants: everything comes from the record; nothing that it does not say is guessed, "not recorded" and "unknown" are
answers; a signature is called one only where an envelope of the record has it, and proven by `cutover verify` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reports import gates, wording
from reports.views import NO_VERDICT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reports.views import ClauseView, Record

TONES: Final = {
    "PASSED": "good",
    "FAILED": "bad",
    "ERROR": "bad",
    "INCONCLUSIVE": "warn",
    "INCOMPLETE": "warn",
    "ROLLED_BACK": "warn",
}
_HARDLY_ANY: Final = 3
"""So many reasons are told on the first page; the others are in the matrix."""
_KEY_ID: Final = 32
"""A longer id is a digest, of which the first 16 characters are told, as in an approval."""
_GUIDE_WINDOW_S: Final = 72 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A question that the first page answers."""

    key: str
    """Its stable name: requested, approved, executed, clauses, evidence, traffic, undo, observation, exceptions."""
    label: str
    value: str
    notes: tuple[str, ...] = ()
    tone: str = ""
    """bad or warn where the answer asks for attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A release, with the images that it ran."""

    role: str
    """from or to."""
    release: str
    images: tuple[tuple[str, tuple[str, ...]], ...]
    """Each digest with the components that ran it; empty where nobody looked."""

    @property
    def told(self) -> tuple[str, ...]:
        """Return the digests in words, each with its components, or that none is recorded."""
        if not self.images:
            return ("image digests not recorded",)
        return tuple(f"{digest} ({', '.join(components)})" for digest, components in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The first page."""

    id: str
    title: str
    outcome: str
    """verdict.json's word as people read it, or NO VERDICT."""
    tone: str
    """good, bad, warn or idle."""
    site: str
    when: str
    notice: str
    """That this was no production system; empty where the record does not say so."""
    sentences: tuple[str, ...]
    decision: str
    """Which gate sent the traffic back, and when; empty when none did."""
    problems: tuple[str, ...]
    """What is not whole in the record."""
    changes: tuple[Change, ...]
    """From, then to."""
    people: tuple[Fact, ...]
    """Who asked, who approved, who executed."""
    facts: tuple[Fact, ...]
    """Clauses, evidence, traffic, undo, observation, exceptions."""
    digest_label: str
    digest: str
    """The record's, `sha256:…`; empty when it has none."""
    signature: str
    """By what the record is signed, or that it is not."""
    digests: tuple[tuple[str, str], ...]
    """Verdict, journal and earlier seal, for whoever compares by hand."""
    previous: str
    """The upgrade before on the same site, with its digests; empty where the record names none."""

    @property
    def lead(self) -> str:
        """The sentences in one paragraph."""
        return " ".join(self.sentences)

    def fact(self, key: str) -> Fact:
        """Return an answer by its name. Raises KeyError."""
        for one in (*self.people, *self.facts):
            if one.key == key:
                return one
        raise KeyError(key)


def tell(record: Record) -> Story:
    """Return a record's first page."""
    outcome = "NO VERDICT" if record.result == NO_VERDICT else record.result.replace("_", " ")
    digest_label, digest = _digest(record)
    return Story(
        id=record.id,
        title=wording.title(record),
        outcome=outcome,
        tone=TONES.get(record.result, "idle"),
        site=" · ".join(part for part in (record.target_name or "unknown site", record.target_kind) if part),
        when=wording.span(record),
        notice=record.notice,
        sentences=sentences(record),
        decision=gates.decision(record),
        problems=problems(record),
        changes=(
            Change(role="from", release=record.from_release or "unknown", images=_by_digest(record.images_from)),
            Change(role="to", release=record.to_release or "unknown", images=_by_digest(record.images_to)),
        ),
        people=tuple(_people(record)),
        facts=(
            _clauses(record),
            _evidence(record),
            _traffic(record),
            _undo(record),
            _observation(record),
            _exceptions(record),
        ),
        digest_label=digest_label,
        digest=digest,
        signature=_signature(record),
        digests=(
            ("verdict.json", record.verdict_sha256 or "absent"),
            ("journal head", record.journal_head or "unknown"),
            *([("seal before", record.sealed_before)] if record.sealed_before else []),
        ),
        previous=_previous(record),
    )


def problems(record: Record) -> tuple[str, ...]:
    """Return what is not whole in a record, the journal's chain last."""
    chain = f"the journal's chain does not hold: {record.journal_problem}" if record.journal_problem else ""
    return tuple(text for text in (*record.problems, chain) if text)


def _by_digest(images: Mapping[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, list[str]] = {}
    for component, digests in sorted(images.items()):
        for digest in digests:
            found.setdefault(digest, []).append(component)
    return tuple((digest, tuple(components)) for digest, components in found.items())


def _digest(record: Record) -> tuple[str, str]:
    """Return the name of the digest that stands for the record, and the digest."""
    if record.manifest_sha256:
        return "record", record.manifest_sha256
    return "record (not sealed yet; verdict.json)", record.verdict_sha256


def _signature(record: Record) -> str:
    if not record.manifest_sha256:
        return "not sealed: the record has no manifest.json"
    if not record.attested:
        return "not signed: the record is sealed by its digests alone"
    keys = ", ".join(f"key {key[:16]}" if len(key) > _KEY_ID else key for key in record.signed_with)
    return f"{wording.many(len(record.attested), 'attestation')} signed with {keys}; proven by ./cutover verify"


def _previous(record: Record) -> str:
    said = record.previous
    if not said:
        return ""
    releases = f" ({said.get('from', 'unknown')} → {said.get('to', 'unknown')})" if "to" in said else ""
    parts = [f"{said.get('id', 'unknown')}{releases}, {said.get('result') or 'no result'}"]
    parts += [f"{name} {said[name]}" for name in ("journal", "verdict") if name in said]
    return "; ".join([*parts, *([said["problem"]] if "problem" in said else [])])


# -- the answers -------------------------------------------------------------------------------------------------------


def _people(record: Record) -> Iterator[Fact]:
    said = record.approval
    channel = said.get("channel", "")
    yield Fact(
        key="requested",
        label="Requested by",
        value=said.get("requested_by") or "not recorded",
        notes=_kept(
            f"announced to {said['announced_to']}" if said.get("announced_to") else "",
            f"channel: {channel}" if channel else "",
        ),
    )
    approved = wording.approved(record)
    names = [name for name, _ in approved]
    notes = [line for name, lines in approved for line in ((name, *lines) if len(approved) > 1 else lines)]
    yield Fact(key="approved", label="Approved by", value=", ".join(names), notes=tuple(notes))
    yield Fact(
        key="executed",
        label="Executed by",
        value=record.operator or "not recorded",
        notes=(
            f"{record.strategy or 'unknown'} strategy, scope: {record.scope or 'unknown'}",
            *_kept(_swapped(record)),
            *_attempts(record),
        ),
    )


def _swapped(record: Record) -> str:
    """Say whom the clauses mean by blue where another colour served before; empty where blue did (F.17)."""
    first = record.serving_first
    if first in {"", "blue"}:
        return ""
    return f"colours swapped: {first} served before, so blue in clauses and gates means the colour {first}"


def _attempts(record: Record) -> tuple[str, ...]:
    """Return a line for each attempt; of many, how many there were and the last one."""
    lines = wording.attempts(record)
    if len(lines) <= _HARDLY_ANY:
        return tuple(lines)
    broken = sum(one.broken_off for one in record.attempts)
    return f"{len(lines)} attempts, {broken} of them broken off; each is in the table of attempts", lines[-1]


def _clauses(record: Record) -> Fact:
    reasons = wording.not_run_reasons(record)
    notes = [f"{number} not run: {reason}" for reason, number in reasons[:_HARDLY_ANY]]
    left = sum(number for _, number in reasons[_HARDLY_ANY:])
    if left:
        notes.append(f"and {left} more, with their reasons, in the matrix")
    bad = {clause.result for clause in record.clauses} & set(wording.BAD)
    return Fact(
        key="clauses",
        label="Clauses",
        value=wording.counts(record),
        notes=tuple(notes),
        tone=("warn" if bad == {"INCONCLUSIVE"} else "bad") if bad else "",
    )


def _evidence(record: Record) -> Fact:
    balance, added = wording.evidence(record)
    lost = record.evidence.get("missing", 0) or record.evidence.get("changed", 0)
    return Fact(key="evidence", label="Evidence", value=balance, notes=_kept(added), tone="bad" if lost else "")


def _traffic(record: Record) -> Fact:
    requests, more = wording.traffic(record)
    lost = record.markers is not None and (record.markers.missing or record.markers.repeated)
    failed = record.load.get("failed") or record.probe.get("failed")
    tone = "bad" if lost else "warn" if failed else ""
    return Fact(key="traffic", label="Traffic", value=requests, notes=_kept(*more.split(" · ")), tone=tone)


def _undo(record: Record) -> Fact:
    """Tell of the way back: taken, or which one there is from where the journal ends."""
    value, points = wording.undo(record)
    notes = [points]
    needed = [step for step in record.way_back_now if step.needed]
    if not record.rollback.performed and record.standing:
        word = "not needed" if record.result == "PASSED" else "not taken"
        if needed:
            value = f"{word}; from here by ./cutover rollback: {', '.join(step.clause for step in needed)}"
            notes = [record.standing, *(f"{step.clause}: {step.changes}" for step in needed if step.changes), points]
        else:
            value = f"{word}: {record.standing}"
    elif record.rollback.performed and record.rollback.trigger:
        notes = [f"because {wording.bare(record.rollback.trigger)}", points]
    unproven = record.rollback.performed and record.rollback.serves in {"", "nobody", "mixed"}
    return Fact(key="undo", label="Undo", value=value, notes=_kept(*notes), tone="bad" if unproven else "")


def _observation(record: Record) -> Fact:
    said = record.observation
    return Fact(
        key="observation",
        label="Observation",
        value=str(said.get("state") or "unknown"),
        notes=_kept(wording.until(said.get("until")), wording.window(said)),
    )


def _exceptions(record: Record) -> Fact:
    """Tell what was done otherwise than the guide or a plain run has it, and why."""
    said = tuple(_exceptional(record))
    number = len(record.deviations)
    value = f"{wording.many(number, 'deviation')} from the guide, each with its reason" if number else "none recorded"
    return Fact(key="exceptions", label="Exceptions", value=value, notes=said, tone="warn" if said else "")


def _exceptional(record: Record) -> Iterator[str]:
    broken = [one for one in record.attempts if one.broken_off]
    if broken:
        yield f"{wording.many(len(broken), 'attempt')} of {len(record.attempts)} broken off"
    window_s = record.observation.get("window_s")
    if isinstance(window_s, int | float) and window_s < _GUIDE_WINDOW_S:
        yield f"observed for {wording.duration(float(window_s))} where the guide asks for 72 hours"
    if record.scope not in {"", "all"}:
        yield f"part of a run: scope {record.scope}"
    started = next(record.events("run_started"), None)
    borne = (started.data.get("max_failed") if started is not None else None) or 0
    if isinstance(borne, int | float) and borne:
        yield f"the policy bears {wording.many(int(borne), 'failed request')}"
    if record.clock_ahead_s:
        ahead = wording.duration(record.clock_ahead_s)
        yield f"the harness's clock was put ahead by {ahead}, on purpose: times are not the site's"
    skipped = [clause.id for clause in record.clauses if clause.kind == "skipped"]
    if skipped:
        yield f"left out: {', '.join(skipped)}"
    if record.approval.get("signed") == "false":
        yield "the approval is not signed"


def _kept(*texts: str) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


# -- the sentences -----------------------------------------------------------------------------------------------------


def sentences(record: Record) -> tuple[str, ...]:
    """Return what the first page says of the run."""
    match record.result:
        case "NONE":
            return _without_verdict(record)
        case "PASSED":
            return tuple(_passed(record))
        case "ROLLED_BACK":
            return _rolled_back(record)
        case "INCOMPLETE" if wording.decisive(record) is None:
            return _incomplete(record)
    clause = wording.decisive(record)
    return _failed_as_a_whole(record) if clause is None else _failed(record, clause)


def _without_verdict(record: Record) -> tuple[str, ...]:
    now = wording.capital(wording.who_serves_now(record))
    return (
        "This record has no verdict: the run ended before one was computed, so nothing here counts as passed.",
        f"{now}; next: look at the journal's last lines, then ./cutover resume or ./cutover rollback.",
    )


def _passed(record: Record) -> Iterator[str]:
    serving = next((name for name in ("green", "blue") if wording.serves_all(record, name)), "")
    ending = f", and {serving} served every request at the end" if serving else ""
    observed = record.observation.get("until")
    if record.observation.get("state") == "running" and observed:
        ending += f"; the observation runs until {wording.moment(str(observed))}"
    yield f"Every clause that this plan performs passed{ending}."
    broken = [one for one in record.attempts if one.broken_off]
    if broken:
        during = next((reason.partition(" during ")[2] for reason in reversed(record.reasons)), "")
        last = f", the last time during {during}" if during else ""
        kept = record.attempts[-1].kept
        yield (
            f"The work was broken off {wording.many(len(broken), 'time')}{last}, and gone on with each time"
            + (f"; {wording.many(kept, 'clause')} kept their result at the end." if kept else ".")
        )


def _rolled_back(record: Record) -> tuple[str, ...]:
    asked = next((one.reason for one in reversed(record.attempts) if one.procedure == "rollback"), "")
    because = f" ({wording.bare(asked)})" if asked else ""
    back = record.rollback
    took = f" {wording.duration(back.took_s)} after it began" if back.took_s is not None else ""
    proof = f", proven by {wording.many(back.verified_requests, 'request')}{took}" if back.verified_requests else ""
    now = f"{wording.serves(back.serves)}{proof}"
    return (
        f"The way back was asked for{because} and is proven: {now}; this upgrade is not in effect.",
        f"{_state_kept(record)}Next: remedy what it was asked for, then begin a new upgrade.",
    )


def _state_kept(record: Record) -> str:
    """Return what the comparison of the site's state with the one before the upgrade came to."""
    compared = [line.data for line in record.events("state_compared")]
    if not compared:
        return ""
    if compared[-1].get("kept") is True:
        return "The site's state was compared with the one before the upgrade and is as it has to be. "
    return "The site's state differs from the one before the upgrade, see the clauses of the way back. "


def _incomplete(record: Record) -> tuple[str, ...]:
    newest = record.attempts[-1] if record.attempts else None
    left = sum(1 for clause in record.clauses if clause.result == "NOT_RUN" and clause.kind in _STILL_TO_DO)
    rest = (
        f"; {wording.many(left, 'clause')} of its plan {'is' if left == 1 else 'are'} still to be done" if left else ""
    )
    until = record.observation.get("until")
    if newest is not None and newest.stopped_by:
        what = f"The run was stopped by {newest.stopped_by}"
    elif record.observation.get("state") == "running" and until:
        what = f"The cutover is done, and the observation runs until {wording.moment(str(until))}"
    elif record.scope.startswith("drill"):
        what, rest = f"This was a drill and no upgrade: it performed its own clauses alone ({record.scope})", ""
    elif record.scope not in {"", "all"}:
        what = f"The run did the part that it was asked for (scope: {record.scope})"
    else:
        what = f"The run is not finished: {'; '.join(record.reasons) or 'the verdict names no reason'}"
    return (
        f"{wording.bare(what)}{rest}; nothing that was measured failed.",
        f"{wording.capital(wording.who_serves_now(record))}; next: {_going_on(record)}.",
    )


def _going_on(record: Record) -> str:
    """Return how work on a record that is not finished goes on."""
    if record.scope.startswith("drill"):
        return "nothing, a drill is not gone on with"
    if record.rollback.performed:
        return "see why it was stopped, then begin a new upgrade: on its way back nothing is gone on with"
    is_observing = record.observation.get("state") == "running" and record.observation.get("until")
    action = "./cutover observe when that time has come" if is_observing else "./cutover resume"
    return f"{action}, or ./cutover rollback for the way back"


_STILL_TO_DO: Final = frozenset({"scope", "not-reached", "interrupted", "observation"})


def _failed_as_a_whole(record: Record) -> tuple[str, ...]:
    """Tell of a run that no clause decided: the load, the evidence or the end of it speaks against it."""
    why = "; ".join(record.reasons) or "the verdict names no reason"
    whole = "No clause failed, but the run as a whole" if record.count("PASS") else "The run"
    done = _done(record, "") if record.rollback.performed else wording.who_serves_now(record)
    look = "the first failed requests below" if record.load.get("failed") else "what the reasons name"
    return (
        f"{whole} came to {record.result}: {wording.bare(why)}.",
        f"{wording.capital(done)}; next: look at {look}, then decide: ./cutover rollback shows the way back.",
    )


def _failed(record: Record, clause: ClauseView) -> tuple[str, ...]:
    known = next((one for one in record.diagnoses if one.clause == clause.id and one.cause), None)
    cause = (clause.cause or (known.cause if known is not None else "")).partition("\n")[0]
    remedy = clause.remedy or (known.remedy if known is not None else "")
    why = wording.bare(clause.reason)
    if cause and cause != clause.reason:
        begins_alike = cause.startswith(clause.reason.partition(":")[0])  # and then says more of each
        why = wording.bare(cause) if begins_alike else f"{why}, because {wording.bare(cause)}"
    return (
        f"{clause.id} “{clause.title}” {wording.VERBS[clause.result]}: {why}.",
        f"{wording.capital(_done(record, clause.state))}; next: {wording.bare(remedy) or _AGAIN}.",
    )


_AGAIN: Final = "read the clause below, correct it, and run again"


def _done(record: Record, state: str) -> str:
    """Tell what was done about a failure, and what serves now."""
    back = record.rollback
    now = wording.who_serves_now(record)
    if back.performed:
        took = f" in {wording.duration(back.took_s)}" if back.took_s is not None else ""
        proof = f" (proven by {wording.many(back.verified_requests, 'request')})" if back.verified_requests else ""
        if back.serves in {"", "nobody", "mixed"}:
            return f"sending every request back to blue was tried, but {wording.serves(back.serves)}"
        return f"every request was sent back to {back.serves}{took}{proof}, and {now}"
    if state:
        return f"the run stopped there: {wording.bare(state)}; {now}"
    if any(weight.percent for weight in record.weights):
        return f"the run stopped there, and {now}"
    stopped = "the run stopped there before any traffic had moved"
    return f"{stopped}; {now.removeprefix(wording.NOT_MOVED)}"
