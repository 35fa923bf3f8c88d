"""Automata that find the match of a backtracking regex engine and read each character once.

A backtracking engine takes the first way through the pattern that leads to a match. An automaton does the same if its
states are *ordered* sets of places in the pattern, best first: if one of them is the end of the pattern there is a
match, and all that come after it are dropped (Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009:
the thread lists of Pike's machine, computed in advance). A lookahead is decided when the next character is read.

A state also says how far back the last match is: before the last character, or further. So a walk remembers a position
only for a match further back, and the table says when (`MARK`).

Building one takes some milliseconds; WORDS_PATTERN, which counts to 256, a quarter of a second.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.views.bpe.regex import Characters, Either, Look, Node, Repeat, Unknown

MARK = 1 << 15
"""Set in an entry after which the last match lies two characters back or more, and its place has to be noted."""
NOTHING, FAR, PAST, HERE, BACK = range(65535, 65530, -1)
"""Endings: there is no match; it ends at the place that was noted; after the character just read; before it; before the
one that came before it."""
MAX_ENTRIES = MARK - 16
MAX_PLACES = 20_000
MAX_STEPS = 2_000_000
"""Places that may be looked at while an automaton is made: some seconds."""
END = 0
"""The class that stands for the end of text and for bytes that aren't UTF-8."""


class Automata(NamedTuple):
    """Automata one after another, over the same classes of characters.

    classes: uint8 [0x110000], the class of each code point, 1 and up.
    entries: uint16, a row for each state and in it a column for each class. An entry is an ending, or the place where
        the row of the next state begins, perhaps with MARK.
    starts: where the row of each automaton's first state begins.
    """

    classes: np.ndarray
    entries: np.ndarray
    starts: tuple[int, ...]

    @property
    def ends_at_newlines(self) -> bool:
        """Whether there is one automaton, and a newline is always the last character of a match.

        Then text may be cut behind any newline without changing a match.
        """
        width = self.width
        column = self.entries[int(self.classes[ord("\n")]) :: width]
        return len(self.starts) == 1 and bool((column >= BACK).all()) and column[0] == PAST

    @property
    def width(self) -> int:
        """Entries of a row: a power of two."""
        return 1 << max(1, int(self.classes.max()).bit_length())


def automata(patterns: Sequence[Node]) -> Automata:
    """The automata of patterns; `Unknown` where they are too large, or one of them matches nothing at all."""
    programs = [_program(pattern) for pattern in patterns]
    sets = [members for program in programs for members in program.sets]
    classes, membership = _classes(sets)
    width = 1 << max(1, int(classes.max()).bit_length())
    rows: list[np.ndarray] = []
    starts = []
    for program in programs:
        starts.append(sum(map(len, rows)) * width)
        found = _rows(program, membership[:, : len(program.sets)], width, starts[-1])
        membership = membership[:, len(program.sets) :]
        rows.append(found)
        if sum(map(len, rows)) * width > MAX_ENTRIES:
            raise Unknown("a pattern of too many states")
    return Automata(classes, np.concatenate([*rows, np.zeros((0, width), np.uint16)]).reshape(-1), tuple(starts))


def _classes(sets: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Classes of characters that no set tells apart, and whether each is in each set: uint8 [0x110000], bool [classes,
    sets]. Class END is in none."""
    code = np.zeros(0x110000, np.int64)
    for members in sets:
        code = code * 2 + members
        begins = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        _, of_run = np.unique(code[begins], return_inverse=True)
        code = np.repeat(of_run, np.diff(np.r_[begins, len(code)]))
    if code.max() > 254:
        raise Unknown("a pattern with more than 254 kinds of characters")
    _, example = np.unique(code, return_index=True)
    membership = np.array([members[example] for members in sets], bool).reshape(len(sets), -1).T
    return (code + 1).astype(np.uint8), np.concatenate([np.zeros((1, len(sets)), bool), membership])


class _Program(NamedTuple):
    """A pattern as places, each with what is done there.

    places: ("one", set, next place), ("look", set, or end, next place), ("ways", places by preference), or ("match",
    characters that the match ends before this place).
    """

    places: list[tuple]
    sets: list[np.ndarray]
    start: int


def _program(pattern: Node) -> _Program:
    program = _Program([], [], 0)
    end = _place(program, ("match", 0))
    return program._replace(start=_compiled(program, pattern, end))


def _place(program: _Program, what: tuple) -> int:
    if len(program.places) >= MAX_PLACES:
        raise Unknown("a pattern of too many places")
    program.places.append(what)
    return len(program.places) - 1


def _set(program: _Program, members: np.ndarray) -> int:
    for number, known in enumerate(program.sets):
        if known is members or np.array_equal(known, members):
            return number
    program.sets.append(members)
    return len(program.sets) - 1


def _compiled(program: _Program, node: Node, after: int) -> int:
    """The place where a part begins that is followed by place `after`."""
    if isinstance(node, Characters):
        return _place(program, ("one", _set(program, node.members), after))
    if isinstance(node, Look):
        if node.before:
            after = _place(program, ("match", 1))
        after = _place(program, ("look", _set(program, node.last), node.or_end, after))
        return _compiled(program, node.before[0], after) if node.before else after
    if isinstance(node, Either):
        return _place(program, ("ways", tuple(_compiled(program, branch, after) for branch in node.branches)))
    if isinstance(node, Repeat):
        return _repeated(program, node, after)
    for part in reversed(node.parts):
        after = _compiled(program, part, after)
    return after


def _repeated(program: _Program, node: Repeat, after: int) -> int:
    if node.most is None:
        again = _place(program, ())
        inner = _compiled(program, node.part, again)
        program.places[again] = ("ways", (after, inner) if node.lazy else (inner, after))
        begin = again
        least = node.least
        if least:
            begin, least = inner, least - 1
    else:
        begin, least = after, node.least
        for _ in range(node.most - node.least):
            inner = _compiled(program, node.part, begin)
            begin = _place(program, ("ways", (after, inner) if node.lazy else (inner, after)))
    for _ in range(least):
        begin = _compiled(program, node.part, begin)
    return begin


_NEVER, _BEFORE, _FURTHER = range(3)
"""How far behind the last match is at a state: there is none, it ends before the last character, or further back."""


def _rows(program: _Program, membership: np.ndarray, width: int, first: int) -> np.ndarray:
    """The rows of one automaton, uint16 [states, width], to stand from entry `first` on."""
    member = membership.tolist()
    numbers: dict[tuple[tuple[int, ...], int], int] = {((program.start,), _NEVER): 0}
    states = list(numbers)
    table: list[list[int]] = []
    steps = 0
    while len(table) < len(states):
        places, behind = states[len(table)]
        row = []
        for kind in range(len(member)):
            following, match, looked_at = _step(program.places, places, kind, member[kind])
            steps += looked_at
            if steps > MAX_STEPS:
                raise Unknown("a pattern of too many states")
            if not table and match is not None:
                raise Unknown("a pattern that matches nothing at all")
            if not following:
                row.append((HERE, BACK)[match] if match is not None else (NOTHING, BACK, FAR)[behind])
                continue
            unmatched = _NEVER if behind == _NEVER else _FURTHER
            now = unmatched if match is None else (_BEFORE, _FURTHER)[match]
            state = (following, now)
            if state not in numbers:
                numbers[state] = len(states)
                states.append(state)
            noted = now == _FURTHER and (match == 1 or behind == _BEFORE)
            row.append(first + numbers[state] * width + (MARK if noted else 0))
        table.append(row)
        if first + len(states) * width > MAX_ENTRIES:
            raise Unknown("a pattern of too many states")
    over = {first + number * width for number, row in enumerate(table) if set(row) == {HERE}}
    rows = np.full((len(table), width), NOTHING, np.uint16)
    rows[:, : len(member)] = [[PAST if entry in over else entry for entry in row] for row in table]
    return rows


def _step(
    places: list[tuple], state: tuple[int, ...], kind: int, member: list[bool]
) -> tuple[tuple[int, ...], int | None, int]:
    """The places after a character, best first, and how many characters before it a match ends, if one does.

    Also how many places were looked at.

    member: whether the character is in each set.
    """
    following: dict[int, None] = {}
    seen = set()
    waiting = list(reversed(state))
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        what = places[place]
        if what[0] == "one":
            if member[what[1]]:
                following[what[2]] = None
        elif what[0] == "ways":
            waiting.extend(reversed(what[1]))
        elif what[0] == "look":
            if (kind == END and what[2]) or member[what[1]]:
                waiting.append(what[3])
        else:
            return tuple(following), what[1], len(seen)
    return tuple(following), None, len(seen)
