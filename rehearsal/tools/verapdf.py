"""veraPDF, the open validator of PDF/A: brought by Maven, kept in the cache of tools, run with java.

Not part of an environment: only `tox -e pdfa` asks for it. Invariants: the one file that is run has the pinned digest,
looked at before each use; nothing else that Maven brought is kept.

    python -m rehearsal.tools.verapdf record/report.pdf
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rehearsal.tools.cache import Cache, sha256_of
from rehearsal.tools.errors import ChecksumMismatchError, DownloadFailedError, ToolsError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = "1.28.2"
SHA256: Final = "687d4d8bcfec48c9f7e931cf78ed061f1eeccfba55d4cdc000ba9b4d8aa46ce6"
FLAVOUR: Final = "3b"
_ARTIFACT: Final = f"org.verapdf.apps:greenfield-apps:{VERSION}"
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_MAIN: Final = "org.verapdf.apps.GreenfieldCliWrapper"
_DOWNLOAD_S: Final = 300
_VALIDATION_S: Final = 120
_SOME_LINES: Final = 5
_LONGEST: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What veraPDF says of one file."""

    path: Path
    profile: str
    compliant: bool
    passed_checks: int
    failed_checks: int
    failures: tuple[str, ...]
    """One a rule that does not hold: its clause, what it demands, how often it is broken and where first."""


def ensure() -> Path:
    """Return the program's file, bringing it first where it is not there.

    Raises:
        DownloadFailedError: there is no `mvn`, or it could not bring the file.
        ChecksumMismatchError: what came is not the pinned file.
    """
    cache = Cache.locate(os.environ)
    cache.prepare()
    program = cache.root / f"verapdf-{VERSION}-{SHA256[:10]}" / "verapdf.jar"
    with cache.locked("verapdf", waiting=lambda who: print(f"veraPDF is being brought by {who}", file=sys.stderr)):  # noqa: T201
        if not program.is_file() or sha256_of(program) != SHA256:
            _bring(program, cache.root / ".staging")
    return program


def _bring(program: Path, staging: Path) -> None:
    mvn = shutil.which("mvn")
    if mvn is None:
        raise DownloadFailedError("veraPDF comes by Maven, and there is no mvn", remedy="install Maven and a JDK")
    with tempfile.TemporaryDirectory(prefix="verapdf.", dir=staging) as folder:
        command = [mvn, "-B", "-q", _PLUGIN, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False, cwd=folder)
        except subprocess.TimeoutExpired as problem:
            raise DownloadFailedError(
                f"Maven did not bring veraPDF within {_DOWNLOAD_S} s",
                remedy="check the network and Maven's settings, then run it again",
            ) from problem
        found = list(Path(folder).glob("*.jar"))
        if ran.returncode or len(found) != 1:
            said = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[:_SOME_LINES])
            raise DownloadFailedError(
                f"Maven did not bring veraPDF {VERSION}:\n{said}",
                remedy="check the network and Maven's settings, then run it again",
            )
        if sha256_of(found[0]) != SHA256:
            raise ChecksumMismatchError(
                f"what Maven brought for veraPDF {VERSION} is not the pinned file",
                remedy="check the repository that Maven is set to use; nothing of it was kept",
            )
        program.parent.mkdir(parents=True, exist_ok=True)
        found[0].replace(program)


def validate(paths: Sequence[Path], *, flavour: str = FLAVOUR) -> tuple[Validation, ...]:
    """Return what veraPDF says of each file, in their order.

    Raises:
        ToolsError: there is no java, or veraPDF gave no answer on a file.
    """
    java = shutil.which("java")
    if java is None:
        raise ToolsError("veraPDF runs with java, and there is none", remedy="install a Java runtime, 11 or later")
    command = [java, "-cp", str(ensure()), _MAIN, "--flavour", flavour, "--format", "json", *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_VALIDATION_S, check=False)
    try:
        jobs = json.loads(ran.stdout)["report"]["jobs"]
        return tuple(_validation(path, job["validationResult"][0]) for path, job in zip(paths, jobs, strict=True))
    except (ValueError, KeyError, IndexError) as problem:
        said = (ran.stderr or ran.stdout)[:_LONGEST]
        raise ToolsError(
            f"veraPDF gave no answer that can be read, exit code {ran.returncode}:\n{said}",
            remedy="look at its message; the files may not be PDF at all",
        ) from problem


def _validation(path: Path, result: dict[str, object]) -> Validation:
    details = result["details"]
    if not isinstance(details, dict):
        message = f"details of {path}"
        raise KeyError(message)
    return Validation(
        path=path,
        profile=str(result["profileName"]),
        compliant=result["compliant"] is True,
        passed_checks=int(details["passedChecks"]),
        failed_checks=int(details["failedChecks"]),
        failures=tuple(
            f"{rule['clause']}-{rule['testNumber']}: {rule['description']} "
            f"({rule['failedChecks']} times, first {rule['checks'][0]['context'] if rule['checks'] else 'unknown'})"
            for rule in details["ruleSummaries"]
            if rule["ruleStatus"] == "FAILED"
        ),
    )


def main(arguments: Sequence[str]) -> int:
    """Print what veraPDF says of each file named; return 0 when all conform, else 1, or 3 when that is unknown."""
    try:
        every = validate([Path(name) for name in arguments])
    except ToolsError as problem:
        print(problem, file=sys.stderr)  # noqa: T201
        return 3
    for one in every:
        word = "conforms" if one.compliant else "DOES NOT CONFORM"
        print(f"{one.path}: {word}: {one.profile}, {one.passed_checks} checks held, {one.failed_checks} not")  # noqa: T201
        for failure in one.failures:
            print(f"  {failure}")  # noqa: T201
    return 0 if all(one.compliant for one in every) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
