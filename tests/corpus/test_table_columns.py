"""Columns of any type and name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.corpus.written_tables import WRITERS, column, unit_of, write_stream

from byteproxy.corpus.document import Document
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.records import WRONG_TYPE, Rules
from byteproxy.errors import InputError


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_fields_of_structs_and_columns_with_dots(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    """What stands beside them is damaged UTF-8, and structs that aren't there have no fields."""
    path = tmp_path / "f"
    bad = column([b"\xff", b"\xfe", b"\xfd"], pa.string())
    texts, names = pa.array(["a", "b", "c"]), pa.array(["x", None, "z"])
    deep = pa.StructArray.from_arrays([bad, names], ["bad", "name"])
    struct = pa.StructArray.from_arrays(
        [bad, texts, deep], ["bad", "text", "deep"], mask=pa.array([False, False, True])
    )
    columns = [bad, pa.array(["d", "e", "f"]), struct, pa.array([7, 8, 9])]
    writer(pa.Table.from_arrays(columns, ["text", "meta.text", "meta", "meta.deep.id"]), path, 2)

    def documents(**fields: tuple[str, ...]) -> list[tuple[str, bytes, str] | str]:
        unit = unit_of(kind, path, replace(Fields(), **fields))
        unit.check()
        found = list(unit.read(Rules()))
        assert list(unit.read(Rules(), 1)) == found[1:]
        return [(r.document and (r.document.id, r.document.text, r.document.project)) or r.reason for r in found]

    assert documents(text=("meta.text",)) == [("f:1", b"d", "f:1"), ("f:2", b"e", "f:2"), ("f:3", b"f", "f:3")]
    named = documents(text=("meta.text",), id=("meta.deep.id",), project=("meta.deep.name",))
    assert named == [("7", b"d", "x"), ("8", b"e", "8"), ("9", b"f", "9")]
    assert documents(text=("meta.bad",)) == [("f:1", b"\xff", "f:1"), ("f:2", b"\xfe", "f:2"), WRONG_TYPE]
    assert documents(text=("meta.deep.name",)) == [("f:1", b"x", "f:1"), WRONG_TYPE, WRONG_TYPE]
    with pytest.raises(InputError, match=r"column meta\.deep of .* holds struct<.*>, not text.*meta\.deep\.name"):
        documents(text=("meta.deep",))
    with pytest.raises(InputError, match=r"no column meta\.txet: .*there are .*; did you mean text=meta\.text\?"):
        documents(text=("meta.txet",))


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_names_of_columns_that_are_not_utf8(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    path = tmp_path / "f"
    struct = pa.array([{"naXXme": 1, "text": "inner"}])
    writer(pa.table({"naXXme": ["x"], "more": struct, "text": ["t"]}).replace_schema_metadata(None), path, 1)
    path.write_bytes(path.read_bytes().replace(b"naXXme", b"na\xef\xe9me"))
    if kind == "parquet":  # whose copy of the schema is in base64
        pq.write_table(pa.table({"naXXme": ["x"], "more": struct, "text": ["t"]}), path, store_schema=False)
        path.write_bytes(path.read_bytes().replace(b"naXXme", b"na\xef\xe9me"))
    unit = unit_of(kind, path)
    unit.check()
    assert [r.document and r.document.text for r in unit.read(Rules())] == [b"t"]
    unit = unit_of(
        kind, path, Fields(text=("more.text",), id=("more.na\udcef\udce9me",), project=("na\udcef\udce9me",))
    )
    assert [record.document for record in unit.read(Rules())] == [Document("1", b"inner", "s", "x")]
    with pytest.raises(InputError, match=r'no column body: .*there are "na\\xef\\xe9me", more, "more\.na\\xef\\xe9me"'):
        unit_of(kind, path, Fields(text=("body",))).check()


@pytest.mark.parametrize(("kind", "writer"), WRITERS[1:])
def test_runs_of_equal_values(tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None]) -> None:
    path = tmp_path / "f"
    texts = [b"a"] * 300 + ["é".encode()] * 3 + [None] * 2 + [b"b"]
    ends = pa.array([300, 303, 305, 306], pa.int32())
    runs = pa.RunEndEncodedArray.from_arrays(ends, pa.array(["a", "é", None, "b"]))
    numbers = pa.RunEndEncodedArray.from_arrays(ends, pa.array([1, 2, 3, None]))
    with (pa.ipc.new_stream if writer is write_stream else pa.ipc.new_file)(
        path, pa.schema({"text": runs.type, "project": numbers.type})
    ) as file:
        file.write_batch(pa.record_batch([runs, numbers], names=["text", "project"]))
    unit = unit_of(kind, path)
    unit.check()
    found = list(unit.read(Rules()))
    assert [record.document and record.document.text for record in found] == texts
    assert [found[at].document.project for at in (0, 299, 300, 305)] == ["1", "1", "2", "f:306"]  # type: ignore[union-attr]
    assert [record.reason for record in found[303:305]] == [WRONG_TYPE] * 2
    assert list(unit.read(Rules(), 290)) == found[290:]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["a"]]),
        pa.array([{"a": 1}]),
        pa.array([1.5]),
        pa.array([True]),
        pa.array([0], pa.timestamp("ns")),
        pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string())),
        pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['"a"'])),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16))),
    ],
)
@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_types_of_no_use_are_passed_over_unless_they_were_asked_for(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None], values: pa.Array
) -> None:
    path = tmp_path / "f"
    writer(pa.table({"before": values, "id": values, "text": ["t"], "after": values}), path, 1)
    unit = unit_of(kind, path)
    unit.check()
    assert [record.document for record in unit.read(Rules())] == [Document("f:1", b"t", "s", "f:1")]
    for fields in (Fields(text=("before",)), Fields(project=("after",))):
        with pytest.raises(InputError, match=rf"column (before|after) of {path} holds \S+.*(not text|neither strings)"):
            unit_of(kind, path, fields).check()


KINDS = st.recursive(
    st.sampled_from([pa.string(), pa.int64(), pa.dictionary(pa.int8(), pa.string()), pa.uuid(), pa.json_(), pa.null()]),
    lambda kinds: st.one_of(
        kinds.map(pa.list_),
        kinds.map(pa.large_list),
        kinds.map(lambda kind: pa.list_(kind, 2)),
        kinds.map(lambda kind: pa.map_(pa.string(), kind)),
        st.dictionaries(st.sampled_from(["a", "text", "b.c"]), kinds, min_size=1).map(
            lambda fields: pa.struct(list(fields.items()))
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(KINDS, max_size=4), place=st.integers(0, 4), wrapped=st.integers(0, 2))
def test_a_column_of_parquet_is_found_among_any_others(
    tmp_path: Path, kinds: list[pa.DataType], place: int, wrapped: int
) -> None:
    path, text = tmp_path / "f", pa.array(["t", None])

    def among_others(text: pa.Array) -> dict[str, pa.Array]:
        others = {f"x{number}": pa.nulls(2, kind) for number, kind in enumerate(kinds)}
        items = list(others.items())
        return dict([*items[:place], ("wanted", text), *items[place:]])

    for _ in range(wrapped):
        fields = among_others(text)
        text = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    pq.write_table(pa.table(among_others(text)), path)
    unit = unit_of("parquet", path, Fields(text=(".".join(["wanted"] * (wrapped + 1)),)))
    unit.check()
    assert [record.document and record.document.text for record in unit.read(Rules())] == [b"t", None]
