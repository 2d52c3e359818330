"""What this run set last on the routes, and in what they differ from it now.

Only what decides where requests go is compared: an object's identity, its spec, and the annotations that Ingress
controllers read. Status, labels and other annotations may change at any time.
Invariants: what was set is what the API server answered to our own write, or, of objects that we only use, what was
read before the first weight; it is in the journal too, so that another process compares with the same. Of a process
that was killed inside a change nothing is taken over: how much of it was made nobody wrote down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from cutover.runbook import attempts
from cutover.runbook.ports import RouteFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cutover.runbook.journal import Entry, Journal

Facts: TypeAlias = "dict[str, Any]"
"""What is compared of one object: `uid`, `annotations`, `spec`."""

Place: TypeAlias = "tuple[str, str, str]"
"""Kind, namespace and name."""

EVENT = "routes"
_READ_BY_CONTROLLERS = "ingress.kubernetes.io"
_CLASS = "kubernetes.io/ingress.class"
_MOVES = frozenset({"shift", "promote", "restore"})
_MOST_SHOWN = 3


def facts_of(manifest: Mapping[str, Any] | None) -> Facts | None:
    """Return what is compared of an object; None for one that is not there."""
    if manifest is None:
        return None
    metadata = manifest.get("metadata") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key == _CLASS or key.partition("/")[0].endswith(_READ_BY_CONTROLLERS)
    }
    return {"uid": metadata.get("uid"), "annotations": annotations, "spec": manifest.get("spec") or {}}


class LastSet:
    """The routes as this run set them last."""

    def __init__(self, journal: Journal | None) -> None:
        """journal: where it is kept, and found by the next process of the same run."""
        self._journal = journal
        self._facts: dict[Place, Facts | None] = {}
        self._earlier: dict[Place, Facts | None] | None = None
        """What an earlier process set; None until it was looked for."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known to be set."""
        return bool(self._known())

    def adopt(self, place: Place, manifest: Mapping[str, Any] | None) -> None:
        """Take an object that the run only uses as it is found at first; later readings change nothing."""
        if place not in self._known():
            self._facts[place] = facts_of(manifest)

    def set(self, place: Place, manifest: Mapping[str, Any] | None) -> None:
        """Take what the API server answered to our own write; None for an object that we removed."""
        self._facts[place] = facts_of(manifest)

    def keep(self) -> None:
        """Write all of it into the journal."""
        if self._journal is not None:
            self._journal.write(EVENT, objects={"/".join(place): facts for place, facts in self._known().items()})

    def _known(self) -> Mapping[Place, Facts | None]:
        """Return what this process set or found, over what one before it had kept."""
        if self._earlier is None:
            self._earlier = _kept(self._journal.entries()) if self._journal is not None else {}
        return self._earlier | self._facts

    def drift(self, read: Callable[[str, str, str], Mapping[str, Any] | None]) -> tuple[RouteFinding, ...]:
        """Compare every object with what was set; empty also when this run has set nothing yet.

        read: returns an object by kind, namespace and name.
        """
        return tuple(
            finding
            for place, wanted in self._known().items()
            for finding in _compared(place, wanted, facts_of(read(*place)))
        )


def _kept(entries: Sequence[Entry]) -> dict[Place, Facts | None]:
    """Return what earlier processes left set; nothing where blue had everything again, or one was killed moving it."""
    is_earlier = False
    for entry in reversed(entries):
        match entry.event:
            case attempts.RESUMED:
                is_earlier = True
            case "weight" if entry.data["percent"] == 0:
                return {}
            case "intent" if is_earlier and entry.data.get("action") in _MOVES:
                return {}
            case "routes":
                return {_place(key): facts for key, facts in entry.data["objects"].items()}
    return {}


def _place(key: str) -> Place:
    kind, namespace, name = key.split("/")
    return kind, namespace, name


def _compared(place: Place, wanted: Facts | None, found: Facts | None) -> Iterator[RouteFinding]:
    if wanted == found:
        return
    kind, namespace, name = place
    what = f"{kind} {name} in namespace {namespace}"
    if found is None:
        code, message = "route-removed", f"{what} is gone: this run did not remove it"
    elif wanted is None:
        code, message = "route-appeared", f"{what} is there again: this run removed it"
    elif wanted["uid"] != found["uid"]:
        code, message = "route-recreated", f"{what} was deleted and made anew by somebody else"
    else:
        changes = list(differences(wanted, found))
        shown = "; ".join(changes[:_MOST_SHOWN]) + (
            f"; and {len(changes) - _MOST_SHOWN} more" if len(changes) > _MOST_SHOWN else ""
        )
        code, message = "route-changed", f"{what} is not as this run set it: {shown}"
    yield RouteFinding(
        code=code,
        message=message,
        remedy=f"find out who changes it (kubectl get {kind.lower()} {name} -n {namespace} -o yaml"
        " --show-managed-fields) and stop them: a person, or a reconciler (Argo CD, Flux)",
    )


def differences(wanted: object, found: object, where: str = "") -> Iterator[str]:
    """Say in words where two JSON values differ: `spec.rules.0.host is 'a', was set to 'b'`."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}):
            yield from differences(wanted.get(key), found.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (left, right) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(left, right, f"{where}.{index}")
    elif wanted != found:
        yield f"{where} is {_shown(found)}, was set to {_shown(wanted)}"


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value)
