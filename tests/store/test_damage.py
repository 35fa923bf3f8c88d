"""A corpus that was damaged somewhere gives the same documents and rows, or one clear error; no others, and no crash.

Also where whoever changed a number let all checksums fit: compiled code must not follow it. Each kind of damage is
tried many times in a process of its own, so that one that dies of it fails its test and nothing else.
"""

from pathlib import Path

import pytest
from tests.store.damaged import DAMAGES, damaged, used
from tests.store.toys import FIXED_TEXTS, WORDS, Halves, Opaque, a_document

from byteproxy.corpus.split import SplitOptions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents

OTHER_IS_FINE = {"agreed_bit", "agreed_number", "agreed_row", "manifest_number"}
"""Where what was changed may be what a corpus can hold, such as another letter, or a passage of another length."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "corpus"
    texts = [text[:700] for text in FIXED_TEXTS * 3]
    documents = [a_document(number, b"%d" % number * 3 + text) for number, text in enumerate(texts)]
    prepare_documents([*documents, documents[0]], folder, SplitOptions(0.2, 0.2), shard_bytes=3000)
    for view in (WORDS, Halves(), Opaque()):
        add_view(folder, view)
    used(folder)  # leaves tables of passages
    return folder


@pytest.fixture(scope="module")
def outcomes(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str], str]]:
    """Of each kind of damage: how its process ended, the lines it printed, and what it said on stderr."""
    folder = tmp_path_factory.mktemp("damaged")
    return {
        kind: (status, (folder / f"{kind}.out").read_text().splitlines(), (folder / f"{kind}.err").read_text())
        for kind, status in damaged(corpus, folder, 1, 60).items()
    }


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_changes_nothing_or_is_said(kind: str, outcomes: dict[str, tuple[int, list[str], str]]) -> None:
    status, lines, said = outcomes[kind]
    assert status == 0, f"{lines[-1:]} {status} {said[-2000:]}"
    assert len(lines) == 60
    for line in lines:
        outcome = line.rpartition(": ")[2] if "refused" not in line else "refused"
        assert outcome in {"same", "refused", *({"other"} & ({"other"} if kind in OTHER_IS_FINE else set()))}, line
    assert any("refused" in line or line.endswith("same") for line in lines)
