"""Ask a colour's own cache (Redis or Valkey) who it is and how much work waits in it.

Invariants: nothing is written; every question has a deadline.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cutover.errors import CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 5.0
QUEUE = "stella:queue"
INFLIGHT = "stella:inflight"


class Cache:
    """One cache, by its URL."""

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        """Open nothing yet."""
        self._url = url
        self._timeout_s = timeout_s
        self._client: Any = None

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port or 6379}"

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        import redis  # noqa: PLC0415 (only a run that asks a cache needs it)

        if self._client is None:
            self._client = redis.Redis.from_url(
                self._url,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                decode_responses=True,
            )
        try:
            yield self._client
        except (redis.RedisError, OSError) as error:
            raise CouldNotMeasure(
                f"the cache at {self.address} does not answer",
                code="cache-unreachable",
                seen=str(error)[:200],
                do="check that it runs and that cache_url of the target is right",
            ) from error

    def run_id(self) -> str:
        """Return the server's run id: another for each server, and after each restart (P.3)."""
        with self._asking() as client:
            return str(client.info("server")["run_id"])

    def key_count(self) -> int:
        """Count the keys of its database."""
        with self._asking() as client:
            return int(client.dbsize())

    def queue_depth(self) -> int:
        """Count the jobs that wait and those that a worker holds (1.3c)."""
        with self._asking() as client:
            pipe = client.pipeline(transaction=True)
            pipe.llen(QUEUE)
            pipe.llen(INFLIGHT)
            return sum(int(length) for length in pipe.execute())

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
