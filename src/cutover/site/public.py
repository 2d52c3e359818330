"""Ask the public host as a user does, and see which colour answered.

Invariants: every request of a count goes over a connection of its own, so that neither keep-alive nor a cookie decides
who serves; an answer that names no colour is counted as such, never guessed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

_TIMEOUT_S = 5.0
SAMPLE_PATH = "/api/v1/catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAnswer:
    """One answer of the public host."""

    status: int
    colour: str
    """Empty when the answer names none."""
    pod: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Who answered a number of requests."""

    requests: int
    by_colour: Mapping[str, int]
    """Answers with a status below 500, by the colour that they name."""
    failed: int
    """No answer, a status of 500 or more, or no colour named."""
    pods: Mapping[str, int]
    problems: tuple[str, ...]
    """What the failed ones said, each once."""

    def only(self, colour: str) -> bool:
        """Whether that colour, and nobody else, answered every request."""
        return self.failed == 0 and self.requests > 0 and self.by_colour.get(colour, 0) == self.requests

    @property
    def single_colour(self) -> str | None:
        """The colour that answered every request, or None."""
        return next((colour for colour in self.by_colour if self.only(colour)), None)

    def __str__(self) -> str:
        parts = [f"{colour} {count}" for colour, count in sorted(self.by_colour.items())]
        if self.failed:
            parts.append(f"failed {self.failed} ({'; '.join(self.problems[:2])})")
        return f"of {self.requests} requests: {', '.join(parts) or 'none answered'}"


class PublicHost:
    """The public host of the site."""

    def __init__(
        self,
        url: str,
        *,
        colour_header: str,
        pod_header: str,
        timeout_s: float = _TIMEOUT_S,
        client: httpx.Client | None = None,
    ) -> None:
        """Open nothing yet. client: what sends the requests, where a test brings its own."""
        self.url = url.rstrip("/")
        self._colour_header = colour_header.lower()
        self._pod_header = pod_header.lower()
        self._timeout_s = timeout_s
        self._client = client

    def _http(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 (only a run that asks needs it)

        if self._client is None:
            self._client = httpx.Client(
                timeout=self._timeout_s,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return self._client

    def request(self, method: str, path: str, *, json: object = None, content: bytes | None = None) -> PublicAnswer:
        """Send one request on a connection of its own. Raises: CouldNotMeasure `public-unreachable`."""
        import httpx  # noqa: PLC0415

        client = self._http()
        client.cookies.clear()
        try:
            response = client.request(method, self.url + path, json=json, content=content)
        except httpx.HTTPError as error:
            raise CouldNotMeasure(
                f"the public host {self.url} does not answer",
                code="public-unreachable",
                seen=str(error) or type(error).__name__,
                do="check the Ingress controller and the address of the public host",
            ) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return PublicAnswer(
            status=response.status_code,
            colour=headers.get(self._colour_header, ""),
            pod=headers.get(self._pod_header, ""),
            headers=headers,
            body=response.content,
        )

    def get(self, path: str) -> PublicAnswer:
        """GET a path of the public host."""
        return self.request("GET", path)

    def who_serves(self, requests: int, *, path: str = SAMPLE_PATH) -> Served:
        """Send that many requests and count who answered; never raises for a failed one."""
        colours: Counter[str] = Counter()
        pods: Counter[str] = Counter()
        problems: dict[str, None] = {}
        failed = 0
        for _ in range(requests):
            try:
                answer = self.get(path)
            except CouldNotMeasure as error:
                failed += 1
                problems[error.seen] = None
                continue
            if answer.status >= 500 or not answer.colour:
                failed += 1
                problems[f"status {answer.status}" + (f" from {answer.colour}" if answer.colour else "")] = None
                continue
            colours[answer.colour] += 1
            pods[answer.pod] += 1
        return Served(
            requests=requests, by_colour=dict(colours), failed=failed, pods=dict(pods), problems=tuple(problems)
        )

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None
