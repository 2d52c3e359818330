"""Faults that the environment can switch on in this command, each a JSON file in the folder STELLA_FAULTS_DIR.

``stella-hangs`` {"command": "test smoke"}: that command never returns.
``stella-lies``  {"command": "evidence verify-continuity"}: that command exits 0 and says ok, in a well-formed document
that balances within itself and is wrong.

Invariant: without the folder, or without the file, nothing is changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rehearsal.platform.stella.answers import Answer, Json

FOLDER_VARIABLE = "STELLA_FAULTS_DIR"
HANGS = "stella-hangs"
LIES = "stella-lies"

COUNTS_HIDDEN = 3
_TROUBLES_COUNTED = frozenset({"missing", "changed", "mismatched", "failed"})
_TROUBLES_LISTED = frozenset({"failures", "invalid"})
_COUNTS = frozenset({"before", "after", "items", "attestations", "valid", "size"})


def is_struck(fault: str, command: str) -> bool:
    """Return whether `fault` is switched on for `command`, given as its words."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return False
    try:
        asked = json.loads((Path(folder) / fault).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(asked, dict) and asked.get("command") == command


def hang() -> None:
    """Never return; only a signal ends it."""
    while True:
        signal.pause()


def lie(answer: Answer) -> Answer:
    """Return an answer that reports no trouble and miscounts: a few items fewer everywhere, and other roots."""
    facts = {key: _lie_about(key, value) for key, value in answer.facts.items()}
    if "run" in facts:
        facts["passed"] = facts["run"]
    return replace(answer, ok=True, facts=facts)


def _lie_about(key: str, value: Json) -> Json:
    told = value
    if key in _TROUBLES_COUNTED:
        told = 0
    elif key in _TROUBLES_LISTED:
        told = []
    elif key == "valid" and isinstance(value, bool):
        told = True
    elif key in _COUNTS and isinstance(value, int):
        told = max(0, value - COUNTS_HIDDEN)
    elif key == "root" and isinstance(value, str):
        told = hashlib.sha256(value.encode()).hexdigest()
    elif key in {"checks", "tests"} and isinstance(value, list):
        told = [{**entry, "ok": True} for entry in value]
    return told
