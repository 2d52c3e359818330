"""Verifying a record: offline, with the record's folder and a trust root and nothing else.

Two questions, kept apart. Is the folder what was sealed, by somebody whom the reader trusts: seal, manifest, every
file, attestations, PDF signature, earlier seals. And does it follow from itself: journal, verdict, inventory,
approvals, gates, evidence (`contents`).
Invariants: nothing is written and nothing is asked of a network; every check is made, whatever the others found; a
record without a signature by the trust root's keys or identities is never called verified; each reason names the file
and the line or field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cutover.errors import CouldNotMeasure, WrongInput
from cutover.evidence.errors import EvidenceError
from cutover.record import again, contents, signatures, signer, statements
from cutover.record.findings import Check
from cutover.record.manifest import (
    ATTESTATIONS,
    FILE,
    SEAL,
    SEALS,
    Item,
    Manifest,
    digest_of,
    is_input,
    item_of,
    paths,
)
from cutover.record.seal import KEPT, Seal
from cutover.runbook.records import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.record.again import Again
    from cutover.record.keys import TrustRoot

_PDF: Final = "report.pdf"
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What verifying a record came to."""

    folder: Path
    record: str
    """The upgrade's id; empty where nothing says it."""
    result: str
    """The upgrade's own result, as its journal gives it; says nothing of the record."""
    signed_by: str
    """Whom the trust root knows the signer as; empty where no signature holds."""
    sealed_at: str
    """As the signer says; empty where no signature holds."""
    digest: str
    """Of the manifest, `sha256:<hex>`."""
    notice: str
    """Of the trust root."""
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, and somebody trusted signed it."""
        return bool(self.signed_by) and all(check.holds for check in self.checks)


def verify(folder: Path, trust: TrustRoot, *, now: datetime | None = None) -> Verified:
    """Verify the record in a folder. Raises WrongInput: it holds no record."""
    if not any((folder / name).is_file() for name in (JOURNAL, again.VERDICT, FILE, SEAL)):
        raise WrongInput(
            f"{folder} holds no record",
            code="record-missing",
            seen=f"neither {SEAL} nor {FILE} nor {JOURNAL}" if folder.is_dir() else "no such folder",
            do="give the folder of one upgrade, as in records/2026-11-23-0412",
        )
    work = _Verification(folder=folder, trust=trust, now=now or datetime.now(UTC))
    return work.run()


@dataclass(slots=True, kw_only=True)
class _Verification:
    """One record while it is verified."""

    folder: Path
    trust: TrustRoot
    now: datetime
    seal: Seal | None = None
    manifest: Manifest | None = None
    signed_by: str = ""

    def run(self) -> Verified:
        """Make every check, in the order of the table."""
        checks = {
            name: Check(name=name, title=title)
            for name, title in (
                ("seal", "Seal and its signature"),
                ("files", "Every file, by its digest"),
                ("earlier", "Earlier seals"),
                ("journal", "Journal's hash chain"),
                ("verdict", "Verdict, computed again"),
                ("inventory", "Plan and inventory"),
                ("before", "Upgrade before this one"),
                ("approvals", "Approvals' signatures"),
                ("gates", "Gates, judged again"),
                ("evidence", "Evidence, roots computed again"),
                ("attestations", "Attestations"),
                ("pdf", "PDF signature"),
            )
        }
        self._read_seal(checks["seal"])
        self._files(checks["files"])
        self._earlier(checks["earlier"])
        entries = contents.journal(checks["journal"], self.folder)
        judged = contents.verdict(checks["verdict"], self.folder, entries) if entries else None
        if judged is not None:
            contents.inventory(checks["inventory"], self.folder, judged)
            contents.inputs(checks["inventory"], self.folder, entries)
        contents.before(checks["before"], self.folder, entries)
        contents.approvals(checks["approvals"], self.folder, entries)
        contents.gates(checks["gates"], self.folder, entries)
        contents.evidence(checks["evidence"], self.folder, entries)
        self._attestations(checks["attestations"], judged)
        self._pdf(checks["pdf"])
        if not entries:
            for name in ("verdict", "inventory", "before", "approvals", "gates", "evidence"):
                checks[name].absent = "not computed: the journal does not hold"
        record = self.manifest.record if self.manifest else str(judged.document["upgrade"]["id"]) if judged else ""
        return Verified(
            folder=self.folder,
            record=record,
            result=judged.verdict.outcome.value if judged else "",
            signed_by=self.signed_by,
            sealed_at=self.seal.sealed_at if self.seal and self.signed_by else "",
            digest=self.manifest.digest if self.manifest else "",
            notice=self.trust.notice,
            checks=tuple(checks.values()),
        )

    # -- the seal ------------------------------------------------------------------------------------------------------

    def _read_seal(self, check: Check) -> None:
        try:
            self.seal = Seal.parse((self.folder / SEAL).read_bytes())
        except OSError:
            check.refuse(SEAL, "seal-missing", self._why_unsealed())
        except EvidenceError as problem:
            check.refuse(SEAL, "seal-changed", f"expected {problem.expected}, found {problem.actual}")
        found = ""
        try:
            raw = (self.folder / FILE).read_bytes()
            found = digest_of(raw)
            self.manifest = Manifest.parse(raw)
        except OSError:
            check.refuse(FILE, "manifest-missing", "there is no such file")
        except EvidenceError as problem:
            check.refuse(FILE, "manifest-changed", f"expected {problem.expected}, found {problem.actual}")
        if self.seal is not None:
            self._compare(check, self.seal, found)
            self.signed_by = signatures.signer_of(check, SEAL, self.seal, self.trust)
        if self.seal is not None and self.signed_by:
            check.seen = f"seal {self.seal.number}, {self.seal.sealed_at}, signed by {self.signed_by}"

    def _compare(self, check: Check, seal: Seal, found: str) -> None:
        """Compare a seal with the manifest, whose digest was found."""
        if found and found != seal.manifest:
            check.refuse(FILE, "manifest-changed", f"its digest is {found}; the seal says {seal.manifest}")
        for name in ("record", "number", "previous") if self.manifest is not None else ():
            said, other = getattr(seal, name), getattr(self.manifest, name)
            if said != other:
                check.refuse(SEAL, "seal-differs", f"it says {said!r}; the manifest {other!r}", where=name)

    def _why_unsealed(self) -> str:
        numbers = _numbers(self.folder)
        why = "the record is not sealed"
        if numbers:
            why += f": it was gone on with after seal {numbers[-1]}, and the attempt has not ended"
        return why

    # -- the files -----------------------------------------------------------------------------------------------------

    def _files(self, check: Check) -> None:
        found = {name: item_of(path) for name, path in self._there(check).items()}
        named: dict[str, tuple[Item, str]] = {}
        if self.manifest is not None:
            named |= {name: (item, FILE) for name, item in self.manifest.files.items()}
        if self.seal is not None:
            named |= {name: (item, SEAL) for name, item in self.seal.files.items()}
        by_digest = {item.sha256: name for name, (item, _) in named.items()}
        for name, (item, by) in named.items():
            if name not in found:
                check.refuse(name, "file-missing", f"it is not there; {by} names it")
            elif found[name] != item:
                check.refuse(name, "file-changed", _how_changed(item, found[name], name, by_digest))
        for name, item in found.items():
            if name not in named and self._is_claimed(name):
                same = f"; it holds what {by_digest[item.sha256]} was sealed with" if item.sha256 in by_digest else ""
                check.refuse(name, "file-added", f"nothing that was sealed names it{same}")
        size = sum(item.size_bytes for item in found.values())
        check.seen = f"{len(named)} files, {size / _MEGABYTE:.1f} MB"
        if self.manifest is None and self.seal is None:
            check.refuse(FILE, "nothing-sealed", "neither a manifest nor a seal names any file")

    def _there(self, check: Check) -> dict[str, Path]:
        """Return every file of the folder; a link is a reason, and what it leads to is not looked at."""
        try:
            return dict(paths(self.folder))
        except CouldNotMeasure as problem:
            check.refuse(problem.seen, "record-link", problem.message)
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and not path.is_symlink())
        return {path.relative_to(self.folder).as_posix(): path for path in files}

    def _is_claimed(self, name: str) -> bool:
        """Whether what ought to name a file was read: a file is only added where its list is whole."""
        if name in {FILE, SEAL}:
            return False
        return (self.manifest if is_input(name) else self.seal) is not None

    # -- earlier seals -------------------------------------------------------------------------------------------------

    def _earlier(self, check: Check) -> None:
        numbers = _numbers(self.folder)
        if not numbers:
            check.absent = "the record was sealed once"
            if self.manifest is not None and (self.manifest.number != 1 or self.manifest.previous):
                check.refuse(FILE, "seal-missing", f"it follows on seal {self.manifest.number - 1}", where="previous")
            return
        before = ""
        for number in range(1, numbers[-1] + 1):
            before = self._one_earlier(check, number, before)
        last = self.manifest.previous if self.manifest is not None else before
        if self.seal is not None and before and last != before:
            what = f"it follows on {last or 'no seal'}; seal {numbers[-1]} has the digest {before}"
            check.refuse(FILE, "seal-chain", what, where="previous")
        if self.seal is not None and self.seal.number != numbers[-1] + 1:
            what = f"it is number {self.seal.number}; there are {numbers[-1]} before it"
            check.refuse(SEAL, "seal-chain", what, where="number")
        check.seen = f"{len(numbers)} before, and the journal goes on from each"

    def _one_earlier(self, check: Check, number: int, before: str) -> str:
        """Verify one earlier seal, and that the journal still begins as it had it; return the seal's digest."""
        place = f"{SEALS}/{number}"
        folder = self.folder / place
        try:
            raw, content = (folder / SEAL).read_bytes(), (folder / FILE).read_bytes()
            seal, manifest = Seal.parse(raw), Manifest.parse(content)
        except OSError as problem:
            check.refuse(f"{place}/{SEAL}", "seal-missing", f"it cannot be read: {problem.strerror}")
            return ""
        except EvidenceError as problem:
            what = f"expected {problem.expected}, found {problem.actual}"
            check.refuse(f"{place}/{problem.item}", "seal-changed", what)
            return ""
        if seal.is_signed:  # one that nobody signed is vouched for by whoever signed a later one over it
            signatures.signer_of(check, f"{place}/{SEAL}", seal, self.trust)
        if seal.manifest != digest_of(content) or (seal.number, manifest.number) != (number, number):
            check.refuse(f"{place}/{FILE}", "manifest-changed", f"it is not what seal {number} names")
        if before and (seal.previous, manifest.previous) != (before, before):
            what = f"it follows on {manifest.previous or 'no seal'}; seal {number - 1} has the digest {before}"
            check.refuse(f"{place}/{FILE}", "seal-chain", what, where="previous")
        wanted = {name: item for name, item in seal.files.items() if PurePosixPath(name).parts[0] == ATTESTATIONS}
        wanted |= {
            name: item
            for name in KEPT
            if (item := {**manifest.files, **seal.files}.get(name)) and (folder / name).exists()
        }
        for name, item in wanted.items():
            path = folder / name
            if not path.is_file() or item_of(path) != item:
                check.refuse(f"{place}/{name}", "file-changed", f"it is not what seal {number} names")
        self._begins_with(check, manifest, number)
        return digest_of(raw)

    def _begins_with(self, check: Check, manifest: Manifest, number: int) -> None:
        """Demand that the journal's first lines are those that an earlier seal covered."""
        sealed = manifest.files.get(JOURNAL)
        path = self.folder / JOURNAL
        if sealed is None or not path.is_file():
            return
        with path.open("rb") as stream:
            start = stream.read(sealed.size_bytes)
        if digest_of(start) != sealed.sha256:
            what = f"its first {manifest.journal_entries} lines are not those that seal {number} covers"
            check.refuse(JOURNAL, "journal-rewritten", what, where=f"lines 1 to {manifest.journal_entries}")

    # -- what others read ----------------------------------------------------------------------------------------------

    def _attestations(self, check: Check, judged: Again | None) -> None:
        """Verify each attestation's signature, and that it says what the record says."""
        place = self.folder / ATTESTATIONS
        there = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
        if not there and (self.seal is None or not self.seal.is_signed):
            check.absent = "nobody signed the record, and so nothing is attested"
            return
        made: Mapping[str, bytes] = {}
        if judged is not None and self.manifest is not None:
            try:
                made = statements.make(judged, self.manifest)
            except (KeyError, TypeError, ValueError) as problem:
                check.refuse(FILE, "attestation-not-made", f"no attestation follows from it: {problem}")
        held = [name for file in there if (name := self._attestation(check, file, made))]
        for name in made:
            if name not in held:
                what = "the record gives one, and it is not there"
                check.refuse(f"{ATTESTATIONS}/{name}", "attestation-missing", what)
        check.seen = f"{', '.join(held)}: signed, and as the record gives them"

    def _attestation(self, check: Check, file: str, made: Mapping[str, bytes]) -> str:
        """Verify one attestation, and compare it with what the record gives; return its name, if it has one."""
        path = f"{ATTESTATIONS}/{file}"
        name = next((file.removesuffix(suffix) for suffix in signer.SUFFIXES.values() if file.endswith(suffix)), "")
        if name not in statements.NAMES:
            check.refuse(path, "attestation-unknown", "no attestation of a record has this name")
            return ""
        digest = self.manifest.digest if self.manifest is not None else ""
        raw = (self.folder / path).read_bytes()
        payload = signatures.statement_of(check, path, raw, self.trust, digest)
        if payload is None or not made:
            return name
        if name not in made:
            check.refuse(path, "attestation-untrue", "the upgrade has not passed, and only one that has gets this")
        elif payload != made[name]:
            _, where = _first_difference(json.loads(made[name]), json.loads(payload))
            check.refuse(path, "attestation-untrue", "it says otherwise than the record", where=where)
        return name

    def _pdf(self, check: Check) -> None:
        path = self.folder / _PDF
        if not path.is_file():
            check.absent = "there is no PDF"
            return
        from cutover.record import pades  # noqa: PLC0415  # pyHanko takes its time to import

        document = path.read_bytes()
        if not pades.is_signed(document):
            check.absent = "the PDF is not signed; its digest is in the seal"
            if self.seal is not None and self.seal.signature.get("kind") == signer.KEY:
                check.refuse(_PDF, "pdf-unsigned", "it carries no signature, though the record was sealed with a key")
            return
        found = pades.examine(document, self.trust, now=self.now)
        for problem in found.problems:
            check.refuse(_PDF, "pdf-signature", problem)
        check.seen = f"signed by {found.name}, {found.profile}, the whole file"


# -- words -------------------------------------------------------------------------------------------------------------


def _numbers(folder: Path) -> list[int]:
    place = folder / SEALS
    return sorted(int(one.name) for one in place.iterdir() if one.name.isdigit()) if place.is_dir() else []


def _how_changed(sealed: Item, found: Item, name: str, by_digest: Mapping[str, str]) -> str:
    other = by_digest.get(found.sha256)
    if other is not None and other != name:
        return f"it holds what {other} was sealed with"
    if found.size_bytes < sealed.size_bytes:
        return f"it has {found.size_bytes} bytes; {sealed.size_bytes} were sealed"
    if found.size_bytes > sealed.size_bytes:
        return f"it has {found.size_bytes} bytes; {sealed.size_bytes} were sealed"
    return f"its digest is {found.sha256}; {sealed.sha256} was sealed"


def _first_difference(expected: Any, actual: Any, where: str = "") -> tuple[bool, str]:  # noqa: ANN401  # JSON
    """Return whether two JSON values differ, and where first."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        pairs: Sequence[tuple[Any, Any, Any]] = [
            (key, expected.get(key), actual.get(key)) for key in dict.fromkeys((*expected, *actual))
        ]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(number, *pair) for number, pair in enumerate(zip(expected, actual, strict=True))]
    else:
        return expected != actual, where
    for key, one, other in pairs:
        differs, place = _first_difference(one, other, f"{where}.{key}" if where else str(key))
        if differs:
            return True, place
    return False, where
