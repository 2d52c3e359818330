"""Seeds a site with history: scans and their evidence over months, roots and checkpoints signed along the way.

Run as `python -m rehearsal.platform.app.seed --items 2000 --out FOLDER`; the database, the log and the store come
from the same environment variables that the platform reads. Contents are made and written by one process a core.

Invariants: everything follows from the seed number, the count and the size asked for; content is in the store before a
row names it; seeding twice is seeding once, and a site with other evidence in it is refused.
"""

import argparse
import datetime as dt
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from rehearsal.platform.core import checkpoint, dsse, keys, leaves, makers, merkle, migrations
from rehearsal.platform.core.settings import SettingsError, StoreSettings, log_database_url
from rehearsal.platform.core.store import Store, StoreError

FIRST_RELEASE = "2027.Q1"
_START = dt.datetime(2025, 10, 1, 6, 0, tzinfo=dt.UTC)
_SPAN = dt.timedelta(days=270)
_SIGNINGS = 50  # roots and checkpoints spread over the history
_BATCH_SCANS = 50
_PUT_THREADS = 8
_TELL_EVERY_S = 5.0
_TEAMS = ("payments", "identity", "search", "ledger", "gateway", "catalogue", "mail", "reports")
_SERVICES = ("api", "worker", "frontend", "migrator", "exporter")

Connection = psycopg.Connection[tuple[object, ...]]
Tell = Callable[[str], None]


class SeedError(Exception):
    """The site cannot be seeded; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Which history: its scans, its seed number, and the size of every item; None leaves each as long as it is."""

    scans: int
    seed: int = 1
    size_bytes: int | None = None

    @property
    def items(self) -> int:
        """How many items it has."""
        return self.scans * len(makers.KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item of the history, without its content."""

    id: str
    number: int
    scan: makers.Scan
    kind: str
    media_type: str
    size_bytes: int
    sha256: str
    signer_keyid: str | None
    created: dt.datetime


def scan_at(number: int, total: int, seed: int) -> makers.Scan:
    """Give scan `number` of `total` (from 0): times ascend, never two alike for one seed and count."""
    noise = hashlib.sha256(b"scan %d %d" % (seed, number)).digest()
    step = _SPAN / total
    image = (
        f"registry.stella.test/{_TEAMS[noise[0] % len(_TEAMS)]}/{_SERVICES[noise[1] % len(_SERVICES)]}"
        f":{1 + noise[2] % 4}.{noise[3] % 20}.{noise[4] % 10}"
    )
    return makers.Scan(
        id=f"scan-{number + 1:012d}", image=image, created=_START + step * number + step * 0.8 * (noise[5] / 256)
    )


def make_scan(number: int, history: History) -> list[tuple[Row, bytes]]:
    """Make the evidence of one scan: four rows with their content."""
    scan = scan_at(number, history.scans, history.seed)
    made = makers.make_evidence(scan, keys.derived_signing_key(history.seed), history.size_bytes)
    return [
        (
            Row(
                id=leaves.evidence_id(number * len(makers.KINDS) + offset),
                number=number * len(makers.KINDS) + offset,
                scan=scan,
                kind=item.kind,
                media_type=item.media_type,
                size_bytes=len(item.content),
                sha256=item.sha256,
                signer_keyid=item.signer_keyid,
                created=scan.created + dt.timedelta(milliseconds=350 + offset),
            ),
            item.content,
        )
        for offset, item in enumerate(made)
    ]


def put_scans(numbers: range, history: History, place: StoreSettings) -> list[Row]:
    """Make the evidence of some scans and write the contents to the store, several at once; give the rows.

    Raises:
        StoreError: one of them was not confirmed.

    """
    with Store(place, connections=_PUT_THREADS) as store, ThreadPoolExecutor(_PUT_THREADS) as pool:

        def put(number: int) -> list[Row]:
            made = make_scan(number, history)
            for row, content in made:
                store.put(leaves.object_key(row.sha256), content, row.media_type)
            return [row for row, _content in made]

        return [row for rows in pool.map(put, numbers) for row in rows]


def put_history(history: History, place: StoreSettings, tell: Tell) -> list[Row]:
    """Make the whole history and write its contents, in one process a core; give its rows in order.

    Raises:
        StoreError: a content was not confirmed.

    """
    batches = [range(history.scans)[start : start + _BATCH_SCANS] for start in range(0, history.scans, _BATCH_SCANS)]
    rows: list[Row] = []
    began = told = time.monotonic()
    with ProcessPoolExecutor(
        min(os.cpu_count() or 1, len(batches)), mp_context=multiprocessing.get_context("spawn")
    ) as processes:
        for made in processes.map(put_scans, batches, repeat(history), repeat(place)):
            rows += made
            now = time.monotonic()
            if now - told >= _TELL_EVERY_S:
                told = now
                rate = len(rows) / (now - began)
                left_s = (history.items - len(rows)) / rate
                tell(f"{len(rows)} of {history.items} items stored, {rate:.0f}/s, {left_s:.0f} s left")
    return rows


def write_log(connection: Connection, rows: Sequence[Row], *, origin: str, seed: int) -> None:
    """Fill the transparency log with the history, with a checkpoint signed now and then."""
    key = keys.derived_log_key(seed)
    frontier = merkle.Frontier()
    due = signing_points(len(rows))
    notes = []
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY log_entries (log_index, leaf, leaf_hash, created, subject) FROM STDIN") as copy:
            for row in rows:
                entry = leaves.log_entry(evidence_id=row.id, kind=row.kind, sha256=row.sha256)
                digest = merkle.leaf_hash(entry)
                copy.write_row((row.number, entry, digest, row.created, row.sha256))
                frontier.append(digest)
                if frontier.size in due:
                    state = checkpoint.Checkpoint(origin=origin, size=frontier.size, root=frontier.root())
                    notes.append((state.size, state.root, checkpoint.sign(state, key), row.created))
        with cursor.copy("COPY log_checkpoints (size, root, note, created) FROM STDIN") as copy:
            for note in notes:
                copy.write_row(note)


def write_evidence(connection: Connection, rows: Sequence[Row], *, seed: int) -> None:
    """Fill the evidence database in one transaction: scans, rows, leaves, and signed roots along the way."""
    key = keys.derived_signing_key(seed)
    frontier = merkle.Frontier()
    due = signing_points(len(rows))
    hashed: list[tuple[int, str, bytes]] = []
    roots = []
    for row in rows:
        covered = leaves.Covered(
            id=row.id, kind=row.kind, sha256=row.sha256, size_bytes=row.size_bytes, created=row.created
        )
        hashed.append((row.number, row.id, leaves.leaf_hash(covered, 1)))
        frontier.append(hashed[-1][2])
        if frontier.size in due:
            statement = leaves.root_statement(
                schema_version=1, size=frontier.size, root=frontier.root(), created=row.created
            )
            envelope = dsse.sign_statement(dsse.MERKLE_ROOT, statement, key)
            roots.append((1, frontier.size, frontier.root(), row.created, Jsonb(envelope)))
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY scans (id, image, status, created, finished) FROM STDIN") as copy:
            for row in rows[:: len(makers.KINDS)]:
                scan = row.scan
                copy.write_row(
                    (scan.id, scan.image, "done", scan.created, scan.created + dt.timedelta(milliseconds=400))
                )
        with cursor.copy(
            "COPY evidence (id, scan_id, kind, media_type, size_bytes, sha256, object_key, leaf_index, log_index, "
            "signer_keyid, created) FROM STDIN"
        ) as copy:
            for row in rows:
                copy.write_row(
                    (
                        row.id,
                        row.scan.id,
                        row.kind,
                        row.media_type,
                        row.size_bytes,
                        row.sha256,
                        leaves.object_key(row.sha256),
                        row.number,
                        row.number,
                        row.signer_keyid,
                        row.created,
                    )
                )
        with cursor.copy("COPY merkle_leaves (leaf_index, evidence_id, leaf_hash) FROM STDIN") as copy:
            for leaf in hashed:
                copy.write_row(leaf)
        with cursor.copy("COPY merkle_roots (schema_version, size, root, created, envelope) FROM STDIN") as copy:
            for root in roots:
                copy.write_row(root)


def signing_points(total: int) -> frozenset[int]:
    """Give the sizes at which the history signs: after whole scans, evenly spread, and at the end."""
    per_scan = len(makers.KINDS)
    scans = total // per_scan
    step = max(1, scans // _SIGNINGS)
    return frozenset({*(per_scan * count for count in range(step, scans + 1, step)), total})


def write_operator_files(folder: Path, *, origin: str, seed: int) -> None:
    """Write what the operator holds before an upgrade (trust.json, test-bundle.tar.gz) and what Secrets hold (keys)."""
    folder.mkdir(parents=True, exist_ok=True)
    signing, log = keys.derived_signing_key(seed), keys.derived_log_key(seed)
    trust = {
        "attestation_keys": [keys.public_pem(signing.public_key())],
        "log": {"origin": origin, "key": keys.verifier_key(origin, log.public_key())},
    }
    (folder / "trust.json").write_text(json.dumps(trust, indent=2) + "\n", encoding="utf-8")
    scan = makers.Scan(id="scan-test-bundle", image="registry.stella.test/samples/test-image:latest", created=_START)
    bundle = makers.make_evidence(scan, signing)[makers.KINDS.index("bundle")]
    (folder / "test-bundle.tar.gz").write_bytes(bundle.content)
    for name, pem in (("signing-key.pem", keys.private_pem(signing)), ("log-signing-key.pem", keys.private_pem(log))):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(pem, encoding="utf-8")


def seed_site(
    history: History, *, database_url: str, log_url: str, place: StoreSettings, origin: str, tell: Tell
) -> str:
    """Seed the site unless it holds exactly this history already; give one line about what was done.

    Raises:
        SeedError: the site holds other evidence.
        StoreError: the store did not take an object.
        psycopg.Error: the database or the log did not take the rows.

    """
    with psycopg.connect(database_url) as database, psycopg.connect(log_url) as log:
        migrations.run(database, FIRST_RELEASE, "A")
        migrations.prepare_log(log)
        if _is_seeded(database, history):
            return f"already seeded: {history.items} items"
        with Store(place) as store:
            store.ensure_bucket()
        rows = put_history(history, place, tell)
        logged = _count(log, "log_entries")
        if logged == 0:
            write_log(log, rows, origin=origin, seed=history.seed)
        elif logged != len(rows):
            raise SeedError(f"the log holds {logged} entries of another history: give the site an empty stella_log")
        write_evidence(database, rows, seed=history.seed)
        database.autocommit = True
        database.execute("ANALYZE")
    return f"seeded {len(rows)} items of {history.scans} scans"


def _is_seeded(database: Connection, history: History) -> bool:
    """Tell whether this very history is there (later evidence may follow it).

    Raises:
        SeedError: other evidence is there.

    """
    if _count(database, "evidence") == 0:
        return False
    last, _content = make_scan(history.scans - 1, history)[-1]
    row = database.execute("SELECT sha256 FROM evidence WHERE id = %s", (last.id,)).fetchone()
    if row is None or row[0] != last.sha256:
        raise SeedError("the database holds other evidence: give the site an empty database")
    return True


def _count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - a name of ours
    if row is None or not isinstance(row[0], int):
        raise SeedError(f"cannot count {table}")
    return row[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Seed from the command line; give 0, 1 where the site refuses, or 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.platform.app.seed", description=__doc__)
    parser.add_argument("--items", type=int, default=2000, help="evidence items, four a scan (default 2000)")
    parser.add_argument(
        "--object-bytes", type=int, metavar="N", help="make every item exactly this long (default: as long as it is)"
    )
    parser.add_argument("--seed", type=int, default=1, help="which history (default 1)")
    parser.add_argument("--out", type=Path, help="folder for trust.json, test-bundle.tar.gz and the signing keys")
    parser.add_argument("--files-only", action="store_true", help="write the files of --out and touch no service")
    options = parser.parse_args(arguments)
    if options.items < len(makers.KINDS) or options.items % len(makers.KINDS):
        parser.error(f"--items must be a positive multiple of {len(makers.KINDS)}")
    size_bytes: int | None = options.object_bytes
    if size_bytes is not None and not makers.MIN_SIZE_BYTES <= size_bytes <= makers.MAX_SIZE_BYTES:
        parser.error(f"--object-bytes must be {makers.MIN_SIZE_BYTES} to {makers.MAX_SIZE_BYTES}")
    history = History(scans=options.items // len(makers.KINDS), seed=options.seed, size_bytes=size_bytes)
    started = time.monotonic()
    try:
        origin = _need("LOG_ORIGIN")
        if options.out is not None:
            write_operator_files(options.out, origin=origin, seed=options.seed)
        if options.files_only:
            return 0
        database_url = _need("DATABASE_URL")
        place = StoreSettings(
            endpoint=_need("STORE_ENDPOINT").rstrip("/"),
            bucket=_need("STORE_BUCKET"),
            access_key=_need("STORE_ACCESS_KEY"),
            secret_key=_need("STORE_SECRET_KEY"),
        )
        done = seed_site(
            history,
            database_url=database_url,
            log_url=os.environ.get("LOG_DATABASE_URL") or log_database_url(database_url),
            place=place,
            origin=origin,
            tell=_tell,
        )
    except SettingsError as error:
        sys.stderr.write(f"cannot seed: {error}\n")
        return 2
    except (SeedError, StoreError, migrations.MigrationError, psycopg.Error, OSError) as error:
        sys.stderr.write(f"cannot seed: {error}\n")
        return 1
    sys.stdout.write(f"{done} in {time.monotonic() - started:.1f} s\n")
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _need(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


if __name__ == "__main__":
    sys.exit(main())
