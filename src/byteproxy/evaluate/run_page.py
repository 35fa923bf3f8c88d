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
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import byteproxy
from byteproxy.config import from_toml, to_toml
from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import PREFIXES, sized, timed
from byteproxy.evaluate.plots import SMOOTHING, Line, curve_figure
from byteproxy.page import framed, json_details, table, text, wrapped, write_page
from byteproxy.progress import Progress
from byteproxy.train import parallel
from byteproxy.train.config import TrainConfig
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.trainer import Trainer

DASH = "\N{EN DASH}"
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


def folder_figures(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """As `run_figures`, from the metrics alone: as far as they were written, and None of what they don't tell."""
    path = folder / "metrics.jsonl"
    lines = read_metrics(path) if path.exists() else []
    last: dict[str, Any] = next((line for line in reversed(lines) if "flops" in line), {})
    if not last:
        raise InputError(f"{folder} holds no metrics of any step yet: wait for the first lines of {path}")
    share = last["compressed_share"]["text_bytes"] or 0.0
    shown = {"raw": round((1 - share) * last["text_bytes"])}
    if config.views:
        others = config.views[0] if len(config.views) == 1 else "all views"
        shown[others] = last["text_bytes"] - shown["raw"]
    return {
        "run": str(folder),
        "corpus": config.corpus,
        "views": list(config.views),
        "steps": last["step"],
        "of_steps": config.steps if config.length[1] == "steps" else None,
        "skipped": sum("skipped" in line for line in lines),
        **_logged(lines),
        "positions_per_second": last["positions"] / last["seconds"] if last["seconds"] else None,
        "loading_share": last["loading_share"],
        "text_bytes": shown,
        "compressed_share": last["compressed_share"],
        "positions": last["positions"],
        "flops": last["flops"],
        "seconds": last["seconds"],
        "wall_seconds": last["wall_seconds"],
        "parameters": None,
        "raw_parameters": config.model.raw_parameters(),
        "dtype": config.dtype,
        "device": config.device,
        "processes": None,
    }


def _logged(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures that are taken from the metrics, not from counters."""
    losses: Mapping[str, Any] = next((line for line in reversed(lines) if "loss" in line), {})
    measured: Mapping[str, Any] = next((line for line in reversed(lines) if "raw_bpb" in line), {})
    shares = [line["machine_share"] for line in lines if line.get("machine_share") is not None]
    return {
        "loss": losses.get("loss"),
        "losses": losses.get("losses"),
        "raw_bpb": measured.get("raw_bpb"),
        "view_bpb": measured.get("view_bpb"),
        "transfer_gap": measured.get("transfer_gap"),
        "machine_share": median(shares) if shares else None,
        "memory_mb": max((line["memory_mb"] for line in lines if "memory_mb" in line), default=None),
    }


def run_figures(trainer: Trainer) -> dict[str, Any]:
    """The figures of a run so far, which can be written as JSON; None of what was not measured.

    Losses are of the last line of the metrics, in nats per target; bits per byte are the last ones measured.
    positions_per_second: over all steps. machine_share: the median over the lines of the metrics. loading_share: of
    the training time, in which rows were waited for. text_bytes: shown, by representation.
    """
    counters, config = trainer.counters, trainer.config
    seconds = counters.seconds
    return {
        "run": str(trainer.folder),
        "corpus": config.corpus,
        "views": list(config.views),
        "steps": trainer.state.step,
        "of_steps": config.steps,
        "skipped": counters.skipped,
        **_logged(read_metrics(trainer.folder / "metrics.jsonl")),
        "positions_per_second": counters.positions / seconds if seconds else None,
        "loading_share": counters.loading_seconds / seconds if seconds else None,
        "text_bytes": dict(zip(["raw", *config.views], counters.text_bytes, strict=False)),
        "compressed_share": counters.compressed_share(),
        "positions": counters.positions,
        "flops": counters.flops,
        "seconds": seconds,
        "wall_seconds": counters.wall_seconds,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "raw_parameters": config.model.raw_parameters(),
        "dtype": config.dtype,
        "device": str(trainer.device),
        "processes": parallel.world().ranks,
    }


class Row(NamedTuple):
    """One line of the table at a run's end."""

    name: str
    value: str
    meaning: str


def figure_rows(figures: Mapping[str, Any]) -> list[Row]:
    """The figures that matter most, in words."""
    text_bytes = figures["text_bytes"]
    each = ", ".join(f"{sized(count, 'B')} of it {name}" for name, count in text_bytes.items()) if text_bytes else ""
    rows = [
        Row("loss", _number(figures["loss"], 4), "nats per target, of the last steps"),
        Row("raw bits per byte", _number(figures["raw_bpb"], 4), "of validation text, read as raw bytes"),
    ]
    for name, bits in (figures["view_bpb"] or {}).items():
        rows.append(Row(f"{name} bits per byte", _number(bits, 4), "the same text in the view's symbols"))
    if figures["transfer_gap"] is not None:
        rows.append(Row("transfer gap", f"{figures['transfer_gap']:+.4f}", "raw bits per byte above the views'"))
    rows += [
        Row(
            "positions a second",
            _number(figures["positions_per_second"], 0),
            {None: "", 1: "1 process"}.get(figures["processes"], f"{figures['processes']} processes"),
        ),
        Row(
            "matmul utilization",
            _percent(figures["machine_share"]),
            "of plain matrix products when the run began (over 100 %: the machine was busy then)",
        ),
        Row("waiting for data", _percent(figures["loading_share"]), "of the training time"),
        Row("memory", sized((figures["memory_mb"] or 0) * 2**20, "B"), "at the peak"),
        Row("text shown", sized(sum(text_bytes.values()), "B"), each),
        Row("training FLOPs", f"{figures['flops']:.3g}", "by the formula"),
        Row("training time", timed(figures["seconds"]), f"{timed(figures['wall_seconds'])} with validation"),
        Row("steps", f"{figures['steps']:,}", f"{figures['skipped']:,} not taken"),
    ]
    return rows


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


def _number(value: float | None, places: int) -> str:
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{places}f}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"


_STYLE = """
h3 { font-size: .95rem; margin: 1.6em 0 .5em; }
main { max-width: 1240px; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(358px, 100%), 1fr)); gap: 28px 28px; }
figure { max-width: none; }
figcaption { font-size: .85rem; }
td:last-child { text-align: left; color: var(--muted); white-space: normal; }
"""
