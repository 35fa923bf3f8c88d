"""The page of a training run, or of several side by side, out of what each left in its folder.

`config.toml` and `metrics.jsonl` are enough, so a run that goes on, was stopped, was killed or is finished has one; the
page of a run that goes on renews itself. A page costs about a second.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.config import to_toml
from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import PREFIXES
from byteproxy.evaluate.run_figures import figure_rows, folder_figures, state_of
from byteproxy.progress import Progress
from byteproxy.report import plots
from byteproxy.report.lenient import distinct
from byteproxy.report.page import Picture, render, write_page
from byteproxy.report.plots import Line
from byteproxy.study.units import superscript
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import read_run_config
from byteproxy.train.train_config import TrainConfig

PAGE, METRICS, CONFIG = "report.html", "metrics.jsonl", "config.toml"
_AXES = {"flops": "training FLOPs", "text_bytes": "text", "wall_seconds": "wall time"}
_PAGE_SHARE = 0.02  # of the time, that a run's page may take while the run goes on
_RENEW_SECONDS = 20


class Series(NamedTuple):
    """A line: its name, the lines of metrics that it is of, and where in them its figure stands."""

    label: str
    logged: Sequence[Mapping[str, Any]]
    keys: Sequence[str]


class Run(NamedTuple):
    """What a run left. state: finished, going on or stopped."""

    folder: Path
    config: TrainConfig
    figures: dict[str, Any]
    logged: list[dict[str, Any]]
    state: str


def keeping_page(folder: Path, config: TrainConfig, progress: Progress) -> Progress:
    """Progress of training that also writes the run's page after each validation, and at once if there is none yet.

    Where validations follow so fast that pages would take more than 2 % of the time, some are left out. A page that
    can't be written is said once and never stops a run.
    """
    every, last = config.validate_every, config.steps
    next_at, broken = 0.0, False

    def on_progress(done: int, total: int, note: str = "") -> None:
        nonlocal next_at, broken
        progress(done, total, note)
        due = done == last or (every and done % every == 0)
        begin = time.monotonic()
        if broken or not due or begin < next_at or not folder.is_dir():
            return
        try:
            write_run_page(folder)
        except InputError as error:
            broken = True
            say(f"the run's page is not kept, training goes on: {error}")
        next_at = time.monotonic() + (time.monotonic() - begin) / _PAGE_SHARE

    return on_progress


def read_run(folder: Path) -> Run:
    """A run from its folder; InputError where it holds none, or none of its steps were logged."""
    config = read_run_config(folder)
    figures = folder_figures(folder, config)
    return Run(folder, config, figures, read_metrics(folder / METRICS), state_of(folder, figures))


def write_run_page(folder: Path, path: Path | None = None) -> Path:
    """Write the page of a run, to its own folder unless a place is given; gives the place.

    Raises InputError where the folder holds no run, none of its steps were logged, or the page can't be written.
    """
    path = path or folder / PAGE
    write_page(run_page(read_run(folder)), path)
    return path


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
    return render(
        "run.html",
        title=f"run {run.folder.name}",
        heading=f"Run {run.folder.name}",
        run=run,
        refresh=_RENEW_SECONDS if run.state == "going on" else None,
        rows=[(row.name, (row.value, row.meaning)) for row in figure_rows(run.figures)],
        series=max(len(bits), len(losses)),
        bits=_three("bits per byte", bits),
        gap=_three("transfer gap (bits per byte)", [Series("", measured, ["transfer_gap"])]) if views else [],
        losses=_three("nats per target", losses, smooth=True),
        speed=[
            _over("wall_seconds", "positions a second", [Series("", logged, ["positions_per_second"])], smooth=True),
            _over("wall_seconds", "matmul utilization (%)", [Series("", logged, ["matmul_utilization"])], True, 100.0),
        ],
        skipped=[(f"{line['step']:,}", (line["skipped"],)) for line in run.logged if "skipped" in line],
        configuration=to_toml(run.config),
        smoothing=100 * plots.SMOOTHING,
        results={**run.figures, "validation": measured},
    )


def runs_page(runs: Sequence[Run]) -> str:
    """The page of several runs, each a line of every plot; with what their configurations differ in."""
    paths = [str(run.folder) for run in runs]
    names = paths if len({run.folder.name for run in runs}) < len(runs) else [run.folder.name for run in runs]
    short = distinct(names)

    def lines(key: str) -> list[Series]:
        return [Series(short[name], run.logged, [key]) for name, run in zip(names, runs, strict=True)]

    return render(
        "runs.html",
        title=f"{len(runs)} runs side by side",
        runs=list(zip(names, runs, strict=True)),
        names=names,
        series=len(runs),
        refresh=_RENEW_SECONDS if any(run.state == "going on" for run in runs) else None,
        bits=_three("bits per byte", lines("raw_bpb")),
        gap=_three("transfer gap (bits per byte)", lines("transfer_gap")),
        losses=_three("nats per target", lines("loss"), smooth=True),
        differing=_differing([_flat(asdict(run.config)) for run in runs]),
        results={path: run.figures for path, run in zip(paths, runs, strict=True)},
    )


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


def _three(y_label: str, series: Sequence[Series], smooth: bool = False) -> list[Captioned]:
    """The same lines over compute, text and time."""
    return [_over(axis, y_label, series, smooth) for axis in _AXES]


def _over(axis: str, y_label: str, series: Sequence[Series], smooth: bool = False, times: float = 1.0) -> Captioned:
    lines = []
    for number, (label, logged, keys) in enumerate(series):
        found = [(line[axis], _found(line, keys)) for line in logged if axis in line]
        points = [(x, times * y) for x, y in found if y is not None and math.isfinite(y)]
        if points:
            lines.append(Line(label, number, [x for x, _ in points], [y for _, y in points], smooth=smooth))
    unit, name = _unit(axis, max((line.x[-1] for line in lines), default=1.0))
    scaled = [replace(line, x=[x / unit for x in line.x]) for line in lines]
    picture = plots.curves(f"{y_label} {axis}", scaled, [], f"{_AXES[axis]} ({name})", y_label)
    return f"{y_label} over {_AXES[axis]}", picture


def _found(line: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = line
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _unit(axis: str, largest: float) -> tuple[float, str]:
    if axis == "wall_seconds":
        units = (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")
        return next((size, unit) for size, unit in units if largest >= 3 * size or size == 1)
    power = min(max(0, int(math.log10(max(1.0, largest))) // 3), len(PREFIXES) - 1)
    return 1000.0**power, f"{PREFIXES[power]}B" if axis == "text_bytes" else f"10{superscript(3 * power)}"
