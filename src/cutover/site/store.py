"""Read the site's object storage (S3), and keep artifacts in its archive.

Responsibility: bulk reads of evidence content, as fast as the store gives them; small objects; the archive of 4.3c,
which is written and read back in bulk too.
Invariants: content is streamed, never held whole unless asked for; every request has a deadline; a request is signed
for its own URL alone and no secret is in it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cutover.clock import parse_rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.site.kept import KeptConnections, ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from boto3.session import Session
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0
_ARCHIVERS = 8
RETENTION_STEP = timedelta(seconds=1)
"""Stores keep the time until which something is retained to the second."""
_RETAINED_UNTIL = "x-amz-object-lock-retain-until-date"
_POOL = 16
_REGION = "us-east-1"
_NO_SUCH_BUCKET = b"<Code>NoSuchBucket</Code>"
"""An answer about the target file, not about an object."""
_NO_SUCH_FEATURE = ("400 ", "405 ", "501 ")
"""How stores without object lock answer when they are asked about it."""


_CLIENTS = threading.Lock()
"""One session makes one client at a time."""


@functools.cache
def _session() -> Session:
    """Return the session of every store: boto3 and its description of S3 are loaded once, which takes its time."""
    import boto3  # noqa: PLC0415 (slow to import)

    session = boto3.session.Session()
    session.client("s3", region_name=_REGION, aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106 (nobody's)
    return session


def begin_to_get_ready() -> None:
    """Begin to load what clients are made with, beside what is done meanwhile."""

    def load() -> None:
        with _CLIENTS:
            _session()

    threading.Thread(target=load, name="store", daemon=True).start()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as a listing tells it."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """An artifact in the archive, proven by reading it back."""

    key: str
    size_bytes: int
    sha256: str
    """`sha256:` and 64 hex digits, of the bytes read back."""
    version: str
    """Empty where the archive keeps no versions."""
    retained_until: datetime | None
    """None where the archive has no retention lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLock:
    """Whether what is archived can be removed before its time."""

    locked: bool
    detail: str


class Store:
    """One bucket of one S3 endpoint, and the archive bucket beside it."""

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        archive_bucket: str = "",
        region: str = _REGION,
        pool: int = _POOL,
    ) -> None:
        """Open nothing yet. pool: how many connections are kept, and so how many readers make sense."""
        self.endpoint = endpoint.rstrip("/")
        self.bucket = bucket
        self.archive_bucket = archive_bucket
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._pool = pool
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        self._archive_lock: ArchiveLock | None = None
        self._kept: KeptConnections | None = None
        self._signer: Any = None

    def __reduce__(self) -> tuple[Callable[[], Store], tuple[()]]:
        """Pickle as what it was made from: a worker process opens connections of its own."""
        made = functools.partial(
            Store,
            endpoint=self.endpoint,
            bucket=self.bucket,
            access_key=self._access_key,
            secret_key=self._secret_key,
            archive_bucket=self.archive_bucket,
            region=self._region,
            pool=self._pool,
        )
        return made, ()

    # -- clients ---------------------------------------------------------------------------------------------------

    def _s3(self) -> S3Client:
        with self._lock:
            if self._client is None:
                with _CLIENTS:
                    self._client = self._made()
            return self._client

    def _made(self) -> S3Client:
        from botocore.config import Config  # noqa: PLC0415 (slow to import)

        return _session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self._region,
            aws_access_key_id=self._access_key,
            aws_secret_access_key=self._secret_key,
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"total_max_attempts": 2},
                max_pool_connections=self._pool,
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _bulk(self) -> tuple[KeptConnections, Any]:
        """Return the connections and the signer of the bulk path: botocore's signature on a bare HTTP request.

        boto3's own call costs several times the request itself; the signature is the same.
        """
        with self._lock:
            if self._kept is None:
                from botocore.auth import S3SigV4Auth  # noqa: PLC0415 (slow to import)
                from botocore.credentials import Credentials  # noqa: PLC0415

                self._signer = S3SigV4Auth(Credentials(self._access_key, self._secret_key), "s3", self._region)
                self._kept = KeptConnections(
                    self.endpoint, connect_timeout_s=_CONNECT_TIMEOUT_S, read_timeout_s=_READ_TIMEOUT_S
                )
            return self._kept, self._signer

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[S3Client]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (slow to import)

        client = self._s3()
        try:
            yield client
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            if status == 404 or code in {"NoSuchKey", "404"}:
                raise self._absent(what) from error
            raise self._refused(what, f"{status} {code}") from error
        except (BotoCoreError, OSError) as error:
            raise self._unreachable(what, error) from error

    def _absent(self, what: str) -> ClauseFailed:
        return ClauseFailed(
            f"{what} is not in the store",
            code="object-absent",
            seen=f"404 from {self.endpoint}",
            do="find out who removed it; restore it from the evidence backup (1.2b)",
        )

    def _refused(self, what: str, seen: str) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the store refused {what}",
            code="store-refused",
            seen=seen,
            do="check the bucket and the keys in [store] of the target, and the state of the store",
        )

    def _unreachable(self, what: str, error: Exception) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the store at {self.endpoint} does not answer ({what})",
            code="store-unreachable",
            seen=str(error)[:200],
            do="check that the object storage runs and that endpoint in [store] of the target is right",
        )

    # -- bulk reads ------------------------------------------------------------------------------------------------

    def open(self, key: str) -> Iterator[bytes]:
        """Ask for an object and return its bytes in order, chunk by chunk; safe from many threads at once.

        Raises: ClauseFailed `object-absent`, CouldNotMeasure `store-refused`, `store-unreachable`; the last also while
        reading, when the connection ends before the length that was announced.
        """
        kept, signer = self._bulk()
        what = f"{self.bucket}/{key}"
        path = f"/{self.bucket}/{quote(key, safe='/~')}"
        try:
            status, body = kept.get(path, self._signed(signer, path, kept.authority))
            if status == 200:
                return self._chunks(body, what)
            said = b"".join(body)[:300]
        except ReadError as error:
            raise self._unreachable(what, error) from error
        if status == 404 and _NO_SUCH_BUCKET not in said:
            raise self._absent(what)
        raise self._refused(what, f"{status} {said.decode('utf-8', 'replace')}")

    def _chunks(self, body: Iterator[bytes], what: str) -> Iterator[bytes]:
        try:
            yield from body
        except ReadError as error:
            raise self._unreachable(what, error) from error

    def _signed(
        self,
        signer: Any,  # noqa: ANN401 (botocore: no types)
        path: str,
        authority: str,
        *,
        method: str = "GET",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 (slow to import)

        request = AWSRequest(method=method, url=self.endpoint + path, data=content, headers=dict(headers or {}))
        signer.add_auth(request)
        return {**dict(request.headers.items()), "Host": authority}

    # -- small objects ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """Return an object whole."""
        return b"".join(self.open(key))

    def put(self, key: str, content: bytes) -> None:
        """Write a small object."""
        with self._asking(f"{self.bucket}/{key}") as client:
            client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._asking(f"{self.bucket}/{key}") as client:
            client.delete_object(Bucket=self.bucket, Key=key)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects under a prefix in the order of their keys, page by page."""
        with self._asking(f"the list of {self.bucket}/{prefix}") as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield StoredObject(key=entry["Key"], size_bytes=entry["Size"])

    def check(self) -> None:
        """Ask whether the bucket answers to these keys. Raises: CouldNotMeasure, ClauseFailed `object-absent`."""
        with self._asking(f"the bucket {self.bucket}") as client:
            client.head_bucket(Bucket=self.bucket)

    # -- archive ---------------------------------------------------------------------------------------------------

    def archive(self, key: str, content: bytes, *, retain_until: datetime | None = None) -> Archived:
        """Keep an artifact in the archive bucket and prove it by reading that version back (4.3c).

        retain_until: nobody may remove it before, where the bucket has object lock; without lock it is kept all the
        same, and the answer says that it is not retained.
        Raises: ClauseFailed `archive-differs`, CouldNotMeasure.
        """
        what = f"{self.archive_bucket}/{key}"
        path = f"/{self.archive_bucket}/{quote(key, safe='/~')}"
        digest = hashlib.sha256(content)
        until = retain_until if retain_until is not None and self.archive_lock().locked else None
        asked = {"x-amz-checksum-sha256": base64.b64encode(digest.digest()).decode()}
        if until is not None:
            asked |= {
                "x-amz-object-lock-mode": "GOVERNANCE",
                _RETAINED_UNTIL: f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            }
        told, _ = self._exchange("PUT", path, what, content=content, headers=asked)
        version = told.get("x-amz-version-id", "")
        named = f"?versionId={quote(version, safe='~')}" if version and version != "null" else ""
        told, back = self._exchange("GET", path + named, what)
        kept = _archived(key, version, back, told if until is not None else {})
        if kept.sha256 != f"sha256:{digest.hexdigest()}":
            raise ClauseFailed(
                f"the archive does not hold what was put there: {what}",
                code="archive-differs",
                seen=f"{kept.sha256} (expected sha256:{digest.hexdigest()})",
                guide="4.3",
                do="check the archive bucket, then archive again",
            )
        return kept

    def archived(self, key: str, content: bytes, *, until: datetime) -> Archived | None:
        """Return an artifact that the archive holds with this content; None when it is to be put there.

        until: where the bucket has object lock, it counts only when nobody may remove it before.
        Raises: CouldNotMeasure.
        """
        path = f"/{self.archive_bucket}/{quote(key, safe='/~')}"
        try:
            told, back = self._exchange("GET", path, f"{self.archive_bucket}/{key}")
        except ClauseFailed:
            return None
        locked = self.archive_lock().locked
        kept = _archived(key, told.get("x-amz-version-id", ""), back, told if locked else {})
        is_retained = not locked or (kept.retained_until is not None and kept.retained_until >= until - RETENTION_STEP)
        return kept if back == content and is_retained else None

    def _exchange(
        self,
        method: str,
        path: str,
        what: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """Send one request of the bulk path and return headers and body of a good answer. Raises: as `open`."""
        kept, signer = self._bulk()
        signed = self._signed(signer, path, kept.authority, method=method, content=content, headers=headers)
        try:
            status, told, body = kept.whole(method, path, signed, content=content)
        except ReadError as error:
            raise self._unreachable(what, error) from error
        if status == 404 and _NO_SUCH_BUCKET not in body:
            raise self._absent(what)
        if status != 200:
            raise self._refused(what, f"{status} {body[:300].decode('utf-8', 'replace')}")
        return told, body

    def archive_lock(self) -> ArchiveLock:
        """Return whether the archive bucket has object lock, and what it said; asked once.

        Raises: CouldNotMeasure, when the store cannot say.
        """
        if self._archive_lock is None:
            self._archive_lock = self._ask_archive_lock()
        return self._archive_lock

    def _ask_archive_lock(self) -> ArchiveLock:
        try:
            with self._asking(f"the lock of {self.archive_bucket}") as client:
                answer = client.get_object_lock_configuration(Bucket=self.archive_bucket)
        except ClauseFailed as error:  # 404: the bucket has no such configuration
            return ArchiveLock(locked=False, detail=f"no object lock ({error.seen})")
        except CouldNotMeasure as error:
            if not error.seen.startswith(_NO_SUCH_FEATURE):
                raise
            return ArchiveLock(locked=False, detail=f"the store has no object lock ({error.seen})")
        settings = answer.get("ObjectLockConfiguration", {})
        locked = settings.get("ObjectLockEnabled") == "Enabled"
        rule = settings.get("Rule", {}).get("DefaultRetention", {})
        detail = f"default retention {rule['Mode']}" if rule else "no default retention"
        return ArchiveLock(locked=locked, detail=f"object lock enabled, {detail}" if locked else "no object lock")

    def archive_all(
        self,
        files: Iterable[Path],
        *,
        relative_to: Path,
        prefix: str,
        retain_until: datetime | None = None,
        already_until: datetime | None = None,
    ) -> Iterator[tuple[Path, Archived]]:
        """Archive files under `prefix/` and their path relative to a folder; yield each with what was read back.

        Several at a time, in the order given. already_until: some may be there already, retained until then at least;
        such a one is not put there again. Raises: as `archive`.
        """

        def keep(path: Path) -> tuple[Path, Archived]:
            key = f"{prefix}/{path.relative_to(relative_to)}"
            content = path.read_bytes()
            already = self.archived(key, content, until=already_until) if already_until is not None else None
            return path, already or self.archive(key, content, retain_until=retain_until)

        with ThreadPoolExecutor(_ARCHIVERS, thread_name_prefix="archive") as pool:
            yield from pool.map(keep, files)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._kept is not None:
                self._kept.close()
                self._kept = None
            if self._client is not None:
                self._client.close()
                self._client = None


def _archived(key: str, version: str, content: bytes, told: Mapping[str, str]) -> Archived:
    """Return what was read back; told: the answer's headers, none where the archive has no lock."""
    return Archived(
        key=key,
        size_bytes=len(content),
        sha256=f"sha256:{hashlib.sha256(content).hexdigest()}",
        version=version,
        retained_until=_moment(told.get(_RETAINED_UNTIL)),
    )


def _moment(text: str | None) -> datetime | None:
    """Return the time of a header; None when there is none, or none that can be read."""
    try:
        return parse_rfc3339(text) if text else None
    except ValueError:
        return None
