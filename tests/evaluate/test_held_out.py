import pytest

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store

EVERYTHING = Split(0.0, 0.999999)


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
    with pytest.raises(InputError, match="validation side holds no text"):
        held_out_texts(stored(tmp_path, [("a", "p", b"x")]), "validation", 10, 10)
