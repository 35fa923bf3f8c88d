"""A training run in figures, for people and programs: of its counters, or of its folder alone."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import sized, timed
from byteproxy.lock import is_held
from byteproxy.train import parallel
from byteproxy.train.checkpoint import newest, said
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

DASH = "\N{EN DASH}"


def folder_figures(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """As `run_figures`, from the files of a run: as far as they were written, and None of what they don't tell.

    Most of it is of the metrics; the newest checkpoint adds what they lack.
    """
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
    saved = _checkpointed(folder)
    about = saved.get("about", {})
    if saved and saved["state"]["step"] == last["step"]:
        shown = dict(zip(("raw", *config.views), saved["counters"]["text_bytes"], strict=False))
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
        "parameters": about.get("parameters"),
        "raw_parameters": config.model.raw_parameters(),
        "dtype": config.dtype,
        "device": about.get("device", config.device),
        "processes": about.get("processes"),
    }


def _checkpointed(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint says beside its tensors; nothing where there is none that can be read."""
    with suppress(InputError, KeyError):
        found = newest(folder / "checkpoints")
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
        "matmul_utilization": median(shares) if shares else None,
        "memory_mb": max((line["memory_mb"] for line in lines if "memory_mb" in line), default=None),
    }


def run_figures(trainer: Trainer) -> dict[str, Any]:
    """The figures of a run so far, which can be written as JSON; None of what was not measured.

    Losses are of the last line of the metrics, in nats per target; bits per byte are the last ones measured.
    positions_per_second: over all steps. matmul_utilization: the median over the lines of the metrics. loading_share:
    of the training time, in which rows were waited for. text_bytes: shown, by representation.
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
