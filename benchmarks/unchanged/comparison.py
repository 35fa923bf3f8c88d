"""Two records, side by side."""

from collections.abc import Iterator
from typing import Any

from settings import FIGURES, VARIES


def compare(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[tuple[str, int, str]], float]:
    """For each item its name, how many values it has, and how these differ.

    And the largest relative difference of all items that aren't in VARIES: infinity where something that is no
    fraction differs, or is gone. What is new counts for nothing.
    """
    lines, worst = [], 0.0
    for name, (old, new) in _items(before, after).items():
        values = _paired(old, new, "")
        added = [place for place, one, _ in values if one is _NOTHING]
        differing = [
            (place, *_difference(one, other)) for place, one, other in values if one is not _NOTHING and one != other
        ]
        largest = max((size for _, size, _ in differing), default=0.0)
        told = [f"{place}: {told}" for place, size, told in differing if size == largest][:1]
        how = f"{len(differing)} differ, by {largest:.1e} at most; {told[0]}" if differing else "equal"
        lines.append((name, len(values), how + (f"; new: {', '.join(added[:3])}" if added else "")))
        if not name.startswith(VARIES):
            worst = max(worst, largest)
    return lines, worst


_NOTHING = object()
"""What stands for a value that a record lacks."""


def _items(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    found = {}
    for part in {**before, **after}:
        old, new = before.get(part, {}), after.get(part, {})
        for name in {**old, **new}:
            found[f"{part}/{name}"] = old.get(name, _NOTHING), new.get(name, _NOTHING)
    return found


def _paired(old: Any, new: Any, place: str) -> list[tuple[str, Any, Any]]:
    """Values at the same places of two trees."""
    if isinstance(old, dict) and isinstance(new, dict):
        new = {
            next((name for name in (key, *FIGURES.get(key, ())) if name in old), key): one for key, one in new.items()
        }
        found = []
        for key in {**old, **new}:
            found += _paired(old.get(key, _NOTHING), new.get(key, _NOTHING), f"{place}.{key}".lstrip("."))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        fractions = [one for one in (*old, *new) if isinstance(one, float)]
        if len(fractions) == 2 * len(old) > 0:
            scale = max(map(abs, fractions)) or 1.0
            worst = max(range(len(old)), key=lambda at: abs(old[at] - new[at]))
            told = (old[worst], new[worst], scale)
            return [(f"{place}[{worst}]", None, None) if old == new else (f"{place}[{worst}]", told, scale)]
        return [one for at, pair in enumerate(zip(old, new, strict=True)) for one in _paired(*pair, f"{place}[{at}]")]
    return [(place, old, new)]


def _difference(old: Any, new: Any) -> tuple[float, str]:
    """Of two values that differ: how much, infinity where that can't be said, and in words."""
    if new is _NOTHING:
        return float("inf"), f"{str(old)[:60]} -> gone"
    if isinstance(old, tuple):
        old, new, scale = old
        return abs(old - new) / scale, f"{old:.7g} -> {new:.7g}"
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (old, new))
    if numbers and (isinstance(old, float) or isinstance(new, float)):
        return abs(old - new) / max(abs(old), abs(new)), f"{old:.7g} -> {new:.7g}"
    if isinstance(old, str) and isinstance(new, str):
        at = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), -1)
        return float("inf"), f"at {at}: {old[max(0, at) :][:40]!r} -> {new[max(0, at) :][:40]!r}"
    return float("inf"), f"{str(old)[:60]} -> {str(new)[:60]}"


def errors(value: Any, place: str = "") -> Iterator[str]:
    """What failed while a record was made."""
    if isinstance(value, dict):
        if "error" in value:
            yield f"{place}: {value['error']}"
        for key, one in value.items():
            yield from errors(one, f"{place}/{key}")
