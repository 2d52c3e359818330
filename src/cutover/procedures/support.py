"""What support gets: the platform's diagnostics, and one archive of everything that tells of a failure (S.1, S.3).

The platform redacts its own export; here every text is redacted again, with the target's secrets and those of both
namespaces. Invariants: the site is only read; what cannot be had is named and keeps nothing else out; while the
cluster's Secrets cannot be read, nothing of the cluster is taken, for nobody could tell what in it is one.
"""

from __future__ import annotations

import base64
import binascii
import json
import tarfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cutover.clock import SYSTEM_CLOCK
from cutover.errors import CutoverError
from cutover.files import write_whole
from cutover.procedures import examination
from cutover.redaction import Redactor
from cutover.runbook.support_archive import INDEX, README, SupportArchive, members_of, packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from cutover.model import Environment
    from cutover.procedures.examination import SiteExamined
    from cutover.runbook.support_archive import Written
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

FOLDER = "artifacts/support"
LOG_LINES = 400
SHORTEST_SECRET = 6
"""A shorter value of a Secret is a word such as `true`: masking it would blank the archive."""
_KINDS = (
    "Deployment",
    "StatefulSet",
    "Pod",
    "Service",
    "EndpointSlice",
    "Ingress",
    "HTTPRoute",
    "ReferenceGrant",
    "HorizontalPodAutoscaler",
    "PersistentVolumeClaim",
    "ConfigMap",
    "Event",
)
_NOTES_OF_HELM = "helm.sh/release.v1"
_OF_A_RECORD: Mapping[str, str] = {
    "journal.jsonl": "what happened, in order, hash-chained; `cutover journal verify`",
    "plan.json": "what was meant to happen",
    "policy.toml": "the limits",
    "target.redacted.toml": "the site, without its secrets",
    "verdict.json": "what the run came to",
    "artifacts/commands/*.txt": "the transcript of a command",
    "artifacts/faults/*.txt": "the trace of a fault of the harness",
    "artifacts/platform/*.json": "a report of the platform",
    "gates/**/*": "samples of the gates, with their queries and raw answers",
    "load/**/*.json": "what the load generator sent and got",
    "load/**/*.log": "what the load generator said",
    "evidence/*.json": "the balance of the evidence, and each guarantee",
}
"""Files of a record that tell of a failure, as patterns; backups, snapshots and rendered reports are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """The platform's own export of one colour, redacted anew (S.1)."""

    colour: str
    content: bytes
    """A tar.gz; empty when there is none."""
    files: int
    problem: str
    """Why there is none; empty when there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What was put into a record after a failure."""

    archive: Written
    diagnostics: tuple[Diagnostics, ...]
    examined: SiteExamined


# -- after a failure ---------------------------------------------------------------------------------------------------


def capture(site: Site, upgrade: Upgrade, *, failed: str) -> Captured:
    """Put the platform's diagnostics and one support archive into the record (S.1, S.3).

    failed: what failed, in one line. A later capture in the same record replaces an earlier one. Raises OSError.
    """
    examined = examination.examine(site, upgrade.roles)
    redactor = _redactor(site)
    diagnostics = tuple(_diagnostics(site, examined, redactor))
    for one in diagnostics:
        if one.content:
            write_whole(upgrade.path(FOLDER, f"diagnostics-{one.colour}.tar.gz"), one.content, mode=0o600)
    about = {"upgrade": upgrade.id, "failed": failed}
    path = upgrade.path(FOLDER, f"support-{upgrade.id}.tar.gz")
    archive = _archive(
        site, examined, diagnostics, redactor, record=upgrade.folder, path=path, about=about, now=upgrade.clock.now()
    )
    upgrade.journal.write(
        "support",
        archive=str(path.relative_to(upgrade.folder)),
        sha256=archive.sha256,
        size_bytes=archive.size_bytes,
        files=len(archive.members),
        left_out=len(archive.left_out),
        diagnostics=[{"colour": one.colour, "files": one.files, "problem": one.problem} for one in diagnostics],
        causes=[trouble.diagnosis.id for trouble in examined.troubles],
    )
    site.operator.close()
    return Captured(archive=archive, diagnostics=diagnostics, examined=examined)


def bundle(site: Site, examined: SiteExamined, path: Path, *, record: Path | None = None) -> Written:
    """Write a support archive of a site outside of a run, of a record too where one is given (S.3). Raises OSError."""
    redactor = _redactor(site)
    diagnostics = tuple(_diagnostics(site, examined, redactor))
    return _archive(site, examined, diagnostics, redactor, record=record, path=path, about={}, now=SYSTEM_CLOCK.now())


def _archive(
    site: Site,
    examined: SiteExamined,
    diagnostics: tuple[Diagnostics, ...],
    redactor: Redactor | None,
    *,
    record: Path | None,
    path: Path,
    about: Mapping[str, Any],
    now: datetime,
) -> Written:
    archive = SupportArchive(redactor or site.redactor)
    archive.add_json("diagnosis.json", examined.as_json(), what="the site as it was found, and the causes that fit")
    if record is not None:
        _of_record(archive, record)
    for one in diagnostics:
        folder = f"platform/{one.colour}"
        if one.content:
            archive.add_tar(one.content, folder, what=f"diagnostics that the platform made of {one.colour}")
        else:
            archive.leave_out(folder, one.problem)
    if redactor is None:
        archive.leave_out("cluster", "the Secrets cannot be read, without which nothing can be redacted")
    else:
        for namespace in _namespaces(site):
            _of_namespace(site, archive, namespace)
    named = ", ".join(trouble.diagnosis.id for trouble in examined.troubles) or "no row of the table fits"
    return archive.write(path, now=now, about={"site": site.target.name, "diagnosis": named, **about})


# -- the parts ---------------------------------------------------------------------------------------------------------


def _namespaces(site: Site) -> list[str]:
    """Return the namespaces of the colours and of the public route, each once."""
    colours = (environment.namespace for environment in site.target.colours.values())
    return sorted({*colours, site.target.routing.namespace})


def _redactor(site: Site) -> Redactor | None:
    """Return what masks the target's secrets and the namespaces'; None when those cannot be read."""
    found = list(site.target.secrets())
    try:
        for namespace in _namespaces(site):
            for secret in site.cluster.list("Secret", namespace):
                if secret.get("type") != _NOTES_OF_HELM:
                    found += values_of(secret)
    except CutoverError:
        return None
    return Redactor(found)


def values_of(secret: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of a Secret as they are; the redactor knows their other forms."""
    for encoded in (secret.get("data") or {}).values():
        try:
            value = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            value = str(encoded)
        if len(value) >= SHORTEST_SECRET:
            yield value


def _of_record(archive: SupportArchive, record: Path) -> None:
    for pattern, what in _OF_A_RECORD.items():
        for path in sorted(record.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                archive.add_file(path, f"record/{path.relative_to(record)}", what=what)


def _of_namespace(site: Site, archive: SupportArchive, namespace: str) -> None:
    """Add the objects of a namespace, the names of its Secrets, and the ends of its pods' logs."""
    folder = f"cluster/{namespace}"
    for kind in _KINDS:
        name = f"{folder}/{kind.lower()}.json"
        try:
            archive.add_json(name, site.cluster.list(kind, namespace), what=f"every {kind} of the namespace")
        except CutoverError as error:
            if error.code != "kubernetes-not-found":
                archive.leave_out(name, error.message)
    try:
        secrets = [_shape(secret) for secret in site.cluster.list("Secret", namespace)]
        archive.add_json(f"{folder}/secret.json", secrets, what="the Secrets' names and keys, without a value")
        pods = site.cluster.list("Pod", namespace)
    except CutoverError as error:
        archive.leave_out(folder, error.message)
        return
    for pod in pods:
        _logs(site, archive, pod, folder)


def _shape(secret: Mapping[str, Any]) -> dict[str, Any]:
    keys = {key: f"{len(str(value))} characters of base64" for key, value in (secret.get("data") or {}).items()}
    return {"name": secret["metadata"]["name"], "type": secret.get("type"), "keys": keys}


def _logs(site: Site, archive: SupportArchive, pod: Mapping[str, Any], folder: str) -> None:
    """Add the end of each container's log, and of its run before this one where there was one."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        container = str(state["name"])
        for previous in (False, True) if state.get("restartCount") else (False,):
            name = f"{folder}/logs/{metadata['name']}/{container}{'.previous' if previous else ''}.log"
            try:
                text = site.cluster.pod_log(
                    metadata["namespace"], metadata["name"], container, previous=previous, tail_lines=LOG_LINES
                )
            except CutoverError as error:
                archive.leave_out(name, error.message)
            else:
                archive.add(name, text, what=f"the last {LOG_LINES} lines of a container")


# -- the platform's export ---------------------------------------------------------------------------------------------


def _diagnostics(site: Site, examined: SiteExamined, redactor: Redactor | None) -> Iterator[Diagnostics]:
    for colour in examined.colours:
        if colour.is_installed:
            yield _export(site, colour.environment, redactor or site.redactor)


def _export(site: Site, environment: Environment, redactor: Redactor) -> Diagnostics:
    """Let the platform export its diagnostics of a colour, fetch them and redact them anew."""
    name, problem, raw = environment.name, "", b""
    try:
        path = site.operator.temp / f"diagnostics-{name}.tar.gz"
        try:
            site.stella.call("doctor", "--export", str(path), namespace=environment.namespace, check=False)
        except CutoverError as error:
            problem = f"{error.message}: {error.seen}"  # it may have written its archive all the same
        raw = site.operator.fetch(path)
    except CutoverError as error:
        return Diagnostics(colour=name, content=b"", files=0, problem=problem or f"{error.message}: {error.seen}")
    try:
        files = {
            member: redactor.redact(content.decode("utf-8", "replace")).encode("utf-8", "replace")
            for member, content in members_of(raw)
        }
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        return Diagnostics(colour=name, content=b"", files=0, problem=f"what was exported is no archive: {error}")
    content = packed(files, now=SYSTEM_CLOCK.now())
    return Diagnostics(colour=name, content=content, files=len(files), problem="")


# -- reading an archive ------------------------------------------------------------------------------------------------


def index_of(path: Path) -> dict[str, Any]:
    """Return the list of a support archive. Raises: OSError, tarfile.TarError, KeyError when it holds none."""
    files = dict(members_of(path.read_bytes()))
    document: dict[str, Any] = json.loads(files[INDEX])
    return document


def unlisted(path: Path) -> tuple[str, ...]:
    """Return the files of an archive that its list does not name, or names otherwise, and those it lacks, sorted."""
    files = dict(members_of(path.read_bytes()))
    listed = {str(one["name"]): str(one["sha256"]) for one in json.loads(files[INDEX])["files"]}
    found = {name: sha256(content).hexdigest() for name, content in files.items() if name not in {INDEX, README}}
    return tuple(sorted({name for name in {*listed, *found} if listed.get(name) != found.get(name)}))
