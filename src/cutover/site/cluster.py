"""Read and change Kubernetes objects of the site, and nothing else.

Responsibility: the objects that the runbook speaks of, as plain records; changes to routes as JSON Patches that fail
when somebody else changed the object in between.
Invariants: a context or a namespace that the target does not allow is refused before anything is sent, except for
scratch namespaces made here; every request has a deadline; a patch of an existing object tests its resourceVersion.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from cutover.errors import CouldNotMeasure, Refused, WrongInput
from cutover.runbook.ports import ClusterEvent, Deployment, Pod, ProxyAnswer
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Manifest: TypeAlias = "dict[str, Any]"
"""A Kubernetes object as its JSON."""

REQUEST_TIMEOUT_S = 10.0
_SCRATCH_PREFIX = "cutover-scratch-"
_SCRATCH_LABEL = "cutover.example/scratch"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_STARTUP_GRACE = frozenset({"ContainerCreating", "PodInitializing"})
_GENERATED_CONFIGMAPS = frozenset({"kube-root-ca.crt"})
_GENERATED_SECRETS = frozenset({"kubernetes.io/service-account-token"})
_ABOUT_OTHERS = frozenset(
    {
        "ControllerRevision",
        "Endpoints",
        "EndpointSlice",
        "Event",
        "HorizontalPodAutoscaler",
        "Lease",
        "LimitRange",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMetrics",
        "ReferenceGrant",
        "ResourceQuota",
        "Role",
        "RoleBinding",
    }
)
"""Kinds that only say something about other objects of the namespace: alone they neither route, run nor store."""
_GENERATED = frozenset(
    {("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "openshift-service-ca.crt"), ("ServiceAccount", "default")}
)
"""Objects that the cluster makes in every namespace, by kind and name."""
_HELM_RELEASE = "helm.sh/release.v1"
_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
)

_KINDS: Mapping[str, tuple[str, str]] = {
    "Namespace": ("/api/v1", "namespaces"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses"),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "ReferenceGrant": ("/apis/gateway.networking.k8s.io/v1beta1", "referencegrants"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
}


class Cluster:
    """The cluster of the target, through one context of one kubeconfig."""

    def __init__(
        self,
        kubeconfig: Path,
        *,
        context: str,
        allowed_contexts: Sequence[str],
        allowed_namespaces: Sequence[str],
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        """Read no file yet. Raises: Refused `context-not-allowed`."""
        if context not in allowed_contexts:
            raise Refused(
                f"the context {context!r} is not one that the target allows",
                code="context-not-allowed",
                seen=f"allowed: {', '.join(allowed_contexts)}",
                do="correct [kubernetes] context, or add it to allowed_contexts on purpose",
            )
        self._kubeconfig = kubeconfig
        self._context = context
        self._allowed = frozenset(allowed_namespaces)
        self._scratch: set[str] = set()
        self._timeout_s = request_timeout_s
        self._client: Any = None
        self._lock = threading.Lock()

    # -- transport -------------------------------------------------------------------------------------------------

    def _api(self) -> Any:  # noqa: ANN401 (the client ships no types)
        with self._lock:
            if self._client is None:
                from kubernetes import client, config  # noqa: PLC0415 (slow to import)

                settings = client.Configuration()
                try:
                    config.load_kube_config(  # type: ignore[no-untyped-call]
                        config_file=str(self._kubeconfig), context=self._context, client_configuration=settings
                    )
                except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
                    raise WrongInput(
                        f"the kubeconfig {self._kubeconfig} cannot be used with context {self._context!r}",
                        code="kubeconfig-unusable",
                        seen=str(error)[:300],
                        do="correct [kubernetes] kubeconfig and context of the target",
                    ) from error
                settings.retries = False
                self._client = client.ApiClient(settings)
            return self._client

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
        accept: str = "application/json",
    ) -> tuple[int, Mapping[str, str], bytes]:
        import urllib3  # noqa: PLC0415 (comes with the client)

        api = self._api()
        request = api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = api.call_api(*request, _request_timeout=timeout_s or self._timeout_s)
            content = answer.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(str(error)) from error
        except Exception as error:
            # The client wraps TLS errors in its own class, which only importing it would name.
            if type(error).__module__.startswith("kubernetes."):
                raise self._unreachable(str(error)) from error
            raise
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, headers, content or b""

    def _unreachable(self, why: str) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the API server of context {self._context!r} does not answer",
            code="kubernetes-unreachable",
            seen=why[:300],
            do="check that the cluster runs and that the kubeconfig of the target names it",
        )

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        missing_is_none: bool = False,
        timeout_s: float | None = None,
    ) -> Manifest | None:
        """Send a request and return the object it answers with; None for 404 where that is an answer."""
        status, _, content = self._send(
            method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s
        )
        if status == 404 and missing_is_none:
            return None
        if status >= 400:
            raise self._error(method, path, status, content)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self._unreachable(f"{method} {path} answered {content[:200]!r}") from error
        if not isinstance(answer, dict):
            raise self._unreachable(f"{method} {path} answered {content[:200]!r}")
        return answer

    def _error(self, method: str, path: str, status: int, content: bytes) -> CouldNotMeasure | Refused:
        try:
            message = str(json.loads(content).get("message", ""))
        except (ValueError, AttributeError):
            message = content[:200].decode(errors="replace")
        if status in {409, 422} and method == "PATCH":
            return Refused(
                f"{path.rsplit('/', 1)[-1]} was changed by someone else between reading and writing it",
                code="changed-by-someone-else",
                seen=message[:300],
                do="find out who changes it (kubectl get -o yaml --show-managed-fields), stop them, then resume",
            )
        code = {401: "kubernetes-unauthorised", 403: "kubernetes-forbidden", 404: "kubernetes-not-found"}.get(
            status, "kubernetes-refused"
        )
        return CouldNotMeasure(
            f"the API server refused {method} {path}",
            code=code,
            seen=f"{status} {message[:300]}",
            do="check the rights of the kubeconfig's user" if status in {401, 403} else "see what the API server said",
            status=status,
        )

    def guard(self, namespace: str) -> None:
        """Refuse a namespace that is neither allowed nor a scratch namespace of this run."""
        if namespace not in self._allowed and namespace not in self._scratch:
            raise Refused(
                f"the namespace {namespace!r} is not one that the target allows",
                code="namespace-not-allowed",
                seen=f"allowed: {', '.join(sorted(self._allowed))}",
                do="correct the target, or add the namespace to allowed_namespaces on purpose",
            )

    def _path(self, kind: str, namespace: str | None, name: str | None = None) -> str:
        group, plural = _KINDS[kind]
        if namespace is not None:
            self.guard(namespace)
            group += f"/namespaces/{namespace}"
        return f"{group}/{plural}" + (f"/{name}" if name else "")

    # -- objects ---------------------------------------------------------------------------------------------------

    def get(self, kind: str, namespace: str, name: str, *, timeout_s: float | None = None) -> Manifest | None:
        """Return an object, or None when there is none of that name."""
        return self._json("GET", self._path(kind, namespace, name), missing_is_none=True, timeout_s=timeout_s)

    def list(self, kind: str, namespace: str, *, selector: Mapping[str, str] | None = None) -> tuple[Manifest, ...]:
        """Return the objects of a kind, sorted by name; empty in a namespace that does not exist."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())} if selector else {}
        answer = self._json("GET", self._path(kind, namespace), query=query) or {}
        group = _KINDS[kind][0].removeprefix("/apis/").removeprefix("/api/")
        items = [{"apiVersion": group, "kind": kind, **item} for item in answer.get("items") or []]
        return tuple(sorted(items, key=lambda item: str(item["metadata"]["name"])))

    def create(self, namespace: str, manifest: Mapping[str, Any], *, timeout_s: float | None = None) -> Manifest:
        """Create an object in a namespace, whatever namespace its manifest names."""
        body = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
        return self._json("POST", self._path(str(manifest["kind"]), namespace), body=body, timeout_s=timeout_s) or {}

    def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        timeout_s: float | None = None,
    ) -> Manifest:
        """Apply a JSON Patch (RFC 6902).

        Raises: Refused `changed-by-someone-else` when one of its `test` operations does not hold.
        """
        path = self._path(kind, namespace, name)
        body = [dict(operation) for operation in operations]
        content_type = "application/json-patch+json"
        return self._json("PATCH", path, body=body, content_type=content_type, timeout_s=timeout_s) or {}

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        """Delete an object at once, what it owns follows; return whether there was one."""
        body = {"propagationPolicy": "Background"}
        return self._json("DELETE", self._path(kind, namespace, name), body=body, missing_is_none=True) is not None

    # -- namespaces ------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Return the API server's version, as `v1.36.3`."""
        return str((self._json("GET", "/version") or {}).get("gitVersion", ""))

    def namespaces(self) -> frozenset[str]:
        """Return the names of all namespaces that are not being deleted."""
        answer = self._json("GET", "/api/v1/namespaces") or {}
        return frozenset(
            str(item["metadata"]["name"])
            for item in answer.get("items") or []
            if not item["metadata"].get("deletionTimestamp")
        )

    def has_namespace(self, name: str) -> bool:
        """Whether there is a namespace of this name, being deleted or not."""
        return self._json("GET", f"/api/v1/namespaces/{name}", missing_is_none=True) is not None

    def delete_namespace(self, namespace: str, *, bound_s: float = 60.0) -> None:
        """Delete an allowed namespace with all that is in it, and wait until it is gone (5.2b)."""
        self.guard(namespace)
        path = f"/api/v1/namespaces/{namespace}"
        found = self._json("GET", path, missing_is_none=True)
        if found is not None and not found["metadata"].get("deletionTimestamp"):  # deleted twice it is a conflict
            self._json("DELETE", path, missing_is_none=True)
        wait_for(
            f"namespace {namespace} to be gone",
            lambda: self._json("GET", path, missing_is_none=True),
            until=lambda found: found is None,
            bound_s=bound_s,
            describe=lambda found: "gone" if found is None else f"phase {found.get('status', {}).get('phase', '?')}",
            do=f"see what holds it: kubectl get namespace {namespace} -o yaml",
        )

    @contextlib.contextmanager
    def scratch_namespace(self, name: str = "") -> Iterator[str]:
        """Make a namespace that only this harness uses, and delete it afterwards; name: one of `scratch_name`."""
        name = name or scratch_name()
        manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {_MANAGED_BY: "cutover", _SCRATCH_LABEL: "true"}},
        }
        self._json("POST", "/api/v1/namespaces", body=manifest)
        self._scratch.add(name)
        try:
            yield name
        finally:
            self._json("DELETE", f"/api/v1/namespaces/{name}", missing_is_none=True)
            self._scratch.discard(name)

    def remove_left(self, name: str) -> None:
        """Delete a scratch namespace that a process which is gone has made; absent is well too.

        Raises: ValueError for a name that is none of `scratch_name`; Refused for a namespace that is not ours.
        """
        if re.fullmatch(_SCRATCH_PREFIX + "[0-9a-f]{8}", name) is None:
            raise ValueError(f"{name} is no name of a scratch namespace")
        path = f"/api/v1/namespaces/{name}"
        found = self._json("GET", path, missing_is_none=True)
        if found is None:
            return
        if (found["metadata"].get("labels") or {}).get(_SCRATCH_LABEL) != "true":
            raise Refused(
                f"the namespace {name} is not one that the harness made",
                code="not-scratch",
                seen=f"it has no label {_SCRATCH_LABEL}=true",
                do="find out who made it, and delete it by hand",
            )
        self._json("DELETE", path, missing_is_none=True)

    # -- workloads -------------------------------------------------------------------------------------------------

    def deployments(self, namespace: str) -> tuple[Deployment, ...]:
        """Return the Deployments of a namespace, sorted by name."""
        return tuple(_deployment(item) for item in self.list("Deployment", namespace))

    def pods(self, namespace: str, *, selector: Mapping[str, str] | None = None) -> tuple[Pod, ...]:
        """Return the Pods that carry the labels, sorted by name; Pods being deleted are left out."""
        found = self.list("Pod", namespace, selector=selector)
        return tuple(pod_of(item) for item in found if not item["metadata"].get("deletionTimestamp"))

    def pod_log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail_lines: int = 200
    ) -> str:
        """Return the end of a container's log; empty when the node has none."""
        path = f"{self._path('Pod', namespace, pod)}/log"
        query = {"container": container, "tailLines": str(tail_lines), "previous": str(previous).lower()}
        status, _, content = self._send("GET", path, query=query, accept="*/*")
        return content.decode(errors="replace") if status == 200 else ""

    def events(self, namespace: str) -> tuple[ClusterEvent, ...]:
        """Return the events of a namespace, oldest first."""
        items = sorted(
            self.list("Event", namespace),
            key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""),
        )
        return tuple(
            ClusterEvent(
                kind=str(item.get("involvedObject", {}).get("kind", "")),
                name=str(item.get("involvedObject", {}).get("name", "")),
                reason=str(item.get("reason", "")),
                message=str(item.get("message", "")),
                count=int(item.get("count") or 1),
                is_warning=item.get("type") == "Warning",
            )
            for item in items
        )

    # -- services and routes ---------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> Manifest | None:
        """Return a Service, or None."""
        return self.get("Service", namespace, name)

    def ready_endpoints(self, namespace: str, name: str) -> int:
        """Count the ready addresses behind a Service, each once."""
        slices = self.list("EndpointSlice", namespace, selector={"kubernetes.io/service-name": name})
        return len(
            {
                address
                for entry in slices
                for endpoint in entry.get("endpoints") or []
                if (endpoint.get("conditions") or {}).get("ready", True)
                for address in endpoint.get("addresses") or []
            }
        )

    def of_every_namespace(self, kind: str) -> tuple[Manifest, ...]:
        """Return every object of a kind in the allowed namespaces, sorted by namespace and name.

        Empty where the cluster does not know the kind; whoever may not read it is told so only where it does.
        """
        if self._json("GET", _KINDS[kind][0], missing_is_none=True) is None:
            return ()
        existing = self.namespaces()
        return tuple(item for namespace in sorted(self._allowed & existing) for item in self.list(kind, namespace))

    def proxy(
        self,
        method: str,
        namespace: str,
        service: str,
        port: int,
        path: str,
        *,
        body: object = None,
        timeout_s: float | None = None,
    ) -> ProxyAnswer:
        """Send a request to a Service through the API server, past every route.

        Raises: CouldNotMeasure `kubernetes-unreachable`. A Service without ready endpoints answers 503.
        """
        base = self._path("Service", namespace)
        return self._proxied(method, f"{base}/http:{service}:{port}/proxy", path, body=body, timeout_s=timeout_s)

    def proxy_get(
        self, namespace: str, service: str, port: int, path: str, *, timeout_s: float | None = None
    ) -> ProxyAnswer:
        """GET a path of a Service through the API server."""
        return self.proxy("GET", namespace, service, port, path, timeout_s=timeout_s)

    def proxy_pod(
        self, namespace: str, pod: str, port: int, path: str, *, timeout_s: float | None = None
    ) -> ProxyAnswer:
        """GET a path of one Pod through the API server, ready or not."""
        return self._proxied(
            "GET", f"{self._path('Pod', namespace)}/http:{pod}:{port}/proxy", path, timeout_s=timeout_s
        )

    def _proxied(
        self, method: str, base: str, path: str, *, body: object = None, timeout_s: float | None = None
    ) -> ProxyAnswer:
        bare, _, query = path.partition("?")
        pairs = dict(part.partition("=")[::2] for part in query.split("&") if part)
        status, headers, content = self._send(
            method, f"{base}/{bare.lstrip('/')}", query=pairs, body=body, timeout_s=timeout_s, accept="*/*"
        )
        return ProxyAnswer(status=status, headers=headers, body=content)

    def in_use(self, namespace: str, *, release: str = "") -> tuple[str, ...]:
        """Name every object that deleting a namespace would take from somebody, as `Kind name`, sorted (5.2b, F.12).

        Every kind that the API server can list is looked at, custom ones too. Left aside is what the cluster makes by
        itself, what follows its owner or is being deleted, what only speaks of other objects, and Helm's notes about
        `release`. So a Service counts whoever leads to it, and a Secret whoever reads it.
        Raises: CouldNotMeasure, also when a part of the API cannot be listed: what was not seen may be in use.
        """
        self.guard(namespace)
        found: set[str] = set()
        for base, kind, plural in self._namespaced_kinds():
            if kind in _ABOUT_OTHERS:
                continue
            answer = self._json("GET", f"{base}/namespaces/{namespace}/{plural}") or {}
            found |= {
                f"{kind} {item['metadata']['name']}"
                for item in answer.get("items") or []
                if not _is_generated(kind, item, release)
            }
        return tuple(sorted(found))

    def _namespaced_kinds(self) -> Iterator[tuple[str, str, str]]:
        """Yield the path, kind and plural of every namespaced resource that can be listed, in its preferred version."""
        groups = (self._json("GET", "/apis") or {}).get("groups") or []
        for base in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
            for resource in (self._json("GET", base) or {}).get("resources") or []:
                if resource["namespaced"] and "list" in resource["verbs"] and "/" not in resource["name"]:
                    yield base, str(resource["kind"]), str(resource["name"])

    # -- configuration ---------------------------------------------------------------------------------------------

    def configmaps(self, namespace: str) -> tuple[Manifest, ...]:
        """Return the ConfigMaps as they can be applied elsewhere: no server-set fields, no generated ones."""
        found = self.list("ConfigMap", namespace)
        return tuple(stripped(item) for item in found if item["metadata"]["name"] not in _GENERATED_CONFIGMAPS)

    def secrets(self, namespace: str) -> tuple[Manifest, ...]:
        """Return the Secrets as they can be applied elsewhere: no server-set fields, no generated tokens."""
        found = self.list("Secret", namespace)
        return tuple(stripped(item) for item in found if item.get("type") not in _GENERATED_SECRETS)

    def differences_when_applied(self, manifests: Sequence[Mapping[str, Any]], *, scratch: str = "") -> tuple[str, ...]:
        """Create the objects in a scratch namespace, read them back, name those that differ (1.2c, 1.2d).

        scratch: the namespace's name, one of `scratch_name`.
        """
        different = []
        with self.scratch_namespace(scratch) as namespace:
            for manifest in manifests:
                self.create(namespace, manifest)
            for manifest in manifests:
                kind, name = str(manifest["kind"]), str(manifest["metadata"]["name"])
                found = self.get(kind, namespace, name) or {}
                if any(found.get(key) != manifest.get(key) for key in ("data", "binaryData", "type")):
                    different.append(f"{kind}/{name}")
        return tuple(different)


def scratch_name() -> str:
    """Return a name for a scratch namespace that no other one has."""
    return _SCRATCH_PREFIX + secrets.token_hex(4)


def _is_generated(kind: str, item: Mapping[str, Any], release: str) -> bool:
    """Whether an object comes and goes by itself: made by the cluster, owned, being deleted, or a note of Helm."""
    metadata = item["metadata"]
    is_note = item.get("type") == _HELM_RELEASE and (metadata.get("labels") or {}).get("name") == release != ""
    return bool(
        (kind, metadata["name"]) in _GENERATED
        or metadata.get("ownerReferences")
        or metadata.get("deletionTimestamp")
        or (kind == "Secret" and item.get("type") in _GENERATED_SECRETS)
        or is_note
    )


def guarded(manifest: Mapping[str, Any], *operations: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a JSON Patch that applies only to the very version of the object that was read."""
    version = manifest["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return [test, *(dict(operation) for operation in operations)]


def pointer(*parts: str | int) -> str:
    """Return a JSON Pointer (RFC 6901), with `~` and `/` escaped."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def stripped(manifest: Mapping[str, Any]) -> Manifest:
    """Return an object without its status and the fields that servers set."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in {*_SERVER_FIELDS, "namespace"}}
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}


def _deployment(item: Manifest) -> Deployment:
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    observed = int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
    return Deployment(
        name=metadata["name"],
        namespace=metadata["namespace"],
        labels=metadata.get("labels") or {},
        desired=int(spec.get("replicas", 1)),
        ready=int(status.get("readyReplicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        images=tuple(str(container["image"]) for container in spec["template"]["spec"]["containers"]),
        is_available=observed and conditions.get("Available") == "True",
    )


def pod_of(item: Manifest) -> Pod:
    """Return the summary of a Pod's JSON."""
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    states = status.get("containerStatuses") or []
    init_states = status.get("initContainerStatuses") or []
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    ports = [port["containerPort"] for container in spec["containers"] for port in container.get("ports") or []]
    problem = _problem([(entry, True) for entry in init_states] + [(entry, False) for entry in states])
    init_running = next((str(s["name"]) for s in init_states if "running" in (s.get("state") or {})), "")
    return Pod(
        name=metadata["name"],
        namespace=metadata["namespace"],
        labels=metadata.get("labels") or {},
        phase=str(status.get("phase", "Pending")),
        ready=conditions.get("Ready") == "True",
        restarts=sum(int(state.get("restartCount") or 0) for state in [*states, *init_states]),
        images=tuple(str(container["image"]) for container in spec["containers"]),
        image_ids=tuple(str(state.get("imageID") or "") for state in states),
        ip=str(status.get("podIP") or ""),
        container_port=int(ports[0]) if ports else None,
        init_running=init_running,
        **problem,
    )


def _problem(states: Sequence[tuple[Mapping[str, Any], bool]]) -> dict[str, Any]:
    """Return the first reason why a container does not run, with the detail, as the fields of `Pod`.

    states: each container's status, and whether it is an init container.
    """
    for entry, is_init in states:
        state, last = entry.get("state") or {}, entry.get("lastState") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason, detail = str(waiting.get("reason") or ""), ""
        if reason and reason not in _STARTUP_GRACE:
            previous = last.get("terminated") or {}
            exit_text = f" (last exit code {previous['exitCode']})" if "exitCode" in previous else ""
            detail = f"container {entry['name']}: {waiting.get('message') or reason}{exit_text}"
        elif int(ended.get("exitCode") or 0) != 0:
            reason = str(ended.get("reason") or "Error")
            detail = f"container {entry['name']}: exit code {ended['exitCode']}"
        if detail:
            return {
                "problem": reason,
                "problem_container": str(entry["name"]),
                "problem_in_init": is_init,
                "problem_detail": detail,
            }
    return {"problem": "", "problem_container": "", "problem_in_init": False, "problem_detail": ""}
