"""The site as the harness reaches it: one driver for each thing that a target file names.

`connect` builds them all and opens nothing: a driver connects when it is first asked, so that a wrong name is reported
by the clause that needs it. Nothing here knows what kind of site it is.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cutover import project
from cutover.redaction import Redactor

if TYPE_CHECKING:
    from cutover.model import Roles
    from cutover.runbook.fingerprint import Fingerprint
    from cutover.runbook.journal import Journal
    from cutover.site.cluster import Cluster
    from cutover.site.contents import Contents
    from cutover.site.database import Database
    from cutover.site.helm import Helm
    from cutover.site.operator import Operator
    from cutover.site.prometheus import Prometheus
    from cutover.site.public import PublicHost
    from cutover.site.routing import SiteRouting
    from cutover.site.stella import Stella
    from cutover.site.store import Store
    from cutover.target import Target

__all__ = ["Site", "connect"]


class Site:
    """All drivers of one target, each made when it is first asked for."""

    def __init__(self, target: Target, journal: Journal | None = None) -> None:
        """Open nothing. journal: where commands and weights are written; its folder gets the transcripts."""
        self.target = target
        self.journal = journal
        self.redactor = Redactor(target.secrets())
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    # -- on the operator's host ------------------------------------------------------------------------------------

    @functools.cached_property
    def operator(self) -> Operator:
        """The operator's shell."""
        from cutover.site.operator import Operator  # noqa: PLC0415 (drivers load what they need when they are needed)

        settings = self.target.operator
        return Operator(
            settings.host,
            path=settings.path,
            environment=settings.environment,
            default_timeout_s=settings.default_timeout_s,
            redactor=self.redactor,
            folder=self._artifacts(),
            journal=self.journal,
        )

    @functools.cached_property
    def helm(self) -> Helm:
        """The operator's helm."""
        from cutover.site.helm import Helm  # noqa: PLC0415

        chart = self.target.chart
        return Helm(
            self.operator,
            chart=str(chart.path),
            image_tag_key=chart.image_tag_key,
            wait_timeout_s=chart.wait_timeout_s,
            context=self.target.kubernetes.context,
            environment=self._pointing_at_cluster(),
        )

    @functools.cached_property
    def stella(self) -> Stella:
        """The platform's own command."""
        from cutover.site.stella import Stella  # noqa: PLC0415

        return Stella(
            self.operator,
            contract=project.CONTRACT / "stella",
            environment=self._pointing_at_cluster(),
            default_timeout_s=self.target.operator.default_timeout_s,
        )

    def _pointing_at_cluster(self) -> dict[str, str]:
        """Return KUBECONFIG, unless the target sets it for the operator's host itself."""
        if "KUBECONFIG" in self.target.operator.environment:
            return {}
        return {"KUBECONFIG": str(self.target.kubernetes.kubeconfig)}

    def _artifacts(self) -> Path:
        if self.journal is not None:
            return self.journal.path.parent / "artifacts"
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="cutover-")
        return Path(self._scratch.name) / "artifacts"

    # -- servers ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def cluster(self) -> Cluster:
        """The cluster."""
        from cutover.site.cluster import Cluster  # noqa: PLC0415

        settings = self.target.kubernetes
        return Cluster(
            settings.kubeconfig,
            context=settings.context,
            allowed_contexts=settings.allowed_contexts,
            allowed_namespaces=settings.allowed_namespaces,
        )

    @functools.cached_property
    def database(self) -> Database:
        """The platform's database, on the operator's path."""
        from cutover.site.database import Database  # noqa: PLC0415

        return Database(self.target.database.dsn, admin_dsn=self.target.database.admin_dsn)

    @functools.cached_property
    def log(self) -> Database:
        """The transparency log's database."""
        from cutover.site.database import Database  # noqa: PLC0415

        return Database(self.target.database.log_dsn, label="transparency log")

    @functools.cached_property
    def store(self) -> Store:
        """The object storage."""
        from cutover.site.store import Store  # noqa: PLC0415

        settings = self.target.store
        return Store(
            endpoint=settings.endpoint,
            bucket=settings.bucket,
            archive_bucket=settings.archive_bucket,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
        )

    @functools.cached_property
    def contents(self) -> Contents:
        """The content of evidence items, for the verification library."""
        from cutover.site.contents import Contents  # noqa: PLC0415

        return Contents(self.store)

    @functools.cached_property
    def prometheus(self) -> Prometheus:
        """The metrics."""
        from cutover.site.prometheus import Prometheus  # noqa: PLC0415

        return Prometheus(self.target.prometheus.url)

    # -- traffic ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def public(self) -> PublicHost:
        """The public host."""
        from cutover.site.public import PublicHost  # noqa: PLC0415

        settings = self.target.routing
        return PublicHost(settings.url, colour_header=settings.colour_header, pod_header=settings.pod_header)

    @functools.cached_property
    def routing(self) -> SiteRouting:
        """The routes; until `assign_roles`, blue and green are the colours of those names."""
        from cutover.site.routing import routing_of  # noqa: PLC0415

        return routing_of(
            self.target.routing,
            cluster=self.cluster,
            public=self.public,
            roles=self.target.default_roles(),
            journal=self.journal,
        )

    def assign_roles(self, roles: Roles) -> None:
        """Tell the routes who is blue (serves now) and who is green (F.17)."""
        self.routing.assign_roles(roles)

    def state(self, roles: Roles, *, leaves: int | None = None, with_evidence: bool = True) -> Fingerprint:
        """Look at the state of the site, so far as going back must restore it; see `cutover.runbook.fingerprint`.

        Raises:
            CouldNotMeasure: something does not answer.
        """
        from cutover.site.state import look  # noqa: PLC0415

        return look(self, roles, leaf_count=leaves, with_evidence=with_evidence)

    def close(self) -> None:
        """Close every connection and remove what was put on the operator's host."""
        for name in ("operator", "store", "prometheus", "public"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def connect(target: Target, journal: Journal | None = None) -> Site:
    """Return the site that a target file describes; nothing is opened until a driver is asked."""
    return Site(target, journal)
