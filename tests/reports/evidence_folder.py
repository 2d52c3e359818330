"""Small evidence folders as a run writes them, over the site of the evidence tests; and a page's columns, unpacked."""

from __future__ import annotations

import base64
import copy
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.evidence import snapshot, verify
from cutover.procedures import snapshots
from tests.evidence.world import TRUST, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCANS_BEFORE, SCANS_AFTER = 3, 2


def sites(tamper: Callable[[World], object] = lambda _: None) -> tuple[World, World]:
    """Make a site before an upgrade and after it, the later one tampered with."""
    before = World.of(SCANS_BEFORE)
    after = copy.deepcopy(before)
    after.scan()
    after.expand()
    after.scan()
    tamper(after)
    return before, after


def write(folder: Path, before: World, after: World) -> Path:
    """Write both snapshots, the balance and the five guarantees into a folder, and return it."""
    before.snapshot(folder / "before")
    after.snapshot(folder / "after")
    report = verify.five_guarantees(
        folder / "before", folder / "after", trust=TRUST, tree_source=after, log_source=after, new_schema=2
    )
    (folder / "diff.json").write_text(json.dumps(report.diff.as_json()), "utf-8")
    for found in report.guarantees:
        snapshots.keep_guarantee(folder / f"{found.clause}.json", found)
    return folder


# -- what a page carries, read as its script reads it ------------------------------------------------------------------


def unpack(packed: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return head and columns."""
    whole = zlib.decompress(base64.b64decode(packed))
    end = 4 + int.from_bytes(whole[:4], "little")
    head = json.loads(whole[4:end])
    columns = {}
    for name, length in head["columns"]:
        columns[name] = whole[end : end + length]
        end += length
    assert end == len(whole)
    return head, columns


def carried(page: str) -> str:
    """Return the packed text of a page."""
    found = re.search(r'<script type="application/octet-stream" id="packed">([A-Za-z0-9+/=]*)</script>', page)
    assert found is not None
    return found[1]


def items(packed: str) -> list[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """Return each item's state, its first line and, of a changed one, its second; every value as text."""
    head, columns = unpack(packed)
    ids = _ids(head, columns)
    first = _lines("first", head, columns, iter(ids))
    changed = (name for name, state in zip(ids, columns["state"], strict=True) if head["states"][state] == "changed")
    second = _lines("second", head, columns, changed)
    found = []
    for state, line in zip(columns["state"], first, strict=True):
        name = head["states"][state]
        found.append((name, line, next(second) if name == "changed" else None))
    assert next(second, None) is None
    return found


def as_text(line: snapshot.Line) -> dict[str, Any]:
    """Return a line as `items` gives it."""
    values = {name: getattr(line, name) for name in snapshot.FIELDS}
    return {
        name: value if value is None else list(value) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }


def _ids(head: dict[str, Any], columns: dict[str, bytes]) -> list[str]:
    rest = columns["id.rest"].decode("utf-8").encode("utf-16-le")
    last, at, found = b"", 0, []
    for shared, length in zip(_numbers(columns["id.shared"]), _numbers(columns["id.length"]), strict=True):
        last = last[: 2 * shared] + rest[at : at + 2 * length]
        at += 2 * length
        found.append(last.decode("utf-16-le"))
    assert len(found) == head["items"]
    return found


def _lines(name: str, head: dict[str, Any], columns: dict[str, bytes], ids: Iterator[str]) -> Iterator[dict[str, Any]]:
    rows = head[name]
    profiles = _numbers(columns[f"{name}.profile"])
    numbers = {
        field: _running(columns[f"{name}.{field}"]) for field in ("size_bytes", "leaf_index", "log_index", "created")
    }
    for row in range(rows["rows"]):
        profile = rows["profiles"][next(profiles)]
        if str(row) in rows["odd"]:
            yield {"id": next(ids), **rows["odd"][str(row)]}
            continue
        kind, media_type, declared, signers = profile
        digest = columns[f"{name}.sha256"][32 * row : 32 * row + 32].hex()
        size = str(next(numbers["size_bytes"]))
        yield {
            "id": next(ids),
            "kind": kind,
            "media_type": media_type,
            "size_bytes": size,
            "sha256": digest,
            "declared_size_bytes": size,
            "declared_sha256": digest,
            "declared_signer_key_id": declared,
            "signer_key_ids": signers,
            "leaf_index": str(next(numbers["leaf_index"])),
            "log_index": str(next(numbers["log_index"])),
            "created": _time(next(numbers["created"])),
        }


def _numbers(raw: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in raw:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def _running(raw: bytes) -> Iterator[int]:
    last = 0
    for value in _numbers(raw):
        last += -((value + 1) // 2) if value % 2 else value // 2
        yield last


def _time(microseconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
