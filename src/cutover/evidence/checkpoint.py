"""Checkpoints of a transparency log: C2SP signed notes with an origin, a tree size and a root.

Invariants: the signed text is everything up to and including the newline before the blank line, byte for byte;
signatures by unknown keys are ignored, one by a known key is demanded, and a known key's wrong signature refuses the
note. Sources: C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from cutover.evidence._json import from_base64
from cutover.evidence.errors import EvidenceError
from cutover.evidence.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519: Final = 0x01
MAX_NOTE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 100

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MALFORMED: Final = "checkpoint-malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A verified statement of a log: at `size` entries its root (32 bytes) was `root`. `signers` are key names."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A log's public key under its name; `key_hash` is the 4-byte id that signature lines carry."""

    name: str
    key_hash: bytes
    key: ed25519.Ed25519PublicKey

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a verifier key, `name+hash+base64`.

        Raises:
            EvidenceError: `key-malformed` or `key-unsupported`.

        Source: C2SP signed-note, "Verifier keys": base64 of type byte 0x01 and 32 bytes; hash = SHA-256(name, 0x0A,
        type, key)[:4].

        """
        item = "the log's verifier key"
        parts = text.strip().split("+", 2) if isinstance(text, str) else []
        if len(parts) != 3 or not _is_name(parts[0]) or not parts[0].isprintable():
            raise EvidenceError("key-malformed", item, expected="name+hash+base64", actual=text)
        name, stated, encoded = parts
        material = from_base64(encoded, code="key-malformed", item=item)
        if len(material) != 33 or material[0] != ED25519:
            actual = f"{len(material)} bytes, type {material[:1].hex() or 'absent'}"
            raise EvidenceError("key-unsupported", item, expected="Ed25519: type 01 and 32 bytes", actual=actual)
        computed = key_hash(name, material)
        if stated != computed.hex():
            raise EvidenceError("key-malformed", item, expected=computed.hex(), actual=stated)
        return cls(name=name, key_hash=computed, key=ed25519.Ed25519PublicKey.from_public_bytes(material[1:]))


def key_hash(name: str, material: bytes) -> bytes:
    """Return the 4-byte id of a key: `material` is its type byte followed by the key. Source: C2SP signed-note."""
    return sha256(name.encode("utf-8") + b"\n" + material).digest()[:4]


def verify(
    note: bytes | str, verifier_keys: str | Verifier | Iterable[str | Verifier], *, origin: str | None = None
) -> Checkpoint:
    """Verify a signed note by a known key and read its checkpoint; with `origin`, demand that log.

    Raises:
        EvidenceError: `checkpoint-malformed`, `checkpoint-unsigned` (no known key signed),
        `checkpoint-signature-invalid`,
            `checkpoint-origin`, `key-malformed` or `key-unsupported`.

    """
    given = [verifier_keys] if isinstance(verifier_keys, str | Verifier) else list(verifier_keys)
    known = [key if isinstance(key, Verifier) else Verifier.parse(key) for key in given]
    text, signatures = split(note)
    signers: list[str] = []
    for name, hint, signature in signatures:
        for verifier in known:
            if (verifier.name, verifier.key_hash) != (name, hint):
                continue
            try:
                verifier.key.verify(signature, text)
            except InvalidSignature as error:
                code = "checkpoint-signature-invalid"
                expected = f"the signature of {name} over this text"
                raise EvidenceError(code, "checkpoint", expected=expected, actual=signature[:16]) from error
            if name not in signers:
                signers.append(name)
    if not signers:
        expected = ", ".join(f"{key.name}+{key.key_hash.hex()}" for key in known) or "(no key is known)"
        actual = ", ".join(f"{name}+{hint.hex()}" for name, hint, _ in signatures)
        raise EvidenceError("checkpoint-unsigned", "checkpoint", expected=expected, actual=actual)
    checkpoint = read(text, tuple(signers))
    if origin is not None and checkpoint.origin != origin:
        raise EvidenceError("checkpoint-origin", "checkpoint", expected=origin, actual=checkpoint.origin)
    return checkpoint


def split(note: bytes | str) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """Return a note's signed text and (name, key id, signature) a line, in order; nothing is verified yet.

    Raises:
        EvidenceError: `checkpoint-malformed`.

    """
    if not isinstance(note, bytes | str):
        raise _refused("a note's text", type(note).__name__)
    try:
        raw = note.encode("utf-8") if isinstance(note, str) else note
        text = raw.decode("utf-8")
    except UnicodeError as error:
        raise _refused("UTF-8 text", error) from error
    if len(raw) > MAX_NOTE_BYTES:
        raise _refused(f"at most {MAX_NOTE_BYTES} bytes", f"{len(raw)} bytes")
    if any(c < " " and c != "\n" for c in text):
        raise _refused("no control character but newline", "one")
    body, blank, tail = text.rpartition("\n\n")  # the last blank line parts text and signatures
    if not blank or not tail.endswith("\n"):
        raise _refused("text, a blank line, signature lines, a final newline", "another shape")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _refused(f"at most {MAX_SIGNATURES} signatures", len(lines))
    signatures = []
    for line in lines:
        fields = line.split(" ")
        if len(fields) != 3 or fields[0] != "—" or not _is_name(fields[1]):
            raise _refused("— name base64", line)
        signature = from_base64(fields[2], code=_MALFORMED, item="a signature line of the checkpoint")
        if len(signature) < 5:
            raise _refused("a 4-byte key id and a signature", signature)
        signatures.append((fields[1], signature[:4], signature[4:]))
    return (body + "\n").encode("utf-8"), signatures


def read(text: bytes, signers: tuple[str, ...]) -> Checkpoint:
    """Read the text of a note that `signers` are known to have signed.

    Raises:
        EvidenceError: `checkpoint-malformed`.

    Source: C2SP tlog-checkpoint: origin, decimal size, base64 root, extensions.

    """
    lines = text.decode("utf-8")[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise _refused("origin, size and root, no empty line", f"{len(lines)} lines")
    origin, size_text, root_text, *extensions = lines
    if not _SIZE.fullmatch(size_text) or int(size_text) > MAX_SIZE:
        raise _refused("a decimal size without leading zeros", size_text)
    root = from_base64(root_text, code=_MALFORMED, item="the checkpoint's root")
    if len(root) != HASH_BYTES:
        raise _refused("a root of 32 bytes", f"{len(root)} bytes")
    size = int(size_text)
    if size == 0 and root != EMPTY_ROOT:
        raise _refused("the empty root at size 0", root)
    return Checkpoint(origin=origin, size=size, root=root, extensions=tuple(extensions), signers=signers)


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _refused(expected: str, actual: object) -> EvidenceError:
    return EvidenceError(_MALFORMED, "checkpoint", expected=expected, actual=actual)
