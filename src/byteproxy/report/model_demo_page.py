"""The page of the demo with a model: what it reads and writes now, beside its tokens and a model from scratch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteproxy.report import line_plots
from byteproxy.report.conversion_page import about_conversion
from byteproxy.report.cut_rows import cut_rows
from byteproxy.report.lenient import called, entries, mapping, points
from byteproxy.report.line_plots import Level, Line
from byteproxy.report.page import Picture, render, write_page
from byteproxy.study.units import fixed, number, percent, scientific, si, took

_MODEL, _SCRATCH = 0, 1
"""The series' numbers, which decide their colours."""
_HIDDEN_START = 0.15  # of the curve: raw bytes begin at about 7 bits, which would flatten all that follows


def write_model_demo_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy demo --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(model_demo_page(results), path)


def model_demo_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    conversion, scratch = mapping(results.get("conversion")), mapping(results.get("scratch"))
    about = about_conversion(conversion)
    found = mapping(results.get("convert"))
    spent = [value for key in ("flops", "scratch_flops") if (value := number(found.get(key)))]
    return render(
        "model_demo.html",
        **about,
        made_by=called(results.get("byteproxy")),
        results=results,
        convert=found,
        validation=mapping(conversion.get("validation")),
        series=2,
        pictures=[_curves(results, spent) for spent in ("flops", "seconds")],
        rows=_rows(found, about["cost"], scratch, about["model"]),
        apart=percent(max(spent) / min(spent) - 1) if len(spent) > 1 else "",
        cuts=cut_rows(results.get("cuts")),
        samples=entries(results.get("samples")),
        export=mapping(conversion.get("export")),
        files=list(mapping(mapping(conversion.get("export")).get("files"))),
        machine=list(mapping(results.get("machine")).items()),
    )


def _rows(
    found: Mapping[str, Any], cost: Mapping[str, Any], scratch: Mapping[str, Any], model: Mapping[str, Any]
) -> list[tuple[str, int | None, tuple[str, ...]]]:
    """A name, the series that it is, and its cells, for each way in which the text was read."""
    none = ("",) * 5
    text = mapping(cost.get("text_bytes"))
    shown = [value for value in map(number, text.values()) if value is not None]
    return [
        ("its own tokens, before: the ceiling", None, (fixed(found.get("token_bpb"), 3), *none)),
        ("raw bytes, before", None, (fixed(found.get("raw_bpb_before"), 3), *none)),
        (
            "raw bytes, after",
            _MODEL,
            (
                fixed(found.get("raw_bpb_after"), 3),
                scientific(found.get("flops")),
                si(found.get("positions")),
                si(sum(shown) if shown else None, "B"),
                took(found.get("seconds")),
                si(cost.get("exported_parameters")),
            ),
        ),
        ("  its tokens, after", None, (fixed(found.get("token_bpb_after"), 3), *none)),
        (
            "raw bytes, from scratch",
            _SCRATCH,
            (
                fixed(found.get("scratch_raw_bpb"), 3),
                scientific(found.get("scratch_flops")),
                si(found.get("scratch_positions")),
                si(scratch.get("text_bytes_seen"), "B"),
                took(found.get("scratch_seconds")),
                si(scratch.get("parameters")),
            ),
        ),
    ]


def _curves(results: Mapping[str, Any], spent: str) -> tuple[str, Picture]:
    """Raw bits per byte of both over what was spent, with the ceiling."""
    curves = (
        ("raw bytes", _MODEL, mapping(results.get("conversion")).get("curve")),
        ("from scratch", _SCRATCH, mapping(results.get("scratch")).get("validation")),
    )
    lines = []
    for label, colour, curve in curves:
        x, y = points(curve, spent, "raw_bpb")
        lines.append(Line(f"{label} {y[-1]:.2f}" if y else "", colour, x, y))
    ceiling = number(mapping(results.get("convert")).get("token_bpb"))
    levels = [Level(f"ceiling {ceiling:.2f}", ceiling)] if ceiling is not None else []
    picture = line_plots.over(spent, "Raw bytes", lines, levels, "raw bits per byte", _HIDDEN_START)
    return f"Raw bits per byte over {line_plots.SPENT[spent]}", picture
