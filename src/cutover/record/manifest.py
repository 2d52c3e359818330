"""The manifest: every file that a record was made from, with size and SHA-256; and which files are made from those.

`manifest.json` names the inputs: verdict, journal, plan, policy, gates, load, evidence, artifacts, approvals, JUnit,
Allure's results, and earlier seals. What is rendered from them (`RENDERED`) names the manifest's digest, and so cannot
be in it: `seal.json` names those.
Invariants: every file of a record is an input, rendered, or one of the seal's own; the same files give the same bytes;
a manifest in another form than it is written in was changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cutover.errors import CouldNotMeasure
from cutover.evidence._json import parse_object
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA: Final = "cutover/manifest/v1"
FILE: Final = "manifest.json"
SEAL: Final = "seal.json"
ATTESTATIONS: Final = "attestations"
SEALS: Final = "seals"
"""The folder of earlier seals, `1/`, `2/` and so on."""
RENDERED: Final = ("summary.md", "report.html", "report.pdf", "allure-report")
"""Files and folders that are made from a record, and may be made again."""

_LEFTOVER: Final = re.compile(r"\..+\.(?:part|partial)")
"""What a killed process left of a file that it was writing; nobody was ever told that it is there."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file."""

    size_bytes: int
    sha256: str
    """`sha256:<hex>`."""

    def document(self) -> dict[str, Any]:
        """Return it as a manifest and a seal have it."""
        return {"size": self.size_bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a record was made from."""

    record: str
    """The upgrade's id."""
    number: int
    """Of the seal that it is made for, from 1."""
    previous: str
    """The digest of the seal before; empty for the first."""
    journal_entries: int
    journal_head: str
    files: Mapping[str, Item]
    """By path, `/` between folders."""

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return written(
            {
                "schema": SCHEMA,
                "record": self.record,
                "number": self.number,
                "previous": {"file": f"{SEALS}/{self.number - 1}/{SEAL}", "sha256": self.previous}
                if self.previous
                else None,
                "journal": {"entries": self.journal_entries, "head": self.journal_head},
                "files": {name: self.files[name].document() for name in sorted(self.files)},
            }
        )

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the file's bytes: what attestations and reports name the record by."""
        return digest_of(self.content)

    @staticmethod
    def parse(raw: bytes) -> Manifest:
        """Read a manifest from its file's bytes. Raises EvidenceError: it is none, or in another form than written."""
        document = parse_object(raw, code="manifest-malformed", item=FILE)
        try:
            previous, journal = document["previous"], document["journal"]
            found = Manifest(
                record=str(document["record"]),
                number=int(document["number"]),  # type: ignore[call-overload]  # what is no number is caught below
                previous=previous["sha256"] if previous else "",  # type: ignore[index]
                journal_entries=int(journal["entries"]),  # type: ignore[index]
                journal_head=str(journal["head"]),  # type: ignore[index]
                files=items_of(document["files"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            seen = f"{type(problem).__name__}: {problem}"
            raise EvidenceError("manifest-malformed", FILE, expected="a record's manifest", actual=seen) from problem
        if found.content != raw:
            raise EvidenceError("manifest-malformed", FILE, expected="the form it is written in", actual="another")
        return found


def items_of(document: object) -> dict[str, Item]:
    """Read the files that a manifest or a seal names. Raises KeyError, TypeError, ValueError, AttributeError."""
    found = {}
    for name, fact in document.items():  # type: ignore[attr-defined]  # what has no items is caught by the caller
        if not is_inside(name) or not _DIGEST.fullmatch(fact["sha256"]):
            raise ValueError(f"{name!r} names no file of a record")
        found[str(name)] = Item(size_bytes=int(fact["size"]), sha256=fact["sha256"])
    return found


def is_inside(name: str) -> bool:
    """Whether a name leads into the folder and nowhere else."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and str(path) == name


def inputs(folder: Path) -> dict[str, Item]:
    """Return every file that the record was made from.

    Raises CouldNotMeasure: there is something in it that is no file. OSError.
    """
    return {name: item for name, item in everything(folder).items() if is_input(name)}


def rendered(folder: Path) -> dict[str, Item]:
    """Return every file that was made from the record, and every attestation; raises as `inputs` does."""
    names = (*RENDERED, ATTESTATIONS)
    return {name: item for name, item in everything(folder).items() if PurePosixPath(name).parts[0] in names}


def is_input(name: str) -> bool:
    """Whether the manifest names a file of the record."""
    return PurePosixPath(name).parts[0] not in {*RENDERED, ATTESTATIONS, FILE, SEAL}


def everything(folder: Path) -> dict[str, Item]:
    """Return every file of a record, in the order of their paths; raises as `inputs` does."""
    return {name: item_of(path) for name, path in paths(folder)}


def paths(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file's name and path, in the order of the names.

    Raises CouldNotMeasure: a link, or anything else that is neither a file nor a folder. OSError.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise CouldNotMeasure(
                f"the record {folder.name} holds something that is no file",
                code="record-link",
                seen=name,
                do="put the file itself there: a record is complete in its folder",
            )
        if path.is_file():
            yield name, path


def item_of(path: Path) -> Item:
    """Return a file's size and digest, read once. Raises OSError."""
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
        return Item(size_bytes=stream.tell(), sha256=f"sha256:{digest}")


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written. Raises OSError."""
    for path in sorted(folder.rglob(".*")):
        if _LEFTOVER.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()


def written(document: Mapping[str, Any]) -> bytes:
    """Return a document as the record's own files are written: indented, in UTF-8, with a line's end."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>`."""
    return "sha256:" + sha256(content).hexdigest()
