"""What a rehearsal's records are signed with: a key that the environment made for itself, and so worth as much as that.

The trust root beside the target says so to whoever verifies with it, and names the authority that gives timestamps.
Invariant: the command line is used as a person would; nothing here knows how a record is sealed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rehearsal.environment import approving, layout, pki

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "rehearsal (a key that its own environment made)"
NOTICE = "rehearsal only: an environment made this key for itself, and it proves nothing about any site"
TRUST_ROOT = "record-trust-root.json"
"""Beside the target file."""
KEPT = "rehearsal-trust-root.json"
"""In the folder of the records."""
KEY, CERTIFICATE = "record-signing.key", "record-signing.crt"


def make_key(place: layout.Place) -> None:
    """Write key, certificate and trust root into the environment. Raises: PartFailed."""
    authority = place.pki(pki.TIMESTAMPING[0])
    timestamping = ("--timestamping", str(authority)) if authority.is_file() else ()
    approving.cutover("keys", "init", str(place.root), "--name", NAME, "--notice", NOTICE, *timestamping)


def target_table() -> Mapping[str, Any]:
    """Return the target file's `[signing]`."""
    return {
        "key": KEY,
        "certificate": CERTIFICATE,
        "timestamp_url": f"http://{layout.NAMES[layout.TIMESTAMPS][0]}:{layout.TIMESTAMPS_PORT}/",
        "trust_root": TRUST_ROOT,
    }


def keep_trust_root(place: layout.Place, records: Path) -> Path | None:
    """Put the trust root beside the records, which outlive the environment; return where, None where there is none.

    It believes the keys of every rehearsal whose records are there. Raises OSError.
    """
    made = place.root / TRUST_ROOT
    if not made.is_file():
        return None
    kept = records / KEPT
    document = json.loads(made.read_bytes())
    if kept.is_file():
        earlier = json.loads(kept.read_bytes())
        for name in ("keys", "certificates", "timestamping"):
            document[name] = [*earlier[name], *(one for one in document[name] if one not in earlier[name])]
    partial = kept.with_name(f".{kept.name}.partial")
    partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(kept)
    return kept
