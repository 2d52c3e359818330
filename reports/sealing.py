"""What ends a record: manifest, attestations, the reports that name them, a search for secrets, and the seal, in order.

Invariants: a step that breaks is one sentence and takes no other with it; what cannot be signed is sealed without a
signature that says why; a record in which a secret of the target stands is not sealed, and nothing is attested of it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cutover.errors import CouldNotMeasure, CutoverError
from cutover.record import seal
from cutover.record import signer as signers
from cutover.record.manifest import ATTESTATIONS
from cutover.runbook import leaks
from reports import allure_page, build
from reports import record as records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cutover.record.seal import Prepared, Seal
    from cutover.record.signer import Signer
    from cutover.target import Target
    from reports.views import Record

INPUTS: Final = (build.CONTINUITY, "junit.xml")
"""Reports that the manifest names: they name no digest of the record."""
RENDERED: Final = tuple(name for name in build.BUILDERS if name not in INPUTS)
_PDF: Final = "report.pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a record is sealed with."""

    signer: Signer | None = None
    timestamp_url: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Each with its kind; a record that holds one is not sealed."""
    why_unsigned: str = signers.UNSIGNED

    @staticmethod
    def of_target(target: Target) -> Means:
        """Return what a target names. A key that cannot be used is told in `why_unsigned`."""
        secrets = target.secret_kinds()
        url = target.signing.timestamp_url if target.signing is not None else ""
        try:
            return Means(signer=signers.of_target(target), timestamp_url=url, secrets=secrets)
        except CutoverError as problem:
            return Means(secrets=secrets, why_unsigned=told(problem))


def told(problem: CutoverError) -> str:
    """Return an error in one line."""
    seen = problem.seen.partition("\n")[0]
    return f"{problem.message}: {seen}" if seen else problem.message


def make_inputs(folder: Path, complain: Callable[[str, str], None]) -> None:
    """Make the reports that the manifest names."""
    _report(build.build(folder, names=INPUTS), complain)


def complete(folder: Path, means: Means, complain: Callable[[str, str], None]) -> Seal | None:
    """Seal a record whose inputs are complete, and make its reports on the way; None where it could not be sealed.

    Raises CouldNotMeasure: a secret stands in the record.
    """
    prepared, means = _prepared(folder, means, complain)
    render(folder, means, complain)
    try:
        leaks.require_none(folder, means.secrets)
    except CouldNotMeasure:
        shutil.rmtree(folder / ATTESTATIONS, ignore_errors=True)
        raise
    if prepared is None:
        return None
    try:
        return prepared.close(at=datetime.now(UTC), why_unsigned=means.why_unsigned)
    except (CutoverError, OSError) as problem:
        complain("seal.json", told(problem) if isinstance(problem, CutoverError) else str(problem))
        return None


def complete_again(folder: Path, means: Means, complain: Callable[[str, str], None]) -> Seal | None:
    """Make a finished record's reports anew and seal it once more; the seal that it had is kept.

    Raises CouldNotMeasure: a secret stands in the record.
    """
    seal.set_aside(folder)
    make_inputs(folder, complain)
    return complete(folder, means, complain)


def _prepared(folder: Path, means: Means, complain: Callable[[str, str], None]) -> tuple[Prepared | None, Means]:
    """Write manifest and attestations, unsigned where they cannot be signed; return what signs from here on."""
    if means.signer is None and means.why_unsigned != signers.UNSIGNED:
        complain("the record's signature", means.why_unsigned)
    try:
        return seal.prepare(folder, means.signer), means
    except (CutoverError, OSError) as problem:
        why = told(problem) if isinstance(problem, CutoverError) else str(problem)
    if means.signer is not None:
        return _prepared(folder, replace(means, signer=None, why_unsigned=why), complain)
    complain("manifest.json", why)
    return None, means


def render(folder: Path, means: Means, complain: Callable[[str, str], None]) -> None:
    """Make every report that names the manifest, the PDF signed where a key signs."""
    signs = isinstance(means.signer, signers.KeySigner)
    _report(build.build(folder, names=[name for name in RENDERED if name != _PDF or not signs]), complain)
    if isinstance(means.signer, signers.KeySigner):
        _sign_pdf(folder, means.signer, means.timestamp_url, complain)
    page = allure_page.build_page(folder)
    _report([page] if page is not None else [], complain)


def _sign_pdf(folder: Path, by: signers.KeySigner, timestamp_url: str, complain: Callable[[str, str], None]) -> None:
    """Write the PDF with its signature; one that cannot be signed is written as it is."""
    from reports import pdf  # noqa: PLC0415  # reportlab and pyHanko take half a second to import

    try:
        signed = pdf.sign(records.read(folder), by.key, now=datetime.now(UTC), timestamp_url=timestamp_url)
        build.write(folder / _PDF, signed.content)
    except Exception as problem:  # noqa: BLE001  # a report must never take the verdict or another report with it
        complain(f"the signature of {_PDF}", f"{type(problem).__name__}: {problem}")
        _report(build.build(folder, names=[_PDF]), complain)
        return
    if signed.problem:
        complain(f"the timestamp of {_PDF}", signed.problem)


def differing(folder: Path, names: Sequence[str] = tuple(build.BUILDERS)) -> list[str]:
    """Return which reports would be otherwise if they were made again; a signature under the PDF apart.

    What cannot be made is among them.
    """
    from reports.evidence import is_complete  # noqa: PLC0415

    record = records.read(folder)
    found = []
    for name in names:
        if name == build.CONTINUITY and not is_complete(folder / "evidence"):
            continue
        path = folder / build.PLACES.get(name, name)
        try:
            there = path.read_bytes() if path.is_file() else None
            if there is None or not _is_as(name, there, record):
                found.append(name)
        except Exception:  # noqa: BLE001  # what breaks is told when it is made
            found.append(name)
    return found


def _is_as(name: str, there: bytes, record: Record) -> bool:
    if name != _PDF:
        return build.BUILDERS[name](record) == there
    from cutover.record import pades  # noqa: PLC0415  # as above
    from reports import pdf  # noqa: PLC0415

    signed = pades.is_signed(there)
    made = pdf.build(record, to_be_signed=signed)
    # A signature is added behind the document that it signs.
    return there.startswith(made) if signed else there == made


def _report(made: Sequence[build.Built], complain: Callable[[str, str], None]) -> None:
    for one in made:
        if one.problem:
            complain(one.name, one.problem)
