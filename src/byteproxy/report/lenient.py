"""What the pages of studies and of the demo share: pieces of HTML that take whatever stands in the results.

Everything is escaped, and what is missing, of another type or not finite is a dash; nothing here raises for it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from byteproxy.report import page
from byteproxy.study.units import DASH, number

EQUAL_FLOPS = (
    "<b>Equal means equal training FLOPs.</b> The training FLOPs of a position are 3 &times; (2 &times; parameters of"
    " the matrices used + 4 &times; width &times; keys attended per layer + 2 &times; width &times; softmax rows used)."
)
_MOST = 1e100  # beyond it a plot's axes would overflow
_HUES = {"bytes": (0, 5), "control": (2, 7), "proxy": (1, 4, 6), "tokenizer": (3, 7)}
"""The colours of the page that each role takes, in order."""


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """The value if it is a list or a tuple, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def entries(value: object) -> list[Mapping[str, Any]]:
    """The mappings of a list."""
    return [entry for entry in sequence(value) if isinstance(entry, Mapping)]


def named(value: object) -> dict[str, Mapping[str, Any]]:
    """The mappings of a mapping, by name."""
    return {str(name): inner for name, inner in mapping(value).items() if isinstance(inner, Mapping)}


def called(value: object) -> str:
    """A name as it is, not escaped; None, and what isn't finite, as a dash."""
    return DASH if value is None or (isinstance(value, float) and not math.isfinite(value)) else str(value)


def text(value: object) -> str:
    """Escaped for HTML, attributes included; control characters as their pictures; None as a dash."""
    return page.text(called(value))


def wrapped(value: object) -> str:
    """A name as `text` escapes it, with places where a line may break."""
    return page.wrapped(called(value))


def listed(names: Iterable[str]) -> str:
    """ "a, b and c"."""
    items = list(names)
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


def plain(name: str) -> str:
    """A name on one line of characters that any file can hold; not escaped."""
    return name.encode("utf-8", "replace").decode().translate({**page.UNSEEN, 9: " ", 10: " "})


_SHORT = 14


def short(name: str, most: int = _SHORT) -> str:
    """A plain name that fits beside a plot."""
    name = plain(name)
    return name if len(name) <= most else name[: most - 1] + "…"


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Names shortened alike, as far as they stay different."""
    found = list(dict.fromkeys(names))
    whole = {plain(name) for name in found}
    most = next(
        most
        for most in range(_SHORT, max(map(len, whole), default=0) + _SHORT + 1)
        if len({short(name, most) for name in found}) == len(whole)
    )
    return {name: short(name, most) for name in found}


def facts(title: str, *pairs: tuple[str, str]) -> str:
    """A titled list of names and values, all of it HTML; nothing if there are none."""
    items = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in pairs)
    return f"<div><h3>{title}</h3><dl>{items}</dl></div>" if items else ""


def points(curve: object, x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    """The finite points of a logged curve, x ascending."""
    found = []
    for entry in entries(curve):
        x, y = number(entry.get(x_key)), number(entry.get(y_key))
        if x is not None and y is not None and max(abs(x), abs(y)) < _MOST:
            found.append((x, y))
    found.sort(key=lambda point: point[0])
    return [x for x, _ in found], [y for _, y in found]


def colours(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """The series' number of each arm, whose colour goes with its role; no two alike."""
    given: dict[str, int] = {}
    for name, arm in arms.items():
        free = [colour for colour in range(page.PALETTE) if colour not in given.values()]
        wanted = chain(_HUES.get(str(arm.get("role")), ()), free)
        given[name] = next((colour for colour in wanted if colour in free), len(given))
    return given


STYLE = """
h2 { margin-top: 2.6em; }
h3 { font-size: .95rem; margin: 0 0 .5em; }
.verdict { margin: 1.6em 0; padding: .9em 1.2em; max-width: none; border-left: 4px solid var(--accent);
  background: var(--card); font-size: 1.2rem; line-height: 1.45; font-weight: 600; overflow-wrap: break-word; }
.note { margin-bottom: 2.4em; }
.scale th, .scale td { color: var(--muted); font-weight: 400; }
em { font-style: normal; font-size: .75rem; font-weight: 600; padding: .1em .55em; margin-left: .4em;
  border: 1px solid currentColor; border-radius: 1em; color: var(--accent); }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 36px 40px; }
figure { max-width: none; }
figcaption { font-size: .95rem; }
.facts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 40px; margin-top: 1.6em; }
.facts dl { grid-template-columns: max-content minmax(0, 1fr); gap: .25em 1.4em; font-size: .92rem; }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
@media (max-width: 760px) { .plots, .facts { grid-template-columns: minmax(0, 1fr); } .verdict { font-size: 1.05rem; } }
"""
