"""Progress bars on stderr, with rate and time left; where stderr is no terminal, a line when a stage is done."""

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
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None, unit=unit)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield report
        if bar.tasks[task].total is None:  # nobody knew how much it would be: it was what there is
            bar.update(task, total=bar.tasks[task].completed or 1, completed=bar.tasks[task].completed or 1)
    if not console.is_terminal:
        print(f"{what}: {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)


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
