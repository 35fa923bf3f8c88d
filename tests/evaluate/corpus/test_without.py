from pathlib import Path

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.evaluate.corpus.corpus_figures import corpus_figures
from byteproxy.evaluate.corpus.tables import by_field
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store


def test_documents_that_lack_what_others_of_their_source_have_are_counted_and_shown(tmp_path: Path) -> None:
    documents = [
        Document(f"f:{n}", b"%d" % n, "some", f"f:{n}" if n % 3 else "p", "c" if n < 5 else "") for n in range(30)
    ]
    documents += [Document(f"g:{n}", b"g%d" % n, "none", f"g:{n}") for n in range(4)]
    documents += [Document(f"h:{n}", b"h%d" % n, "all", "q", "c") for n in range(4)]
    manifest = prepare_documents(documents, tmp_path, SplitOptions(), shard_bytes=16)
    figures = corpus_figures(Store(tmp_path, manifest))
    assert {name: found["without"] for name, found in figures["sources"].items()} == {
        "some": {"project": 20, "language": 25},
        "none": {"project": 4, "language": 4},
        "all": {"project": 0, "language": 0},
    }
    assert by_field(figures).rows == [("some: project", ["20", "66.7"]), ("some: language", ["25", "83.3"])]
