"""Read values out of results for the pages of studies and the demo, whatever the results hold.

What is missing, of another type or not finite is empty or None, and becomes a dash; nothing here raises for it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from byteproxy.report.page import HUES, seen
from byteproxy.study.units import DASH, number

_MAX = 1e100  # beyond it a plot's axes would overflow
_HUES = {"bytes": (0, 5), "control": (2, 7), "proxy": (1, 4, 6), "tokenizer": (3, 7)}
"""The hues that each role takes, in order."""
_SHORT = 14


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
    """A name as it is; None, and what isn't finite, as a dash."""
    return DASH if value is None or (isinstance(value, float) and not math.isfinite(value)) else str(value)


def plain(name: str) -> str:
    """A name on one line of characters that any file can hold."""
    return str(seen(name)).translate({9: " ", 10: " "})


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


def points(curve: object, x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    """The finite points of a logged curve, x ascending."""
    found = []
    for entry in entries(curve):
        x, y = number(entry.get(x_key)), number(entry.get(y_key))
        if x is not None and y is not None and max(abs(x), abs(y)) < _MAX:
            found.append((x, y))
    found.sort(key=lambda point: point[0])
    return [x for x, _ in found], [y for _, y in found]


def colours(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """The series' number of each arm, whose hue goes with its role; no two alike."""
    given: dict[str, int] = {}
    for name, arm in arms.items():
        free = [hue for hue in range(HUES) if hue not in given.values()]
        wanted = chain(_HUES.get(str(arm.get("role")), ()), free)
        given[name] = next((hue for hue in wanted if hue in free), len(given))
    return given
