"""Sealing a record: manifest, attestations, and last of all `seal.json`, which names them and the rendered reports.

The order has no circle: inputs → manifest → attestations → reports, which name the manifest's digest → seal. A record
that is gone on with is sealed again: the earlier seal goes to `seals/N/` first, with what it signed (manifest,
attestations, verdict and PDF), and the new manifest names its digest.
Invariants: `seal.json` is written last and whole, so that a record is sealed or it is not; before anything is changed
that a seal names, the seal is set aside; an earlier seal is never written over; without a signer the seal says that it
is unsigned.

File: `{"schema": "cutover/seal/v1", "statement": an in-toto Statement v1, "signature": {"kind": "key", "envelope": …},
{"kind": "sigstore", "bundle": …} or {"kind": "none", "why": …}}`; the envelope's payload is the statement in RFC 8785.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import rfc8785

from cutover import files
from cutover.clock import rfc3339
from cutover.errors import WrongInput
from cutover.evidence._json import parse_object
from cutover.evidence.errors import EvidenceError
from cutover.record import again, signer, statements
from cutover.record.manifest import (
    ATTESTATIONS,
    FILE,
    SEAL,
    SEALS,
    Item,
    Manifest,
    clear_leftovers,
    digest_of,
    inputs,
    item_of,
    items_of,
    rendered,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from cutover.record.signer import Signer

SCHEMA: Final = "cutover/seal/v1"
PREDICATE_TYPE: Final = "https://cutover.stellaops.io/record-seal/v1"
KEPT: Final = (again.VERDICT, "report.pdf")
"""What an earlier seal's folder keeps besides its own files: later attempts make these anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a seal names, and its signature."""

    record: str
    number: int
    sealed_at: str
    manifest: str
    """Its digest."""
    previous: str
    """The digest of the seal before; empty for the first."""
    signed_by: str
    """Who says to have signed it; what holds is its signature alone."""
    files: Mapping[str, Item]
    """Attestations and reports."""
    signature: Mapping[str, Any]

    @property
    def is_signed(self) -> bool:
        """Whether there is a signature, whatever it is worth."""
        return self.signature.get("kind") != signer.NONE

    @property
    def statement(self) -> bytes:
        """What is signed, in RFC 8785."""
        return rfc8785.dumps(self._statement())

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return written({"schema": SCHEMA, "statement": self._statement(), "signature": dict(self.signature)})

    def _statement(self) -> dict[str, Any]:
        named = {FILE: self.manifest, **{name: self.files[name].sha256 for name in sorted(self.files)}}
        return {
            "_type": statements.STATEMENT,
            "subject": [
                {"name": f"{self.record}/{name}", "digest": {"sha256": digest.removeprefix("sha256:")}}
                for name, digest in named.items()
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "record": self.record,
                "number": self.number,
                "sealedAt": self.sealed_at,
                "signedBy": self.signed_by,
                "manifest": self.manifest,
                "previous": self.previous or None,
                "files": {name: self.files[name].document() for name in sorted(self.files)},
            },
        }

    @staticmethod
    def parse(raw: bytes) -> Seal:
        """Read a seal from its file's bytes. Raises EvidenceError: it is none, or in another form than written."""
        document = parse_object(raw, code="manifest-malformed", item=SEAL)
        try:
            said: Any = document["statement"]
            predicate = said["predicate"]
            found = Seal(
                record=str(predicate["record"]),
                number=int(predicate["number"]),
                sealed_at=str(predicate["sealedAt"]),
                manifest=str(predicate["manifest"]),
                previous=predicate["previous"] or "",
                signed_by=str(predicate["signedBy"]),
                files=items_of(predicate["files"]),
                signature=dict(document["signature"]),  # type: ignore[call-overload]  # caught below
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            seen = f"{type(problem).__name__}: {problem}"
            raise EvidenceError("manifest-malformed", SEAL, expected="a record's seal", actual=seen) from problem
        if found.content != raw:
            raise EvidenceError("manifest-malformed", SEAL, expected="the form it is written in", actual="another")
        return found


# -- sealing -----------------------------------------------------------------------------------------------------------


def set_aside(folder: Path) -> int:
    """Move a record's seal to `seals/N/`, with what it signed; return how many earlier seals there are now.

    Repeatable after a kill at any point. A record without a seal stays as it is. Raises OSError.
    """
    top, place = folder / SEAL, folder / SEALS
    numbers = _numbers(folder)
    if not top.is_file():
        return len(numbers)
    content = top.read_bytes()
    if not numbers or (place / str(numbers[-1]) / SEAL).read_bytes() != content:
        number = len(numbers) + 1
        partial = place / f".{number}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in (FILE, SEAL, *KEPT):
            if (folder / name).is_file():
                shutil.copy2(folder / name, partial / name)
        if (folder / ATTESTATIONS).is_dir():
            shutil.copytree(folder / ATTESTATIONS, partial / ATTESTATIONS)
        partial.rename(place / str(number))
        numbers.append(number)
    top.unlink()
    return len(numbers)


def _numbers(folder: Path) -> list[int]:
    place = folder / SEALS
    return sorted(int(one.name) for one in place.iterdir() if one.name.isdigit()) if place.is_dir() else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A record whose inputs are complete: its manifest and its attestations are written, its reports may be made."""

    folder: Path
    manifest: Manifest
    attestations: tuple[str, ...]
    """Their file names; empty where nobody signs."""
    by: Signer | None

    def close(self, *, at: datetime, why_unsigned: str = signer.UNSIGNED) -> Seal:
        """Write the seal over manifest, attestations and reports as they are now. Raises OSError, CouldNotMeasure."""
        seal = Seal(
            record=self.manifest.record,
            number=self.manifest.number,
            sealed_at=rfc3339(at),
            manifest=self.manifest.digest,
            previous=self.manifest.previous,
            signed_by=self.by.name if self.by is not None else "",
            files=rendered(self.folder),
            signature={"kind": signer.NONE, "why": why_unsigned},
        )
        if self.by is not None:
            signed = self.by.sign(seal.statement)
            seal = replace(seal, signature=signer.document_of(signed, self.by.kind))
        files.write_whole(self.folder / SEAL, seal.content)
        return seal


def prepare(folder: Path, by: Signer | None) -> Prepared:
    """Set an earlier seal aside, and write the manifest and the attestations of a record whose inputs are complete.

    Raises JournalBroken, CouldNotMeasure: the journal is no run's, or a signature cannot be had. WrongInput: there is
    no verdict. OSError.
    """
    earlier = set_aside(folder)
    if not (folder / again.VERDICT).is_file():
        raise WrongInput(
            f"the record {folder} has no verdict, and cannot be sealed",
            code="record-incomplete",
            seen=f"no {again.VERDICT}: the run was broken off",
            do="go on with it: ./cutover resume",
        )
    clear_leftovers(folder)
    again.keep_catalogue(folder)
    judged = again.compute(folder)
    last = folder / SEALS / str(earlier) / SEAL
    manifest = Manifest(
        record=str(judged.document["upgrade"]["id"]),
        number=earlier + 1,
        previous=digest_of(last.read_bytes()) if earlier else "",
        journal_entries=len(judged.entries),
        journal_head=judged.entries[-1].digest,
        files=inputs(folder),
    )
    files.write_whole(folder / FILE, manifest.content)
    shutil.rmtree(folder / ATTESTATIONS, ignore_errors=True)
    names = []
    if by is not None:
        (folder / ATTESTATIONS).mkdir()
        for name, statement in sorted(statements.make(judged, manifest).items()):
            signed = folder / ATTESTATIONS / f"{name}{signer.SUFFIXES[by.kind]}"
            files.write_whole(signed, by.sign(statement) + b"\n")
            names.append(signed.name)
    return Prepared(folder=folder, manifest=manifest, attestations=tuple(names), by=by)


def is_current(folder: Path) -> bool:
    """Whether a record's seal names every file as it is now; says nothing of signatures. Raises OSError."""
    try:
        seal = Seal.parse((folder / SEAL).read_bytes())
        manifest = Manifest.parse((folder / FILE).read_bytes())
    except (FileNotFoundError, EvidenceError):
        return False
    return (
        seal.manifest == manifest.digest
        and dict(seal.files) == rendered(folder)
        and dict(manifest.files) == inputs(folder)
    )


def digest_of_record(folder: Path) -> str:
    """Return the digest of a record's manifest, `sha256:<hex>`; empty while there is none. Raises OSError."""
    path = folder / FILE
    return item_of(path).sha256 if path.is_file() else ""
