import numpy as np
import pytest

from byteproxy.evaluate.corpus.corpus_figures import histogram
from byteproxy.evaluate.corpus.corpus_terminal import BAR, bar
from byteproxy.evaluate.corpus.tables import LANGUAGES_SHOWN, by_language, length_range, sized


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (1234, "1.23 kB"),
        (9996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (45_600_000, "45.6 MB"),
        (7.2e12, "7.20 TB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size, words):
    assert sized(size) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "empty"), (1, "1 B – 2 B"), (700, "512 B – 1 KiB"), (5 << 20, "4 MiB – 8 MiB")]
)
def test_ranges_of_lengths_are_powers_of_two(size, words):
    (one,) = histogram_of(size)
    assert length_range(one) == words


def histogram_of(*lengths):
    return histogram(np.array(lengths, np.int64))


def test_bars_are_as_long_as_what_they_stand_for():
    assert bar(0).strip() == ""
    assert bar(1) == "█" * BAR
    assert bar(0.5).count("█") == BAR // 2
    assert bar(1e-9).strip() == "▏", "something is never nothing"
    assert {len(bar(share / 50)) for share in range(51)} == {BAR}


def test_many_languages_are_summed_up():
    one = {"documents": 2, "bytes": 10, "projects": 1}
    figures = {"bytes": 200, "languages": {f"l{number}": one for number in range(LANGUAGES_SHOWN + 3)}}
    rows = by_language(figures).rows
    assert len(rows) == LANGUAGES_SHOWN + 1
    assert rows[-1] == ("3 others", ["6", "30 B", "15.0", "–"])
