"""The faults that can be injected, read from `contract/faults.toml`: plain data.

`evidence-altered` has a table of its own in that file, one entry for each way to alter evidence: the fault
`evidence-altered:KIND` is made from it, and the fault without a kind is one of them. Some faults take a number,
`green-errors:5`; without one it is the list's own. A fault that can strike in other phases too is listed once more for
each, `database-lost@4`; where it cannot strike, or nobody would notice, the list says why.

Invariants: names are unique; no fault expects exit code 0; a fault strikes at the start or at an event of a clause; an
alteration names at least one finding, the first of which a run must name; a fault that is there for a gate names it;
every fault but the kinds of altered evidence is listed once for each phase, as struck or as one that cannot.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from rehearsal.environment import layout
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE = layout.PROJECT / "contract" / "faults.toml"
START = "start"
CLAUSE_STARTED = "clause_started"
GRADUAL, INSTANT = "gradual", "instant"
ALTERED = "evidence-altered"
OWN = "{own}"
"""In a finding: the guarantee of the altered item's own kind."""
PASS, NOT_RUN = "PASS", "NOT_RUN"
AFTER_TRAFFIC = frozenset({"3", "4", "E", "5"})
"""Phases in which traffic has moved, so that there is a way back to go."""
PHASES: Mapping[str, str] = {"1": "Preparation", "2": "Green", "3": "Cutover", "4": "Validation", "5": "Cleanup"}
_KEPT = frozenset({"kind", "title", "exit_code", "serves", "also", "parameter", "policy", "command"})
"""What is the same in every phase unless the list says otherwise: the fault itself, not what it leads to."""
_LISTS = ("cause", "diagnosis", "remedy", "gates", "also", "strategies")
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
MUST_LEAD_TO = "must lead to"
"""In the injector's log, between a fault's name and each finding that it must lead to."""
GUARANTEE_OF_KIND = {"oci-manifest": "E.1", "bundle": "E.1", "sbom": "E.2", "attestation": "E.4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A finding that an alteration must lead to: guarantee (`E.1` to `E.5`), code, and the item as findings name it."""

    guarantee: str
    code: str
    item: str

    @classmethod
    def parse(cls, text: str) -> Expected:
        """Read `E.2 content-changed ITEM`; the item may hold names in braces and spaces."""
        guarantee, code, item = text.split(" ", 2)
        return cls(guarantee=guarantee, code=code, item=item)

    def named(self, names: Mapping[str, Sequence[str]]) -> tuple[Expected, ...]:
        """Return the findings for real names: one for each value of each name that the pattern holds."""
        held = [name for name in names if f"{{{name}}}" in f"{self.guarantee}{self.item}"]
        found = []
        for values in itertools.product(*(names[name] for name in held)):
            given = dict(zip(held, values, strict=True))
            found.append(
                Expected(guarantee=self.guarantee.format(**given), code=self.code, item=self.item.format(**given))
            )
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        return f"{self.guarantee} {self.code} {self.item}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """One way to alter evidence, and what verification says of it on a site that is otherwise quiet."""

    kind: str
    title: str
    layer: str
    """`store`, `database`, `tree`, `log`, `checkpoint` or `key`."""
    balance: str
    """What becomes of the altered items in the balance: `changed`, `missing`, `unaccounted`, or `unchanged`."""
    findings: tuple[Expected, ...]
    """All findings there are then; the first is the one that a run must name."""
    strikes_at: str
    items: tuple[str, ...]
    """The kinds of items it can strike; empty where it strikes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """The number that a fault may be given after a colon."""

    name: str
    """As the list shows it: `PERCENT`."""
    default: float
    least: float
    most: float

    def read(self, text: str) -> float | None:
        """Return the number that `text` is, None when it is none or out of bounds."""
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        return value if self.least <= value <= self.most else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, and how a run under it ends with one strategy."""

    name: str
    title: str
    strikes_at: str
    """A clause id, or `start`."""
    phase: str
    clause: str
    """The clause that fails."""
    cause: tuple[str, ...]
    """Words that its record contains, in any case."""
    diagnosis: tuple[str, ...]
    """Rows of the table of causes, one of which the record must name."""
    remedy: tuple[str, ...]
    exit_code: int
    serves: str
    """`blue` or `nobody`."""
    strikes_on: str = CLAUSE_STARTED
    """The journal's event of that clause at which it strikes; `weight` is written once a weight is set."""
    rollback: str = NOT_RUN
    """What R.1, the way back to blue, comes to."""
    gates: tuple[str, ...] = ()
    """Gates that it is there for: the first must not pass in a run with it, the others watch the same."""
    also: tuple[str, ...] = ()
    """Gates that may fire with those, because the fault physically reaches what they watch."""
    strategies: tuple[str, ...] = (GRADUAL, INSTANT)
    """With which it can be caught: at 100 percent there is no blue to compare with."""
    policy: Mapping[str, object] = field(default_factory=dict)
    """What the run's policy says otherwise than the site's own, by dotted name, so that one gate can be seen alone."""
    parameter: Parameter | None = None
    value: float = 0.0
    """Of the parameter."""
    command: str = ""
    """Of the platform, where the fault is one of its answers."""
    at: str = ""
    """Of a fault listed once more: the phase in which it strikes, or a clause of it; empty where it is listed first."""
    kind: str = ""
    """Of the alteration of evidence, where it is one."""
    layer: str = ""
    guarantees: tuple[str, ...] = ()
    """That break: one of these, by the kind of the altered item."""
    code: str = ""
    item: str = ""
    """What the finding names, in the list's own words: an item's id in braces, or a name such as a checkpoint."""

    @property
    def base(self) -> str:
        """The name without number and phase; an alteration's kind is part of its name."""
        plain = self.name.partition("@")[0]
        return plain.partition(":")[0] if self.parameter is not None else plain

    @property
    def struck_in(self) -> str:
        """The phase in which it strikes, `1` to `5`."""
        if self.at:
            return self.at[:1]
        if self.strikes_at == START:
            return self.phase if self.command else "1"
        return self.strikes_at[:1]

    @property
    def usage(self) -> str:
        """The name as the list shows it."""
        return f"{self.name}[:{self.parameter.name}]" if self.parameter is not None else self.name


@cache
def _document() -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def guarantees() -> Mapping[str, str]:
    """Return the titles of the five guarantees by their clause."""
    return dict(_document()["guarantees"])


@cache
def alterations() -> Mapping[str, Alteration]:
    """Return every way to alter evidence by its kind, in the order of the file."""
    defaults = next(entry for entry in _document()["fault"] if entry["name"] == ALTERED)
    found = [
        Alteration(
            kind=entry["kind"],
            title=entry["title"],
            layer=entry["layer"],
            balance=entry["balance"],
            findings=tuple(Expected.parse(text) for text in entry["findings"]),
            strikes_at=entry.get("strikes_at", defaults["strikes_at"]),
            items=tuple(entry.get("items", ())),
        )
        for entry in _document()["alteration"]
    ]
    return {one.kind: one for one in found}


@cache
def load(strategy: str = GRADUAL) -> tuple[Fault, ...]:
    """Every fault of a strategy in the order of the file; the kinds of altered evidence stand at its place."""
    found: list[Fault] = []
    for entry in _document()["fault"]:
        fault = _fault(entry, strategy)
        if strategy not in fault.strategies:
            continue
        if fault.name != ALTERED:
            found.append(fault)
            continue
        kinds = alterations()
        found.append(_altered(fault, kinds[fault.kind], fault.name))
        found.extend(_altered(fault, one, f"{ALTERED}:{one.kind}") for one in kinds.values())
    return tuple(found)


@cache
def elsewhere(strategy: str = GRADUAL) -> tuple[Fault, ...]:
    """Every fault that is listed once more for another phase, `NAME@PHASE`, in the order of the file."""
    listed = {entry["name"]: entry for entry in _document()["fault"]}
    first = {fault.name: fault for fault in load(strategy)}
    found = []
    for told in _document()["strike"]:
        own = listed[told["fault"].partition(":")[0]]
        if told["fault"] not in first:
            continue
        said = {key: value for key, value in own.items() if key in _KEPT}
        policy = {"policy": {**own.get("policy", {}), **told.get("policy", {})}}
        fault = _fault({"gates": [], "remedy": [], "phase": told["clause"][:1], **said, **told, **policy}, strategy)
        if strategy in fault.strategies:
            found.append(_same(fault, first[told["fault"]]))
    return tuple(found)


def nowhere() -> Mapping[tuple[str, str], str]:
    """Return why a fault cannot strike in a phase, or nobody could notice, by its name and the phase."""
    return {
        (name, phase): entry["why"]
        for entry in _document()["nowhere"]
        for name in entry["faults"]
        for phase in entry["phases"]
    }


def _same(fault: Fault, first: Fault) -> Fault:
    """Return a fault of another phase with what makes it an alteration, where it is one."""
    same = {key: getattr(first, key) for key in ("title", "kind", "layer", "guarantees", "code", "item")}
    return replace(fault, **same)


def _fault(entry: Mapping[str, Any], strategy: str) -> Fault:
    merged = {**entry, **(entry.get(INSTANT, {}) if strategy == INSTANT else {})}
    merged.pop(INSTANT, None)
    if "fault" in merged:
        merged["name"] = f"{merged.pop('fault')}@{merged['at']}"
    if "parameter" in merged:
        parameter = Parameter(**merged["parameter"])
        merged = {"value": parameter.default, **merged, "parameter": parameter}
    lists = {key: tuple(merged[key]) for key in _LISTS if key in merged}
    return Fault(**{"rollback": PASS if merged["phase"] in AFTER_TRAFFIC else NOT_RUN, **merged, **lists})


def _altered(fault: Fault, one: Alteration, name: str) -> Fault:
    first = one.findings[0]
    kinds = [GUARANTEE_OF_KIND[kind] for kind in one.items] if first.guarantee == OWN else [first.guarantee]
    broken = tuple(sorted(set(kinds)))
    titled = (f"{broken[0]} {guarantees()[broken[0]]}",) if len(broken) == 1 else ()
    return Fault(
        name=name,
        title=one.title,
        strikes_at=one.strikes_at,
        phase=fault.phase,
        clause=fault.clause,
        cause=(*fault.cause, *titled, first.code),
        diagnosis=fault.diagnosis,
        rollback=fault.rollback,
        remedy=fault.remedy if one.balance in {"changed", "missing"} else (),
        exit_code=fault.exit_code,
        serves=fault.serves,
        kind=one.kind,
        layer=one.layer,
        guarantees=broken,
        code=first.code,
        item=first.item,
    )


def matching(patterns: Iterable[str], strategy: str = "gradual") -> tuple[Fault, ...]:
    """Return the faults whose names match one of the patterns (`*` and `?` as in a shell), each once.

    Raises: EnvironmentFault (exit 2) for a pattern that matches none.
    """
    names: list[str] = []
    for pattern in patterns:
        every = elsewhere(strategy) if "@" in pattern else load(strategy)
        found = [fault.name for fault in every if fnmatchcase(fault.name, pattern)]
        names += found or [pattern]
    return named(names, strategy)


def named(names: Iterable[str], strategy: str = "gradual") -> tuple[Fault, ...]:
    """Return the faults called `names`, each once.

    Raises: EnvironmentFault (exit 2) with the list for a name that is none, or a number that a fault does not take.
    """
    known = {fault.name: fault for fault in (*load(strategy), *elsewhere(strategy))}
    return tuple(known.get(name) or _with_number(name, known) for name in dict.fromkeys(names))


def _with_number(name: str, known: Mapping[str, Fault]) -> Fault:
    """Return a fault with the number behind its colon. Raises: EnvironmentFault (exit 2)."""
    if "@" in name:
        return _in_phase(name, known)
    base, _, text = name.partition(":")
    if base == ALTERED:
        raise EnvironmentFault(
            f"evidence can be altered in many ways, and {text!r} is none of them",
            do=f"name one of these kinds: {', '.join(alterations())} (./cutover faults tells what each does)",
            exit_code=2,
        )
    fault = known.get(base)
    if fault is None and any(base == each["name"] for each in _document()["fault"]):
        raise EnvironmentFault(
            f"the fault {base} is not for this strategy: at 100 percent there is no blue to compare with",
            do=f"--fault {name} --strategy {GRADUAL}",
            exit_code=2,
        )
    if fault is None:
        plain = [each.usage for each in known.values() if not each.name.startswith(f"{ALTERED}:") and not each.at]
        raise EnvironmentFault(
            f"there is no fault called {base!r}",
            do=f"name one of: {', '.join(plain)} (./cutover faults tells what each does)",
            exit_code=2,
        )
    parameter = fault.parameter
    if parameter is None:
        raise EnvironmentFault(f"the fault {base} takes no number", do=f"--fault {base}", exit_code=2)
    value = parameter.read(text)
    if value is None:
        raise EnvironmentFault(
            f"{parameter.name} of {base} is a number from {parameter.least:g} to {parameter.most:g}, not {text!r}",
            do=f"--fault {base}:{parameter.default:g}, which is what it is without a number",
            exit_code=2,
        )
    return replace(fault, name=name, value=value)


def _in_phase(name: str, known: Mapping[str, Fault]) -> Fault:
    """Return `NAME:NUMBER@PHASE`. Raises: EnvironmentFault (exit 2) with the phases that the fault is listed for."""
    before, _, at = name.partition("@")
    base, colon, _ = before.partition(":")
    fault = known.get(f"{base}@{at}")
    if fault is not None and colon and base != ALTERED:
        value = _with_number(before, known).value
        return replace(fault, name=name, value=value)
    first = known.get(before) or _with_number(before, known)
    listed = [each.name for each in known.values() if each.at and each.base == first.base]
    why = nowhere().get((first.base, at))
    raise EnvironmentFault(
        f"the fault {first.base} does not strike in phase {at}" + (f": {why}" if why else ""),
        do=f"give --fault {' or --fault '.join([first.base, *listed])}",
        exit_code=2,
    )
