"""What the injector does to processes, scrapes and routes: the deeds that need no whole site to be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import yaml

from rehearsal.environment import faults, layout, meddling, prometheus, sitedata, strikes
from rehearsal.environment.polling import holds_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.environment.layout import Place

WAITING = "import sys, time; time.sleep(60); 'a-web-process'"


@pytest.fixture
def injector(place: Place) -> strikes.Injector:
    place.faults.mkdir()
    place.logs().mkdir()
    return strikes.Injector(place=place, known=sitedata.Secrets.fresh())


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "STELLA_COLOUR": "green"}
    with subprocess.Popen([sys.executable, "-c", WAITING], env=environment) as started:
        assert holds_within(10, lambda: b"STELLA_COLOUR=green" in _words_of(started.pid))
        yield started
        started.kill()


def _words_of(pid: int) -> bytes:
    """Command line and environment; both stay empty for a moment after the program was replaced."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]


def _becomes(pid: int, state: str) -> bool:
    return holds_within(10, lambda: (_state(pid) == "T") == (state == "T"))


def test_processes_are_found_by_their_words_and_their_environment(process: subprocess.Popen[bytes]) -> None:
    assert list(strikes._processes("a-web-process", STELLA_COLOUR="green")) == [process.pid]
    assert not list(strikes._processes("a-web-process", STELLA_COLOUR="blue"))
    assert not list(strikes._processes("no-such-words"))


def test_a_signal_to_nobody_is_an_error(injector: strikes.Injector) -> None:
    with pytest.raises(LookupError):
        injector._signal(strikes._processes("no-such-words"), signal.SIGKILL)


def test_a_frozen_process_goes_on_by_itself(
    injector: strikes.Injector, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fault,) = faults.named(["server-freezes:2"])
    monkeypatch.setattr(strikes, "_processes", lambda *_, **__: iter([process.pid]))
    injector._freeze(fault)
    assert _becomes(process.pid, "T")
    assert _becomes(process.pid, "S")


def test_a_part_is_started_again_as_it_was(injector: strikes.Injector, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = (
        f"import os, time; open({str(told)!r}, 'a').write(os.environ['SAID'] + os.getcwd() + '\\n'); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "SAID": "hello "}, cwd=tmp_path)
    with first:
        _wait_for_lines(told, 1)
        injector.place.status.write_text(f'{{"parts": {{"ingress": {{"pid": {first.pid}}}}}}}')
        injector._restart("ingress", 0.05)
        assert first.wait(10) == -signal.SIGKILL
    assert _wait_for_lines(told, 2) == [f"hello {tmp_path}"] * 2
    (again,) = injector.started
    with again:
        again.kill()


def _wait_for_lines(path: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(f"not {count} lines in {path}")


def test_a_metric_of_green_is_dropped_at_the_scrape(
    injector: strikes.Injector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = injector.place.root / "prometheus.yml"
    path.write_text(prometheus.configuration(tmp_path / "kubeconfig"))
    before = yaml.safe_load(path.read_text())
    sent: list[tuple[str, int]] = []
    monkeypatch.setattr(strikes.Injector, "_kill", lambda _self, part, number: sent.append((part, number)))
    injector._drop_metric("attestation_attempts_total")
    (job,) = yaml.safe_load(path.read_text())["scrape_configs"]
    (rule,) = job.pop("metric_relabel_configs")
    assert rule["regex"] == f"{layout.GREEN_NAMESPACE};attestation_attempts_total"
    assert rule["action"] == "drop"
    assert [job] == before["scrape_configs"]
    assert sent == [("prometheus", signal.SIGHUP)]


class Api:
    """What is asked of the API server, and objects that it has."""

    asked: list[tuple[str, str, Any]]
    there: dict[str, Any]

    def __init__(self, _place: Place) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get(self, path: str) -> Any:  # noqa: ANN401
        return self.there[path]

    def patch(self, path: str, operations: list[Any]) -> None:
        self.asked.append(("patch", path.rpartition("/")[2], operations))

    def create(self, path: str, manifest: Any) -> None:  # noqa: ANN401
        self.asked.append(("create", path.rpartition("/")[2], manifest))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[Api]:
    Api.asked, Api.there = [], {}
    monkeypatch.setattr(meddling, "ApiClient", Api)
    return Api


NGINX = 'kind = "nginx"\nprimary = "main"\ncanary = "canary"\n'
GATEWAY = 'kind = "gateway"\nroute = "main"\ngateway = "door"\n'


def _routed(place: Place, routing: str) -> None:
    place.target.write_text(f"[routing]\n{routing}")


def test_somebody_edits_the_weight_while_there_is_one_and_the_route_otherwise(place: Place, api: type[Api]) -> None:
    _routed(place, NGINX)
    main, canary = {"metadata": {"name": "main"}}, {"metadata": {"name": "canary", "annotations": {"kept": "yes"}}}
    api.there = {meddling._INGRESSES: {"items": [main, canary]}, f"{meddling._INGRESSES}/canary": canary}
    meddling.edit_route(place)
    (_, name, (operation,)) = api.asked.pop()
    assert name == "canary"
    assert operation["value"] == {"kept": "yes", "nginx.ingress.kubernetes.io/canary-weight": "60"}
    api.there = {meddling._INGRESSES: {"items": [main]}}
    meddling.edit_route(place)
    (_, name, (operation,)) = api.asked.pop()
    assert (name, operation["value"]["service"]["name"]) == ("main", "stellaops-blue")


@pytest.mark.parametrize("held", [["stellaops-blue", "stellaops-green"], ["stellaops-green"]])
def test_somebody_edits_the_weights_of_an_http_route(place: Place, api: type[Api], held: list[str]) -> None:
    _routed(place, GATEWAY)
    backends = [{"name": name, "port": 80, "weight": 1} for name in held]
    api.there = {f"{meddling._HTTP_ROUTES}/main": {"spec": {"rules": [{"backendRefs": backends}]}}}
    meddling.edit_route(place)
    ((_, name, (operation,)),) = api.asked
    assert name == "main"
    assert [(each["name"], each["weight"]) for each in operation["value"]] == [
        ("stellaops-blue", 40),
        ("stellaops-green", 60),
    ]


@pytest.mark.parametrize(("routing", "kind"), [(NGINX, "ingresses"), (GATEWAY, "httproutes")])
def test_a_route_of_somebody_else_takes_a_path_of_the_same_host(
    place: Place, api: type[Api], routing: str, kind: str
) -> None:
    _routed(place, routing)
    selector = {"colour": "blue"}
    api.there = {
        f"{meddling._SERVICES}/stellaops-blue": {"spec": {"selector": selector, "ports": [{"targetPort": 1}]}},
        f"{meddling._ENDPOINTS}/{meddling._SHADOW}": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]},
    }
    meddling.shadow_route(place)
    (_, _, service), (act, where, manifest) = api.asked
    assert service["spec"]["selector"] == selector
    assert (act, where) == ("create", kind)
    assert "/api/v1/catalogue" in str(manifest)
    assert layout.PUBLIC_HOST in str(manifest)
    assert f"'name': '{service['metadata']['name']}', 'port'" in str(manifest)


def test_sessions_are_kept_by_a_cookie_or_by_a_header(place: Place, api: type[Api]) -> None:
    _routed(place, NGINX)
    api.there = {f"{meddling._INGRESSES}/main": {"metadata": {}}}
    meddling.stick_sessions(place)
    ((_, _, (operation,)),) = api.asked
    assert operation["value"]["nginx.ingress.kubernetes.io/affinity"] == "cookie"
    api.asked.clear()
    _routed(place, GATEWAY)
    meddling.stick_sessions(place)
    ((_, _, (operation,)),) = api.asked
    assert operation["path"] == "/spec/rules/0"
    assert "headers" in str(operation["value"])
