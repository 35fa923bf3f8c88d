"""Patterns in gitignore syntax: which paths they rule out, or take in, exactly as git decides it.

Each pattern becomes a regular expression for one whole path, as git's wildmatch.c reads it; bytes and not characters,
because "?" is one byte to git. git asks about every folder on the way down by itself and never goes into an ignored
one: a caller that walks down does the same. The tests compare with `git check-ignore`.

Why not pathspec (1.1.1): it asks about a file's whole path at once and ranks patterns of folders below others, so "!*"
before "a/" takes the folder a back in; "[!a]" matches a slash, "?" any character, "[[:alpha:]]" no letter, and some
lines that git passes over are errors. That is another set of files. Why not `git ls-files`: a corpus need not be a
repository, nor git be installed.

Cost: one match for each run of patterns of the same sign; some microseconds a path for a long .gitignore.
"""

import os
import re
from collections.abc import Iterable
from itertools import groupby

from byteproxy.errors import InputError

_TOKEN = re.compile(
    rb"(?P<folders>(?:^|(?<=/))\*\*+/)|(?P<rest>(?:^|(?<=/))\*\*+$)|(?P<star>\*+)|(?P<any>\?)|\\(?P<escaped>.)|(?P<plain>.)",
    re.DOTALL,
)
_CLASSES = {
    name: frozenset(byte for byte in range(128) if re.fullmatch(regex, bytes([byte])))
    for name, regex in {
        b"alnum": rb"[a-zA-Z0-9]",
        b"alpha": rb"[a-zA-Z]",
        b"blank": rb"[ \t]",
        b"cntrl": rb"[\x00-\x1f\x7f]",
        b"digit": rb"[0-9]",
        b"graph": rb"[!-~]",
        b"lower": rb"[a-z]",
        b"print": rb"[ -~]",
        b"punct": rb"[!-/:-@\[-`{-~]",
        b"space": rb"[\t-\r ]",
        b"upper": rb"[A-Z]",
        b"xdigit": rb"[0-9a-fA-F]",
    }.items()
}


class Patterns:
    """Lines in gitignore syntax, for paths relative to the folder that they stand in; the last that speaks decides."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """lines: without line ends; one that git can't match anything with is left out."""
        rules = [rule for rule in map(_rule, lines) if rule is not None]
        self._runs = [
            (positive, re.compile(b"|".join(b"(?:%s)" % regex for _, regex in run), re.DOTALL))
            for positive, run in groupby(reversed(rules), key=lambda rule: rule[0])
        ]

    @classmethod
    def read(cls, path: str) -> "Patterns":
        """The patterns of a .gitignore. Raises InputError if it can't be read: what it rules out would slip in."""
        try:
            with open(path, "rb") as file:
                text = file.read().removeprefix(b"\xef\xbb\xbf")
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}; make it readable, or remove it") from None
        return cls(line.removesuffix(b"\r") for line in text.split(b"\n"))

    def verdict(self, path: str) -> bool | None:
        """Whether the path is excluded (True), included again by "!" (False), or matched by no pattern (None).

        path: with slashes, none at the start; a folder's ends with one.
        """
        name = os.fsencode(path)
        for positive, regex in self._runs:
            if regex.fullmatch(name):
                return positive
        return None

    def covers(self, path: str) -> bool:
        """Whether a file, or else the nearest matched folder above it, is excluded."""
        verdict = self.verdict(path)
        while verdict is None and path:
            folder = path.rstrip("/").rpartition("/")[0]
            path = f"{folder}/" if folder else ""
            verdict = self.verdict(path) if path else False
        return bool(verdict)


def _rule(line: bytes) -> tuple[bool, bytes] | None:
    """Whether a line rules out (or takes back), and an expression for the whole paths that it speaks of."""
    pattern = _without_trailing_spaces(line)
    if pattern.startswith(b"#"):
        return None
    positive = not pattern.startswith(b"!")
    pattern = pattern if positive else pattern[1:]
    folders_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if folders_only else pattern
    anywhere = b"/" not in pattern
    regex = _regex(pattern.removeprefix(b"/"))
    if not pattern or regex is None:
        return None
    # "a/*" speaks of what is in the folder a, not of "a/" itself: a name is never empty.
    return positive, (b"(?:.*/)?" if anywhere else b"") + regex + b"(?<!/)" + (b"/" if folders_only else b"/?")


def _without_trailing_spaces(line: bytes) -> bytes:
    """The line without the blanks at its end, up to one that a backslash keeps."""
    found = re.fullmatch(rb"((?:\\.|[^\\])*?)( *)(\\?)", line, re.DOTALL)
    return line if found is None or found[3] else found[1]


def _regex(glob: bytes) -> bytes | None:
    """What matches as the glob does, or None if nothing can."""
    parts, place = [], 0
    while place < len(glob):
        if glob[place : place + 1] == b"[":
            bracket = _bracket(glob, place + 1)
            if bracket is None:
                return None
            part, place = bracket
        else:
            token = _TOKEN.match(glob, place)
            if token is None or token[0] == b"\\":
                return None  # a backslash at the end
            part, place = _translated(token), token.end()
        parts.append(part)
    return b"".join(parts)


def _translated(token: re.Match[bytes]) -> bytes:
    match token.lastgroup:
        case "folders":
            return b"(?:.*/)?"
        case "rest":
            return b".*[^/]"  # a folder's own slash is no part of its name
        case "star":
            return b"[^/]*"
        case "any":
            return b"[^/]"
        case _:
            return re.escape(token[token.lastgroup or 0])


def _bracket(glob: bytes, place: int) -> tuple[bytes, int] | None:
    """A set of bytes that begins at `place`, behind its "[", as an expression; and where the glob goes on.

    None if it doesn't end or names a class that there isn't: then the pattern matches nothing.
    """
    negated = glob[place : place + 1] in (b"!", b"^")
    place += negated
    members: set[int] = set()
    before, first = -1, True
    while first or glob[place : place + 1] != b"]":
        first = False
        taken = _member(glob, place, before)
        if taken is None:
            return None
        more, before, place = taken
        members |= more
        if place >= len(glob):
            return None
    members = (set(range(256)) - members if negated else members) - {ord("/")}
    return (
        b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]" if members else b"(?!)"
    ), place + 1


def _member(glob: bytes, place: int, before: int) -> tuple[frozenset[int], int, int] | None:
    """The bytes of a character, range or class in a set; the byte a range may begin with, or -1; the next place."""
    named = re.compile(rb"\[:([^\]]*):\]").match(glob, place)
    if named:
        return (_CLASSES[named[1]], -1, named.end()) if named[1] in _CLASSES else None
    dash = before > 0 and re.compile(rb"-[^\]]", re.DOTALL).match(glob, place) is not None
    place += dash
    place += glob[place : place + 1] == b"\\"
    if place >= len(glob):
        return None
    if dash:
        return frozenset(range(before, glob[place] + 1)), -1, place + 1
    return frozenset((glob[place],)), glob[place], place + 1
