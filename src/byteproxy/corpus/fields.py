"""Which fields of a record (a line of JSON, a row of a table) make up its document.

Each thing may be looked for under several names, in order. For the text, the first name that is there counts, whatever
it holds; for the others, the first that holds something usable: a string that isn't empty, or a whole number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from byteproxy.corpus.document import Document
from byteproxy.corpus.reading import Record, Rules, judged


@dataclass(frozen=True)
class Fields:
    """The names that a document's parts are looked for under.

    id: without one, a document's id is "file:line".
    project: without one, a document is a project of its own.
    language: in the document it is in small letters.
    """

    text: tuple[str, ...] = ("text", "content")
    id: tuple[str, ...] = ("id",)
    project: tuple[str, ...] = ("project", "repo_name", "repo")
    language: tuple[str, ...] = ("language", "lang")


def usable(values: Iterable[object]) -> str:
    """The first value that can name something, as text; "" if there is none."""
    for value in values:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def record_of(
    text: bytes, source: str, file: str, line: int, rules: Rules, id: str = "", project: str = "", language: str = ""
) -> Record:
    """The record of a line or row (they are its place too), by the rules; parts that are empty get their defaults."""
    kept, reason, detail = judged(text, rules)
    if kept is None:
        return Record(line, file, line, None, reason, detail)
    id = id or f"{file}:{line}"
    return Record(line, file, line, Document(id, kept, source, project or id, language.lower()))
