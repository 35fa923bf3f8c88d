"""What a mixture does, as columns of figures: which ones, in which unit, what they mean; for terminal and page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

DASH = "\N{EN DASH}"


class Column(NamedTuple):
    """One figure of every line.

    heading, unit: of the column. shown: the cell, from the figures of some steps. meaning: a sentence about it.
    """

    heading: str
    unit: str
    shown: Callable[[Mapping[str, Any]], str]
    meaning: str


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"


def _padding(one: Mapping[str, Any]) -> str:
    return _percent(one["padding"] / (sum(one["positions"]) + one["padding"]))


COLUMNS = (
    Column(
        "mode",
        "",
        lambda one: one["modes"][0] if len(one["modes"]) == 1 else "several",
        "What one draw shows of its passage.",
    ),
    Column(
        "asked",
        "%",
        lambda one: _percent(one["asked"]),
        "The share of what is compressed that the schedule asks for; the mean over the steps.",
    ),
    Column(
        "segments",
        "%",
        lambda one: _percent(one["share"]["segments"]),
        "The share that comes out, of the segments begun.",
    ),
    Column(
        "bytes",
        "%",
        lambda one: _percent(one["share"]["bytes"]),
        "The same of the bytes of text that segments stand for.",
    ),
    Column(
        "positions",
        "%",
        lambda one: _percent(one["share"]["positions"]),
        "The same of positions: a compressed segment takes fewer than a raw one of the same text.",
    ),
    Column(
        "off by",
        "std err",
        lambda one: f"{one['deviation']:+.1f}",
        "The share that comes out minus the share that is asked for, in standard errors of as many random segments."
        " By chance about one in three is beyond ±1, and hardly any is beyond ±3.",
    ),
    Column("text", "MB", lambda one: f"{sum(one['text_bytes']) / 1e6:.2f}", "Text that is shown in these steps."),
    Column(
        "largest",
        "% step",
        lambda one: _percent(one["largest_document"]),
        "The share of a step's positions that one document of the corpus takes; the largest of these steps.",
    ),
    Column("pad", "%", _padding, "Positions that hold nothing."),
)


def lines(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The cells of each line, and of the one of all steps; the first is which steps."""
    found = [(steps_of(one), [column.shown(one) for column in COLUMNS]) for one in windows]
    return [*found, ("all", [column.shown(results["total"]) for column in COLUMNS])]


def steps_of(one: Mapping[str, Any]) -> str:
    """The steps of a line: "0–9"."""
    first, last = one["first_step"], one["last_step"]
    return f"{first}" if first == last else f"{first}{DASH}{last}"


def steps_table(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> Table:
    """The figures for a terminal; the count that rates are shares of is in bold."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("steps", no_wrap=True, vertical="bottom")
    for column in COLUMNS:
        counted = column.heading == results["mixture"]["count"]
        heading = f"{column.heading}\n{column.unit}" if column.unit else column.heading
        justify: Any = "left" if column.heading == "mode" else "right"
        style = "bold" if counted else None
        table.add_column(heading, justify=justify, no_wrap=True, vertical="bottom", style=style)
    found = lines(results, windows)
    for place, (steps, cells) in enumerate(found):
        table.add_row(steps, *cells, end_section=place == len(found) - 2)
    return table


def about(results: Mapping[str, Any]) -> tuple[str, str]:
    """What is shown, in two lines."""
    shape, mixture, total = results["shape"], results["mixture"], results["total"]
    arm = f", arm {results['arm']}" if results["arm"] else ""
    views = ", ".join(results["views"]) or "none"
    last = total["last_step"] + 1
    return (
        f"{results['recipe']}{arm} on {results['corpus']}; views: {views}; rates are shares of {mixture['count']}",
        f"steps {total['first_step']:,} to {last - 1:,} of {results['total_steps']:,}, each "
        f"{shape['sequences_per_step']:,} rows of {shape['sequence_length']:,} positions; "
        f"passages of up to {shape['context_bytes']:,} bytes; seed {results['seed']}",
    )


def epochs(results: Mapping[str, Any]) -> str:
    """How often the text of each source was gone through."""
    said = ", ".join(f"{name} {count:.3g}" for name, count in results["epochs"].items())
    return f"Times through the train text by the end of step {results['total']['last_step']:,}: {said}"
