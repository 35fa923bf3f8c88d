"""A training run in figures, for people and programs, of its folder alone."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import sized, timed
from byteproxy.lock import is_held
from byteproxy.train.checkpoint import newest, said
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import CHECKPOINTS, METRICS
from byteproxy.train.train_config import TrainConfig

DASH = "\N{EN DASH}"


class NothingLoggedError(InputError):
    """A run has no metrics of any step yet."""


def folder_figures(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """The figures of a run as far as its files were written, as JSON takes them; None of what they don't tell.

    Most of it is of the metrics; a checkpoint of the same step adds what these round or lack. Losses are of the last
    line, in nats per target; bits per byte are the last ones measured. positions_per_second: over all steps.
    matmul_utilization: the median over the lines. loading_share: of the training time, in which rows were waited for.
    text_bytes: shown, by representation.
    Raises InputError where no step was logged yet.
    """
    path = folder / METRICS
    lines = read_metrics(path)
    last: dict[str, Any] = next((line for line in reversed(lines) if "flops" in line), {})
    if not last:
        raise NothingLoggedError(f"{folder} holds no metrics of any step yet: wait for the first lines of {path}")
    saved = _checkpointed(folder)
    about = saved.get("about", {})
    counted: dict[str, Any] = {"skipped": sum("skipped" in line for line in lines), **last}
    if saved and saved["state"]["step"] == last["step"]:
        counted |= saved["counters"]
        shown = dict(zip(("raw", *config.views), counted["text_bytes"], strict=False))
        counted["loading_share"] = counted["loading_seconds"] / counted["seconds"] if counted["seconds"] else None
    else:
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
        "skipped": counted["skipped"],
        **_logged(lines),
        "positions_per_second": counted["positions"] / counted["seconds"] if counted["seconds"] else None,
        "loading_share": counted["loading_share"],
        "text_bytes": shown,
        "compressed_share": last["compressed_share"],
        "positions": counted["positions"],
        "flops": counted["flops"],
        "seconds": counted["seconds"],
        "wall_seconds": counted["wall_seconds"],
        "parameters": about.get("parameters"),
        "raw_parameters": config.model.raw_parameters(),
        "dtype": config.dtype,
        "device": about.get("device", config.device),
        "processes": about.get("processes"),
    }


def _checkpointed(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint says beside its tensors; nothing where there is none that can be read."""
    with suppress(InputError, KeyError):
        found = newest(folder / CHECKPOINTS)
        return said(found) if found is not None else {}
    return {}


def state_of(folder: Path, figures: Mapping[str, Any]) -> str:
    """Whether a run is "finished", "going on" or "stopped". figures: as `folder_figures` gives them."""
    if figures["steps"] == figures["of_steps"]:
        return "finished"
    return "going on" if is_held(folder) else "stopped"


def _logged(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures that are taken from the metrics, not from counters."""
    losses: Mapping[str, Any] = next((line for line in reversed(lines) if "loss" in line), {})
    measured: Mapping[str, Any] = next((line for line in reversed(lines) if "raw_bpb" in line), {})
    shares = [line["matmul_utilization"] for line in lines if line.get("matmul_utilization") is not None]
    return {
        "loss": losses.get("loss"),
        "losses": losses.get("losses"),
        "raw_bpb": measured.get("raw_bpb"),
        "view_bpb": measured.get("view_bpb"),
        "transfer_gap": measured.get("transfer_gap"),
        "validation_text": measured.get("validation_text"),
        "matmul_utilization": median(shares) if shares else None,
        "memory_mb": max((line["memory_mb"] for line in lines if "memory_mb" in line), default=None),
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
    for name, bits in (figures["validation_text"] or {"compressors": {}})["compressors"].items():
        if name == "ppmd":
            rows.append(Row("PPMd bits per byte", _number(bits, 4), "of the same text, for scale"))
    rows += [
        Row(
            "positions a second",
            _number(figures["positions_per_second"], 0),
            {None: "", 1: "1 process"}.get(figures["processes"], f"{figures['processes']} processes"),
        ),
        Row(
            "matmul utilization",
            _percent(figures["matmul_utilization"]),
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


def _number(value: float | None, places: int) -> str:
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{places}f}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"
