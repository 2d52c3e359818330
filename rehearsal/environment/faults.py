"""The faults that can be injected, read from `contract/faults.toml`: plain data.

`evidence-altered` has a table of its own in that file, one entry for each way to alter evidence: the fault
`evidence-altered:KIND` is made from it, and the fault without a kind is one of them.

Invariants: names are unique; no fault expects exit code 0; a fault strikes at the start or at a clause; an alteration
names at least one finding, the first of which a run must name.
"""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from rehearsal.environment import layout
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE = layout.PROJECT / "contract" / "faults.toml"
START = "start"
INSTANT = "instant"
ALTERED = "evidence-altered"
OWN = "{own}"
"""In a finding: the guarantee of the altered item's own kind."""
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
    remedy: tuple[str, ...]
    exit_code: int
    serves: str
    """`blue` or `nobody`."""
    kind: str = ""
    """Of the alteration of evidence, where it is one."""
    layer: str = ""
    guarantees: tuple[str, ...] = ()
    """That break: one of these, by the kind of the altered item."""
    code: str = ""
    item: str = ""
    """What the finding names, in the list's own words: an item's id in braces, or a name such as a checkpoint."""


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
def load(strategy: str = "gradual") -> tuple[Fault, ...]:
    """Every fault in the order of the file, as it is with `strategy`; the kinds of altered evidence at their place."""
    found: list[Fault] = []
    for entry in _document()["fault"]:
        fault = _fault(entry, strategy)
        if fault.name != ALTERED:
            found.append(fault)
            continue
        kinds = alterations()
        found.append(_altered(fault, kinds[fault.kind], fault.name))
        found.extend(_altered(fault, one, f"{ALTERED}:{one.kind}") for one in kinds.values())
    return tuple(found)


def _fault(entry: Mapping[str, Any], strategy: str) -> Fault:
    merged = {**entry, **(entry.get(INSTANT, {}) if strategy == INSTANT else {})}
    merged.pop(INSTANT, None)
    return Fault(**{**merged, "cause": tuple(merged["cause"]), "remedy": tuple(merged["remedy"])})


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
        found = [fault.name for fault in load(strategy) if fnmatchcase(fault.name, pattern)]
        names += found or [pattern]
    return named(names, strategy)


def named(names: Iterable[str], strategy: str = "gradual") -> tuple[Fault, ...]:
    """Return the faults called `names`, each once.

    Raises: EnvironmentFault (exit 2) with the list for a name that is none.
    """
    known = {fault.name: fault for fault in load(strategy)}
    for name in names:
        if name in known:
            continue
        if name.startswith(f"{ALTERED}:"):
            raise EnvironmentFault(
                f"evidence can be altered in many ways, and {name.partition(':')[2]!r} is none of them",
                do=f"name one of these kinds: {', '.join(alterations())} (./cutover faults tells what each does)",
                exit_code=2,
            )
        plain = [fault.name for fault in known.values() if not fault.name.startswith(f"{ALTERED}:")]
        raise EnvironmentFault(
            f"there is no fault called {name!r}",
            do=f"name one of: {', '.join(plain)} (./cutover faults tells what each does)",
            exit_code=2,
        )
    return tuple(known[name] for name in dict.fromkeys(names))
