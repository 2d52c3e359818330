"""Who does the evidence's work: processes of this machine, or a Dask cluster that the target names.

Invariants: the same work runs on either, by the same code; a worker process ends with the process that started it,
however that ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import CancelledError, ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cutover.errors import CouldNotMeasure
from cutover.evidence.snapshot import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.target import EvidenceSettings

LOCAL: Final = "local"
_CONNECT_TIMEOUT_S: Final = 10.0
_PATIENCE_S: Final = 300.0
"""How long a cluster may take for one batch: with no worker left, it would keep it for ever."""


def _digest_of_code() -> str:
    """Return a digest of the engine's files, wherever they are."""
    root = Path(__file__).parents[1]
    hasher = sha256()
    for path in sorted(root.rglob("*.py")):
        hasher.update(f"{path.relative_to(root)} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hasher.hexdigest()


_CODE: Final = _digest_of_code()


def code() -> str:
    """Return what this process judges evidence by: the digest of the code, as it was when it was loaded."""
    return _CODE


@contextlib.contextmanager
def workers(settings: EvidenceSettings) -> Iterator[Workers]:
    """Return the workers that a target's [evidence] asks for, for as long as the block lasts.

    Raises: CouldNotMeasure `scheduler-unreachable`, `scheduler-idle`, `worker-differs`, `worker-lost`.
    """
    made = _local(settings.workers) if settings.executor == LOCAL else _cluster(settings.executor)
    with made as hands:
        yield hands


@contextlib.contextmanager
def _local(count: int) -> Iterator[Workers]:
    """Start worker processes: spawned, because this one has threads."""
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 (only where it is caught)

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
    try:
        with _deaf_to_ctrl_c():
            for _ in range(count):
                pool.submit(os.getpid)  # starts a process
        yield Workers(executor=pool, count=count)
    except BrokenProcessPool as error:
        raise CouldNotMeasure(
            "a worker process ended while it read evidence",
            code="worker-lost",
            seen=str(error),
            do="see what ended it (memory is the usual reason), then run it again: it goes on where it was",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes begin that Ctrl-C does not reach, though they have the terminal: it is their parent's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a killed parent cannot tell its workers to end."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Workers]:
    """Connect to a Dask scheduler. Its workers need this project installed, and reach the store themselves."""
    import distributed  # noqa: PLC0415 (slow to import)
    from distributed import scheduler  # noqa: PLC0415
    from distributed.comm import core as comm  # noqa: PLC0415

    try:
        client = distributed.Client(  # type: ignore[no-untyped-call]  # it ships none
            address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise CouldNotMeasure(
            f"the Dask scheduler at {address} does not answer",
            code="scheduler-unreachable",
            seen=str(error)[:200],
            do="start it, or correct executor in [evidence] of the target",
        ) from error
    with client:
        count = sum(client.nthreads().values())  # type: ignore[no-untyped-call]
        if count == 0:
            raise CouldNotMeasure(
                f"the Dask scheduler at {address} has no worker",
                code="scheduler-idle",
                seen="0 threads",
                do="start workers: dask worker ADDRESS, with this project installed",
            )
        _demand_same_code(client, address)
        try:
            # Impure: a second pass over the same rows reads the contents again.
            with client.get_executor(pure=False) as executor:  # type: ignore[no-untyped-call]
                yield Workers(executor=executor, count=count, patience_s=_PATIENCE_S)
        except (CancelledError, TimeoutError, comm.CommClosedError, scheduler.KilledWorker) as error:
            raise CouldNotMeasure(
                f"the Dask cluster at {address} was lost while it read evidence",
                code="worker-lost",
                seen=f"{type(error).__name__} {error}"[:200],
                do="see what ended its scheduler or workers, then run it again: it goes on where it was",
            ) from error


def _demand_same_code(client: Any, address: str) -> None:  # noqa: ANN401 (distributed: no types)
    """Demand that every worker judges by the code of this process: another version may accept what this one refuses."""
    do = "install this version of the project where the workers run, and start them again"
    try:
        theirs = client.run(code)
    except Exception as error:
        raise CouldNotMeasure(
            f"a worker of the Dask cluster at {address} cannot do this project's work",
            code="worker-differs",
            seen=f"{type(error).__name__} {error}"[:200],
            do=do,
        ) from error
    others = sorted(worker for worker, found in theirs.items() if found != code())
    if others:
        raise CouldNotMeasure(
            f"a worker of the Dask cluster at {address} has another version of this project",
            code="worker-differs",
            seen=", ".join(others)[:200],
            do=do,
        )
