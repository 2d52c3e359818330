"""Names, folders and addresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import layout
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["default", "a", "rehearse-1123-0812", "x" * 40])
def test_a_short_label_names_an_environment(name: str, tmp_path: Path) -> None:
    assert layout.Place.named(name).root == tmp_path / "state" / "cutover" / "env" / name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", "a b", "x" * 41, "a\n"])
def test_what_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        layout.Place.named(name)
    assert caught.value.exit_code == 2
    assert "lower-case" in caught.value.do


def test_a_relative_xdg_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert layout.environments_folder() == tmp_path / ".local/state/cutover/env"


def test_every_infrastructure_address_is_in_its_range_and_outside_the_others() -> None:
    infrastructure = ipaddress.ip_network(layout.INFRASTRUCTURE_RANGE)
    assert all(ipaddress.ip_address(address) in infrastructure for address in layout.NAMES)
    ranges = [ipaddress.ip_network(each) for each in (layout.POD_RANGE, layout.SERVICE_RANGE)]
    assert not any(infrastructure.overlaps(each) for each in ranges)
    assert not ranges[0].overlaps(ranges[1])


def test_cluster_names_come_after_the_infrastructure_so_that_its_lines_never_move() -> None:
    bare = layout.hosts_text()
    named = layout.hosts_text({"b.two": "10.96.0.2", "a.one": "10.96.0.1"})
    assert named.startswith(bare)
    assert named.removeprefix(bare).splitlines() == [
        "10.96.0.1 a.one.svc.cluster.local a.one.svc",
        "10.96.0.2 b.two.svc.cluster.local b.two.svc",
    ]
