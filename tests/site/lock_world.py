"""An API server in the sandbox of one test, and what happens to the lock of a site in it; run by `unshare`.

Each line of input is the name of a scenario below; the answer is one line, a JSON string: empty when it went as it
should, else the traceback. With `hold` in place of the programs it is another process that takes the lock and keeps it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover.clock import SYSTEM_CLOCK
from cutover.errors import CouldNotMeasure, Refused
from cutover.site import lock
from cutover.site.cluster import Cluster
from cutover.site.lock import Held, Holder, Lock, Taken, look
from cutover.waiting import wait_for
from rehearsal.environment import layout, pki
from rehearsal.environment.api import ApiClient
from tests.site.routes_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DURATION_S, RENEW_S = 2.0, 0.4
LEASE_S = 3
"""Both, in whole seconds: what the Lease says."""
BOUND_S = 20.0
AT_ONCE_S = 2.0
NAMESPACE = layout.BLUE_NAMESPACE
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{lock.NAME}"
RECORD = "2027-01-02-0304"


@dataclasses.dataclass(slots=True, kw_only=True)
class Site:
    """The API server, fresh of any Lease for each scenario."""

    place: layout.Place
    server: int
    """Pid of the API server."""
    taken: list[Lock] = dataclasses.field(default_factory=list)

    def cluster(self) -> Cluster:
        """Return the driver that a run uses."""
        return cluster_of(self.place.kubeconfig)

    def lock(self, holder: Holder | None = None, on_lost: Callable[[str], None] | None = None) -> Lock:
        """Return a lock that is given back when the scenario is over."""
        made = lock_of(self.cluster(), holder or Holder.here(record=RECORD), on_lost or (lambda _reason: None))
        self.taken.append(made)
        return made

    def look(self) -> Held:
        """Return the Lease, which must be there."""
        found = look(self.cluster(), NAMESPACE)
        assert found is not None
        return found

    def edit(self, *operations: dict[str, object]) -> None:
        """Patch the Lease, as another tool would."""
        with ApiClient(self.place) as api:
            api.patch(LEASE, list(operations))

    def begin(self) -> None:
        """Remove the Lease."""
        self.cluster().delete("Lease", NAMESPACE, lock.NAME)

    def end(self) -> None:
        """Give back what a scenario took."""
        while self.taken:
            self.taken.pop().release()

    @contextlib.contextmanager
    def another_process(self, holder: Holder | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run a process that holds the lock, and end it."""
        said = json.dumps(dataclasses.asdict(holder) if holder else {}, default=str)
        process = subprocess.Popen(
            [sys.executable, __file__, str(self.place.kubeconfig), "hold", said], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()
            process.wait()


def cluster_of(kubeconfig: Path) -> Cluster:
    return Cluster(
        kubeconfig, context=pki.CONTEXT, allowed_contexts=[pki.CONTEXT], allowed_namespaces=[NAMESPACE, "elsewhere"]
    )


def lock_of(cluster: Cluster, holder: Holder, on_lost: Callable[[str], None]) -> Lock:
    return Lock(cluster, NAMESPACE, holder=holder, duration_s=DURATION_S, renew_s=RENEW_S, on_lost=on_lost)


def elsewhere(pid: int = 7) -> Holder:
    """Return a holder on another host, of whose process nothing can be told."""
    return Holder(operator="ann", host="far", pid=pid, record="2027-01-01-0000", since=SYSTEM_CLOCK.now())


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


# -- scenarios ---------------------------------------------------------------------------------------------------------


def one_after_the_other(site: Site) -> None:
    """Take, say how long the journal is, give back, take again: each has a greater number, the head stays."""
    first = site.lock()
    assert first.acquire() == Taken(fence=1, over_from=None, why="")
    held = site.look()
    assert (held.is_held, held.pid, held.record, held.duration_s) == (True, os.getpid(), RECORD, LEASE_S)
    assert held.identity == f"{held.operator}@{held.host} pid {os.getpid()}"
    first.carry(3, digest(3))
    assert site.look().journal_length == 0, "the next renewal writes it"
    first.flush()
    assert (site.look().journal_length, site.look().journal_head) == (3, digest(3))
    first.carry(4, digest(4))
    wait_for("a renewal", site.look, until=lambda seen: seen.journal_length == 4, bound_s=BOUND_S, interval_s=0.05)
    first.carry(5, digest(5))
    assert first.release()
    held = site.look()
    assert (held.is_held, held.journal_length, held.journal_head, held.record) == (False, 5, digest(5), RECORD)
    assert not first.release()
    with pytest.raises(RuntimeError):
        first.acquire()
    second = site.lock()
    assert second.acquire().fence == second.fence == 2
    assert site.look().journal_length == 5, "the same record's: known until it says otherwise"
    second.release()
    third = site.lock(elsewhere())
    assert third.acquire().fence == 3
    assert site.look().journal_length == 0, "another record's journal is no shorter for it"


def second_is_refused(site: Site) -> None:
    """Ask for a lock that somebody alive holds: no, at once, with who, since when, and which record."""
    with site.another_process() as process:
        began_s = time.monotonic()
        with pytest.raises(Refused) as caught:
            site.lock(elsewhere()).acquire()
        assert time.monotonic() - began_s < AT_ONCE_S
        assert caught.value.code == "locked"
        held = site.look()
        assert held.since is not None
        for part in (f"pid {process.pid}", held.operator, RECORD, f"{held.since:%H:%M:%S}"):
            assert part in caught.value.message, part
        assert "status" in caught.value.do
        # However long it is waited for, one that renews is not taken over.
        with pytest.raises(Refused, match="another run holds"):
            site.lock(elsewhere()).acquire(wait_s=LEASE_S + 1)
        assert site.look().pid == process.pid


def many_at_once(site: Site) -> None:
    """Let many ask in the same moment: one gets it, every other is refused and told who, whatever was there before."""
    assert ask_together(site) == Taken(fence=1, over_from=None, why="")
    site.end()
    assert ask_together(site) == Taken(fence=2, over_from=None, why="")
    site.end()
    with site.another_process() as process:
        process.kill()
        process.wait()
        assert ask_together(site).fence == 4


def ask_together(site: Site) -> Taken:
    several = [site.lock(elsewhere(pid)) for pid in range(100, 112)]
    together = threading.Barrier(len(several))
    got: list[Taken | str] = []

    def ask(each: Lock) -> None:
        together.wait()
        try:
            got.append(each.acquire())
        except Refused as refused:
            got.append(refused.code)

    threads = [threading.Thread(target=ask, args=(each,)) for each in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (taken,) = [each for each in got if isinstance(each, Taken)]
    assert got.count("locked") == len(several) - 1, got
    return taken


def killed_on_this_host(site: Site) -> None:
    """Kill the holder: the next takes over at once, and says from whom."""
    with site.another_process() as process:
        process.kill()
        # It is not reaped yet: a process that has ended holds nothing.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        began_s = time.monotonic()
        taken = site.lock(elsewhere()).acquire()
        assert time.monotonic() - began_s < AT_ONCE_S
        assert (taken.fence, taken.why) == (2, f"its process {process.pid} on {os.uname().nodename} is gone")
        assert taken.over_from is not None
        assert (taken.over_from.pid, taken.over_from.record) == (process.pid, RECORD)


def killed_elsewhere(site: Site) -> None:
    """Lose the holder on another host: refused while it may live, taken over when its Lease has long been unchanged."""
    with site.another_process(elsewhere()) as process:
        process.kill()
        with pytest.raises(Refused, match="ann@far pid 7"):
            site.lock().acquire()
        began_s = time.monotonic()
        taken = site.lock().acquire(wait_s=BOUND_S)
        assert LEASE_S <= time.monotonic() - began_s < LEASE_S + 2 * AT_ONCE_S
        assert (taken.fence, taken.why) == (2, f"not renewed for {LEASE_S} s")
        assert taken.over_from is not None
        assert taken.over_from.identity == "ann@far pid 7"


def long_dead_elsewhere(site: Site) -> None:
    """Find a Lease that looks long dead: it is watched for its time without being asked to, then taken over."""
    with site.another_process(elsewhere()):
        pass
    long_ago = {"op": "replace", "path": "/spec/renewTime", "value": "2027-01-01T00:00:00.000000Z"}
    site.edit({**long_ago, "value": "2001-01-01T00:00:00.000000Z"})
    waits: list[str] = []
    taken = site.lock().acquire(listener=lambda wait: waits.append(wait.last))
    assert taken.over_from is not None
    assert taken.why == f"not renewed for {LEASE_S} s"
    assert "ann@far pid 7" in waits[0]
    assert waits[-1] == "ours"


def slow_clock_elsewhere(site: Site) -> None:
    """Let the living holder's clock go wrong by years: it looks dead, and is not taken over."""
    wrong = {"op": "replace", "path": "/spec/renewTime"}
    stop = threading.Event()
    with site.another_process(elsewhere()) as process:
        process.kill()

        def renew() -> None:
            second = 0
            while not stop.wait(RENEW_S):
                second += 1
                site.edit({**wrong, "value": f"2001-01-01T00:00:{second:02}.000000Z"})

        site.edit({**wrong, "value": "2001-01-01T00:00:00.000000Z"})
        renewing = threading.Thread(target=renew)
        renewing.start()
        try:
            with pytest.raises(Refused, match="ann@far pid 7"):
                site.lock().acquire()
        finally:
            stop.set()
            renewing.join()


def taken_from_us(site: Site) -> None:
    """Let another tool take the Lease: it is noticed, told once, and nothing of it is overwritten afterwards."""
    reasons: list[str] = []
    ours = site.lock(on_lost=reasons.append)
    ours.acquire()
    site.edit(
        {"op": "replace", "path": "/spec/holderIdentity", "value": "somebody"},
        {"op": "replace", "path": "/metadata/annotations/cutover.stellaops.io~1token", "value": "theirs"},
    )
    wait_for("the loss", lambda: list(reasons), until=bool, bound_s=BOUND_S, interval_s=0.05)
    with pytest.raises(Refused) as caught:
        ours.flush()
    assert caught.value.code == "lock-lost"
    assert ours.fence == 0
    assert not ours.release()
    assert len(reasons) == 1
    assert "somebody" in reasons[0]
    assert site.look().identity == "somebody"


def noticed_by_a_flush(site: Site) -> None:
    """Lose it and flush before the next renewal: the one that flushes is told, and the caller of the lock too."""
    reasons: list[str] = []
    ours = Lock(
        site.cluster(),
        NAMESPACE,
        holder=elsewhere(),
        duration_s=BOUND_S,
        renew_s=BOUND_S,
        on_lost=reasons.append,
    )
    site.taken.append(ours)
    ours.acquire()
    site.edit({"op": "remove", "path": "/metadata/annotations"})
    with pytest.raises(Refused, match="no longer ours"):
        ours.flush()
    assert len(reasons) == 1


def told_without_waiting(site: Site) -> None:
    """Be told of the loss in one thread while another, which the first waits for, flushes: neither hangs."""
    busy, told = threading.Lock(), threading.Event()

    def on_lost(_reason: str) -> None:
        with busy:
            told.set()

    ours = site.lock(on_lost=on_lost)
    ours.acquire()
    site.edit({"op": "remove", "path": "/metadata/annotations"})
    with busy:
        wait_for("the loss", lambda: ours.fence, until=lambda fence: not fence, bound_s=BOUND_S, interval_s=0.02)
        with pytest.raises(Refused, match="no longer ours"):
            ours.flush()
    assert told.wait(BOUND_S)


def a_label_in_between(site: Site) -> None:
    """Change what decides nothing: that makes another version of the Lease, and is no hindrance."""
    ours = site.lock()
    ours.acquire()
    site.edit({"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    site.edit({"op": "add", "path": "/metadata/annotations/example.com~1note", "value": "kept"})
    ours.flush()
    assert ours.release()
    site.lock(elsewhere()).acquire()
    with ApiClient(site.place) as api:
        metadata = api.get(LEASE)["metadata"]
    assert metadata["labels"] == {"seen": "yes"}
    assert metadata["annotations"]["example.com/note"] == "kept"


def deleted(site: Site) -> None:
    """Delete the Lease under its holder: it is made again, unless somebody else took it meanwhile."""
    reasons: list[str] = []
    ours = site.lock(on_lost=reasons.append)
    ours.acquire()
    ours.carry(9, digest(9))
    site.begin()
    ours.flush()
    assert (site.look().fence, ours.fence, site.look().journal_length) == (2, 2, 9)
    with pytest.raises(Refused, match="another run holds"):
        site.lock(elsewhere()).acquire()
    assert not reasons
    ours.release()
    first, second = site.lock(elsewhere(1), on_lost=reasons.append), site.lock(elsewhere(2))
    first.acquire()
    with first._sending:
        site.begin()
        second.acquire()
    wait_for("the loss", lambda: list(reasons), until=bool, bound_s=BOUND_S, interval_s=0.05)
    assert "ann@far pid 2" in reasons[0]


def server_stalls(site: Site) -> None:
    """Stop the API server: the holder says that it lost the lock, on time although requests hang, and before others."""
    reasons: list[tuple[str, float]] = []
    ours = site.lock(on_lost=lambda reason: reasons.append((reason, time.monotonic())))
    ours.acquire()
    ours.flush()
    os.kill(site.server, signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        wait_for("the loss", lambda: list(reasons), until=bool, bound_s=BOUND_S, interval_s=0.05)
        with pytest.raises(Refused, match="could not be renewed"):
            ours.flush()
    finally:
        os.kill(site.server, signal.SIGCONT)
    reason, lost_s = reasons[0]
    assert DURATION_S - RENEW_S - 0.2 <= lost_s - stopped_s <= DURATION_S + 1
    assert "does not answer" in reason
    assert len(reasons) == 1
    # What was on its way when the server stopped may still arrive.
    other = site.lock(elsewhere())
    taken = other.acquire(wait_s=BOUND_S)
    assert taken.over_from is not None
    other.flush()


def a_short_stall(site: Site) -> None:
    """Stop the API server for less than the lock lasts: nothing is lost."""
    reasons: list[str] = []
    ours = site.lock(on_lost=reasons.append)
    ours.acquire()
    ours.flush()
    os.kill(site.server, signal.SIGSTOP)
    threading.Event().wait(DURATION_S / 2 - RENEW_S)
    os.kill(site.server, signal.SIGCONT)
    wait_for(
        "renewals",
        ours._left_s,
        until=lambda left_s: left_s > DURATION_S - RENEW_S / 2,
        bound_s=BOUND_S,
        interval_s=0.02,
    )
    ours.flush()
    assert not reasons


def no_namespace(site: Site) -> None:
    """Ask for a lock in a namespace that does not exist: it cannot be said, and the code says why."""
    ours = Lock(
        site.cluster(),
        "elsewhere",
        holder=elsewhere(),
        duration_s=DURATION_S,
        renew_s=RENEW_S,
        on_lost=lambda _reason: None,
    )
    with pytest.raises(CouldNotMeasure):
        ours.acquire()
    assert look(site.cluster(), "elsewhere") is None


SCENARIOS = {
    each.__name__: each
    for each in (
        one_after_the_other,
        second_is_refused,
        many_at_once,
        killed_on_this_host,
        killed_elsewhere,
        long_dead_elsewhere,
        slow_clock_elsewhere,
        taken_from_us,
        noticed_by_a_flush,
        told_without_waiting,
        a_label_in_between,
        deleted,
        server_stalls,
        a_short_stall,
        no_namespace,
    )
}


def hold(kubeconfig: Path, said: dict[str, object]) -> None:
    """Take the lock, say so, and keep it until killed."""
    holder = Holder.here(record=RECORD)
    if said:
        holder = dataclasses.replace(elsewhere(), pid=int(str(said["pid"])))
    lock_of(cluster_of(kubeconfig), holder, sys.exit).acquire()
    sys.stdout.write("held\n")
    sys.stdout.flush()
    signal.pause()


def pid_of(program: str) -> int:
    """Return the pid of a program of this sandbox, of which there is one."""
    (found,) = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and (entry / "cmdline").read_bytes().split(b"\0")[0].endswith(program.encode())
    ]
    return found


def main() -> None:
    """Begin, then answer until the input ends."""
    world = World(Path(sys.argv[1]), json.loads(sys.argv[2]))
    world.begin()
    site = Site(place=world.place, server=pid_of("kube-apiserver"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            site.begin()
            SCENARIOS[line.strip()](site)
            answer = ""
        except BaseException:  # noqa: BLE001 (all of it is the test's to see, pytest's own `Failed` too)
            answer = traceback.format_exc()
        finally:
            site.end()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[2] == "hold":
        hold(Path(sys.argv[1]), json.loads(sys.argv[3]))
    else:
        main()
