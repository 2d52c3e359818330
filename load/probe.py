"""The open-loop probe: reads of the public host by the clock, each measured from the time at which it was due.

    python -m load.probe --url URL --folder FOLDER --requests-per-s 20 --timeout-s 5 --colour-header NAME

A load generator whose users wait for their answers sends less when the server stalls, and so hides the stall. This one
does not wait: request n is due at `start + n / rate` whatever became of those before it. Writes probe.jsonl: first a
line with the schedule, then one for each request that has its end, at the end one that says so; and probe.hlog, the
latencies of each second by colour. A request that is due and has no line is not answered yet: who reads the file sees a
stall at once. Invariants: a latency begins when the request was due, so that a late start or a wait for a connection is
part of it; a request ends with an answer, an error or the timeout; the process ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from cutover import latency
from cutover.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD = 200
NOBODY = "nobody"
MOST_CONNECTIONS = 2000
"""More than a stall of the timeout's length leaves open at any sensible rate."""


class Probe:
    """One run of the probe."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Open the files."""
        folder = Path(options.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._url = URL(options.url.rstrip("/") + options.path)
        self._stopping = asyncio.Event()
        self._lines = (folder / "probe.jsonl").open("w", encoding="utf-8", buffering=1)
        now_s = SYSTEM_CLOCK.now().timestamp()
        self._offset_s = now_s - time.monotonic()
        self._log = latency.HistogramLog((folder / "probe.hlog").open("w", encoding="utf-8"), started_s=now_s)
        self._start_s = math.inf
        self._second: dict[str, latency.Counts] = {}

    async def run(self) -> None:
        """Send by the clock until asked to stop or the longest run is over, and wait for what is under way."""
        options, loop = self._options, asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._stopping.set)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),  # each request is somebody new, whom no sticky session holds
            timeout=aiohttp.ClientTimeout(),  # each request has a deadline of its own
        )
        async with session as client, asyncio.TaskGroup() as requests:
            self._start_s = time.monotonic()
            self._write(start=self._start_s + self._offset_s, requests_per_s=options.requests_per_s)
            seconds = asyncio.create_task(self._write_seconds())
            number = 0
            while not await self._ended_before(self._start_s + number / options.requests_per_s):
                requests.create_task(self._one(client, number))
                number += 1
            self._write(end=time.monotonic() + self._offset_s, planned=number)
        seconds.cancel()
        self._write_histograms(time.monotonic())

    async def _ended_before(self, due_s: float) -> bool:
        """Wait until a request is due, and return whether the end came first."""
        if due_s > self._start_s + self._options.longest_run_s:
            return True
        pause_s = due_s - time.monotonic()
        if pause_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        return self._stopping.is_set()

    async def _one(self, client: aiohttp.ClientSession, number: int) -> None:
        """Send one request and write down what became of it."""
        due_s = self._start_s + number / self._options.requests_per_s
        late_ms = max(0.0, time.monotonic() - due_s) * 1000
        status, colour, error = 0, "", ""
        try:
            async with asyncio.timeout_at(due_s + self._options.timeout_s):
                async with client.get(self._url, allow_redirects=False) as response:
                    await response.read()
            status, colour = response.status, response.headers.get(self._options.colour_header, "")
            if status != GOOD:
                error = f"status {status}"
        except TimeoutError:
            error = f"no answer within {self._options.timeout_s:g} s"
        except (aiohttp.ClientError, OSError) as problem:
            error = f"no answer: {problem or type(problem).__name__}"
        ended_s = time.monotonic()
        latency_us = int((ended_s - due_s) * 1_000_000)
        latency.add(self._second.setdefault(colour or NOBODY, {}), {latency.quantised(latency_us): 1})
        self._write(
            n=number,
            ms=round(latency_us / 1000, 3),
            late_ms=round(late_ms, 3),
            status=status,
            colour=colour,
            error=error,
        )

    async def _write_seconds(self) -> None:
        """Write the histograms of each second."""
        for number in range(1, 1 << 62):
            await asyncio.sleep(self._start_s + number - time.monotonic())
            self._write_histograms(self._start_s + number)

    def _write_histograms(self, end_s: float) -> None:
        second, self._second = self._second, {}
        end_s += self._offset_s
        for colour, counts in sorted(second.items()):
            self._log.write(colour, counts, start_s=end_s - 1, end_s=end_s)

    def _write(self, **facts: Any) -> None:  # noqa: ANN401 (any JSON)
        self._lines.write(json.dumps(facts, separators=(",", ":")) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the probe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="of the public host")
    parser.add_argument("--path", default="/", help="what is read")
    parser.add_argument("--folder", required=True, help="for probe.jsonl and probe.hlog")
    parser.add_argument("--requests-per-s", type=float, required=True)
    parser.add_argument("--timeout-s", type=float, required=True)
    parser.add_argument("--colour-header", required=True, help="which names who answered")
    parser.add_argument("--longest-run-s", type=float, default=6 * 3600.0)
    options = parser.parse_args(arguments)
    asyncio.run(Probe(options).run())


if __name__ == "__main__":
    main()
