"""The comparison of views as columns: which figures, in which unit, with how many digits, and what they mean."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

DASH = "\N{EN DASH}"


class Column(NamedTuple):
    """One figure of all views.

    heading, unit: of the column, short, as two lines of its head.
    key: of the figure; "stability.rename" is inside of another.
    shown: the figure for people, without its unit.
    meaning: a sentence for those who don't know the figure, as HTML.
    """

    heading: str
    unit: str
    key: str
    shown: Callable[[Any], str]
    meaning: str

    def of(self, figures: Mapping[str, Any]) -> str:
        """This column's cell for a view; a dash where there is nothing."""
        value: Any = figures
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        absent = value is None or (isinstance(value, float) and not math.isfinite(value))
        return DASH if absent else self.shown(value)


def _number(places: int) -> Callable[[Any], str]:
    return lambda value: f"{value:,.{places}f}"


def _size(value: Any) -> str:
    return f"{value:,.{2 if value >= 1 else 3}f}"


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}"


def _bytes(value: Any) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"


def _speed(value: Any) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f}"


SIZE = (
    Column(
        "alphabet",
        "symbols",
        "alphabet_size",
        _number(0),
        "How many symbols the view has: the rows of a softmax over them.",
    ),
    Column("used", "symbols", "symbols_used", _number(0), "How many of them the held-out text needed."),
    Column(
        "size",
        "B/symbol",
        "bytes_per_symbol",
        _size,
        "Bytes of text per symbol: how much shorter the sequence is. The symbols of <code>chunks</code> are its chunks,"
        " in all figures but the alphabet.",
    ),
    Column(
        "entropy",
        "bits",
        "entropy_bits",
        _number(2),
        "Of the symbols' frequencies, in bits per symbol, each taken for itself.",
    ),
    Column(
        "coded",
        "bits/byte",
        "bits_per_byte",
        _number(2),
        "What a coder would spend on a byte of text if it knew these frequencies and nothing else.",
    ),
    Column(
        "speed",
        "MB/s",
        "encode_mb_s",
        _speed,
        "Text that one core encodes in a second, each text once: of processor time, all threads counted. A dash where"
        " there was too little text.",
    ),
    Column(
        "train",
        "s",
        "train_seconds",
        _number(1),
        "Wall time to train the view here; a dash where it was loaded or needs none.",
    ),
)
STABILITY = (
    Column(
        "delete",
        "0–1",
        "stability.random_delete",
        _number(3),
        "Normalised Levenshtein distance, 0 to 1, between the symbols of a piece of about 2 kB and of the same piece"
        " with 10&nbsp;% of its characters gone at random places. The mean over the pieces, like the next three.",
    ),
    Column("prefix", "0–1", "stability.prefix_cut", _number(3), "With 1 to 25&nbsp;% of the start gone."),
    Column("middle", "0–1", "stability.middle_cut", _number(3), "With 5 to 10&nbsp;% gone from the middle."),
    Column(
        "rename",
        "0–1",
        "stability.rename",
        _number(3),
        "With one identifier renamed wherever it stands; pieces without one are skipped.",
    ),
    Column(
        "resync",
        "bytes",
        "resync_bytes",
        _bytes,
        "One byte is changed: how far behind it boundaries and symbols are the old ones again, to the end. The median"
        " over five edits in each of up to 200 pieces of about 8 kB. A view that is not aligned never resynchronises,"
        " so for it this is the way to the end of the piece.",
    ),
    Column("p90", "bytes", "resync_bytes_p90", _bytes, "The same for nine edits of ten: they need no more than this."),
    Column(
        "word",
        "% cross",
        "crosses_word",
        _percent,
        "Symbols inside of which a word begins or ends, of those that cover bytes. A word is a run of letters, digits,"
        " _ and bytes from 128 up; one that begins behind a single leading blank doesn't count.",
    ),
    Column("line", "% cross", "crosses_line", _percent, "Symbols that hold a newline before their last byte."),
)
NEURAL = (
    Column("strings", "", "nodes", _number(0), "Strings that fit into a window: what the model was compiled into."),
    Column(
        "2^W/h",
        "strings",
        "nodes_estimate",
        _number(0),
        "How many they should be: 2<sup>W</sup> over the mean entropy of the byte after a window of the text, in bits.",
    ),
    Column("compile", "s", "compile_seconds", _number(1), "Wall time to find these strings with the model."),
    Column(
        "model",
        "bits/B",
        "window_bits_per_byte",
        _number(2),
        "Bits that the model needs for a byte of text when it knows nothing from before each window.",
    ),
    Column("code", "bits/B", "code_bits_per_byte", _number(2), "The same with each window filled up to its W bits."),
    Column(
        "shared",
        "% symb.",
        "fuzzy.collision_share",
        _percent,
        "Symbols in the held-out text that stand for more than one string there.",
    ),
    Column("in", "% wind.", "fuzzy.occurrence_share", _percent, "Windows whose symbol is one of these."),
    Column(
        "alike",
        "% pairs",
        "fuzzy.lcp80_share",
        _percent,
        "Pairs of strings with one symbol whose common prefix is at least 0.8 of the longer one.",
    ),
)
