"""What verifying a record finds: checks, what each looked at, and a reason for whatever is not as it was sealed.

Invariants: a reason names the file and the line or field in it; a check that could not be made is not passed, unless
the record has nothing for it, and then it says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that is wrong."""

    file: str
    """In the record."""
    where: str
    """The line (`line 12`) or the field (`counts.PASS`) in it; empty for the whole file."""
    code: str
    what: str

    def __str__(self) -> str:
        place = f"{self.file}, {self.where}" if self.where else self.file
        return f"{place}: {self.what}"


@dataclass(slots=True, kw_only=True)
class Check:
    """One line of the table."""

    name: str
    """Stable: seal, files, earlier, journal, verdict, inventory, before, approvals, gates, evidence, attestations,
    pdf."""
    title: str
    seen: str = ""
    """What was looked at: "708 files, 11.2 MB"."""
    absent: str = ""
    """Why there was nothing to look at; empty where there was."""
    reasons: list[Reason] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    def refuse(self, file: str, code: str, what: str, *, where: str = "") -> None:
        """Note something that is wrong, once."""
        found = Reason(file=file, where=where, code=code, what=what)
        if found not in self.reasons:
            self.reasons.append(found)
