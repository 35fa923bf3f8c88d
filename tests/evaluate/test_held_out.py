from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import DOCUMENTS, MIN_BYTES, held_out_documents, held_out_texts
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store

EVERYTHING = SplitOptions(0.0, 0.999999)


def stored(folder, documents, split=EVERYTHING):
    prepare_documents([Document(name, text, "toy", project) for name, project, text in documents], folder, split)
    return Store.open(folder)


def test_projects_take_turns_and_long_documents_are_cut(tmp_path):
    many = [(f"big/{i}", "big", b"%d" % i * 500) for i in range(50)]
    store = stored(tmp_path, [*many, ("a", "small", b"a" * 30), ("b", "tiny", b"b" * 5), ("c", "empty", b"")])
    texts = held_out_texts(store, "test", 300, 100)
    assert sum(map(len, texts)) == 300
    assert max(map(len, texts)) == 100
    assert b"a" * 30 in texts[:3]
    assert b"b" * 5 in texts[:3]


def test_the_choice_depends_on_names_and_not_on_the_order_of_files(tmp_path):
    documents = [(f"{i}", f"p{i % 5}", b"%d\n" % i * 40) for i in range(40)]
    one = held_out_texts(stored(tmp_path / "one", documents), "test", 900, 50)
    other = held_out_texts(stored(tmp_path / "other", documents[::-1]), "test", 900, 50)
    assert sorted(one) == sorted(other)


def test_all_of_a_small_side_is_taken_whole(tmp_path):
    documents = [(f"{i}", f"p{i}", b"%d" % i * 9) for i in range(9)]
    texts = held_out_texts(stored(tmp_path, documents), "test", 10**6, 10**6)
    assert sorted(texts) == sorted(text for _, _, text in documents)


def test_an_empty_side_is_said(tmp_path):
    with pytest.raises(InputError, match="validation split holds no text"):
        held_out_texts(stored(tmp_path, [("a", "p", b"x")]), "validation", 10, 10)


def toy(documents):
    return SimpleNamespace(documents=lambda split: iter(documents))


def test_a_small_budget_is_spread_over_sources_languages_and_projects():
    documents = [
        Document(f"{source}/{project}/{number}", b"x" * 5000, source, f"{source}-{project}", language)
        for source, language, projects in (("code", "python", 30), ("code", "c", 2), ("web", "", 1))
        for project in range(projects)
        for number in range(4)
    ]
    found = held_out_documents(toy(documents), "test", 3000, 20_000)
    assert len({(one.project, one.language) for one in found}) == len(found) == -(-3000 // MIN_BYTES)
    assert len({(one.source, one.language) for one in found[:3]}) == 3
    assert max(len(one.text) for one in found) == MIN_BYTES
    found = held_out_documents(toy(documents), "test", 200_000, 20_000)
    assert len(found) >= DOCUMENTS
    assert sum(len(one.text) for one in found) == 200_000


@st.composite
def splits(draw):
    kinds = st.tuples(st.sampled_from("ab"), st.sampled_from("pqr"), st.sampled_from(["", "c"]), st.integers(0, 400))
    return [
        Document(str(number), b"x" * size, source, project, language)
        for number, (source, project, language, size) in enumerate(draw(st.lists(kinds, min_size=1, max_size=40)))
    ]


@given(splits(), st.integers(1, 9000), st.integers(1, 500))
def test_the_budget_is_spent_on_as_many_documents_as_the_rule_says(documents, most, limit):
    """Against the rule said slowly: every limit is tried."""
    whole = [one for one in documents if one.text]
    if not whole:
        with pytest.raises(InputError, match="holds no text"):
            held_out_documents(toy(documents), "test", most, limit)
        return
    found = held_out_documents(toy(documents), "test", most, limit)
    assert found == held_out_documents(toy(documents), "test", most, limit)
    assert len({one.id for one in found}) == len(found)
    assert all(one.text for one in found)

    def taken(each):
        left, counts = most, []
        for one in ordered:
            counts.append(min(left, each, len(one.text)))
            left -= counts[-1]
        return [count for count in counts if count]

    ordered = held_out_documents(toy(documents), "test", 10**9, 10**9)
    assert {one.id for one in ordered} == {one.id for one in whole}
    enough = [
        each for each in range(min(limit, MIN_BYTES), limit + 1) if len(taken(each)) >= min(DOCUMENTS, len(whole))
    ]
    wanted = taken(max(enough, default=min(limit, MIN_BYTES)))
    assert [len(one.text) for one in found] == wanted
    parts = {(one.source, one.project, one.language) for one in whole}
    first = ordered[: len(parts)]
    assert {(one.source, one.project, one.language) for one in first} == parts, "a turn is over first"
    kinds = {(one.source, one.language) for one in first}
    assert {(one.source, one.language) for one in first[: len(kinds)]} == kinds, "and in it each kind of text"
