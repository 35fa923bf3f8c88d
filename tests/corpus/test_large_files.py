"""Large files as documents: all of a file, in its order, cut where people would cut it, whatever is in it."""

import gzip
import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.corpus import large_files
from byteproxy.corpus.content import content_of, refusal
from byteproxy.corpus.large_files import LARGE_FILE_BYTES, PIECE_BYTES, PiecesUnit, are_corpora, cut_before
from byteproxy.corpus.records import BINARY, INVALID_UTF8, UNREADABLE, Rules, Unit
from byteproxy.corpus.source_files import FilesSource, FilesUnit

ALL = Rules(smallest=0, largest=0)
TEXTS = st.one_of(
    st.binary(max_size=300),
    st.text("aé\n \U0001f600", max_size=150).map(str.encode),
    st.text("é\U0001f600", max_size=120).map(str.encode),
)


def unit_of(path: Path) -> PiecesUnit:
    return PiecesUnit("s", str(path.parent), path.name, path.stat().st_size, 0, path.name, "text")


@given(text=TEXTS, piece=st.integers(1, 40))
def test_pieces_are_the_file_and_end_where_they_can(
    text: bytes, piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "a.txt"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(large_files, "PIECE_BYTES", piece)
        records = list(unit_of(path).read(ALL))
        assert list(pickle.loads(pickle.dumps(unit_of(path))).read(ALL, 3)) == records[3:]
    if not (content := content_of(text)).is_text:
        assert [(record.document, record.reason) for record in records] == [(None, refusal(content)[0])]
        return
    documents = [record.document for record in records if record.document is not None]
    texts = [document.text for document in documents]
    assert b"".join(texts) == text
    assert all(0 < len(one) <= piece for one in texts)
    assert [record.place for record in records] == [*range(1, len(texts) + 1)]
    assert {record.line for record in records} <= {0}
    begins = [int(document.id.rpartition("@")[2]) for document in documents]
    assert begins == [sum(map(len, texts[:n])) for n in range(len(texts))]
    assert [document.id for document in documents] == sorted(document.id for document in documents)
    for one, following in pairwise(texts):
        window = (one + following)[piece // 2 : piece]
        end = max(window.rfind(b"\n"), -1)
        blank = window.rfind(b" ")
        if end >= 0 or blank >= 0:
            assert len(one) == piece // 2 + (end if end >= 0 else blank) + 1
        elif piece >= 8 and _is_utf8(text):
            assert _is_utf8(one)
            assert len(one) > piece - 4


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_cuts_are_after_line_ends_then_blanks_then_characters() -> None:
    assert cut_before(b"one two\nthree four", 0, 12) == 8
    assert cut_before(b"one two\nthree four", 8, 16) == 14
    assert cut_before("ééééé".encode(), 0, 5) == 4
    assert cut_before(b"\x80" * 20, 0, 10) == 10, "no character begins there: cut anywhere"
    assert cut_before(b"abc", 0, 3) == 3


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([PIECE_BYTES], [False]),
        ([PIECE_BYTES + 1], [True]),
        ([100_000_000, 2], [True, False]),
        ([900_000, 100_000], [True, False]),
        ([890_000, 110_000], [False, False]),
        ([LARGE_FILE_BYTES + 1] * 3 + [1000] * 5, [True] * 3 + [False] * 5),
        ([LARGE_FILE_BYTES + 1] + [10_000] * 2000, [False] * 2001),
        ([LARGE_FILE_BYTES] * 3, [False] * 3),
        ([], []),
    ],
)
def test_what_is_most_of_a_source_is_cut(sizes: list[int], cut: list[bool]) -> None:
    assert are_corpora(sizes) == cut


def test_a_folder_has_units_of_both_kinds_in_the_order_of_paths(tmp_path: Path) -> None:
    for name, size in (("a.txt", 10), ("b.txt", 400_000), ("c.txt", 20)):
        (tmp_path / name).write_bytes(b"x" * size)
    units: list[Unit] = FilesSource("s", str(tmp_path)).units()
    assert [unit.what for unit in units] == ["a.txt", "b.txt", "c.txt"]
    assert [type(unit) for unit in units] == [FilesUnit, PiecesUnit, FilesUnit]
    assert [unit.size for unit in units] == [10, 400_000, 20]
    (record, *_) = units[1].read(ALL)
    assert record.document is not None
    assert (record.document.project, record.document.language) == ("b.txt", "text")
    assert len({unit.key for unit in units}) == 3
    (alone,) = FilesSource("s", str(tmp_path / "b.txt")).units()
    assert isinstance(alone, PiecesUnit)


def test_a_file_of_any_size_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.write(b"x" * (1 << 19))
        file.truncate(1 << 43)  # sparse: reading all of it would end in a MemoryError
    records = unit_of(path).read(Rules())
    assert [len(next(records).document.text) for _ in range(3)] == [PIECE_BYTES] * 3  # type: ignore[union-attr]
    passed: list[int] = []
    next(unit_of(path).read(Rules(), 2, passed.append))
    assert passed == sorted(passed)
    assert 2 * PIECE_BYTES <= passed[-1] < 1 << 21


def test_rules_are_of_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"line\n" * 20_000 + b"\xff" + b"line\n" * 20_000)
    records = list(unit_of(path).read(Rules(largest=20_000, invalid="drop")))
    assert max(len(record.document.text) for record in records if record.document) <= 20_000
    (bad,) = [record for record in records if record.document is None]
    assert bad.reason == INVALID_UTF8
    assert bad.detail.startswith("from byte ")
    unit = unit_of(path)
    path.unlink()
    (gone,) = unit.read(ALL)
    assert gone.reason == UNREADABLE


def test_a_compressed_file_is_read_as_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    text = b"".join(b"line %d\n" % number for number in range(40_000))
    path.write_bytes(gzip.compress(text))
    records = list(unit_of(path).read(ALL))
    assert b"".join(record.document.text for record in records if record.document) == text
    path.write_bytes(gzip.compress(text)[:-2000])
    *sound, lost = unit_of(path).read(ALL)
    assert text.startswith(b"".join(record.document.text for record in sound if record.document))
    assert (lost.reason, lost.document) == (UNREADABLE, None)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(PIECE_BYTES))
    assert [record.reason for record in unit_of(path).read(ALL)] == [BINARY]
