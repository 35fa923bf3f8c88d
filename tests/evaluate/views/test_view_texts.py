import pytest
from tests.toy_corpus import toy_documents

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.evaluate.views.view_texts import Corpus, corpus_named, held_out_sample
from byteproxy.store.prepare import prepare_documents


def copies(folder):
    """A corpus in which one held-out document is a copy of training text, and another a copy of a third."""
    documents = toy_documents(40)
    split = SplitOptions(
        0, 0, hold_out=(*(f"validation:project{n}" for n in range(6)), *(f"project{n}" for n in range(6, 12)))
    )
    numbers = {"train": range(24, 40), "validation": range(12), "test": range(12, 24)}
    splits = {split: [documents[n] for n in own] for split, own in numbers.items()}
    victim, other = splits["validation"][:2]
    long = {split: b"\n".join(b"a line of %s, number %d" % (split.encode(), n) for n in range(9)) for split in splits}
    more = [
        Document("copy-of-train", long["train"] + b"\nnew", "toy", victim.project),
        Document("original", long["validation"], "toy", victim.project),
        Document("copy-of-held-out", long["validation"] + b"\nnew", "toy", other.project),
        Document("in-train", long["train"], "toy", splits["train"][0].project),
    ]
    prepare_documents(documents + more, folder, split)
    return corpus_named(str(folder))


def test_copies_are_left_out_and_counted(tmp_path):
    corpus = copies(tmp_path / "corpus")
    before = [document.text for document in corpus.documents("validation")]
    sample = held_out_sample(corpus, "validation", 10**6)
    assert sample.near_duplicates == 2
    assert sum(text.endswith(b"\nnew") for text in before) == 2
    assert sum(text.endswith(b"\nnew") for text in sample.texts) == 0
    assert len(sample.texts) == len(before) - 2
    assert sum(map(len, held_out_sample(corpus, "validation", 500).texts)) == 500
    with pytest.raises(InputError, match="not trained on"):
        held_out_sample(corpus, "train", 500)
    with pytest.raises(InputError, match="max_bytes is 0"):
        held_out_sample(corpus, "validation", 0)


def test_a_side_of_copies_only_is_said():
    document = Document("a", b"one line that is long enough\n", "toy", "p")
    with pytest.raises(InputError, match="every document of the test split of mine is a near-duplicate"):
        held_out_sample(Corpus("mine", lambda split: iter([document])), "test", 100)


def test_what_is_no_corpus_is_said(tmp_path):
    for name in (str(tmp_path), "nowhere/at/all", ""):
        with pytest.raises(InputError, match=r"no prepared corpus.*manifest\.json.*stdlib"):
            corpus_named(name)


def test_the_standard_library_is_split_by_project():
    corpus = corpus_named("stdlib")
    held_out = {document.project for document in corpus.documents("validation")}
    train = list(corpus.documents("train"))
    assert held_out
    assert not held_out & {document.project for document in train}
    sizes = [sum(len(one.text) for one in documents) for documents in (train, corpus.documents("validation"))]
    assert sizes[1] / sizes[0] == pytest.approx(0.05 / 0.85, abs=0.003)
