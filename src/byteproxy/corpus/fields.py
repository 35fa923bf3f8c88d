"""The fields of a record (a line of JSON, a row of a table) that make up its document.

Each part of a document may have several candidate names, tried in order. The text is the first field that exists,
whatever it holds. For the other parts, the first usable value counts: a non-empty string or a whole number.

A name with dots ("metadata.repo") leads into a nested field, unless a field has exactly that name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import Record, Rules, judged
from byteproxy.corpus.source_spec import quoted

MISSING: Final = object()
INEXACT = 2.0**63
"""From here on a reader of JSON may make a whole number a float."""

SHOWN = 20
LIKE = 0.6
RAW_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Fields:
    """The names that a document's parts are looked for under.

    id: without one, a document's id is "file:line", and "file:line.2" of the second in a line.
    project: without one, a document is a project of its own.
    language: in the document it is in small letters.
    """

    text: tuple[str, ...] = ("text", "content")
    id: tuple[str, ...] = ("id",)
    project: tuple[str, ...] = ("project", "repo_name", "repo")
    language: tuple[str, ...] = ("language", "lang")

    def on_purpose(self, part: str) -> bool:
        """Whether somebody named the fields that a part is looked for in."""
        return bool(getattr(self, part) != getattr(Fields, part))

    @cached_property
    def naming(self) -> tuple[str, ...]:
        """The names of all but the text."""
        return (*self.id, *self.project, *self.language)

    @cached_property
    def nested(self) -> bool:
        """Whether any name may be that of a field inside another."""
        return any("." in name for name in (*self.text, *self.naming))


def looked_up(record: Mapping[str, Any], name: str, absent: object = None) -> Any:
    """Look a name up in a record: a field, or nested fields with dots between them.

    The field whose name is longest wins; `absent` where there is none.
    """
    if name in record:
        return record[name]
    at = name.rfind(".")
    while at >= 0:
        outer = record.get(name[:at])
        if isinstance(outer, dict) and (found := looked_up(outer, name[at + 1 :], MISSING)) is not MISSING:
            return found
        at = name.rfind(".", 0, at)
    return absent


def shown(names: Sequence[str]) -> str:
    """Names for people, as options take them: the first of them, with what isn't Unicode in them escaped."""
    said = [RAW_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", quoted(name)) for name in names[:SHOWN]]
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join(name.encode("utf-8", "backslashreplace").decode() for name in said + more) or "none"


def did_you_mean(part: str, wanted: Sequence[str], names: Sequence[str]) -> str:
    """The option with the name that is most like those that were wanted; "" where none is."""
    for name in ("|".join(wanted), *wanted):
        for like in get_close_matches(name, names, 1, LIKE):
            return f"; did you mean {part}={shown([like])}?"
    return ""


class InexactNumberError(ValueError):
    """A number that may have been whole, and was too large to be read exactly."""


def usable(values: Iterable[object]) -> str:
    """The first value that can name something, as text; "" if there is none.

    Raises InexactNumberError if it may be a float that such a value was turned into.
    """
    for value in values:
        if value is None:
            continue
        if isinstance(value, str):
            if value:
                return value
        elif isinstance(value, (int, Decimal)):
            if value is not True and value is not False:
                return str(value)
        elif isinstance(value, float) and abs(value) >= INEXACT:
            raise InexactNumberError
    return ""


def record_of(
    text: bytes,
    source: str,
    file: str,
    line: int,
    rules: Rules,
    id: str = "",
    project: str = "",
    language: str = "",
    place: int = 0,
) -> Record:
    """The record of a line or row (that is its place in the unit too), by the rules; what is empty gets its default.

    place: of the record in its line, from 1; 0 where it is the only one.
    """
    kept, reason, detail = judged(text, rules)
    if kept is None:
        return Record(line, file, line, None, reason, detail)
    id = id or (f"{file}:{line}" if place < 2 else f"{file}:{line}.{place}")
    return Record(line, file, line, Document(id, kept, source, project or id, language.lower()))
