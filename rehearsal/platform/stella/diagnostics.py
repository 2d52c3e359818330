"""Makes the diagnostics archive that `doctor --export` writes.

Invariants: no value of a Secret, no password in a URL and no private key leaves the site, wherever in the cluster's
objects or logs it stands; whatever cannot be collected is named in the archive instead of ending it; the file is
private to its owner.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rehearsal.platform.stella import compatibility, deployment, instants, outputs
from rehearsal.platform.stella.errors import StellaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from rehearsal.platform.stella.cluster import Cluster
    from rehearsal.platform.stella.health import Check

LOG_LINES = 400
REDACTED = "[redacted]"
#: Shorter values are words such as `true`: replacing them would redact the archive away.
SECRET_MIN_CHARACTERS = 6
KINDS = ("deployments", "pods", "services", "endpoints", "ingresses", "configmaps", "events")

_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^@\s/]+)(?=@)")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


class Redactor:
    """Takes secrets out of text: those it is told, passwords in URLs, private keys."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(sorted({part for secret in secrets for part in _forms(secret)}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return the text with every secret replaced."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        text = _PRIVATE_KEY.sub(REDACTED, text)
        return _URL_PASSWORD.sub(rf"\1:{REDACTED}", text)


class _Collection:
    """The files of an archive in the making, and what could not be collected."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.problems: list[str] = []

    def add(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.files[name] = text

    def try_add(self, name: str, read: Callable[[], object]) -> None:
        try:
            self.add(name, read())
        except StellaError as error:
            self.problems.append(f"{name}: {error.message}")


def export(path: Path, cluster: Cluster | None, namespace: str, checks: Iterable[Check]) -> None:
    """Write the archive; `cluster` is None when not even a kubeconfig could be read."""
    collection = _Collection()
    collection.add("checks.json", [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    versions = {"stella": compatibility.CLIENT, "created": instants.rfc3339(instants.now()), "namespace": namespace}
    secrets: list[dict[str, Any]] = []
    if cluster is not None:
        try:
            versions["kubernetes"] = cluster.version()
            secrets = cluster.find("secrets", namespace)
        except StellaError as error:
            # Without the Secrets nothing can be told apart from one: nothing of the cluster is collected then.
            collection.problems.append(f"secrets, needed to redact: {error.message}")
        else:
            collection.add("secrets.json", [_shape(secret) for secret in secrets])
            for kind in KINDS:
                collection.try_add(f"{kind}.json", partial(cluster.find, kind, namespace))
            _collect_logs(cluster, namespace, collection)
    collection.add("versions.json", versions)
    collection.add("problems.txt", "".join(f"{line}\n" for line in collection.problems or ["everything was collected"]))
    redact = Redactor(_values(secrets))
    outputs.write_bytes(
        path, _archive({name: redact(text) for name, text in sorted(collection.files.items())}), mode=0o600
    )


def _collect_logs(cluster: Cluster, namespace: str, collection: _Collection) -> None:
    try:
        pods = cluster.find("pods", namespace, selector=deployment.SELECTOR)
    except StellaError as error:
        collection.problems.append(f"logs: {error.message}")
        return
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            container = state["name"]
            read = partial(cluster.log_tail, namespace, name, container, lines=LOG_LINES)
            collection.try_add(f"logs/{name}/{container}.log", read)
            if state.get("restartCount"):
                collection.try_add(f"logs/{name}/{container}.previous.log", partial(read, previous=True))


def _shape(secret: dict[str, Any]) -> dict[str, Any]:
    """Return a Secret's name, type and keys, each value replaced by its length."""
    return {
        "name": secret["metadata"]["name"],
        "type": secret.get("type"),
        "data": {key: f"{REDACTED}, {len(value)} characters" for key, value in (secret.get("data") or {}).items()},
    }


def _values(secrets: Iterable[dict[str, Any]]) -> list[str]:
    """Return every Secret's values, both as they are and as the API gives them."""
    encoded = [value for secret in secrets for value in (secret.get("data") or {}).values()]
    return [*encoded, *(base64.b64decode(value).decode(errors="replace") for value in encoded)]


def _forms(secret: str) -> Iterable[str]:
    """Yield a secret, its forms inside JSON text, and the password in it if it is a URL."""
    candidates = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    if found := _URL_PASSWORD.search(secret):
        candidates.append(found[2])
    return (candidate for candidate in candidates if len(candidate) >= SECRET_MIN_CHARACTERS)


def _archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(f"diagnostics/{name}")
            member.size, member.mtime, member.mode = len(content), int(time.time()), 0o600
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
