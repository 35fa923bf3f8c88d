r"""The patterns of published tokenizers, parsed: the part of Oniguruma's syntax (Ruby's) that an automaton can follow.

Understood: alternatives, groups, greedy and lazy repeats, classes and properties of characters, `(?i:...)` around ASCII
letters, and a look at what comes next (`(?!\S)`, `(?=\S)`, `(?= \S)`, `$`). A possessive
repeat is taken where giving back what it took could not lead to a match, as it then means what a greedy one does.
Everything else raises `Unknown`: such a pattern is left to `tokenizers`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from byteproxy.views.bpe import unicode

MAX_REPEATS = 1000
MAX_ATOMS = 250
"""Atoms of a pattern, each of which may take 1 MB while it is read."""


class Unknown(ValueError):  # noqa: N818, it may be a good pattern
    """A pattern that is not understood here; it may be a good one all the same."""


@dataclass(frozen=True, eq=False)
class Characters:
    """One character of a set. members: bool [0x110000]. letter: the ASCII letter that was written, under `(?i:`."""

    members: np.ndarray
    letter: str = ""


@dataclass(frozen=True, eq=False)
class Look:
    """A lookahead. last: the characters that may come next, or the end of text if `or_end`.

    before: characters that come before that one; none or one.
    """

    before: tuple[Characters, ...]
    last: np.ndarray
    or_end: bool


@dataclass(frozen=True, eq=False)
class Concatenation:
    """One part after another."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, eq=False)
class Either:
    """The first of these that leads to a match."""

    branches: "tuple[Node, ...]"


@dataclass(frozen=True, eq=False)
class Repeat:
    """most: None without a bound. lazy: few before many."""

    part: "Node"
    least: int
    most: int | None
    lazy: bool = False
    possessive: bool = False


Node = Characters | Look | Concatenation | Either | Repeat

FOLDED_TOGETHER = {"ss", "st", "ff", "fi", "fl"}
"""Pairs of ASCII letters that one character folds to, without regard to case: ß, ﬆ, ﬀ and so on."""
OTHER_CASES = {"s": "\u017f", "k": "\u212a"}
"""Besides upper case: the long s, and the sign of kelvin."""
CLASSES: dict[str, Callable[[], np.ndarray]] = {
    "s": unicode.blank,
    "d": lambda: unicode.category("Nd"),
    "w": lambda: unicode.flagged(unicode.REGEX_WORD),
}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}


def parsed(pattern: str) -> Node:
    """The pattern as a tree; `Unknown`, saying why, for what is not understood."""
    parser = _Parser(pattern)
    node = parser.either(False)
    if parser.at < len(pattern):
        raise Unknown(f"{pattern[parser.at]!r} without what it closes")
    _check(node, True)
    return node


def literal(text: str) -> Node:
    """The tree of a text that stands for itself; `Unknown` for a long one."""
    if len(text) > MAX_ATOMS:
        raise Unknown(f"a text of more than {MAX_ATOMS} characters")
    return Concatenation(tuple(Characters(_set_of(character)) for character in text))


def any_of(members: np.ndarray, many: bool) -> Node:
    """The tree of one character of a set, or of a run of them."""
    return Repeat(Characters(members), 1, None) if many else Characters(members)


def nullable(node: Node) -> bool:
    """Whether a part may take no character."""
    if isinstance(node, Characters):
        return False
    if isinstance(node, Look):
        return True
    if isinstance(node, Repeat):
        return node.least == 0 or nullable(node.part)
    if isinstance(node, Either):
        return any(map(nullable, node.branches))
    return all(map(nullable, node.parts))


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at, self.depth, self.atoms = pattern, 0, 0, 0

    def next_is(self, text: str) -> bool:
        """Go past `text` if it comes next."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def either(self, folded: bool) -> Node:
        self.depth += 1
        if self.depth > 50:
            raise Unknown("groups nested deeper than 50")
        branches = [self.sequence(folded)]
        while self.next_is("|"):
            branches.append(self.sequence(folded))
        self.depth -= 1
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def sequence(self, folded: bool) -> Node:
        parts: list[Node] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            part = self.atom(folded)
            letters = "".join(one.letter for one in (*parts[-1:], part) if isinstance(one, Characters))
            if letters in FOLDED_TOGETHER:
                raise Unknown("two letters that one character may stand for, without regard to case")
            parts.append(self.repeated(part))
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def repeated(self, part: Node) -> Node:
        while self.at < len(self.pattern):
            counted = re.compile(r"\{(\d*)(,?)(\d*)\}").match(self.pattern, self.at)
            if counted and (counted[1] or counted[3]):
                least = int(counted[1] or 0)
                most = (int(counted[3]) if counted[3] else None) if counted[2] else least
                self.at = counted.end()
                if max(least, most or 0) > MAX_REPEATS or (most is not None and most < max(least, 1)):
                    raise Unknown(f"the repeat {counted[0]}")
                if self.pattern[self.at : self.at + 1] == "?":
                    raise Unknown("a lazy counted repeat")
                part = self._repeat(part, least, most)
            elif self.pattern[self.at] in "?*+":
                sign = self.pattern[self.at]
                self.at += 1
                mode = self.pattern[self.at : self.at + 1]
                self.at += mode in ("?", "+")
                part = self._repeat(
                    part, int(sign == "+"), 1 if sign == "?" else None, lazy=mode == "?", possessive=mode == "+"
                )
            else:
                break
        return part

    @staticmethod
    def _repeat(part: Node, least: int, most: int | None, lazy: bool = False, possessive: bool = False) -> Node:
        if nullable(part):
            raise Unknown("a repeat of what may be nothing")
        return Repeat(part, least, most, lazy, possessive)

    def atom(self, folded: bool) -> Node:
        self.atoms += 1
        if self.atoms > MAX_ATOMS:
            raise Unknown(f"a pattern of more than {MAX_ATOMS} characters and groups")
        character = self.pattern[self.at]
        if character == "(":
            return self.group(folded)
        if character == "[":
            return Characters(self.set_(folded))
        self.at += 1
        if character == "\\":
            return self.escaped(folded)
        if character == ".":
            return Characters(~_set_of("\n"))
        if character == "$":
            return Look((), _set_of("\n"), True)
        if character in "?*+{^]}":
            raise Unknown(f"a bare {character!r}")
        return _one(character, folded)

    def group(self, folded: bool) -> Node:
        if self.next_is("(?i:"):
            node = self.either(True)
        elif self.next_is("(?:"):
            node = self.either(folded)
        elif self.next_is("(?!") or self.next_is("(?="):
            negative = self.pattern[self.at - 1] == "!"
            inner = self.sequence(folded)
            parts = inner.parts if isinstance(inner, Concatenation) else (inner,)
            taken = [part for part in parts if isinstance(part, Characters)]
            if len(taken) < len(parts) or not 1 <= len(parts) <= (1 if negative else 2):
                raise Unknown("a look ahead at more than a character or two")
            last = ~taken[-1].members if negative else taken[-1].members
            node = Look(tuple(taken[:-1]), last, negative)
        elif self.next_is("(?"):
            raise Unknown(f"the group (?{self.pattern[self.at : self.at + 2]}")
        else:
            self.at += 1
            node = self.either(folded)
        if not self.next_is(")"):
            raise Unknown("a group without its end")
        return node

    def escaped(self, folded: bool) -> Node:
        found = self.escape()
        return Characters(found) if isinstance(found, np.ndarray) else _one(found, folded)

    def escape(self) -> "str | np.ndarray":
        """What stands behind a backslash: a character, or a set of them."""
        character = self.pattern[self.at : self.at + 1]
        self.at += 1
        if character in ("p", "P"):
            named = re.compile(r"\{(\^?)(\w+)\}").match(self.pattern, self.at)
            if not named:
                raise Unknown("a property without a name")
            self.at = named.end()
            try:
                found = unicode.category(named[2])
            except KeyError:
                raise Unknown(f"the property {named[2]}") from None
            return ~found if (character == "P") != (named[1] == "^") else found
        if character.lower() in CLASSES and character:
            found = CLASSES[character.lower()]()
            return ~found if character.isupper() else found
        if character in ESCAPES:
            return ESCAPES[character]
        if not character or character.isalnum():
            raise Unknown(f"the escape \\{character}")
        return character

    def set_(self, folded: bool) -> np.ndarray:
        """A class in brackets, at its first one."""
        self.at += 1
        negated = self.next_is("^")
        members = np.zeros(0x110000, bool)
        empty = True
        while not self.next_is("]"):
            character = self.pattern[self.at : self.at + 1]
            if not character or character == "[" or self.pattern.startswith("&&", self.at):
                raise Unknown("a class within a class, or without its end")
            self.at += 1
            item = self.escape() if character == "\\" else character
            if character == "-" and not empty and not self.pattern.startswith("]", self.at):
                raise Unknown("a class with a hyphen inside that is no range")
            ranges = isinstance(item, str) and self.pattern[self.at : self.at + 1] == "-"
            if folded and (ranges or isinstance(item, np.ndarray)):
                raise Unknown("a class of more than single signs, without regard to case")
            if isinstance(item, np.ndarray):
                members |= item
            elif ranges and self.pattern[self.at + 1 : self.at + 2] != "]":
                members[ord(item) : ord(self.last_of_range(item)) + 1] = True
            else:
                members[[ord(one) for one in _cases(item, folded)]] = True
            empty = False
        if empty:
            raise Unknown("an empty class")
        return ~members if negated else members

    def last_of_range(self, first: str) -> str:
        """The last character of a range, at its hyphen."""
        last = self.pattern[self.at + 1 : self.at + 2]
        self.at += 2
        item = self.escape() if last == "\\" else last
        if not isinstance(item, str) or last == "[" or item < first:
            raise Unknown("a range that is none")
        return item


def _one(character: str, folded: bool) -> Characters:
    cases = _cases(character, folded)
    return Characters(_set_of(*cases), cases[0] if len(cases) > 1 else "")


def _cases(character: str, folded: bool) -> tuple[str, ...]:
    """The characters that one stands for, in lower case first."""
    if not folded:
        return (character,)
    if not character.isascii():
        raise Unknown("a sign that is not ASCII, without regard to case")
    lower = character.lower()
    return (lower, lower.upper(), *OTHER_CASES.get(lower, "")) if lower.isalpha() else (character,)


def _set_of(*characters: str) -> np.ndarray:
    members = np.zeros(0x110000, bool)
    members[[ord(character) for character in characters]] = True
    return members


def _check(node: Node, last: bool) -> None:
    """`Unknown` for a longer look ahead that isn't last, and for a possessive repeat that isn't as good as greedy."""
    if isinstance(node, Look) and node.before and not last:
        raise Unknown("a look ahead at two characters that is not the end of an alternative")
    if isinstance(node, Either):
        for branch in node.branches:
            _check(branch, last)
    elif isinstance(node, Repeat):
        if node.possessive and not last:
            raise Unknown("a possessive repeat that is not as good as a greedy one")
        _check(node.part, False)
    elif isinstance(node, Concatenation):
        for place, part in enumerate(node.parts):
            rest = node.parts[place + 1 :]
            if rest and isinstance(part, Repeat) and part.possessive:
                _check(part.part, False)
                if not _never_gives_back(part, rest, last):
                    raise Unknown("a possessive repeat that is not as good as a greedy one")
            else:
                _check(part, last and not rest)


def _never_gives_back(repeat: Repeat, rest: Sequence[Node], last: bool) -> bool:
    """Whether no match needs a character that the repeat of one has taken.

    So it is where what follows always matches, and where it can't begin with such a character.
    """
    if last and all(nullable(part) and not isinstance(part, Look) for part in rest):
        return True
    for part in rest:
        first = _first(part)
        if first is None or not isinstance(repeat.part, Characters) or (first & repeat.part.members).any():
            return False
        if not nullable(part):
            return True
    return False


def _first(node: Node) -> np.ndarray | None:
    """The characters that a part may begin with; None if that is not plain."""
    if isinstance(node, Characters):
        return node.members
    if isinstance(node, Repeat):
        return _first(node.part)
    if isinstance(node, Either):
        firsts = [_first(branch) for branch in node.branches]
        found = [first for first in firsts if first is not None]
        return np.logical_or.reduce(found) if len(found) == len(firsts) else None
    return (
        _first(node.parts[0])
        if isinstance(node, Concatenation) and node.parts and not nullable(node.parts[0])
        else None
    )
