"""Ask the site's Prometheus, and keep what it answered.

Invariants: an answer carries the query as it was sent, its time and the raw document, so that a verdict can be computed
again from the record; an error, a warning-free empty vector and a number are three different things. The server has the
time of the site: where the harness's clock was put ahead, a moment of this process is asked for so much earlier and is
so much later in what is returned; what was before this process is where it was, and between the two there is nothing.
The raw document stays as it came.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.clock import SYSTEM_CLOCK, SystemClock
from cutover.errors import CouldNotMeasure
from cutover.runbook.ports import Answer, Sample, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

_TIMEOUT_S = 10.0


class Prometheus:
    """One Prometheus server, by its URL."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = _TIMEOUT_S,
        client: httpx.Client | None = None,
        clock: SystemClock = SYSTEM_CLOCK,
    ) -> None:
        """Open nothing yet.

        client: what sends the requests, where a test brings its own. clock: by which moments are told.
        """
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = client
        self._ahead = clock.ahead
        self._since = clock.since

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        """Evaluate an expression at a time, by default now.

        Raises: CouldNotMeasure `prometheus-unreachable`, `prometheus-refused`, `prometheus-unreadable`.
        """
        moment = at or datetime.now(UTC) + self._ahead
        ahead = self._ahead if moment > self._since + self._ahead else timedelta(0)
        document = self._get("/api/v1/query", {"query": expression, "time": f"{(moment - ahead).timestamp():.3f}"})
        try:
            data = document["data"]
            if data["resultType"] == "scalar":
                entries = [{"metric": {}, "value": data["result"]}]
            elif data["resultType"] == "vector":
                entries = data["result"]
            else:
                raise ValueError(data["resultType"])  # noqa: TRY301 (mapped with the rest)
            samples = tuple(_sample(entry["metric"], entry["value"], ahead=ahead) for entry in entries)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(document) from error
        return Answer(query=expression, time=moment, samples=samples, raw=document)

    def query_range(self, expression: str, *, start: datetime, end: datetime, step_s: float) -> tuple[Series, ...]:
        """Evaluate an expression every `step_s` seconds from start to end (5.1: what the whole window looked like).

        Raises: as `query`.
        """
        pieces = [
            self._range(expression, start=first, end=last, step_s=step_s, ahead=ahead)
            for first, last, ahead in self._pieces(start, end, step_s)
        ]
        return tuple(series for piece in pieces for series in piece)

    def _pieces(self, start: datetime, end: datetime, step_s: float) -> Iterator[tuple[datetime, datetime, timedelta]]:
        """Yield the parts of a range and by how much each is ahead of the site; all are on the steps of the whole."""
        ours = self._since + self._ahead
        if not self._ahead or start >= ours:
            yield start, end, self._ahead
            return
        if start <= self._since:
            yield start, min(end, self._since), timedelta(0)
        first = start + timedelta(seconds=step_s * math.ceil((ours - start).total_seconds() / step_s))
        if first <= end:
            yield first, end, self._ahead

    def _range(
        self, expression: str, *, start: datetime, end: datetime, step_s: float, ahead: timedelta
    ) -> list[Series]:
        parameters = {
            "query": expression,
            "start": f"{(start - ahead).timestamp():.3f}",
            "end": f"{(end - ahead).timestamp():.3f}",
            "step": f"{step_s:g}",
        }
        document = self._get("/api/v1/query_range", parameters)
        try:
            return [
                Series(
                    labels=dict(entry["metric"]),
                    samples=tuple(_sample(entry["metric"], value, ahead=ahead) for value in entry["values"]),
                )
                for entry in document["data"]["result"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(document) from error

    def is_ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            self._get("/api/v1/query", {"query": "vector(1)"})
        except CouldNotMeasure:
            return False
        return True

    def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        import httpx  # noqa: PLC0415 (only a run that asks needs it)

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout_s, trust_env=False)
        try:
            response = self._client.get(self.url + path, params=dict(parameters))
        except httpx.HTTPError as error:
            raise CouldNotMeasure(
                f"Prometheus at {self.url} does not answer",
                code="prometheus-unreachable",
                seen=str(error) or type(error).__name__,
                do="check that Prometheus runs and that url in [prometheus] of the target is right",
                cause_text="Prometheus is unreachable, so no gate can be measured",
            ) from error
        try:
            document = response.json()
        except ValueError as error:
            raise self._unreadable(response.text[:200]) from error
        if not isinstance(document, dict):
            raise self._unreadable(document)
        if response.status_code != 200 or document.get("status") != "success":
            raise CouldNotMeasure(
                "Prometheus refused a query",
                code="prometheus-refused",
                seen=f"{response.status_code} {document.get('error', '')}",
                do="see the resolved query in gates/samples.jsonl of the record",
                query=parameters.get("query", ""),
            )
        return document

    def _unreadable(self, document: object) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the answer of {self.url} is not Prometheus' own",
            code="prometheus-unreadable",
            seen=str(document)[:200],
            do="check that url in [prometheus] of the target is a Prometheus server",
        )

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _sample(labels: Mapping[str, str], pair: tuple[float, str], *, ahead: timedelta) -> Sample:
    moment, text = pair
    return Sample(labels=dict(labels), value=float(text), time=datetime.fromtimestamp(float(moment), UTC) + ahead)
