"""The tables of a study's page: results, differences, cells, equal readings and trials."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isclose
from typing import Any

from byteproxy.report.lenient import called, entries, listed, mapping, named, text, wrapped
from byteproxy.report.page import swatch, table
from byteproxy.study.units import DASH, NO_BREAK, fixed, number, scientific, si

_COLUMNS = (
    ("bits per byte", "mean, each seed"),
    ("side", ""),
    ("validation", "bits per byte"),
    ("training", "FLOPs"),
    ("positions", ""),
    ("text seen", ""),
    ("of it raw", ""),
    ("wall time", "in training"),
    ("parameters", ""),
    ("learning", "rate"),
    ("rows", "of a step"),
)
_COMPRESSORS = (("xz", "xz"), ("zstd", "zstd"), ("ppmd", "PPMd"))
_MINUS = str.maketrans("-", "\N{MINUS SIGN}")


def signed(value: object, places: int, unit: str = "") -> str:
    """-0.0712 as `−0.071`, 0.2 as `+0.200`, with the unit behind."""
    found = number(value)
    if found is None:
        return DASH
    sign = "+" if round(found, places) else ""
    return f"{round(found, places) + 0.0:{sign}.{places}f}".translate(_MINUS) + (NO_BREAK + unit if unit else "")


def interval(low: object, high: object, places: int, unit: str = "") -> str:
    """`−0.081 to −0.062`; grey where it includes zero; a dash where an end is missing."""
    ends = number(low), number(high)
    if ends[0] is None or ends[1] is None:
        return DASH
    said = f"{signed(low, places)} to {signed(high, places, unit)}"
    return f"<span class=quiet>{said}</span>" if ends[0] <= 0 <= ends[1] else said


def took(seconds: object) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    found = number(seconds)
    if found is None:
        return DASH
    if found < 120:
        return fixed(found, 0, "s")
    return fixed(found / 60, 1, "min") if found < 7200 else fixed(found / 3600, 1, "h")


def result_table(results: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Every arm at the main cell, and what compressors make of the same text."""
    rows = []
    for name, arm in named(results.get("arms")).items():
        score = mapping(arm.get("raw_bpb"))
        own = "<small>of its symbols</small>" if arm.get("scored") == "view" else ""
        cells = [
            f"<b>{fixed(score.get('mean'), 4)}</b><small>{_seeds(score)}</small>{own}",
            text(score.get("side")),
            fixed(mapping(arm.get("validation_bpb")).get("mean"), 4),
            scientific(arm.get("flops")),
            si(arm.get("positions")),
            si(arm.get("text_bytes_seen"), "B"),
            si(arm.get("raw_text_bytes_seen"), "B"),
            took(arm.get("seconds")),
            si(arm.get("parameters")),
            rate(arm.get("learning_rate")),
            fixed(arm.get("rows"), 0),
        ]
        rows.append((f"{swatch(colours.get(name))}{wrapped(name)}<small>{text(arm.get('role'))}</small>", cells))
    rows += _compressors(named(results.get("compressors")))
    return f"<div class=result>{table('arm', _COLUMNS, rows)}</div>" if rows else nothing("No arm has a figure yet.")


def _compressors(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """A row for each, of the test side if there is one."""
    side = "test" if "test" in scores else "validation"
    here, validation = mapping(scores.get(side)), mapping(scores.get("validation"))
    rows = []
    for key, label in _COMPRESSORS:
        if number(here.get(key)) is not None:
            cells = [fixed(here[key], 4), side, fixed(validation.get(key), 4)] + [DASH] * (len(_COLUMNS) - 3)
            rows.append((quiet(f"{swatch(None)}{label}"), [quiet(cell) for cell in cells]))
    return rows


def _seeds(score: Mapping[str, Any]) -> str:
    return "&ensp;".join(fixed(value, 4) for value in mapping(score.get("seeds")).values())


def quiet(html: str) -> str:
    """The same in grey."""
    return f"<span class=quiet>{html}</span>"


def rate(value: object) -> str:
    """A learning rate in as few figures as it has."""
    found = number(value)
    return DASH if found is None else f"{found:.4g}"


def nothing(sentence: str) -> str:
    """What stands in a part's place as long as there is nothing to show."""
    return f"<p class=note>{sentence}</p>"


def differences(results: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Every difference that was asked for: those at the main cell first, the others folded away."""
    found = once(results, entries(results.get("differences")))
    if not found:
        return nothing("No two arms can be compared yet.")
    main = mapping(results.get("main"))
    here = [entry for entry in found if at_cell(entry, main, "flops")]
    first = [entry for entry in here if entry.get("side") == "test"] or here
    rest = [entry for entry in found if entry not in first]
    html = _differences(first or rest, colours)
    if first and rest:
        html += (
            f"<details><summary>At other sizes and budgets, and on the other side ({len(rest)})</summary>"
            f"{_differences(rest, colours)}</details>"
        )
    return html + (
        "<p class=note>Below zero: the first arm needs fewer bits. Over seeds: 95 % interval of the mean difference of"
        " runs with equal seeds (paired t), which says how much another start of training would change it. Over"
        " documents: 95 % interval by drawing the scored documents again and again, with replacement (paired"
        " bootstrap), which says how much other text would change it. Grey intervals include zero: such a difference"
        " can't be told from chance.</p>"
    )


def once(results: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of two arms that were compared both ways only the later against the earlier; sorted by what they're against."""
    order = {name: place for place, name in enumerate(named(results.get("arms")))}
    found = list(found)
    pairs = {(called(entry.get("arm")), called(entry.get("against"))) for entry in found}
    kept = []
    for entry in found:
        arm, against = called(entry.get("arm")), called(entry.get("against"))
        if (against, arm) not in pairs or order.get(arm, 0) > order.get(against, 0):
            kept.append(entry)
    return sorted(kept, key=lambda entry: order.get(called(entry.get("against")), len(order)))


def _differences(found: Iterable[Mapping[str, Any]], colours: Mapping[str, int]) -> str:
    columns = (
        ("difference", "bits per byte"),
        ("difference", "percent"),
        ("95 % over seeds", "bits per byte"),
        ("95 % over documents", "bits per byte"),
        ("seeds", ""),
        ("side", ""),
        ("size", ""),
        ("training", "FLOPs"),
    )
    rows = []
    for entry in found:
        documents = mapping(entry.get("documents"))
        cells = [
            f"<b>{signed(entry.get('bpb'), 4)}</b>",
            signed(entry.get("percent"), 1, "%"),
            interval(entry.get("low"), entry.get("high"), 4),
            interval(documents.get("low"), documents.get("high"), 4),
            fixed(entry.get("seeds"), 0),
            text(entry.get("side")),
            text(entry.get("size")),
            scientific(entry.get("flops")),
        ]
        name = called(entry.get("arm"))
        rows.append((f"{swatch(colours.get(name))}{wrapped(name)} against {wrapped(entry.get('against'))}", cells))
    return table("arms", columns, rows)


def at_cell(entry: Mapping[str, Any], main: Mapping[str, Any], flops_key: str) -> bool:
    """Whether an entry is of the main cell's size and budget."""
    asked, flops = number(entry.get(flops_key)), number(main.get("flops"))
    if asked is None or flops is None:
        return False
    return called(entry.get("size")) == called(main.get("size")) and isclose(asked, flops, rel_tol=1e-6)


def cells_table(results: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Bits per byte of every size and budget, arms side by side; of the test side where it was opened."""
    found = entries(results.get("cells"))
    if not found:
        return nothing("No run is done yet.")
    tested = [entry for entry in found if entry.get("side") == "test"]
    rest = [entry for entry in found if entry.get("side") != "test"]
    html = _cells(tested or rest, colours)
    if tested and rest:
        html += f"<details><summary>The same on the validation side</summary>{_cells(rest, colours)}</details>"
    return html


def _cells(found: Iterable[Mapping[str, Any]], colours: Mapping[str, int]) -> str:
    rows: dict[tuple[str, float, str], dict[str, str]] = {}
    names: dict[str, None] = {}
    for entry in found:
        key = called(entry.get("size")), number(entry.get("flops")) or 0.0, called(entry.get("side"))
        seeds = len(mapping(entry.get("seeds")))
        name = called(entry.get("arm"))
        names[name] = None
        cell = f"{fixed(entry.get('mean'), 4)}<small>{seeds} {'seed' if seeds == 1 else 'seeds'}</small>"
        rows.setdefault(key, {})[name] = cell
    columns = [(f"{swatch(colours.get(name))}{wrapped(name)}", "") for name in names]
    lines = [
        (f"{text(size)}, {scientific(flops)} FLOPs", [text(side), *(cells.get(name, DASH) for name in names)])
        for (size, flops, side), cells in rows.items()
    ]
    return table("size and budget", [("side", ""), *columns], lines)


def read_at(results: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """The main cell's validation curves read where the first of them ends, by three other measures of equal."""
    found = mapping(results.get("read_at"))
    measures: dict[str, tuple[str, Callable[[object], str]]] = {
        "positions": ("positions", si),
        "text_bytes": ("text", _text),
        "seconds": ("wall time", took),
    }
    names = list(dict.fromkeys(str(name) for key in found for name in mapping(mapping(found[key]).get("arms"))))
    rows = []
    for key, (label, shown) in measures.items():
        entry = mapping(found.get(key))
        if entry:
            arms = {str(name): value for name, value in mapping(entry.get("arms")).items()}
            rows.append((f"equal {label}: {shown(entry.get('at'))}", [fixed(arms.get(name), 4) for name in names]))
    if not rows:
        return nothing("The runs of the main cell are not all done yet.")
    columns = [(f"{swatch(colours.get(name))}{wrapped(name)}", "") for name in names]
    return table("validation bits per byte at", columns, rows) + (
        "<p class=note>The same runs, trained to equal FLOPs, read off their curves where the arm that ends first ends."
        " No run was tuned for these readings: learning rates had not come down yet where a curve is read before its"
        " end.</p>"
    )


def _text(count: object) -> str:
    return si(count, "B")


def trials(results: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Which learning rates and rows each arm was tried with, and what was chosen."""
    found = entries(results.get("trials"))
    if not found:
        return nothing("There were no trials: every arm has the learning rate and the rows of the recipe.")
    tried: dict[tuple[str, str], dict[tuple[str, float | None], list[str]]] = {}
    for entry in found:
        score = fixed(entry.get("validation_bpb"), 4)
        cell = f"<b class=chosen>{score}</b>" if entry.get("chosen") is True else score
        line = tried.setdefault((called(entry.get("arm")), fixed(entry.get("rows"), 0)), {})
        line.setdefault((called(entry.get("size")), number(entry.get("learning_rate"))), []).append(cell)
    sizes = list(dict.fromkeys(called(entry.get("size")) for entry in found))
    places = sorted(
        {place for line in tried.values() for place in line}, key=lambda place: (sizes.index(place[0]), place[1] or 0.0)
    )
    columns = [("rows", "of a step"), *((text(size), f"rate {rate(value)}") for size, value in places)]
    rows = [
        (f"{swatch(colours.get(name))}{wrapped(name)}", [count, *("<br>".join(line.get(at, [DASH])) for at in places)])
        for (name, count), line in tried.items()
    ]
    return f"<p>{_fairness(found)}</p>{table('arm', columns, rows)}" + (
        "<p class=note>Validation bits per byte at the end of each trial, by size and rate; framed: the one chosen.</p>"
    )


def _fairness(found: Sequence[Mapping[str, Any]]) -> str:
    """Whether every arm had as many trials as any other, and how long they were."""
    counts = Counter((called(entry.get("arm")), called(entry.get("size"))) for entry in found)
    budgets = sorted({value for entry in found if (value := number(entry.get("flops"))) is not None})
    long = f", each of {listed(map(scientific, budgets))} FLOPs" if budgets else ""
    if len(set(counts.values())) == 1:
        many = next(iter(counts.values()))
        return f"Every arm had the same trials to choose its learning rate and rows: {many} at each size{long}."
    each = listed(f"{wrapped(name)} {many} at {text(size)}" for (name, size), many in counts.items())
    return f"So far the arms have had these many trials to choose their learning rate and rows: {each}{long}."
