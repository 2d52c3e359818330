"""What a rehearsal's records are signed with: a key that the environment made for itself, and so worth as much as that.

The trust root beside the target says so to whoever verifies with it, and names the authority that gives timestamps.
Invariant: the command line is used as a person would; nothing here knows how a record is sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehearsal.environment import approving, layout, pki

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "rehearsal (a key that its own environment made)"
NOTICE = "rehearsal only: an environment made this key for itself, and it proves nothing about any site"
TRUST_ROOT = "record-trust-root.json"
"""Beside the target file."""
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
