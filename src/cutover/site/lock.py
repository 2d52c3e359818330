"""The lock of a site: a Lease that one run at a time holds, with who, since when, and how long its journal is.

Beside the route lies the Lease `cutover`. Taking it tests the version that was read; renewing it tests that it is still
ours. `leaseTransitions` counts its holders, a fencing number: each run has a greater one than those before it. Nothing
in Kubernetes checks it, so a change to a route tests the route's own version, and `flush` before a change shows that
the lock was ours a moment ago.

A dead holder is known in two ways. One on this host, of this boot and pid namespace, whose process is gone, is dead at
once. Any other is dead when its Lease does not change for as long as it says, by our monotonic clock alone: the times
in it are its holder's, and only tell whether watching it is worth while.
Invariants: a holder gives up one renewal earlier than anybody may take over; `on_lost` is called once at most, and
never after `release`; the journal's length and head stay in the Lease when it is given back.

The leader election of the Kubernetes client is not used: it has no fencing number, goes by the wall clock, and owns
the process that it runs in.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover.clock import SYSTEM_CLOCK, Clock, parse_rfc3339, rfc3339
from cutover.errors import CouldNotMeasure, CutoverError, JournalBroken, Refused, Timeout
from cutover.site.cluster import guarded, pointer
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cutover.runbook.journal import Entry
    from cutover.site.cluster import Cluster, Manifest
    from cutover.waiting import Wait

NAME = "cutover"
"""Of the Lease."""

_PREFIX = "cutover.stellaops.io/"
_DURATION_S = 15.0
_LOOK_S = 1.0
_RACES = 5
"""So often another run may be quicker between reading and writing, before it is a fault."""
_ENDED = frozenset({"Z", "X"})
"""States of a process in /proc."""
_DO = "wait until it ends, or look what it does: ./cutover status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who asks for the lock."""

    operator: str
    """Login name."""
    host: str
    pid: int
    record: str
    """Of which record it is; the journal's length belongs to this one."""
    since: datetime
    process: str = ""
    """What tells the process from others with its pid: boot, pid namespace, start in ticks. Empty: cannot be told."""

    @property
    def identity(self) -> str:
        """As the Lease names its holder: `user@host pid N`."""
        return f"{self.operator}@{self.host} pid {self.pid}"

    @staticmethod
    def here(*, record: str, clock: Clock = SYSTEM_CLOCK) -> Holder:
        """Return this process."""
        return Holder(
            operator=_login(),
            host=socket.gethostname(),
            pid=os.getpid(),
            record=record,
            since=clock.now(),
            process=_process(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The Lease as it was read: who holds it, or held it last."""

    identity: str
    """Of the holder; empty when nobody holds it."""
    operator: str
    host: str
    pid: int | None
    process: str
    record: str
    """Whose journal the length and head are of; stays when the lock is given back."""
    since: datetime | None
    renewed: datetime | None
    """By its holder's clock."""
    duration_s: float
    """Unchanged for so long, it is nobody's."""
    fence: int
    """How many holders it has had."""
    journal_length: int
    """Lines that the journal had at the last renewal; 0 when it was not said."""
    journal_head: str
    """Digest of the last of them."""
    token: str
    """Of the one that took it, anew each time."""

    @property
    def is_held(self) -> bool:
        """Whether somebody is named as its holder, alive or not."""
        return bool(self.identity)

    def describe(self) -> str:
        """Return who, since when and for which record, in one line."""
        parts = [self.identity or "nobody"]
        if self.since is not None:
            parts.append(f"since {self.since:%Y-%m-%d %H:%M:%SZ}")
        if self.record:
            parts.append(f"record {self.record}")
        return ", ".join(parts)

    def require_journal(self, record: str, entries: Sequence[Entry]) -> None:
        """Demand that the journal of a record is no shorter than this Lease knows it, and the same so far.

        Of another record it says nothing. Raises: JournalBroken `journal-truncated`, `journal-differs`.
        """
        if record != self.record or not self.journal_length:
            return
        do = "restore the journal from where the record is kept, or find out who cut it; do not resume from this one"
        if len(entries) < self.journal_length:
            raise JournalBroken(
                f"the journal of {record} lost its end: after line {len(entries)} there were more",
                code="journal-truncated",
                seen=f"{len(entries)} lines (expected {self.journal_length} or more, by the Lease {NAME})",
                do=do,
                line=len(entries) + 1,
            )
        found = entries[self.journal_length - 1].digest
        if found != self.journal_head:
            raise JournalBroken(
                f"line {self.journal_length} of the journal of {record} is not the one that was written",
                code="journal-differs",
                seen=f"digest {found} (expected {self.journal_head}, by the Lease {NAME})",
                do=do,
                line=self.journal_length,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The lock is ours."""

    fence: int
    """Greater than that of every holder before."""
    over_from: Held | None
    """The dead holder that it was taken over from; None when it was free."""
    why: str
    """How that one is known to be dead; empty when it was free."""


class Lock:
    """The lock of one site, for one run."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        *,
        holder: Holder,
        duration_s: float,
        renew_s: float,
        clock: Clock = SYSTEM_CLOCK,
        on_lost: Callable[[str], None],
    ) -> None:
        """Ask nothing yet.

        duration_s: without a renewal for so long the lock is lost; the Lease says `renew_s` more, and whoever takes
        over waits for that. on_lost: called with the reason, in the renewing thread or the one that flushes.
        """
        self._cluster = cluster
        self._namespace = namespace
        self._holder = holder
        self._duration_s = duration_s
        self._renew_s = renew_s
        self._clock = clock
        self._on_lost = on_lost
        self._token = secrets.token_hex(8)
        self._sending = threading.RLock()
        self._journal = (0, "")
        self._fence = 0
        self._renewed_s = 0.0
        self._lost = ""
        self._told = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched: tuple[object, float] | None = None

    # -- taking ----------------------------------------------------------------------------------------------------

    def acquire(self, wait_s: float = 0.0, listener: Callable[[Wait], None] | None = None) -> Taken:
        """Take the lock and keep it from now on, or be refused at once.

        wait_s: how long to wait for a holder that lives. One that looks dead is watched for as long as its Lease says,
        whatever `wait_s`. Raises: Refused `locked` naming the holder; CouldNotMeasure.
        """
        if self._thread is not None:
            raise RuntimeError("a lock is taken once")
        seen = self._try()
        if isinstance(seen, Held):
            seen = self._outwait(seen, wait_s, listener)
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)
        self._thread.start()
        return seen

    def _outwait(self, first: Held, wait_s: float, listener: Callable[[Wait], None] | None) -> Taken:
        bound_s = max(wait_s, first.duration_s + _LOOK_S if self._looks_dead(first) else 0.0)
        if bound_s <= 0:
            raise self._locked(first)
        start_s = self._clock.monotonic()

        def is_decided(seen: Taken | Held) -> bool:
            if isinstance(seen, Taken):
                return True
            return not self._looks_dead(seen) and self._clock.monotonic() - start_s >= wait_s

        try:
            seen = wait_for(
                f"the lock of the site, which {first.identity} holds",
                self._try,
                until=is_decided,
                bound_s=bound_s,
                interval_s=min(_LOOK_S, self._renew_s),
                listener=listener,
                clock=self._clock,
                describe=lambda found: "ours" if isinstance(found, Taken) else found.describe(),
            )
        except Timeout as error:
            raise self._locked(self._read() or first) from error
        if isinstance(seen, Held):
            raise self._locked(seen)
        return seen

    def _try(self) -> Taken | Held:
        """Take the lock if it is nobody's; else return whose it is."""
        for _ in range(_RACES):
            found = self._lease()
            held = _held(found) if found is not None else None
            why = self._is_dead(held) if held is not None and held.is_held else ""
            if held is not None and held.is_held and not why:
                return held
            with contextlib.suppress(_QuickerError):
                return self._take(found, held if why else None, why)
        raise CouldNotMeasure(
            "the lock of the site changes faster than it can be taken",
            code="lock-contended",
            seen=f"{_RACES} times another one was quicker",
            do=f"see who writes it: kubectl get lease {NAME} -n {self._namespace} -o yaml --show-managed-fields",
        )

    def _take(self, found: Manifest | None, dead: Held | None, why: str) -> Taken:
        fence = 1 if found is None else int(found.get("spec", {}).get("leaseTransitions") or 0) + 1
        began_s = self._clock.monotonic()
        with self._sending:
            length, head = self._journal
            if not length and found is not None and _held(found).record == self._holder.record:
                # Until this run says how long its journal is, what was known of it stands.
                length, head = _held(found).journal_length, _held(found).journal_head
            annotations, spec = self._annotations(length, head), self._spec(fence)
            try:
                if found is None:
                    self._create(annotations, spec)
                else:
                    kept = found["metadata"].get("annotations") or {}
                    others = {name: text for name, text in kept.items() if not name.startswith(_PREFIX)}
                    operations = (
                        {"op": "add", "path": pointer("metadata", "annotations"), "value": {**others, **annotations}},
                        {"op": "add", "path": pointer("spec"), "value": spec},
                    )
                    self._cluster.patch("Lease", self._namespace, NAME, guarded(found, *operations))
            except Refused as error:
                raise _QuickerError from error
            except CouldNotMeasure as error:
                if error.facts.get("status") in {404, 409}:
                    raise _QuickerError from error
                raise
            self._fence, self._renewed_s = fence, began_s
        return Taken(fence=fence, over_from=dead, why=why)

    def _looks_dead(self, held: Held) -> bool:
        """Whether the wall clock says that it was not renewed for long: no proof, the clock is another's."""
        if held.renewed is None:
            return True
        return (self._clock.now() - held.renewed).total_seconds() > held.duration_s

    def _is_dead(self, held: Held) -> str:
        """Return how a holder is known to be dead; empty while it may live."""
        if _is_gone(held):
            return f"its process {held.pid} on {held.host} is gone"
        state = (held.identity, held.token, held.renewed, held.fence)
        now_s = self._clock.monotonic()
        if self._watched is None or self._watched[0] != state:
            self._watched = (state, now_s)
        waited_s = now_s - self._watched[1]
        return f"not renewed for {waited_s:.0f} s" if waited_s >= held.duration_s else ""

    def _locked(self, held: Held) -> Refused:
        seconds = f"{held.duration_s:g} s"
        return Refused(
            f"another run holds this site: {held.describe()}",
            code="locked",
            seen=f"Lease {NAME} in namespace {self._namespace}, renewed {_moment(held.renewed)}, holder number "
            f"{held.fence}",
            do=f"{_DO}; should it be dead, try again {seconds} after its last renewal: its lock is then taken over",
            holder=held.identity,
            since=held.since,
            record=held.record,
            namespace=self._namespace,
        )

    # -- keeping ---------------------------------------------------------------------------------------------------

    def carry(self, length: int, head: str) -> None:
        """Say how many lines the journal has on disk, and the last one's digest; the next renewal writes it."""
        self._journal = (length, head)

    def flush(self) -> None:
        """Renew now: afterwards the lock was ours a moment ago, and the Lease knows the journal as it is.

        Raises: Refused `lock-lost`; CouldNotMeasure when it cannot be said.
        """
        if not self._fence:
            raise RuntimeError("the lock was not taken")
        try:
            self._renew()
        except Refused:
            self._tell()
            raise

    @property
    def fence(self) -> int:
        """The fencing number; 0 when the lock is not ours."""
        return 0 if self._lost else self._fence

    def read(self) -> Held | None:
        """Return the Lease as it is now; None when there is none."""
        return self._read()

    def _keep(self) -> None:
        """Renew until it is given back or lost."""
        pause_s, problem = self._renew_s, "the renewing thread was not let run"
        while not self._ending.wait(max(0.0, min(pause_s, self._left_s()))):
            try:
                self._renew()
            except Refused:
                self._tell()
                return
            except CutoverError as error:
                pause_s, problem = self._renew_s / 4, f"{error.message} ({error.seen})"
            else:
                pause_s = self._renew_s
            if self._left_s() <= 0:
                self._lose(f"the lock could not be renewed for {self._duration_s:g} s: {problem}")
                self._tell()
                return

    def _left_s(self) -> float:
        return self._renewed_s + self._duration_s - self._clock.monotonic()

    def _renew(self) -> None:
        with self._sending:
            if self._ending.is_set():
                return
            if self._lost:
                raise self._no_longer()
            began_s = self._clock.monotonic()
            length, head = self._journal
            mine = {"op": "test", "path": _annotation("token"), "value": self._token}
            operations = [
                mine,
                {"op": "add", "path": pointer("spec", "renewTime"), "value": rfc3339(self._clock.now())},
                *_set(**{"journal-length": str(length), "journal-head": head} if length else {}),
            ]
            try:
                self._cluster.patch("Lease", self._namespace, NAME, operations, timeout_s=self._patience_s())
            except Refused as error:
                self._find_out(error)
            except CouldNotMeasure as error:
                if error.code != "kubernetes-not-found":
                    raise
                self._find_out(error)
            self._renewed_s = began_s

    def _find_out(self, error: CutoverError) -> None:
        """See why the Lease is not as we wrote it. One that was deleted is made again, unless somebody else did."""
        found = self._lease(timeout_s=self._patience_s())
        if found is None:
            self._fence += 1
            try:
                self._create(self._annotations(*self._journal), self._spec(self._fence))
            except CouldNotMeasure as again:
                if again.facts.get("status") != 409:
                    raise
                found = self._lease(timeout_s=self._patience_s())
            else:
                return
        held = _held(found) if found is not None else None
        if held is not None and held.token == self._token:
            raise CouldNotMeasure(
                "the lock of the site cannot be renewed", code="lock-refused", seen=f"{error.message} ({error.seen})"
            ) from error
        who = held.describe() if held is not None and held.is_held else "nobody, it was taken from us"
        self._lose(f"the lock of the site is no longer ours, it is held by {who}")
        raise self._no_longer() from error

    def _lose(self, reason: str) -> None:
        with self._sending:
            self._lost = self._lost or reason

    def _tell(self) -> None:
        """Say once that the lock was lost; nothing is held meanwhile that the one who is told could wait for."""
        with self._sending:
            if self._told or self._ending.is_set():
                return
            self._told = True
        self._on_lost(self._lost)

    def _no_longer(self) -> Refused:
        return Refused(
            self._lost,
            code="lock-lost",
            seen=f"Lease {NAME} in namespace {self._namespace}",
            do="see who holds it (./cutover status); when that run is over: ./cutover resume",
            state="routes are left as they are: whoever holds the lock decides",
        )

    # -- giving back -----------------------------------------------------------------------------------------------

    def release(self) -> bool:
        """Give the lock back, with the journal's length and head; return whether that could be written.

        Where not, it runs out by itself. Of a lock that was not taken, or was lost, nothing is written.
        """
        with self._sending:
            self._ending.set()
            is_ours = bool(self._fence) and not self._lost
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if not is_ours:
            return False
        length, head = self._journal
        operations = [
            {"op": "test", "path": _annotation("token"), "value": self._token},
            *_set(token="", process="", **{"journal-length": str(length), "journal-head": head} if length else {}),
            {"op": "add", "path": pointer("spec", "holderIdentity"), "value": ""},
            {"op": "add", "path": pointer("spec", "renewTime"), "value": rfc3339(self._clock.now())},
        ]
        self._fence = 0
        try:
            self._cluster.patch("Lease", self._namespace, NAME, operations, timeout_s=self._duration_s)
        except CutoverError:
            return False
        return True

    # -- the object ------------------------------------------------------------------------------------------------

    def _patience_s(self) -> float:
        """How long one request may take: there must be time for a second one before the lock is lost."""
        return max(0.1, min(self._duration_s / 2, self._left_s()))

    def _lease(self, *, timeout_s: float | None = None) -> Manifest | None:
        return self._cluster.get("Lease", self._namespace, NAME, timeout_s=timeout_s)

    def _read(self) -> Held | None:
        return look(self._cluster, self._namespace)

    def _create(self, annotations: Mapping[str, str], spec: Mapping[str, Any]) -> None:
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "annotations": dict(annotations)},
            "spec": dict(spec),
        }
        self._cluster.create(self._namespace, manifest, timeout_s=self._duration_s / 2)

    def _annotations(self, length: int, head: str) -> dict[str, str]:
        holder = self._holder
        said = {
            "operator": holder.operator,
            "host": holder.host,
            "pid": str(holder.pid),
            "process": holder.process,
            "record": holder.record,
            "since": rfc3339(holder.since),
            "token": self._token,
            "journal-length": str(length),
            "journal-head": head,
        }
        return {_PREFIX + name: text for name, text in said.items()}

    def _spec(self, fence: int) -> dict[str, Any]:
        now = rfc3339(self._clock.now())
        return {
            "holderIdentity": self._holder.identity,
            "leaseDurationSeconds": math.ceil(self._duration_s + self._renew_s),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": fence,
        }


class _QuickerError(Exception):
    """Somebody else wrote the Lease between our reading and writing it."""


def look(cluster: Cluster, namespace: str) -> Held | None:
    """Return who holds the lock of a site, or held it last; None when nobody ever did. Raises: CouldNotMeasure."""
    found = cluster.get("Lease", namespace, NAME)
    return None if found is None else _held(found)


def _held(manifest: Manifest) -> Held:
    """Read a Lease, also one that another tool wrote."""
    spec = manifest.get("spec") or {}
    said = manifest["metadata"].get("annotations") or {}

    def annotation(name: str) -> str:
        return str(said.get(_PREFIX + name, ""))

    return Held(
        identity=str(spec.get("holderIdentity") or ""),
        operator=annotation("operator"),
        host=annotation("host"),
        pid=_number(annotation("pid")),
        process=annotation("process"),
        record=annotation("record"),
        since=_time(annotation("since")) or _time(spec.get("acquireTime")),
        renewed=_time(spec.get("renewTime")),
        duration_s=float(spec.get("leaseDurationSeconds") or _DURATION_S),
        fence=int(spec.get("leaseTransitions") or 0),
        journal_length=_number(annotation("journal-length")) or 0,
        journal_head=annotation("journal-head"),
        token=annotation("token"),
    )


def _annotation(name: str) -> str:
    return pointer("metadata", "annotations", _PREFIX + name)


def _set(**annotations: str) -> list[dict[str, Any]]:
    return [{"op": "add", "path": _annotation(name), "value": text} for name, text in annotations.items()]


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _time(text: object) -> datetime | None:
    try:
        return parse_rfc3339(str(text))
    except ValueError:
        return None


def _moment(time: datetime | None) -> str:
    return f"{time:%H:%M:%SZ}" if time is not None else "never"


# -- processes of this host --------------------------------------------------------------------------------------------


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def _scope() -> str:
    """Return what pids mean something in: the boot and the pid namespace; empty where that cannot be read."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _process() -> str:
    """Return what tells this process from others with its pid; empty where that cannot be told."""
    try:
        return f"{_scope()}/{_started_ticks(os.getpid())}" if _scope() else ""
    except OSError:
        return ""


def _started_ticks(pid: int) -> str:
    """Return when a process began, in clock ticks since the boot; empty for one that has ended and is not yet reaped.

    psutil says it by the wall clock, which may be set while a process runs. Raises: OSError where /proc has nothing.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return "" if fields[0] in _ENDED else fields[19]


def _is_gone(held: Held) -> bool:
    """Whether the process of a holder on this host has ended; False where that cannot be told."""
    scope, _, ticks = held.process.rpartition("/")
    if held.pid is None or not ticks or scope != _scope():
        return False
    try:
        os.kill(held.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    try:
        return _started_ticks(held.pid) != ticks
    except OSError:
        # It runs, or did a moment ago, and what it is is hidden from us.
        return False
