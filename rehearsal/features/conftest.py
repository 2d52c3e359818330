# ruff: noqa: INP001  # a folder of pytest, as features is
"""Collects the drills of a disposable target, and nothing for any other.

What is in this folder harms a site on purpose. Without a target file that says `disposable = true` itself, no module
here is even imported: there is no item to run, to select or to run by mistake.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = {"nginx": "an Ingress routes the public host", "gateway": "an HTTPRoute of the Gateway API routes it"}
"""What the tags of a scenario mean: it is about this way of routing alone."""


class Spared(pytest.Module):
    """A module that is not opened, because the target may not be harmed."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield nothing."""
        return iter(())


def pytest_configure(config: pytest.Config) -> None:
    """Register the tags."""
    for tag, meaning in WAYS.items():
        config.addinivalue_line("markers", f"{tag}: {meaning}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Give pytest's own module for a disposable target, an empty one for any other or for none."""
    if is_disposable(parent.config):
        return None
    return Spared.from_parent(parent, path=module_path)


def is_disposable(config: pytest.Config) -> bool:
    """Whether a target file was given that says so in so many words; an unreadable one does not."""
    given = config.getoption("--target", default=None)
    if not given:
        return False
    try:
        content = tomllib.loads(Path(config.invocation_params.dir, given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return content.get("disposable") is True
