"""Options and plugins of the runbook; no steps.

Every module of `steps` is a plugin, so that no step file can be forgotten; they are loaded only where features are
asked for, and the project's own tests do without them.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from typing import TYPE_CHECKING

import steps

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["fixtures.run", "fixtures.site"]


def pytest_configure(config: pytest.Config) -> None:
    """Load the step definitions and the record's builders for a run of the features."""
    from fixtures.run import asks_for_features  # noqa: PLC0415  # pytest rewrites plugins only while they are new

    if not asks_for_features(config):
        return
    names = [f"steps.{module.name}" for module in pkgutil.iter_modules(steps.__path__)]
    builders = ("reports.plugin", "reports.overview_plugin")
    names += [name for name in builders if importlib.util.find_spec(name) is not None]
    for name in names:
        config.pluginmanager.import_plugin(name)
