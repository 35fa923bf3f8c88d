import pytest
from tests.convert.tiny import tiny_llama, write_text
from tests.toy_corpus import toy_documents

from byteproxy.corpus.document import Document


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a tiny Llama of tokens, hardly trained."""
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama", steps=20)


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A folder of source text, and a few words on each project in a language of its own."""
    code = toy_documents()
    words = [
        Document(
            "README.md", f"# {one.project}\n\nIt adds a number to a value, {n} times.\n".encode() * 4, "", one.project
        )
        for n, one in enumerate(code[::2])
    ]
    return write_text(tmp_path_factory.mktemp("text") / "code", code + words)
