"""What all pages share: templates in which everything is escaped, pictures that can be taken away, the file itself.

A page is one file without anything from a network, in light and dark, wide and narrow. It has no script, but on pages
of runs that of `templates/page.js`, which its policy allows by a hash. Its template extends `frame.html`. Foreign text
passes through `seen` and then through jinja2's autoescape. `seen` replaces characters that no page can hold or that
would turn the text around them, and shows a dash where a value is missing.
"""

import csv
import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup, escape

import byteproxy
from byteproxy.evaluate.amounts import sized, timed
from byteproxy.files import ensure_ours, write_aside
from byteproxy.finite import finite
from byteproxy.study.units import DASH, fixed, number, percent, rate, scientific, si, signed, took

HUES = 8
"""Colours that can be told apart: --hue0 to --hue7. Of more series only so many are coloured at a time."""
SHAPES = ("disc", "square", "triangle", "diamond")
"""Shapes of the marks of series 0 to 7, 8 to 15 and so on."""
LIGHT = {
    **{"--page": "#ffffff", "--ink": "#1c1f24", "--muted": "#5f6772", "--grid": "#e6e8eb", "--card": "#f5f6f8"},
    **{"--accent": "#0069b4", "--hue0": "#0069b4", "--hue1": "#cc4e08", "--hue2": "#00855f", "--hue3": "#a5438a"},
    **{"--hue4": "#866600", "--hue5": "#3a8fc7", "--hue6": "#7a3b1d", "--hue7": "#6a3fc0"},
}
DARK = {
    **{"--page": "#14171b", "--ink": "#e6e8eb", "--muted": "#9aa3ae", "--grid": "#2b3037", "--card": "#1c2026"},
    **{"--accent": "#5ab4f0", "--hue0": "#5ab4f0", "--hue1": "#ff8f52", "--hue2": "#3ccf9f", "--hue3": "#e58cc4"},
    **{"--hue4": "#e3b93b", "--hue5": "#a9dcf8", "--hue6": "#cf9a7d", "--hue7": "#b39dff"},
}
TYPE_PX, MIN_PX = 12.0, 11.0
"""The size of letters in our pictures, and the least at which they are seen."""
_LARGEST = 1.3  # times the size that a picture was drawn for

_TURNING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF)
UNSEEN: Mapping[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10)},
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in _TURNING},
    127: 0x2421,
}
"""What stands for characters that no page can hold, or that would turn the text around them: pictures and escapes."""


class Picture(NamedTuple):
    """A picture, and what it takes to take it away.

    svg: an inline `<svg>` in the page's colours; "" where there is nothing to draw. file: the name of what is taken
    away, without a suffix. columns, rows: the numbers behind it. narrow: another drawing for narrow screens, if any.
    """

    svg: str
    file: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    narrow: str = ""

    @property
    def links(self) -> list[tuple[str, str, str]]:
        """Name, kind and content, as an address that holds it, of each file that the picture can be taken away as."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", self.file).strip("-") or "figure"
        kinds = (("svg", "image/svg+xml", standalone(self.svg)), ("csv", "text/csv", as_csv(self.columns, self.rows)))
        return [
            (f"{stem}.{suffix}", suffix.upper(), f"data:{kind};base64,{b64encode(_encoded(content)).decode()}")
            for suffix, kind, content in kinds
        ]


def render(template: str, **values: Any) -> str:
    """A page from its template. values: what the template asks for; text is escaped, Markup is HTML already."""
    return _ENVIRONMENT.get_template(template).render(values, version=byteproxy.__version__)


def write_page(page: str, path: Path) -> None:
    """Write a page whole or not at all; its folder is made.

    Raises InputError if that can't be, or if something else than a page stands there.
    """
    ensure_ours(path, "page", (b"<!DOCTYPE html>", b"<!doctype html>"))
    write_aside(path, _encoded(page))


def _encoded(content: str) -> bytes:
    return content.encode("utf-8", "replace")


def seen(value: object) -> object:
    """A value as a page shows it, not escaped yet: lone surrogates become "?", what is missing or not finite a dash."""
    if isinstance(value, Markup):
        return value
    if (
        value is None
        or isinstance(value, ChainableUndefined)
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return DASH
    return _encoded(str(value).replace("\r\n", "\n")).decode().translate(UNSEEN)


def wrapped(value: object) -> Markup:
    """A name, with places where a line may break: behind what joins its words."""
    parts = re.split(r"(?<=[^\W_])([-_/.,:=@+]+)(?=[^\W_])", str(seen(value)))
    ends = [Markup("<wbr>") if at % 2 else "" for at in range(len(parts))]
    return Markup("").join(escape(part) + end for part, end in zip(parts, ends, strict=True))


def plural(count: int, noun: str) -> str:
    """1, view as "1 view", 2 as "2 views"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[object]) -> Markup:
    """ "a, b and c", each escaped."""
    items = [escape(seen(name)) for name in names]
    return Markup(", ").join(items[:-1]) + (" and " if len(items) > 1 else "") + Markup("").join(items[-1:])


def shape(series: int) -> str:
    """The shape of a series' mark."""
    return SHAPES[series // HUES % len(SHAPES)]


def standalone(svg: str) -> str:
    """An inline picture as an SVG file: the light colours on white, whatever shows it."""
    svg = re.sub(r"var\(--arm(\d+)\)", lambda found: _light_hue(int(found[1])), svg)
    for variable, colour in LIGHT.items():
        svg = svg.replace(f"var({variable})", colour)
    opening, inside = svg[: svg.find(">")], svg[svg.find(">") + 1 :]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    size = f' width="{box[1]}" height="{box[2]}"' if box else ""
    return (
        f'{opening} xmlns="http://www.w3.org/2000/svg"{size} font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{inside}\n'
    )


def _light_hue(series: int) -> str:
    return LIGHT[f"--hue{series}" if series < HUES else "--muted"]


def _bounded(svg: str) -> Markup:
    """The same with bounds of its width, so that its letters are neither too small nor huge."""
    box = re.match(r'<svg [^>]*viewBox="0 0 ([\d.]+) ', svg)
    least, most = (float(box[1]) * MIN_PX / TYPE_PX, float(box[1]) * _LARGEST) if box else (0.0, 0.0)
    return Markup(svg.replace("<svg ", f'<svg style="min-width:{math.ceil(least)}px;max-width:{most:.0f}px" ', 1))


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; a word that a spreadsheet would take for a formula gets an apostrophe before it."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
            for cell in row
        )
    return written.getvalue()


def _as_json(results: object) -> str:
    return json.dumps(finite(results), indent=1, default=str)


def _variables(colours: Mapping[str, str]) -> Markup:
    return Markup("".join(f"{variable}: {colour}; " for variable, colour in colours.items()))


def rivals(count: int) -> list[list[int]]:
    """The series that share a hue, for each shared hue of so many series: one of them has it at a time."""
    return [list(range(hue, count, HUES)) for hue in range(HUES) if hue + HUES < count]


_SCRIPT = (files("byteproxy.report") / "templates" / "page.js").read_text("utf-8")
_ALLOWED = b64encode(sha256(_SCRIPT.encode()).digest()).decode()  # by this alone may a script of a page run
_ENVIRONMENT = Environment(
    loader=PackageLoader("byteproxy.report"),
    autoescape=True,
    finalize=seen,
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS = (fixed, listed, number, plural, rate, scientific, shape, si, signed, sized, timed, took, wrapped)
_ENVIRONMENT.filters.update({one.__name__: one for one in _FILTERS})
_ENVIRONMENT.filters.update(share=percent, bounded=_bounded, as_json=_as_json, variables=_variables)
_ENVIRONMENT.globals.update(
    LIGHT=LIGHT, DARK=DARK, HUES=HUES, DASH=DASH, rivals=rivals, SCRIPT=Markup(_SCRIPT), SCRIPT_SHA256=_ALLOWED
)
