"""State where an arm's transfer stands: m against its break-even, and whether m rises with compute.

What the page shows as well is read leniently: a figure that is missing or no number is not said.
"""

from collections.abc import Iterable, Mapping
from math import isclose, log2
from typing import Any

from byteproxy.study.units import DASH, fixed, number

NO_CURVE = "raw bytes alone have no two budgets at one size, so there is no curve to read"
_MAX = 1e6  # a ratio beyond that is none


def transfer_said(results: Mapping[str, Any], arm: str) -> list[str]:
    """What an arm's multiplier in the main cell says, of the test split if there is one; nothing if there is none."""
    main = results["main"]
    found = _of(results.get("m", ()), arm, size=main["size"], flops=main["flops"])
    if found is None:
        return []
    change = _of(results.get("m_trends", ()), arm, size=main["size"])
    return [_where(found), *([] if change is None else [change_said(change)])]


def _of(entries: Iterable[Mapping[str, Any]], arm: str, **where: Any) -> Mapping[str, Any] | None:
    """The entry of an arm; of the test split if there is one."""
    here = {
        one["split"]: one
        for one in entries
        if one["arm"] == arm and all(one[key] == value for key, value in where.items())
    }
    return here.get("test") or here.get("validation")


def _where(found: Mapping[str, Any]) -> str:
    """m, on which side of its break-even it lies, and how surely."""
    m, more, even = found["m"], found["more_than"], found["break_even"]
    bound = found["less_than"] if more is None else more
    if m is None and bound is None:
        return f"{found['arm']} has no transfer multiplier: {found['refused']}."
    name = f"The transfer multiplier of {found['arm']}"
    if m is not None:
        said = f"{name} is {m:.2f}" + (f" (95 % over {found['over']}: {ends_said(found)})" if found["over"] else "")
        side = "above" if even is None or m > even else "below" if m < even else "at"
        said += "" if even is None else f", {side} its break-even of {even:.2f}"
    else:
        side = "below" if more is None else "above"
        said = f"{name} can't be read off ({found['refused']}), but is {side} "
        if even is not None and isclose(bound, even):
            said += f"its break-even of {even:.2f}"
        else:
            said += f"{bound:.2f}" + ("" if even is None else f", with a break-even of {even:.2f}")
    return f"{said}{_SURELY[found['stands']]}."


_SURELY = {
    "above": ": what it learnt from text in other forms outweighs the raw text that it gave up",
    "below": ": what it learnt from text in other forms doesn't outweigh the raw text that it gave up",
    "unclear": ", a side that can't be told from chance",
    None: "",
}


def without_curve(entries: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there are multipliers and none could be read, as no size has several budgets of bytes-only runs."""
    budgets = [number(one.get("budgets")) for one in entries]
    return bool(budgets) and all(count is not None and count < 2 for count in budgets)


def multiplier_said(found: Mapping[str, Any], places: int = 2) -> str:
    """m, or its bound where it was refused; a dash without either."""
    for sign, key in (("", "m"), ("< ", "less_than"), ("> ", "more_than")):
        if number(found.get(key)) is not None:
            return sign + fixed(found[key], places)
    return DASH


def ends_said(found: Mapping[str, Any], places: int = 2) -> str:
    """An interval's ends, of which those beyond the curve are open; a dash where there is no interval."""
    low, high = number(found.get("low")), number(found.get("high"))
    if not found.get("over") or number(found.get("budgets", 2)) == 1:
        return DASH
    if low is not None and high is not None:
        return f"{fixed(low, places)} to {fixed(high, places)}"
    if low is not None:
        return f"above {fixed(low, places)}"
    return "open on both sides" if high is None else f"below {fixed(high, places)}"


def change_said(found: Mapping[str, Any]) -> str:
    """How m changes from one budget to another, for each doubling of compute; nothing without both budgets."""
    start, end = number(found.get("from")), number(found.get("to"))
    if start is None or end is None or not 0 < start < end:
        return ""
    span, ratio = f"From {start:.3g} to {end:.3g} FLOPs", number(found.get("ratio"))
    more, less = number(found.get("more_than")), number(found.get("less_than"))
    doublings = log2(end / start)
    sources = found.get("over")
    known = isinstance(sources, str) and bool(sources)
    over = f" (95 % of the ratio over {sources}: {ends_said(found)})" if known else " (one seed)"
    chance = known and found.get("direction") == "unclear"
    unclear = ", a change that can't be told from chance" if chance else ""
    if ratio is not None and 0 < ratio < _MAX:
        return f"{span} m {_way(ratio)} by {_percent(ratio, doublings)} a doubling{over}{unclear}."
    if more is not None and 1 < more < _MAX:
        return f"{span} m rises by more than {_percent(more, doublings)} a doubling{over}{unclear}."
    if less is not None and 0 < less < 1:
        return f"{span} m falls by more than {_percent(less, doublings)} a doubling{over}{unclear}."
    return f"{span} the curve is too short to say whether it rises or falls."


def _way(ratio: float) -> str:
    return "rises" if ratio >= 1 else "falls"


def _percent(ratio: float, doublings: float) -> str:
    return fixed(abs(100 * (ratio ** (1 / doublings) - 1)), 0, "%")
