"""Faults that a disposable site may be told to show: one JSON file each in a folder, absent on any other site.

Invariants: looking costs at most one directory listing every half second, and nothing without a folder; a fault strikes
only the colour that it names (green when it names none); an unreadable file is no fault.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LOOK_EVERY_S = 0.5


class Faults:
    """The faults that are switched on for one colour, by name, with their parameters."""

    __slots__ = ("_active", "_colour", "_directory", "_next_look")

    def __init__(self, directory: Path | None, colour: str) -> None:
        self._directory = directory
        self._colour = colour
        self._active: Mapping[str, Mapping[str, Any]] = {}
        self._next_look = 0.0

    def active(self) -> Mapping[str, Mapping[str, Any]]:
        """Give every fault that is on now: name to parameters."""
        if self._directory is None:
            return self._active
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_S
            self._active = self._look(self._directory)
        return self._active

    def get(self, name: str) -> Mapping[str, Any] | None:
        """Give the parameters of a fault that is on now, or None."""
        return self.active().get(name)

    def _look(self, directory: Path) -> Mapping[str, Mapping[str, Any]]:
        try:
            names = os.listdir(directory)  # noqa: PTH208 - half the cost of Path.iterdir, and this is on the request path
        except OSError:
            return {}
        found: dict[str, Mapping[str, Any]] = {}
        for name in names:
            try:
                parameters = json.loads((directory / name).read_bytes() or b"{}")
            except (OSError, ValueError):
                continue
            if isinstance(parameters, dict) and parameters.get("colour", "green") == self._colour:
                found[name] = parameters
        return found
