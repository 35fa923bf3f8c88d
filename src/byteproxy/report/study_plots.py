"""The plots of a study's page: validation curves of the main cell, and each gain over compute and over size."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log2, sqrt
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from byteproxy.report import line_plots
from byteproxy.report.lenient import called, distinct, entries, mapping, named, plain, points
from byteproxy.report.line_plots import Level, Line, Trend
from byteproxy.report.page import Picture
from byteproxy.report.study_rows import at_cell, interval, once
from byteproxy.study.units import DASH, number, scientific, si, signed

_SPENT = "flops", "text_bytes", "positions", "seconds"
_FAR = 1e6  # times the largest measured; a line that vanishes farther off is said not to vanish up to there
_REACH = 30.0  # a line that vanishes within this many times the largest measured is drawn to there
_MIN = 1e-100  # of a log axis
_BAND_POINTS = 33
_HIGH = 100.0  # bits per byte; a level that is none of 0 to this is left out
_MAX = 1e6  # percent; a line beyond that is none
_HIDDEN_START = 0.3  # of a run: what is before it may leave the picture, so that the end can be read
_Curve = tuple[Sequence[float], Sequence[float]]


class Curves(NamedTuple):
    """Captions and pictures, none if nothing was logged; the cell's size and FLOPs; how much text; what is dashed."""

    pictures: Sequence[tuple[str, Picture]]
    size: object
    flops: object
    text: str
    dashed: str


def curves(results: Mapping[str, Any], colours: Mapping[str, int]) -> Curves:
    """Validation bits per byte of the main cell over four measures of what was spent.

    PPMd's, and those of the tokens of the study's model, are of the same text. A star: bits of an arm's own symbols.
    """
    runs, size, flops = _main_runs(results)
    known_arms = named(results.get("arms"))
    arms = [name for name in known_arms if name in runs]
    arms += [name for name in runs if name not in arms]
    own_symbols = {name for name, arm in known_arms.items() if arm.get("scored") == "view"}
    scored = mapping(results.get("curve_text"))
    known = (
        ("PPMd", "PPMd", mapping(scored.get("compressors")).get("ppmd")),
        ("own tokens", "the model's own tokens before", scored.get("tokens")),
    )
    there = [(label, words, y) for label, words, value in known if (y := number(value)) is not None and 0 <= y < _HIGH]
    levels = [Level(f"{label} {y:.2f}", y) for label, _, y in there]
    names, pictures = distinct(arms), []
    for spent in _SPENT:
        lines = [
            _mean_line(
                names[name] + "*" * (name in own_symbols),
                [_points(run, spent) for run in runs[name]],
                colours.get(name, 7),
            )
            for name in arms
        ]
        picture = line_plots.over(spent, "curve", lines, levels, "bits per byte", _HIDDEN_START)
        pictures.append((f"Over {line_plots.SPENT[spent]}", picture))
    if not any(picture.svg for _, picture in pictures):
        pictures = []
    text = f"{si(scored.get('bytes'), 'B')} of " if number(scored.get("bytes")) else ""
    return Curves(pictures, size, flops, text, " and ".join(words for _, words, _ in there))


def _main_runs(results: Mapping[str, Any]) -> tuple[dict[str, list[Mapping[str, Any]]], object, object]:
    """The final runs of the main cell by arm, its size and its FLOPs; of the fullest cell if there's no main."""
    finals = [run for run in entries(results.get("runs")) if run.get("kind") == "final"]
    main = mapping(results.get("main"))
    if number(main.get("flops")) is None and finals:
        counts = Counter((called(run.get("size")), number(run.get("flops_asked")) or 0.0) for run in finals)
        (size, flops), _ = max(counts.items(), key=lambda entry: (entry[1], entry[0][1]))
        main = {"size": size, "flops": flops}
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for run in finals:
        if at_cell(run, main, "flops_asked"):
            by_arm.setdefault(called(run.get("arm")), []).append(run)
    return by_arm, *((called(main.get("size")), main.get("flops")) if by_arm else (None, None))


def _points(run: Mapping[str, Any], x_key: str) -> _Curve:
    return points(run.get("curve"), x_key, "raw_bpb")


def _mean_line(name: str, seeds: Sequence[_Curve], colour: int) -> Line:
    """The mean of the seeds' curves at equal shares of their runs, as the end of a run differs a little by seed."""
    seeds = [(x, y) for x, y in seeds if x and x[-1] > 0]
    if not seeds:
        return Line("", colour, [], [])
    shares = [[value / x[-1] for value in x] for x, _ in seeds]
    start = max(share[0] for share in shares)
    at = sorted({start, *(share for share in shares[0] if share >= start)})
    y = np.mean([np.interp(at, share, y) for share, (_, y) in zip(shares, seeds, strict=True)], axis=0).tolist()
    end = fsum(x[-1] for x, _ in seeds) / len(seeds)
    return Line(f"{name} {y[-1]:.3f}", colour, [share * end for share in at], y, behind=seeds[1:] and seeds)


# Gains over compute and size.


Gain = tuple[str, Picture, Markup]
"""Arm, picture, and what the fit says."""


def gains(results: Mapping[str, Any], colours: Mapping[str, int]) -> dict[str, dict[str, list[Gain]]]:
    """How each difference changes with compute and with size, by what it is against and what it is over."""
    found: dict[str, dict[str, list[Gain]]] = {}
    for place, fit in enumerate(once(results, entries(results.get("fits")))):
        arm = called(fit.get("arm"))
        trend = trend_of(fit, colours.get(arm, 7))
        if trend is None:
            continue
        compute = fit.get("over") == "flops"
        unit, x_label = line_plots.unit_of(plain(called(fit.get("over"))), min(trend.x))
        picture = line_plots.trend(f"gain {place}", trend, unit, x_label, "difference (%)")
        over = "training FLOPs" if compute else called(fit.get("over"))
        found.setdefault(called(fit.get("against")), {}).setdefault(over, []).append((arm, picture, _words(fit)))
    return found


def trend_of(fit: Mapping[str, Any], colour: int) -> Trend | None:
    """The points of a fit, and its line with a band that has the fit's own intervals; None without points.

    The band's half-width is that of a line by least squares, sqrt(a + b^2 (u - mean u)^2) at u = log2 x: b is the
    slope's half-width, and a follows from the one at the largest x.
    """
    xs, ys = points(fit.get("points"), "x", "gap")
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x > _MIN]
    if not pairs:
        return None
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    slope = number(fit.get("slope"))
    if slope is None or xs[0] == xs[-1]:
        return Trend(colour, xs, ys)
    middle, largest = fsum(map(log2, xs)) / len(xs), log2(xs[-1])
    end = mapping(fit.get("at_largest"))
    there = number(end.get("gap"))
    if there is None:
        there = fsum(ys) / len(ys) + slope * (largest - middle)
    turn, wide = _half(fit), _half(end)
    if max(abs(slope), abs(there), turn, wide) > _MAX:
        return Trend(colour, xs, ys)
    constant = max(wide**2 - (turn * (largest - middle)) ** 2, 0.0)
    line = []
    for u in np.linspace(log2(xs[0]), largest, _BAND_POINTS).tolist():
        y, half = there + slope * (u - largest), sqrt(constant + (turn * (u - middle)) ** 2)
        line.append((2.0**u, y, y - half, y + half))
    vanishes = number(fit.get("vanishes_at"))
    near = vanishes is not None and xs[-1] < vanishes <= _REACH * xs[-1]
    return Trend(colour, xs, ys, line, (vanishes, 0.0) if near and vanishes is not None else None)


def _half(interval: Mapping[str, Any]) -> float:
    low, high = number(interval.get("low")), number(interval.get("high"))
    return 0.0 if low is None or high is None else abs(high - low) / 2


def _words(fit: Mapping[str, Any]) -> Markup:
    """What a fit says, in sentences."""
    end, slope = mapping(fit.get("at_largest")), number(fit.get("slope"))
    compute = fit.get("over") == "flops"
    said = [
        Markup("At the largest {} {}{}.").format(
            "budget" if compute else "size", signed(end.get("gap"), 1, "%"), _in(end)
        )
    ]
    if slope is None:
        return said[0] + " Too few points for a line."
    said.append(Markup("Each doubling changes it by {} points{}.").format(signed(slope, 2), _in(fit, 2)))
    vanishes, largest = number(fit.get("vanishes_at")), max(points(fit.get("points"), "x", "gap")[0], default=0.0)
    if vanishes is None:
        said.append(Markup("Going on like this it would not vanish."))
    elif largest and vanishes > _FAR * largest:
        said.append(Markup("Going on like this it would not vanish within a million times the largest."))
    else:
        shown = f"{scientific(vanishes)} FLOPs" if compute else f"{si(vanishes)} parameters"
        times = f", {vanishes / largest:,.0f} times the largest" if largest and vanishes >= 2 * largest else ""
        said.append(Markup("Going on like this it would vanish at {}{}.").format(shown, times))
    return Markup(" ").join(said)


def _in(held: Mapping[str, Any], places: int = 1) -> Markup:
    said = interval(held, places)
    return Markup("") if said == DASH else Markup(" (95 %: {})").format(said)
