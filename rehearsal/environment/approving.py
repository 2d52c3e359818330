"""The approval of a rehearsal: signed with a key that the environment made for itself, and so worth as much as that.

A rehearsal goes the way of a real upgrade, on which a person signs: the plan is made from the site's files, signed for
exactly what the run will be, and found by the run beside its target. The approver's name says what it is.
Invariant: the command line is used as a person would; nothing here knows how an approval is made.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from rehearsal.environment import pki
from rehearsal.environment.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.environment import layout

APPROVER = "rehearsal (a key that its own environment made)"
PUBLIC_KEY = "approver.pub"
"""Beside the target file, which names it."""
MEANING = "This site is disposable: everything in this plan may be performed on it."
_KEY = "approver.key"
_BOUND_S = 60.0
_FAILED = {
    "keys": "the key of the rehearsal's records could not be made",
    "": "the plan of the rehearsal could not be approved",
}
"""What it means that a command did not succeed, by its name."""


def make_key(place: layout.Place) -> None:
    """Write the approver's key, and its public half, into the environment."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pki.write_private(place.root / _KEY, private)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place.root / PUBLIC_KEY).write_bytes(public)


def approve(place: layout.Place, scope: Sequence[str]) -> None:
    """Sign the plan of a run. scope: the options of the run that decide its plan. Raises: PartFailed."""
    plan = place.root / "plan.json"
    plan.write_text(cutover("plan", "--target", str(place.target), "--json", *scope), encoding="utf-8")
    said = ("--as", APPROVER, "--meaning", MEANING, "--covers", "all", "--key", str(place.root / _KEY))
    cutover("approve", "--plan", str(plan), "--target", str(place.target), *said)


def cutover(*arguments: str) -> str:
    """Return what a command of the harness prints. Raises: PartFailed."""
    command = [sys.executable, "-m", "cutover.cli", *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BOUND_S, check=False
    )
    if done.returncode != 0:
        raise PartFailed(_FAILED.get(arguments[0], _FAILED[""]), seen=done.stderr.strip()[:1000])
    return done.stdout
