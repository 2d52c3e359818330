"""The files of an environment, as its parts and its operator need them; written before anything is started.

Invariants: what a run is told is in `target.toml` and the files it names; it knows nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from rehearsal.environment import parts, pki, prometheus, sitedata, target
from rehearsal.environment.errors import PartFailed
from rehearsal.node.catalogue import platform_images
from rehearsal.node.images import build_layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rehearsal.environment import layout
    from rehearsal.environment.installation import Extent

_OPERATOR_PROGRAMS = ("kubectl", "helm", "pg_dump", "pg_restore", "psql", "pg_isready")


def prepare(
    place: layout.Place,
    tools: parts.Tools,
    data: Path,
    flags: Sequence[str],
    *,
    extent: Extent,
    shape: target.Shape = target.USUAL,
) -> None:
    """Write every file of an environment: keys, configuration, data, values, target, policy, documents."""
    for folder in (place.logs(), place.faults, place.bin, place.root / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    pki.write(place)
    (place.root / "prometheus.yml").write_text(
        prometheus.configuration(place.pki("prometheus.kubeconfig"), interval_ms=target.SCRAPE_MS[shape.profile]),
        encoding="utf-8",
    )
    history = sitedata.History.read(data)
    plan = {
        "purpose": "site",
        "extent": extent,
        "history": dataclasses.asdict(history),
        "tools": dict(tools.programs),
        "user_namespaces": "--user" in flags,
        **dataclasses.asdict(shape),
    }
    place.plan.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    _commands(place, tools)
    for part in ("postgres", "store"):
        _copy(data / part, place.data(part))
    shutil.copytree(data / "seed", place.root, dirs_exist_ok=True)
    build_layout(place.images, platform_images())
    known = sitedata.Secrets.read(data)
    known.write(place.root)
    target.write(place, known, history, shape)


def _copy(source: Path, destination: Path) -> None:
    """Copy a folder of seeded data; where the file system can, its blocks are shared until they are written to."""
    command = ["cp", "--archive", "--reflink=auto", "--", str(source), str(destination)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PartFailed(f"the seeded data could not be copied to {destination}", seen=done.stderr.strip()[:500])


def _commands(place: layout.Place, tools: parts.Tools) -> None:
    for program in _OPERATOR_PROGRAMS:
        (place.bin / program).symlink_to(tools[program])
    stella = place.bin / "stella"
    stella.write_text(
        "#!/bin/sh\n"
        f': "${{KUBECONFIG:={place.kubeconfig}}}"\n'
        f'STELLA_FAULTS_DIR="{place.faults}"\n'
        "export KUBECONFIG STELLA_FAULTS_DIR\n"
        f'exec "{sys.executable}" -m rehearsal.platform.stella "$@"\n',
        encoding="utf-8",
    )
    stella.chmod(0o755)
