"""What a rehearsal's policy says otherwise, value by value, in the text of the site's own policy file.

Invariants: every other line stays as it is, comments too; a value is written where its table is, and the table is made
where there is none. Whether the policy is sound afterwards is for the run to say.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TABLE = re.compile(r"^\s*\[+\s*([A-Za-z0-9_.]+)\s*\]+")


def write(path: Path, overrides: Mapping[str, object]) -> None:
    """Change a policy file. overrides: dotted names, such as `gates.error_ratio.max`, and what they are to be."""
    if overrides:
        path.write_text(applied(path.read_text(encoding="utf-8"), overrides), encoding="utf-8")


def applied(text: str, overrides: Mapping[str, object]) -> str:
    """Return a policy's text with other values."""
    lines = text.splitlines()
    for name, value in overrides.items():
        table, _, key = name.rpartition(".")
        _set(lines, table, key, f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _set(lines: list[str], table: str, key: str, line: str) -> None:
    """Replace a key's line in its table, or add it below the table's head, or both at the end."""
    begin = 0 if not table else next((at + 1 for at, text in enumerate(lines) if _named(text) == table), None)
    if begin is None:
        lines += ["", f"[{table}]", line]
        return
    end = next((at for at in range(begin, len(lines)) if _named(lines[at])), len(lines))
    for at in range(begin, end):
        if re.match(rf"\s*{re.escape(key)}\s*=", lines[at]):
            lines[at] = line
            return
    lines.insert(begin, line)


def _named(line: str) -> str:
    """Return the table that a line begins, '' when it begins none."""
    found = _TABLE.match(line)
    return found[1] if found else ""
