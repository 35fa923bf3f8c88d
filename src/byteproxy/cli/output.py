"""What every command says at its end: tables for people, and with --json one object on one line for programs."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

if TYPE_CHECKING:
    from rich.table import Table

    from byteproxy.console import Console

Json: TypeAlias = Annotated[
    bool,
    tyro.conf.arg(name="json", help="End the output with all figures as one JSON object on one line."),
    tyro.conf.FlagCreatePairsOff,
]
"""The option that every command has."""


def console(json: bool) -> "Console":
    """Where people read. With --json stdout is for programs."""
    from byteproxy.console import Console

    return Console(json)


def print_whole(terminal: "Console", *tables: "Table") -> None:
    """Print tables as wide as they are: no cell is cut in a narrow window, and lines stay whole in a file."""
    from rich.measure import Measurement

    before = terminal.width
    for table in tables:
        terminal.width = 1000
        terminal.width = max(before, Measurement.get(terminal, terminal.options, table).maximum)
        terminal.print(table)
    terminal.width = before


def end(json: bool, results: dict[str, Any]) -> None:
    """With --json, end with one object on one line; what isn't finite is null there."""
    from byteproxy.finite import finite

    if json:
        sys.stdout.write(json_module.dumps(finite(results)) + "\n")
        sys.stdout.flush()
