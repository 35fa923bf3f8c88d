"""Refuse field names that no record has: a typo would silently make every document a project of its own.

For a table, the columns decide. For lines of JSON, the beginning of every file is read, up to the first record that
has the named field, which is mostly the first record. If no record has it, reading stops after so much text of all
files that a wrong name is found within seconds. A field that comes later can be marked as optional.

The same holds for the text, under any of its names: without a text there is no document.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as parts_of
from typing import Any

from byteproxy.corpus.fields import INEXACT, MISSING, Fields, did_you_mean, looked_up, shown
from byteproxy.corpus.json_record import TYPE_NAMES, values_of
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.records import Record, Rules
from byteproxy.errors import InputError

FIRST_BYTES = 1 << 16
"""Bytes of lines of each file that are read first."""
MAX_BYTES = 1 << 28
"""Bytes of lines of all files together that are read if those didn't have the field."""


def refuse_absent(
    source: str,
    lines: Sequence[JsonlUnit],
    columns: Collection[str],
    fields: Fields,
    optional: Iterable[str] = (),
) -> None:
    """Raise InputError if no record of a source has what was named for a part of its documents.

    lines: its files of JSON. columns: the names of columns of its tables. optional: parts that may be absent.
    """
    seen = _Seen(columns)
    wanted = [part for part in ("id", "project", "language") if fields.on_purpose(part) and part not in optional]
    wanted = ["text", *wanted] if lines else wanted  # a table without text is refused by itself
    wanted = [part for part in wanted if seen.names.keys().isdisjoint(getattr(fields, part))]
    if not lines and wanted:
        raise InputError(_absent(source, wanted[0], getattr(fields, wanted[0]), seen))
    for most in (FIRST_BYTES, max(FIRST_BYTES, MAX_BYTES // max(1, len(lines)))):
        if not wanted:
            return
        seen = _Seen(columns)
        for value in seen.objects(lines, most):
            wanted = [part for part in wanted if not seen.has(value, part, getattr(fields, part))]
            if not wanted:
                return
        if seen.everything:
            break
    if seen.records:
        raise InputError(_absent(source, wanted[0], getattr(fields, wanted[0]), seen))


@dataclass(frozen=True)
class _Lines(JsonlUnit):
    """A file whose records aren't made: what each line holds is put aside, with its length."""

    held: list[tuple[list[object], int]] = field(default_factory=list)

    def _records(self, number: int, line: bytes, rules: Rules) -> Iterable[Record]:
        self.held.append((values_of(line), len(line)))
        yield Record(number, self.file, number, None)


class _Seen:
    """What was seen of records: how many, the names of their fields, and what is under a name but of no use."""

    def __init__(self, columns: Collection[str]) -> None:
        self.names = dict.fromkeys(columns)
        self.records, self.everything = 0, True
        self.useless: dict[str, str] = {}

    def objects(self, lines: Sequence[JsonlUnit], most: int) -> Iterator[dict[str, Any]]:
        """The objects of each file, as far as so many bytes of its lines."""
        for unit in lines:
            size = 0
            looking = _Lines(**{part.name: getattr(unit, part.name) for part in parts_of(unit)})
            for _ in looking.read(Rules()):
                for values, length in looking.held:
                    size += length
                    for value in values:
                        if isinstance(value, dict):
                            self.records += 1
                            self.names |= dict.fromkeys(_names(value, ""))
                            yield value
                looking.held.clear()
                if size >= most:
                    self.everything = False
                    break

    def has(self, value: dict[str, Any], part: str, names: Sequence[str]) -> bool:
        """Whether an object has something under one of the names; nothing counts too, but not what names nothing."""
        for name in names:
            found = looked_up(value, name, MISSING)
            if found is MISSING:
                continue
            kind = "fraction" if isinstance(found, float) and abs(found) < INEXACT else TYPE_NAMES.get(type(found))
            if part == "text" or kind in (None, "null", "string"):
                return True
            self.useless[name] = str(kind)
        return False


def _names(value: dict[str, Any], before: str) -> Iterator[str]:
    for name, inner in value.items():
        yield before + name
        if isinstance(inner, dict) and before.count(".") < 2:
            yield from _names(inner, f"{before}{name}.")


def _absent(source: str, part: str, names: Sequence[str], seen: _Seen) -> str:
    there = [name for name in seen.names if name not in seen.useless]
    asked = [shown([name]) for name in names]
    useless = next((name for name in names if name in seen.useless), None)
    if useless is not None:
        what = f"{shown([useless])} is {seen.useless[useless]}, neither string nor whole number"
    elif seen.everything:
        what = f"no record has a field {' or '.join(asked)}"
    else:
        what = f"none of the first {seen.records:,} records of its files has a field {' or '.join(asked)}"
    later = "" if seen.everything else f", or say by {part}={'|'.join(asked)}| that it comes later"
    hint = did_you_mean(part, names, there)
    listed = f"{hint} There are" if hint else "; there are"
    return f"source {source}: {what}: name another by {part}={later}{listed} {shown(there)}"
