"""The init container: brings the schema to what this release needs, or waits until somebody else has.

Invariants: only category A is ever applied; every wait has one bound, migrationTimeoutSeconds, and each change of
what is waited for is one line of output, so that `kubectl logs -c migrate` says why a pod is stuck.
"""

import time

import psycopg

from rehearsal.platform.core import migrations
from rehearsal.platform.core.settings import Settings

_RETRY_EVERY_S = 0.5


def run(settings: Settings, *, apply: bool) -> int:
    """Apply category A (or only wait for it) within the bound; give 0, or 1 with the reason printed."""
    deadline = time.monotonic() + settings.migration_timeout_s
    what = "applies category A" if apply else "waits for the schema"
    _say(f"migrate: release {settings.release} {what}, at most {settings.migration_timeout_s:g} s")
    last = ""
    while True:
        try:
            states = _attempt(settings, apply=apply)
        except migrations.MigrationLockedError as error:
            reason = str(error)
        except migrations.MigrationError as error:
            _say(f"migrate: {error}")
            return 1
        except psycopg.OperationalError as error:
            reason = f"the database does not answer: {str(error).strip().splitlines()[0]}"
        else:
            pending = [state.migration.id for state in states if state.applied_at is None]
            if not pending:
                _say(f"migrate: schema is ready ({', '.join(state.migration.id for state in states)})")
                return 0
            reason = f"pending: {', '.join(pending)}"
        if reason != last:
            _say(f"migrate: waiting: {reason}")
            last = reason
        if time.monotonic() >= deadline:
            _say(
                f"migrate: gave up after {settings.migration_timeout_s:g} s ({last}); "
                "if the migration only needs longer, raise migrationTimeoutSeconds"
            )
            return 1
        time.sleep(_RETRY_EVERY_S)


def _attempt(settings: Settings, *, apply: bool) -> list[migrations.State]:
    """Apply or look once; give the states of this release's category A."""
    name = f"migrate {settings.pod_name}"
    with psycopg.connect(settings.database_url, connect_timeout=3, application_name=name) as connection:
        if apply:
            with psycopg.connect(settings.log_database_url, connect_timeout=3, application_name=name) as log:
                migrations.prepare_log(log)
            migrations.run(connection, settings.release, "A", report=lambda line: _say(f"migrate: {line}"))
        states = migrations.status(connection, settings.release)
    return [state for state in states if state.migration.category == "A"]


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a container's log
