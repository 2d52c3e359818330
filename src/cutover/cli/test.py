"""`cutover test`: the project's own tests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from cutover import project
from cutover.model import ExitCode

if TYPE_CHECKING:
    import pytest


class Count:
    """A pytest plugin that counts what ran."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: at its call, or where it ended before or after that."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1

    @property
    def ran(self) -> int:
        """How many tests passed or failed; one that was run again counts once."""
        return sum(number for outcome, number in self.outcomes.items() if outcome not in {"skipped", "rerun"})


_EXIT_OF = {
    0: ExitCode.PASSED,
    1: ExitCode.FAILED,
    2: ExitCode.UNDECIDED,
    3: ExitCode.COULD_NOT_MEASURE,
    4: ExitCode.WRONG_INPUT,
    5: ExitCode.COULD_NOT_MEASURE,
}
"""What pytest's own codes mean here: interrupted is incomplete, and no test collected has measured nothing."""


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Exit codes: 0 all passed, 1 some failed, 2 wrong arguments, 3 none could be run, 4 interrupted.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run the project's own tests with pytest, and say how many ran. Further ARGUMENTS go to pytest.

    \b
    Examples:
      cutover test
      cutover test -k journal
      cutover test tests/runbook -x
    """  # noqa: D301 (click reads the escape)
    import pytest  # noqa: PLC0415  # not needed by --help

    named = any(os.path.exists(argument.partition("::")[0]) for argument in arguments)  # noqa: PTH110  # any text
    count = Count()
    code = pytest.main(
        [
            "-c",
            str(project.ROOT / "pyproject.toml"),
            "--rootdir",
            str(project.ROOT),
            *([] if named else [str(project.ROOT / "tests")]),
            *arguments,
        ],
        plugins=[count],
    )
    words = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.outcomes.items())) or "none"
    click.echo(f"{count.ran} tests ran: {words}")
    sys.exit(_EXIT_OF.get(int(code), ExitCode.COULD_NOT_MEASURE))
