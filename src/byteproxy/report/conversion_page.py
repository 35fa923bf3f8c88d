"""The page of a conversion: what the model reads now, on the way there, what was kept, and what it cost."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from byteproxy.report import line_plots
from byteproxy.report.cut_rows import cut_rows
from byteproxy.report.lenient import called, entries, mapping, named, points
from byteproxy.report.line_plots import Level, Line
from byteproxy.report.page import Picture, render, write_page
from byteproxy.study.units import fixed, number, si

_RAW, _TOKENS = 0, 1
"""The series' numbers, which decide their colours."""
_HIDDEN_START = 0.15  # of the curve: raw bytes begin at about 8 bits, which would flatten all that follows
_PREFIXES = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))


def write_conversion_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy convert --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(conversion_page(results), path)


def conversion_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    about = about_conversion(results)
    return render(
        "convert.html",
        **about,
        made_by=called(results.get("byteproxy")),
        results=results,
        before=mapping(results.get("before")),
        after=mapping(results.get("after")),
        series=2,
        curve=_curve(results),
        samples=entries(results.get("samples")),
        cuts=cut_rows(results.get("cuts")),
        speed=mapping(results.get("speed")),
        speed_rows=_speed_rows(mapping(results.get("speed"))),
        shape=[(key.replace("_", " "), value) for key, value in mapping(about["model"].get("shape")).items()],
        split_rows=[
            (split, (one.get("projects"), one.get("documents"), si(one.get("bytes"), "B")))
            for split, one in named(mapping(results.get("corpus")).get("splits")).items()
        ],
        files=[
            (file, (si(count, "B"),)) for file, count in mapping(mapping(results.get("export")).get("files")).items()
        ],
        machine=list(mapping(results.get("machine")).items()),
    )


def about_conversion(results: Mapping[str, Any]) -> dict[str, Any]:
    """What each page that tells of a conversion says of it: its title, the model, the cost, and the sources of text.

    results: of the conversion.
    """
    model = mapping(results.get("model"))
    name = PurePath(called(model.get("given"))).name or "a model"
    sources = mapping(mapping(results.get("corpus")).get("sources"))
    return {
        "title": f"{name} reads and writes raw bytes",
        "name": name,
        "model": model,
        "cost": mapping(results.get("cost")),
        "sources": [f"{source} ({si(count, 'B')})" for source, count in sources.items()],
    }


def _speed_rows(speed: Mapping[str, Any]) -> list[tuple[str, tuple[object, ...]]]:
    """What each side writes a second, over tokens and in a pass; nothing of a side that was not measured."""
    sides = {"its tokens": "tokens", "bytes, one by one": "plain", "bytes, guessed by its heads": "heads"}
    found = [(name, mapping(speed.get(side))) for name, side in sides.items()]
    keys = (("bytes_per_second", 1), ("over_tokens", 2), ("bytes_per_pass", 2))
    return [(name, tuple(fixed(one.get(key), digits) for key, digits in keys)) for name, one in found if one]


def _curve(results: Mapping[str, Any]) -> Picture:
    """Bits per byte over the positions trained on, the ceiling, and PPMd for scale."""
    curve = results.get("curve")
    raw, tokens = (points(curve, "positions", key) for key in ("raw_bpb", "token_bpb"))
    ceiling = number(mapping(results.get("before")).get("token_bpb"))
    largest = max([*raw[0], *tokens[0], 0.0])
    unit, word = next(((size, word) for size, word in _PREFIXES if largest >= 2 * size), (1.0, ""))
    lines = [
        Line(f"{label} {y[-1]:.2f}", colour, [one / unit for one in x], y)
        for label, colour, (x, y) in (("raw bytes", _RAW, raw), ("its tokens", _TOKENS, tokens))
        if x
    ]
    ppmd = number(mapping(results.get("compressors")).get("ppmd"))
    found = [(name, level) for name, level in (("ceiling", ceiling), ("PPMd", ppmd)) if level is not None]
    levels = [Level(f"{name} {level:.2f}", level) for name, level in found] if lines else []
    x_label = "positions trained on" + (f" ({word})" if word else "")
    return line_plots.curves("bits per byte positions", lines, levels, x_label, "bits per byte", _HIDDEN_START)
