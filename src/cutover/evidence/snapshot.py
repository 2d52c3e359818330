"""Snapshots: every item of evidence, read once, as a sorted file of facts and a manifest over it.

    lines.jsonl      one JSON object an item, ascending by id
    findings.jsonl   one JSON object a refusal met on the way
    checkpoint.txt   the log's checkpoint at that moment, as signed (absent when there was none)
    manifest.json    counts, roots, checkpoint, watermark, and the digests of the files above; written last

Invariants: `sha256` and `size_bytes` of a line are what this pass computed from the content's bytes, the `declared_…`
ones what the row says; memory does not grow with the number of items; the same site gives the same bytes, whoever did
the work and however often it was interrupted. A folder without manifest.json is no snapshot.
"""

from __future__ import annotations

import itertools
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cutover.evidence import checkpoint as checkpoints
from cutover.evidence._examine import (
    ATTESTATION_TYPE,
    MAX_PARSED_BYTES,
    BlobKey,
    Examined,
    Examiner,
    Recipe,
    examine,
    verify_attestation,
)
from cutover.evidence._format import (
    CHECKPOINT,
    FIELDS,
    SCHEMA,
    CheckpointFact,
    ItemFinding,
    Line,
    Manifest,
    Snapshot,
    Watermark,
    load,
)
from cutover.evidence._pass import Header, Pass, write_file
from cutover.evidence._table import RootCursor
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.leaves import timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence._table import HashTable
    from cutover.evidence.sources import CheckpointSource, ContentSource, EvidenceRow, RowSource
    from cutover.evidence.trust import TrustRoot

__all__ = [
    "ATTESTATION_TYPE",
    "FIELDS",
    "MAX_PARSED_BYTES",
    "SCHEMA",
    "BlobKey",
    "CheckpointFact",
    "ItemFinding",
    "Line",
    "Manifest",
    "Progress",
    "Snapshot",
    "Watermark",
    "Workers",
    "load",
    "take",
    "verify_attestation",
]

BATCH_ITEMS: Final = 128
BATCH_BYTES: Final = 32 << 20
"""A batch ends at whichever of the two it reaches first, so that large contents are shared out too."""
_READERS: Final = 8
MAX_AGE: Final = timedelta(hours=24)
"""A pass that began longer ago is not taken up: what it had read says nothing of the site as it is."""
_MAX_GAPS: Final = 100

Progress = Callable[[int, int], None]
"""Called after each batch with the items and content bytes so far, those of an interrupted pass included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who does the work: an executor, and how many batches it works on at a time.

    With workers in other processes, the source of contents and the errors it raises must pickle.
    """

    executor: Executor
    count: int
    patience_s: float | None = None
    """How long to wait for one batch; a TimeoutError after that. None waits for ever."""


def take(
    rows: RowSource,
    contents: ContentSource,
    out_dir: Path,
    *,
    trust: TrustRoot,
    log: CheckpointSource | None = None,
    site: str = "",
    blob_key: BlobKey | None = None,
    workers: Workers | None = None,
    readers: int = _READERS,
    progress: Progress | None = None,
) -> Manifest:
    """Read every item once, recompute what its row declares, and write a snapshot into `out_dir` (made; not yet one).

    The last id is fixed first, then the log is asked, so that its checkpoint covers every item. Each worker (this
    process, if none are given) reads `readers` contents at a time. A content that is absent, differs from its row, or
    is an attestation that no trusted key signed becomes a finding: the pass goes on. With `blob_key`, the blobs that
    manifests name are re-hashed too, where the store has them.

    A pass that was interrupted, by whatever, is taken up where it was when the folder is given again, for the same
    `site` (any name for it) and trust root; its snapshot is the one that would have been made without interruption.

    Raises:
        EvidenceError: `rows-unordered`; `snapshot-busy`, when another process works on the folder; `pass-old`, when the
            folder holds a pass that began longer than `MAX_AGE` ago; `pass-differs`, when
            the folder holds a pass over another site or with another trust root.
        FileExistsError: `out_dir` holds a snapshot already.

    Source: clauses 1.1c, 4.1a; F.8 for the watermark.

    """
    with Pass(out_dir) as running, ExitStack() as stack:
        wanted = Header(site=site, trust_digest=trust.digest, through=None, begun=timestamp(datetime.now(UTC)))
        header = _taken_up(running, wanted) or _begun(running, wanted, rows, log, out_dir)
        recipe = Recipe(contents=contents, trust=trust, blob_key=blob_key, readers=readers)
        upcoming = rows.evidence_rows(after=running.totals.last_id or "", through=header.through)
        batches = _batches(_ordered(upcoming)) if header.through is not None else iter(())
        patience_s = workers.patience_s if workers is not None else None
        for examined in _in_order(*_work(recipe, workers, stack), batches, patience_s):
            running.write(examined)
            if progress is not None:
                progress(running.totals.items, running.totals.size_bytes)
        fact, refusals = _checkpoint(out_dir / CHECKPOINT, trust)
        running.conclude([*refusals, *_gaps(running.tables[1], running.totals.items)])
        running.seal(_manifest(running, fact, trust))
    return load(out_dir).manifest


def _taken_up(running: Pass, wanted: Header) -> Header | None:
    """Return how an interrupted pass was begun, if there is one; it is of the same site and trust root, and not old."""
    begun = running.header
    if begun is not None and (begun.site, begun.trust_digest) != (wanted.site, wanted.trust_digest):
        expected, actual = (f"{one.site or 'a site'}, {one.trust_digest}" for one in (wanted, begun))
        raise EvidenceError("pass-differs", "an interrupted pass", expected=expected, actual=actual)
    oldest = timestamp(datetime.now(UTC) - MAX_AGE)
    if begun is not None and begun.begun < oldest:
        raise EvidenceError("pass-old", "an interrupted pass", expected=f"begun after {oldest}", actual=begun.begun)
    return begun


def _begun(running: Pass, wanted: Header, rows: RowSource, log: CheckpointSource | None, out_dir: Path) -> Header:
    """Begin a pass: fix the last id, then ask the log."""
    header = replace(wanted, through=rows.last_evidence_id())
    note = log.checkpoint() if log is not None else None
    (out_dir / CHECKPOINT).unlink(missing_ok=True)
    if note is not None:
        write_file(out_dir / CHECKPOINT, note.encode("utf-8"))
    running.begin(header)
    return header


def _manifest(running: Pass, fact: CheckpointFact | None, trust: TrustRoot) -> dict[str, object]:
    totals = running.totals
    roots = {schema: RootCursor(table).root_at(totals.items) for schema, table in running.tables.items()}
    lines_digest, findings_digest = running.finish()
    return {
        "schema": SCHEMA,
        "watermark": {"at": totals.newest, "last_id": totals.last_id, "leaves": totals.items},
        "items": totals.items,
        "size_bytes": totals.size_bytes,
        "by_kind": dict(sorted(totals.by_kind.items())),
        "roots": {str(schema): root.hex() if root else None for schema, root in roots.items()},
        "checkpoint": None if fact is None else {name: getattr(fact, name) for name in CheckpointFact.__slots__},
        "trust_digest": trust.digest,
        "lines_digest": lines_digest,
        "findings_digest": findings_digest,
        "findings": dict(sorted(totals.findings.items())),
    }


Work = Callable[[list["EvidenceRow"]], "Future[list[Examined]]"]


def _work(recipe: Recipe, workers: Workers | None, stack: ExitStack) -> tuple[Work, int]:
    """Return how a batch is handed out, and how many are under way at a time."""
    if workers is not None:
        made = pickle.dumps(recipe)
        return lambda batch: workers.executor.submit(examine, made, batch), 2 * workers.count
    examiner = Examiner(recipe)
    stack.callback(examiner.close)
    here = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="batches"))
    return lambda batch: here.submit(examiner.batch, batch), 2


def _in_order(
    work: Work, under_way: int, batches: Iterator[list[EvidenceRow]], patience_s: float | None
) -> Iterator[list[Examined]]:
    """Work on batches side by side and return them in order, with a bounded number under way."""
    pending: deque[Future[list[Examined]]] = deque()
    try:
        for batch in batches:
            pending.append(work(batch))
            if len(pending) >= under_way:
                yield pending[0].result(patience_s)
                pending.popleft()
        while pending:
            yield pending[0].result(patience_s)
            pending.popleft()
    finally:
        for future in pending:
            future.cancel()


def _batches(rows: Iterable[EvidenceRow]) -> Iterator[list[EvidenceRow]]:
    batch: list[EvidenceRow] = []
    size_bytes = 0
    for row in rows:
        batch.append(row)
        size_bytes += row.size_bytes
        if len(batch) >= BATCH_ITEMS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _checkpoint(path: Path, trust: TrustRoot) -> tuple[CheckpointFact | None, list[Finding]]:
    if not path.exists():
        return None, []
    note = path.read_bytes()
    try:
        verified = checkpoints.verify(note, trust.log_verifier, origin=trust.log_origin)
    except EvidenceError as error:
        return None, [error.finding()]
    digest = f"sha256:{sha256(note).hexdigest()}"
    root = verified.root.hex()
    return CheckpointFact(origin=verified.origin, size=verified.size, root=root, note_digest=digest), []


def _gaps(table: HashTable, size: int) -> Iterator[Finding]:
    """Name the first leaf indexes below `size` that no row has."""
    empty = (index for index, cell in enumerate(table.cells(0, size)) if cell is None)
    for index in itertools.islice(empty, _MAX_GAPS):
        yield Finding.of("leaf-missing", f"leaf index {index}", expected="a row with this leaf index", actual="none")


def _ordered(rows: Iterable[EvidenceRow]) -> Iterator[EvidenceRow]:
    last = None
    for row in rows:
        if last is not None and row.id <= last:
            raise EvidenceError("rows-unordered", row.id, expected=f"an id after {last}", actual=row.id)
        last = row.id
        yield row
