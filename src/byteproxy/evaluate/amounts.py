"""Amounts for people: three digits and a prefix, or the unit of time that reads best.

This module imports nothing, so that commands which only show a corpus don't load a trainer.
"""

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def sized(count: float, unit: str = "") -> str:
    """1234567 as `1.23 M`, with the unit behind."""
    power = 0
    while abs(count) >= 999.5 and power < len(PREFIXES) - 1:
        count /= 1000
        power += 1
    number = f"{count:,.0f}" if not power or count >= 99.95 else f"{count:.{1 if count >= 9.995 else 2}f}"
    return f"{number} {PREFIXES[power]}{unit}".rstrip()


def timed(seconds: float) -> str:
    """Seconds, minutes, hours, days or years, whichever reads best."""
    for size, unit in ((365.25 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"
