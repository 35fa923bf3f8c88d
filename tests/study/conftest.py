import pickle
import shutil

import pytest
from tests.convert.conftest import model
from tests.convert.tiny import write_text
from tests.made_once import made_once
from tests.study.toys import ran
from tests.toy_corpus import toy_documents

from byteproxy.corpus.document import Document
from byteproxy.report.study_page import write_study_page

__all__ = ["model"]


def _finish(folder):
    results = ran(folder / "run", page=write_study_page)
    (folder / "results.pickle").write_bytes(pickle.dumps(results))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of the finished toy study, which no test writes to, and its results."""
    folder = made_once(tmp_path_factory, "toy-study", _finish)
    return folder / "run", pickle.loads((folder / "results.pickle").read_bytes())


@pytest.fixture
def copied(finished, tmp_path):
    """The finished study in a folder of its own, files as old as they were."""
    return shutil.copytree(finished[0], tmp_path / "run")


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
