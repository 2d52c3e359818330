"""Service addresses: which address is listened on, and what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.environment import services

if TYPE_CHECKING:
    from pathlib import Path


def _service(name: str, address: str | None, *ports: tuple[str, int]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": address, "ports": [{"name": each, "port": port} for each, port in ports]},
    }


def _slice(service: str, port: tuple[str, int], *endpoints: tuple[str, bool | None]) -> dict[str, Any]:
    conditions = [{} if ready is None else {"ready": ready} for _, ready in endpoints]
    return {
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": port[0], "port": port[1]}],
        "endpoints": [
            {"addresses": [address], "conditions": condition}
            for (address, _), condition in zip(endpoints, conditions, strict=True)
        ],
    }


WEB = _service("web", "10.96.0.9", ("http", 80))


@pytest.mark.parametrize(
    ("slices", "endpoints"),
    [
        ([], None),
        ([_slice("web", ("http", 8080), ("10.244.0.1", False))], None),
        ([_slice("other", ("http", 8080), ("10.244.0.1", True))], None),
        ([_slice("web", ("metrics", 8080), ("10.244.0.1", True))], None),
        ([_slice("web", ("http", 8080), ("10.244.0.1", True))], ("10.244.0.1:8080",)),
        ([_slice("web", ("http", 8080), ("10.244.0.1", None))], ("10.244.0.1:8080",)),
        (
            [
                _slice("web", ("http", 8080), ("10.244.0.2", True), ("10.244.0.3", False)),
                _slice("web", ("http", 8080), ("10.244.0.1", True)),
            ],
            ("10.244.0.1:8080", "10.244.0.2:8080"),
        ),
    ],
    ids=["none", "unready", "another", "another-port", "ready", "unknown-is-ready", "two-slices"],
)
def test_only_ready_endpoints_of_the_services_own_port_are_behind_it(
    slices: list[dict[str, Any]], endpoints: tuple[str, ...] | None
) -> None:
    found = services.listeners([WEB], slices)
    assert [each.endpoints for each in found] == ([endpoints] if endpoints else [])


@pytest.mark.parametrize("address", [None, "", "None"])
def test_a_service_without_an_address_has_neither_listener_nor_name(address: str | None) -> None:
    service = _service("web", address, ("http", 80))
    assert services.listeners([service], [_slice("web", ("http", 8080), ("10.244.0.1", True))]) == []
    assert services.cluster_names([service]) == {}


def test_a_service_is_named_with_its_namespace() -> None:
    assert services.cluster_names([WEB]) == {"web.shop": "10.96.0.9"}


def test_the_configuration_passes_each_address_to_its_endpoints() -> None:
    found = services.listeners([WEB], [_slice("web", ("http", 8080), ("10.244.0.1", True), ("10.244.0.2", True))])
    text = services.configuration(found)
    assert "listen 10.96.0.9:80;" in text
    assert text.count("server 10.244.0.") == 2
    assert text.count("{") == text.count("}")


def test_the_configuration_does_not_depend_on_the_order_of_what_is_watched() -> None:
    one, two = _slice("web", ("http", 1), ("10.244.0.1", True)), _slice("db", ("sql", 2), ("10.244.0.2", True))
    db = _service("db", "10.96.0.8", ("sql", 5432))
    first = services.configuration(services.listeners([WEB, db], [one, two]))
    assert first == services.configuration(services.listeners([db, WEB], [two, one]))


def test_names_are_written_into_the_same_file_because_it_is_mounted(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("a long first text\n")
    before = path.stat().st_ino
    services._write_in_place(path, "short\n")
    assert path.read_text() == "short\n"
    assert path.stat().st_ino == before
