"""Parse a source as it is written in a shell: a path, and options behind a colon.

    pages.jsonl:text=dc:description,project=meta.repo|url
    pages.jsonl:text="body, cleaned"|"a|b",name=pages

A value extends to the next ",option=", so it may contain colons, equals signs, and commas that no option follows.
Double quotes around a value, or around one of several, keep everything inside together; "" inside them is a quote. A
backslash escapes a comma, a "|" or a quote. The path extends to the first colon that an option follows or, if that path
doesn't exist, to a later one.
"""

import os
import re
from collections.abc import Sequence
from typing import TypeAlias

from byteproxy.errors import InputError

Options: TypeAlias = dict[str, str]

WORD = r"[A-Za-z_]\w*"
QUOTED = re.compile(r'"(?:[^"]|"")*"')


def parsed(spec: str, known: Sequence[str]) -> tuple[str, Options]:
    """The path of a spec, and its options with their values as they are written.

    known: the options that there are. Raises InputError for others, or where one has no value or is given twice.
    """
    where, rest = _halves(spec, known)
    if not where:
        remedy = "give stdlib, installed, or the path of a file or a folder"
        raise InputError(f"source {spec!r} names nothing to read: {remedy}")
    options: Options = {}
    following = re.compile(rf",(?={WORD}=|(?:{'|'.join(known)})?(?:,|$))")
    for part in _cut(rest, following) if rest else ():
        option, equals, value = part.partition("=")
        if option not in known:
            quotes = "" if not options else "; a comma that is part of a value goes with it into double quotes"
            raise InputError(f"source {spec}: there is no option {option!r}; there are {', '.join(known)}{quotes}")
        if not equals or not value:
            raise InputError(f"source {spec}: option {option} has no value; write {option}=VALUE, or leave it out")
        if option in options:
            raise InputError(f"source {spec}: option {option} is given twice; give it once")
        options[option] = value
    return where, options


def alternatives(value: str) -> list[str]:
    """What stands between the "|" of a value, as it is written; an empty one is kept."""
    return _cut(value, re.compile(r"\|"))


def bare(value: str) -> str:
    """The value without the quotes around it, or without its backslashes."""
    return value[1:-1].replace('""', '"') if QUOTED.fullmatch(value) else re.sub(r'\\([,|"])', r"\1", value)


def quoted(value: str) -> str:
    """A value as an option takes it: in double quotes where some of it might be taken for something else."""
    return value if re.fullmatch(r"[\w.:/@ -]+", value) else '"' + value.replace('"', '""') + '"'


def _halves(spec: str, known: Sequence[str]) -> tuple[str, str]:
    """The path, and what stands behind its colon; a colon that no `option=` follows is part of the path."""
    options = {found.start(): found[1] for found in re.finditer(rf":({WORD})=", spec)}
    if not options or _exists(spec):
        return spec, ""
    behind_path = [at for at in options if _exists(spec[:at])]
    of_known = [at for at, option in options.items() if option in known]
    last = [at for at in options if at == spec.rfind(":")]
    candidates = [*(at for at in behind_path if at in of_known), *behind_path, *of_known, *last]
    return (spec[: candidates[0]], spec[candidates[0] + 1 :]) if candidates else (spec, "")


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _cut(text: str, at: re.Pattern[str]) -> list[str]:
    """The text in pieces, cut at what matches outside of quotes, which open where a value begins."""
    pieces, begin, place = [], 0, 0
    while place < len(text):
        if text[place] == '"' and (place == 0 or text[place - 1] in "=|") and (found := QUOTED.match(text, place)):
            place = found.end()
        elif text[place] == "\\" and text[place + 1 : place + 2] in (",", "|", '"'):
            place += 2
        elif found := at.match(text, place):
            pieces.append(text[begin:place])
            begin = place = found.end()
        else:
            place += 1
    return [*pieces, text[begin:]]
