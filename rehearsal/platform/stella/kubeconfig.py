"""Reads a kubeconfig: which server, trusted how, as whom. Invariant: no key stays on disk that was not there before."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rehearsal.platform.stella.errors import UnreachableError

REMEDY = "set KUBECONFIG to a kubeconfig whose current context names the site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach an API server. `server` is a URL without a trailing slash; `tls` is None for plain HTTP."""

    server: str
    headers: dict[str, str]
    tls: ssl.SSLContext | None


def load(variable: str | None = None) -> Access:
    """Return the access that the current context gives.

    `variable` has KUBECONFIG's form: paths joined by the separator of PATH; earlier files win.

    Raises: UnreachableError when there is no such file, or none with a usable current context.
    """
    named = variable if variable is not None else os.environ.get("KUBECONFIG", "")
    paths = [Path(part) for part in named.split(os.pathsep) if part] or [Path.home() / ".kube" / "config"]
    documents = [(path, _read(path)) for path in paths if path.exists()]
    if not documents:
        raise _unusable(f"no kubeconfig at {', '.join(map(str, paths))}")
    current = next((str(body["current-context"]) for _, body in documents if body.get("current-context")), None)
    if current is None:
        raise _unusable(f"no current context in {documents[0][0]}")
    _, context = _entry(documents, "contexts", "context", current)
    cluster_folder, cluster = _entry(documents, "clusters", "cluster", str(context.get("cluster")))
    user_folder, user = _entry(documents, "users", "user", str(context.get("user")))
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise _unusable(f"the cluster of context {current} names no server")
    try:
        tls = _tls(cluster, cluster_folder, user, user_folder) if server.startswith("https://") else None
        return Access(server=server, headers=_headers(user, user_folder), tls=tls)
    except (OSError, ssl.SSLError, binascii.Error) as cause:
        raise _unusable(f"the certificates of context {current} cannot be loaded: {cause}") from cause


def _read(path: Path) -> dict[str, Any]:
    try:
        body = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- safe, in C
    except (OSError, yaml.YAMLError) as cause:
        raise _unusable(f"{path} cannot be read: {cause}") from cause
    if not isinstance(body, dict):
        raise _unusable(f"{path} is not a kubeconfig")
    return body


def _entry(
    documents: list[tuple[Path, dict[str, Any]]], section: str, kind: str, name: str
) -> tuple[Path, dict[str, Any]]:
    for path, body in documents:
        for entry in body.get(section) or []:
            if entry.get("name") == name:
                return path.parent, entry.get(kind) or {}
    raise _unusable(f"no {kind} named {name}")


def _headers(user: dict[str, Any], folder: Path) -> dict[str, str]:
    if "exec" in user or "auth-provider" in user:
        raise _unusable("the user's credentials come from a plugin, which this command does not run")
    token = user.get("token")
    if token is None and user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text(encoding="utf-8").strip()
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _tls(cluster: dict[str, Any], cluster_folder: Path, user: dict[str, Any], user_folder: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", cluster_folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", user_folder)
    key = _material(user, "client-key", user_folder)
    if certificate and key:
        # OpenSSL takes a chain from files only; these are mode 0600 and gone at the end of the block.
        with ExitStack() as files:
            paths = []
            for body in (certificate, key):
                file = files.enter_context(tempfile.NamedTemporaryFile())
                file.write(body)
                file.flush()
                paths.append(file.name)
            context.load_cert_chain(*paths)
    return context


def _material(section: dict[str, Any], key: str, folder: Path) -> bytes | None:
    if section.get(f"{key}-data"):
        return base64.b64decode(section[f"{key}-data"], validate=True)
    if section.get(key):
        return (folder / str(section[key])).read_bytes()
    return None


def _unusable(message: str) -> UnreachableError:
    return UnreachableError(message, code="kubeconfig-unusable", remedy=REMEDY)
