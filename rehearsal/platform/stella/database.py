"""Connections to the deployment's two databases.

Invariant: one that cannot be had, or is lost, is `UnreachableError`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from rehearsal.platform.stella.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_S = 60


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Give a connection, closed at the end; what is uncommitted then is rolled back.

    Raises: UnreachableError when the server is not there or goes away, RefusedError when it does not let this user in
    or lacks a table.
    """
    shown = urlsplit(url)
    where = f"{shown.hostname}:{shown.port or 5432}{shown.path}"
    try:
        with psycopg.connect(
            url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="stella",
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_S}s",
            autocommit=True,
        ) as connection:
            yield connection
    except psycopg.errors.UndefinedTable as cause:
        raise RefusedError(
            f"the schema of {where} is not complete: {_first_line(cause)}",
            code="schema-incomplete",
            remedy="run `stella system migrations-status`, then `stella system migrations-run --category A`",
        ) from cause
    except psycopg.errors.InvalidAuthorizationSpecification as cause:
        raise RefusedError(
            f"the database {where} refuses the deployment's user",
            code="database-forbidden",
            remedy="check DATABASE_URL in the deployment's Secret",
        ) from cause
    except psycopg.OperationalError as cause:
        raise UnreachableError(
            f"the database {where} cannot be used: {_first_line(cause)}",
            code="database-unreachable",
            remedy="check database connectivity from this host, and that the server runs",
        ) from cause


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else error.__class__.__name__
