"""`cutover plan`: what a run would do, from files alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.model import Risk, Strategy

if TYPE_CHECKING:
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.plan import Plan, PlannedClause


@click.command(epilog="Exit codes: 0, or 2 for wrong input.")
@options.target
@options.phase
@options.until
@options.strategy
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def plan(target: str, phases: tuple[int, ...], until: int | None, strategy: str | None, as_json: bool) -> None:
    """Show what a run would do: the clauses in order, what each changes, how that is undone, points of no return.

    Reads files alone; the site need not be reachable. The digest covers the plan, the target file and the policy.

    \b
    Examples:
      cutover plan --target target.toml
      cutover plan --target target.toml --strategy instant --json
    """  # noqa: D301 (click reads the escape)
    from cutover import project  # noqa: PLC0415  # none of it is needed by --help
    from cutover.policy import Policy  # noqa: PLC0415
    from cutover.runbook import catalogue, inventory  # noqa: PLC0415
    from cutover.runbook import plan as plans  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    described = Target.load(target)
    clauses = catalogue.load_clauses()
    made = plans.make(
        catalogue=clauses,
        scenarios=inventory.read_features(project.FEATURES),
        target=described,
        policy=Policy.read(described.policy_path),
        strategy=Strategy(strategy) if strategy else None,
        scope=plans.Scope.of(phases=phases, until=until),
    )
    click.echo(json.dumps(made.document(), indent=2, ensure_ascii=False) if as_json else _text(made, clauses))


_RISK = {Risk.REVERSIBLE: " ", Risk.COMPENSABLE: "~", Risk.IRREVERSIBLE: "!"}


def _text(made: Plan, clauses: Catalogue) -> str:
    lines = [
        f"upgrade {made.from_release} → {made.to_release}   site {made.target_name}",
        f"strategy {made.strategy}   scope {made.scope}",
        "",
    ]
    phase = ""
    for clause in made.clauses:
        if clause.phase != phase and clause.not_run is None:
            phase = clause.phase
            lines.append(clauses.phase_titles[phase])
        if clause.not_run is None:
            lines += _clause(clause)
    lines += ["", *_left_out(made), ""]
    points = ", ".join(made.points_of_no_return) or "none"
    lines += [
        f"points of no return   {points}",
        f"target                {made.target_sha256}",
        f"policy                {made.policy_sha256}",
        f"plan                  {made.digest}",
        "",
        "~ undone by another action whose traces remain   ! cannot be undone",
        "R.1 sends every request back to blue after a failure",
    ]
    return "\n".join(lines)


def _clause(clause: PlannedClause) -> list[str]:
    lines = [f"  {_RISK[clause.risk]} {clause.id:<5} {clause.title}"]
    if clause.changes:
        lines.append(f"            changes  {clause.changes}")
        lines.append(f"            undo     {clause.undo}")
    return lines


def _left_out(made: Plan) -> list[str]:
    """Return one line for each reason why clauses are not performed."""
    by_reason: dict[str, list[str]] = {}
    for clause in made.clauses:
        if clause.not_run is not None:
            by_reason.setdefault(clause.not_run.reason, []).append(clause.id)
    return [f"not performed         {', '.join(ids)}: {reason}" for reason, ids in by_reason.items()]
