"""Who does the evidence's work: processes of this machine, or a Dask cluster that the target names.

Invariants: the same work runs on either; a worker process ends with the process that started it, however that ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from typing import TYPE_CHECKING, Final

from cutover.errors import CouldNotMeasure
from cutover.evidence.snapshot import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.target import EvidenceSettings

LOCAL: Final = "local"
_CONNECT_TIMEOUT_S: Final = 10.0


@contextlib.contextmanager
def workers(settings: EvidenceSettings) -> Iterator[Workers]:
    """Return the workers that a target's [evidence] asks for, for as long as the block lasts.

    Raises: CouldNotMeasure `scheduler-unreachable`, `scheduler-idle`, `worker-lost`.
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
        # Impure: a second pass over the same rows reads the contents again.
        with client.get_executor(pure=False) as executor:  # type: ignore[no-untyped-call]
            yield Workers(executor=executor, count=count)
