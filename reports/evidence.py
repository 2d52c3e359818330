"""An evidence folder, read into what the continuity report shows: balance, guarantees, damage, items.

Invariants: the balance is counted here from the two snapshots, and compared with what the run wrote down; a guarantee
that nobody verified is not a guarantee; what cannot be read, or is not what its manifest names, is in `problems` and
then continuity is not proven. Memory grows with the items that are kept, at most `KEEP_ITEMS` of them in each state.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cutover.evidence import diff, snapshot
from cutover.evidence.errors import CODES, EvidenceError
from cutover.evidence.verify import TITLES
from reports import platform
from reports.columns import STATES, Items, legible
from reports.layers import Layer, explain, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cutover.evidence.snapshot import Line, Manifest, Snapshot
    from reports.platform import Agreement
    from reports.views import Record

KEEP_ITEMS: Final = 250_000
"""Sites up to this size are listed whole; of larger ones the unchanged items without findings are left out."""
SHOW_DAMAGED: Final = 100
"""How many damaged items the page shows in full without scripts; the list has all of them."""

_GROUNDS: Final = ("checkpoint-", "trust-", "schema-")
"""Findings of what a guarantee compares with: entries behind a refused checkpoint, for one, are not looked at."""

BEFORE: Final = "before"
AFTER: Final = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding, and who found it."""

    source: str
    """A clause (E.1 to E.5, 1.1c, E.6 …), or what was being read: `before`, `after`."""
    code: str
    item: str
    expected: str
    actual: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuaranteeView:
    """One of the five guarantees, as its file says."""

    clause: str
    title: str
    checked: int
    total: int
    findings: tuple[Found, ...]
    problem: str = ""
    """Why it counts as not verified; empty when it was."""

    @property
    def outcome(self) -> str:
        """holds, broken, or not verified."""
        if self.total:
            return "broken"
        return "not verified" if self.problem or self.checked <= 0 else "holds"

    @property
    def doubt(self) -> str:
        """Why it cannot vouch for an item that it does not name; empty when it can."""
        if self.outcome == "not verified":
            return f"{self.clause} was not verified"
        if self.total > len(self.findings):
            return f"{self.clause} has more findings than it names"
        refused = next((one.code for one in self.findings if one.code.startswith(_GROUNDS)), "")
        return f"{self.clause} refused what it rests on: {refused}" if refused else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindBalance:
    """The balance of one kind."""

    kind: str
    before: int
    unchanged: int
    changed: int
    missing: int
    added: int
    after: int

    @property
    def adds_up(self) -> bool:
        """Whether both sums hold."""
        return (
            self.before == self.unchanged + self.changed + self.missing
            and self.after == self.before - self.missing + self.added
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An item that is changed, missing, or refused: both lines, and which layers are concerned."""

    id: str
    kind: str
    state: str
    before: Line | None
    after: Line | None
    layers: tuple[Layer, ...]
    explanation: str
    findings: tuple[Found, ...]

    @property
    def fields(self) -> Iterator[tuple[str, object, object, bool]]:
        """Yield each field's name, its two values, and whether they differ."""
        for name in snapshot.FIELDS:
            old, new = (getattr(line, name) if line is not None else None for line in (self.before, self.after))
            yield name, old, new, old != new


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything the report says."""

    folder: Path
    before: Manifest
    after: Manifest
    trust: str
    """The digest of the trust root of the baseline."""
    guarantees: tuple[GuaranteeView, ...]
    baseline: tuple[GuaranteeView, ...]
    """What tree and log said of the baseline alone, before anything began; empty where nobody asked."""
    of_baseline: tuple[Found, ...]
    """What taking the baseline refused already."""
    balance: diff.Diff
    kinds: tuple[KindBalance, ...] = ()
    kind_changed: int = 0
    unaccounted: tuple[str, ...] = ()
    """Items of the second snapshot only, that are not behind the baseline's watermark: the first of them."""
    unaccounted_total: int = 0
    damaged: tuple[Damaged, ...] = ()
    """At most `SHOW_DAMAGED`."""
    damaged_total: int = 0
    refused_total: int = 0
    """How many items have findings."""
    of_no_item: tuple[Found, ...] = ()
    """Findings of the guarantees that are of no item: a root, a checkpoint, a trust root."""
    agreements: tuple[Agreement, ...] = ()
    items: Items = field(default_factory=Items)
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By state, the items that the list does not hold."""
    item_findings: list[list[object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """BROKEN, NOT PROVEN or HOLDS, in this order of precedence."""
        balance = self.balance
        if any(one.total for one in self.guarantees) or balance.changed or balance.missing or self.unaccounted_total:
            return "BROKEN"
        if self.problems or not balance.before or any(one.outcome != "holds" for one in self.guarantees):
            return "NOT PROVEN"
        return "HOLDS"


def is_complete(folder: Path) -> bool:
    """Whether an evidence folder has both snapshots, so that there is something to report."""
    return all((folder / name / "manifest.json").is_file() for name in (BEFORE, AFTER))


def read(folder: Path, record: Record | None = None) -> Evidence:
    """Read an evidence folder; with the record it belongs to, compare with its journal and the platform's reports.

    Raises:
        EvidenceError: `snapshot-malformed`, when a manifest cannot be read.

    """
    before, after = snapshot.load(folder / BEFORE), snapshot.load(folder / AFTER)
    problems: list[str] = []
    guarantees = tuple(
        _guarantee(folder / f"{clause}.json", clause, problems, about=(before, after)) for clause in TITLES
    )
    baseline = tuple(
        _guarantee(path, clause, problems, about=(before, before), source=f"{clause} of the baseline")
        for clause in TITLES
        if (path := folder / f"before-{clause}.json").is_file()
    )
    taken = {name: _of_snapshot(one, name, problems) for name, one in ((BEFORE, before), (AFTER, after))}
    found = Evidence(
        folder=folder,
        before=before.manifest,
        after=after.manifest,
        trust=before.manifest.trust_digest,
        guarantees=guarantees,
        baseline=baseline,
        of_baseline=tuple(taken[BEFORE]),
        balance=_NOTHING,
        problems=problems,
    )
    named = [one for view in (*guarantees, *baseline) for one in view.findings] + taken[BEFORE]
    known = {(one.code, one.item, one.actual) for one in named}
    named += [one for one in taken[AFTER] if (one.code, one.item, one.actual) not in known]
    _Pass(found, named).run(before, after)
    _against_the_run(found, record)
    if record is not None:
        refused = {one.item for view in baseline for one in view.findings}
        found.agreements = platform.compare(record, before, after, found.balance, refused=refused)
    return found


_NOTHING: Final = diff.Diff(before=0, after=0, unchanged=0, changed=0, missing=0, added=0, items=())


class _Pass:
    """One pass over both snapshots."""

    def __init__(self, found: Evidence, named: list[Found]) -> None:
        self.found = found
        self.by_item: dict[str, list[Found]] = {}
        for one in named:
            self.by_item.setdefault(one.item, []).append(one)
        self.counts = dict.fromkeys(STATES, 0)
        self.by_kind: dict[str, Counter[str]] = {state: Counter() for state in STATES}
        self.kept = dict.fromkeys(STATES, 0)
        self.whole = max(found.before.items, found.after.items) <= KEEP_ITEMS
        self.damaged: list[Damaged] = []
        self.met: set[str] = set()
        self.doubts = {one.clause: doubt for one in found.guarantees if (doubt := one.doubt)}
        self.is_whole = False

    def run(self, before: Snapshot, after: Snapshot) -> None:
        """Count, keep and explain; a file that is not whole ends the pass and is told."""
        found = self.found
        try:
            for old, new in diff.pairs(before, after):
                self._pair(old, new)
            self.is_whole = True
        except EvidenceError as refusal:
            found.problems.append(f"the snapshots are not whole, and what follows is what was read of them: {refusal}")
        found.balance = diff.Diff(before=found.before.items, after=found.after.items, **self.counts, items=())
        found.kinds = self._kinds() if self.is_whole else ()
        found.damaged = tuple(self.damaged)
        if self.is_whole:
            named = (one for view in found.guarantees for one in view.findings)
            found.of_no_item = tuple(one for one in named if one.item not in self.met)
        found.left_out = {
            state: self.counts[state] - self.kept[state] for state in STATES if self.counts[state] > self.kept[state]
        }
        total = found.balance
        if self.is_whole and (
            total.before != total.unchanged + total.changed + total.missing
            or total.after != total.before - total.missing + total.added
        ):
            found.problems.append("the totals do not balance: a manifest counts other items than its snapshot holds")

    def _pair(self, old: bytes | None, new: bytes | None) -> None:
        same = old == new
        state = "unchanged" if same else "added" if old is None else "missing" if new is None else "changed"
        self.counts[state] += 1
        if same and not self.whole and not self.by_item:
            return  # by far the most lines of a large site, and none of them is shown
        before = snapshot.Line.decode(old) if old is not None else None
        after = before if same else snapshot.Line.decode(new) if new is not None else None
        line = before or after
        if line is None:
            return
        if not same:
            self.by_kind[state][str(line.kind)] += 1
            if before is not None and after is not None and before.kind != after.kind:
                self.found.kind_changed += 1
        if state == "added":
            self._account(line)
        findings = self.by_item.get(line.id, ())
        if findings:
            self.found.refused_total += 1
            self.met.add(line.id)
        if state in {"changed", "missing"} or findings:
            self._explain(line, state, before, after, findings)
        if (same and not self.whole and not findings) or self.kept[state] >= KEEP_ITEMS:
            return
        self.kept[state] += 1
        number = self.found.items.add(state, line, after if state == "changed" else None)
        self.found.item_findings += [[number, one.source, one.code, one.expected, one.actual] for one in findings]

    def _account(self, line: Line) -> None:
        """See whether an added item lies behind the baseline's watermark (F.8)."""
        last = self.found.before.watermark.last_id
        if last is not None and line.id <= last:
            self.found.unaccounted_total += 1
            if len(self.found.unaccounted) < 5:
                self.found.unaccounted += (legible(line.id),)

    def _explain(
        self, line: Line, state: str, before: Line | None, after: Line | None, findings: list[Found] | tuple[()]
    ) -> None:
        self.found.damaged_total += 1
        if len(self.damaged) >= SHOW_DAMAGED:
            return
        layers = judge(before, after, findings, self.doubts)
        self.damaged.append(
            Damaged(
                id=legible(str(line.id)),
                kind=legible(str(line.kind)),
                state=state,
                before=before,
                after=after,
                layers=layers,
                explanation=explain(line.kind, state, layers),
                findings=tuple(findings),
            )
        )

    def _kinds(self) -> tuple[KindBalance, ...]:
        before, after = self.found.before.by_kind, self.found.after.by_kind
        names = sorted({*before, *after, *(name for counts in self.by_kind.values() for name in counts)})
        rows = []
        for name in names:
            changed, missing, added = (self.by_kind[state][name] for state in ("changed", "missing", "added"))
            old = before.get(name, 0)
            rows.append(
                KindBalance(
                    kind=legible(name),
                    before=old,
                    unchanged=old - changed - missing,
                    changed=changed,
                    missing=missing,
                    added=added,
                    after=after.get(name, 0),
                )
            )
        return tuple(rows)


# -- what the run wrote down -------------------------------------------------------------------------------------------


def _against_the_run(found: Evidence, record: Record | None) -> None:
    """Compare the balance with diff.json and the journal, and the manifests with the digests that the journal keeps."""
    names = ("before", "after", "unchanged", "changed", "missing", "added")
    counted = {name: getattr(found.balance, name) for name in names}
    written = _object(found.folder / "diff.json", found.problems)
    if written is not None and any(written.get(name) != counted[name] for name in names):
        found.problems.append("diff.json says another balance than its two snapshots")
    if found.after.trust_digest != found.before.trust_digest:
        found.problems.append(
            f"the second snapshot was verified with another trust root: {found.after.trust_digest}, "
            f"the baseline with {found.before.trust_digest}"
        )
    if record is None:
        return
    if record.journal_problem:
        found.problems.append(f"the journal's chain does not hold: {record.journal_problem}")
    for line in list(record.events("evidence"))[-1:]:
        if any(line.data.get(name, counted[name]) != counted[name] for name in names):
            found.problems.append("the journal says another balance than the two snapshots")
    for name, manifest in (("baseline", found.before), ("second-snapshot", found.after)):
        facts = [line.data.get("facts") for line in record.events("fact") if line.data.get("name") == name]
        sealed = facts[-1].get("digest") if facts and isinstance(facts[-1], dict) else None
        if sealed is not None and sealed != manifest.digest:
            found.problems.append(f"the journal sealed the {name} as {sealed}; its manifest is {manifest.digest}")


def _guarantee(
    path: Path, clause: str, problems: list[str], *, about: tuple[Snapshot, Snapshot], source: str = ""
) -> GuaranteeView:
    title = TITLES[clause]
    raw = _object(path, problems)
    if raw is None:
        problem = "its file cannot be read" if path.exists() else f"{path.name} is not in this folder"
        return GuaranteeView(clause=clause, title=title, checked=0, total=0, findings=(), problem=problem)
    checked, total, listed = raw.get("checked"), raw.get("findings_total"), raw.get("findings")
    is_sound = (
        type(checked) is int
        and type(total) is int
        and total >= 0
        and isinstance(listed, list)
        and all(isinstance(one, dict) for one in listed)
        and len(listed) <= total
    )
    if not is_sound or not isinstance(checked, int) or not isinstance(total, int) or not isinstance(listed, list):
        problems.append(f"{path.name} is not a guarantee's outcome")
        return GuaranteeView(
            clause=clause, title=title, checked=0, total=0, findings=(), problem=f"{path.name} is malformed"
        )
    problem = "" if checked > 0 or total else "nothing was checked"
    if [raw.get("before_digest"), raw.get("after_digest")] != [one.manifest.digest for one in about]:
        problem = f"{path.name} is about other snapshots than these"
        problems.append(problem)
    return GuaranteeView(
        clause=clause,
        title=legible(str(raw.get("title") or title)),
        checked=checked,
        total=total,
        findings=tuple(_found(one, source or clause) for one in listed),
        problem=problem,
    )


def _of_snapshot(taken: Snapshot, source: str, problems: list[str]) -> list[Found]:
    """Return what was refused while a snapshot was taken."""
    found: list[Found] = []
    try:
        taken.checkpoint_note()
    except EvidenceError as refusal:
        problems.append(f"{source}/checkpoint.txt is not what its manifest names: {refusal}")
    try:
        found += [_found(one.finding.as_json(), source) for one in taken.findings()]
    except (EvidenceError, ValueError, TypeError, KeyError) as refusal:
        problems.append(f"{source}/findings.jsonl is not what its manifest names: {refusal}")
    return found


def _found(raw: Mapping[str, Any], source: str) -> Found:
    texts = {name: legible(str(raw.get(name, ""))) for name in ("code", "item", "expected", "actual", "remedy")}
    texts["remedy"] = texts["remedy"] or CODES.get(texts["code"], "")
    return Found(source=source, **texts)


def _object(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Return a JSON object; None when the file is absent, or is none, which is a problem."""
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        problems.append(f"{path.name} cannot be read")
        return None
    return document
