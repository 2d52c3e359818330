"""What the tests of the tools share: a cache in a temporary folder, and units put there without being made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import UNITS, Unit

Publish = Callable[..., None]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Return a prepared, empty cache."""
    found = Cache.locate({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    found.prepare()
    return found


@pytest.fixture
def environment(tmp_path: Path, cache: Cache) -> dict[str, str]:
    """Return an environment that names that cache, and a PATH without any program."""
    empty = tmp_path / "empty"
    empty.mkdir()
    return {"XDG_CACHE_HOME": str(cache.root.parent.parent), "PATH": str(empty)}


@pytest.fixture
def publish(cache: Cache) -> Publish:
    """Return a function that puts a unit into the cache, its programs being small scripts."""

    def put(unit: Unit, *, text: str = "#!/bin/sh\n") -> None:
        with cache.staging(unit) as staging:
            content = staging / "content"
            for path in unit.programs.values():
                program = content / path
                program.parent.mkdir(parents=True, exist_ok=True)
                program.write_text(text, encoding="utf-8")
                program.chmod(0o755)
            (content / "share").mkdir()
            (content / "share" / "data").write_text("data", encoding="utf-8")
            cache.publish(unit, content, made_by="a test")

    return put


@pytest.fixture
def nginx() -> Unit:
    """Return a unit with one program."""
    return next(unit for unit in UNITS if unit.name == "nginx")
