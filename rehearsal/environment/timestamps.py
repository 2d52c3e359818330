"""The site's timestamping authority: says over HTTP at which time it saw a digest (RFC 3161).

What answers is pyHanko's own timestamper with a certificate that the environment made for itself: its word is worth
what the environment's clock is worth, and its name says so.
Invariants: what is no request gets no timestamp; the key stays in the environment's folder.
"""

from __future__ import annotations

import argparse
import http.server
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asn1crypto import keys, tsp, x509
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper

from rehearsal.environment import layout

if TYPE_CHECKING:
    from pyhanko.sign.timestamps import TimeStamper

REPLY: Final = "application/timestamp-reply"
QUERY: Final = "application/timestamp-query"
_MOST_BYTES: Final = 64 << 10


def authority(certificate: Path, key: Path) -> TimeStamper:
    """Return what gives timestamps; both files are DER."""
    return DummyTimeStamper(
        tsa_cert=x509.Certificate.load(certificate.read_bytes()),
        tsa_key=keys.PrivateKeyInfo.load(key.read_bytes()),
    )


def answer(who: TimeStamper, query: bytes) -> bytes:
    """Return the DER of a TimeStampResp to the DER of a TimeStampReq. Raises ValueError: it is none."""
    request = tsp.TimeStampReq.load(query, strict=True)
    if not request["message_imprint"]["hashed_message"].native:
        raise ValueError("it names no digest")
    response: tsp.TimeStampResp = who.request_tsa_response(request)  # type: ignore[attr-defined]
    return bytes(response.dump())


def server(who: TimeStamper, address: tuple[str, int]) -> http.server.ThreadingHTTPServer:
    """Return a server that is bound and not yet serving; port 0 takes a free one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(HTTPStatus.OK, "text/plain", b"a timestamping authority of an embedded site\n")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.headers.get("Content-Type") != QUERY or not length.isdigit() or int(length) > _MOST_BYTES:
                self.close_connection = True
                self._reply(HTTPStatus.BAD_REQUEST, "text/plain", f"send a {QUERY}\n".encode())
                return
            try:
                content = answer(who, self.rfile.read(int(length)))
            except (ValueError, TypeError, KeyError) as problem:
                self._reply(HTTPStatus.BAD_REQUEST, "text/plain", f"not a {QUERY}: {problem}\n".encode())
                return
            self._reply(HTTPStatus.OK, REPLY, content)

        def _reply(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, pattern: str, *facts: object) -> None:
            sys.stdout.write(f"{self.log_date_time_string()} {pattern % facts}\n")
            sys.stdout.flush()

    return http.server.ThreadingHTTPServer(address, Handler)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.timestamps")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    server(authority(options.certificate, options.key), (layout.TIMESTAMPS, layout.TIMESTAMPS_PORT)).serve_forever()


if __name__ == "__main__":
    main()
