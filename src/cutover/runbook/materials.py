"""What a run is made with, as digests: the harness itself, and the files that the target names.

From files alone. Invariants: the same contents give the same digests on every machine, and a file more or less gives
another; no digest depends on a secret: values are read as the record would show them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from typing import TYPE_CHECKING

import rfc8785

from cutover import project
from cutover.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cutover.target import Target

ABSENT = "absent"
"""In place of a digest: the file is not there, as a plan may be made before its values are."""
_OWN = ("src/cutover", "features", "steps", "fixtures", "load", "contract")
_OWN_SUFFIXES = frozenset({".py", ".feature", ".toml", ".json", ".j2", ".sql", ".yaml", ".yml"})


@functools.cache
def of_harness(root: Path = project.ROOT) -> Mapping[str, str]:
    """Return the harness's version, and the digests of what it performs a run with and of its locked libraries."""
    own = (path for name in _OWN for path in (root / name).rglob("*") if path.suffix in _OWN_SUFFIXES)
    return {
        "cutover": importlib.metadata.version("cutover"),
        "harness": _of_files(own, root),
        "libraries": of_path(root / "requirements.lock"),
    }


def of_target(target: Target) -> Mapping[str, str]:
    """Return the digest of each file, or folder, that decides what is installed and by what it is judged.

    Left out is what a run changes itself, and the kubeconfig, whose credentials are renewed.
    Raises TargetInvalid when a secret of the target cannot be read.
    """
    redactor = Redactor(target.secrets())
    found = {
        "chart.path": of_path(target.chart.path),
        "evidence.trust_root": of_path(target.evidence.trust_root),
        "fixtures.attestation_bundle": of_path(target.fixtures.attestation_bundle),
    }
    if target.database.migrations is not None:
        found["database.migrations"] = of_path(target.database.migrations)
    for colour in target.colours.values():
        for number, path in enumerate(colour.values, 1):
            text = redactor.redact(path.read_text("utf-8", "replace")) if path.is_file() else None
            found[f"colours.{colour.name}.values {number}"] = ABSENT if text is None else _of_bytes(text.encode())
    for approver in target.approval.approvers:
        known_by = approver.key or f"{approver.identity} {approver.issuer}"
        found[f"approval.approvers {approver.name}"] = _of_bytes(known_by.encode())
    if target.approval.trusted_root is not None:
        found["approval.trusted_root"] = of_path(target.approval.trusted_root)
    return found


def of_path(path: Path) -> str:
    """Return the digest of a file's bytes, or of a folder's files with their names; `absent` where nothing is."""
    if path.is_file():
        return _of_bytes(path.read_bytes())
    if path.is_dir():
        return _of_files((found for found in path.rglob("*") if found.is_file()), path)
    return ABSENT


def _of_files(paths: Iterable[Path], root: Path) -> str:
    listed = {path.relative_to(root).as_posix(): _of_bytes(path.read_bytes()) for path in paths}
    return _of_bytes(rfc8785.dumps({name: digest for name, digest in listed.items() if "__pycache__" not in name}))


def _of_bytes(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
