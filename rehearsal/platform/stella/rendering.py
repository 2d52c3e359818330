"""Writes answers and errors for people: tables, one sentence, colours.

Invariant: colours only on a terminal, and never under NO_COLOR.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from rehearsal.platform.stella.answers import Answer
    from rehearsal.platform.stella.errors import StellaError

PIPED_WIDTH_COLUMNS = 140


def print_answer(answer: Answer) -> None:
    """Write tables and the summary to standard output; colours only on a terminal and never under NO_COLOR."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _piped_width())
    for table in answer.tables:
        shown = RichTable(
            title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for column in table.columns:
            shown.add_column(column, overflow="fold")
        for row in table.rows:
            shown.add_row(*(_cell(value) for value in row))
        console.print(shown)
    console.print(Text.assemble(_cell(answer.ok), " ", answer.summary), soft_wrap=True)


def print_error(error: StellaError) -> None:
    """Write the message and its remedy to standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error", "bold red"), f" {error.code}: {error.message}"))
    console.print(Text(f"   do  {error.remedy}"))


def _piped_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else PIPED_WIDTH_COLUMNS


def _cell(value: object) -> Text:
    if isinstance(value, bool):
        return Text("✔", style="green") if value else Text("✘", style="bold red")
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, int):
        return Text(f"{value:,}".replace(",", " "), justify="right")
    return Text(str(value))
