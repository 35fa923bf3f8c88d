"""What several tests of the store compare with."""

import pytest
from tests.store.toys import FIXED, SPLIT, WORDS, contents

from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of a corpus with a view that nothing came in the way of, by name."""
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare_documents(FIXED, folder, SPLIT, shard_bytes=20_000)
    add_view(folder, WORDS)
    files = contents(folder)
    assert sum(name.endswith(".words.arrow") for name in files) >= 6
    return files
