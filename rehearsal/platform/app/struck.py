"""What a disposable site shows of its web tier while a fault is switched on.

A middleware inside the measuring one, so that what it does is counted and timed as the platform's own doing.
Invariants: without a switch a request costs one look at a folder's remembered listing; nothing but the API and the
metrics is ever touched: probes of health and readiness stay as they are.

Switches, as files of JSON (`rehearsal.platform.core.faults`); a name may go on after a dash, so that several can be on:

green-errors     {percent, path}     part of the requests under `path` fail with 500
green-slow       {ms, percent}       part of the requests take so much longer
evidence-stalls  {}                  evidence is answered from nowhere: no operation is done, none is counted
writes-lost      {percent}           part of the markers are acknowledged and not kept
metric-nan       {metric}            the metric's values are NaN
metric-stale     {metric}            the metric's values stay as they were when it was switched on
"""

import asyncio
import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rehearsal.platform.app.metrics import CONTENT_TYPE, App, Receive, Scope, Send
from rehearsal.platform.core.faults import Faults

_API = "/api/"
_EVIDENCE = "/api/v1/evidence"
_MARKERS = "/api/v1/markers"
_METRICS = "/metrics"
_VALUE = re.compile(r"^(?P<series>[^#\s][^ ]*(?:\{.*\})?) (?P<value>\S+)$")

Parameters = Mapping[str, Any]


class Struck:
    """ASGI middleware: fails, delays or answers itself what a switch says."""

    def __init__(self, app: App, faults: Faults, *, colour: str, render: Callable[[], bytes]) -> None:
        """Take the application, its switches, the colour it acknowledges writes with, and its metrics."""
        self._app = app
        self._faults = faults
        self._colour = colour
        self._render = render
        self._standing: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or fail it."""
        active = self._faults.active()
        answer = None
        if active and scope["path"] == _METRICS:
            answer = self._metrics(active)
        elif active and scope["path"].startswith(_API):
            answer = await self._api(active, scope, receive)
        await (answer or self._app)(scope, receive, send)

    async def _api(self, active: Mapping[str, Parameters], scope: Scope, receive: Receive) -> Response | None:
        path: str = scope["path"]
        for slow in _switched(active, "green-slow"):
            if _drawn(slow):
                await asyncio.sleep(float(slow.get("ms", 300)) / 1000)
        for errors in _switched(active, "green-errors"):
            if path.startswith(str(errors.get("path", _API))) and _drawn(errors):
                problem = {"error": {"code": "internal", "message": "the request failed"}}
                return JSONResponse(problem, 500)
        if path.startswith(_EVIDENCE) and any(True for _ in _switched(active, "evidence-stalls")):
            return JSONResponse({"items": [], "next": None})
        if path == _MARKERS and scope["method"] == "POST":
            for lost in _switched(active, "writes-lost"):
                if _drawn(lost):
                    return await self._acknowledge(Request(scope, receive))
        return None

    async def _acknowledge(self, request: Request) -> Response:
        body = await request.json()
        return JSONResponse({"run": body["run"], "number": body["number"], "colour": self._colour}, 201)

    def _metrics(self, active: Mapping[str, Parameters]) -> Response:
        text = self._render().decode()
        for wrong in _switched(active, "metric-nan"):
            text = _replaced(text, str(wrong["metric"]), lambda _series, _value: "NaN")
        for stale in _switched(active, "metric-stale"):
            text = _replaced(text, str(stale["metric"]), self._standing.setdefault)
        return Response(text, media_type=CONTENT_TYPE)


def _switched(active: Mapping[str, Parameters], name: str) -> Iterator[Parameters]:
    """Yield the parameters of each switch called `name` or `name-…`."""
    for switch, parameters in active.items():
        if switch == name or switch.startswith(f"{name}-"):
            yield parameters


def _drawn(parameters: Parameters) -> bool:
    return random.random() * 100 < float(parameters.get("percent", 100))  # noqa: S311


def _replaced(text: str, metric: str, value: Callable[[str, str], str]) -> str:
    """Return an exposition with other values for the series whose name begins with `metric`."""
    lines = []
    for line in text.splitlines():
        found = _VALUE.match(line) if line.startswith(metric) else None
        lines.append(f"{found['series']} {value(found['series'], found['value'])}" if found else line)
    return "\n".join(lines) + "\n"
