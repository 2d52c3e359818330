"""Install, ask about and remove Helm releases, through the operator's `helm` (4.x).

Invariants: a release is always installed with `--install` (F.1) and waited for with a deadline; which release and
which namespace comes from the target, never from a default; the deadline of the command is longer than the one given to
helm, so that helm itself says why it gave up.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.model import Environment
    from cutover.site.operator import CommandResult, Operator

_MARGIN_S = 20.0
_STATUS_TIMEOUT_S = 20.0
_NOT_FOUND = ("release: not found", "not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmRelease:
    """A release as `helm status` tells it."""

    name: str
    namespace: str
    revision: int
    status: str
    """`deployed`, `failed`, `pending-install`, ..."""
    values: Mapping[str, Any]
    """The values that were given, the chart's defaults left out."""

    @property
    def is_deployed(self) -> bool:
        """Whether helm considers the release installed."""
        return self.status == "deployed"


class Helm:
    """The operator's helm."""

    def __init__(
        self,
        operator: Operator,
        *,
        chart: str,
        image_tag_key: str,
        wait_timeout_s: float,
        context: str,
        environment: Mapping[str, str],
    ) -> None:
        """Take the chart's path on the operator host and how long to wait for what it installs, in seconds.

        environment: what points helm at the cluster (KUBECONFIG).
        """
        self._operator = operator
        self._chart = chart
        self._image_tag_key = image_tag_key
        self._wait_timeout_s = wait_timeout_s
        self._context = context
        self._environment = dict(environment)

    def upgrade(
        self,
        environment: Environment,
        *,
        tag: str,
        wait: bool = True,
        settings: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> CommandResult:
        """Install or upgrade the release of a colour at an image tag (2.1a, with `--install`: F.1).

        settings: further `--set` values. timeout_s: how long helm waits, by default the target's.
        Raises: ClauseFailed `helm-failed` when helm gives up, CouldNotMeasure when it cannot be asked.
        """
        wait_s = self._wait_timeout_s if timeout_s is None else timeout_s
        argv = ["helm", "upgrade", environment.release, self._chart, "--install"]
        argv += ["--namespace", environment.namespace, "--create-namespace"]
        for values in environment.values:
            argv += ["--values", str(values)]
        for key, value in {self._image_tag_key: tag, **(settings or {})}.items():
            argv += ["--set", f"{key}={value}"]
        if wait:
            argv += ["--wait", "--timeout", f"{wait_s:g}s"]
        result = self._run(argv, timeout_s=wait_s + _MARGIN_S)
        if result.exit_code != 0:
            raise ClauseFailed(
                f"helm did not bring release {environment.release} to {tag} in namespace {environment.namespace}",
                code="helm-failed",
                seen=_last_lines(result),
                guide="2.1",
                do="see the cause below, correct it, and install again: the release is safe to repeat",
                release=environment.release,
                namespace=environment.namespace,
            )
        return result

    def status(self, release: str, namespace: str) -> HelmRelease | None:
        """Return the release, or None when there is none of that name in the namespace.

        Raises: CouldNotMeasure `helm-unreadable` for an answer that is not helm's JSON, or when helm fails otherwise.
        """
        argv = ["helm", "status", release, "--namespace", namespace, "--output", "json"]
        result = self._run(argv, timeout_s=_STATUS_TIMEOUT_S)
        if result.exit_code != 0:
            if any(words in result.stderr for words in _NOT_FOUND):
                return None
            raise CouldNotMeasure(
                f"helm could not tell the status of release {release}",
                code="helm-unreadable",
                seen=_last_lines(result),
                do="check that helm reaches the cluster of the target",
            )
        try:
            answer = json.loads(result.stdout)
            info = answer["info"]
            return HelmRelease(
                name=answer["name"],
                namespace=answer["namespace"],
                revision=int(answer["version"]),
                status=info["status"],
                values=answer.get("config") or {},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CouldNotMeasure(
                f"helm's status of release {release} is not readable",
                code="helm-unreadable",
                seen=result.stdout[:200],
                do="check the version of helm on the operator host: 4.x is supported",
            ) from error

    def tag_of(self, release: HelmRelease) -> str:
        """Return the image tag that a release was given; empty when it was given none."""
        found: Any = release.values
        for key in self._image_tag_key.split("."):
            found = found.get(key, "") if isinstance(found, dict) else ""
        return str(found)

    def with_tag(self, values: Mapping[str, Any], tag: str) -> dict[str, Any]:
        """Return values as `upgrade` gives them to a release at an image tag: the tag put where the chart reads it."""
        given = copy.deepcopy(dict(values))
        *parents, last = self._image_tag_key.split(".")
        place = given
        for key in parents:
            inner = place.get(key)
            place[key] = inner = inner if isinstance(inner, dict) else {}
            place = inner
        place[last] = tag
        return given

    def uninstall(self, release: str, namespace: str, *, timeout_s: float | None = None) -> CommandResult:
        """Remove a release and wait until its objects are gone (5.2a).

        Raises: ClauseFailed `helm-failed`.
        """
        wait_s = self._wait_timeout_s if timeout_s is None else timeout_s
        argv = ["helm", "uninstall", release, "--namespace", namespace, "--wait", "--timeout", f"{wait_s:g}s"]
        result = self._run(argv, timeout_s=wait_s + _MARGIN_S)
        if result.exit_code != 0:
            raise ClauseFailed(
                f"helm did not remove release {release} from namespace {namespace}",
                code="helm-failed",
                seen=_last_lines(result),
                guide="5.2",
                do="see what is left with `helm status` and remove it by hand",
                release=release,
                namespace=namespace,
            )
        return result

    def _run(self, argv: Sequence[str], *, timeout_s: float) -> CommandResult:
        words = [*argv, "--kube-context", self._context]
        return self._operator.run(words, timeout_s=timeout_s, env=self._environment, check=False)


def _last_lines(result: CommandResult) -> str:
    text = result.stderr.strip() or result.stdout.strip()
    return "\n".join(text.splitlines()[-4:])[-800:] or f"exit code {result.exit_code}"
