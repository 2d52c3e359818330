"""Ask the site's Prometheus, and keep what it answered.

Invariants: an answer carries the query as it was sent, its time and the raw document, so that a verdict can be computed
again from the record; an error, a warning-free empty vector and a number are three different things. The server has the
time of the site: where the harness's clock was put ahead, it is asked for so much earlier, and its times are so much
later in what is returned; the raw document stays as it came.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.clock import SYSTEM_CLOCK
from cutover.errors import CouldNotMeasure
from cutover.runbook.ports import Answer, Sample, Series

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        ahead: timedelta = SYSTEM_CLOCK.ahead,
    ) -> None:
        """Open nothing yet.

        client: what sends the requests, where a test brings its own. ahead: by how much the harness's clock is ahead
        of the site's.
        """
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = client
        self._ahead = ahead

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        """Evaluate an expression at a time, by default now.

        Raises: CouldNotMeasure `prometheus-unreachable`, `prometheus-refused`, `prometheus-unreadable`.
        """
        moment = at or datetime.now(UTC) + self._ahead
        document = self._get("/api/v1/query", {"query": expression, "time": self._site_time(moment)})
        try:
            data = document["data"]
            if data["resultType"] == "scalar":
                entries = [{"metric": {}, "value": data["result"]}]
            elif data["resultType"] == "vector":
                entries = data["result"]
            else:
                raise ValueError(data["resultType"])  # noqa: TRY301 (mapped with the rest)
            samples = tuple(self._sample(entry["metric"], entry["value"]) for entry in entries)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(document) from error
        return Answer(query=expression, time=moment, samples=samples, raw=document)

    def query_range(self, expression: str, *, start: datetime, end: datetime, step_s: float) -> tuple[Series, ...]:
        """Evaluate an expression every `step_s` seconds from start to end (5.1: what the whole window looked like).

        Raises: as `query`.
        """
        parameters = {
            "query": expression,
            "start": self._site_time(start),
            "end": self._site_time(end),
            "step": f"{step_s:g}",
        }
        document = self._get("/api/v1/query_range", parameters)
        try:
            return tuple(
                Series(
                    labels=dict(entry["metric"]),
                    samples=tuple(self._sample(entry["metric"], value) for value in entry["values"]),
                )
                for entry in document["data"]["result"]
            )
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

    def _site_time(self, moment: datetime) -> str:
        return f"{(moment - self._ahead).timestamp():.3f}"

    def _sample(self, labels: Mapping[str, str], pair: tuple[float, str]) -> Sample:
        moment, text = pair
        time = datetime.fromtimestamp(float(moment), UTC) + self._ahead
        return Sample(labels=dict(labels), value=float(text), time=time)
