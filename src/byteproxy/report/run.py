"""What there is to say of a training run: figures for people and programs, and the page `report.html`.

All of it is out of the run's folder and its counters, so a run that went on from a checkpoint, or one that was finished
already, says the same. The page is there while the run goes on (`keeping_page`), and can be made of the folder alone
(`write_page_of`). A page costs about a second.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import byteproxy
from byteproxy.config import from_toml, to_toml
from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import PREFIXES, sized
from byteproxy.evaluate.run_figures import figure_rows, folder_figures, run_figures
from byteproxy.progress import Progress
from byteproxy.report.page import framed, json_details, table, text, wrapped, write_page
from byteproxy.report.plots import SMOOTHING, Line, curve_figure
from byteproxy.train.config import TrainConfig
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.trainer import Trainer

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
Wanted: TypeAlias = tuple[str, tuple[str, ...]]
"""The name of a line, and where in the metrics its figure stands."""
_AXES = {"flops": "training FLOPs", "text_bytes": "text", "wall_seconds": "wall time"}


PAGE = "report.html"
_PAGE_SHARE = 0.02  # of the time, that a run's page may take while the run goes on


def keeping_page(trainer: Trainer, progress: Progress) -> Progress:
    """Progress of training that also writes the run's page after each validation, and at once if there is none yet.

    Where validations follow so fast that pages would take more than 2 % of the time, some are left out. A page that
    can't be written is said once and never stops a run.
    """
    every, last = trainer.config.validate_every, trainer.config.steps
    next_at, broken = 0.0, False

    def told(done: int, total: int, note: str = "") -> None:
        nonlocal next_at, broken
        progress(done, total, note)
        due = done == last or (every and done % every == 0)
        begin = time.monotonic()
        if broken or not due or begin < next_at or not trainer.folder.is_dir():
            return
        try:
            write_page(run_page(trainer, run_figures(trainer)), trainer.folder / PAGE)
        except InputError as error:
            broken = True
            say(f"the run's page is not kept, training goes on: {error}")
        next_at = time.monotonic() + (time.monotonic() - begin) / _PAGE_SHARE

    return told


def write_page_of(folder: Path) -> Path:
    """Write the page of a run from its folder alone, whether it is finished, goes on or was killed; gives its place.

    Raises InputError where the folder holds no run, or none of its steps were logged.
    """
    config = from_toml(folder / "config.toml", TrainConfig)
    write_page(_page(folder, config, folder_figures(folder, config)), folder / PAGE)
    return folder / PAGE


def run_page(trainer: Trainer, figures: Mapping[str, Any]) -> str:
    """The page as HTML. figures: as `run_figures` gives them."""
    return _page(trainer.folder, trainer.config, figures)


def _page(folder: Path, config: TrainConfig, figures: Mapping[str, Any]) -> str:
    lines = read_metrics(folder / "metrics.jsonl")
    measured = [line for line in lines if "raw_bpb" in line]
    logged = [line for line in lines if "loss" in line]
    rows = [(text(row.name), [text(row.value), text(row.meaning)]) for row in figure_rows(figures)]
    called, planned = folder.name, figures["of_steps"]
    unfinished = "" if figures["steps"] == planned else f" of {'more' if planned is None else f'{planned:,}'}"
    parameters = "" if figures["parameters"] is None else f", {sized(figures['parameters'])} parameters"
    still = " This page is of a run that was not finished." if unfinished else ""
    of_them = " of them" if parameters else " parameters"
    return framed(
        f"run {called}",
        (
            f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p><h1>Run {wrapped(called)}</h1>"
            f"<p>{figures['steps']:,} steps{unfinished}{parameters}, {sized(figures['raw_parameters'])}{of_them} of the"
            f" part that reads and writes raw bytes.{still}</p></header>",
            f"<section><h2>Figures</h2>{table('', (('value', ''), ('', '')), rows)}</section>",
            f"<section><h2>Bits per byte of validation text</h2>{_bits_per_byte(measured)}</section>",
            f"<section><h2>Training loss</h2>{_losses(logged)}</section>",
            f"<section><h2>Speed</h2>{_speed(logged)}</section>",
            f"<section><h2>Steps that were not taken</h2>{_skipped(lines)}</section>",
            f"<section><h2>Configuration</h2><pre>{text(to_toml(config))}</pre></section>",
            json_details({**figures, "validation": measured}),
        ),
        _STYLE,
    )


def _bits_per_byte(measured: Sequence[Mapping[str, Any]]) -> str:
    views = list(dict.fromkeys(name for line in measured for name in line.get("view_bpb", {})))
    wanted = [("raw bytes", ("raw_bpb",)), *((view, ("view_bpb", view)) for view in views)]
    bits = _three("bits per byte", measured, wanted)
    gap = _three("transfer gap (bits per byte)", measured, [("", ("transfer_gap",))])
    explained = (
        "<p class=note>The transfer gap is what raw bytes cost above the mean of the views: how far reading raw bytes"
        " lags behind what the model knows from compressed text. A view's bits are an upper bound of what its model of"
        " the text needs, as other symbols could have stood for the same text.</p>"
    )
    return bits + (f"<h3>Transfer gap</h3>{gap}{explained}" if views else "")


def _losses(logged: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(
        (kind, column) for line in logged for kind, row in line.get("losses", {}).items() for column in row
    )
    wanted = [(f"{kind}: {column.replace('_', ' ')}", ("losses", kind, column)) for kind, column in names]
    return _three("nats per target", logged, wanted, smooth=True) + (
        f"<p class=note>By representation and head. Strong lines: a centred mean over about {100 * SMOOTHING:.0f} % of"
        " the points. A byte is one target and so is a symbol of several bytes: compare each line with itself only.</p>"
    )


def _speed(logged: Sequence[Mapping[str, Any]]) -> str:
    pace = _lines(logged, "wall_seconds", [("", ("positions_per_second",))], smooth=True)
    share = _lines(logged, "wall_seconds", [("", ("machine_share",))], smooth=True)
    share = [replace(line, y=[100 * y for y in line.y]) for line in share]
    figures = (
        _figure("positions a second", pace, "wall_seconds"),
        _figure("matmul utilization (%)", share, "wall_seconds"),
    )
    return f"<div class=plots>{''.join(figures)}</div>"


def _skipped(lines: Sequence[Mapping[str, Any]]) -> str:
    found = [(f"{line['step']:,}", [text(line["skipped"])]) for line in lines if "skipped" in line]
    return table("step", (("why", ""),), found) if found else "<p>None: every step was taken.</p>"


def _three(
    y_label: str,
    logged: Sequence[Mapping[str, Any]],
    wanted: Sequence[Wanted],
    smooth: bool = False,
) -> str:
    """The same lines over compute, text and time."""
    figures = [_figure(y_label, _lines(logged, axis, wanted, smooth), axis) for axis in _AXES]
    return f"<div class=plots>{''.join(figures)}</div>"


def _lines(
    logged: Sequence[Mapping[str, Any]],
    axis: str,
    wanted: Sequence[Wanted],
    smooth: bool = False,
) -> list[Line]:
    lines = []
    for colour, (label, keys) in enumerate(wanted):
        points = [(line[axis], _found(line, keys)) for line in logged if axis in line]
        points = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
        if points:
            lines.append(Line(label, colour, [x for x, _ in points], [y for _, y in points], smooth=smooth))
    return lines


def _found(line: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = line
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _figure(y_label: str, lines: Sequence[Line], axis: str) -> str:
    caption = f"{text(y_label)} over {_AXES[axis]}"
    if not lines:
        return f"<figure><figcaption>{caption}</figcaption><p class=note>Nothing was logged.</p></figure>"
    divisor, unit = _unit(axis, max(line.x[-1] for line in lines))
    scaled = [replace(line, x=[x / divisor for x in line.x]) for line in lines]
    return curve_figure(caption, f"{y_label} {axis}", scaled, [], f"{_AXES[axis]} ({unit})", y_label)


def _unit(axis: str, largest: float) -> tuple[float, str]:
    if axis == "wall_seconds":
        units = (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")
        return next((size, unit) for size, unit in units if largest >= 3 * size or size == 1)
    power = min(max(0, int(math.log10(max(1.0, largest))) // 3), len(PREFIXES) - 1)
    if axis == "text_bytes":
        return 1000.0**power, f"{PREFIXES[power]}B"
    return 1000.0**power, f"10{str(3 * power).translate(_SUPERSCRIPTS)}"


_STYLE = """
h3 { font-size: .95rem; margin: 1.6em 0 .5em; }
main { max-width: 1240px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(358px, 100%), 1fr)); gap: 28px 28px; }
figure { max-width: none; }
figcaption { font-size: .85rem; }
td:last-child { text-align: left; color: var(--muted); white-space: normal; }
"""
