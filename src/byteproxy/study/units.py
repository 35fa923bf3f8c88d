"""Figures for people: a few digits, a unit, no-break spaces; a dash for what isn't a finite number."""

import math

DASH = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"
_MINUS = str.maketrans("-", "\N{MINUS SIGN}")
_TIMES = f"{NO_BREAK}\N{MULTIPLICATION SIGN}{NO_BREAK}"


def number(value: object) -> float | None:
    """A finite number, or None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def fixed(value: object, places: int, unit: str = "") -> str:
    """3.14159 as `3.14`, 12345 as `12,345`, with the unit behind."""
    found = number(value)
    return DASH if found is None else f"{found:,.{places}f}" + (NO_BREAK + unit if unit else "")


def si(value: object, unit: str = "") -> str:
    """2879345 as `2.88 M` and, with unit B, `2.88 MB`; below 1000 as it is."""
    found = number(value)
    if found is None:
        return DASH
    prefix = ""
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if abs(found) < 999.5 or prefix == "E":
            break
        found /= 1000
    figures = f"{found:g}" if not prefix and found == int(found) else f"{found:#.3g}".rstrip(".")
    return figures + (NO_BREAK + prefix + unit if prefix + unit else "")


def scientific(value: object) -> str:
    """3.0e13 as `3.00 x 10¹³`."""
    found = number(value)
    if found is None or found == 0:
        return DASH if found is None else "0"
    figures, power = f"{found:.2e}".split("e")
    return f"{figures}{_TIMES}10{superscript(int(power))}"


def percent(value: object) -> str:
    """0.731 as `73.1 %`."""
    found = number(value)
    return fixed(None if found is None else 100 * found, 1, "%")


def signed(value: object, places: int, unit: str = "") -> str:
    """-0.0712 as `−0.071`, 0.2 as `+0.200`, with the unit behind."""
    found = number(value)
    if found is None:
        return DASH
    sign = "+" if round(found, places) else ""
    return f"{round(found, places) + 0.0:{sign}.{places}f}".translate(_MINUS) + (NO_BREAK + unit if unit else "")


def took(seconds: object) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    found = number(seconds)
    if found is None:
        return DASH
    if found < 120:
        return fixed(found, 0, "s")
    return fixed(found / 60, 1, "min") if found < 7200 else fixed(found / 3600, 1, "h")


def rate(value: object) -> str:
    """A learning rate in as few figures as it has."""
    found = number(value)
    return DASH if found is None else f"{found:.4g}"


def superscript(whole: int) -> str:
    """-12 as ⁻¹²."""
    return str(whole).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
