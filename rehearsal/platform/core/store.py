"""The object store over S3: signed requests on a pooled connection, safe to share between threads.

Invariants: content is addressed by its digest, so a put may be repeated; an answer other than the expected one raises
with the status and the key, never with a credential.
"""

import hashlib
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rehearsal.platform.core.settings import StoreSettings

_REGION = "us-east-1"


class StoreError(Exception):
    """The store did not answer, or answered something else than asked for."""


class NoSuchObjectError(StoreError):
    """The store has no object under this key."""


class Store:
    """One bucket of the object store."""

    def __init__(self, settings: StoreSettings, *, connections: int = 8, timeout_s: float = 10.0) -> None:
        self.endpoint = settings.endpoint
        self.bucket = settings.bucket
        self._auth = S3SigV4Auth(Credentials(settings.access_key, settings.secret_key), "s3", _REGION)
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, timeout=urllib3.Timeout(connect=3.0, read=timeout_s), retries=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every pooled connection."""
        self._pool.clear()

    def put(self, key: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        """Write an object.

        Raises:
            StoreError: the store did not confirm it.

        """
        self._call("PUT", key, content, media_type)

    def get(self, key: str) -> bytes:
        """Read an object whole.

        Raises:
            NoSuchObjectError: there is none under this key.
            StoreError: the store did not give it.

        """
        return self._call("GET", key)

    def exists(self, key: str) -> bool:
        """Tell whether there is an object under this key.

        Raises:
            StoreError: the store did not say.

        """
        try:
            self._call("HEAD", key)
        except NoSuchObjectError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed already.

        Raises:
            StoreError: the store refused.

        """
        try:
            self._call("DELETE", key)
        except NoSuchObjectError:
            return

    def ensure_bucket(self) -> None:
        """Make the bucket unless it exists.

        Raises:
            StoreError: the store neither has nor makes it.

        """
        try:
            self.check()
        except NoSuchObjectError:
            self._call("PUT", "")

    def check(self) -> None:
        """Make sure that the bucket answers.

        Raises:
            NoSuchObjectError: the store has no such bucket.
            StoreError: the store does not answer, or refuses these credentials.

        """
        self._call("GET", "", query={"list-type": "2", "max-keys": "1"})

    def _call(
        self,
        method: str,
        key: str,
        content: bytes = b"",
        media_type: str | None = None,
        query: dict[str, str] | None = None,
    ) -> bytes:
        url = f"{self.endpoint}/{self.bucket}/{quote(key)}" if key else f"{self.endpoint}/{self.bucket}"
        if query:
            url = f"{url}?{urlencode(sorted(query.items()))}"
        headers = {"X-Amz-Content-SHA256": hashlib.sha256(content).hexdigest()}
        if media_type is not None:
            headers["Content-Type"] = media_type
        request = AWSRequest(method=method, url=url, data=content, headers=headers)
        self._auth.add_auth(request)
        try:
            answer = self._pool.request(method, url, body=content or None, headers=dict(request.headers.items()))
        except urllib3.exceptions.HTTPError as error:
            raise StoreError(
                f"{method} {key or self.bucket}: the store did not answer: {type(error).__name__}"
            ) from error
        if answer.status == 404:
            raise NoSuchObjectError(f"{method} {key or self.bucket}: no such object")
        if answer.status >= 300:
            raise StoreError(f"{method} {key or self.bucket}: the store answered {answer.status}")
        return answer.data
