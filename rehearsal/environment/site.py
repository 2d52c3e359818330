"""The site itself: its files as an operator has them, and blue, installed and serving, inside the sandbox.

Invariants: what a run is told is in `target.toml` and the files it names; nothing else of the environment is known to it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

from rehearsal.environment import layout, parts, pki, probes, prometheus, sitedata, target
from rehearsal.environment.api import ApiClient
from rehearsal.environment.errors import PartFailed
from rehearsal.node.catalogue import platform_images
from rehearsal.node.images import build_layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PUBLIC_BOUND_S = 90.0
_OPERATOR_PROGRAMS = ("kubectl", "helm", "pg_dump", "pg_restore", "psql", "pg_isready")


def prepare(place: layout.Place, tools: parts.Tools, data: Path, flags: Sequence[str], *, bare: bool) -> None:
    """Write every file of an environment: keys, configuration, data, values, target, policy, documents."""
    for folder in (place.logs(), place.faults, place.bin, place.root / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    pki.write(place)
    (place.root / "prometheus.yml").write_text(
        prometheus.configuration(place.pki("prometheus.kubeconfig")), encoding="utf-8"
    )
    plan = {"purpose": "site", "bare": bare, "tools": dict(tools.programs), "user_namespaces": "--user" in flags}
    place.plan.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    _commands(place, tools)
    for part in ("postgres", "store"):
        shutil.copytree(data / part, place.data(part), symlinks=True)
    shutil.copytree(data / "seed", place.root, dirs_exist_ok=True)
    build_layout(place.images, platform_images())
    target.write(place, sitedata.Secrets.read(data))


def _commands(place: layout.Place, tools: parts.Tools) -> None:
    for program in _OPERATOR_PROGRAMS:
        (place.bin / program).symlink_to(tools[program])
    stella = place.bin / "stella"
    stella.write_text(
        "#!/bin/sh\n"
        f': "${{KUBECONFIG:={place.kubeconfig}}}"\n'
        f'STELLA_FAULTS_DIR="{place.faults}"\n'
        "export KUBECONFIG STELLA_FAULTS_DIR\n"
        f'exec "{sys.executable}" -m rehearsal.platform.stella "$@"\n',
        encoding="utf-8",
    )
    stella.chmod(0o755)


def contents(scene: parts.Scene, *, bare: bool) -> tuple[list[parts.Part], list[parts.Job]]:
    """What the sandbox runs: every part of the site, and the jobs that put blue on it.

    `bare` leaves out the node and blue.
    """
    started = [
        *parts.control_plane(scene),
        parts.postgres(scene),
        *parts.caches(scene),
        parts.store(scene),
        parts.prometheus(scene),
        parts.ingress(scene),
        parts.service_addresses(scene),
    ]
    jobs = [parts.Job(name="namespace", work=lambda: _namespace(scene.place), after=("apiserver",))]
    if not bare:
        started.append(parts.node_agent(scene))
        stores = ("postgres", "valkey-blue", "store")
        jobs += [
            parts.Job(name="blue", work=lambda: _install_blue(scene), after=("namespace", *stores)),
            parts.Job(name="public", work=_wait_for_public, after=("blue", "ingress", "services", "node")),
        ]
    return started, jobs


def _namespace(place: layout.Place) -> None:
    """Make what belongs to no release: the namespace, the Ingress class, the public Ingress."""
    with ApiClient(place) as api:
        api.create("/api/v1/namespaces", {"metadata": {"name": layout.BLUE_NAMESPACE}})
        api.create(
            "/apis/networking.k8s.io/v1/ingressclasses",
            {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}},
        )
        backend = {"service": {"name": "stellaops-blue", "port": {"number": 80}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        api.create(
            f"/apis/networking.k8s.io/v1/namespaces/{layout.BLUE_NAMESPACE}/ingresses",
            {
                "metadata": {"name": "stellaops-main"},
                "spec": {
                    "ingressClassName": "nginx",
                    "rules": [{"host": layout.PUBLIC_HOST, "http": {"paths": [path]}}],
                },
            },
        )


def _install_blue(scene: parts.Scene) -> None:
    place = scene.place
    sitedata.run_logged(
        place,
        "blue",
        (
            scene.tools["helm"],
            "upgrade",
            "--install",
            "stellaops-blue",
            str(target.CHART),
            "--namespace",
            layout.BLUE_NAMESPACE,
            "--values",
            str(place.root / "values-blue.yaml"),
            "--set",
            f"image.tag={layout.RELEASE_FROM}",
        ),
        target.operator_environment(place),
    )


def _wait_for_public() -> None:
    deadline = time.monotonic() + _PUBLIC_BOUND_S
    url = f"http://{layout.PUBLIC_HOST}/readyz"
    while (status := probes.http_status(url)) != 200:
        if time.monotonic() > deadline:
            raise PartFailed(f"blue does not serve on the public host: {url} answers {status or 'nothing'}")
        time.sleep(0.05)
