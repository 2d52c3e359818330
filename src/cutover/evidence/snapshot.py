"""Snapshots: every item of evidence, read once, as a sorted file of facts and a manifest over it.

    lines.jsonl      one JSON object an item, ascending by id
    findings.jsonl   one JSON object a refusal met on the way
    checkpoint.txt   the log's checkpoint at that moment, as signed (absent when there was none)
    manifest.json    counts, roots, checkpoint, watermark, and the digests of the files above; written last

Invariants: `sha256` and `size_bytes` of a line are what this pass computed from the content's bytes, the `declared_…`
ones what the row says; memory does not grow with the number of items; the same site gives the same bytes. A folder
without manifest.json is no snapshot.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final, Self

from cutover.evidence import checkpoint as checkpoints
from cutover.evidence import dsse, leaves, oci
from cutover.evidence._json import parse_object
from cutover.evidence._table import HashTable, RootCursor
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.sources import ContentMissing, ContentSource, EvidenceRow

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cutover.evidence.trust import TrustRoot

SCHEMA: Final = "cutover/evidence-snapshot/v1"
ATTESTATION_TYPE: Final = "application/vnd.in-toto+json"
MAX_PARSED_BYTES: Final = 16 << 20
"""Manifests and attestations are read whole up to this size; a larger one is refused, any other content is streamed."""

_PARSED = {"attestation": "envelope-malformed", "oci-manifest": "manifest-malformed"}
_BATCH_ITEMS = 16
_MAX_GAPS = 100
_MAX_LEAVES = 1 << 32
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

Progress = Callable[[int, int], None]
"""Called after each batch with the items and content bytes so far."""
BlobKey = Callable[[str], str | None]
"""Gives the store's key of a blob that a manifest names by digest; None when the store does not hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One item. `sha256` and `size_bytes` are None when the store has no content; `created` is RFC 3339 UTC.

    `signer_key_ids` are the trusted keys that were verified to have signed an attestation, in the trust root's order.
    """

    id: str
    kind: str
    media_type: str
    size_bytes: int | None
    sha256: str | None
    declared_size_bytes: int
    declared_sha256: str
    declared_signer_key_id: str | None
    signer_key_ids: tuple[str, ...]
    leaf_index: int
    log_index: int
    created: str

    def encode(self) -> bytes:
        """Return the line as it stands in lines.jsonl, newline included."""
        return _encode({name: getattr(self, name) for name in FIELDS}).encode("utf-8") + b"\n"

    @classmethod
    def decode(cls, raw: bytes) -> Line:
        """Read a line that `encode` wrote.

        Raises:
            EvidenceError: `snapshot-malformed`.

        """
        try:
            fields = json.loads(raw)
            return cls(**(fields | {"signer_key_ids": tuple(fields["signer_key_ids"])}))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise EvidenceError("snapshot-malformed", "lines.jsonl", expected="a line", actual=error) from error


FIELDS: Final = tuple(Line.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Where a snapshot ends: the instant its rows were read at, the last id, the number of leaves."""

    at: str
    last_id: str | None
    leaves: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFact:
    """The verified checkpoint of the log at the snapshot; `root` is hex, `note_digest` is of checkpoint.txt."""

    origin: str
    size: int
    root: str
    note_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot holds. `roots` by leaf schema, hex, None when leaves are missing; digests are `sha256:hex`.

    `digest` is that of manifest.json itself: the one value that the journal keeps.
    """

    watermark: Watermark
    items: int
    size_bytes: int
    by_kind: Mapping[str, int]
    roots: Mapping[int, str | None]
    checkpoint: CheckpointFact | None
    trust_digest: str
    lines_digest: str
    findings_digest: str
    findings: Mapping[str, int]
    digest: str

    @property
    def findings_total(self) -> int:
        """How many refusals the pass met; `findings` counts them by code."""
        return sum(self.findings.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFinding:
    """A finding with the kind of its item; kind is empty for what is no item, such as the checkpoint."""

    kind: str
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot on disk. Its files are read as streams, and checked against the manifest when they end."""

    folder: Path
    manifest: Manifest

    def lines(self) -> Iterator[Line]:
        """Return the items, ascending by id.

        Raises:
            EvidenceError: `snapshot-altered`, at the end, when the file is not the one the manifest names;
                `snapshot-malformed`.

        """
        return map(Line.decode, self.raw_lines())

    def raw_lines(self) -> Iterator[bytes]:
        """Return the items as written, a newline at the end of each; raises as `lines` does."""
        return _checked(self.folder / "lines.jsonl", self.manifest.lines_digest)

    def findings(self) -> Iterator[ItemFinding]:
        """Return the refusals that the pass met, in the order of the items; raises as `lines` does."""
        for raw in _checked(self.folder / "findings.jsonl", self.manifest.findings_digest):
            fields = json.loads(raw)
            yield ItemFinding(kind=fields.pop("kind"), finding=Finding(**fields))

    def checkpoint_note(self) -> bytes | None:
        """Return the log's checkpoint as signed; None when there was none."""
        path = self.folder / "checkpoint.txt"
        return path.read_bytes() if self.manifest.checkpoint is not None or path.exists() else None


def take(
    rows: Iterable[EvidenceRow],
    contents: ContentSource,
    out_dir: Path,
    *,
    watermark: datetime,
    trust: TrustRoot,
    checkpoint: str | None = None,
    blob_key: BlobKey | None = None,
    workers: int = 8,
    progress: Progress | None = None,
) -> Manifest:
    """Read every item once, recompute what its row declares, and write a snapshot into `out_dir` (made; not yet one).

    `rows` come from one database snapshot taken at `watermark`, ascending by id. Contents are read by `workers`
    threads. A content that is absent, differs from its row, or is an attestation that no trusted key signed becomes a
    finding: the pass goes on. With `blob_key`, the blobs that manifests name are re-hashed too, where the store has
    them.

    Raises:
        EvidenceError: `rows-unordered`.
        FileExistsError: `out_dir` holds a snapshot already.

    Source: clauses 1.1c, 4.1a; F.8 for the watermark.

    """
    out_dir.mkdir(parents=True, exist_ok=True)
    if (out_dir / "manifest.json").exists():
        raise FileExistsError(out_dir / "manifest.json")
    examine = _Examiner(contents, trust, blob_key)
    totals = _Totals()
    with ExitStack() as stack:
        tables = {schema: stack.enter_context(HashTable(_MAX_LEAVES)) for schema in leaves.SCHEMAS}
        lines = stack.enter_context(_HashedFile(out_dir / "lines.jsonl"))
        findings = stack.enter_context(_HashedFile(out_dir / "findings.jsonl"))
        pool = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="evidence"))
        for batch in _in_order(pool, examine.batch, _ordered(rows), workers):
            for line, found in batch:
                lines.write(line.encode())
                problems = [*found, *_place(tables, line)]
                totals.add(line, problems)
                for finding in problems:
                    findings.write(_finding_line(line.kind, finding))
            if progress is not None:
                progress(totals.items, totals.size_bytes)
        fact, refusals = _checkpoint(checkpoint, trust)
        for finding in [*refusals, *_gaps(tables[1], totals.items)]:
            totals.findings[finding.code] += 1
            findings.write(_finding_line("", finding))
        roots = {schema: RootCursor(table).root_at(totals.items) for schema, table in tables.items()}
    if checkpoint is not None:
        _write(out_dir / "checkpoint.txt", checkpoint.encode("utf-8"))
    document = {
        "schema": SCHEMA,
        "watermark": {"at": leaves.timestamp(watermark), "last_id": totals.last_id, "leaves": totals.items},
        "items": totals.items,
        "size_bytes": totals.size_bytes,
        "by_kind": dict(sorted(totals.by_kind.items())),
        "roots": {str(schema): root.hex() if root else None for schema, root in roots.items()},
        "checkpoint": None if fact is None else {name: getattr(fact, name) for name in CheckpointFact.__slots__},
        "trust_digest": trust.digest,
        "lines_digest": lines.digest,
        "findings_digest": findings.digest,
        "findings": dict(sorted(totals.findings.items())),
    }
    _write(out_dir / "manifest.json", json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8") + b"\n")
    return load(out_dir).manifest


def load(folder: Path) -> Snapshot:
    """Open a snapshot.

    Raises:
        EvidenceError: `snapshot-malformed`, when the folder has no manifest of this schema.

    """
    code = "snapshot-malformed"
    try:
        raw = (folder / "manifest.json").read_bytes()
    except OSError as error:
        raise EvidenceError(code, folder.name, expected="manifest.json", actual=error) from error
    fields = parse_object(raw, code=code, item="manifest.json")
    if fields.get("schema") != SCHEMA:
        raise EvidenceError(code, "manifest.json", expected=SCHEMA, actual=fields.get("schema"))
    try:
        manifest = _manifest(dict(fields), f"sha256:{sha256(raw).hexdigest()}")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EvidenceError(code, "manifest.json", expected="the fields of a manifest", actual=error) from error
    return Snapshot(folder=folder, manifest=manifest)


def _manifest(fields: dict[str, object], digest: str) -> Manifest:
    del fields["schema"]
    roots, fact, mark = fields.pop("roots"), fields.pop("checkpoint"), fields.pop("watermark")
    return Manifest(
        **fields,  # type: ignore[arg-type]  # written by `take`; a manifest with other fields is a TypeError
        watermark=Watermark(**mark),  # type: ignore[arg-type]
        roots={int(schema): root for schema, root in roots.items()},  # type: ignore[attr-defined]
        checkpoint=None if fact is None else CheckpointFact(**fact),  # type: ignore[arg-type]
        digest=digest,
    )


class _Examiner:
    """Reads and judges items; used by several threads at once, keeps no state of its own."""

    def __init__(self, contents: ContentSource, trust: TrustRoot, blob_key: BlobKey | None) -> None:
        self._contents = contents
        self._keys = dsse.KeyRing(trust.attestation_keys)
        self._blob_key = blob_key

    def batch(self, rows: list[EvidenceRow]) -> list[tuple[Line, list[Finding]]]:
        return [self._examine(row) for row in rows]

    def _examine(self, row: EvidenceRow) -> tuple[Line, list[Finding]]:
        keep = row.kind in _PARSED
        hasher, size, kept = sha256(), 0, bytearray()
        try:
            for chunk in _chunks(self._contents.open(row.object_key)):
                hasher.update(chunk)
                size += len(chunk)
                if keep and size <= MAX_PARSED_BYTES:
                    kept += chunk
        except ContentMissing:
            missing = Finding.of("content-missing", row.id, expected=row.object_key, actual="no such object")
            return _line(row, digest=None, size=None, signers=()), [missing]
        digest, found, signers = hasher.hexdigest(), list[Finding](), tuple[str, ...]()
        if digest != row.sha256:
            found.append(Finding.of("content-mismatch", row.id, expected=f"sha256:{row.sha256}", actual=digest))
        elif size != row.size_bytes:
            found.append(Finding.of("size-mismatch", row.id, expected=row.size_bytes, actual=size))
        try:
            signers = self._parse(row, bytes(kept), size, intact=not found)
        except EvidenceError as error:
            found.append(error.finding(row.id))
        return _line(row, digest=digest, size=size, signers=signers), found

    def _parse(self, row: EvidenceRow, content: bytes, size: int, *, intact: bool) -> tuple[str, ...]:
        """Verify what a content says of itself; return the keys that signed it."""
        if row.kind not in _PARSED:
            return ()
        if size > MAX_PARSED_BYTES:
            raise EvidenceError(_PARSED[row.kind], row.id, expected=f"at most {MAX_PARSED_BYTES} bytes", actual=size)
        if row.kind == "attestation":
            return verify_attestation(content, self._keys, item=row.id).key_ids
        if intact:
            oci.verify_manifest(content, digest=f"sha256:{row.sha256}", blobs=self._blob, item=row.id)
        return ()

    def _blob(self, digest: str) -> Iterable[bytes] | None:
        key = self._blob_key(digest) if self._blob_key is not None else None
        if key is None:
            return None
        try:  # a source may open lazily: only the first chunk tells whether the object is there
            chunks = iter(_chunks(self._contents.open(key)))
            first = next(chunks, b"")
        except ContentMissing:
            return None
        return itertools.chain((first,), chunks)


def verify_attestation(content: bytes, keys: dsse.KeyRing, *, item: str) -> dsse.Verified:
    """Verify an attestation's signature and that it is an in-toto statement.

    Raises:
        EvidenceError: as `dsse.verify`, and `envelope-malformed` for another payload type.

    """
    verified = keys.verify(content, item=item)
    if verified.payload_type != ATTESTATION_TYPE:
        raise EvidenceError("envelope-malformed", item, expected=ATTESTATION_TYPE, actual=verified.payload_type)
    return verified


class _Totals:
    def __init__(self) -> None:
        self.items = 0
        self.size_bytes = 0
        self.last_id: str | None = None
        self.by_kind: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    def add(self, line: Line, findings: Iterable[Finding]) -> None:
        self.items += 1
        self.size_bytes += line.size_bytes or 0
        self.last_id = line.id
        self.by_kind[line.kind] += 1
        self.findings.update(finding.code for finding in findings)


class _HashedFile:
    """A file that appears under its name only when complete and on disk; `digest` is known then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hasher = sha256()
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._stream = self._path.with_suffix(".partial").open("wb", buffering=1 << 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is None:
            return
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        if kind is None:
            self._path.with_suffix(".partial").replace(self._path)

    def write(self, raw: bytes) -> None:
        if self._stream is not None:
            self._stream.write(raw)
            self._hasher.update(raw)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"


def _line(row: EvidenceRow, *, digest: str | None, size: int | None, signers: tuple[str, ...]) -> Line:
    return Line(
        id=row.id,
        kind=row.kind,
        media_type=row.media_type,
        size_bytes=size,
        sha256=digest,
        declared_size_bytes=row.size_bytes,
        declared_sha256=row.sha256,
        declared_signer_key_id=row.signer_key_id,
        signer_key_ids=signers,
        leaf_index=row.leaf_index,
        log_index=row.log_index,
        created=leaves.timestamp(row.created),
    )


def _place(tables: Mapping[int, HashTable], line: Line) -> list[Finding]:
    """Put the item's leaves where its row says, over what was recomputed where there is content."""
    for schema, table in tables.items():
        value = leaves.leaf_hash(
            schema,
            id=line.id,
            kind=line.kind,
            sha256=line.sha256 or line.declared_sha256,
            size_bytes=line.declared_size_bytes if line.size_bytes is None else line.size_bytes,
            created=line.created,
        )
        if not table.put(line.leaf_index, value):
            actual = f"leaf index {line.leaf_index}, taken or out of range"
            return [Finding.of("leaf-duplicate", line.id, expected="a leaf index of its own", actual=actual)]
    return []


def _gaps(table: HashTable, size: int) -> Iterator[Finding]:
    """Name the first leaf indexes below `size` that no row has."""
    empty = (index for index, cell in enumerate(table.cells(0, size)) if cell is None)
    for index in itertools.islice(empty, _MAX_GAPS):
        yield Finding.of("leaf-missing", f"leaf index {index}", expected="a row with this leaf index", actual="none")


def _checkpoint(note: str | None, trust: TrustRoot) -> tuple[CheckpointFact | None, list[Finding]]:
    if note is None:
        return None, []
    try:
        verified = checkpoints.verify(note, trust.log_verifier, origin=trust.log_origin)
    except EvidenceError as error:
        return None, [error.finding()]
    digest = f"sha256:{sha256(note.encode('utf-8')).hexdigest()}"
    root = verified.root.hex()
    return CheckpointFact(origin=verified.origin, size=verified.size, root=root, note_digest=digest), []


def _ordered(rows: Iterable[EvidenceRow]) -> Iterator[EvidenceRow]:
    last = None
    for row in rows:
        if last is not None and row.id <= last:
            raise EvidenceError("rows-unordered", row.id, expected=f"an id after {last}", actual=row.id)
        last = row.id
        yield row


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[list[EvidenceRow]], list[tuple[Line, list[Finding]]]],
    rows: Iterator[EvidenceRow],
    workers: int,
) -> Iterator[list[tuple[Line, list[Finding]]]]:
    """Work on batches in parallel and return them in order, with a bounded number under way."""
    pending: deque[Future[list[tuple[Line, list[Finding]]]]] = deque()
    try:
        while batch := list(itertools.islice(rows, _BATCH_ITEMS)):
            pending.append(pool.submit(work, batch))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _chunks(content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    return (content,) if isinstance(content, bytes) else content


def _finding_line(kind: str, finding: Finding) -> bytes:
    return _encode({"kind": kind} | finding.as_json()).encode("utf-8") + b"\n"


def _checked(path: Path, digest: str) -> Iterator[bytes]:
    """Return a file's lines, and refuse it at its end when it is not the one that was named."""
    hasher = sha256()
    try:
        with path.open("rb", buffering=1 << 20) as stream:
            for raw in stream:
                hasher.update(raw)
                yield raw
    except OSError as error:
        raise EvidenceError("snapshot-malformed", path.name, expected="a file", actual=error) from error
    computed = f"sha256:{hasher.hexdigest()}"
    if computed != digest:
        raise EvidenceError("snapshot-altered", path.name, expected=digest, actual=computed)


def _write(path: Path, raw: bytes) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
