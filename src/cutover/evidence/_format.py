"""What a snapshot is on disk: its lines, its findings, its manifest, and reading them back.

Invariants: a manifest fixes every byte of the other files by their digests; a reader learns of a changed file at the
latest when it ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cutover.evidence._json import parse_object
from cutover.evidence.errors import EvidenceError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA: Final = "cutover/evidence-snapshot/v1"
LINES: Final = "lines.jsonl"
FINDINGS: Final = "findings.jsonl"
CHECKPOINT: Final = "checkpoint.txt"
MANIFEST: Final = "manifest.json"
to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""One value as compact JSON text, the form of every line."""


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
        return to_json({name: getattr(self, name) for name in FIELDS}).encode("utf-8") + b"\n"

    @classmethod
    def decode(cls, raw: bytes) -> Line:
        """Read a line that `encode` wrote.

        Raises:
            EvidenceError: `snapshot-malformed`.

        """
        try:
            fields = json.loads(raw)
            line = cls(**(fields | {"signer_key_ids": tuple(fields["signer_key_ids"])}))
            _demand_types(line, fields["signer_key_ids"])
            if b"\\u" in raw:  # only an escape can stand for text that has no UTF-8 form
                line.encode()
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise EvidenceError("snapshot-malformed", LINES, expected="a line", actual=error) from error
        return line


FIELDS: Final = tuple(Line.__dataclass_fields__)
_NULLABLE: Final = frozenset({"size_bytes", "sha256", "declared_signer_key_id"})
_TYPES: Final = {
    name: int if name.endswith(("size_bytes", "index")) else tuple if name == "signer_key_ids" else str
    for name in FIELDS
}


def _demand_types(line: Line, signers: object) -> None:
    """Refuse what JSON can hold and a line cannot. Raises TypeError."""
    for name, kind in _TYPES.items():
        value = getattr(line, name)
        if type(value) is not kind and not (value is None and name in _NULLABLE):
            raise TypeError(f"{name} is {value!r}")
    if type(signers) is not list or not set(map(type, signers)) <= {str}:
        raise TypeError(f"signer_key_ids is {signers!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Where a snapshot ends: the newest item's time (RFC 3339 UTC; None without items), the last id, the leaves."""

    at: str | None
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

    def encode(self) -> bytes:
        """Return the finding as it stands in findings.jsonl, newline included."""
        return to_json({"kind": self.kind} | self.finding.as_json()).encode("utf-8") + b"\n"

    @classmethod
    def decode(cls, raw: bytes) -> ItemFinding:
        """Read a finding that `encode` wrote.

        Raises:
            EvidenceError: `snapshot-malformed`.

        """
        try:
            fields = json.loads(raw)
            return cls(kind=fields.pop("kind"), finding=Finding(**fields))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise EvidenceError("snapshot-malformed", FINDINGS, expected="a finding", actual=error) from error


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
        return _checked(self.folder / LINES, self.manifest.lines_digest)

    def findings(self) -> Iterator[ItemFinding]:
        """Return the refusals that the pass met, in the order of the items; raises as `lines` does."""
        return map(ItemFinding.decode, _checked(self.folder / FINDINGS, self.manifest.findings_digest))

    def files(self) -> tuple[Path, ...]:
        """Return the paths of what a snapshot consists of, whatever else is in its folder."""
        paths = (self.folder / name for name in (LINES, FINDINGS, CHECKPOINT, MANIFEST))
        return tuple(path for path in paths if path.exists())

    def checkpoint_note(self) -> bytes | None:
        """Return the log's checkpoint as signed; None when there was none.

        Where the manifest names no checkpoint, the note is one that was refused, and stands for nothing.

        Raises:
            EvidenceError: `snapshot-altered`, when it is not the one the manifest names.

        """
        path = self.folder / CHECKPOINT
        note = path.read_bytes() if path.exists() else None
        fact = self.manifest.checkpoint
        computed = "none" if note is None else f"sha256:{sha256(note).hexdigest()}"
        if fact is not None and computed != fact.note_digest:
            raise EvidenceError("snapshot-altered", CHECKPOINT, expected=fact.note_digest, actual=computed)
        return note


def load(folder: Path) -> Snapshot:
    """Open a snapshot.

    Raises:
        EvidenceError: `snapshot-malformed`, when the folder has no manifest of this schema.

    """
    code = "snapshot-malformed"
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise EvidenceError(code, folder.name, expected=MANIFEST, actual=error) from error
    fields = parse_object(raw, code=code, item=MANIFEST)
    if fields.get("schema") != SCHEMA:
        raise EvidenceError(code, MANIFEST, expected=SCHEMA, actual=fields.get("schema"))
    try:
        manifest = _manifest(dict(fields), f"sha256:{sha256(raw).hexdigest()}")
        _demand_sound(manifest)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EvidenceError(code, MANIFEST, expected="the fields of a manifest", actual=error) from error
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


def _demand_sound(manifest: Manifest) -> None:
    """Refuse what JSON can hold and a manifest cannot: other types, counts that do not agree. Raises ValueError."""
    mark, fact = manifest.watermark, manifest.checkpoint
    counts = [manifest.items, manifest.size_bytes, mark.leaves, *manifest.by_kind.values(), *manifest.findings.values()]
    texts = [manifest.trust_digest, manifest.lines_digest, manifest.findings_digest]
    if fact is not None:
        counts.append(fact.size)
        texts += [fact.origin, fact.root, fact.note_digest]
    texts += [text for text in (mark.at, mark.last_id, *manifest.roots.values()) if text is not None]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count is not a whole number")
    if not all(type(text) is str for text in texts):
        raise ValueError("a text is none")
    if not manifest.items == mark.leaves == sum(manifest.by_kind.values()):
        raise ValueError(f"{manifest.items} items, {mark.leaves} leaves, {sum(manifest.by_kind.values())} by kind")
    if (mark.last_id is None) != (manifest.items == 0):
        raise ValueError(f"{manifest.items} items, the last of them {mark.last_id}")


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
