"""What every way of routing has in common: the interface that procedures use, and the acts that do not depend on it.

Invariants: a change to a route is a JSON Patch that tests the resourceVersion which was read; a colour is only named
while somebody ready stands behind its Service; a move forward is refused where somebody else changed the routes since
our last one, a restore never is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from cutover.errors import CutoverError, Refused, WrongInput
from cutover.site.routing.drift import LastSet, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.model import Environment, Roles
    from cutover.runbook.journal import Journal
    from cutover.runbook.ports import RouteFinding, Served
    from cutover.site.cluster import Cluster, Manifest
    from cutover.site.public import PublicHost
    from cutover.target import Routing

MANAGED_BY: Mapping[str, str] = {"app.kubernetes.io/managed-by": "cutover"}
"""Labels of what the harness makes; nothing without them is changed but the public route itself."""
SERVICE_PORT = 80
"""Of a colour's Service, where the public route names none."""
_CHANGED = "changed-by-someone-else"
_ATTEMPTS = 5


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether the harness made an object."""
    return (manifest["metadata"].get("labels") or {}).items() >= MANAGED_BY.items()


class SiteRouting(ABC):
    """The routes of a site. A weight is what the public host's answers show, not what an object says."""

    def __init__(
        self, settings: Routing, *, cluster: Cluster, public: PublicHost, roles: Roles, journal: Journal | None = None
    ) -> None:
        """Take the names of the target. roles: who is blue and who is green, until `assign_roles` says otherwise."""
        self._settings = settings
        self._cluster = cluster
        self._public = public
        self._roles = roles
        self._journal = journal
        self._last_set = LastSet(journal)

    def assign_roles(self, roles: Roles) -> None:
        """Set who is blue (serves now) and who is green (where the upgrade goes)."""
        self._roles = roles

    @property
    @abstractmethod
    def way(self) -> str:
        """How green is reached, as the record says it: completes "the run ..."."""

    # -- reading ---------------------------------------------------------------------------------------------------

    def who_serves(self, requests: int) -> Served:
        """Send requests to the public host, each on a connection of its own, and count who answered."""
        return self._public.who_serves(requests)

    @abstractmethod
    def primary_backend(self) -> str:
        """Return the name of the Service that the public route names, several joined by "and"."""

    def service_beside_route(self, environment: Environment) -> str:
        """Return the name under which the public route can name a colour."""
        return self._settings.name_of(environment)

    @abstractmethod
    def weight(self) -> int:
        """Return the share of the requests that the routes send to green beside blue, in percent.

        Raises: CouldNotMeasure `weight-unreadable`.
        """

    @abstractmethod
    def split_by(self) -> str:
        """Name what lets a second Service answer for the public host; empty when one alone does."""

    def is_split(self) -> bool:
        """Whether more than one Service may answer for the public host, whatever the weights are."""
        return bool(self.split_by())

    @abstractmethod
    def stands_at(self, percent: int) -> bool:
        """Whether the routes are already as `shift` leaves them: what an attempt before this one had done."""

    def is_promoted(self) -> bool:
        """Whether the routes are already as `promote` leaves them."""
        green = self.service_beside_route(self._roles.green)
        return not self.is_split() and self.primary_backend() == green

    @abstractmethod
    def lint(self) -> tuple[RouteFinding, ...]:
        """Return every reason why moving traffic to green cannot work; empty when the topology is sound."""

    def drift(self) -> tuple[RouteFinding, ...]:
        """Return in what the routes differ from what this run set last; empty before it has set anything.

        Raises: CouldNotMeasure when the cluster does not answer.
        """
        return self._last_set.drift(self._cluster.get)

    # -- changing --------------------------------------------------------------------------------------------------

    @abstractmethod
    def to_prepare(self) -> str:
        """Name what `prepare` would make; empty when there is nothing to make, or it would refuse."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what green's way to the public host needs; moves no traffic."""

    @abstractmethod
    def shift(self, percent: int) -> None:
        """Send this share of the requests to green, and read it back (3.1); what is so already is not patched again."""

    @abstractmethod
    def promote(self) -> None:
        """Let the public route name green alone (3.2, F.7)."""

    @abstractmethod
    def restore(self) -> None:
        """Send every request to blue; needs nothing from green and overrules whoever changed the routes (R.1, F.4)."""

    # -- shared acts -----------------------------------------------------------------------------------------------

    @staticmethod
    def _require_percentage(percent: int) -> None:
        if not 0 <= percent <= 100:
            raise WrongInput(f"{percent} is not a weight", code="weight-invalid", do="give a percentage from 0 to 100")

    def _require_ready(self, environment: Environment) -> None:
        """Refuse to name a colour whose Service does not exist or has nobody ready behind it (F.3)."""
        service = self._cluster.service(environment.namespace, environment.service)
        ready = self._cluster.ready_endpoints(environment.namespace, environment.service) if service else 0
        if ready:
            return
        what = "has no ready endpoints" if service else "does not exist"
        raise Refused(
            f"{environment.name} cannot take the traffic: Service {environment.service} {what}"
            f" in namespace {environment.namespace}",
            code="service-without-endpoints" if service else "service-absent",
            seen=f"{ready} ready endpoints; every request there would get 503",
            guide="3.2, deviation F.3",
            do="verify the selector labels of the Service and the readiness of its pods",
            state="nothing was changed",
        )

    def _require_unchanged(self) -> None:
        """Refuse to move on where somebody else changed the routes since this run set them."""
        findings = self.drift() if self._last_set.is_known else ()
        if findings:
            raise Refused(
                "the routes were changed by someone else since this run set them",
                code=_CHANGED,
                seen="; ".join(finding.message for finding in findings),
                do=findings[0].remedy,
            )

    def _write(
        self, kind: str, found: Manifest, operations: Callable[[Manifest], Sequence[Mapping[str, Any]]]
    ) -> Manifest:
        """Patch an object as it was read; one whose status alone has changed since is read again.

        Raises: Refused `changed-by-someone-else`.
        """
        namespace, name = str(found["metadata"]["namespace"]), str(found["metadata"]["name"])
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._cluster.patch(kind, namespace, name, operations(found))
            except Refused as error:
                again = self._cluster.get(kind, namespace, name)
                if error.code != _CHANGED or again is None or facts_of(again) != facts_of(found):
                    raise
                found = again
        return self._cluster.patch(kind, namespace, name, operations(found))

    @staticmethod
    def _insist(change: Callable[[], None]) -> None:
        """Do something again when somebody else's change came in between, a few times."""
        for attempt in range(_ATTEMPTS):
            try:
                change()
            except Refused as error:
                if error.code != _CHANGED or attempt + 1 == _ATTEMPTS:
                    raise
            else:
                return

    @staticmethod
    def _do_all(*changes: Callable[[], None]) -> None:
        """Make every change whatever became of those before it, then raise the first error."""
        problems = []
        for change in changes:
            try:
                change()
            except CutoverError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _keep(self, percent: int, environment: Environment) -> None:
        """Write what was set into the journal: the weight, and the routes as they are now to stay."""
        self._last_set.keep()
        if self._journal is not None:
            self._journal.write("weight", percent=percent, target=environment.name)
