"""Pictures of the transfer multiplier over compute: one an arm and size, with the break-even that it has to pass."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from byteproxy.report.drawing import MUTED, draw_dots, drawn_by, furnish, stand_in, tick_at
from byteproxy.report.lenient import called, entries
from byteproxy.report.line_plots import unit_of
from byteproxy.report.page import Picture
from byteproxy.study.transfer_words import change_said
from byteproxy.study.units import number

_WIDTH, _HEIGHT = 320.0, 230.0
_MAX = 1e6  # an m beyond that is none
_COLUMNS = ("m", "low", "high", "break_even", "more_than", "less_than")


class Found(NamedTuple):
    """An arm's multiplier at a budget; what isn't known is None."""

    flops: float
    m: float | None
    low: float | None
    high: float | None
    break_even: float | None
    more_than: float | None
    less_than: float | None


def shown_multipliers(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every multiplier once: on the test split where it is known there."""
    found = entries(results.get("m"))
    tested = {_which(one) for one in found if one.get("split") == "test"}
    return [one for one in found if one.get("split") == "test" or _which(one) not in tested]


def _which(entry: Mapping[str, Any]) -> tuple[str, str, float | None]:
    return called(entry.get("arm")), called(entry.get("size")), number(entry.get("flops"))


def multiplier_plots(results: Mapping[str, Any], colours: Mapping[str, int]) -> list[tuple[str, Picture, str]]:
    """Arm and size, picture, and how m changes, of every arm with an m or a bound at several budgets."""
    rows: dict[tuple[str, str], list[Found]] = {}
    for one in shown_multipliers(results):
        flops = number(one.get("flops"))
        figures = [value if (value := number(one.get(key))) and 0 < value < _MAX else None for key in _COLUMNS]
        if flops is not None and 1 <= flops < 1e100 and any((figures[0], *figures[4:])) and one.get("budgets") != 1:
            rows.setdefault((called(one.get("arm")), called(one.get("size"))), []).append(Found(flops, *figures))
    changes = {(called(one.get("arm")), called(one.get("size"))): one for one in _later_test(results)}
    pictures = []
    for place, ((arm, size), own) in enumerate(rows.items()):
        if len({one.flops for one in own}) > 1:
            picture = _picture(f"multiplier {place}", sorted(own, key=lambda one: one.flops), colours.get(arm, 7))
            said = change_said(changes[arm, size]) if (arm, size) in changes else ""
            pictures.append((f"{arm}, {size}", picture, said))
    return pictures


def _later_test(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The changes with compute, those on the test split last."""
    return sorted(entries(results.get("m_trends")), key=lambda one: one.get("split") == "test")


def _picture(name: str, own: Sequence[Found], colour: int) -> Picture:
    unit, x_label = unit_of("flops", own[0].flops)

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        levels = [(one.flops, one.break_even) for one in own if one.break_even is not None]
        if levels:
            xs, evens = zip(*levels, strict=True)
            axes.plot(xs, evens, color=MUTED, linewidth=1.4, dashes=(3, 2), zorder=1)
        for one in own:
            if one.low is not None and one.high is not None:
                axes.vlines(one.flops, one.low, one.high, color=stand_in(colour), linewidth=3, alpha=0.35, zorder=2)
            for bound, mark in ((one.less_than, "v"), (one.more_than, "^")):
                if bound is not None:
                    axes.plot(
                        [one.flops], [bound], mark, color=stand_in(colour), fillstyle="none", markersize=7, zorder=4
                    )
        read = [(one.flops, one.m) for one in own if one.m is not None]
        if read:
            xs, ms = zip(*read, strict=True)
            axes.plot(xs, ms, color=stand_in(colour), linewidth=1.4, zorder=3)
            draw_dots(axes, xs, ms, colour, 6.5)
        flops = [one.flops for one in own]
        room = (flops[-1] / flops[0]) ** 0.08
        axes.set_xlim(flops[0] / room, flops[-1] * room)
        axes.set_ylim(0, 1.12 * max(value for one in own for value in one[1:] if value is not None))
        furnish(axes, x_label, "m")
        tick_at(axes, flops, unit)

    svg = drawn_by(name, f"transfer multiplier over {x_label}", (_WIDTH, _HEIGHT), 14.0, draw)
    return Picture(svg, name, (x_label, *_COLUMNS), [(one.flops / unit, *one[1:]) for one in own])
