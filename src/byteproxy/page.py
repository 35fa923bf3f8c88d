"""The frame of our pages: one file, no script, nothing from a network, light and dark, wide and narrow."""

import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from byteproxy.files import write_aside

PALETTE = 8
"""Colours of series that the page defines: --arm0 to --arm7."""


def framed(title: str, body: Iterable[str], style: str = "") -> str:
    """A page. title: plain text; body: HTML of the parts; style: CSS beside the frame's own."""
    return _PAGE.format(title=text(title), style=_STYLE + style, body="\n".join(body))


def text(value: object) -> str:
    """Escaped for HTML, attributes included; lone surrogates, as file names may have them, become "?"."""
    return escape(str(value).encode("utf-8", "replace").decode())


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


def finite(value: object) -> object:
    """The same with None for what isn't finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_page(page: str, path: Path) -> None:
    """Write a page whole or not at all; its folder is made. Raises InputError if that can't be."""
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

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1f24; --muted: #5f6772; --grid: #e6e8eb; --card: #f5f6f8;
  --accent: #0069b4; --arm0: #0069b4; --arm1: #cc4e08; --arm2: #00855f; --arm3: #a5438a; --arm4: #866600;
  --arm5: #3a8fc7; --arm6: #7a3b1d; --arm7: #5a5a66; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e6e8eb; --muted: #9aa3ae; --grid: #2b3037;
  --card: #1c2026; --accent: #5ab4f0; --arm0: #5ab4f0; --arm1: #ff8f52; --arm2: #3ccf9f; --arm3: #e58cc4;
  --arm4: #e3b93b; --arm5: #a9dcf8; --arm6: #cf9a7d; --arm7: #b9b9c4; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.15; margin: 0 0 .6em; letter-spacing: -.015em;
  overflow-wrap: anywhere; }
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
tbody th:first-child { white-space: normal; min-width: 9.5em; max-width: 16em; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: .7em; height: .7em; margin-right: .55em; border-radius: 50%; }
figure { margin: 0; max-width: 560px; }
figcaption { font-weight: 600; margin-bottom: .6em; }
figure svg { display: block; width: 100%; height: auto; }
pre { margin: 0; padding: 1em 1.2em; overflow: auto; background: var(--card); border-radius: 6px;
  font: .85rem/1.5 ui-monospace, monospace; tab-size: 4; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35em 1.4em; margin: 0; font-size: .9rem; }
dt { color: var(--muted); }
dd { margin: 0; max-width: 80ch; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
.json { margin-top: 1em; max-height: 70vh; font-size: .75rem; }
@media (max-width: 760px) { main { padding: 24px 16px 48px; } dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .8em; } }
"""
