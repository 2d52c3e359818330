"""The diagnostics archive holds what support needs and no secret of the site, wherever it stood."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from rehearsal.platform.stella import cli
from rehearsal.platform.stella.diagnostics import Redactor

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server


def files_of(path: Path) -> dict[str, str]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("diagnostics/")] = file.read().decode()
    return found


def test_the_archive_is_whole_private_and_without_secrets(site: Server, tmp_path: Path):
    del site
    path = tmp_path / "diagnostics.tar.gz"
    result = CliRunner().invoke(cli.stella, ["doctor", "--export", str(path), "--json"])
    assert json.loads(result.stdout)["export"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    files = files_of(path)
    assert {"checks.json", "versions.json", "pods.json", "secrets.json", "logs/web-1/web.log"} <= set(files)
    assert files["problems.txt"] == "everything was collected\n"
    assert json.loads(files["versions.json"])["kubernetes"] == "v1.36.3"
    text = "\n".join(files.values())
    for secret in ("correct-horse", "store-secret-key", "PRIVATE KEY", "secret-token"):
        assert secret not in text
    assert "connecting to [redacted]" in files["logs/web-1/web.log"]


def test_an_archive_is_written_though_the_cluster_is_away(
    site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    away = tmp_path / "away"
    away.write_text((tmp_path / "kubeconfig").read_text().replace(site.url, "http://127.0.0.1:9"))
    monkeypatch.setenv("KUBECONFIG", str(away))
    path = tmp_path / "diagnostics.tar.gz"
    result = CliRunner().invoke(cli.stella, ["doctor", "--export", str(path), "--json"])
    assert result.exit_code == 3
    files = files_of(path)
    assert "did not answer" in files["problems.txt"]
    assert set(files) == {"checks.json", "problems.txt", "versions.json"}


def test_nothing_of_the_cluster_is_collected_when_its_secrets_cannot_be_told(site: Server, tmp_path: Path):
    site.answer("/api/v1/namespaces/stellaops-prod/secrets", {"message": "no"}, status=403)
    path = tmp_path / "diagnostics.tar.gz"
    CliRunner().invoke(cli.stella, ["doctor", "--export", str(path)])
    files = files_of(path)
    assert "pods.json" not in files
    assert "needed to redact" in files["problems.txt"]


def test_what_cannot_be_collected_is_named(site: Server, tmp_path: Path):
    site.answer("/api/v1/namespaces/stellaops-prod/pods/web-1/log", {"message": "node away"}, status=500)
    path = tmp_path / "diagnostics.tar.gz"
    CliRunner().invoke(cli.stella, ["doctor", "--export", str(path)])
    files = files_of(path)
    assert "logs/web-1/web.log" not in files
    assert "node away" in files["problems.txt"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password is hunter22", "password is [redacted]"),
        ('{"key": "line\\nbreak"}', '{"key": "[redacted]"}'),
        ("redis://user:pw@host/0", "redis://user:[redacted]@host/0"),
        ("redis://:pw@host/0", "redis://:[redacted]@host/0"),
        ("-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----", "[redacted]"),
        ("only the password sesame99 of a URL", "only the password [redacted] of a URL"),
        ("true", "true"),
    ],
)
def test_secrets_are_replaced_in_every_form(text: str, expected: str):
    redact = Redactor(["hunter22", "line\nbreak", "postgresql://u:sesame99@h/d", "true"])
    assert redact(text) == expected
