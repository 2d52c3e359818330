"""A cluster in memory for the routes: objects with resource versions, and JSON Patches that honour their tests."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from cutover.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Manifest = dict[str, Any]


class MemoryCluster:
    """Ingresses and Services by namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.endpoints: dict[tuple[str, str], int] = {}
        self.patches: list[tuple[str, str, list[Mapping[str, Any]]]] = []
        self.before_patch: Callable[[], None] | None = None
        self.controller: Callable[[Manifest], object] | None = None
        """What a controller does to an object after a patch of it: writes its status in place."""
        self._version = 0

    def _stamp(self, manifest: Manifest) -> Manifest:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        return manifest

    def put(self, manifest: Manifest) -> None:
        """Store an object as somebody else would, with a new version."""
        metadata = manifest["metadata"]
        self.objects[manifest["kind"], metadata["namespace"], metadata["name"]] = self._stamp(copy.deepcopy(manifest))

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def service(self, namespace: str, name: str) -> Manifest | None:
        return copy.deepcopy(self.objects.get(("Service", namespace, name)))

    def namespaces(self) -> frozenset[str]:
        return frozenset(namespace for _, namespace, _ in self.objects)

    def of_every_namespace(self, kind: str) -> tuple[Manifest, ...]:
        return tuple(copy.deepcopy(item) for (found, _, _), item in self.objects.items() if found == kind)

    def ready_endpoints(self, namespace: str, name: str) -> int:
        return self.endpoints.get((namespace, name), 0)

    def create(self, namespace: str, manifest: Mapping[str, Any]) -> Manifest:
        made = copy.deepcopy(dict(manifest))
        made["metadata"] = {**made["metadata"], "namespace": namespace}
        self.put(made)
        return made

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        return self.objects.pop((kind, namespace, name), None) is not None

    def patch(self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]]) -> Manifest:
        if self.before_patch is not None:
            before, self.before_patch = self.before_patch, None
            before()
        self.patches.append((kind, name, list(operations)))
        changed = copy.deepcopy(self.objects[kind, namespace, name])
        for operation in operations:
            parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
            place: Any = changed
            for part in parts[:-1]:
                place = place[int(part)] if isinstance(place, list) else place[part]
            if operation["op"] == "test":
                if place.get(parts[-1]) != operation["value"]:
                    raise Refused(f"{name} was changed by someone else", code="changed-by-someone-else")
            elif operation["op"] == "replace" and parts[-1] not in place:
                raise AssertionError(operation)
            else:
                place[parts[-1]] = operation["value"]
        changed["metadata"]["generation"] = changed["metadata"].get("generation", 1) + 1
        self.objects[kind, namespace, name] = self._stamp(changed)
        answer = copy.deepcopy(changed)
        if self.controller is not None:
            self.controller(changed)
            self._stamp(changed)
        return answer
