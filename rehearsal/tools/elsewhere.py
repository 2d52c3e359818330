"""Programs that are there already, in KUBEBUILDER_ASSETS or on PATH: their versions, asked once and remembered.

A program's answer is kept with its size and modification time in the cache's `.found.json`, so that asking again starts
no process.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.tools.cache import Cache, write_atomically
from rehearsal.tools.catalogue import Found, Unit
from rehearsal.tools.fit import parse_version

_ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A program found elsewhere for a unit.

    `version` is its own word, None when it gave none; `refusal` says why it does not fit, None when it does.
    """

    program: Path
    version: str | None
    refusal: str | None


@dataclass(slots=True)
class Elsewhere:
    """Looks for stand-ins; `cache` keeps what they said."""

    cache: Cache
    environment: Mapping[str, str]
    _known: dict[str, Any] | None = field(default=None, init=False)

    def assets(self, unit: Unit) -> Candidate | None:
        """Return the unit's program in KUBEBUILDER_ASSETS; None where that is unset, not meant for it, or has none."""
        folder = self.environment.get("KUBEBUILDER_ASSETS", "")
        if unit.found is None or not unit.found.assets or not folder:
            return None
        program = Path(folder).expanduser().absolute() / _main(unit)
        return self._judge(unit.found, program) if os.access(program, os.X_OK) else None

    def on_path(self, unit: Unit) -> Candidate | None:
        """Return the unit's program on PATH, or None where there is none."""
        if unit.found is None:
            return None
        found = shutil.which(_main(unit), path=self.environment.get("PATH", os.defpath))
        return None if found is None else self._judge(unit.found, Path(found).absolute())

    def _judge(self, found: Found, program: Path) -> Candidate:
        answer = self._answer(found, program)
        match = re.search(found.version_pattern, answer)
        if match is None:
            return Candidate(program=program, version=None, refusal="it does not say its version")
        version = match[1]
        refusal = None
        try:
            if not found.fit.accepts(parse_version(version)):
                refusal = f"it is {version}, and {found.fit} fits"
            elif found.needs is not None and not re.search(found.needs, answer):
                refusal = f"it was built without {found.needs.split('(')[0]}"
        except ValueError:
            refusal = f"its version, {version}, is not a number"
        missing = [name for name in found.with_it if not os.access(program.resolve().parent / name, os.X_OK)]
        if refusal is None and missing:
            refusal = f"{', '.join(missing)} are not beside it"
        return Candidate(program=program, version=version, refusal=refusal)

    def _answer(self, found: Found, program: Path) -> str:
        status = program.stat()
        fact = [status.st_size, status.st_mtime_ns, list(found.arguments)]
        known = self._remembered().get(str(program))
        if known is not None and known["fact"] == fact:
            return str(known["answer"])
        try:
            finished = subprocess.run(
                [str(program), *found.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_ANSWER_WITHIN_S,
                env=dict(self.environment),
                text=True,
                errors="replace",
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        self._remember(str(program), {"fact": fact, "answer": finished.stdout})
        return finished.stdout

    def _remembered(self) -> dict[str, Any]:
        if self._known is None:
            try:
                self._known = dict(json.loads((self.cache.root / ".found.json").read_bytes()))
            except (OSError, ValueError, TypeError):
                self._known = {}
        return self._known

    def _remember(self, program: str, said: dict[str, Any]) -> None:
        known = self._remembered()
        known[program] = said
        try:
            write_atomically(self.cache.root / ".found.json", json.dumps(known).encode())
        except OSError:  # no cache to keep it in: it is asked again next time
            return


def _main(unit: Unit) -> str:
    return next(iter(unit.programs))
