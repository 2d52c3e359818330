"""The log's checkpoints: a size and a root as a C2SP signed note with one Ed25519 signature.

Invariants: the text is exactly what is signed, ending in a newline; a note is accepted only by the key asked for, other
signatures are ignored.  Source: C2SP signed-note and tlog-checkpoint.
"""

import base64
import binascii
import dataclasses

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rehearsal.platform.core import keys, merkle

_SIGNATURE_PREFIX = "\N{EM DASH} "


class CheckpointInvalidError(Exception):
    """A note that cannot be read, or that the log's key has not signed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log commits to: its name, how many entries it has, and their root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Give the signed text: three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, key: ed25519.Ed25519PrivateKey) -> str:
    """Write the note: text, an empty line, and the signature line of the log's key."""
    text = checkpoint.text()
    raw = b"\x01" + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = keys.note_key_id(checkpoint.origin, raw) + key.sign(text.encode())
    return f"{text}\n{_SIGNATURE_PREFIX}{checkpoint.origin} {base64.b64encode(blob).decode()}\n"


def read(note: str) -> Checkpoint:
    """Read a note's text without trusting it.

    Raises:
        CheckpointInvalidError: the note is malformed.

    """
    text, separator, _ = note.partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3:  # further lines are extensions
        raise CheckpointInvalidError("a checkpoint has an origin, a size, a root, an empty line and signatures")
    try:
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (ValueError, binascii.Error) as error:
        raise CheckpointInvalidError(f"unreadable checkpoint: {error}") from error
    if str(size) != lines[1] or size < 0 or len(root) != merkle.HASH_BYTES:
        raise CheckpointInvalidError("a checkpoint's size is a decimal number and its root has 32 bytes")
    return Checkpoint(origin=lines[0], size=size, root=root)


def verify(note: str, verifier_key: str) -> Checkpoint:
    """Read a note that the key `name+hash+base64` has signed.

    Raises:
        CheckpointInvalidError: malformed, of another origin, or without a valid signature by that key.

    """
    name, raw = _parse_verifier(verifier_key)
    checkpoint = read(note)
    if checkpoint.origin != name:
        raise CheckpointInvalidError(f"the checkpoint is of {checkpoint.origin!r}, expected {name!r}")
    text, _, signatures = note.partition("\n\n")
    expected_id = keys.note_key_id(name, raw)
    public = ed25519.Ed25519PublicKey.from_public_bytes(raw[1:])
    for line in signatures.splitlines():
        signer, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
        if signer != name or blob[:4] != expected_id:
            continue
        try:
            public.verify(blob[4:], (text + "\n").encode())
        except InvalidSignature as error:
            raise CheckpointInvalidError("the log key's signature does not match the text") from error
        return checkpoint
    raise CheckpointInvalidError(f"no signature by the key of {name}")


def _parse_verifier(text: str) -> tuple[str, bytes]:
    """Split a verifier key into its name and the type byte with the key (33 bytes)."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise CheckpointInvalidError(f"unreadable verifier key: {error}") from error
    if len(raw) != 1 + 32 or raw[0] != 1 or keys.note_key_id(name, raw).hex() != key_id:
        raise CheckpointInvalidError("a verifier key is `name+hash+base64` of an Ed25519 key, and its hash must match")
    return name, raw
