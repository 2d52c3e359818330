"""The measurements of `bench/evidence.py` that need no site: hashing, signatures, Merkle roots, diffs.

`measure` takes anchor and harness in turns; a ratio is the middle of the ratios of the rounds, so that what else the
machine does in a round meets both sides of it. What runs in one process is measured in its CPU time, the rest in time.
"""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from hashlib import file_digest, sha256
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import generated
from bench.evidence_site import figure
from cutover.evidence import dsse, merkle
from cutover.evidence import trust as trusts
from cutover.evidence._examine import Recipe, examine
from cutover.evidence.snapshot import ATTESTATION_TYPE, verify_attestation
from cutover.evidence.sources import EvidenceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Figures = dict[str, dict[str, Any]]

BUNDLES = 32
BUNDLE_BYTES = 8 << 20
ENVELOPES = 4000
PAYLOAD_BYTES = 600
LEAVES = 1_000_000
LINES = 1_000_000
CHANGED_EVERY = 20  # so that both sizes of diff have as many changed items as a diff names, and more
CHUNK_BYTES = 1 << 16
KEY = ec.derive_private_key(20270401, ec.SECP256R1())
LOG_KEY = "log.stella.test+f86b6163+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"

DIFF = """
import json, sys, time
from pathlib import Path
from cutover.evidence import diff
started, cpu_started = time.perf_counter(), time.process_time()
found = diff.compare(Path(sys.argv[1]), Path(sys.argv[2])) if len(sys.argv) > 1 else None
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak_mb = int(status["VmHWM"].split()[0]) / 1024  # ru_maxrss would count what the starting process had
unchanged = found.unchanged if found else 0
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "mb": peak_mb, "unchanged": unchanged}))
"""


def measure(rounds: int = 5) -> Figures:
    """Measure every key that needs no site."""
    with tempfile.TemporaryDirectory(prefix="bench-evidence-") as temporary, ExitStack() as stack:
        one, two = (stack.enter_context(_pool(count)) for count in (1, 2))
        return {
            **hashing(Path(temporary), rounds, one, two),
            **signatures(rounds, one, two),
            **merkle_root(rounds),
            **diffs(Path(temporary), rounds),
        }


# -- hashing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """A folder of files as a source of contents."""

    folder: Path

    def open(self, key: str) -> Iterator[bytes]:
        """Return a file in chunks."""
        with (self.folder / key).open("rb", buffering=0) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def hashing(temporary: Path, rounds: int, one: ProcessPoolExecutor, two: ProcessPoolExecutor) -> Figures:
    """Hash bundles of 8 MiB in local files: the snapshot's own work on a batch, against the standard library's."""
    folder = temporary / "bundles"
    folder.mkdir()
    rows = [_bundle(folder, number) for number in range(BUNDLES)]
    recipe = Recipe(contents=Files(folder), trust=trusts.parse(_trust_file()), blob_key=None, readers=1)
    pickled = pickle.dumps(recipe)
    megabytes = BUNDLES * BUNDLE_BYTES / 1e6

    def anchor() -> None:
        for row in rows:
            with (folder / row.object_key).open("rb") as stream:
                assert file_digest(stream, "sha256").hexdigest() == row.sha256

    def ours() -> None:
        assert not any(item.findings for item in examine(pickled, rows))

    def spread(pool: ProcessPoolExecutor) -> None:
        batches = [rows[start : start + 4] for start in range(0, BUNDLES, 4)]
        for examined in pool.map(partial(examine, pickled), batches):
            assert not any(item.findings for item in examined)

    alone = turns(rounds, anchor, ours)
    cores = turns(rounds, partial(spread, one), partial(spread, two), clock=time.perf_counter)
    unit = "MB/s"
    return {
        "hash_local_per_core": _ratio(
            alone, megabytes, unit, 0.9, what="bundles of 8 MiB in files, against hashlib.file_digest, one process"
        ),
        "hash_local_two_cores": _ratio(cores, megabytes, unit, 1.8, what="the same in two processes against one"),
    }


def _bundle(folder: Path, number: int) -> EvidenceRow:
    """Write a file that no two bundles share, and return its row."""
    key = f"bundle-{number}"
    block = sha256(b"%d" % number).digest()
    content = block * (BUNDLE_BYTES // len(block))
    (folder / key).write_bytes(content)
    return EvidenceRow(
        id=f"ev-{number:012d}",
        kind="bundle",
        media_type="application/gzip",
        size_bytes=len(content),
        sha256=sha256(content).hexdigest(),
        object_key=key,
        leaf_index=number,
        log_index=number,
        signer_key_id=None,
        created=datetime(2027, 4, 1, tzinfo=UTC),
    )


# -- signatures -------------------------------------------------------------------------------------------------------


def signatures(rounds: int, one: ProcessPoolExecutor, two: ProcessPoolExecutor) -> Figures:
    """Verify distinct attestations of about 1 KiB, envelope and all, against the bare verification of a signature."""
    envelopes = [_envelope(number) for number in range(ENVELOPES)]
    trust_file = _trust_file()
    key, bare = KEY.public_key(), []
    for raw in envelopes:
        fields = json.loads(raw)
        message = dsse.pae(fields["payloadType"], base64.b64decode(fields["payload"]))
        bare.append((base64.b64decode(fields["signatures"][0]["sig"]), message))

    def anchor() -> None:
        for signature, message in bare:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))  # as the library's documentation writes it

    def spread(pool: ProcessPoolExecutor) -> None:
        batches = [envelopes[start : start + 250] for start in range(0, ENVELOPES, 250)]
        assert sum(pool.map(partial(verify_all, trust_file), batches)) == ENVELOPES

    alone = turns(rounds, anchor, lambda: verify_all(trust_file, envelopes))
    cores = turns(rounds, partial(spread, one), partial(spread, two), clock=time.perf_counter)
    what = f"attestations of {len(envelopes[0])} bytes against ECDSA P-256 of `cryptography`, one process"
    return {
        "signature_per_core": _ratio(alone, ENVELOPES, "1/s", 0.9, what=what),
        "signature_two_cores": _ratio(cores, ENVELOPES, "1/s", 1.8, what="the same in two processes against one"),
    }


def verify_all(trust_file: bytes, envelopes: Sequence[bytes]) -> int:
    """Verify attestations, or raise; return how many. Runs in worker processes."""
    keys = _key_ring(trust_file)
    for raw in envelopes:
        verify_attestation(raw, keys, item="attestation")
    return len(envelopes)


@lru_cache(maxsize=1)
def _key_ring(trust_file: bytes) -> dsse.KeyRing:
    return dsse.KeyRing(trusts.parse(trust_file).attestation_keys)


def _envelope(number: int) -> bytes:
    payload = rfc8785.dumps({"_type": "https://in-toto.io/Statement/v1", "filler": "x" * PAYLOAD_BYTES, "n": number})
    signature = KEY.sign(dsse.pae(ATTESTATION_TYPE, payload), ec.ECDSA(hashes.SHA256()))
    entry = {"keyid": dsse.key_id(KEY.public_key()), "sig": base64.b64encode(signature).decode()}
    fields = {"payload": base64.b64encode(payload).decode(), "payloadType": ATTESTATION_TYPE, "signatures": [entry]}
    return rfc8785.dumps(fields)  # type: ignore[arg-type]  # it is JSON


def _trust_file() -> bytes:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return json.dumps(
        {"attestation_keys": [public.decode()], "log": {"origin": "log.stella.test", "key": LOG_KEY}}
    ).encode()


# -- Merkle roots -----------------------------------------------------------------------------------------------------


def merkle_root(rounds: int) -> Figures:
    """Compute the root over a million leaf hashes, against the bare hashes of its nodes."""
    leaves = [sha256(b"%d" % number).digest() for number in range(LEAVES)]

    def anchor() -> None:
        level = leaves
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            odd = level[len(level) & ~1 :]
            level = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
        assert level == [root]

    def ours() -> None:
        assert merkle.root_hash(iter(leaves)) == root

    root = merkle.root_hash(leaves)
    times = turns(rounds, anchor, ours)
    what = "the root over 1,000,000 leaf hashes from an iterator, against hashlib over lists of them"
    return {"merkle_root": _ratio(times, LEAVES, "leaves/s", 0.8, what=what)}


# -- diffs ------------------------------------------------------------------------------------------------------------


def diffs(temporary: Path, rounds: int) -> Figures:
    """Compare two snapshots of a million items, one in twenty changed, missing, added; and of a tenth of that."""
    small, large = (_two_snapshots(temporary, count) for count in (LINES // 10, LINES))
    runs = [(_diff(), _diff(*small), _diff(*large), _plain_read(large)) for _ in range(rounds)]
    assert all(run["unchanged"] == LINES - 2 * LINES // CHANGED_EVERY for _, _, run, _ in runs)

    def middle(position: int, name: str) -> float:
        return median(run[position][name] for run in runs)

    seconds, peak_mb = middle(2, "seconds"), middle(2, "mb")
    time_ratio = median(run[2]["cpu_seconds"] / run[1]["cpu_seconds"] for run in runs)
    memory_ratio = peak_mb / middle(1, "mb")
    return {
        "diff_1m_seconds": figure(
            seconds,
            ours=seconds,
            anchor=middle(3, "seconds"),
            unit="s",
            what="1,000,000 against 1,000,000 lines; the anchor only reads and hashes the two files",
            bar="at most 5 s",
            met=seconds <= 5,
        ),
        "diff_1m_mb": figure(
            peak_mb,
            ours=peak_mb,
            anchor=middle(0, "mb"),
            unit="MB",
            what="peak memory of a process of its own; the anchor is the same process without a diff",
            bar="at most 200 MB",
            met=peak_mb <= 200,
        ),
        "diff_10x_time": figure(
            time_ratio,
            ours=middle(2, "cpu_seconds"),
            anchor=middle(1, "cpu_seconds"),
            unit="s",
            what="CPU time of the diff, 1,000,000 against 100,000 lines",
            bar="at most 11 times",
            met=time_ratio <= 11,
        ),
        "diff_10x_memory": figure(
            memory_ratio,
            ours=peak_mb,
            anchor=middle(1, "mb"),
            unit="MB",
            what="peak memory, 1,000,000 against 100,000 lines",
            bar="at most 1.1 times",
            met=memory_ratio <= 1.1,
        ),
    }


def _two_snapshots(temporary: Path, count: int) -> tuple[str, str]:
    before = generated.Items(end=count)
    after = generated.Items(
        end=count + count // CHANGED_EVERY, missing_every=CHANGED_EVERY, changed_every=CHANGED_EVERY
    )
    paths = temporary / f"before-{count}", temporary / f"after-{count}"
    for path, items in zip(paths, (before, after), strict=True):
        generated.write(path, items.lines())
    return str(paths[0]), str(paths[1])


def _diff(*folders: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", DIFF, *folders], check=True, text=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _plain_read(folders: tuple[str, str]) -> dict[str, float]:
    started = time.perf_counter()
    for folder in folders:
        with Path(folder, "lines.jsonl").open("rb") as stream:
            file_digest(stream, "sha256")
    return {"seconds": time.perf_counter() - started}


# -- taking turns -----------------------------------------------------------------------------------------------------


def turns(
    rounds: int, *works: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> list[tuple[float, ...]]:
    """Return the seconds of each work, a tuple a round, after a round that does not count."""
    return [tuple(_seconds(work, clock) for work in works) for _ in range(rounds + 1)][1:]


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


def _ratio(times: list[tuple[float, ...]], amount: float, unit: str, least: float, *, what: str) -> dict[str, Any]:
    """Return a figure of rates, ours as a share of the anchor's; `times` are (anchor, ours) a round."""
    value = median(anchor / ours for anchor, ours in times)
    return figure(
        value,
        ours=amount / median(ours for _, ours in times),
        anchor=amount / median(anchor for anchor, _ in times),
        unit=unit,
        what=what,
        bar=f"at least {least} of the anchor",
        met=value >= least,
    )


def _pool(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))
