"""Which layer of an item was altered: its content, its row, its signature, its leaf, its log entry.

Invariants: a layer stands only where something was compared that could have shown the opposite; otherwise it is
unknown. Fields of the two lines speak for content, row and signature; findings of E.3 and E.5 for leaf and log entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cutover.evidence import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.evidence.snapshot import Line

LAYERS: Final = ("content", "row", "signature", "leaf", "log entry")
STANDS: Final = "stands"
ALTERED: Final = "altered"
UNKNOWN: Final = "unknown"
NONE: Final = "none"
"""The item has no such layer: only attestations are signed."""

_RECOMPUTED: Final = ("sha256", "size_bytes", "signer_key_ids")
_ROW: Final = tuple(name for name in snapshot.FIELDS if name not in _RECOMPUTED)
_BY_CODE: Final = {
    "content": "content",
    "size": "content",
    "digest": "content",
    "blob": "content",
    "manifest": "content",
    "layout": "content",
    "row": "row",
    "signature": "signature",
    "signer": "signature",
    "envelope": "signature",
    "leaf": "leaf",
    "log": "log entry",
}


_ALONE: Final = {
    "content": "Only the bytes in the store were altered: the row still declares what the baseline saw.",
    "row": "Only the database row was altered: the bytes in the store are what they were.",
    "signature": "No key of the trust root has signed these bytes.",
    "leaf": "Content and row are what they were; the evidence tree holds another leaf for them, or none.",
    "log entry": "Content and row are what they were; the transparency log holds another entry for them, or none.",
}


class Refusal(Protocol):
    """What a finding must tell."""

    @property
    def source(self) -> str:
        """Who found it."""
        ...

    @property
    def code(self) -> str:
        """Its code."""
        ...

    @property
    def expected(self) -> str:
        """What it should have been."""
        ...

    @property
    def actual(self) -> str:
        """What it was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of one item."""

    name: str
    state: str
    """stands, altered, unknown or none."""
    words: str


def judge(
    before: Line | None, after: Line | None, findings: Iterable[Refusal], doubts: Mapping[str, str]
) -> tuple[Layer, ...]:
    """Return the five layers of an item; `doubts` says of E.3, E.4 and E.5 why they can vouch for no single item."""
    refused: dict[str, list[Refusal]] = {}
    for one in findings:
        refused.setdefault(_BY_CODE.get(one.code.partition("-")[0], ""), []).append(one)
    first = {name: next(iter(refused.get(name, ())), None) for name in LAYERS}
    return (
        _content(before, after, first["content"]),
        _row(before, after, first["row"]),
        _signature(before, after, first["signature"], doubt=doubts.get("E.4", "")),
        _recomputed("leaf", first["leaf"], doubt=doubts.get("E.3", ""), clause="E.3"),
        _recomputed("log entry", first["log entry"], doubt=doubts.get("E.5", ""), clause="E.5"),
    )


def explain(kind: str, state: str, layers: Sequence[Layer]) -> str:
    """Return what was altered, and what still says the truth, in a sentence or two."""
    altered = [layer.name for layer in layers if layer.state == ALTERED]
    standing = [layer.name for layer in layers if layer.state == STANDS]
    if state == "added":
        text = f"In the second snapshot only, and refused{f' for its {_list(altered)}' if altered else ''}."
    elif state == "missing":
        text = "The row is gone, and with it the way to its content."
    elif altered[:2] == ["content", "row"]:
        text = "Bytes and row were altered both; comparing one with the other cannot show it, the baseline does."
    elif altered:
        text = _ALONE[altered[0]] if len(altered) == 1 else f"Altered: {_list(altered)}."
    else:
        text = "Both lines of the item say the same; it was refused for what the findings name."
    if standing and altered:
        said = "its row declares" if state == "added" else "the baseline says of it"
        text += f" What {said} is still in {_list(standing)}."
    if kind == "sbom" and "content" in altered and state != "missing":
        text += (
            " Digests cannot tell whether only its form differs (same content, other bytes): give both files to"
            " cutover.evidence.sbom.compare, which explains it; bytes decide all the same."
        )
    return text


def _content(before: Line | None, after: Line | None, refusal: Refusal | None) -> Layer:
    if after is None:
        return Layer(name="content", state=UNKNOWN, words="the row that names it is gone, so it was not read")
    if after.sha256 is None:
        return Layer(name="content", state=ALTERED, words="the store has no such object")
    if before is not None and before.sha256 != after.sha256:
        return Layer(name="content", state=ALTERED, words=f"hashes to {after.sha256}, did to {before.sha256 or 'none'}")
    if refusal is not None:
        return Layer(name="content", state=ALTERED, words=f"{refusal.code}: {refusal.actual}")
    words = "the same digest as in the baseline" if before is not None else "the digest that its row declares"
    return Layer(name="content", state=STANDS, words=words)


def _row(before: Line | None, after: Line | None, refusal: Refusal | None) -> Layer:
    if after is None:
        return Layer(name="row", state=ALTERED, words="gone from the database")
    if before is None:
        return Layer(name="row", state=UNKNOWN, words="not in the baseline, so there is nothing to compare with")
    names = [name for name in _ROW if getattr(before, name) != getattr(after, name)]
    if names:
        words = "; ".join(f"{name} is {getattr(after, name)}, was {getattr(before, name)}" for name in names)
        return Layer(name="row", state=ALTERED, words=words)
    if refusal is not None:
        return Layer(name="row", state=ALTERED, words=f"{refusal.code}: {refusal.actual}")
    return Layer(name="row", state=STANDS, words="the same in every field")


def _signature(before: Line | None, after: Line | None, refusal: Refusal | None, *, doubt: str) -> Layer:
    line = before or after
    if line is not None and line.kind != "attestation":
        return Layer(name="signature", state=NONE, words=f"a {line.kind} is not signed by itself")
    if after is None or after.sha256 is None:
        gone = "row" if after is None else "content"
        return Layer(name="signature", state=UNKNOWN, words=f"the {gone} is gone, so there was nothing to verify")
    if refusal is not None:
        return Layer(name="signature", state=ALTERED, words=f"{refusal.code}: {refusal.actual}")
    signers = ", ".join(after.signer_key_ids)
    if not signers or (before is not None and before.signer_key_ids != after.signer_key_ids):
        return Layer(name="signature", state=ALTERED, words=f"signed by {signers or 'no trusted key'}")
    if doubt:
        return Layer(name="signature", state=UNKNOWN, words=doubt)
    return Layer(name="signature", state=STANDS, words="verified by a key of the trust root")


def _recomputed(name: str, refusal: Refusal | None, *, doubt: str, clause: str) -> Layer:
    if refusal is not None:
        words = f"{refusal.code}: expected {refusal.expected}, found {refusal.actual}"
        return Layer(name=name, state=ALTERED, words=words)
    if doubt:
        return Layer(name=name, state=UNKNOWN, words=doubt)
    return Layer(name=name, state=STANDS, words=f"what {clause} recomputes from the item's line")


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
