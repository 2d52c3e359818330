"""What an attempt that was broken off left behind, on the site and in the record, and its removal.

An action that makes something for the time of a proof alone is in the journal before it begins, by the thing's name:
a private folder on the operator's host, a scratch database, a scratch namespace. What has an intent and no `done` may
still be there.
Invariants: only what this record's journal names is removed, and only under a name that the harness gives; removing
what is not there is well; what a command wrote before is never taken for what it writes now.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from cutover.errors import CutoverError
from cutover.site.operator import PRIVATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cutover.runbook.journal import Entry
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

SCRATCH_DATABASE: Final = "scratch database"
SCRATCH_NAMESPACE: Final = "scratch namespace"
REMOVAL: Final = "remove what was left"


def remove(site: Site, upgrade: Upgrade) -> tuple[str, ...]:
    """Remove whatever earlier attempts left behind on the site; return what that was, as `kind name`.

    To be called before this attempt makes anything of its own. What could not be removed is `failed` in the journal and
    left to the next attempt: it hinders nothing that this one does, and the way back to blue least of all.
    """
    removers: Mapping[str, Callable[[str], object]] = {
        PRIVATE_FOLDER: site.operator.remove_left,
        SCRATCH_DATABASE: site.database.remove_left,
        SCRATCH_NAMESPACE: site.cluster.remove_left,
    }
    removed = []
    for kind, name in left(upgrade.journal.entries()):
        with contextlib.suppress(CutoverError), upgrade.journal.action(REMOVAL, kind=kind, scratch=name):
            removers[kind](name)
            removed.append(f"{kind} {name}")
    return tuple(removed)


def left(entries: Iterable[Entry]) -> tuple[tuple[str, str], ...]:
    """Return kind and name of what was to be made and is not known to be removed, oldest first."""
    open_: dict[tuple[str, str], None] = {}
    for entry in entries:
        action, name = str(entry.data.get("action", "")), str(entry.data.get("scratch", ""))
        if action in {PRIVATE_FOLDER, SCRATCH_DATABASE, SCRATCH_NAMESPACE}:
            if entry.event == "intent":
                open_[action, name] = None
            elif entry.event == "done":
                open_.pop((action, name), None)
        elif action == REMOVAL and entry.event == "done":
            open_.pop((str(entry.data["kind"]), name), None)
    return tuple(open_)


def fresh_output(upgrade: Upgrade, place: str) -> Path:
    """Return where in the record a command shall write; what it wrote there for an earlier attempt is gone."""
    path = upgrade.path(*place.split("/"))
    path.unlink(missing_ok=True)
    return path
