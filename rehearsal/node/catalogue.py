"""The images of the stand-in platform, one a release.

An image's layer holds the release's name and the digest of the platform's sources, so that a change of the sources is
another image, as it would be on a real site.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rehearsal.node.images import ImageDescription

REPOSITORY = "registry.stella.test/stellaops"
RELEASES = ("2027.Q1", "2027.Q2", "2027.Q3")
ENTRYPOINT = ("python", "-m", "rehearsal.platform.app")
SOURCES = Path(__file__).resolve().parent.parent / "platform"


def platform_images(
    *, repository: str = REPOSITORY, releases: tuple[str, ...] = RELEASES, sources: Path = SOURCES
) -> tuple[ImageDescription, ...]:
    """Return the descriptions of the platform's images, ready for `build_layout`."""
    digest = digest_of_sources(sources)
    return tuple(
        ImageDescription(
            repository=repository,
            tag=release,
            entrypoint=ENTRYPOINT,
            env={"STELLA_RELEASE": release},
            labels={"org.opencontainers.image.version": release, "org.opencontainers.image.title": "stellaops"},
            files={
                "etc/stella/release.json": json.dumps({"release": release}, sort_keys=True).encode() + b"\n",
                "etc/stella/sources.sha256": digest.encode() + b"\n",
            },
        )
        for release in releases
    )


def digest_of_sources(sources: Path) -> str:
    """Return `sha256:hex` over the names and contents of the Python and SQL files under `sources`, sorted by name."""
    total = hashlib.sha256()
    for file in sorted(path for path in sources.rglob("*") if path.suffix in {".py", ".sql"}):
        name = file.relative_to(sources).as_posix()
        total.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n".encode())
    return f"sha256:{total.hexdigest()}"
