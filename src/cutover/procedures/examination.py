"""A site examined as it is, outside an upgrade too: what answers, what does not, and which row of the table fits.

Invariants: nothing is changed; a part that cannot be asked is said to be so and keeps nothing else from being asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.clock import SYSTEM_CLOCK, rfc3339
from cutover.errors import ClauseFailed, CutoverError
from cutover.procedures.routes import roles_by_route
from cutover.runbook import diagnosis
from cutover.runbook.causes import Diagnosis, Facts, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from cutover.model import Environment, Roles
    from cutover.runbook.diagnosis import Examined
    from cutover.site import Site

SCHEMA = "cutover/diagnosis/v1"
_LOOK = 20
"""Public requests that are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One part of the site, and what it answered."""

    part: str
    is_good: bool | None
    """None where nobody could be asked."""
    said: str
    code: str = ""
    """Of the error, where there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong, where, and the row of the table that fits."""

    where: str
    """The colour's name, or `site`."""
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteExamined:
    """A whole site at one moment."""

    site: str
    time: datetime
    roles: Roles
    colours: tuple[Examined, ...]
    sights: tuple[Sight, ...]
    troubles: tuple[Trouble, ...]

    @property
    def bad(self) -> tuple[Sight, ...]:
        """The parts that answered, and not well."""
        return tuple(sight for sight in self.sights if sight.is_good is False)

    @property
    def silent(self) -> tuple[Sight, ...]:
        """The parts that could not be asked."""
        return tuple(sight for sight in self.sights if sight.is_good is None)

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "schema": SCHEMA,
            "site": self.site,
            "time": rfc3339(self.time),
            "blue": self.roles.blue.name,
            "green": self.roles.green.name,
            "sound": not (self.troubles or self.bad or self.silent),
            "troubles": [
                {
                    "where": trouble.where,
                    "diagnosis": trouble.diagnosis.id,
                    "cause": trouble.diagnosis.cause,
                    "remedy": trouble.diagnosis.remedy,
                    "clause": trouble.diagnosis.clause,
                }
                for trouble in self.troubles
            ],
            "colours": [
                {
                    "name": colour.environment.name,
                    "namespace": colour.environment.namespace,
                    "installed": colour.is_installed,
                    "pods": colour.pods,
                    "ready_pods": colour.ready_pods,
                    "ready_endpoints": colour.ready_endpoints,
                }
                for colour in self.colours
            ],
            "parts": [{"part": sight.part, "good": sight.is_good, "said": sight.said} for sight in self.sights],
        }


def examine(site: Site, roles: Roles | None = None) -> SiteExamined:
    """Ask every part of a site once, and look for the cause of what is wrong with each colour. Raises nothing.

    roles: of the upgrade that goes on; without one, blue is the colour that the public route names.
    """
    if roles is None:
        roles = _roles(site)
        site.assign_roles(roles)
    colours = tuple(diagnosis.examine(site, environment) for environment in (roles.blue, roles.green))
    installed = [colour.environment for colour in colours if colour.is_installed]
    sights = tuple(_sights(site, installed))
    return SiteExamined(
        site=site.target.name,
        time=SYSTEM_CLOCK.now(),
        roles=roles,
        colours=colours,
        sights=sights,
        troubles=tuple(_once([*_of_colours(colours), *_of_sights(site, roles, installed, sights)])),
    )


def _roles(site: Site) -> Roles:
    try:
        return roles_by_route(site)
    except CutoverError:
        return site.target.default_roles()


def _once(troubles: list[Trouble]) -> Iterator[Trouble]:
    """Yield each trouble once: what strikes the whole site is found at every colour."""
    seen: set[tuple[str, str]] = set()
    for trouble in troubles:
        key = (trouble.diagnosis.id, trouble.diagnosis.cause)
        if key not in seen:
            seen.add(key)
            yield trouble


def _of_colours(colours: tuple[Examined, ...]) -> Iterator[Trouble]:
    for colour in colours:
        if colour.diagnosis is not None:
            yield Trouble(where=colour.environment.name, diagnosis=colour.diagnosis)


def _of_sights(site: Site, roles: Roles, installed: list[Environment], sights: tuple[Sight, ...]) -> Iterator[Trouble]:
    """Yield what the platform's examination and the routes say, in the table's words."""
    for environment in installed:
        bad = [sight for sight in sights if sight.part.startswith(f"doctor {environment.name}") and not sight.is_good]
        seen = "; ".join(f"{sight.part.removeprefix(f'doctor {environment.name}: ')}: {sight.said}" for sight in bad)
        found = cause_of(Facts(environment=environment, error=ClauseFailed("x", code="doctor-not-ok", seen=seen)))
        if bad and found is not None:
            yield Trouble(where=environment.name, diagnosis=found)
    for sight in sights:
        error = ClauseFailed(sight.said, code=sight.code, seen=sight.said)
        found = cause_of(Facts(environment=roles.blue, error=error)) if sight.code else None
        if found is not None:
            yield Trouble(where="site", diagnosis=found)
    if len(installed) < len((roles.blue, roles.green)):
        return
    try:
        findings = site.routing.lint()
    except CutoverError:
        return
    for finding in findings:
        row = Diagnosis(id="route-unsound", cause=finding.message, remedy=finding.remedy)
        yield Trouble(where="site", diagnosis=row)


def _sights(site: Site, installed: list[Environment]) -> Iterator[Sight]:
    yield _asked("cluster", lambda: f"API server {site.cluster.version()}")
    yield _public(site)
    yield _asked("database", lambda: str(site.database.identity().name))
    yield _asked("transparency log", lambda: str(site.log.identity().name))
    yield _asked("store", lambda: _checked(site))
    yield _metrics(site)
    for environment in installed:
        yield from _doctor(site, environment)


def _checked(site: Site) -> str:
    site.store.check()
    return f"bucket {site.target.store.bucket}"


def _asked(part: str, ask: Callable[[], str]) -> Sight:
    try:
        return Sight(part=part, is_good=True, said=ask())
    except CutoverError as error:
        return _silent(part, error)


def _silent(part: str, error: CutoverError) -> Sight:
    said = f"{error.message}: {error.seen}" if error.seen else error.message
    return Sight(part=part, is_good=None, said=said, code=error.code)


def _metrics(site: Site) -> Sight:
    if site.prometheus.is_ready():
        return Sight(part="metrics", is_good=True, said="Prometheus is ready")
    return Sight(part="metrics", is_good=None, said="Prometheus does not answer", code="prometheus-unreachable")


def _public(site: Site) -> Sight:
    try:
        served = site.public.who_serves(_LOOK)
    except CutoverError as error:
        return _silent("public host", error)
    good = served.failed == 0
    return Sight(part="public host", is_good=good, said=str(served), code="" if good else "served-by-other")


def _doctor(site: Site, environment: Environment) -> Iterator[Sight]:
    """Yield the platform's own checks of a colour that are not good; one line where all are."""
    part = f"doctor {environment.name}"
    try:
        answer = site.stella.call("doctor", "--full", namespace=environment.namespace, check=False)
    except CutoverError as error:
        yield _silent(part, error)
        return
    checks = list(answer.get("checks") or ())
    bad = [check for check in checks if not check["ok"]]
    if not bad:
        yield Sight(part=part, is_good=bool(checks), said=f"{len(checks)} checks are good")
    for check in bad:
        yield Sight(part=f"{part}: {check['name']}", is_good=False, said=str(check["detail"]))
