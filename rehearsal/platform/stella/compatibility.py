"""The compatibility matrix of the platform: which release upgrades to which.

Invariant: an upgrade goes one release at a time; a release skipped is refused with the releases to go through.
"""

from __future__ import annotations

from dataclasses import dataclass

RELEASES = ("2026.Q4", "2027.Q1", "2027.Q2", "2027.Q3", "2027.Q4")
#: The release this command was built with: it knows the migrations up to here.
CLIENT = "2027.Q3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether `origin` may be upgraded to `target`; `path` names every release on the way, both ends included."""

    origin: str
    target: str
    allowed: bool
    path: tuple[str, ...]
    reason: str


def check(origin: str, target: str) -> Verdict:
    """Return the verdict of the matrix on an upgrade."""

    def verdict(*, allowed: bool, reason: str, path: tuple[str, ...] = ()) -> Verdict:
        return Verdict(origin=origin, target=target, allowed=allowed, path=path, reason=reason)

    for release, role in ((origin, "runs"), (target, "was asked for")):
        if release not in RELEASES:
            known = ", ".join(RELEASES)
            return verdict(allowed=False, reason=f"release {release} {role}, which the matrix does not know ({known})")
    start, end = RELEASES.index(origin), RELEASES.index(target)
    if end == start:
        return verdict(allowed=False, path=(origin,), reason=f"the site runs {target} already")
    if end < start:
        return verdict(
            allowed=False, reason=f"{target} is older than {origin}; going back is a rollback, not an upgrade"
        )
    path = RELEASES[start : end + 1]
    if end - start > 1:
        skipped = ", ".join(path[1:-1])
        return verdict(
            allowed=False, path=path, reason=f"{origin} to {target} skips {skipped}; upgrade to {path[1]} first"
        )
    return verdict(allowed=True, path=path, reason=f"{target} follows {origin} directly")


def is_newer(release: str, than: str) -> bool:
    """Return whether a release follows another in the matrix; a release unknown to it is newer than none."""
    return release in RELEASES and than in RELEASES and RELEASES.index(release) > RELEASES.index(than)
