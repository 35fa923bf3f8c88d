"""Patterns as automata against Oniguruma, which `tokenizers` brings along: the same pieces for random patterns."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.views.bpe.pieces import ends_of_pieces, tables_of
from tokenizers import Regex, pre_tokenizers

from byteproxy.views.bpe.regex import Unknown, parsed

ONE = st.sampled_from(
    ["a", "b", " ", r"\n", r"\s", r"\S", "[ab]", "[^a]", "[^ b]", ".", r"\p{L}", r"\P{N}", "[A-Ca]", "é"]
)
REPEAT = st.sampled_from(
    ["", "", "", "?", "*", "+", "{1,3}", "{,2}", "{2}", "{2,}", "*?", "+?", "??", "++", "?+", "{1,2}+"]
)
LOOK = st.sampled_from(["", "", "", r"(?!\S)", r"(?=\S)", "(?!a)", r"(?= \S)", "(?=ab)", "$"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds(lambda kind, body: f"({kind}{body})", st.sampled_from(["?:", "?i:", ""]), inner)
    part = st.builds(lambda one, many: one + many, st.one_of(ONE, ONE, ONE, group), REPEAT)
    sequence = st.builds(lambda parts, look: "".join(parts) + look, st.lists(part, min_size=1, max_size=4), LOOK)
    return st.lists(sequence, min_size=1, max_size=3).map("|".join)


PATTERNS = st.recursive(ONE, grown, max_leaves=8)
STRINGS = st.lists(st.text(st.sampled_from("aab  \nb1é\tAC"), min_size=1, max_size=14), min_size=20, max_size=20)


@settings(max_examples=150)
@given(pattern=PATTERNS, texts=STRINGS)
def test_pieces_are_those_of_a_backtracking_engine(pattern: str, texts: list[str]) -> None:
    try:
        tables = tables_of(pattern)
    except Unknown:
        assume(False)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in texts:
        pieces = [len(piece.encode()) for piece, _ in split.pre_tokenize_str(text)]
        assert np.diff(ends_of_pieces(text.encode(), tables)).tolist() == pieces, text


@pytest.mark.parametrize("inside", ["'s|'t|'re|'ve|'m|'ll|'d", "[sdmt]k", "K"])
def test_letters_of_other_cases_are_those_of_oniguruma(inside: str) -> None:
    """All code points, in each place of a contraction: among them are the long s and the sign of kelvin."""
    pattern = f"(?i:{inside})"
    tables, split = tables_of(pattern), pre_tokenizers.Split(Regex(pattern), "isolated")
    for before, after in (("'", " "), ("'", "e "), ("'r", " "), ("'l", " "), (" ", "k "), ("s", " ")):
        text = "".join(before + chr(value) + after for value in [*range(0xD800), *range(0xF900, 0x1F000)])
        pieces = [len(piece.encode()) for piece, _ in split.pre_tokenize_str(text)]
        assert np.diff(ends_of_pieces(text.encode(), tables)).tolist() == pieces


def test_cuts_are_within_the_pieces_of_the_one_before() -> None:
    patterns = [r"[\r\n]", r"\s+$", "[ab]{2}", r"\d"]
    tables = tables_of(*patterns)
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    row = pre_tokenizers.Sequence(cuts)

    @settings(max_examples=200)
    @given(st.text(st.sampled_from("aab  \n\r12é\t"), max_size=20))
    def check(text: str) -> None:
        pieces = [len(piece.encode()) for piece, _ in row.pre_tokenize_str(text)]
        assert np.diff(ends_of_pieces(text.encode(), tables)).tolist() == pieces

    check()


def test_a_run_without_a_match_is_walked_once() -> None:
    r"""`\s+$` fails at each of a million blanks: walked from each of them, that would take hours."""
    tables = tables_of(r"\s+$")
    text = b" " * 1_000_000 + b"x " + b"\t\t"
    assert ends_of_pieces(text, tables) == [0, len(text) - 3, len(text)]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(?<=a)b",
            r"(a)\1",
            r"\bword",
            "^a",
            "a(?>b)",
            "(?x: a)",
            "[[:alpha:]]",
            "[a&&b]",
            "(a|)*",
            "a{2}?",
            r"\p{Greek}",
        ),
        *(
            "(?i:ss)",
            "(?i:é)",
            r"(?i:[\s])",
            "a++a",
            "(?:a++|b)c",
            "a(?=bc)d",
            "",
            "a*",
            "a|",
            "(",
            ")",
            "[",
            "a{3,1}",
            "\\",
        ),
        *("a" * 300, "(?:[ab]*a[ab]{18})", "[é-a]", "(?i:[a-c])"),
        *("(?:" * 60 + "a" + ")" * 60, "(?:a{1000}){1000}", "[z-a]", r"\x41", "a{5000}", "(?=abc)"),
    ],
)
def test_what_is_not_understood_is_said_to_be(pattern: str) -> None:
    with pytest.raises(Unknown):
        tables_of(pattern)


def test_properties_are_those_of_oniguruma() -> None:
    names = ["L", "Lu", "M", "N", "Nd", "P", "S", "Z", "C", "Co"]
    tables = {name: parsed(rf"\p{{{name}}}").members for name in names}
    for name, members in tables.items():
        pieces = pre_tokenizers.Split(Regex(rf"[\p{{{name}}}]+"), "isolated").pre_tokenize_str(TEXT)
        ends = [0, *(end for _, (_, end) in pieces)]
        found = np.array([members[CODE_POINTS[begin]] for begin, _ in pairwise(ends)])
        assert (found[1:] != found[:-1]).all()
        changes = np.flatnonzero(np.diff(members[CODE_POINTS].astype(int))) + 1
        assert ends[1:-1] == changes.tolist()


CODE_POINTS = np.r_[0:0xD800, 0xE000:0x30000]
TEXT = CODE_POINTS.astype("<u4").tobytes().decode("utf-32-le")
