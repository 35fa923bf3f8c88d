"""Progress on stderr: on a terminal a bar with rate and time left, elsewhere a line now and then.

Where stderr is no terminal (nohup, Slurm, CI) a stage says when it begins, how far it is every
BYTEPROXY_PROGRESS_SECONDS (30; 0 for never), and at its end how long it took, of how much, and the rate.
"""

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

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

from byteproxy.console import STDERR, one_line, say
from byteproxy.errors import InputError
from byteproxy.progress import Progress as Report

SHORTEST = 0.05  # seconds that a rate can be told from
VARIABLE = "BYTEPROXY_PROGRESS_SECONDS"
BETWEEN = 30.0
"""Seconds between two lines of a stage, unless the environment says otherwise."""


@contextmanager
def stage(what: str, unit: str) -> Iterator[Report]:
    """Show the progress of one stage; `unit` "B" is bytes, anything else is counted as it is."""
    with _bar(what, unit) if STDERR.is_terminal else _lines(what, unit) as report:
        yield report


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Report]:
    ascii_only = STDERR.options.ascii_only
    bar = Progress(
        SpinnerColumn("line" if ascii_only else "dots"),
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        _Amount(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=STDERR,
    )
    with bar:
        task = bar.add_task(one_line(what), total=None, unit=unit, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total or None, note=one_line(note))

        yield report
        if bar.tasks[task].total is None:  # nobody knew how much it would be: it was what there is
            bar.update(task, total=bar.tasks[task].completed or 1, completed=bar.tasks[task].completed or 1)


@contextmanager
def _lines(what: str, unit: str) -> Iterator[Report]:
    interval = seconds_between()
    begin = time.perf_counter()
    done_now, total_now, noted = 0, 0, ""
    over = threading.Event()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal done_now, total_now, noted
        done_now, total_now, noted = done, total, note

    def tell() -> None:
        while not over.wait(interval):
            say(progress_line(what, unit, time.perf_counter() - begin, done_now, total_now, noted))

    say(f"{what} ...")
    telling = threading.Thread(target=tell, name="progress", daemon=True) if interval else None
    if telling:
        telling.start()
    try:
        yield report
    finally:
        over.set()
        if telling:
            telling.join()
    seconds = time.perf_counter() - begin
    amount = f", {_amount(done_now, unit)}" if done_now else ""
    rate = f", {_rate(done_now / seconds, unit)}" if done_now and seconds >= SHORTEST else ""
    say(f"{what}: {seconds:.1f} s{amount}{rate}{f', {noted}' if noted else ''}")


def progress_line(what: str, unit: str, seconds: float, done: int, total: int, note: str = "") -> str:
    """Format a stage's progress: share, amount, rate, elapsed time and time left, as far as they are known."""
    parts = [_time(seconds)]
    if done:
        amount = _amount(done, unit)
        if total:
            amount = f"{amount.removesuffix(f' {unit}')} of {_amount(total, unit)} ({100 * done / total:.0f} %)"
        parts += [amount, _rate(done / seconds, unit)]
        if total > done:
            parts.append(f"about {_time(seconds * (total - done) / done)} left")
    return f"{what}: {', '.join([*parts, note] if note else parts)}"


def seconds_between() -> float:
    """Seconds between two lines of a stage; 0 for no lines. Raises InputError where the environment is wrong."""
    value = os.environ.get(VARIABLE) or str(BETWEEN)
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise InputError(f"{VARIABLE} is {value!r}: give a number of seconds, 0 for no lines in between")
    return seconds


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _amount(count: float, unit: str) -> str:
    if unit == "B":
        return decimal(int(count))
    return f"{count:,.{0 if count >= 100 or count == int(count) else 1}f} {unit}"


def _rate(per_second: float, unit: str) -> str:
    """Per second, or where that rounds to nothing per minute or hour."""
    for seconds, each in ((1, "s"), (60, "min")):
        if per_second * seconds >= 0.1:
            return f"{_amount(per_second * seconds, unit)}/{each}"
    return f"{_amount(per_second * 3600, unit)}/h"


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
        rate = f", {_rate(speed, unit)}" if speed else ""
        return Text(f"{task.completed:,.0f}{of} {unit}{rate}", no_wrap=True)
