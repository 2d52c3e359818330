"""Which versions of a program found elsewhere may stand in for ours: parsing and comparing, no processes.

A version is a tuple of ints, most significant first. A rule names the first version that fits and the first that no
longer does.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

Version: TypeAlias = tuple[int, ...]

_NUMBER = re.compile(r"\d+(?:\.\d+)*")


def parse_version(text: str) -> Version:
    """Return the leading dotted number of `text`, `v1.36.3-alpha` giving (1, 36, 3).

    Raises:
        ValueError: `text` has no number.
    """
    found = _NUMBER.search(text)
    if found is None:
        message = f"no version number in {text!r}"
        raise ValueError(message)
    return tuple(int(part) for part in found.group().split("."))


def format_version(version: Version) -> str:
    """Return the dotted form of `version`."""
    return ".".join(str(part) for part in version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The half-open range of versions that fit: `first` does, `below` no longer does."""

    first: Version
    below: Version

    def accepts(self, version: Version) -> bool:
        """Say whether `version` is in the range; missing parts count as zero."""
        width = max(len(version), len(self.first), len(self.below))
        return _padded(self.first, width) <= _padded(version, width) < _padded(self.below, width)

    def __str__(self) -> str:
        return f"at least {format_version(self.first)}, below {format_version(self.below)}"


def same_minor(version: Version) -> Fit:
    """Return the rule "any patch release of the same minor": what the parts of one control plane need."""
    major, minor = version[:2]
    return Fit(first=(major, minor), below=(major, minor + 1))


def _padded(version: Version, width: int) -> Version:
    return version + (0,) * (width - len(version))
