import pytest
from tests.convert.tiny import tiny_llama, write_text
from tests.made_once import made_once
from tests.toy_corpus import toy_documents


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a tiny Llama of tokens, hardly trained."""
    return made_once(tmp_path_factory, "models", lambda folder: tiny_llama(folder / "llama", steps=20)) / "llama"


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A folder of source text."""
    return write_text(tmp_path_factory.mktemp("text") / "code", toy_documents())
