"""Ask the public host as a user does, and see which colour answered.

Invariants: every request of a count goes over a connection of its own, and no cookie is kept, so that neither decides
who serves; an answer that names no colour is counted as such, never guessed.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure
from cutover.runbook.ports import Served

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

_TIMEOUT_S = 5.0
_SERVED = 200
_AT_ONCE = 4
"""Requests of a count that are under way together: a host that hangs costs its timeout a few times, not each time."""
SAMPLE_PATH = "/api/v1/evidence?limit=1"
"""A read from the database: whoever answers it serves, and does not only stand there."""


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


class PublicHost:
    """The public host of the site."""

    def __init__(
        self,
        url: str,
        *,
        colour_header: str,
        pod_header: str,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """Open nothing yet."""
        self.url = url.rstrip("/")
        self._colour_header = colour_header.lower()
        self._pod_header = pod_header.lower()
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def _http(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 (only a run that asks needs it)

        if self._client is None:
            self._client = httpx.Client(
                timeout=self._timeout_s,
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return self._client

    def send(self, method: str, path: str, *, body: object = None) -> PublicAnswer:
        """Send one request, with a body as JSON, on a connection of its own.

        Raises: CouldNotMeasure `public-unreachable`.
        """
        import httpx  # noqa: PLC0415

        try:
            response = self._http().request(method, self.url + path, json=body)
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
        return self.send("GET", path)

    def who_serves(self, requests: int, *, path: str = SAMPLE_PATH) -> Served:
        """Send that many requests and count who answered; never raises for a failed one.

        Only an answer of 200 that names its colour counts for one: who redirects or refuses does not serve.
        """
        colours: Counter[str] = Counter()
        pods: Counter[str] = Counter()
        problems: dict[str, None] = {}
        failed = 0
        self._http()  # made once, before the threads
        threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="who-serves")
        try:
            answers = list(threads.map(self._asked, [path] * requests))
        finally:  # whoever stops the run does not wait for a host that hangs
            threads.shutdown(wait=False, cancel_futures=True)
        for answer in answers:
            if isinstance(answer, str):
                failed += 1
                problems[answer] = None
                continue
            if answer.status != _SERVED or not answer.colour:
                failed += 1
                problems[f"status {answer.status}" + (f" from {answer.colour}" if answer.colour else "")] = None
                continue
            colours[answer.colour] += 1
            pods[answer.pod] += 1
        return Served(total=requests, by_colour=dict(colours), failed=failed, pods=dict(pods), problems=tuple(problems))

    def _asked(self, path: str) -> PublicAnswer | str:
        """Return the answer, or why there is none."""
        try:
            return self.get(path)
        except CouldNotMeasure as error:
            return error.seen

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None
