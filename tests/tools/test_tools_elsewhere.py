"""Programs that are there already: judged by what they say, asked once."""

from pathlib import Path

import pytest

from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import UNITS, Unit
from rehearsal.tools.elsewhere import Elsewhere


def _unit(name: str) -> Unit:
    return next(unit for unit in UNITS if unit.name == name)


def _program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho asked >>'{folder}/{name}.asked'\necho '{says}' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("unit", "says", "version", "refusal"),
    [
        ("kube-apiserver", "Kubernetes v1.36.9", "1.36.9", None),
        ("kube-apiserver", "Kubernetes v1.34.1", "1.34.1", "it is 1.34.1, and at least 1.36, below 1.37 fits"),
        ("etcd", "etcd Version: 3.6.4\nGit SHA: x", "3.6.4", None),
        ("etcd", "usage: etcd", None, "it does not say its version"),
        ("nginx", "nginx version: nginx/1.28.0\nconfigure arguments: --with-stream --x", "1.28.0", None),
        (
            "nginx",
            "nginx version: nginx/1.28.0\n: --with-stream=dynamic --x",
            "1.28.0",
            "it was built without --with-stream",
        ),
        (
            "nginx",
            "nginx version: nginx/1.28.0\n: --with-stream_ssl_module",
            "1.28.0",
            "it was built without --with-stream",
        ),
        ("helm", "v3.19.0+g3d8990f", "3.19.0+g3d8990f", "it is 3.19.0+g3d8990f, and at least 4.0, below 5 fits"),
        ("prometheus", "prometheus, version 3.8.1 (branch: HEAD)", "3.8.1", None),
        ("seaweedfs", "version 8000GB 4.50 abc linux amd64", "4.50", None),
        ("valkey", "Valkey server v=8.1.4 sha=0", "8.1.4", None),
        ("traefik", "Version:      3.7.1", "3.7.1", None),
        ("kubectl", "Client Version: v1.36.1", "1.36.1", None),
        (
            "postgresql",
            "postgres (PostgreSQL) 18.1",
            "18.1",
            "initdb, pg_ctl, pg_isready, pg_dump, pg_restore, psql are not beside it",
        ),
    ],
)
def test_a_program_on_path_is_judged_by_what_it_says(
    *, cache: Cache, tmp_path: Path, unit: str, says: str, version: str | None, refusal: str | None
) -> None:
    program = _program(tmp_path / "bin", next(iter(_unit(unit).programs)), says)
    found = Elsewhere(cache, {"PATH": f"{tmp_path / 'bin'}:/bin"}).on_path(_unit(unit))
    assert found is not None
    assert (found.program, found.version, found.refusal) == (program, version, refusal)


def test_an_answer_is_remembered_until_the_program_changes(cache: Cache, tmp_path: Path) -> None:
    program = _program(tmp_path / "bin", "etcd", "etcd Version: 3.6.4")
    environment = {"PATH": f"{tmp_path / 'bin'}:/bin"}
    for _ in range(3):
        found = Elsewhere(cache, environment).on_path(_unit("etcd"))
        assert found is not None
        assert found.version == "3.6.4"
    assert (tmp_path / "bin" / "etcd.asked").read_text(encoding="utf-8") == "asked\n"
    program.write_text(program.read_text(encoding="utf-8").replace("3.6.4", "3.6.55"), encoding="utf-8")
    found = Elsewhere(cache, environment).on_path(_unit("etcd"))
    assert found is not None
    assert found.version == "3.6.55"


def test_assets_are_looked_at_for_the_control_plane_only(cache: Cache, tmp_path: Path) -> None:
    _program(tmp_path / "assets", "kube-apiserver", "Kubernetes v1.36.0")
    _program(tmp_path / "assets", "helm", "v4.3.1")
    elsewhere = Elsewhere(cache, {"KUBEBUILDER_ASSETS": str(tmp_path / "assets"), "PATH": "/bin"})
    found = elsewhere.assets(_unit("kube-apiserver"))
    assert found is not None
    assert found.refusal is None
    assert elsewhere.assets(_unit("helm")) is None
    assert elsewhere.assets(_unit("etcd")) is None
    assert Elsewhere(cache, {"PATH": "/bin"}).assets(_unit("kube-apiserver")) is None
