"""The tables of a study's page, as rows of what stands in the results: `study.html` says how they look."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import Any, NamedTuple

from markupsafe import Markup

from byteproxy.report.lenient import called, entries, mapping, named, sequence
from byteproxy.study.units import DASH, fixed, number, signed

_COMPRESSORS = (("xz", "xz"), ("zstd", "zstd"), ("ppmd", "PPMd"))


def interval(held: Mapping[str, Any], places: int, unit: str = "") -> Markup | str:
    """The ends of an interval, `−0.081 to −0.062`; grey where it includes zero; a dash where an end is missing."""
    low, high = number(mapping(held).get("low")), number(mapping(held).get("high"))
    if low is None or high is None:
        return DASH
    said = f"{signed(low, places)} to {signed(high, places, unit)}"
    return Markup("<span class=quiet>{}</span>").format(said) if low <= 0 <= high else said


def compressors(results: Mapping[str, Any]) -> list[tuple[str, float, str, object]]:
    """Name, figure, split and figure on validation text of each compressor; of the test split if there is one."""
    scores = named(results.get("compressors"))
    split = "test" if "test" in scores else "validation"
    here, validation = mapping(scores.get(split)), mapping(scores.get("validation"))
    known = [(label, number(here.get(key)), split, validation.get(key)) for key, label in _COMPRESSORS]
    return [(label, value, split, other) for label, value, split, other in known if value is not None]


REFERENCES = {
    "tokens": "through its own tokenizer: the ceiling",
    "raw": "raw bytes",
    "marginals": "exact byte marginals of its tokens",
}


def references(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What the study's model costs before any training: a label, and the entry."""
    found = entries(results.get("references"))
    return [(REFERENCES.get(called(one.get("name")), called(one.get("name"))), one) for one in found]


def tokens_kept(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Arms' token bits against those of the model before: of the test split where it was opened for them."""
    found = [one for one in entries(results.get("token_differences")) if one.get("against") == "model"]
    found = [one for one in found if len(sequence(one.get("means"))) == 2]
    tested = {_place(one) for one in found if one.get("split") == "test"}
    return [one for one in found if one.get("split") == "test" or _place(one) not in tested]


def _place(one: Mapping[str, Any]) -> tuple[str, str, float]:
    return called(one.get("arm")), called(one.get("size")), number(one.get("flops")) or 0.0


def differences(results: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Every difference that was asked for: those at the main cell, and the others."""
    found = once(results, entries(results.get("differences")))
    here = [entry for entry in found if at_cell(entry, mapping(results.get("main")), "flops")]
    first = [entry for entry in here if entry.get("split") == "test"] or here or found
    return first, [entry for entry in found if not any(entry is one for one in first)]


def once(results: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Differences, those of two arms only once, the later against the earlier; sorted by what they're against."""
    order = {name: place for place, name in enumerate(named(results.get("arms")))}
    found = list(found)
    pairs = {(called(entry.get("arm")), called(entry.get("against"))) for entry in found}
    kept = []
    for entry in found:
        arm, against = called(entry.get("arm")), called(entry.get("against"))
        if (against, arm) not in pairs or order.get(arm, 0) > order.get(against, 0):
            kept.append(entry)
    return sorted(kept, key=lambda entry: order.get(called(entry.get("against")), len(order)))


def at_cell(entry: Mapping[str, Any], main: Mapping[str, Any], flops_key: str) -> bool:
    """Whether an entry is of the main cell's size and budget."""
    asked, flops = number(entry.get(flops_key)), number(main.get("flops"))
    if asked is None or flops is None:
        return False
    return called(entry.get("size")) == called(main.get("size")) and isclose(asked, flops, rel_tol=1e-6)


class Cells(NamedTuple):
    """Bits per byte, arms side by side. lines: size, FLOPs and split, and the entry of each arm that has one."""

    arms: list[str]
    lines: list[tuple[str, float, str, dict[str, Mapping[str, Any]]]]


def cells(results: Mapping[str, Any]) -> tuple[Cells, Cells]:
    """Every size and budget: of the test split where it was opened, and, if so, of the validation split as well."""
    found = entries(results.get("cells"))
    tested = [entry for entry in found if entry.get("split") == "test"]
    rest = [entry for entry in found if entry.get("split") != "test"]
    return _cells(tested or rest), _cells(rest if tested else [])


def _cells(found: Iterable[Mapping[str, Any]]) -> Cells:
    rows: dict[tuple[str, float, str], dict[str, Mapping[str, Any]]] = {}
    for entry in found:
        key = called(entry.get("size")), number(entry.get("flops")) or 0.0, called(entry.get("split"))
        rows.setdefault(key, {})[called(entry.get("arm"))] = entry
    return Cells(
        list(dict.fromkeys(arm for row in rows.values() for arm in row)), [(*key, row) for key, row in rows.items()]
    )


def read_at(results: Mapping[str, Any]) -> tuple[list[str], dict[str, tuple[object, list[object]]]]:
    """The main cell's validation curves read where the first of them ends: arms, and by measure where, and figures."""
    found = {key: mapping(one) for key, one in mapping(results.get("read_at")).items() if mapping(one)}
    names = list(dict.fromkeys(str(name) for one in found.values() for name in mapping(one.get("arms"))))
    by_name = {
        key: {str(name): value for name, value in mapping(one.get("arms")).items()} for key, one in found.items()
    }
    known = {str(key): (one.get("at"), [by_name[key].get(name) for name in names]) for key, one in found.items()}
    return names, {key: known[key] for key in ("positions", "text_bytes", "seconds") if key in known}


class Trials(NamedTuple):
    """What arms were tried with. columns: size and rate; lines: arm, rows, and the trials of each column.

    counts: how many trials each arm had at each size. budgets: FLOPs of a trial. ends: by what was best, "smallest" or
    "largest", the arms whose best rate is the last of those tried on that side.
    """

    columns: list[tuple[str, float | None]]
    lines: list[tuple[str, str, list[list[Mapping[str, Any]]]]]
    counts: Mapping[tuple[str, str], int]
    budgets: Sequence[float]
    ends: Mapping[str, list[str]]


def trials(results: Mapping[str, Any]) -> Trials:
    """Which learning rates and rows each arm was tried with."""
    found = entries(results.get("trials"))
    tried: dict[tuple[str, str], dict[tuple[str, float | None], list[Mapping[str, Any]]]] = {}
    for entry in found:
        line = tried.setdefault((called(entry.get("arm")), fixed(entry.get("sequences_per_step"), 0)), {})
        line.setdefault((called(entry.get("size")), number(entry.get("learning_rate"))), []).append(entry)
    sizes = list(dict.fromkeys(called(entry.get("size")) for entry in found))
    columns = sorted(
        {place for line in tried.values() for place in line}, key=lambda place: (sizes.index(place[0]), place[1] or 0.0)
    )
    lines = [(name, count, [line.get(column, []) for column in columns]) for (name, count), line in tried.items()]
    counts = Counter((called(entry.get("arm")), called(entry.get("size"))) for entry in found)
    budgets = sorted({n for entry in found if (n := number(entry.get("flops"))) is not None})
    return Trials(columns, lines, counts, budgets, _at_ends(found, len(sizes) > 1))


def _at_ends(found: Sequence[Mapping[str, Any]], several_sizes: bool) -> dict[str, list[str]]:
    tried: dict[tuple[str, str], set[float]] = {}
    for entry in found:
        if (rate := number(entry.get("learning_rate"))) is not None:
            tried.setdefault((called(entry.get("arm")), called(entry.get("size"))), set()).add(rate)
    ends: dict[str, list[str]] = {}
    for entry in found:
        arm, size = called(entry.get("arm")), called(entry.get("size"))
        rates = tried.get((arm, size), set())
        if entry.get("chosen") is True and len(rates) > 1:
            for name, end in (("smallest", min(rates)), ("largest", max(rates))):
                if number(entry.get("learning_rate")) == end:
                    ends.setdefault(name, []).append(f"{arm} at {size}" if several_sizes else arm)
    return ends
