"""The page of a training run, or of several side by side, out of what each left in its folder.

`config.toml` and `metrics.jsonl` are enough, so a run that goes on, was stopped, was killed or is finished has one. The
page of a run that goes on renews itself for as long as somebody writes it (`templates/page.js`). A page costs about a
second.
"""

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from byteproxy.config import to_toml
from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.evaluate.run_figures import NothingLoggedError, figure_rows, folder_figures, state_of
from byteproxy.progress import Progress
from byteproxy.report import line_plots
from byteproxy.report.lenient import distinct, mapping
from byteproxy.report.line_plots import Level, Line
from byteproxy.report.page import Picture, render, write_page
from byteproxy.study.study_folder import REPORT
from byteproxy.study.units import number
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import METRICS, read_run_config
from byteproxy.train.train_config import TrainConfig

_AXES = ("flops", "text_bytes", "wall_seconds")
_PAGE_SHARE = 0.02  # of the time, that a run's page may take while the run goes on
_WRITE_SECONDS = 300  # between two pages of a run that goes on, where no validation comes first
_RENEW_SECONDS = 20  # between two looks of an open page at its file
_STALE_SECONDS = 1200  # a page that is older is no longer written
_POINTS = 2000  # of a line; where more was logged, each is the mean of neighbours


class Series(NamedTuple):
    """A line: its name, the lines of metrics that it is of, and where in them its figure stands."""

    label: str
    logged: Sequence[Mapping[str, Any]]
    keys: Sequence[str]


class Run(NamedTuple):
    """What a run left. state: finished, going on or stopped. read_at: when it was read, in seconds of `time.time()`."""

    folder: Path
    config: TrainConfig
    figures: dict[str, Any]
    logged: list[dict[str, Any]]
    state: str
    read_at: float

    @property
    def name(self) -> str:
        """The name of its folder, which may have been given as a dot."""
        return self.folder.resolve().name


class AsOf(NamedTuple):
    """When a page was written, for its script and in words. renew: seconds to the next look at its file; None: never.

    stale: seconds after which a page that isn't written anew stops looking. command: what writes it.
    """

    time: int
    said: str
    renew: int | None
    stale: int
    command: str


def keeping_page(folder: Path, config: TrainConfig, progress: Progress) -> Progress:
    """Progress of training that also writes the run's page: after each validation, and every five minutes.

    Where validations follow so fast that pages would take more than 2 % of the time, some are left out. A page that
    can't be written is said once and never stops a run.
    """
    every, last = config.validate_every, config.steps
    begun, broken = time.monotonic(), False
    next_at, latest_at = begun, begun + _WRITE_SECONDS

    def on_progress(done: int, total: int, note: str = "") -> None:
        nonlocal next_at, latest_at, broken
        progress(done, total, note)
        begin = time.monotonic()
        due = done == last or (every and done % every == 0) or begin >= latest_at
        if broken or not due or begin < next_at or not folder.is_dir():
            return
        try:
            with suppress(NothingLoggedError):
                write_run_page(folder)
        except InputError as error:
            broken = True
            say(f"the run's page is not kept, training goes on: {error}")
        end = time.monotonic()
        next_at, latest_at = end + (end - begin) / _PAGE_SHARE, end + _WRITE_SECONDS

    return on_progress


def read_run(folder: Path) -> Run:
    """A run from its folder; InputError where it holds none, or none of its steps were logged."""
    config = read_run_config(folder)
    figures = folder_figures(folder, config)
    return Run(folder, config, figures, read_metrics(folder / METRICS), state_of(folder, figures), time.time())


def write_run_page(folder: Path, path: Path | None = None) -> Path:
    """Write the page of a run, to its own folder unless a place is given; gives the place.

    Raises InputError where the folder holds no run, none of its steps were logged, or the page can't be written.
    """
    path = path or folder / REPORT
    write_page(run_page(read_run(folder)), path)
    return path


def write_stopped_page(folder: Path) -> None:
    """Write the page of a run whose process, which holds the folder, ends early; else the one before stays."""
    with suppress(InputError):
        run = read_run(folder)
        if run.state == "going on":
            run = run._replace(state="stopped")
        write_page(run_page(run), folder / REPORT)


def run_page(run: Run) -> str:
    """The page as HTML."""
    measured = [line for line in run.logged if "raw_bpb" in line]
    logged = [line for line in run.logged if "loss" in line]
    views = list(dict.fromkeys(name for line in measured for name in line.get("view_bpb", {})))
    bits = [Series("raw bytes", measured, ["raw_bpb"]), *(Series(view, measured, ["view_bpb", view]) for view in views)]
    heads = dict.fromkeys(
        (kind, column) for line in logged for kind, row in line.get("losses", {}).items() for column in row
    )
    losses = [Series(f"{kind}: {column.replace('_', ' ')}", logged, ["losses", kind, column]) for kind, column in heads]
    text = run.figures["validation_text"]
    return render(
        "run.html",
        title=f"run {run.name}",
        heading=f"Run {run.name}",
        run=run,
        as_of=_as_of([run]),
        rows=[(row.name, (row.value, row.meaning)) for row in figure_rows(run.figures)],
        series=max(len(bits), len(losses)),
        bits=_three("bits per byte", bits, levels=_levels(text)),
        text=text,
        other_text=max((line["step"] for line in measured if line.get("validation_text") != text), default=0),
        gap=_three("transfer gap (bits per byte)", [Series("", measured, ["transfer_gap"])]) if views else [],
        losses=_three("nats per target", losses, smooth=True),
        speed=[
            _over("wall_seconds", "positions a second", [Series("", logged, ["positions_per_second"])], smooth=True),
            _over("wall_seconds", "matmul utilization (%)", [Series("", logged, ["matmul_utilization"])], True, 100.0),
        ],
        skipped=[(f"{line['step']:,}", (line["skipped"],)) for line in run.logged if "skipped" in line],
        configuration=to_toml(run.config),
        smoothing=100 * line_plots.SMOOTHING,
        thinned=len(logged) > _POINTS,
        results={**run.figures, "validation": measured},
    )


def runs_page(runs: Sequence[Run]) -> str:
    """The page of several runs, each a line of every plot; with what their configurations differ in."""
    paths = [str(run.folder) for run in runs]
    names = paths if len({run.name for run in runs}) < len(runs) else [run.name for run in runs]
    short = distinct(names)
    text = runs[0].figures["validation_text"]
    if any(run.figures["validation_text"] != text for run in runs):
        text = None

    def lines(key: str) -> list[Series]:
        return [Series(short[name], run.logged, [key]) for name, run in zip(names, runs, strict=True)]

    return render(
        "runs.html",
        title=f"{len(runs)} runs side by side",
        runs=list(zip(names, runs, strict=True)),
        names=names,
        series=len(runs),
        as_of=_as_of(runs),
        going_on=sum(run.state == "going on" for run in runs),
        bits=_three("bits per byte", lines("raw_bpb"), levels=_levels(text)),
        text=text,
        gap=_three("transfer gap (bits per byte)", lines("transfer_gap")),
        losses=_three("nats per target", lines("loss"), smooth=True),
        differing=_differing([_flat(asdict(run.config)) for run in runs]),
        results={path: run.figures for path, run in zip(paths, runs, strict=True)},
    )


def _as_of(runs: Sequence[Run]) -> AsOf:
    read_at = min(run.read_at for run in runs)
    said = datetime.fromtimestamp(read_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    renew = _RENEW_SECONDS if any(run.state == "going on" for run in runs) else None
    command = shlex.join(["byteproxy", "report", *(str(run.folder) for run in runs)])
    return AsOf(int(read_at), said, renew, _STALE_SECONDS, command)


def _levels(text: object) -> list[Level]:
    """What PPMd makes of the text that was measured."""
    found = number(mapping(mapping(text).get("compressors")).get("ppmd"))
    return [] if found is None else [Level(f"PPMd {found:.2f}", found)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their names on the way: "model.width"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The fields in which configurations differ, and what each says."""
    fields = dict.fromkeys(name for config in configs for name in config)
    found = [(name, [config.get(name) for config in configs]) for name in fields]
    return [(name, values) for name, values in found if any(value != values[0] for value in values)]


Captioned = tuple[str, Picture]


def _three(
    y_label: str, series: Sequence[Series], smooth: bool = False, levels: Sequence[Level] = ()
) -> list[Captioned]:
    """The same lines over compute, text and time."""
    return [_over(axis, y_label, series, smooth, levels=levels) for axis in _AXES]


def _over(
    axis: str,
    y_label: str,
    series: Sequence[Series],
    smooth: bool = False,
    times: float = 1.0,
    levels: Sequence[Level] = (),
) -> Captioned:
    lines = []
    for place, (label, logged, keys) in enumerate(series):
        found = [(line[axis], _found(line, keys)) for line in logged if axis in line]
        points = _thinned([(x, times * y) for x, y in found if y is not None and math.isfinite(y)])
        lines.append(Line(label, place, [x for x, _ in points], [y for _, y in points], smooth=smooth))
    picture = line_plots.over(axis, y_label, lines, levels, y_label)
    return f"{y_label} over {line_plots.SPENT[axis]}", picture


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_POINTS` points, each the mean of as many neighbours as that takes."""
    many = -(-len(points) // _POINTS) or 1
    groups = [points[at : at + many] for at in range(0, len(points), many)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def _found(line: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = line
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
