import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.written_tables import (
    BINARIES,
    DICTIONARIES,
    STRINGS,
    WRITERS,
    column,
    unit_of,
    write_parquet,
    write_stream,
)

from byteproxy.corpus import parquet
from byteproxy.corpus.document import Document
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.parquet import TableUnit
from byteproxy.corpus.records import INVALID_UTF8, TOO_LARGE, UNREADABLE, WRONG_TYPE, Rules, judged
from byteproxy.errors import InputError


@st.composite
def rows_and_types(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, pa.DataType]]:
    texts = st.one_of(st.none(), st.text(max_size=20).map(str.encode), st.binary(max_size=20))
    kinds = {"text": draw(st.sampled_from(STRINGS + BINARIES + DICTIONARIES))}
    parts: dict[str, st.SearchStrategy[Any]] = {"text": texts}
    for name in draw(st.sets(st.sampled_from(["id", "project", "repo_name", "repo", "lang", "other"]))):
        kinds[name] = draw(st.sampled_from([pa.int64(), pa.uint8(), *STRINGS, DICTIONARIES[0], pa.float64()]))
        whole = st.integers(0, 9) if pa.types.is_integer(kinds[name]) else st.text(max_size=3).map(str.encode)
        parts[name] = st.none() | (st.floats(0, 1) if kinds[name] == pa.float64() else whole)
    return draw(st.lists(st.fixed_dictionaries(parts), max_size=15)), kinds


def slow_reader(rows: list[dict[str, Any]], rules: Rules) -> list[tuple[int, int, str, Document | None]]:
    found = []
    for number, row in enumerate(rows, 1):

        def first(*names: str, row: dict[str, Any] = row) -> str:
            for value in map(row.get, names):
                if isinstance(value, bytes | int) and value != b"":
                    return value.decode() if isinstance(value, bytes) else str(value)
            return ""

        document, reason = None, WRONG_TYPE
        if row["text"] is not None:
            text, reason, _ = judged(row["text"], rules)
            if text is not None:
                id = first("id") or f"f:{number}"
                project = first("project", "repo_name", "repo") or id
                document = Document(id, text, "s", project, first("language", "lang").lower())
        found.append((number, number, reason, document))
    return found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=rows_and_types(),
    writer=st.sampled_from(WRITERS),
    chunk=st.integers(1, 20),
    batch=st.integers(1, 9),
    invalid=st.sampled_from(["keep", "drop", "repair"]),
    largest=st.sampled_from([0, 10]),
)
def test_as_a_slow_reader_finds(
    tmp_path: Path,
    content: tuple[list[dict[str, Any]], dict[str, pa.DataType]],
    writer: tuple[str, Callable[[pa.Table, Path, int], None]],
    chunk: int,
    batch: int,
    invalid: Any,
    largest: int,
) -> None:
    rows, kinds = content
    if writer[0] == "parquet" and kinds["text"] == DICTIONARIES[0]:
        rows = [row | {"text": row["text"] and row["text"].decode("utf-8", "replace").encode()} for row in rows]
    table = pa.table(
        {
            name: column([row[name] for row in rows], kind)
            if name == "text" or not pa.types.is_primitive(kind)
            else pa.array([row[name] for row in rows], kind)
            for name, kind in kinds.items()
        }
    )
    path = tmp_path / "f"
    writer[1](table, path, chunk)
    rules = Rules(largest=largest, invalid=invalid)
    unit = pickle.loads(pickle.dumps(unit_of(writer[0], path)))
    unit.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "BATCH_ROWS", batch)
        whole = list(unit.read(rules))
        assert [(r.place, r.line, r.reason, r.document) for r in whole] == slow_reader(rows, rules)
        assert all(record.file == "f" and bool(record.detail) == bool(record.reason) for record in whole)
        for after in range(len(rows) + 2):
            assert list(unit.read(rules, after)) == whole[after:]


def test_details(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_parquet(pa.table({"text": column([None, b"\xff", b"x" * 9], pa.string())}), path, 2)
    found = list(unit_of("parquet", path).read(Rules(largest=8, invalid="drop")))
    assert [(record.reason, record.detail) for record in found] == [
        (WRONG_TYPE, "text is null, not string"),
        (INVALID_UTF8, "byte 0: invalid start byte"),
        (TOO_LARGE, "9 bytes"),
    ]


def test_names_that_are_not_unicode_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_stream(pa.table({"text": [b"x"], "id": column([b"a\xff"], pa.string())}), path, 2)
    (record,) = unit_of("arrow", path).read(Rules())
    assert record.document == Document("a\\xff", b"x", "s", "a\\xff", "")


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_named_fields_and_the_first_of_two_columns_of_a_name(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    path = tmp_path / "f"
    names = ["text", "meta.body", "k", "where", "k", "in"]
    columns = [["no"], ["yes"], [7], ["x"], [8], ["Rust"]]
    writer(pa.Table.from_arrays([pa.array(values) for values in columns], names), path, 1)
    unit = unit_of(kind, path, Fields(("content", "meta.body"), ("k",), ("where",), ("in",)))
    unit.check()
    assert [record.document for record in unit.read(Rules())] == [Document("7", b"yes", "s", "x", "rust")]


def test_a_column_of_nulls_only_is_no_text_in_any_row(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_parquet(pa.table({"text": pa.nulls(3)}), path, 2)
    assert [record.reason for record in unit_of("parquet", path).read(Rules())] == [WRONG_TYPE] * 3


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_tables_without_what_is_wanted_are_refused(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    path = tmp_path / "t.bin"
    writer(pa.table({"body": ["x"], "n": [1], "f": [0.5]}), path, 1)
    with pytest.raises(InputError, match=rf"{path} has no column text or content: .* text=NAME; there are body, n, f"):
        unit_of(kind, path).check()
    with pytest.raises(InputError, match=r"column n of .* holds int64, not text: .* there are body, n, f"):
        unit_of(kind, path, Fields(text=("n",))).check()
    for part in ("id", "project", "language"):
        with pytest.raises(InputError, match=f"column f of .* holds double, neither strings nor whole .*{part}=NAME"):
            unit_of(kind, path, replace(Fields(text=("body",)), **{part: ("f",)})).check()
    (record,) = unit_of(kind, path).read(Rules(), 5)
    assert (record.place, record.reason) == (6, UNREADABLE)


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_what_lies_before_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    path = tmp_path / "f"
    writer(pa.table({"text": [str(number) for number in range(300)]}), path, 100)
    looked_at, arrays = [], parquet._arrays
    monkeypatch.setattr(parquet, "_arrays", lambda *given: looked_at.append(given[2]) or arrays(*given))
    assert len(list(unit_of(kind, path).read(Rules(), 200))) == 100
    assert looked_at == [201]


def test_key_tells_what_decides_the_records(tmp_path: Path) -> None:
    unit = TableUnit("s", "parquet", str(tmp_path / "a"), "f", 1, 2, Fields())
    others = [
        replace(unit, source="t"),
        replace(unit, kind="arrow"),
        replace(unit, file="g"),
        replace(unit, size=2),
        replace(unit, mtime_ns=3),
        replace(unit, fields=Fields(id=("x",))),
    ]
    assert replace(unit, path="/elsewhere").key == unit.key
    assert len({unit.key, *(other.key for other in others)}) == 7
