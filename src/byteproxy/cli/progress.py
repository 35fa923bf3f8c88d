"""Progress bars on stderr, with rate and time left; where stderr is no terminal, a line when a stage is done.

The line says how long it took, of how much, and the rate.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from byteproxy.progress import Progress as Report

SHORTEST = 0.05  # seconds that a rate can be told from


@contextmanager
def stage(what: str, unit: str) -> Iterator[Report]:
    """Show the progress of one stage; `unit` "B" is bytes, anything else is counted as it is."""
    begin = time.perf_counter()
    console = Console(file=sys.stderr)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(),
        _Amount(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None, unit=unit, note="")
        reached, noted = 0, ""

        def report(done: int, total: int, note: str = "") -> None:
            nonlocal reached, noted
            reached, noted = done, note
            bar.update(task, completed=done, total=total or None, note=note)

        yield report
        if bar.tasks[task].total is None:  # nobody knew how much it would be: it was what there is
            bar.update(task, total=bar.tasks[task].completed or 1, completed=bar.tasks[task].completed or 1)
    if not console.is_terminal:
        seconds = time.perf_counter() - begin
        amount = f", {_amount(reached, unit)}" if reached else ""
        rate = f", {_amount(reached / seconds, unit)}/s" if reached and seconds >= SHORTEST else ""
        noted = f", {noted}" if noted else ""
        print(f"{what}: {seconds:.1f} s{amount}{rate}{noted}", file=sys.stderr, flush=True)


def _amount(count: float, unit: str) -> str:
    if unit == "B":
        return decimal(int(count))
    return f"{count:,.{0 if count >= 100 or count == int(count) else 1}f} {unit}"


class _Amount(ProgressColumn):
    """How much of how much, and how fast."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields["unit"])
        speed = task.finished_speed or task.speed
        if unit == "B":
            of = "" if task.total is None else f" of {decimal(int(task.total))}"
            rate = f", {decimal(int(speed))}/s" if speed else ""
            return Text(f"{decimal(int(task.completed))}{of}{rate}", no_wrap=True)
        of = "" if task.total is None else f" of {task.total:,.0f}"
        rate = f", {speed:,.1f}/s" if speed else ""
        return Text(f"{task.completed:,.0f}{of} {unit}{rate}", no_wrap=True)
