"""The command line: thin over pytest and the engine.

Invariants: `--help` loads no command's module but its text; further commands come from the entry points
`cutover.commands` and are never imported by name; every error is one message and an exit code, never a trace.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and end the process."""
    from cutover.cli.group import cli  # noqa: PLC0415  # `import cutover.cli` costs nothing

    cli(prog_name="cutover")


if __name__ == "__main__":
    main()
