"""`./cutover faults`: what can be injected into a rehearsal, and how a run ends under it."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING

import click

from rehearsal.cli.common import say
from rehearsal.environment import faults as listed

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--strategy", type=click.Choice(["gradual", "instant"]), default="gradual", show_default=True, help="Of the run."
)
def faults(*, as_json: bool, strategy: str) -> None:
    """List the faults that `rehearse --fault NAME` injects, and how a run ends under each.

    NAME@PHASE is the same fault in another phase: database-lost@4 strikes while the upgrade is validated.
    """
    every, elsewhere = listed.load(strategy), listed.elsewhere(strategy)
    if as_json:
        say(json.dumps([dataclasses.asdict(fault) for fault in (*every, *elsewhere)], indent=2))
        return
    for fault in every:
        if fault.kind and fault.name != listed.ALTERED:
            _show_kind(fault)
            continue
        say(fault.usage)
        for line in textwrap.wrap(fault.title, 100):
            say(f"    {line}")
        if fault.parameter is not None:
            bounds = f"{fault.parameter.least:g} to {fault.parameter.most:g}"
            say(f"    {fault.parameter.name}: {bounds}, {fault.parameter.default:g} unless given")
        say(
            f"    strikes {_when(fault)}; fails {fault.clause} (phase {fault.phase}), exit code {fault.exit_code}; "
            f"afterwards {fault.serves} serves"
        )
        _show_phases([each for each in elsewhere if each.base == fault.base])
        if fault.gates:
            say(f"    the gate that must not pass: {fault.gates[0]}")
        if fault.policy:
            said = ", ".join(f"{name} = {value}" for name, value in fault.policy.items())
            say(f"    with a policy of its own: {said}")
        if fault.name == listed.ALTERED:
            say(f"    the same as {listed.ALTERED}:{fault.kind}; every way to alter evidence is a fault of its own,")
            say("    and the record names the guarantee, the code and the item:")


def _show_phases(again: Sequence[listed.Fault]) -> None:
    said = ", ".join(f"@{each.at} ({each.clause} fails, exit code {each.exit_code})" for each in again)
    for line in textwrap.wrap(f"in other phases: {said}", 110, subsequent_indent="    ") if said else ():
        say(f"    {line}")


def _show_kind(fault: listed.Fault) -> None:
    broken = " or ".join(fault.guarantees)
    item = "the item" if fault.item == "{item}" else fault.item.replace("{", "the ").replace("}", "")
    say(f"  {fault.name}  ({fault.layer})")
    say(f"      {fault.title}")
    say(f"      strikes {_when(fault)}; {broken} {fault.code}, names {item}")


def _when(fault: listed.Fault) -> str:
    if fault.strikes_at == listed.START:
        return "before the run begins"
    begins = fault.strikes_on == listed.CLAUSE_STARTED
    return f"as {fault.strikes_at} begins" if begins else f"at the {fault.strikes_on} of {fault.strikes_at}"
