"""Everything printed passes through one gate: no text can steer a terminal, and any text can be printed anywhere."""

import ast
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import box
from rich.table import Table
from rich.text import Text

import byteproxy
from byteproxy.console import Console, escaped, one_line, take_any_text

SOURCE = Path(byteproxy.__file__).parent
ANYTHING = st.text(st.characters(codec=None), max_size=40) | st.text(
    st.sampled_from("a文\x1b\x07\x9b\u202e\u2069\u2028\udcff\ud800\r\n\t\x00[]/\\😀"), max_size=12
)
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def steers(character):
    """By the Unicode database, which the gate doesn't ask."""
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in DIRECTIONS


def printed(*things, width=200, **options):
    people = Console(file=io.StringIO(), width=width, **options)
    for one in things:
        people.print(one)
    return people.file.getvalue()


@given(ANYTHING)
def test_what_is_escaped_steers_nothing_and_stays_as_it_is(text):
    line = one_line(text)
    assert not any(map(steers, line))
    assert len(line.splitlines()) <= 1
    assert not any(steers(one) for one in escaped(text) if one not in "\n\t")
    assert escaped(text).count("\n") == text.count("\n")
    assert one_line(line) == line, "nothing is escaped twice"
    line.encode()
    if text.isprintable() and not any(map(steers, text)):
        assert line == escaped(text) == text or any(one in text for one in "\u061c\u200e\u200f")


def test_bytes_of_a_name_are_shown_as_they_were():
    assert one_line(b"caf\xe9\n".decode("utf-8", "surrogateescape")) == r"caf\xe9\n"
    assert one_line("\x1b[2J\u202e\u2028") == r"\x1b[2J\u202e\u2028"


@given(ANYTHING)
def test_no_text_gets_through_a_line_a_table_or_a_styled_text(text):
    table = Table(box=box.ASCII, title=text)
    table.add_column("name")
    table.add_column(text)
    table.add_row(text, Text(text, "bold"))
    lines = printed(table, text, Text(text, "bold red"), Text.assemble((text, "dim"), "x"), force_terminal=False)
    assert not any(steers(one) for one in lines if one not in "\n\t")
    people = Console(file=io.StringIO())
    people.say(text, "end")
    assert people.file.getvalue() == f"{one_line(text)}\nend\n"


@pytest.mark.parametrize(
    "text", ["app/[id]/page.tsx", "[/x]", "[red]x[/red]", ":smile:", "[link=http://x]y[/link]", "\\[x]"]
)
def test_nothing_is_read_as_markup(text):
    table = Table(box=box.ASCII)
    table.add_column(text)
    table.add_row(text)
    assert printed(text, Text(text), table).count(text) == 4


def test_a_row_is_a_row_whatever_its_cells_hold():
    table = Table(box=box.ASCII, show_header=False)
    table.add_row("one\ntwo\x1b]0;owned\x07", Text("a\nb", "bold"))
    lines = printed(table).splitlines()
    assert len(lines) == 3
    assert r"one\ntwo\x1b]0;owned\x07" in lines[1]
    assert len({len(line) for line in lines}) == 1, "the escaped text is what was measured"


def test_styles_stay_where_they_were():
    text = Text.assemble(("a\x1b", "red"), ("b", "blue"))
    people = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    people.print(text)
    assert people.file.getvalue() == "\x1b[31ma\\x1b\x1b[0m\x1b[34mb\x1b[0m\n"


@pytest.mark.parametrize(
    ("encoding", "errors"), [("ascii", "strict"), ("latin-1", "strict"), ("ascii", "surrogateescape")]
)
def test_any_stream_takes_any_text(encoding, errors):
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding, errors)
    take_any_text(stream)
    people = Console(file=stream, width=60)
    table = Table(box=box.SIMPLE_HEAD, title="“文” → 😀 …")
    table.add_column("project")
    table.add_row("项目\udcff")
    people.print(table)
    people.say("a × b – c\u202e█▏")
    stream.flush()
    text = held.getvalue().decode(encoding)
    assert '"?" -> ? ...' in text
    assert "??\\xff" in text
    assert "a " + ("x" if encoding == "ascii" else "×") + " b - c\\u202e#-" in text


def test_utf8_is_printed_as_it_is():
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, "utf-8", "strict")
    take_any_text(stream)
    Console(file=stream).say("文 → 😀")
    stream.flush()
    assert held.getvalue() == "文 → 😀\n".encode()


MAY_WRITE = {
    "console.py": "the gate",
    "cli/output.py": "an object of JSON, which is ASCII",
    "cli/answer.py": "the bytes of an answer, and text that it escapes",
    "cli/arguments.py": "help, which is ours",
    "cli/main.py": "help, which is ours",
    "cli/convert.py": "help, which is ours",
    "cli/train.py": "help, which is ours",
    "cli/generate.py": "the newline behind an answer",
    "interop/chat_render.py": "an object of JSON, which is ASCII, to the process that asked for it",
    "train/interrupt.py": "a line of our own words, past a buffer that the main thread may be filling",
    "train/metrics.py": "the log, which is a file",
}


PRINTS = re.compile(r"(^print|std(out|err)(\.buffer)?\.write(lines)?|rich\.console\.Console|^os\.write|from_markup)$")


def writes(tree):
    """Lines that print, make a console of rich, or write to stdout or stderr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and PRINTS.search(ast.unparse(node.func)):
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
            yield from (node.lineno for one in node.names if one.name == "Console")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_else_prints(path):
    if str(path.relative_to(SOURCE)) in MAY_WRITE:
        return
    found = list(writes(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, f"{path}, lines {found}: print with byteproxy.console, which escapes what others wrote"


def test_the_search_for_what_prints_finds_it():
    for line in (
        "print(1)",
        "import sys\nsys.stderr.write('x')",
        "from rich.console import Console",
        "Text.from_markup('x')",
    ):
        assert list(writes(ast.parse(line)))
