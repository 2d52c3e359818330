"""`cutover plan`: what a run would do, how long it will take and who approved it, from files alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.model import Risk, Strategy

if TYPE_CHECKING:
    from cutover.policy import Policy
    from cutover.runbook.approval import Consent
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.estimates import Estimates
    from cutover.runbook.plan import Plan, PlannedClause
    from cutover.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    target: Target
    policy: Policy
    catalogue: Catalogue


def planned(target: str, *, phases: tuple[int, ...], until: int | None, strategy: str | None) -> Planned:
    """Return the plan of a run with these options. Raises WrongInput for what the operator gave."""
    from cutover import project  # noqa: PLC0415  # none of it is needed by --help
    from cutover.policy import Policy  # noqa: PLC0415
    from cutover.runbook import catalogue, inventory  # noqa: PLC0415
    from cutover.runbook import plan as plans  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    described = Target.load(target)
    policy = Policy.read(described.policy_path)
    clauses = catalogue.load_clauses()
    made = plans.make(
        catalogue=clauses,
        scenarios=inventory.read_features(project.FEATURES),
        target=described,
        policy=policy,
        strategy=Strategy(strategy) if strategy else None,
        scope=plans.Scope.of(phases=phases, until=until),
    )
    return Planned(plan=made, target=described, policy=policy, catalogue=clauses)


@click.command(epilog="Exit codes: 0, or 2 for wrong input.")
@options.target
@options.phase
@options.until
@options.strategy
@click.option("--records", metavar="DIR", type=click.Path(), help="Past records, for the estimates. Default: records.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def plan(
    *,
    target: str,
    phases: tuple[int, ...],
    until: int | None,
    strategy: str | None,
    records: str | None,
    as_json: bool,
) -> None:
    """Show what a run would do: the clauses in order, what each changes, how that is undone, points of no return.

    Reads files alone; the site need not be reachable. The digest is over all that decides what the run does: the
    clauses, the target file and what it names, the policy, the harness. An approval signs it (cutover approve).

    \b
    Examples:
      cutover plan --target target.toml
      cutover plan --target target.toml --strategy instant --json
    """  # noqa: D301 (click reads the escape)
    from cutover import project  # noqa: PLC0415  # none of it is needed by --help
    from cutover.clock import SYSTEM_CLOCK  # noqa: PLC0415
    from cutover.runbook import approval, estimates  # noqa: PLC0415

    made = planned(target, phases=phases, until=until, strategy=strategy)
    document = made.plan.document()
    consent = approval.examine(
        document,
        target=made.target,
        policy=made.policy,
        performed_by=approval.executor(),
        now=SYSTEM_CLOCK.now(),
        folders=[made.target.approval.folder],
    )
    past = estimates.past_runs(
        Path(records) if records else project.RECORDS, target_name=made.target.name, strategy=made.plan.strategy
    )
    expected = estimates.make(made.plan, made.policy, past)
    if as_json:
        document |= {
            "estimates": expected.document(),
            "approvals": {"needed": consent.needed, "signed": [signed.facts() for signed in consent.approvals]},
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    click.echo(_text(made, expected, consent))


_RISK = {Risk.REVERSIBLE: " ", Risk.COMPENSABLE: "~", Risk.IRREVERSIBLE: "!"}
_TIME_AT = 88
"""The column where a clause's estimate stands."""


def _text(made: Planned, expected: Estimates, consent: Consent) -> str:
    plan, catalogue = made.plan, made.catalogue
    lines = [
        f"upgrade {plan.from_release} → {plan.to_release}   site {plan.target_name}",
        f"strategy {plan.strategy}   scope {plan.scope}",
        "",
    ]
    phase = ""
    for clause in plan.clauses:
        if clause.phase != phase and clause.not_run is None:
            phase = clause.phase
            lines.append(catalogue.phase_titles[phase])
        if clause.not_run is None:
            lines += _clause(clause, expected)
    risks = ", ".join(f"{number} {risk.value}" for risk in Risk if (number := plan.risks().get(risk)))
    points = ", ".join(plan.points_of_no_return) or "none"
    later = ", ".join(plan.later_points)
    lines += [
        "",
        *_left_out(plan),
        "",
        f"clauses               {risks or 'none'}",
        f"points of no return   {points}" + (f"   (not in this run: {later})" if later else ""),
        *_duration(expected),
        *_approvals(consent),
        f"target                {plan.target_sha256}",
        f"policy                {plan.policy_sha256}",
        f"plan                  {plan.digest}",
        "",
        "~ undone by another action whose traces remain   ! cannot be undone",
        "R.1 sends every request back to blue after a failure",
    ]
    return "\n".join(lines)


def _clause(clause: PlannedClause, expected: Estimates) -> list[str]:
    from cutover.runbook.estimates import Basis, in_words  # noqa: PLC0415

    first = f"  {_RISK[clause.risk]} {clause.id:<5} {clause.title}"
    estimate = expected.of(clause.id)
    if estimate is not None:
        by_policy = "  (policy)" if estimate.basis is Basis.POLICY else ""
        first = f"{first:<{_TIME_AT}}{in_words(estimate.seconds)}{by_policy}"
    if not clause.changes:
        return [first]
    return [first, f"            changes  {clause.changes}", f"            undo     {clause.undo}"]


def _duration(expected: Estimates) -> list[str]:
    """Return how long all of it will take, and what that rests on."""
    from cutover.runbook.estimates import in_words  # noqa: PLC0415

    number = len(expected.records)
    rests_on = f"median of {number} past record{'s' * (number != 1)} of this site" if number else "the policy's waits"
    took = f"duration              about {in_words(expected.total_s)}, by {rests_on}"
    return [took + (f"; {len(expected.unknown)} clauses not known" if expected.unknown else "")]


def _approvals(consent: Consent) -> list[str]:
    """Return who approved, and what is still wanted."""
    lines = [
        f"{signed.name}, {signed.approved_at:%Y-%m-%d %H:%M} UTC, “{signed.meaning}”, covers "
        + (", ".join(signed.covers) or "no point of no return")
        for signed in consent.approvals
    ]
    if consent.needed and len(consent.people) < consent.minimum:
        lines.append(f"{len(consent.people)} of {consent.minimum} signed; a run is refused until then")
    elif not consent.approvals:
        lines.append("no signature needed, none there")
    lines += [f"void, signs another plan: {signed.file} by {signed.name}" for signed in consent.drifted]
    lines += [f"counts for nothing: {why}" for why in consent.unusable]
    return [f"{'approved' if number == 0 else '':<22}{line}" for number, line in enumerate(lines)]


def _left_out(made: Plan) -> list[str]:
    """Return one line for each reason why clauses are not performed."""
    by_reason: dict[str, list[str]] = {}
    for clause in made.clauses:
        if clause.not_run is not None:
            by_reason.setdefault(clause.not_run.reason, []).append(clause.id)
    return [f"not performed         {', '.join(ids)}: {reason}" for reason, ids in by_reason.items()]
