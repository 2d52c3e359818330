"""Reads objects from the store in bulk: one kept connection a thread, each request signed by botocore.

`rehearsal.platform.core.store` serves everything else; here thousands of small objects are read at once, and a bare
`http.client` connection gives nearly twice the rate of a pooled one.

Invariants: nothing is written; content is handed on as it came, unchecked; an absent object is None, a store that does
not answer is `UnreachableError`.
"""

from __future__ import annotations

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rehearsal.platform.stella.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from rehearsal.platform.core.settings import StoreSettings

REGION = "us-east-1"
TIMEOUT_S = 10.0
READERS = 12
REMEDY = "check that the object store is up and that the deployment's store.endpoint names it"


class ObjectStore:
    """One bucket of the shared object store."""

    def __init__(self, settings: StoreSettings) -> None:
        parts = urlsplit(settings.endpoint)
        self._settings = settings
        self._host, self._port = parts.hostname or "", parts.port
        self._connection_class = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._signer = S3SigV4Auth(Credentials(settings.access_key, settings.secret_key), "s3", REGION)
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def get_many(self, keys: Iterable[str], *, readers: int = READERS) -> Generator[bytes | None, None, None]:
        """Yield the bytes of each object in the order of `keys`, None for an absent one; connections end with it.

        Raises: RefusedError, UnreachableError.
        """
        try:
            with ThreadPoolExecutor(readers, thread_name_prefix="store") as pool:
                yield from pool.map(self._get, keys)
        finally:
            while self._connections:
                self._connections.pop().close()

    def _get(self, key: str) -> bytes | None:
        status, body = self._request(key)
        if status == 404:
            return None
        self._accept(status)
        return body

    def _accept(self, status: int) -> None:
        if status in {401, 403}:
            raise RefusedError(
                f"the store refuses the deployment's credentials ({status})",
                code="store-forbidden",
                remedy="check STORE_ACCESS_KEY and STORE_SECRET_KEY in the deployment's Secret",
            )
        if status >= 300:
            raise UnreachableError(
                f"the store {self._settings.endpoint} answered {status}", code="store-unreachable", remedy=REMEDY
            )

    def _request(self, key: str) -> tuple[int, bytes]:
        target = f"/{self._settings.bucket}/{quote(key)}"
        request = AWSRequest("GET", self._settings.endpoint + target)
        request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        self._signer.add_auth(request)
        headers = dict(request.headers)
        # A kept connection may have been closed by the store between two requests: one new one settles that.
        for is_last in (False, True):
            connection, is_kept = self._connection()
            try:
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as cause:
                connection.close()
                self._local.connection = None
                if is_last or not is_kept:
                    raise UnreachableError(
                        f"the store {self._settings.endpoint} did not answer: {cause}",
                        code="store-unreachable",
                        remedy=REMEDY,
                    ) from cause
        raise AssertionError("the second attempt returns or raises")

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if kept is not None:
            return kept, True
        made = self._connection_class(self._host, self._port, timeout=TIMEOUT_S)
        self._local.connection = made
        self._connections.append(made)
        return made, False
