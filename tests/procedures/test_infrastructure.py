"""The marker of P.4 is read along both paths, and removed whatever happens to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed
from cutover.procedures import connections, infrastructure
from steps import infrastructure as steps

if TYPE_CHECKING:
    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade


class MemoryStore:
    """Objects by key."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = content

    def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise ClauseFailed(f"{key} is not in the store", code="object-absent")
        return self.objects[key]

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


def site_of(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch, *, shared: bool, proxied: bytes | None = None
) -> tuple[Any, MemoryStore]:
    """Return a site and blue's store; green has the same one only if `shared`."""
    blue = MemoryStore({})
    green = blue if shared else MemoryStore({})

    def of(_site: object, environment: Environment, *, running: bool = False) -> object:
        assert running or environment.name != upgrade.roles.blue.name, "blue runs: its values are no answer"
        return SimpleNamespace(store=blue if environment.name == upgrade.roles.blue.name else green)

    def proxy_get(_namespace: str, _service: str, _port: int, path: str) -> object:
        return SimpleNamespace(body=proxied or blue.get("scratch/" + path.rpartition("/")[2]))

    monkeypatch.setattr(connections, "of", of)
    return SimpleNamespace(cluster=SimpleNamespace(proxy_get=proxy_get)), blue


def test_the_marker_is_read_by_both_and_removed(upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch) -> None:
    site, store = site_of(upgrade, monkeypatch, shared=True)
    marker = infrastructure.read_marker_back(site, upgrade)
    steps.green_reads_marker(marker)
    steps.blue_reads_marker(marker)
    assert store.objects == {}


def test_a_store_that_is_not_shared_is_found_and_left_clean(upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch) -> None:
    site, store = site_of(upgrade, monkeypatch, shared=False)
    with pytest.raises(ClauseFailed):
        infrastructure.read_marker_back(site, upgrade)
    assert store.objects == {}


def test_a_service_that_reads_elsewhere_is_found_and_left_clean(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, store = site_of(upgrade, monkeypatch, shared=True, proxied=b"other")
    marker = infrastructure.read_marker_back(site, upgrade)
    with pytest.raises(ClauseFailed) as caught:
        steps.blue_reads_marker(marker)
    assert caught.value.code == "store-not-shared"
    assert store.objects == {}
