"""One command's answer and its JSON document.

Invariants: `schema` is ``stella/<words of the command joined by ->/v1``; the tables for people are made from the
same facts as the document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rehearsal.platform.stella.errors import StellaError

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows for a person; `rows` are as wide as `columns`. A cell that is a bool is shown as a tick or a cross."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command found. `facts` are the document's keys besides `schema` and `ok`; `summary` is one sentence."""

    ok: bool
    facts: Mapping[str, Json]
    summary: str
    tables: tuple[Table, ...] = field(default=())


def schema_of(command: str) -> str:
    """Return the schema id of a command given as its words: ``test smoke`` → ``stella/test-smoke/v1``."""
    return f"stella/{command.replace(' ', '-')}/v1"


def document(command: str, answer: Answer) -> dict[str, Json]:
    """Return the JSON document of an answer."""
    return {"schema": schema_of(command), "ok": answer.ok, **answer.facts}


def error_document(command: str, error: StellaError) -> dict[str, Json]:
    """Return the JSON document of a command that ended without an answer."""
    return {
        "schema": schema_of(command),
        "ok": False,
        "error": {"code": error.code, "message": error.message, "remedy": error.remedy},
    }
