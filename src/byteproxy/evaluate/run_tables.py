"""What `byteproxy eval` prints: the figures of `run_bpb` and `transfer` as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from byteproxy.evaluate.amounts import sized
from byteproxy.evaluate.held_out import DOCUMENTS

DASH = "\N{EN DASH}"
SHOWN = 8
"""Lines of a table of the largest, and of one of the worst."""
_LABEL = 48  # characters of an id
_COMPRESSOR_NAMES = {"xz": "xz", "zstd": "zstd", "ppmd": "PPMd"}


def runs_table(results: Mapping[str, Any]) -> Table:
    """A row for each run, then plain compressors on the same text."""
    views = list(dict.fromkeys(view for run in results["runs"].values() for view in run["view_bpb"]))
    gap = any(run["transfer_gap"] is not None for run in results["runs"].values())
    heads = ("run", "step", "training\nFLOPs", "text\nshown", "window", "raw", *views, *(["gap"] if gap else []))
    table = _table("bits per byte of text", *heads)
    for name, run in results["runs"].items():
        flops = DASH if run["flops"] is None else f"{run['flops']:.3g}"
        shown = DASH if run["text_bytes"] is None else sized(run["text_bytes"], "B")
        cells = [f"{run['step']:,}", flops, shown, f"{run['window']:,} B", _fixed(run["raw_bpb"])]
        cells += [_fixed(run["view_bpb"].get(view)) for view in views]
        table.add_row(name, *cells, *([_fixed(run["transfer_gap"], sign=True)] if gap else []))
    table.add_section()
    for name, bpb in results["compressors"].items():
        table.add_row(_COMPRESSOR_NAMES[name], "", "", "", "", _fixed(bpb))
    return table


def differences_table(results: Mapping[str, Any]) -> Table:
    """The first run against each other one, with both intervals."""
    table = _table(
        "differences in bits per byte, with 95 % intervals",
        *("run", "against", "difference", "%", "over documents", "over projects"),
    )
    for one in results["differences"]:
        names = [f"{one[run]} ({one[what]})" for run, what in (("run", "of"), ("against", "against_of"))]
        intervals = [_interval(one[over]) for over in ("documents", "projects")]
        table.add_row(*names, _fixed(one["bpb"], sign=True), _fixed(one["percent"], sign=True, places=2), *intervals)
        table.columns[1].justify = "left"
    return table


def parts_table(results: Mapping[str, Any], what: str) -> Table:
    """The largest sources, projects or documents, then those that cost the first run most; raw bits per byte."""
    lines = results[f"per_{what}"]
    runs = list(results["runs"])
    largest = sorted(lines, key=lambda line: -line["bytes"])[:SHOWN]
    left = [line for line in lines if not any(line is one for one in largest)]
    worst = sorted(left, key=lambda line: -line["raw_bpb"][runs[0]])[:SHOWN]
    title = f"raw bits per byte by {what}: {_of('largest', largest, lines)}"
    table = _table(title + (", then the worst of the others" if worst else ""), what, "bytes", *runs)
    for number, part in enumerate((largest, worst)):
        if number:
            table.add_section()
        for line in part:
            cells = [_fixed(line["raw_bpb"][run]) for run in runs]
            table.add_row(_shortened(line[what]), f"{line['bytes']:,}", *cells)
    return table


def about(results: Mapping[str, Any]) -> str:
    """What text was scored, and which share of the split that is; in one line, and another where it is little."""
    whole = results["whole"]
    share = 100 * results["bytes"] / whole["bytes"]
    documents, *others = (
        counted(results[what], what[:-1]) for what in ("documents", "projects", "sources", "languages")
    )
    of = f"{documents} of {others[0]}, from {others[1]} in {others[2]}"
    line = (
        f"{sized(results['bytes'], 'B')} of the {results['split']} split, {share:.3g} % of its "
        f"{sized(whole['bytes'], 'B')}: {of}; every byte scored once"
    )
    if results["documents"] < min(DOCUMENTS, whole["documents"]):
        line += f"\nOnly {documents} of {whole['documents']:,} were scored: give more --bytes for figures to rely on."
    return line


def counted(count: int, noun: str) -> str:
    """1, document as "1 document", 12 as "12 documents"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def transfer_table(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each run and view: bits per byte of both forms, alone and after the other."""
    table = _table(
        "bits per byte of text, and passages translated exactly by the most probable symbol each time",
        *("run", "view", "raw", "raw after\nview", "exact", "view", "view after\nraw", "exact", "gap"),
    )
    table.columns[1].justify = "left"
    for name, run in runs.items():
        for view, one in run["views"].items():
            table.add_row(
                name,
                view,
                _fixed(run["raw_bpb"]),
                _fixed(one["translated_bpb"]),
                _percent(one["translated_exact"]),
                _fixed(one["view_bpb"]),
                _fixed(one["reverse_bpb"]),
                _percent(one["reverse_exact"]),
                _fixed(run["transfer_gap"], sign=True),
            )
        if not run["views"]:
            table.add_row(name, DASH, _fixed(run["raw_bpb"]), *[DASH] * 6)
    return table


def retrieval_table(name: str, run: Mapping[str, Any]) -> Table:
    """A row for each layer of one run: how many passages are found first, in each direction."""
    ways = [(view, way) for view in run["views"] for way in ("raw_to_view", "view_to_raw")]
    heads = [f"raw to\n{view}" if way == "raw_to_view" else f"{view}\nto raw" for view, way in ways]
    table = _table(
        f"{name}: the other form found among {run['passages']:,}, % (chance {100 / run['passages']:.1f})",
        *("layer", *heads),
    )
    columns = [run["views"][view]["retrieval"][way] for view, way in ways]
    for layer, found in enumerate(zip(*columns, strict=True)):
        table.add_row(str(layer) if layer else "inputs", *(f"{100 * share:.1f}" for share in found))
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _fixed(value: float | None, sign: bool = False, places: int = 4) -> str:
    return DASH if value is None else f"{value:{'+' if sign else ''}.{places}f}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"


def _interval(ends: Mapping[str, float]) -> str:
    low, high = ends["low"], ends["high"]
    return DASH if low != low else f"{low:+.4f} to {high:+.4f}"


def _of(what: str, part: Sequence[Any], whole: Sequence[Any]) -> str:
    return f"the {len(part)} {what} of {len(whole):,}" if len(part) < len(whole) else f"all {len(whole):,}"


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL else "\N{HORIZONTAL ELLIPSIS}" + label[-_LABEL + 1 :]
