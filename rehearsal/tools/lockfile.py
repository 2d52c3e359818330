"""Reading a requirements file with hashes: one exact version a distribution, at least one SHA-256 each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)")
_HASH = re.compile(r"--hash=sha256:(?P<sha256>[0-9a-f]{64})(?!\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One distribution: its normalised name, its version, and the SHA-256 of each file that may be it."""

    name: str
    version: str
    sha256: frozenset[str]

    def requirement(self) -> str:
        """Return the pin as a line of a requirements file."""
        hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(self.sha256))
        return f"{self.name}=={self.version}{hashes}\n"


def read_pins(path: Path) -> Mapping[str, Pin]:
    """Return the pins of the file at `path` by normalised name.

    Raises:
        ValueError: a line is neither a comment nor an exact version with hashes, or a name comes twice.
    """
    return parse_pins(path.read_text(encoding="utf-8"), where=path.name)


def parse_pins(text: str, *, where: str) -> Mapping[str, Pin]:
    """Return the pins in `text`; `where` names it in errors. Raises as `read_pins` does."""
    found: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        requirement = _REQUIREMENT.match(entry)
        hashes = frozenset(match["sha256"] for match in _HASH.finditer(entry))
        if requirement is None or not hashes or len(hashes) != entry.count("--hash="):
            message = f"{where}: not an exact version with SHA-256 hashes: {entry[:80]}"
            raise ValueError(message)
        name = re.sub(r"[-_.]+", "-", requirement["name"]).lower()
        if name in found:
            message = f"{where}: {name} is pinned twice"
            raise ValueError(message)
        found[name] = Pin(name=name, version=requirement["version"], sha256=hashes)
    return MappingProxyType(found)
