"""The frame of our pages: one file, no script, nothing from a network, light and dark, wide and narrow.

A picture stands in a box of its own (`figure`), never so small that its letters can't be read, with links under it that
hold the same picture as an SVG file and its numbers as CSV. Series are told apart by colour, and from the ninth on by
shape and dashes as well (`swatch`, `SHAPES`).
"""

import csv
import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from byteproxy.files import ensure_ours, write_aside
from byteproxy.finite import finite

PALETTE = 8
"""Colours of series that the page defines: --arm0 to --arm7."""
SHAPES = ("disc", "square", "triangle", "diamond")
"""Of the marks of series 0 to 7, 8 to 15 and so on."""
LIGHT = {
    **{"--page": "#ffffff", "--ink": "#1c1f24", "--muted": "#5f6772", "--grid": "#e6e8eb", "--card": "#f5f6f8"},
    **{"--accent": "#0069b4", "--arm0": "#0069b4", "--arm1": "#cc4e08", "--arm2": "#00855f", "--arm3": "#a5438a"},
    **{"--arm4": "#866600", "--arm5": "#3a8fc7", "--arm6": "#7a3b1d", "--arm7": "#5a5a66"},
}
DARK = {
    **{"--page": "#14171b", "--ink": "#e6e8eb", "--muted": "#9aa3ae", "--grid": "#2b3037", "--card": "#1c2026"},
    **{"--accent": "#5ab4f0", "--arm0": "#5ab4f0", "--arm1": "#ff8f52", "--arm2": "#3ccf9f", "--arm3": "#e58cc4"},
    **{"--arm4": "#e3b93b", "--arm5": "#a9dcf8", "--arm6": "#cf9a7d", "--arm7": "#b9b9c4"},
}
TYPE_PX, LEAST_PX = 12.0, 11.0
"""The size of letters in our pictures, and the least at which they are seen."""
_LARGEST = 1.3  # times the size that a picture was drawn for


def framed(title: str, body: Iterable[str], style: str = "") -> str:
    """A page. title: plain text; body: HTML of the parts; style: CSS beside the frame's own."""
    return _PAGE.format(title=text(title), style=_STYLE + style, body="\n".join(body))


_TURNING = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF)
UNSEEN: Mapping[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10)},
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in _TURNING},
    127: 0x2421,
}
"""What stands for characters that no page can hold, or that would turn the text around them: pictures and escapes."""


def text(value: object) -> str:
    """Escaped for HTML, attributes included, and what can't be seen by what stands for it (`UNSEEN`).

    Lone surrogates, as file names may have them, become "?".
    """
    return escape(str(value).replace("\r\n", "\n").encode("utf-8", "replace").decode().translate(UNSEEN))


def wrapped(value: object) -> str:
    """A name, escaped, with places where a line may break: behind what joins its words."""
    return re.sub(r"(?<=[^\W_])([-_/.,:=@+]+)(?=[^\W_])", r"\1<wbr>", text(value))


def plural(count: int, noun: str) -> str:
    """1, view as "1 view", 2 as "2 views"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shape(series: int) -> str:
    """The shape of a series' mark."""
    return SHAPES[series // PALETTE % len(SHAPES)]


def swatch(series: int | None) -> str:
    """The mark of a series in a table or a legend; room for one if there is no series."""
    if series is None:
        return "<i class=swatch></i>"
    return f'<i class="swatch {shape(series)}" style="background:var(--arm{series % PALETTE})"></i>'


def figure(
    caption: str, svg: str, file: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = ""
) -> str:
    """A picture with links that take it away. caption, note: HTML; svg: an inline `<svg>` in the page's colours.

    file: the name of what is taken away, without a suffix. columns, rows: the numbers behind it.
    """
    heading = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f"<figure>{heading}<div class=plot tabindex=0>{_readable(svg)}</div>"
        f"{f'<p class=note>{note}</p>' if note else ''}{take_away(standalone(svg), file, columns, rows)}</figure>"
    )


def take_away(svg: str, file: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Links that hold a picture and its numbers as files. svg: a whole file; file: its name without a suffix."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", file).strip("-") or "figure"
    links = []
    for suffix, kind, content in (("svg", "image/svg+xml", svg), ("csv", "text/csv", as_csv(columns, rows))):
        held = b64encode(content.encode("utf-8", "replace")).decode()
        links.append(
            f'<a download="{stem}.{suffix}" href="data:{kind};base64,{held}" aria-label="{stem} as {suffix.upper()}">'
            f"{suffix.upper()}</a>"
        )
    return f"<p class=take>{' '.join(links)}</p>"


def _readable(svg: str) -> str:
    """The same with bounds of its width, so that its letters are neither too small nor huge."""
    box = re.match(r'<svg [^>]*viewBox="0 0 ([\d.]+) ', svg)
    if box is None:
        return svg
    least, most = float(box[1]) * LEAST_PX / TYPE_PX, float(box[1]) * _LARGEST
    return svg.replace("<svg ", f'<svg style="min-width:{math.ceil(least)}px;max-width:{most:.0f}px" ', 1)


def standalone(svg: str) -> str:
    """An inline picture as an SVG file: the light colours on white, whatever shows it."""
    for variable, colour in LIGHT.items():
        svg = svg.replace(f"var({variable})", colour)
    opening, inside = svg[: svg.find(">")], svg[svg.find(">") + 1 :]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
    size = f' width="{box[1]}" height="{box[2]}"' if box else ""
    return (
        f'{opening} xmlns="http://www.w3.org/2000/svg"{size} font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{inside}\n'
    )


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


def table(first: str, columns: Iterable[tuple[str, str]], rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A table that scrolls in a box of its own. columns: (heading, unit); rows: (heading, cells); all of it HTML."""
    heads = "".join(f"<th scope=col>{heading}<br>{unit}</th>" for heading, unit in columns)
    lines = "".join(
        f"<tr><th scope=row>{heading}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for heading, cells in rows
    )
    return (
        f"<div class=scroll tabindex=0><table><thead><tr><th scope=col>{first}</th>{heads}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def json_details(results: Mapping[str, object]) -> str:
    """All results as valid JSON, folded away."""
    held = escape(json.dumps(finite(results), indent=1, default=str))
    return f"<section><details><summary>All figures as JSON</summary><pre class=json>{held}</pre></details></section>"


def write_page(page: str, path: Path) -> None:
    """Write a page whole or not at all; its folder is made.

    Raises InputError if that can't be, or if something else than a page stands there.
    """
    ensure_ours(path, "page", (b"<!DOCTYPE html>", b"<!doctype html>"))
    write_aside(path, page.encode("utf-8", "replace"))


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>byteproxy: {title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"{variable}: {colour}; " for variable, colour in colours.items())


_STYLE = (
    f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)}}}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)}}} }}
@media print {{ :root {{ color-scheme: light; {_variables(LIGHT)}}} .take {{ display: none; }} }}
"""
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.15; margin: 0 0 .6em; letter-spacing: -.015em;
  overflow-wrap: break-word; }
h2 { font-size: 1.25rem; margin: 2.2em 0 .7em; letter-spacing: -.01em; }
p { margin: 0 0 1em; max-width: 74ch; overflow-wrap: break-word; }
a { color: var(--accent); }
code { font: .9em ui-monospace, monospace; }
.kicker { color: var(--muted); font-size: .85rem; margin: 0 0 .4em; }
.note { color: var(--muted); font-size: .85rem; line-height: 1.45; max-width: 100ch; margin: .8em 0 1.6em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5em 0 .5em 1.4em; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: var(--page); }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem; line-height: 1.25; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody th:first-child { white-space: normal; min-width: 9.5em; max-width: 16em; overflow-wrap: break-word; }
.swatch { display: inline-block; width: .7em; height: .7em; margin-right: .55em; }
.disc { border-radius: 50%; } .triangle { clip-path: polygon(50% 0, 100% 100%, 0 100%); }
.diamond { clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
figure { margin: 0; min-width: 0; max-width: 560px; }
.plot { overflow-x: auto; }
.take { margin: .3em 0 0; font-size: .78rem; color: var(--muted); }
.take a { color: inherit; margin-right: .6em; }
figcaption { font-weight: 600; margin-bottom: .6em; }
figure svg { display: block; width: 100%; height: auto; }
pre { margin: 0; padding: 1em 1.2em; overflow: auto; background: var(--card); border-radius: 6px;
  font: .85rem/1.5 ui-monospace, monospace; tab-size: 4; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35em 1.4em; margin: 0; font-size: .9rem; }
dt { color: var(--muted); }
dd { margin: 0; max-width: 80ch; overflow-wrap: break-word; }
summary { cursor: pointer; font-weight: 600; }
.json { margin-top: 1em; max-height: 70vh; font-size: .75rem; }
@media (max-width: 760px) { main { padding: 24px 14px 48px; } dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .8em; } }
"""
)
