"""`cutover verify`: a record against a trust root, offline: each check with its result, each reason with its place."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutover.model import ExitCode

if TYPE_CHECKING:
    from cutover.record.findings import Check
    from cutover.record.verify import Verified

_SHOWN = 40
"""So many reasons are written for a person; --json holds all."""
_CODES = """\b
Exit codes:
  0  the record is what was sealed, signed by somebody whom the trust root knows, and follows from itself
  1  it is not, and each reason names file and line or field
  2  there is no record, or no trust root
"""
_COLOURS = {"ok": "green", "FAIL": "red", "-": None}


@click.command(epilog=_CODES)
@click.argument("record", metavar="RECORD", type=click.Path(path_type=Path))
@click.option(
    "--trust-root",
    "trust_root",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Whose signatures are believed: the file that ./cutover keys init wrote, never one from the record.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(record: Path, *, trust_root: Path, as_json: bool) -> None:
    """Verify RECORD, the folder of one upgrade: reads it and the trust root, and nothing else, no network.

    Checked are the seal and its signature, every file's digest, earlier seals, the journal's chain, the verdict and
    every gate computed again, plan and inventory, approvals, the evidence's roots and balance, attestations and the
    PDF's signature. Says nothing of whether the upgrade passed: that is the verdict's word.

    \b
    Examples:
      cutover verify records/2026-11-23-0412 --trust-root record-trust-root.json
      cutover verify records/2026-11-23-0412 --trust-root record-trust-root.json --json
    """  # noqa: D301 (click reads the escape)
    from cutover.record.keys import TrustRoot  # noqa: PLC0415  # none of it is needed by --help
    from cutover.record.verify import verify as verified  # noqa: PLC0415

    began_s = time.monotonic()
    found = verified(record, TrustRoot.load(trust_root))
    took_s = time.monotonic() - began_s
    if as_json:
        click.echo(json.dumps(_document(found), indent=2, ensure_ascii=False))
    else:
        click.echo(_table(found, took_s), color=False if "NO_COLOR" in os.environ else None)
    sys.exit(ExitCode.PASSED if found.holds else ExitCode.FAILED)


def _document(found: Verified) -> dict[str, Any]:
    return {
        "schema": "cutover/verified/v1",
        "verified": found.holds,
        "record": found.record,
        "result": found.result,
        "digest": found.digest,
        "signed_by": found.signed_by,
        "sealed_at": found.sealed_at,
        "notice": found.notice,
        "checks": [
            {
                "name": check.name,
                "title": check.title,
                "holds": check.holds,
                "seen": check.seen,
                "absent": check.absent,
                "reasons": [
                    {"file": one.file, "where": one.where, "code": one.code, "what": one.what} for one in check.reasons
                ],
            }
            for check in found.checks
        ],
    }


def _table(found: Verified, took_s: float) -> str:
    width = max(len(check.title) for check in found.checks)
    lines = [f"record   {found.record or found.folder.name}", f"sha256   {found.digest.removeprefix('sha256:') or '-'}"]
    if found.notice:
        lines.append(f"notice   {found.notice}")
    lines.append("")
    for check in found.checks:
        word = _word(check)
        said = check.seen if check.holds else f"{len(check.reasons)} reason{'s' * (len(check.reasons) != 1)}"
        lines.append(
            f"  {click.style(f'{word:<4}', fg=_COLOURS[word])}  {check.title:<{width}}  {said or check.absent}"
        )
    reasons = [reason for check in found.checks for reason in check.reasons]
    lines += ["", *(f"{click.style('FAIL', fg='red')}  {reason}" for reason in reasons[:_SHOWN])]
    if len(reasons) > _SHOWN:
        lines.append(f"and {len(reasons) - _SHOWN} more; --json names all")
    if reasons:
        lines.append("")
    if found.holds:
        lines.append(f"VERIFIED in {took_s:.1f} s: the record of an upgrade that is {found.result}")
    else:
        lines.append(f"NOT VERIFIED ({took_s:.1f} s): do not rely on this record")
    return "\n".join(lines)


def _word(check: Check) -> str:
    if not check.holds:
        return "FAIL"
    return "-" if check.absent else "ok"
