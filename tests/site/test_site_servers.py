"""Drivers of servers, over real sockets where one is needed: what an answer means, and what its absence means."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from cutover.clock import SystemClock
from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, WrongInput
from cutover.evidence.sources import ContentMissing
from cutover.site.cache import Cache
from cutover.site.cluster import Cluster, guarded, pod_of, pointer, stripped
from cutover.site.contents import Contents
from cutover.site.database import Database, compare_markers
from cutover.site.prometheus import Prometheus
from cutover.site.public import PublicHost
from cutover.site.store import ArchiveLock, Store
from tests.local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Reply = tuple[int, dict[str, str], bytes]


class Server:
    """A local HTTP server that answers as the test says and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.reply: Callable[[str, str], Reply] = lambda _method, _path: (200, {}, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, headers, body))
                status, extra, content = outer.reply(self.command, self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = _answer  # noqa: N815 (the library's names)

            def log_message(self, *_: object) -> None:
                return

        self._server = LocalServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- cluster -----------------------------------------------------------------------------------------------------------


def cluster_at(url: str, tmp_path: Path, *, context: str = "ctx") -> Cluster:
    """Return the driver over a kubeconfig that names this server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "ctx",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "ctx", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Cluster(path, context=context, allowed_contexts=["ctx", "ctx2"], allowed_namespaces=["prod"])


def test_a_context_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        cluster_at("http://127.0.0.1:1", tmp_path, context="other")
    assert caught.value.code == "context-not-allowed"


def test_a_context_that_does_not_exist_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(WrongInput) as caught:
        cluster_at("http://127.0.0.1:1", tmp_path, context="ctx2").namespaces()
    assert caught.value.code == "kubeconfig-unusable"


def test_a_namespace_that_is_not_allowed_is_refused_before_anything_is_sent(server: Server, tmp_path: Path) -> None:
    cluster = cluster_at(server.url, tmp_path)
    for call in (
        lambda: cluster.pods("kube-system"),
        lambda: cluster.delete("Ingress", "kube-system", "x"),
        lambda: cluster.delete_namespace("kube-system"),
        lambda: cluster.proxy_get("kube-system", "s", 80, "/"),
        lambda: cluster.create("kube-system", {"kind": "Service", "metadata": {"name": "x"}}),
    ):
        with pytest.raises(Refused):
            call()
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "method", "kind", "code"),
    [
        (401, "get", CouldNotMeasure, "kubernetes-unauthorised"),
        (403, "get", CouldNotMeasure, "kubernetes-forbidden"),
        (500, "get", CouldNotMeasure, "kubernetes-refused"),
        (409, "patch", Refused, "changed-by-someone-else"),
        (422, "patch", Refused, "changed-by-someone-else"),
        (404, "patch", CouldNotMeasure, "kubernetes-not-found"),
    ],
)
def test_refusals_of_the_api_server(
    *, server: Server, tmp_path: Path, status: int, method: str, kind: type[Exception], code: str
) -> None:
    server.reply = lambda _method, _path: (status, {}, b'{"message": "no"}')
    cluster = cluster_at(server.url, tmp_path)
    calls = {
        "get": lambda: cluster.get("Ingress", "prod", "main"),
        "patch": lambda: cluster.patch("Ingress", "prod", "main", [{"op": "test", "path": "/x", "value": 1}]),
    }
    with pytest.raises(kind) as caught:
        calls[method]()
    assert getattr(caught.value, "code", "") == code


def test_an_absent_object_is_none(server: Server, tmp_path: Path) -> None:
    server.reply = lambda _method, _path: (404, {}, b"{}")
    cluster = cluster_at(server.url, tmp_path)
    assert cluster.get("Ingress", "prod", "main") is None
    assert cluster.delete("Ingress", "prod", "main") is False


def test_a_patch_is_sent_as_a_json_patch(server: Server, tmp_path: Path) -> None:
    patch = guarded({"metadata": {"resourceVersion": "7"}}, {"op": "replace", "path": "/spec/x", "value": "y"})
    cluster_at(server.url, tmp_path).patch("Ingress", "prod", "main", patch)
    method, path, headers, body = server.asked[-1]
    assert (method, path) == ("PATCH", "/apis/networking.k8s.io/v1/namespaces/prod/ingresses/main")
    assert headers["content-type"] == "application/json-patch+json"
    assert headers["authorization"] == "Bearer t"
    assert json.loads(body)[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def test_the_service_proxy_keeps_path_and_query(server: Server, tmp_path: Path) -> None:
    server.reply = lambda _method, _path: (503, {"X-Stella-Colour": "green"}, b"no")
    answer = cluster_at(server.url, tmp_path).proxy_get("prod", "svc", 80, "/api/v1/evidence?limit=5&after=ev-1")
    assert (answer.status, answer.headers["x-stella-colour"], answer.body) == (503, "green", b"no")
    assert server.asked[-1][1] == (
        "/api/v1/namespaces/prod/services/http:svc:80/proxy/api/v1/evidence?limit=5&after=ev-1"
    )


def test_an_api_server_that_is_gone_could_not_be_measured(tmp_path: Path, closed_port: int) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        cluster_at(f"http://127.0.0.1:{closed_port}", tmp_path).namespaces()
    assert caught.value.code == "kubernetes-unreachable"


def test_ready_endpoints_are_counted_once(server: Server, tmp_path: Path) -> None:
    slices = {
        "items": [
            {
                "metadata": {"name": name},
                "endpoints": [
                    {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
                    {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
                    {"addresses": ["10.0.0.3"]},
                ],
            }
            for name in ("a", "b")
        ]
    }
    server.reply = lambda _method, _path: (200, {}, json.dumps(slices).encode())
    assert cluster_at(server.url, tmp_path).ready_endpoints("prod", "svc") == 2


@pytest.mark.parametrize(
    ("status", "problem", "in_init", "init_running"),
    [
        (
            {"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "",
            False,
            "",
        ),
        (
            {"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "ImagePullBackOff",
            False,
            "",
        ),
        (
            {"initContainerStatuses": [{"name": "migrate", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
            True,
            "",
        ),
        ({"initContainerStatuses": [{"name": "migrate", "state": {"running": {}}}]}, "", False, "migrate"),
        (
            {"containerStatuses": [{"name": "web", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]},
            "Error",
            False,
            "",
        ),
        ({"containerStatuses": [{"name": "web", "state": {"terminated": {"exitCode": 0}}}]}, "", False, ""),
        ({"initContainerStatuses": [{"name": "migrate", "state": {"terminated": {"exitCode": 0}}}]}, "", False, ""),
        ({}, "", False, ""),
    ],
)
def test_what_is_wrong_with_a_pod(status: dict[str, Any], problem: str, in_init: bool, init_running: str) -> None:
    pod = pod_of(
        {
            "metadata": {"name": "p", "namespace": "prod"},
            "spec": {"containers": [{"name": "web", "image": "i:1", "ports": [{"containerPort": 8080}]}]},
            "status": status,
        }
    )
    assert (pod.problem, pod.problem_in_init, pod.init_running) == (problem, in_init, init_running)
    assert pod.container_port == 8080
    assert not pod.ready


def test_a_backup_holds_nothing_that_servers_set() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"}},
        "data": {"k": "v"},
        "status": {},
    }
    assert stripped(manifest) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "labels": {"a": "b"}},
        "data": {"k": "v"},
    }


def test_pointer_escapes() -> None:
    assert pointer("metadata", "annotations", "a/b~c", 0) == "/metadata/annotations/a~1b~0c/0"


# -- Prometheus --------------------------------------------------------------------------------------------------------


def prometheus_saying(status: int, document: object) -> Prometheus:
    """Return the driver over a server that says this."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, content=content))
    return Prometheus("http://prometheus.example", client=httpx.Client(transport=transport))


def vector(*values: str) -> dict[str, Any]:
    """Return Prometheus' answer of one series a value."""
    result = [{"metric": {"n": str(n)}, "value": [1000.5, value]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_numbers_nan_and_nothing_are_three_things() -> None:
    values = [sample.value for sample in prometheus_saying(200, vector("1.5", "NaN", "+Inf")).query("q").samples]
    assert values[0] == 1.5
    assert math.isnan(values[1])
    assert math.isinf(values[2])
    assert prometheus_saying(200, vector()).query("q").samples == ()


def test_an_answer_keeps_its_query_time_and_raw_document() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    answer = prometheus_saying(200, vector("1")).query("up", at=moment)
    assert (answer.query, answer.time, answer.raw) == ("up", moment, vector("1"))


@pytest.mark.parametrize(
    ("status", "document", "code"),
    [
        (400, {"status": "error", "error": "parse error"}, "prometheus-refused"),
        (503, {"status": "error"}, "prometheus-refused"),
        (200, b"<html>", "prometheus-unreadable"),
        (200, [], "prometheus-unreadable"),
        (200, {"status": "success", "data": {"resultType": "matrix", "result": []}}, "prometheus-unreadable"),
        (200, {"status": "success"}, "prometheus-unreadable"),
        (200, vector("many"), "prometheus-unreadable"),
    ],
)
def test_what_is_no_answer_of_prometheus(status: int, document: object, code: str) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        prometheus_saying(status, document).query("q")
    assert caught.value.code == code


def test_a_server_is_asked_by_the_sites_time_where_the_clock_was_put_ahead() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        data = vector("1") if "time" in request.url.params else matrix
        return httpx.Response(200, content=json.dumps(data).encode())

    matrix = {
        "status": "success",
        "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1000, "2"]]}]},
    }
    client = httpx.Client(transport=httpx.MockTransport(answer))
    clock = SystemClock(timedelta(days=1))
    clock.since = datetime.fromtimestamp(900, UTC)
    prometheus = Prometheus("http://prometheus.example", client=client, clock=clock)
    tomorrow = datetime.fromtimestamp(1000, UTC) + timedelta(days=1)
    found = prometheus.query("up", at=tomorrow)
    series = prometheus.query_range("up", start=tomorrow, end=tomorrow + timedelta(seconds=5), step_s=1)
    assert asked[0]["time"] == asked[1]["start"] == "1000.000"
    assert asked[1]["end"] == "1005.000"
    assert found.time == series[0].samples[0].time == tomorrow
    assert found.samples[0].time == tomorrow + timedelta(seconds=0.5)
    assert found.raw == vector("1")
    began = datetime.fromtimestamp(850.5, UTC)
    series = prometheus.query_range("up", start=began, end=tomorrow, step_s=7)
    assert [(one["start"], one["end"]) for one in asked[2:]] == [("850.500", "900.000"), ("900.500", "1000.000")]
    assert [one.samples[0].time.timestamp() for one in series] == [1000, 1000 + 86400]
    prometheus.query_range("up", start=began + timedelta(hours=1), end=tomorrow, step_s=7)
    assert len(asked) == 5, "of what was between yesterday and this process nothing is asked"


def test_prometheus_gone(closed_port: int) -> None:
    prometheus = Prometheus(f"http://127.0.0.1:{closed_port}")
    with pytest.raises(CouldNotMeasure) as caught:
        prometheus.query("q")
    assert caught.value.code == "prometheus-unreachable"
    assert not prometheus.is_ready()
    prometheus.close()


# -- public host -------------------------------------------------------------------------------------------------------


def test_who_serves_counts_each_answer_once_on_a_connection_of_its_own(server: Server) -> None:
    replies = [
        (200, {"X-Stella-Colour": "blue", "X-Stella-Pod": "b-1", "Set-Cookie": "sticky=1"}, b""),
        (200, {"X-Stella-Colour": "green", "X-Stella-Pod": "g-1"}, b""),
        (404, {"X-Stella-Colour": "green", "X-Stella-Pod": "g-1"}, b""),
        (302, {"X-Stella-Colour": "blue", "X-Stella-Pod": "b-1"}, b""),
        (204, {"X-Stella-Colour": "blue", "X-Stella-Pod": "b-1"}, b""),
        (500, {"X-Stella-Colour": "green"}, b""),
        (503, {}, b""),
        (200, {}, b""),
    ]
    remaining = list(replies)
    server.reply = lambda _method, _path: remaining.pop(0)
    public = PublicHost(server.url, colour_header="X-Stella-Colour", pod_header="X-Stella-Pod")
    served = public.who_serves(8)
    public.close()
    assert (served.total, served.by_colour, served.failed) == (8, {"blue": 1, "green": 1}, 6)
    assert served.pods == {"b-1": 1, "g-1": 1}
    assert set(served.problems) == {  # four are asked at once
        "status 404 from green",
        "status 302 from blue",
        "status 204 from blue",
        "status 500 from green",
        "status 503",
        "status 200",
    }
    assert not any("cookie" in headers for _, _, headers, _ in server.asked)


def test_a_public_host_that_hangs_costs_its_timeout_a_few_times_not_each_time(server: Server) -> None:
    def hang(_method: str, _path: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(1)
        return 200, {"X-Stella-Colour": "blue"}, b""

    server.reply = hang
    public = PublicHost(server.url, colour_header="X-Stella-Colour", pod_header="p", timeout_s=0.2)
    began = time.monotonic()
    served = public.who_serves(8)
    public.close()
    assert (served.total, served.failed) == (8, 8)
    assert time.monotonic() - began < 8 * 0.2


def test_a_public_host_that_is_gone_serves_nobody(closed_port: int) -> None:
    public = PublicHost(f"http://127.0.0.1:{closed_port}", colour_header="c", pod_header="p")
    served = public.who_serves(3)
    assert (served.failed, served.by_colour, served.single_colour) == (3, {}, None)
    with pytest.raises(CouldNotMeasure):
        public.get("/")
    public.close()


# -- store -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    store = Store(endpoint=server.url, bucket="evidence", access_key="ak", secret_key="sk")
    yield store
    store.close()


def test_content_is_read_signed_and_whole(server: Server, store: Store) -> None:
    content = bytes(range(256)) * 8192
    server.reply = lambda _method, _path: (200, {}, content)
    assert store.get("evidence/ab/x y") == content
    method, path, headers, _ = server.asked[-1]
    assert (method, path) == ("GET", "/evidence/evidence/ab/x%20y")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=ak/")
    assert "sk" not in headers["authorization"].split("Signature=")[0]


def test_absent_content_is_an_answer(server: Server, store: Store) -> None:
    server.reply = lambda _method, _path: (404, {}, b"")
    with pytest.raises(ClauseFailed) as caught:
        store.open("k")
    assert caught.value.code == "object-absent"
    with pytest.raises(ContentMissing):
        b"".join(Contents(store).open("k"))


def test_content_that_ends_too_early_was_not_read(server: Server, store: Store) -> None:
    server.reply = lambda _method, _path: (200, {"Content-Length": "100", "Connection": "close"}, b"short")
    with pytest.raises(CouldNotMeasure) as caught:
        store.get("k")
    assert caught.value.code == "store-unreachable"


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, b"<Error/>"), (500, b"<Error/>"), (503, b"<Error/>"), (404, b"<Error><Code>NoSuchBucket</Code></Error>")],
)
def test_a_refusing_store_could_not_be_measured(server: Server, store: Store, status: int, said: bytes) -> None:
    """A bucket that is not there is a wrong target file, not a site that lost everything."""
    server.reply = lambda _method, _path: (status, {}, said)
    with pytest.raises(CouldNotMeasure) as caught:
        store.open("k")
    assert caught.value.code == "store-refused"


def test_an_archive_that_gives_back_something_else_is_found(server: Server) -> None:
    store = Store(endpoint=server.url, bucket="b", archive_bucket="a", access_key="ak", secret_key="sk")
    server.reply = lambda method, _path: (200, {}, b"other" if method == "GET" else b"")
    with pytest.raises(ClauseFailed) as caught:
        store.archive("k", b"content")
    assert caught.value.code == "archive-differs"
    store.close()


@pytest.mark.parametrize(
    ("told", "until"),
    [
        (
            {"x-amz-object-lock-retain-until-date": "2026-11-25T14:43:48Z"},
            datetime(2026, 11, 25, 14, 43, 48, tzinfo=UTC),
        ),
        ({"x-amz-object-lock-retain-until-date": "later"}, None),
        ({}, None),
    ],
)
def test_what_was_archived_is_read_back_by_its_version_with_its_retention(
    server: Server, monkeypatch: pytest.MonkeyPatch, told: dict[str, str], until: datetime | None
) -> None:
    """What the archive says of the version counts, never what it was asked for."""
    store = Store(endpoint=server.url, bucket="b", archive_bucket="a", access_key="ak", secret_key="sk")
    monkeypatch.setattr(store, "archive_lock", lambda: ArchiveLock(locked=True, detail=""))
    server.reply = lambda method, _path: (
        200,
        {"x-amz-version-id": "v/1"} if method == "PUT" else told,
        b"content" if method == "GET" else b"",
    )
    kept = store.archive(
        "up grade/ü",
        b"content",
        retain_until=datetime(2026, 11, 25, 15, 43, 48, 9, tzinfo=timezone(timedelta(hours=1))),
    )
    store.close()
    (put, path, headers, body), (get, again, _, _) = server.asked
    assert (put, path, body) == ("PUT", "/a/up%20grade/%C3%BC", b"content")
    assert headers["x-amz-object-lock-mode"] == "GOVERNANCE"
    assert headers["x-amz-checksum-sha256"] == "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="
    assert headers["x-amz-object-lock-retain-until-date"] == "2026-11-25T14:43:48Z"
    assert "x-amz-object-lock-retain-until-date" in headers["authorization"], "the retention is signed"
    assert (get, again) == ("GET", "/a/up%20grade/%C3%BC?versionId=v%2F1")
    assert (kept.version, kept.retained_until) == ("v/1", until)


@pytest.mark.parametrize(
    ("status", "found", "told", "is_kept"),
    [
        (200, b"content", {"x-amz-object-lock-retain-until-date": "2026-11-25T14:43:47Z"}, True),
        (200, b"content", {"x-amz-object-lock-retain-until-date": "2026-11-25T14:43:46Z"}, False),
        (200, b"content", {}, False),
        (200, b"half of i", {"x-amz-object-lock-retain-until-date": "2026-11-25T14:43:48Z"}, False),
        (404, b"", {}, False),
    ],
)
def test_what_is_in_the_archive_already_counts_when_it_is_whole_and_retained(
    *,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    found: bytes,
    told: dict[str, str],
    is_kept: bool,
) -> None:
    store = Store(endpoint=server.url, bucket="b", archive_bucket="a", access_key="ak", secret_key="sk")
    monkeypatch.setattr(store, "archive_lock", lambda: ArchiveLock(locked=True, detail=""))
    server.reply = lambda _method, _path: (status, told, found)
    until = datetime(2026, 11, 25, 14, 43, 48, tzinfo=UTC)
    kept = store.archived("k", b"content", until=until)
    monkeypatch.setattr(store, "archive_lock", lambda: ArchiveLock(locked=False, detail=""))
    without_lock = store.archived("k", b"content", until=until)
    store.close()
    assert (kept is not None) is is_kept
    assert (without_lock is not None) is (found == b"content")
    assert {method for method, *_ in server.asked} == {"GET"}


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (404, b"", "object-absent"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", "store-refused"),
        (403, b"<Error/>", "store-refused"),
        (507, b"full", "store-refused"),
    ],
)
def test_an_archive_that_refuses(server: Server, status: int, said: bytes, code: str) -> None:
    store = Store(endpoint=server.url, bucket="b", archive_bucket="a", access_key="ak", secret_key="sk")
    server.reply = lambda _method, _path: (status, {}, said)
    with pytest.raises((ClauseFailed, CouldNotMeasure)) as caught:
        store.archive("k", b"content")
    store.close()
    assert caught.value.code == code


# -- database and cache ------------------------------------------------------------------------------------------------


def test_a_database_that_is_gone(closed_port: int) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        Database(f"postgresql://u:secret-word@127.0.0.1:{closed_port}/d").identity()
    assert caught.value.code == "database-unreachable"
    assert "secret-word" not in f"{caught.value.message}{caught.value.seen}"


def test_an_unreadable_connection_string_is_wrong_input() -> None:
    with pytest.raises(WrongInput) as caught:
        Database("this is = = none")
    assert caught.value.code == "dsn-invalid"


def test_nothing_is_restored_over_the_platforms_database() -> None:
    unused: Any = None
    with pytest.raises(Refused) as caught:
        Database("postgresql://u@h/stellaops").restore(unused, unused, timeout_s=1)
    assert caught.value.code == "not-scratch"


def test_a_scratch_database_needs_its_own_connection() -> None:
    with pytest.raises(WrongInput) as caught, Database("postgresql://u@h/stellaops").scratch():
        pass
    assert caught.value.code == "admin-dsn-missing"


def test_a_cache_that_is_gone(closed_port: int) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        Cache(f"redis://127.0.0.1:{closed_port}/0").run_id()
    assert caught.value.code == "cache-unreachable"


@pytest.mark.parametrize(
    ("acknowledged", "present", "missing", "repeated", "unacknowledged", "exact"),
    [
        ([1, 2, 3], [1, 2, 3], (), (), (), True),
        ([1, 2], [1, 2, 3], (), (), (3,), True),
        ([1, 2, 3], [1, 3], (2,), (), (), False),
        ([1, 2], [1, 2, 2], (), (2,), (), False),
        ([1, 1], [1], (), (1,), (), False),
        ([], [], (), (), (), True),
    ],
)
def test_markers(
    *,
    acknowledged: list[int],
    present: list[int],
    missing: tuple[int, ...],
    repeated: tuple[int, ...],
    unacknowledged: tuple[int, ...],
    exact: bool,
) -> None:
    check = compare_markers(acknowledged, present)
    assert (check.missing, check.repeated, check.unacknowledged) == (missing, repeated, unacknowledged)
    assert check.is_exact is exact
