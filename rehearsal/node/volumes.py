"""A pod's volumes as folders of the node, and the mounts that show them to its containers.

emptyDir, configMap, secret, downwardAPI, projected (with a service account's token) and hostPath. ConfigMaps, Secrets
and tokens are written once, when the pod starts: unlike a kubelet's, they do not follow later changes. Anything else
(persistent volumes, CSI) is refused with a MountError, which shows as FailedMount.
"""

from __future__ import annotations

import base64
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rehearsal.node.errors import ApiError, ConfigError, MountError
from rehearsal.node.expansion import expand, field_value, resource_value
from rehearsal.node.mounts import Mount
from rehearsal.node.shapes import Json, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.node.api import Api

TOKEN_S = 3607
_FILE_KINDS = frozenset({"configMap", "secret", "downwardAPI", "projected"})


async def make_volumes(api: Api, pod: Json, folder: Path, facts: Mapping[str, str]) -> dict[str, Path]:
    """Write every volume of the pod under `folder` and return their places by name.

    Raises:
        MountError: a volume's source does not exist, or its kind is not one this node has.
        ApiError: the API server could not be asked.
    """
    places: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or ():
        name = volume["name"]
        place = folder / name
        if "hostPath" in volume:
            places[name] = _host_path(name, volume["hostPath"])
            continue
        place.mkdir(parents=True, exist_ok=True)
        places[name] = place
        if "emptyDir" in volume:
            place.chmod(0o777)
            continue
        kind = next((key for key in volume if key in _FILE_KINDS), None)
        if kind is None:
            kinds = ", ".join(sorted(set(volume) - {"name"}))
            raise MountError(f'MountVolume.SetUp failed for volume "{name}" : this node has no {kinds} volumes')
        try:
            for path, content in (await _files(api, pod, kind, volume[kind], facts)).items():
                _write(place, path, content)
        except (MountError, ConfigError) as problem:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}" : {problem.message}') from problem
    return places


def mounts_of(container: Json, places: Mapping[str, Path], variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return a container's mounts. A subPath that does not exist is made as a folder.

    Raises:
        MountError: a mount names no volume of the pod, or its subPath leaves the volume.
    """
    mounts = []
    for item in container.get("volumeMounts") or ():
        place = places.get(item["name"])
        if place is None:
            raise MountError(f'volume "{item["name"]}" of container {container["name"]} does not exist')
        sub_path = item.get("subPath") or expand(item.get("subPathExpr") or "", variables)
        if sub_path:
            if PurePosixPath(sub_path).is_absolute() or ".." in PurePosixPath(sub_path).parts:
                raise MountError(f"subPath must be inside the volume: {sub_path}")
            place /= sub_path
            if not place.exists():
                place.mkdir(parents=True)
        mounts.append(Mount(source=place, path=item["mountPath"], is_read_only=bool(item.get("readOnly"))))
    return tuple(mounts)


async def _files(api: Api, pod: Json, kind: str, source: Json, facts: Mapping[str, str]) -> dict[str, bytes]:
    if kind == "projected":
        files: dict[str, bytes] = {}
        for part in source.get("sources") or ():
            for name, inner in part.items():
                files |= await _projected(api, pod, name, inner, facts)
        return files
    if kind == "downwardAPI":
        return {item["path"]: _downward(item, pod, facts) for item in source.get("items") or ()}
    name = source["secretName"] if kind == "secret" else source["name"]
    return await _keys(api, pod, kind, name, source)


async def _projected(api: Api, pod: Json, kind: str, source: Json, facts: Mapping[str, str]) -> dict[str, bytes]:
    if kind == "serviceAccountToken":
        return {source["path"]: await _token(api, pod, source)}
    if kind in {"configMap", "secret"}:
        return await _keys(api, pod, kind, source["name"], source)
    if kind == "downwardAPI":
        return await _files(api, pod, kind, source, facts)
    raise MountError(f"this node has no projected {kind} sources")


async def _keys(api: Api, pod: Json, kind: str, name: str, source: Json) -> dict[str, bytes]:
    namespace = metadata(pod)["namespace"]
    collection = "secrets" if kind == "secret" else "configmaps"
    try:
        obj = await api.get(f"/api/v1/namespaces/{namespace}/{collection}/{name}")
    except ApiError as problem:
        if problem.status != 404:
            raise
        if source.get("optional"):
            return {}
        raise MountError(f'{collection[:-1]} "{name}" not found') from problem
    if kind == "secret":
        data = {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    else:
        data = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
        data |= {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    items = source.get("items")
    if not items:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        raise MountError(f"references non-existent {kind} key: {missing[0]}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


async def _token(api: Api, pod: Json, source: Json) -> bytes:
    meta = metadata(pod)
    account = pod["spec"].get("serviceAccountName") or "default"
    body: Json = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": int(source.get("expirationSeconds") or TOKEN_S),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
        },
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
    try:
        answer = await api.create(path, body)
    except ApiError as problem:
        if problem.is_transient:
            raise
        raise MountError(f"failed to fetch token: {problem.message}") from problem
    return str(answer["status"]["token"]).encode()


def _downward(item: Json, pod: Json, facts: Mapping[str, str]) -> bytes:
    if "fieldRef" in item:
        return field_value(item["fieldRef"]["fieldPath"], pod, facts).encode()
    reference = item["resourceFieldRef"]
    for container in pod["spec"]["containers"]:
        if container["name"] == reference.get("containerName"):
            return resource_value(reference, container).encode()
    raise MountError(f"no container {reference.get('containerName')}")


def _host_path(name: str, source: Json) -> Path:
    place = Path(source["path"])
    kind = source.get("type") or ""
    if kind.endswith("OrCreate"):
        if kind.startswith("Directory"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.touch()
    if not place.exists():
        raise MountError(f'MountVolume.SetUp failed for volume "{name}" : hostPath {place} does not exist')
    return place


def _write(folder: Path, path: str, content: bytes) -> None:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise MountError(f"invalid path: {path}")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
