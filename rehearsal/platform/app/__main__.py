"""The image's entry point: `python -m rehearsal.platform.app web | worker | migrate | wait-schema`."""

import sys

from rehearsal.platform.core.settings import SettingsError, from_environment

_USAGE = "usage: python -m rehearsal.platform.app web | worker | migrate | wait-schema"


def main(arguments: list[str]) -> int:
    """Run one process of the platform and give its exit code; each imports only what it needs."""
    if len(arguments) != 1 or arguments[0] not in {"web", "worker", "migrate", "wait-schema"}:
        sys.stderr.write(_USAGE + "\n")
        return 2
    try:
        settings = from_environment()
    except SettingsError as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2
    match arguments[0]:
        case "web":
            from rehearsal.platform.app import web  # noqa: PLC0415

            return web.run(settings)
        case "worker":
            from rehearsal.platform.app import worker  # noqa: PLC0415

            return worker.run(settings)
        case command:
            from rehearsal.platform.app import migrate  # noqa: PLC0415

            return migrate.run(settings, apply=command == "migrate" and settings.migrations_mode == "init")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
