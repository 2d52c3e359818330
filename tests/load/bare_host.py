"""A public host in a process of its own, so that it can be frozen: answers everything at once and counts.

Run as `python bare_host.py`; prints its port. GET /count gives what it has answered by path, POST bodies' numbers too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

ITEMS = json.dumps({"items": [{"id": f"ev-{number}"} for number in range(5)], "next": None}).encode()


class Host:
    """The ASGI application."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.markers: list[int] = []
        self.requests = 0

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        path, status, content = scope["path"], 200, b"{}"
        body = b""
        if scope["method"] == "POST":
            message = await receive()
            body = message["body"] if message["type"] == "http.request" else b""
        if path == "/count":
            content = json.dumps({"answered": self.answered, "markers": self.markers}).encode()
        elif path == "/api/v1/markers":
            status = 201
            self.markers.append(json.loads(body)["number"])
        elif path == "/api/v1/scans":
            status = 202
        elif path == "/api/v1/evidence":
            content = ITEMS
        self.requests += 1
        colour = b"green" if self.requests % 4 == 0 else b"blue"
        headers = [(b"content-length", str(len(content)).encode()), (b"x-stella-colour", colour)]
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": content, "more_body": False})
        self.answered[path + ("?" + scope["query_string"].decode() if scope["query_string"] else "")] += 1


async def main(address: str) -> None:
    """Serve until ended."""
    server = uvicorn.Server(uvicorn.Config(Host(), host=address, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)  # noqa: T201 (whoever started it reads this)
    await serving


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"))
