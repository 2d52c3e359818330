"""The configuration of Prometheus: one job that scrapes the pods of both colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rehearsal.environment import layout

if TYPE_CHECKING:
    from pathlib import Path

JOB = "stella-pods"
_META = "__meta_kubernetes_pod_"


def configuration(kubeconfig: Path, *, interval_ms: int = 1000) -> str:
    """Scrape every running pod annotated `prometheus.io/scrape: "true"`, each second or as often as `interval_ms` says.

    Adds the labels namespace, pod, colour and component from the pod's metadata; the metrics carry none of them.
    """
    relabel: list[dict[str, Any]] = [
        _keep("annotation_prometheus_io_scrape", "true"),
        _drop("phase", "Pending|Succeeded|Failed"),
        _drop("container_init", "true"),
        {
            "source_labels": [f"{_META}ip", f"{_META}annotation_prometheus_io_port"],
            "separator": ":",
            "target_label": "__address__",
        },
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy(f"{_META}name", "pod"),
        _copy(f"{_META}label_stellaops_io_colour", "colour"),
        _copy(f"{_META}label_app_kubernetes_io_component", "component"),
    ]
    document = {
        "global": {
            "scrape_interval": f"{interval_ms}ms",
            "scrape_timeout": f"{interval_ms * 9 // 10}ms",
            "evaluation_interval": "5s",
        },
        "scrape_configs": [
            {
                "job_name": JOB,
                "kubernetes_sd_configs": [
                    {
                        "role": "pod",
                        "kubeconfig_file": str(kubeconfig),
                        "namespaces": {"names": [layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE]},
                    }
                ],
                "relabel_configs": relabel,
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _keep(label: str, regex: str) -> dict[str, Any]:
    return {"source_labels": [_META + label], "action": "keep", "regex": regex}


def _drop(label: str, regex: str) -> dict[str, Any]:
    return {"source_labels": [_META + label], "action": "drop", "regex": regex}


def _copy(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": target}
