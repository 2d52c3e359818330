"""Secrets that nobody needs, planted where a run comes past them: none may ever be read anywhere else.

One stands in the variables of the operator's commands, one in a connection string beside it, one in a Secret of blue's
namespace that belongs to no release and that the target file does not know. With them count the secrets that the site
works with. Invariants: each environment has its own; their characters are those that texts escape; they lie in one file
that its owner alone may read.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rehearsal.environment import layout, pki, sitedata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE: Final = "canaries.json"
SECRET: Final = "stellaops-operator"  # noqa: S105  # the name of an object
_AWKWARD = "/+&='\"<%>$\\"
"""Texts, pages, URLs and shells each escape some of these."""
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_SHORTEST_LINE = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """The values that one environment has planted."""

    environment: str
    connection: str
    """The password of a connection string."""
    secret: str

    @classmethod
    def fresh(cls) -> Canaries:
        """Make new random ones."""
        return cls(
            **{
                field.name: f"canary-{field.name}-{secrets.token_urlsafe(12)}{_AWKWARD}"
                for field in dataclasses.fields(cls)
            }
        )

    @classmethod
    def read(cls, root: Path) -> Canaries:
        """Return those of an environment. Raises: OSError, ValueError, TypeError when it has none."""
        return cls(**json.loads((root / FILE).read_text(encoding="utf-8")))

    def write(self, root: Path) -> None:
        """Keep them in the environment's folder."""
        pki.write_private(root / FILE, json.dumps(dataclasses.asdict(self)).encode("utf-8"))

    @property
    def variables(self) -> dict[str, str]:
        """What the target file gives the operator's commands."""
        password = quote(self.connection, safe="")
        return {
            "STELLA_REPORTING_TOKEN": self.environment,
            "STELLA_REPORTING_URL": f"postgresql://reports:{password}@reports.stella.test/reports",
        }

    @property
    def manifest(self) -> dict[str, Any]:
        """The Secret."""
        return {
            "metadata": {"name": SECRET},
            "type": "Opaque",
            "stringData": {"token": self.secret, "url": f"https://robot:{quote(self.secret, safe='')}@stella.test/"},
        }


def planted(place: layout.Place) -> Mapping[str, str]:
    """Return every secret of an environment with where it stands: canaries, passwords, keys. Raises: OSError."""
    found = {value: f"canary {name}" for name, value in dataclasses.asdict(Canaries.read(place.root)).items()}
    known = dataclasses.asdict(sitedata.Secrets.read(place.root))
    found |= {value: f"site's {name}" for name, value in known.items()}
    for path in _key_files(place):
        found |= dict.fromkeys(_key_lines(path.read_text(encoding="utf-8", errors="replace")), f"key {path.name}")
    return found


def _key_files(place: layout.Place) -> Iterator[Path]:
    for folder in (place.root, place.pki("ca.key").parent):
        for pattern in ("*.key", "*.pem", "*.agekey"):
            yield from sorted(folder.glob(pattern))


def _key_lines(text: str) -> Iterator[str]:
    for body in (*_PRIVATE.findall(text), *(line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-"))):
        yield from (line.strip() for line in body.splitlines() if len(line.strip()) >= _SHORTEST_LINE)
