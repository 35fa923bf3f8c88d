"""The figures of a corpus as tables of words: what is in which column, for the terminal and for the page alike."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from byteproxy.evaluate import amounts

LANGUAGES_SHOWN = 12
FINGERPRINT_SHOWN = 12
DASH = "\N{EN DASH}"


class Figures(NamedTuple):
    """A table.

    first: heading of the first column. columns: (heading, unit) of the others. rows: a heading and a cell for each.
    """

    title: str
    first: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[str]]]


def sized(count: float) -> str:
    """Bytes for people: 999 B, 1.23 kB, 45.6 MB."""
    return amounts.sized(count, "B")


def by_split(figures: Mapping[str, Any]) -> Figures:
    """Documents, bytes and projects of each split."""
    rows = [(split, _amounts(found, figures["bytes"])) for split, found in figures["splits"].items()]
    return Figures("Splits", "split", _AMOUNTS, rows)


def by_field(figures: Mapping[str, Any]) -> Figures:
    """How many documents of a source lack what others of it have."""
    rows = []
    for name, found in figures["sources"].items():
        for part, count in found["without"].items():
            if 0 < count < found["documents"]:
                rows.append((f"{name}: {part}", [f"{count:,}", f"{100 * count / found['documents']:.1f}"]))
    return Figures("Documents without", "source: field", (("documents", ""), ("of all", "%")), rows)


def by_source(figures: Mapping[str, Any]) -> Figures:
    """The same for each source, with what was dropped as a copy, and its weight."""
    columns = (*_AMOUNTS, ("copies", "dropped"), ("weight", "× size"))
    rows = []
    for name, found in figures["sources"].items():
        dropped = found["read"]["documents"] - found["documents"]
        rows.append((name, [*_amounts(found, figures["bytes"]), f"{dropped:,}", f"{found['weight']:g}"]))
    return Figures("Sources", "source", columns, rows)


def by_language(figures: Mapping[str, Any]) -> Figures:
    """The same for the languages with most text, and the rest together."""
    found = list(figures["languages"].items())
    rows = [(name or "unknown", _amounts(one, figures["bytes"])) for name, one in found[:LANGUAGES_SHOWN]]
    if others := [one for _, one in found[LANGUAGES_SHOWN:]]:
        documents, text_bytes = (sum(one[key] for one in others) for key in ("documents", "bytes"))
        together = {"documents": documents, "bytes": text_bytes, "projects": None}
        rows.append((f"{len(others)} others", _amounts(together, figures["bytes"])))
    return Figures("Languages", "language", _AMOUNTS, rows)


def by_length(figures: Mapping[str, Any]) -> Figures:
    """How long documents are, by split."""
    found = {name: one for name, one in figures["lengths"].items() if one is not None}
    keys: list[str] = list(next(iter(found.values()), {}))
    rows = [
        (key if key.isalpha() else f"{key.removeprefix('p')} % up to", [sized(one[key]) for one in found.values()])
        for key in keys
    ]
    return Figures("Lengths of documents", "", [(name, "") for name in found], rows)


def by_reason(figures: Mapping[str, Any]) -> Figures:
    """Records that became no document; damaged ones before those that weren't wanted."""
    rows = [
        (reason, [kind, f"{count:,}", percent(count, figures["records"])])
        for kind in ("faulty", "unwanted")
        for reason, count in sorted(figures[kind].items(), key=lambda item: -item[1])
    ]
    lost = figures["lost"]
    detail = f", of which about {lost['records']:,} lost with {sized(lost['bytes_on_disk'])} of damaged files"
    title = f"Rejected{detail if lost['records'] else ''}"
    return Figures(title, "reason", (("kind", ""), ("records", ""), ("of all", "%")), rows)


def by_view(figures: Mapping[str, Any]) -> Figures:
    """The views that the corpus holds the symbols of."""
    columns = (("alphabet", "symbols"), ("text", "symbols"), ("size", "B/symbol"), ("fingerprint", ""))
    rows = [
        (
            name,
            [
                f"{view['alphabet_size']:,}",
                f"{view['symbols']:,}",
                DASH if view["bytes_per_symbol"] is None else f"{view['bytes_per_symbol']:.3g}",
                view["fingerprint"][:FINGERPRINT_SHOWN],
            ],
        )
        for name, view in figures["views"].items()
    ]
    return Figures("Views", "view", columns, rows)


def length_range(one: Mapping[str, int]) -> str:
    """The lengths of one entry of a histogram, in powers of two as people say them: "256 B – 511 B", "1 – 2 kB"."""
    return "empty" if one["to"] == 0 else f"{_power(one['from'])} {DASH} {_power(one['to'] + 1)}"


_AMOUNTS = (("documents", ""), ("text", ""), ("of all", "%"), ("projects", ""))


def _amounts(found: Mapping[str, Any], all_bytes: int) -> list[str]:
    projects = DASH if found["projects"] is None else f"{found['projects']:,}"
    return [f"{found['documents']:,}", sized(found["bytes"]), percent(found["bytes"], all_bytes), projects]


def percent(part: float, whole: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * part / whole:.1f}" if whole else DASH


def _power(size: int) -> str:
    """A power of two in bytes: 512 B, 4 KiB."""
    power = min((size.bit_length() - 1) // 10, 5)
    return f"{size >> 10 * power} {('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi')[power]}B"
