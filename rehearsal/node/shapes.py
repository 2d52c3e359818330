"""The names that the package shares for Kubernetes objects: JSON as the API server sends it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def format_time(instant: datetime) -> str:
    """Return `instant` as the API server writes it: RFC 3339 in UTC, whole seconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(instant: datetime) -> str:
    """Return `instant` as Kubernetes' MicroTime: RFC 3339 in UTC, six digits."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Return the instant of an RFC 3339 `text`; fractions beyond microseconds are cut.

    Raises:
        ValueError: `text` is not RFC 3339.
    """
    head, dot, tail = text.removesuffix("Z").partition(".")
    instant = datetime.fromisoformat(f"{head}{dot}{tail[:6].ljust(6, '0')}" if dot else head)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def metadata(obj: Json) -> Json:
    """Return the metadata of an object, empty when it has none."""
    found: Json = obj.get("metadata") or {}
    return found


def describe_pod(pod: Json) -> str:
    """Return a pod as kubelet's messages name it: name_namespace(uid)."""
    meta = metadata(pod)
    return f"{meta.get('name', '')}_{meta.get('namespace', '')}({meta.get('uid', '')})"
