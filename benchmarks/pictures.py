"""Draws docs/study_convert.svg, study_gain.svg and study_small.svg from the committed results of studies.

study_convert: bits per raw byte while the arms of `study_convert` train, with what the model's own tokens cost.
study_gain: how far above or below raw bytes each way to train is, over training FLOPs; of `study_small`, `study_budget`
and `study_size`, of each the test split where it was opened, else validation text. study_small: as the first picture of
that study's page, of the test split at 2e12 FLOPs. Run it as `.venv/bin/python benchmarks/pictures.py`.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from byteproxy.report.headline import write_headline

ROOT = Path(__file__).parents[1]
SMALL = "study_small_epyc-2core_2026-11-26"
RESULTS = (SMALL, "study_budget_h100_2026-11-26", "study_size_h100_2026-11-26")
CONVERSION = "study_convert_epyc-2core_2026-11-30"
CONVERTED = {  # an arm: its name in the picture, its colour, its marks
    "scratch": ("its shape with random weights", "#bb5593", "v"),
    "scratch_small": ("a small model with random weights", "#b9622b", "D"),
    "bytes": ("trained on raw bytes alone", "#297dc8", "o"),
    "joint": ("trained on raw bytes and tokens", "#2a895e", "s"),
}
INK = "#727a85"  # reads on white and on dark alike, as the colours do
SERIES = {
    ("split_90", "18m"): ("cut symbols first, for 90 % of the steps", "#297dc8", "o-"),
    ("chunks_longest", "18m"): ("pieces of six bytes, 80 %", "#2a895e", "s-"),
    ("split_30", "18m"): ("cut symbols, 30 %", "#208594", "^-"),
    ("superposition", "18m"): ("superposition, 30 %", "#b9622b", "D-"),
    ("split_90", "61m"): ("cut symbols, 90 %; 61m", "#297dc8", "o:"),
    ("superposition", "61m"): ("superposition, 30 %; 61m", "#b9622b", "D:"),
    ("tokenizer", "18m"): ("tokenizer, own symbols", "#bb5593", "v-"),
}


def results(name: str) -> dict[str, Any]:
    """All figures of a study; what is a split now was a side when they were written."""
    written = (ROOT / "benchmarks" / "results" / f"{name}.json").read_text()
    found: dict[str, Any] = json.loads(written.replace('"side": ', '"split": '))
    return found


def gaps() -> dict[tuple[str, str], dict[float, tuple[float, float, float]]]:
    """Percent against `bytes` and its 95 % interval (over seeds where there are several), by arm and size, by FLOPs."""
    found: dict[tuple[str, str], dict[float, tuple[float, float, float]]] = {}
    for name in RESULTS:
        differences = results(name)["differences"]
        for one in sorted(differences, key=lambda one: one["split"] == "test"):  # test last: it counts
            if one["against"] != "bytes":
                continue
            interval = one if one["low"] is not None else one["documents"]
            scale = 100 / one["means"][1]
            values = one["percent"], scale * interval["low"], scale * interval["high"]
            found.setdefault((one["arm"], one["size"]), {})[one["flops"]] = values
    return found


def at_cell(found: dict[str, Any], size: str, flops: float) -> dict[str, Any]:
    """The results with the arms' figures of another cell than the main one, on the test split."""
    cells = {
        one["arm"]: one for one in found["cells"] if (one["size"], one["flops"], one["split"]) == (size, flops, "test")
    }
    arms = {name: {**arm, "raw_bpb": cells[name]} for name, arm in found["arms"].items() if name in cells}
    return {**found, "main": {"size": size, "flops": flops}, "arms": arms}


def a_figure(name: str) -> tuple[Figure, Axes]:
    """A figure that reads on white and on dark; name: of its file, which makes the same file of the same figures."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10, "text.color": INK})
    return plt.subplots(figsize=(7.5, 4.2))


def write(figure: Figure, axes: Axes, name: str) -> None:
    """Write it as docs/name.svg."""
    axes.tick_params(colors=INK, which="both")
    axes.grid(color=INK, alpha=0.2, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / f"{name}.svg", transparent=True, metadata={"Date": None})


def draw_conversion() -> None:
    """Draw docs/study_convert.svg: what raw bytes cost while arms train, of each seed, and the tokens before."""
    found = results(CONVERSION)
    figure, axes = a_figure("study_convert")
    for name, (label, colour, mark) in CONVERTED.items():
        runs = [one for one in found["runs"] if (one["arm"], one["kind"]) == (name, "final")]
        longest = max(one["flops_asked"] for one in runs)
        for number, run in enumerate(one for one in runs if one["flops_asked"] == longest):
            flops, bits = zip(*((one["flops"], one["raw_bpb"]) for one in run["curve"]), strict=True)
            named = label if number == 0 else None
            axes.plot(flops, bits, f"{mark}-", color=colour, markersize=4, linewidth=1.2, label=named)
    tokens = found["curve_text"]["tokens"]
    axes.axhline(tokens, color=INK, linewidth=1)
    axes.annotate(
        f"its own tokens, untrained: {tokens:.2f}, the ceiling",
        (0.02, tokens),
        (0, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        size=9,
    )
    axes.set_yscale("log")
    ticks = [1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(1.25, 9)
    axes.set_xlim(left=0)
    axes.set_xlabel("extra training FLOPs, the same for all", color=INK)
    axes.set_ylabel("bits per raw byte of text it can't have seen", color=INK)
    axes.legend(frameon=False, fontsize=8.5, loc="upper right", labelcolor=INK)
    write(figure, axes, "study_convert")


def draw_gain() -> None:
    """Draw docs/study_gain.svg."""
    figure, axes = a_figure("study_gain")
    known = gaps()
    for key, (label, colour, style) in SERIES.items():
        flops, points = zip(*sorted(known[key].items()), strict=True)
        percent, low, high = zip(*points, strict=True)
        axes.plot(flops, percent, style, color=colour, label=label, markersize=4.5, linewidth=1.4)
        axes.vlines(flops, low, high, color=colour, alpha=0.45, linewidth=3)
    axes.axhline(0, color=INK, linewidth=1)
    axes.annotate("raw bytes only", (8e12, 0), (0, 3), textcoords="offset points", ha="center", size=9)
    axes.set_xscale("log")
    axes.set_ylim(-17, 24)
    axes.set_xlabel("training FLOPs, the same for all", color=INK)
    axes.set_ylabel("bits per byte of held-out text, % above bytes", color=INK)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=2, labelcolor=INK)
    write(figure, axes, "study_gain")


if __name__ == "__main__":
    draw_conversion()
    draw_gain()
    write_headline(at_cell(results(SMALL), "18m", 2e12), ROOT / "docs" / "study_small.svg")
