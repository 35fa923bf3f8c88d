"""What people read: the one place that everything printed passes through.

Names, ids, texts and messages come from files that others wrote, and a terminal obeys what it is sent. So every
character that could steer one is shown as an escape instead (`escaped`, `one_line`), nothing is read as markup, and a
terminal that can't show a character gets a substitute. stdout and stderr are written to here, in `cli/output.py` and,
for the bytes of an answer, in `cli/answer.py`; a test looks for any other place.
"""

import codecs
import re
import sys
import threading
from collections.abc import Iterable
from typing import Any, TextIO

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Span, Text

_STEERS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Controls of C0 and C1 (less tab and newline), what turns the direction of writing, other line ends, surrogates."""
_STEERING = re.compile(f"[{_STEERS}]")
_BREAKING = re.compile(f"[{_STEERS}\t\n]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escaped(text: object) -> str:
    """A text that changes nothing on a terminal but the characters shown; lines and tabs stay."""
    return _STEERING.sub(_escape, str(text))


def one_line(text: object) -> str:
    """The same on a single line: newlines and tabs are escaped, too."""
    return _BREAKING.sub(_escape, str(text))


def _escape(found: "re.Match[str]") -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that isn't UTF-8, as Python holds it
        return f"\\x{code - 0xDC00:02x}"
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class Console(rich.console.Console):
    """A console that escapes what it is given and reads no markup in it; layout sees the escaped text.

    json: people read stderr, since stdout is for programs.
    """

    def __init__(self, json: bool = False, **options: Any) -> None:
        super().__init__(**{"stderr": json, "markup": False, "emoji": False, "highlight": False, **options})

    def say(self, *lines: object) -> None:
        """Print lines, each of them one whatever is in it, and none of them wrapped."""
        for line in lines:
            self.print(Text(one_line(line)), soft_wrap=True)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*map(_safe, objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **{**options, "markup": False, "emoji": False, "highlight": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and _STEERING.search(segment.text):
                segment = Segment(escaped(segment.text), segment.style)
            yield segment


def _safe(value: Any) -> Any:
    """What measures itself before it is rendered, escaped beforehand: texts, and the cells of tables, a line each."""
    if isinstance(value, Text):
        return _safe_text(value, _STEERING)
    if isinstance(value, Table):
        value.title, value.caption = _safe(value.title), _safe(value.caption)
        for column in value.columns:
            column.header, column.footer = _safe(column.header), _safe(column.footer)
            column._cells = [_safe_cell(cell) for cell in column._cells]
    return value


def _safe_cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return one_line(cell)
    return _safe_text(cell, _BREAKING) if isinstance(cell, Text) else cell


def _safe_text(text: Text, pattern: "re.Pattern[str]") -> Text:
    """A text with its styles where its characters are after escaping."""
    plain = text.plain
    if not pattern.search(plain):
        return text
    parts = [_escape(found) if (found := pattern.match(one)) else one for one in plain]
    at = [0]
    for part in parts:
        at.append(at[-1] + len(part))
    copy = text.copy()
    copy.plain = "".join(parts)
    copy.spans = [Span(at[span.start], at[min(span.end, len(plain))], span.style) for span in text.spans]
    return copy


STDERR = Console(json=True)
"""Where progress and what happens meanwhile is told; a line said here stands above a bar that is being drawn."""
_SAID = threading.Lock()


def say(line: object) -> None:
    """One line to people, at once: on stderr, above the progress that is shown.

    A log on a full disk loses lines, and stops no work. Raises BrokenPipeError where nobody reads any more.
    """
    with _SAID:
        try:
            STDERR.say(line)
            STDERR.file.flush()
        except BrokenPipeError:
            raise
        except OSError:
            pass


_SUBSTITUTES = {
    **dict.fromkeys("█▉▊▋", "#"),
    **dict.fromkeys("▌▍▎▏━╸╺─", "-"),
    **dict.fromkeys("│┃┆┊", "|"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("–—−", "-"),
    **dict.fromkeys("·•", "*"),
    "…": "...",
    "→": "->",
    "×": "x",
    "±": "+-",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
}


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_SUBSTITUTES.get(one, "?") for one in error.object[error.start : error.end]), error.end


codecs.register_error("byteproxy.substitute", _substitute)


def take_any_text(*streams: TextIO) -> None:
    """Let streams take characters that their encoding lacks: what looks most alike, or a question mark."""
    for stream in streams or (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="byteproxy.substitute")
