"""A container's environment, command and arguments, computed from its spec and what the cluster holds.

Pure: `Lookup` gives ConfigMaps and Secrets already fetched (None: does not exist). Order and precedence are kubelet's:
envFrom in order, then env in order, later wins; $(NAME) sees the variables defined before it.

Source: Kubernetes API reference, Container v1 (env, envFrom, command, args).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rehearsal.node.errors import ConfigError
from rehearsal.node.shapes import Json, metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_VARIABLE = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_SCALE = {"": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{unit}i": 1024.0 ** (power + 1) for power, unit in enumerate("KMGTPE")
}
_QUANTITY = re.compile(rf"^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({'|'.join(_SCALE)})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the environment may name: data of the namespace's ConfigMaps and Secrets; None is one that is absent."""

    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The names of the ConfigMaps and Secrets a pod spec mentions."""

    config_maps: frozenset[str]
    secrets: frozenset[str]


def needs_of_container(container: Json) -> Needs:
    """Return the ConfigMaps and Secrets that a container's environment names."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.get("envFrom") or ():
        if "configMapRef" in source:
            config_maps.add(source["configMapRef"]["name"])
        if "secretRef" in source:
            secrets.add(source["secretRef"]["name"])
    for item in container.get("env") or ():
        value_from = item.get("valueFrom") or {}
        if "configMapKeyRef" in value_from:
            config_maps.add(value_from["configMapKeyRef"]["name"])
        if "secretKeyRef" in value_from:
            secrets.add(value_from["secretKeyRef"]["name"])
    return Needs(config_maps=frozenset(config_maps), secrets=frozenset(secrets))


def decode_secret(secret: Json) -> dict[str, str]:
    """Return a Secret's data as text; bytes that are not UTF-8 are kept by surrogates."""
    return {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in data_of(secret).items()}


def data_of(obj: Json) -> Mapping[str, str]:
    """Return the `data` of a ConfigMap or Secret, empty when it has none."""
    found: Mapping[str, str] = obj.get("data") or {}
    return found


def environment(
    container: Json, pod: Json, lookup: Lookup, *, links: Mapping[str, str], facts: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that the container's spec gives it, over `links` (those that name Services).

    They are all that $(NAME) knows: neither the image's nor the node's variables are among them. `facts` are the pod's
    addresses, known only to the node: keys `status.podIP`, `status.podIPs`, `status.hostIP`, `status.hostIPs`.

    Raises:
        ConfigError: a ConfigMap, a Secret or a key that is not optional does not exist.
    """
    result = dict(links)
    for source in container.get("envFrom") or ():
        result |= _from_source(source, lookup)
    own: dict[str, str] = {}
    for item in container.get("env") or ():
        name = item["name"]
        if item.get("valueFrom"):
            value = _from_reference(item["valueFrom"], container, pod, lookup, facts)
            if value is None:
                continue
        else:
            value = expand(item.get("value") or "", result | own)
        own[name] = value
    return result | own


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with $(NAME) replaced; $$ is a dollar sign, an unknown name stays as written."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def command_line(
    container: Json, entrypoint: tuple[str, ...], cmd: tuple[str, ...], variables: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what to execute: the spec's command and args over the image's Entrypoint and Cmd.

    A command given without args drops the image's Cmd.

    Raises:
        ConfigError: neither the spec nor the image says what to run.
    """
    command = container.get("command") or ()
    arguments = container.get("args") or ()
    words = (*command, *arguments) if command else (*entrypoint, *(arguments or cmd))
    if not words:
        raise ConfigError("no command specified")
    return tuple(expand(word, variables) for word in words)


def field_value(path: str, pod: Json, facts: Mapping[str, str]) -> str:
    """Return the downward API's value of `path`.

    Raises:
        ConfigError: the path is not one the downward API knows.
    """
    meta = metadata(pod)
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((meta.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        pairs = meta.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{_escape(value)}"' for key, value in sorted(pairs.items()))
    if path in {"metadata.name", "metadata.namespace", "metadata.uid"}:
        return str(meta.get(path.removeprefix("metadata."), ""))
    if path in {"spec.nodeName", "spec.serviceAccountName"}:
        return str(pod["spec"].get(path.removeprefix("spec."), ""))
    if path in facts:
        return facts[path]
    raise ConfigError(f"unsupported fieldPath: {path}")


def resource_value(reference: Json, container: Json) -> str:
    """Return the downward API's value of a resourceFieldRef, in the divisor's units, rounded up.

    Without a limit, kubelet gives the node's allocatable; this node gives the request, or 0.

    Raises:
        ConfigError: the resource is not `limits.*` or `requests.*`.
    """
    kind, _, name = reference["resource"].partition(".")
    if kind not in {"limits", "requests"}:
        raise ConfigError(f"unsupported container resource: {reference['resource']}")
    resources = container.get("resources") or {}
    text = (resources.get(kind) or {}).get(name) or (resources.get("requests") or {}).get(name) or "0"
    divisor = reference.get("divisor") or "1"
    units = parse_quantity(text) / (parse_quantity(divisor) or 1.0)
    return str(int(units) if units == int(units) else int(units) + 1)


def parse_quantity(text: str) -> float:
    """Return a resource quantity (250m, 1.5, 64Mi) as a number.

    Raises:
        ConfigError: it is not one.
    """
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ConfigError(f"not a quantity: {text}")
    return float(match[1]) * _SCALE[match[2]]


def _from_source(source: Json, lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if "configMapRef" in source:
        kind, reference, held = "configmap", source["configMapRef"], lookup.config_maps
    elif "secretRef" in source:
        kind, reference, held = "secret", source["secretRef"], lookup.secrets
    else:
        return {}
    data = held.get(reference["name"])
    if data is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{reference["name"]}" not found')
    return {prefix + key: value for key, value in data.items() if _VARIABLE.match(prefix + key)}


def _from_reference(
    value_from: Json, container: Json, pod: Json, lookup: Lookup, facts: Mapping[str, str]
) -> str | None:
    if "fieldRef" in value_from:
        return field_value(value_from["fieldRef"]["fieldPath"], pod, facts)
    if "resourceFieldRef" in value_from:
        return resource_value(value_from["resourceFieldRef"], container)
    if "configMapKeyRef" in value_from:
        kind, title, reference, held = "configmap", "ConfigMap", value_from["configMapKeyRef"], lookup.config_maps
    elif "secretKeyRef" in value_from:
        kind, title, reference, held = "secret", "Secret", value_from["secretKeyRef"], lookup.secrets
    else:
        raise ConfigError(f"unsupported valueFrom: {', '.join(sorted(value_from))}")
    data = held.get(reference["name"])
    if data is not None and reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    if data is None:
        raise ConfigError(f'{kind} "{reference["name"]}" not found')
    namespace = metadata(pod).get("namespace", "")
    raise ConfigError(f"couldn't find key {reference['key']} in {title} {namespace}/{reference['name']}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def service_variables(services: Iterable[Json]) -> dict[str, str]:
    """Return the variables that name Services with an address, in kubelet's and in container links' form.

    Source: Kubernetes documentation, Service, "Environment variables".
    """
    result: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        name = metadata(service)["name"].upper().replace("-", "_")
        host = f"[{address}]" if ":" in address else address
        result[f"{name}_SERVICE_HOST"] = address
        result[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        result[f"{name}_PORT"] = f"{ports[0].get('protocol', 'TCP').lower()}://{host}:{ports[0]['port']}"
        for port in ports:
            if port.get("name"):
                result[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            protocol = port.get("protocol", "TCP")
            link = f"{name}_PORT_{port['port']}_{protocol}"
            result[link] = f"{protocol.lower()}://{host}:{port['port']}"
            result |= {f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port["port"]), f"{link}_ADDR": address}
    return result
