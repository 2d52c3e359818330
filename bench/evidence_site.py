"""The measurements of `bench/evidence.py` that need a site; run inside it, started by `bench/evidence.py`.

    python -m bench.evidence_site --target FILE --rounds 3 KEY…      prints one JSON object, KEY: figure

The anchor is a plain pooled read: the same objects, by as many processes and threads as the harness uses, each with
urllib3's connection pool and botocore's signature, that only reads and throws away. Anchor and harness take turns; a
ratio is the middle of the ratios of the rounds, so that what else the machine does in a round meets both sides of it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cutover import site as sites
from cutover.evidence import snapshot, trust
from cutover.evidence.sources import EvidenceRow, RowList
from cutover.procedures import snapshots
from cutover.site.executors import workers
from cutover.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cutover.evidence.snapshot import Workers
    from cutover.site import Site

BUNDLES = 256
BUNDLE_BYTES = 4 << 20
VERIFY_RATIO = 1.25
VERIFY_S = 120.0
HASH_RATIO = 0.8
DASK_WORKERS = 2
DASK_BOUND_S = 60.0
_CHUNK_BYTES = 1 << 20
_END_BOUND_S = 15.0

Figure = dict[str, Any]


# -- the anchor ----------------------------------------------------------------------------------------------------


def read_plainly(where: dict[str, str], keys: Sequence[str], threads: int) -> int:
    """Read objects in one process and throw them away; return how many bytes they were."""
    pool = urllib3.connectionpool.connection_from_url(where["endpoint"], maxsize=threads, block=True)
    signer = S3SigV4Auth(Credentials(where["access_key"], where["secret_key"]), "s3", "us-east-1")

    def read(key: str) -> int:
        path = f"/{where['bucket']}/{quote(key, safe='/~')}"
        request = AWSRequest(method="GET", url=where["endpoint"] + path)
        signer.add_auth(request)
        answer = pool.urlopen("GET", path, headers=dict(request.headers.items()), preload_content=False)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} for {key}")
        total = 0
        while chunk := answer.read(_CHUNK_BYTES):
            total += len(chunk)
        answer.release_conn()
        return total

    with ThreadPoolExecutor(threads) as readers:
        total = sum(readers.map(read, keys))
    pool.close()
    return total


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The plain pooled read of some objects."""

    where: dict[str, str]
    processes: int
    threads: int

    @classmethod
    def of(cls, target: Target) -> Anchor:
        """Return the one that reads as many objects at a time as the harness does."""
        store = target.store
        return cls(
            where={
                "endpoint": store.endpoint.rstrip("/"),
                "bucket": store.bucket,
                "access_key": store.access_key,
                "secret_key": store.secret_key,
            },
            processes=target.evidence.workers,
            threads=target.evidence.readers,
        )

    def pool(self) -> ProcessPoolExecutor:
        """Return its processes, not yet started."""
        return ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"))

    def read(self, pool: ProcessPoolExecutor, keys: Sequence[str]) -> int:
        """Read the objects; return how many bytes they were."""
        shares = [keys[start :: self.processes] for start in range(self.processes)]
        return sum(pool.map(read_plainly, repeat(self.where), shares, repeat(self.threads)))

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"plain pooled read (urllib3, botocore's signature), {self.processes} processes of {self.threads} threads"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """How long anchor and harness took, in the middle of the rounds, and the middle of their ratios."""

    anchor_s: float
    ours_s: float
    ratio: float
    """Ours to the anchor's."""


def taking_turns(rounds: int, *, anchor: Callable[[], object], ours: Callable[[], object]) -> Turns:
    """Do the two in turn, `rounds` times."""
    took_s = []
    for number in range(rounds):
        took_s.append((_seconds(anchor), _seconds(ours)))
        print(
            f"  {number + 1}/{rounds}: anchor {took_s[-1][0]:.2f} s, ours {took_s[-1][1]:.2f} s",
            file=sys.stderr,
            flush=True,
        )
    return Turns(
        anchor_s=statistics.median(theirs for theirs, _ in took_s),
        ours_s=statistics.median(own for _, own in took_s),
        ratio=statistics.median(own / theirs for theirs, own in took_s),
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# -- the keys ------------------------------------------------------------------------------------------------------


def hash_s3(target: Target, rounds: int, folder: Path) -> Figure:
    """Read bundles of some MB each: the harness's pass over them against the anchor, both with warm processes."""
    anchor = Anchor.of(target)
    with contextlib.closing(sites.connect(target)) as site:
        rows = _bundles(site)
        keys = [row.object_key for row in rows]
        expected = sum(row.size_bytes for row in rows)
        with workers(target.evidence) as hands, anchor.pool() as plain:

            def ours() -> None:
                _examine(site, rows, folder / "hash", hands)

            def theirs() -> None:
                if anchor.read(plain, keys) != expected:
                    raise RuntimeError("the anchor did not read everything")

            ours()
            theirs()
            turns = taking_turns(2 * rounds + 1, anchor=theirs, ours=ours)
        for key in keys:
            site.store.delete(key)
    ratio = 1 / turns.ratio
    return figure(
        ratio,
        ours=expected / turns.ours_s / 1e6,
        anchor=expected / turns.anchor_s / 1e6,
        unit="MB/s",
        what=f"{BUNDLES} bundles of {BUNDLE_BYTES >> 20} MiB, ours against a {anchor}",
        bar=f"at least {HASH_RATIO} of the anchor",
        met=ratio >= HASH_RATIO,
    )


def _bundles(site: Site) -> list[EvidenceRow]:
    """Put bundles into the store; return rows that name them."""
    noise = random.Random(1)  # noqa: S311 (the same bytes in every run)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(BUNDLES):
        content = noise.randbytes(BUNDLE_BYTES)
        digest = sha256(content).hexdigest()
        key = f"bench/{number:03d}"
        site.store.put(key, content)
        rows.append(
            EvidenceRow(
                id=f"ev-{number:012d}",
                kind="bundle",
                media_type="application/gzip",
                size_bytes=len(content),
                sha256=digest,
                object_key=key,
                leaf_index=number,
                log_index=number,
                signer_key_id=None,
                created=began + timedelta(seconds=number),
            )
        )
    return rows


def _examine(site: Site, rows: list[EvidenceRow], folder: Path, hands: Workers) -> None:
    settings = site.target.evidence
    manifest = snapshot.take(
        RowList(rows),
        site.contents,
        folder,
        trust=trust.load(settings.trust_root),
        workers=hands,
        readers=settings.readers,
    )
    if manifest.findings_total or manifest.items != len(rows):
        raise RuntimeError(f"the pass refused something: {dict(manifest.findings)}")
    shutil.rmtree(folder)


def verify_site(target: Target, rounds: int, folder: Path) -> Figure:
    """Run the whole `cutover evidence verify` against the anchor's read of the same objects, starts included."""
    anchor = Anchor.of(target)
    with contextlib.closing(sites.connect(target)) as site:
        keys = [row.object_key for row in site.database.evidence_rows()]
        baseline = snapshots.take(site, folder / "baseline").folder
    command = [sys.executable, "-m", "cutover.cli", "evidence", "verify", "--target", str(target.path)]
    command += ["--baseline", str(baseline), "--out", str(folder / "verified")]

    def ours() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder / "verified")

    def theirs() -> None:
        with anchor.pool() as plain:
            anchor.read(plain, keys)

    turns = taking_turns(rounds, anchor=theirs, ours=ours)
    return figure(
        turns.ours_s,
        ours=turns.ours_s,
        anchor=turns.anchor_s,
        ratio=turns.ratio,
        unit="s",
        what=f"`evidence verify` of {len(keys):,} items against a {anchor}, of the same objects",
        bar=f"at most {VERIFY_RATIO} times the anchor, and {VERIFY_S:.0f} s",
        met=turns.ratio <= VERIFY_RATIO and turns.ours_s <= VERIFY_S,
    )


def executor(target: Target, rounds: int, folder: Path) -> Figure:
    """Take the same snapshot by local processes and by a real Dask scheduler with as many workers."""
    digests: set[str] = set()

    def taken(by: Target) -> Callable[[], None]:
        def take() -> None:
            with contextlib.closing(sites.connect(by)) as site:
                digests.add(snapshots.take(site, folder / "taken").manifest.digest)
            shutil.rmtree(folder / "taken")

        return take

    settings = dataclasses.replace(target.evidence, executor="local", workers=DASK_WORKERS)
    with cluster(folder / "dask") as address:
        turns = taking_turns(
            rounds,
            anchor=taken(dataclasses.replace(target, evidence=settings)),
            ours=taken(dataclasses.replace(target, evidence=dataclasses.replace(settings, executor=address))),
        )
    return figure(
        turns.ratio,
        ours=turns.ours_s,
        anchor=turns.anchor_s,
        local=turns.anchor_s,
        dask=turns.ours_s,
        unit="s",
        what=f"one snapshot by {DASK_WORKERS} local processes (the anchor) and by {DASK_WORKERS} Dask workers",
        bar="the same snapshot, byte for byte",
        met=len(digests) == 1,
    )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Start a Dask scheduler and its workers on loopback; yields the scheduler's address."""
    folder.mkdir()
    announced = folder / "scheduler.json"
    common = ["--scheduler-file", str(announced), "--no-dashboard"]
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    worker = ["distributed.cli.dask_worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", *common]
    worker += ["--local-directory", str(folder)]
    started: list[subprocess.Popen[bytes]] = []
    with (folder / "dask.log").open("wb") as log:
        try:
            started += (
                subprocess.Popen([sys.executable, "-m", *module], stdout=log, stderr=log)
                for module in (scheduler, *[worker] * DASK_WORKERS)
            )
            deadline = time.monotonic() + DASK_BOUND_S
            while not announced.exists() or _registered(json.loads(announced.read_text())["address"]) < DASK_WORKERS:
                if time.monotonic() > deadline or any(process.poll() is not None for process in started):
                    raise RuntimeError(f"the Dask cluster did not come up: {(folder / 'dask.log').read_text()[-2000:]}")
                time.sleep(0.2)
            yield str(json.loads(announced.read_text())["address"])
        finally:
            for process in reversed(started):  # one after the other: a worker whose scheduler goes first may never end
                process.terminate()
                try:
                    process.wait(timeout=_END_BOUND_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _registered(address: str) -> int:
    import distributed  # noqa: PLC0415 (slow to import)

    with distributed.Client(address, timeout=5, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        return len(client.nthreads())


def figure(
    value: float, *, ours: float, anchor: float, unit: str, what: str, bar: str, met: bool, **more: float
) -> Figure:
    """Return a figure as the JSON shows it, rounded to what can be told."""
    numbers = {"value": value, "ours": ours, "anchor": anchor, **more}
    return {
        **{name: float(f"{number:.4g}") for name, number in numbers.items()},
        "unit": unit,
        "what": what,
        "bar": bar,
        "met": met,
    }


KEYS: dict[str, Callable[[Target, int, Path], Figure]] = {
    "hash_s3": hash_s3,
    "verify_100k_seconds": verify_site,
    "executor": executor,
}


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("keys", nargs="+", choices=tuple(KEYS))
    arguments = parser.parse_args()
    target = Target.load(arguments.target)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", file=sys.stderr, flush=True)
    found = {}
    for key in arguments.keys:
        print(key, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
            found[key] = KEYS[key](target, arguments.rounds, Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
