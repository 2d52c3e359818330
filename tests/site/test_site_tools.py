"""stella and helm through the real operator: what their answers and exit codes are made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import project
from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.model import Environment
from cutover.redaction import Redactor
from cutover.site.helm import Helm
from cutover.site.operator import Operator
from cutover.site.stella import Stella, schema_name

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "schema": "stella/version/v1",
    "ok": True,
    "client": "2027.Q2",
    "server": "2027.Q1",
    "image": "registry.example/stellaops:2027.Q1",
    "namespace": "stellaops-prod",
}
ERROR = {"schema": "stella/version/v1", "ok": False, "error": {"code": "broken", "message": "it is", "remedy": "mend"}}


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    (tmp_path / "bin").mkdir()
    return Operator("local://", path=[str(tmp_path / "bin")], redactor=Redactor(), folder=tmp_path / "artifacts")


def install(tmp_path: Path, name: str, *, stdout: str, exit_code: int, stderr: str = "") -> None:
    """Put a tool on the operator's path that writes down its words and says this."""
    folder = tmp_path / "bin"
    (folder / "stdout").write_text(stdout)
    (folder / "stderr").write_text(stderr)
    script = (
        f'#!/bin/sh\nprintf "%s\\n" "$@" > "{folder}/words"\nenv > "{folder}/env"\n'
        f'cat "{folder}/stdout"\ncat "{folder}/stderr" >&2\nexit {exit_code}\n'
    )
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


@pytest.fixture
def stella(operator: Operator) -> Stella:
    return Stella(
        operator,
        contract=project.CONTRACT / "stella",
        environment={"KUBECONFIG": "/etc/kubeconfig"},
        default_timeout_s=10,
    )


def test_every_command_of_the_guide_has_its_schema() -> None:
    commands = [
        ("version",),
        ("upgrade", "check", "--target", "x"),
        ("doctor", "--full"),
        ("system", "migrations-status"),
        ("system", "migrations-run", "--category", "A"),
        ("evidence", "verify-all", "--output", "f"),
        ("evidence", "export", "--all", "--output", "f"),
        ("evidence", "verify-continuity", "--baseline", "f"),
        ("evidence", "audit-report", "--since", "t"),
        ("evidence", "verify-digests", "--report", "f"),
        ("evidence", "compliance-report", "--format", "pdf"),
        ("evidence", "reindex"),
        ("attest", "verify-all", "--since", "t"),
        ("attest", "verify", "--bundle", "f"),
        ("test", "smoke"),
        ("test", "integration"),
        ("scan", "--image", "i", "--dry-run"),
    ]
    for words in commands:
        name = schema_name(words)
        path = project.CONTRACT / "stella" / f"{name.split('/')[1]}.schema.json"
        assert path.is_file(), name


def test_a_good_answer(stella: Stella, tmp_path: Path) -> None:
    install(tmp_path, "stella", stdout=json.dumps(GOOD), exit_code=0)
    assert stella.call("version", namespace="stellaops-green") == GOOD
    assert (tmp_path / "bin" / "words").read_text().split() == ["version", "--json"]
    environment = (tmp_path / "bin" / "env").read_text().splitlines()
    assert {"KUBECONFIG=/etc/kubeconfig", "STELLA_NAMESPACE=stellaops-green"} <= set(environment)


@pytest.mark.parametrize(
    ("stdout", "exit_code", "kind", "code"),
    [
        (json.dumps(GOOD), 1, ClauseFailed, "stella-contradicts-itself"),
        (json.dumps({**GOOD, "ok": False}), 0, ClauseFailed, "stella-contradicts-itself"),
        (json.dumps({**GOOD, "ok": False}), 1, ClauseFailed, "stella-not-ok"),
        (json.dumps(ERROR), 1, ClauseFailed, "stella-not-ok"),
        (json.dumps(ERROR), 3, CouldNotMeasure, "stella-unreachable"),
        ("", 3, CouldNotMeasure, "stella-unreachable"),
        ("", 2, CouldNotMeasure, "stella-usage"),
        ("", 0, CouldNotMeasure, "stella-unreadable"),
        ("rubbish", 0, CouldNotMeasure, "stella-unreadable"),
        ("[]", 0, CouldNotMeasure, "stella-unreadable"),
        ("{}", 0, CouldNotMeasure, "stella-unreadable"),
        (json.dumps(GOOD) * 2, 0, CouldNotMeasure, "stella-unreadable"),
        (json.dumps({**GOOD, "schema": "stella/doctor/v1"}), 0, CouldNotMeasure, "stella-unreadable"),
        (json.dumps({**GOOD, "server": 1}), 0, CouldNotMeasure, "stella-unreadable"),
        (
            json.dumps({key: value for key, value in GOOD.items() if key != "image"}),
            0,
            CouldNotMeasure,
            "stella-unreadable",
        ),
    ],
)
def test_other_answers(
    *, stella: Stella, tmp_path: Path, stdout: str, exit_code: int, kind: type[Exception], code: str
) -> None:
    install(tmp_path, "stella", stdout=stdout, exit_code=exit_code)
    with pytest.raises(kind) as caught:
        stella.call("version", namespace="stellaops-green")
    assert getattr(caught.value, "code", "") == code


def test_not_ok_can_be_an_answer(stella: Stella, tmp_path: Path) -> None:
    install(tmp_path, "stella", stdout=json.dumps({**GOOD, "ok": False}), exit_code=1)
    assert stella.call("version", namespace="stellaops-green", check=False)["ok"] is False


GREEN = Environment(
    name="green", namespace="stellaops-green", release="rel", service="svc", values=(), cache_url="redis://x"
)


def helm_of(operator: Operator) -> Helm:
    """Return helm as a target sets it up."""
    return Helm(
        operator,
        chart="/charts/stellaops",
        image_tag_key="image.tag",
        wait_timeout_s=30,
        context="ctx",
        environment={"KUBECONFIG": "/etc/kubeconfig"},
    )


def test_helm_installs_and_waits(operator: Operator, tmp_path: Path) -> None:
    install(tmp_path, "helm", stdout="", exit_code=0)
    helm_of(operator).upgrade(GREEN, tag="2027.Q2")
    words = (tmp_path / "bin" / "words").read_text().split()
    assert words[:4] == ["upgrade", "rel", "/charts/stellaops", "--install"]
    for pair in ("--namespace stellaops-green --create-namespace", "--set image.tag=2027.Q2", "--wait --timeout 30s"):
        assert pair in " ".join(words)
    assert words[-2:] == ["--kube-context", "ctx"]


STATUS: dict[str, Any] = {
    "name": "rel",
    "namespace": "stellaops-green",
    "version": 2,
    "info": {"status": "deployed"},
    "config": {"colour": "green"},
}


def test_helm_status(operator: Operator, tmp_path: Path) -> None:
    install(tmp_path, "helm", stdout=json.dumps(STATUS), exit_code=0)
    release = helm_of(operator).status("rel", "stellaops-green")
    assert release is not None
    assert (release.revision, release.is_deployed, release.values) == (2, True, {"colour": "green"})


def test_helm_knows_no_such_release(operator: Operator, tmp_path: Path) -> None:
    install(tmp_path, "helm", stdout="", exit_code=1, stderr="Error: release: not found")
    assert helm_of(operator).status("rel", "stellaops-green") is None


@pytest.mark.parametrize(
    ("stdout", "exit_code", "stderr"),
    [("not json", 0, ""), ("{}", 0, ""), ("", 1, "Error: Kubernetes cluster unreachable")],
)
def test_helm_unreadable(operator: Operator, tmp_path: Path, stdout: str, exit_code: int, stderr: str) -> None:
    install(tmp_path, "helm", stdout=stdout, exit_code=exit_code, stderr=stderr)
    with pytest.raises(CouldNotMeasure) as caught:
        helm_of(operator).status("rel", "stellaops-green")
    assert caught.value.code == "helm-unreadable"


def test_helm_that_gives_up_is_a_failed_clause(operator: Operator, tmp_path: Path) -> None:
    install(tmp_path, "helm", stdout="", exit_code=1, stderr="Error: context deadline exceeded")
    with pytest.raises(ClauseFailed, match="did not bring") as caught:
        helm_of(operator).upgrade(GREEN, tag="2027.Q2")
    assert "deadline" in caught.value.seen
