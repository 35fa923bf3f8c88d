"""Words that were cut, as pages show them: how each prompt ends, the word's rest, and what each side wrote."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from byteproxy.report.lenient import entries, mapping
from byteproxy.study.units import fixed, number

_TAIL = 32  # characters of a prompt that are shown before a cut
_MOST = 12  # drawn cuts that are shown
SIDES = {"before": "as tokens, before", "after": "as bytes, after", "scratch": "bytes from scratch"}


class CutRow(NamedTuple):
    """A cut. tail: how its prompt ends. rest: of the word. cells: what each side wrote, and whether it is right."""

    tail: str
    rest: str
    cells: list[tuple[str, bool]]


class CutRows(NamedTuple):
    """The cuts of a page. sides: headings of those who wrote. counts: a sentence part for each kind of cut."""

    sides: list[str]
    given: list[CutRow]
    drawn: list[CutRow]
    counts: list[tuple[str, list[str]]]
    left_out: int


def cut_rows(cuts: object) -> CutRows:
    """The rows of `cuts`, as results of conversions and of the demo have them, whatever they hold."""
    found = entries(mapping(cuts).get("written"))
    sides = [side for side in SIDES if any(side in one for one in found)]
    given = [_row(one, sides) for one in found if not one.get("drawn")]
    drawn = [_row(one, sides) for one in found if one.get("drawn")]
    counts = []
    for name, key in (("given ones", "given"), ("drawn ones", "drawn")):
        own = mapping(mapping(cuts).get(key))
        if number(own.get("cuts")):
            counts.append((name, [f"{fixed(own.get(side), 0)} of {fixed(own.get('cuts'), 0)}" for side in sides]))
    return CutRows([SIDES[side] for side in sides], given, drawn[:_MOST], counts, max(0, len(drawn) - _MOST))


def _row(cut: Mapping[str, Any], sides: Sequence[str]) -> CutRow:
    prompt, rest = _text(cut.get("prompt")), _text(cut.get("rest"))
    line = prompt.rpartition("\n")[2].lstrip()
    tail = line[-_TAIL:] or prompt[-_TAIL:]
    cells = []
    for side in sides:
        written = _text(cut.get(side))
        cells.append((written.partition("\n")[0] or written[:1], bool(rest) and written.startswith(rest)))
    return CutRow(tail, rest, cells)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
