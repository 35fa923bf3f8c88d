"""What `byteproxy study` prints: the arms, their differences, and a plan of the runs."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import stdev
from typing import Any

from rich import box
from rich.table import Table

from byteproxy.study.study_plan import LONG_MINUTES
from byteproxy.study.transfer_words import ends_said, multiplier_said
from byteproxy.study.units import DASH, NO_BREAK, fixed, number, scientific, si

_ARMS = ("arm", "bits per byte", "sd", "split", "seeds", "FLOPs", "text", "of it raw", "lr", "rows", "wall")


def arms_table(results: Mapping[str, Any]) -> Table:
    """A row for each arm at the main cell; where there is none yet, for each cell that has runs."""
    main = results["main"]
    if main is None:
        return _cells_table(results["cells"])
    title = f"size {main['size']}, {scientific(main['flops'])} FLOPs a run"
    table = _table(title, _ARMS)
    for name, arm in results["arms"].items():
        score = arm["raw_bpb"]
        if score is None:
            table.add_row(name, *[DASH] * (len(_ARMS) - 1))
            continue
        table.add_row(
            f"{name}*" if arm["scored"] == "view" else name,
            fixed(score["mean"], 4),
            _spread(score),
            score["split"],
            str(len(score["seeds"])),
            scientific(arm["flops"]),
            si(arm["text_bytes_seen"], "B"),
            si(arm["raw_text_bytes_seen"], "B"),
            f"{arm['learning_rate']:g}",
            str(arm["sequences_per_step"]),
            fixed(arm["wall_seconds"], 0, "s"),
        )
    table.add_section()
    tested = "test" in results["compressors"]
    for name, value in results["compressors"]["test" if tested else "validation"].items():
        table.add_row(name, fixed(value, 4), "", "test" if tested else "validation")
    if any(arm["scored"] == "view" for arm in results["arms"].values()):
        table.caption = "* bits of the arm's symbols, per byte of their text"
    return table


def _cells_table(cells: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("runs so far", ("arm", "size", "FLOPs", "split", "seeds", "bits per byte", "sd"))
    for cell in cells:
        where = cell["arm"], cell["size"], scientific(cell["flops"]), cell["split"], str(len(cell["seeds"]))
        table.add_row(*where, fixed(cell["mean"], 4), _spread(cell))
    return table


def _spread(score: Mapping[str, Any]) -> str:
    """The standard deviation over seeds, which takes two."""
    values = list(score["seeds"].values())
    return f"± {stdev(values):.4f}" if len(values) > 1 else DASH


def _tested_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows without those of validation text whose arms were compared on the test split, too."""
    tested = {_which(one) for one in rows if one["split"] == "test"}
    return [one for one in rows if one["split"] == "test" or _which(one) not in tested]


def differences_table(results: Mapping[str, Any]) -> Table:
    """Arms against arms, on the test split where both were scored on it."""
    title = "differences in bits per byte: 95 % over seeds, and over documents"
    columns = ("arm", "against", "size", "FLOPs", "split", "percent", "difference", "over seeds", "over documents")
    table = _table(title, columns)
    for one in _tested_first(results["differences"]):
        table.add_row(
            one["arm"],
            one["against"],
            one["size"],
            scientific(one["flops"]),
            one["split"],
            f"{one['percent']:+.2f}{NO_BREAK}%",
            f"{one['bpb']:+.4f}",
            _interval(one["low"], one["high"]),
            _interval(one["documents"]["low"], one["documents"]["high"]),
        )
    return table


REFERENCES = {
    "tokens": "the model's own tokens before: the ceiling",
    "raw": "raw bytes before",
    "marginals": "byte marginals of its tokens before",
}
"""What references are called, by name."""


def token_table(results: Mapping[str, Any]) -> Table:
    """The model before any training, and what its own tokens cost after each arm's, at the main cell."""
    table = _table("the model's tokens", ("arm", "bits per byte", "split", "text", "against before"))
    for one in results["references"]:
        beside = f"{fixed(one['tokens'], 4)} by tokens there" if one["name"] == "marginals" else ""
        table.add_row(REFERENCES[one["name"]], fixed(one["bpb"], 4), one["split"], si(one["bytes"], "B"), beside)
    table.add_section()
    main = results["main"] or {}
    before = {
        (one["arm"], one["split"]): one
        for one in results["token_differences"]
        if (one["against"], one["size"], one["flops"]) == ("model", main.get("size"), main.get("flops"))
    }
    for name, after in results["token_bpb_after"].items():
        one = before.get((name, after["split"]))
        found = "" if one is None else f"{one['percent']:+.2f}{NO_BREAK}% ({_interval(one['low'], one['high'])})"
        table.add_row(name, fixed(after["mean"], 4), after["split"], "", found)
    return table


def _which(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["arm"], one["against"], one["size"], one["flops"]


def _interval(low: float | None, high: float | None) -> str:
    return DASH if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def multipliers_table(results: Mapping[str, Any]) -> Table:
    """m of every arm and its break-even, on the test split where both were scored on it."""
    title = "transfer multipliers: raw text that bytes alone need for the same bits per byte, over raw text seen"
    columns = ("arm", "against", "size", "FLOPs", "split", "m", "95 %", "over", "break-even", "m is", "note")
    table = _table(title, columns)
    for one in _tested_first(results["m"]):
        table.add_row(
            one["arm"],
            one["against"] or DASH,
            one["size"],
            scientific(one["flops"]),
            one["split"],
            multiplier_said(one),
            ends_said(one),
            one["over"] or DASH,
            fixed(one["break_even"], 2),
            one["stands"] or DASH,
            one["refused"] or "",
        )
    table.caption = "m above its break-even beats bytes at equal FLOPs; < and >: bounds where the curve of bytes ends"
    return table


def plan_table(planned: Mapping[str, Any]) -> Table:
    """Every run that is to be made: its FLOPs and time, and whether it is done."""
    table = _table("runs", ("run", "FLOPs", "steps", "minutes", "state"))
    for run in planned["runs"]:
        minutes = number(run["minutes"])
        warned = " !" if minutes is not None and minutes > LONG_MINUTES else NO_BREAK * 2
        steps = DASH if run["steps"] is None else f"{run['steps']:,}"
        table.add_row(run["key"], scientific(run["flops"]), steps, fixed(minutes, 1) + warned, run["state"])
    return table


def plan_notes(planned: Mapping[str, Any]) -> Iterator[str]:
    """What there is to say below it."""
    minutes, runs = planned["minutes_left"], planned["runs"]
    left = sum(run["state"] != "done" for run in runs)
    yield f"{left} of {len(runs)} runs are left: about {minutes:,.0f} minutes of training and scoring, one at a time."
    for arm, rate in planned["rates"].items():
        yield f"{arm}: {rate['flops_per_second']:.3g} FLOPs a second, {rate['from']}."
    long = [run["key"] for run in runs if run["minutes"] is not None and run["minutes"] > LONG_MINUTES]
    if long:
        yield f"! {len(long)} runs take more than {LONG_MINUTES} minutes each here; smaller flops shorten them."


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", caption_justify="left", padding=(0, 1, 0, 0))
    words = ("arm", "against", "size", "split", "run", "state", "over", "m is", "note")
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    return table
