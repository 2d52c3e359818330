"""Service addresses and cluster names: what kube-proxy and the cluster's DNS do elsewhere.

Watches Services and EndpointSlices. nginx (`stream`) listens on every ClusterIP and passes connections to the ready
endpoints; `/etc/hosts` of the sandbox names every Service. Invariants: a Service without a ready endpoint is not
listened for, so a connection to it is refused; a reload keeps established connections; the names of the
infrastructure never change place in the file, so that a reader sees them whole at any time.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from rehearsal.environment import layout
from rehearsal.environment.api import ApiClient, Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_WATCH_S = 300
_RETRY_S = 0.5
_SETTLE_S = 0.05
_SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Listener:
    """One address and port of a Service with the endpoints (`address:port`) that are ready behind it."""

    address: str
    port: int
    service: str
    endpoints: tuple[str, ...]


def listeners(services: Iterable[Object], slices: Iterable[Object]) -> list[Listener]:
    """Match every TCP port of every Service that has a ClusterIP with its ready endpoints; sorted."""
    by_service: dict[str, list[Object]] = {}
    for piece in slices:
        meta = piece["metadata"]
        owner = (meta.get("labels") or {}).get(_SERVICE_NAME_LABEL)
        if owner:
            by_service.setdefault(f"{meta['namespace']}/{owner}", []).append(piece)
    found = []
    for service in services:
        address = service["spec"].get("clusterIP")
        if not address or address == "None":
            continue
        key = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        for port in service["spec"].get("ports") or ():
            if port.get("protocol", "TCP") != "TCP":
                continue
            endpoints = sorted(_ready(by_service.get(key, ()), port.get("name") or ""))
            if endpoints:
                found.append(Listener(address=address, port=port["port"], service=key, endpoints=tuple(endpoints)))
    return sorted(found)


def _ready(slices: Iterable[Object], port_name: str) -> set[str]:
    ready: set[str] = set()
    for piece in slices:
        for port in piece.get("ports") or ():
            if (port.get("name") or "") != port_name or not port.get("port"):
                continue
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready", True):
                    ready.update(f"{address}:{port['port']}" for address in endpoint["addresses"])
    return ready


def cluster_names(services: Iterable[Object]) -> dict[str, str]:
    """`NAME.NAMESPACE`: ClusterIP, for every Service that has one."""
    return {
        f"{service['metadata']['name']}.{service['metadata']['namespace']}": service["spec"]["clusterIP"]
        for service in services
        if service["spec"].get("clusterIP") not in {None, "", "None"}
    }


def configuration(wanted: Iterable[Listener]) -> str:
    """Return the nginx configuration: one upstream and one server a listener."""
    blocks = []
    for number, listener in enumerate(wanted):
        servers = "".join(f"    server {endpoint} max_fails=0;\n" for endpoint in listener.endpoints)
        blocks.append(
            f"  # {listener.service}\n"
            f"  upstream u{number} {{\n{servers}  }}\n"
            f"  server {{\n    listen {listener.address}:{listener.port};\n    proxy_pass u{number};\n"
            "    proxy_connect_timeout 1s;\n  }\n"
        )
    # Old workers end as soon as their last connection does, at the latest after a minute.
    return (
        "daemon off;\nmaster_process on;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr warn;\n"
        "worker_shutdown_timeout 60s;\n"
        "events {\n  worker_connections 4096;\n}\n"
        "stream {\n  tcp_nodelay on;\n  proxy_timeout 10m;\n" + "".join(blocks) + "}\n"
    )


@dataclass(slots=True)
class _Mirror:
    """The objects of one collection, kept current by a watch in a thread."""

    place: layout.Place
    path: str
    changed: threading.Event
    objects: dict[str, Object] = field(default_factory=dict)
    listed: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """List, then watch, for ever; a lost watch is listed anew."""
        while True:
            try:
                with ApiClient(self.place, "services") as api:
                    self._follow(api)
            except (httpx.HTTPError, OSError) as error:
                sys.stderr.write(f"{self.path}: {type(error).__name__}: {error}\n")
                sys.stderr.flush()
                time.sleep(_RETRY_S)

    def _follow(self, api: ApiClient) -> None:
        listing = api.get(self.path)
        self.objects = {item["metadata"]["uid"]: item for item in listing["items"]}
        self.listed.set()
        self.changed.set()
        version = listing["metadata"]["resourceVersion"]
        for event in api.watch(self.path, resource_version=version, timeout_s=_WATCH_S):
            item = event["object"]
            if event["type"] == "ERROR":
                return
            if event["type"] == "BOOKMARK":
                continue
            current = dict(self.objects)
            if event["type"] == "DELETED":
                current.pop(item["metadata"]["uid"], None)
            else:
                current[item["metadata"]["uid"]] = item
            self.objects = current
            self.changed.set()


@dataclass(slots=True, kw_only=True)
class _Proxy:
    """The nginx process and the files it and the resolver read."""

    place: layout.Place
    nginx: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.place.data("services")

    def apply(self, text: str, names: Mapping[str, str]) -> None:
        """Write names and configuration where they differ; start or reload nginx."""
        _write_in_place(self.place.hosts, layout.hosts_text(dict(names)))
        file = self.folder / "nginx.conf"
        if self.process is not None and file.read_text(encoding="ascii") == text:
            return
        file.write_text(text, encoding="ascii")
        if self.process is None:
            owner = ["-g", "user root root;"] if os.getuid() == 0 else []
            self.process = subprocess.Popen(
                [str(self.nginx), "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr", *owner],
                stdin=subprocess.DEVNULL,
            )
        else:
            self.process.send_signal(signal.SIGHUP)
        if self.process.poll() is not None:
            sys.exit(f"nginx ended with code {self.process.returncode}")


def _write_in_place(path: Path, text: str) -> None:
    """Replace the content but not the file: it is mounted over `/etc/hosts`."""
    content = text.encode("ascii")
    descriptor = os.open(path, os.O_RDWR)
    try:
        if os.pread(descriptor, len(content) + 1, 0) != content:
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def main() -> None:
    """Keep proxy and names current until killed."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.services")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--nginx", type=Path, required=True)
    arguments = parser.parse_args()
    place = layout.Place.at(arguments.state)
    proxy = _Proxy(place=place, nginx=arguments.nginx)
    changed = threading.Event()
    services = _Mirror(place, SERVICES, changed)
    slices = _Mirror(place, SLICES, changed)
    for mirror in (services, slices):
        threading.Thread(target=mirror.run, daemon=True).start()
    for mirror in (services, slices):
        mirror.listed.wait()
    while True:
        changed.wait(timeout=1)
        changed.clear()
        time.sleep(_SETTLE_S)  # events come in bunches
        every = list(services.objects.values())
        proxy.apply(configuration(listeners(every, slices.objects.values())), cluster_names(every))
        (proxy.folder / "ready").touch()


if __name__ == "__main__":
    main()
