"""Instants as an operator types them. Invariant: every instant is aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import click


def parse_since(text: str) -> datetime:
    """Return the instant that an ISO 8601 date or timestamp names.

    A date means its first moment in UTC. A timestamp without an offset is read as UTC. Both the extended form of
    ``date --iso-8601`` and the basic form are accepted.

    Raises: ValueError for anything else, relative forms such as ``1 hour ago`` included.
    """
    instant = datetime.fromisoformat(text.strip())
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def rfc3339(instant: datetime) -> str:
    """Return an aware instant as RFC 3339 in UTC with microseconds and ``Z``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


class Instant(click.ParamType[datetime]):
    """The value of ``--since``."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant, or fail with an example of the form wanted."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_since(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is not an ISO 8601 date or timestamp, such as 2027-04-30 or 2027-04-30T21:15:00Z",
                param,
                ctx,
            )
