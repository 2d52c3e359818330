"""Adds the cause in words, and the guide's remedy where it has one, to a failure in a colour (T.1 to T.4)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cutover.errors import CutoverError
from cutover.runbook import diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.model import Environment
    from cutover.site import Site


@contextmanager
def diagnosed(site: Site, environment: Environment) -> Iterator[None]:
    """Let a failure through with its diagnosis: what is wrong with the colour's pods, routes or dependencies."""
    try:
        yield
    except CutoverError as error:
        diagnosis.explain(site, environment, error)
        raise
