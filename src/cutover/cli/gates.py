"""`cutover gates`: try the gates of a policy before a run, and judge a record again after it."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cutover.cli import options
from cutover.model import ExitCode

if TYPE_CHECKING:
    from cutover.procedures.gate_trial import Trial, TrialReport
    from cutover.runbook.gates.replay import Replayed

_SHOWN = 40
"""So many differences are written for a person; --json holds all."""
_CHECK_CODES = """\b
Exit codes:
  0  every question has an answer
  2  wrong input
  3  a question has none, and what to do is named
  5  refused by a guard: a context or namespace that the target does not allow
"""
_REPLAY_CODES = """\b
Exit codes:
  0  every verdict follows from the record
  1  it does not, and each difference is named
  2  the record cannot be read
"""


@click.group()
def gates() -> None:
    """Try the gates of a policy on a site, and judge the gates of a record again.

    \b
    Examples:
      cutover gates check --target target.toml
      cutover gates replay records/2026-11-23-0412
    """  # noqa: D301 (click reads the escape)


@gates.command(epilog=_CHECK_CODES)
@options.target
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(*, target: str, as_json: bool) -> None:
    """Ask every question of every gate once, for both colours; changes nothing.

    A colour without traffic, or not installed, is said to be so and is no error. The verdict that would be now decides
    nothing.

    \b
    Examples:
      cutover gates check --target target.toml
      cutover gates check --target target.toml --json
    """  # noqa: D301 (click reads the escape)
    from cutover import site as sites  # noqa: PLC0415  # none of it is needed by --help
    from cutover.policy import Policy  # noqa: PLC0415
    from cutover.procedures import gate_trial  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    described = Target.load(target)
    policy = Policy.read(described.policy_path)
    with contextlib.closing(sites.connect(described)) as site:
        report = gate_trial.try_gates(site, policy)
    click.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if as_json else _tried(report))
    sys.exit(ExitCode.COULD_NOT_MEASURE if report.unanswered else ExitCode.PASSED)


def _tried(report: TrialReport) -> str:
    lines = [f"site    {report.site}", f"blue    {report.roles.blue.name}", f"green   {report.roles.green.name}"]
    for trial in report.trials:
        if trial.query:
            lines += ["", *_trial(trial)]
    later: dict[str, list[str]] = {}
    for trial in report.trials:
        if not trial.query:
            later.setdefault(trial.said, []).append(trial.gate)
    lines += ["", *(f"{said}: {', '.join(names)}" for said, names in later.items()), ""]
    lines += [f"warning  {warning}" for warning in report.warnings]
    count = len(report.unanswered)
    questions = sum(bool(trial.query) for trial in report.trials)
    lines.append(
        f"{count} of {questions} questions have no answer" if count else f"{questions} questions, all answered"
    )
    return "\n".join(lines)


def _trial(trial: Trial) -> list[str]:
    colour = f", {trial.colour}" if trial.colour else ""
    now = f"{trial.verdict} if now" if trial.verdict else ""
    value = "no value" if trial.value is None else f"{trial.value:.4g} over {trial.samples}"
    shown = "NO ANSWER" if not trial.answers else f"{value}  {now}".rstrip()
    lines = [f"{trial.gate} ({trial.source}{colour})  {shown}", f"  asked  {' '.join(trial.query.split())}"]
    if trial.said:
        lines.append(f"  seen   {trial.said}")
    if trial.do:
        lines.append(f"  do     {trial.do}")
    return lines


@gates.command(epilog=_REPLAY_CODES)
@click.argument("record", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def replay(*, record: Path, as_json: bool) -> None:
    """Judge every sample of a record again, from the record alone, and compare with what it says.

    Reads the journal, the policy, the samples and the window of the record; asks nobody.

    \b
    Examples:
      cutover gates replay records/2026-11-23-0412
      cutover gates replay records/2026-11-23-0412 --json
    """  # noqa: D301 (click reads the escape)
    from cutover.runbook.gates import replay as replaying  # noqa: PLC0415  # scipy is not needed by --help

    again = replaying.replay(record)
    click.echo(json.dumps(_document(again), indent=2, ensure_ascii=False) if as_json else _replayed(again))
    sys.exit(ExitCode.PASSED if again.is_equal else ExitCode.FAILED)


def _document(again: Replayed) -> dict[str, Any]:
    return {
        "schema": "cutover/gates-replay/v1",
        "equal": again.is_equal,
        "verdicts": again.verdicts,
        "comparisons": again.comparisons,
        "decisions": again.decisions,
        "windows": again.windows,
        "differences": [{"line": one.line, "gate": one.gate, "what": one.what} for one in again.differences],
    }


def _replayed(again: Replayed) -> str:
    lines = [f"DIFFERS  {difference}" for difference in again.differences[:_SHOWN]]
    if len(again.differences) > _SHOWN:
        lines.append(f"and {len(again.differences) - _SHOWN} more; --json names all")
    lines.append(
        f"{again.verdicts} verdicts ({again.comparisons} over pairs with blue), {again.decisions} decisions, "
        f"{again.windows} windows judged again"
    )
    count = len(again.differences)
    lines.append(f"{count} differ{'s' if count == 1 else ''} from the record" if count else "all equal")
    return "\n".join(lines)
