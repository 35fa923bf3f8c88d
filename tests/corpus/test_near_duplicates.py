import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import rensa
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.corpus import near_duplicates as module
from byteproxy.corpus.document import Document
from byteproxy.corpus.near_duplicates import (
    BANDS,
    PERMUTATIONS,
    SIMILAR,
    Index,
    first_of_similar,
    near_duplicates,
    signatures,
)
from byteproxy.corpus.shingles import shingle_hashes


def document(text, number=0):
    return Document(f"{number}.py", text, "toy", f"project{number}")


def dropped(held_out, train=()):
    documents = [[document(text, number) for number, text in enumerate(texts)] for texts in (held_out, train)]
    return near_duplicates(*documents).tolist()


def words(rng, count):
    return [b"w%d" % number for number in rng.integers(0, 5000, count)]


def edited(rng, document, edits):
    """The words with so many of them replaced, by words that are nowhere else."""
    document = list(document)
    for at in rng.choice(len(document), edits, replace=False):
        document[at] = b"new%d" % rng.integers(0, 1 << 40)
    return document


def jaccard(one, other):
    """By the definition, for lists of words."""
    a, b = ({tuple(document[n : n + 5]) for n in range(max(1, len(document) - 4))} for document in (one, other))
    return len(a & b) / len(a | b)


def near(rows, others):
    """bool [rows, others]: compared one by one, by the share of equal entries and the bands."""
    equal = rows[:, None] == others[None]
    meet = equal.reshape(len(rows), len(others), BANDS, PERMUTATIONS // BANDS).all(3).any(2)
    return (equal.mean(2) >= SIMILAR) & meet & (others != 2**32 - 1).any(1)


# Near-duplicates by the definition


def test_the_estimate_is_the_jaccard_similarity():
    rng = np.random.default_rng(1)
    errors, found, border = [], 0, 0
    for _ in range(600):
        one = words(rng, int(rng.integers(30, 2000)))
        other = edited(rng, one, int(rng.integers(0, 1 + len(one) // 6)))
        likeness = jaccard(one, other)
        rows = signatures([b" ".join(one), b"  ".join(other)])
        errors.append((rows[0] == rows[1]).mean() - likeness)
        similar = first_of_similar(rows).tolist()
        if likeness >= 0.85 or likeness <= 0.5:
            assert similar == [False, likeness >= 0.85]
            found += similar[1]
            border += not similar[1]
    assert min(found, border) > 50
    assert abs(np.mean(errors)) < 0.005
    assert np.std(errors) < 0.045, "sqrt(0.5 * 0.5 / 128) at most"


def test_an_edited_copy_is_found_and_unrelated_text_is_kept():
    rng = np.random.default_rng(2)
    original = words(rng, 400)
    copy, unrelated = edited(rng, original, 6), words(rng, 400)
    assert dropped([b"\n\t".join(copy), b" ".join(unrelated)], [b" ".join(original)]) == [True, False]


def test_it_is_likeness_and_not_containment():
    rng = np.random.default_rng(3)
    small, rest = words(rng, 100), words(rng, 400)
    small, large = b" ".join(small), b" ".join(small + rest)
    assert dropped([small], [large]) == dropped([large], [small]) == [False]


def test_copies_among_the_held_out_stay_once():
    rng = np.random.default_rng(4)
    one, other = words(rng, 300), words(rng, 300)
    texts = [b" ".join(document) for document in (one, other, edited(rng, one, 4), one)]
    assert dropped(texts) == [False, False, True, True]


def test_what_is_dropped_drops_no_other():
    rng = np.random.default_rng(5)
    train = words(rng, 1000)
    first = edited(rng, train, 26)
    second = edited(rng, first, 26)
    train, first, second = (b" ".join(document) for document in (train, first, second))
    assert dropped([first], [train]) == dropped([second], [first]) == [True]
    assert dropped([first, second], [train]) == [True, False]
    assert dropped([first, second]) == [False, True]


def test_texts_without_words_are_near_nothing_and_short_ones_near_their_copies():
    assert dropped([]) == []
    assert dropped([b"", b" \n", b"", b"x", b"y", b"x", b"x ("], [b"", b"\n"]) == [False] * 5 + [True, False]
    assert dropped([b"x", b" x\n", b"y"], [b"x"]) == [True, True, False]


def test_progress_counts_training_text(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_TEXTS", 2)
    seen = []
    train = [document(b"x" * size) for size in (31, 62, 7)]
    near_duplicates([document(b"x")], iter(train), lambda done, total: seen.append((done, total)))
    assert seen == [(93, 0), (100, 0)]


def test_5000_copies_take_the_place_of_one():
    texts = [b"import os\nimport sys\nprint(os.getcwd(), sys.path)\n"] * 5000
    assert first_of_similar(signatures(texts)).tolist() == [False] + [True] * 4999
    assert dropped(texts, texts) == [True] * 5000
    index = Index()
    index.add(signatures(texts))
    index.add(signatures(texts))
    assert len(index) == 1


# Signatures


def some_texts():
    rng = np.random.default_rng(6)
    sizes = [0, 1, 3, 70_000, 5, 0, 40_000, *rng.integers(0, 300, 300)]
    return [b" ".join(words(rng, int(size))) for size in sizes]


def test_a_signature_depends_on_its_text_only(monkeypatch):
    texts = some_texts()
    whole = signatures(texts)
    assert (whole.dtype, whole.shape) == (np.uint32, (len(texts), PERMUTATIONS))
    assert np.array_equal(whole, np.concatenate([signatures([text]) for text in texts]))
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(module, "PIECE_HASHES", 777)
    assert np.array_equal(whole, signatures(iter(texts)))
    nothing = (whole == 2**32 - 1).all(1)
    assert nothing.tolist() == [not text for text in texts]


def test_pieces_give_what_rensa_gives_in_one_go():
    text = some_texts()[6]
    hashes, offsets = shingle_hashes([text])
    assert module.PIECE_HASHES < len(hashes) < 65_536
    whole = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, PERMUTATIONS, module.SEED).to_rows()
    assert signatures([text]).tolist() == whole


def test_a_shingle_counts_once():
    rows = signatures([b"a b c d e " * turns for turns in (2, 3, 3000)])
    assert (rows == rows[0]).all()


def test_signatures_stay_what_they_are():
    """Prepared corpora depend on them."""
    assert signatures([b"def f(x): pass", b"def f(x): return x"])[:, :3].tolist() == [
        [3330660992, 3599376681, 3695360244],
        [3507732380, 3532692345, 3467253796],
    ]


def test_another_algorithm_is_refused(monkeypatch):
    monkeypatch.setattr(module, "RENSA_VERSION", 3)
    with pytest.raises(RuntimeError, match=r"version 2, and byteproxy was tested with version 3 .*constraints\.txt"):
        signatures([b"x"])


FORK = """
import multiprocessing, random
from byteproxy.corpus.near_duplicates import signatures
text = " ".join(str(random.random()) for _ in range(100_000)).encode()
signatures([text] + [b"x"] * 1000)
child = multiprocessing.get_context("fork").Process(target=signatures, args=([text] + [b"x"] * 1000,))
child.start()
child.join(60)
child.kill()
child.join()
raise SystemExit(child.exitcode)
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_forked_processes_can_go_on():
    """rensa's threads don't live on in a child, where its next call would wait for them."""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", FORK]).returncode == 0


# The index


@st.composite
def rows(draw, most=60):
    """Signatures of a few families with a share of their entries changed; few values, so that bands meet by chance."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    families = rng.integers(0, draw(st.sampled_from([2, 9, 1 << 32])), (3, PERMUTATIONS), dtype=np.uint32)
    families[2, : PERMUTATIONS // 2] = families[1, : PERMUTATIONS // 2]
    rows = families[rng.integers(0, 3, draw(st.integers(0, most)))]
    changed = rng.random(rows.shape) < rng.choice([0, 0.1, 0.25, 0.3, 0.35, 0.6], (len(rows), 1))
    rows[changed] = rng.integers(0, 1 << 32, changed.sum(), dtype=np.uint32)
    rows[rng.random(len(rows)) < 0.05] = 2**32 - 1
    return rows


@given(rows(), rows(), st.integers(0, 60), st.randoms(use_true_random=False))
def test_the_index_finds_what_comparing_all_finds(added, asked, cut, random):
    expected = near(asked, added).any(1)
    order = list(range(len(added)))
    random.shuffle(order)
    one, other = Index(), Index()
    one.add(added)
    other.add(added[order][:cut])
    other.add(added[order][cut:])
    assert one.similar(asked).tolist() == expected.tolist()
    assert [*other.similar(asked[:cut]), *other.similar(asked[cut:])] == expected.tolist()
    assert len(one) == len(other) == len(np.unique(added[(added != 2**32 - 1).any(1)], axis=0))


@given(rows(), rows(20))
def test_the_first_of_similar_ones_stays(given, known):
    for before in (None, known):
        stay = [] if before is None else list(before)
        expected = []
        for row in given:
            expected.append(bool(stay) and bool(near(row[None], np.array(stay)).any()))
            if not expected[-1]:
                stay.append(row)
        assert first_of_similar(given, before).tolist() == expected


def test_an_index_that_grows_finds_the_same(monkeypatch):
    rng = np.random.default_rng(7)
    rows = rng.integers(0, 1 << 32, (5000, PERMUTATIONS), dtype=np.uint32)
    asked = np.concatenate([rows, rng.integers(0, 1 << 32, rows.shape, dtype=np.uint32)])
    asked[:5000, :38] = 0
    grown = Index()
    for start in range(0, 5000, 300):
        grown.add(rows[start : start + 300])
        assert grown.similar(asked[:5000]).sum() == min(start + 300, 5000)
    assert grown.similar(asked).tolist() == [True] * 5000 + [False] * 5000
    monkeypatch.setattr(module, "ENTRIES", 91)
    assert not grown.similar(asked).any(), "each differs in 38 of 128"


def test_what_meets_in_no_band_is_not_found_by_chance():
    """In tables of 1,024 places, one in 32 of these would meet its like in a band that only shares the place."""
    rows = np.random.default_rng(8).integers(0, 1 << 32, (1000, PERMUTATIONS), dtype=np.uint32)
    asked = rows.copy()
    asked[:, ::4] += 1
    index = Index()
    index.add(rows)
    assert not index.similar(asked).any()
    asked[:, 0] -= 1
    assert index.similar(asked).all()


def test_given_signatures_may_be_read_only_or_views():
    rows = signatures([b"a b c", b"d e f", b"a b c"])
    rows.flags.writeable = False
    index = Index()
    index.add(rows[:2])
    assert index.similar(rows[::-1]).tolist() == [True, True, True]
    assert first_of_similar(rows[::2]).tolist() == [False, True]
