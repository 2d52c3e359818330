"""What a `stella` command refuses or cannot do.

::

    StellaError          code, message, remedy, exit code
    ├── RefusedError          exit 1: the site was asked and the answer is no
    │   └── NotFoundError     exit 1: the object asked for does not exist
    └── UnreachableError      exit 3: a part of the site did not answer, nothing was decided

Wrong usage is click's own `UsageError` (exit 2).
"""

from __future__ import annotations

from typing import ClassVar


class StellaError(Exception):
    """A command ended without an answer.

    `code` is stable and machine-readable, `remedy` one line that says what the operator can do.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy


class RefusedError(StellaError):
    """The site was asked and the answer is no."""


class NotFoundError(RefusedError):
    """The object asked for does not exist."""


class UnreachableError(StellaError):
    """A part of the site did not answer in time, or not in its own protocol."""

    exit_code: ClassVar[int] = 3
