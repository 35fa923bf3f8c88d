import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteproxy.corpus import tables
from byteproxy.corpus.document import Document
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.reading import INVALID_UTF8, TOO_LARGE, UNREADABLE, WRONG_TYPE, Rules, judged
from byteproxy.corpus.tables import TableUnit
from byteproxy.errors import InputError

STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
BINARIES = [pa.binary(), pa.large_binary(), pa.binary_view()]
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
DICTIONARIES = [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_binary())]


def write_parquet(table: pa.Table, path: Path, rows: int) -> None:
    pq.write_table(table, path, row_group_size=rows)


def write_file(table: pa.Table, path: Path, rows: int) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=True, unify_dictionaries=True)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, rows)


def write_stream(table: pa.Table, path: Path, rows: int) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, rows)


WRITERS: list[tuple[str, Callable[[pa.Table, Path, int], None]]] = [
    ("parquet", write_parquet),
    ("arrow", write_file),
    ("arrow", write_stream),
]


def unit_of(kind: Any, path: Path, fields: Fields | None = None) -> TableUnit:
    return TableUnit("s", kind, str(path), "f", path.stat().st_size, path.stat().st_mtime_ns, fields or Fields())


def column(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """The values as a column of a type, also where they aren't UTF-8."""
    if pa.types.is_dictionary(kind):
        unique = list(dict.fromkeys(value for value in values if value is not None))
        indices = pa.array([None if value is None else unique.index(value) for value in values], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, column(unique, kind.value_type))
    if kind in STRINGS:
        return pa.array(values, BINARIES[STRINGS.index(kind)]).view(kind)
    return pa.array(values, kind)


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
        patch.setattr(tables, "BATCH_ROWS", batch)
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
    with pytest.raises(InputError, match=rf"{path} has no column text or content, but body, n, f.*text="):
        unit_of(kind, path).check()
    with pytest.raises(InputError, match=r"column n of .* is int64, not text.*body, n, f"):
        unit_of(kind, path, Fields(text=("n",))).check()
    for part in ("id", "project", "language"):
        with pytest.raises(InputError, match=f"column f of .* is double, neither strings nor whole numbers.*{part}="):
            unit_of(kind, path, replace(Fields(text=("body",)), **{part: ("f",)})).check()
    (record,) = unit_of(kind, path).read(Rules(), 5)
    assert (record.place, record.reason) == (6, UNREADABLE)


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
@pytest.mark.parametrize("left", [0, 3, 60])
def test_files_that_end_early_are_refused(
    tmp_path: Path, kind: str, writer: Callable[[pa.Table, Path, int], None], left: int
) -> None:
    path = tmp_path / "t.bin"
    writer(pa.table({"text": ["x" * 99] * 9}), path, 4)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=rf"can't read {path} as {kind}"):
        unit_of(kind, path).check()
    (record,) = unit_of(kind, path).read(Rules())
    assert (record.place, record.reason) == (1, UNREADABLE)


def test_a_damaged_row_group_costs_its_rest_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "f"
    texts = [f"{number} {number**99}" for number in range(3000)]
    pq.write_table(
        pa.table({"text": texts}), path, row_group_size=1000, data_page_size=8192, compression="zstd",
        use_dictionary=False, write_page_checksum=True, write_batch_size=64,
    )  # fmt: skip
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 3] ^= 0xFF
    path.write_bytes(data)
    unit = unit_of("parquet", path)
    unit.check()
    found = list(unit.read(Rules()))
    (lost,) = [record for record in found if record.reason]
    assert lost.reason == UNREADABLE
    assert 1001 < lost.place <= 1600
    assert lost.detail.startswith(f"rows {lost.place} to 2000 are lost")
    assert lost.records == 2001 - lost.place
    assert lost.lost_bytes == len(data) * lost.records // 3000
    there = [number for number in range(1, 3001) if number < lost.place or number > 2000]
    assert [r.place for r in found if r.document] == there
    assert all(r.document.text.decode() == texts[r.place - 1] for r in found if r.document)
    for after in (0, 500, 1000, lost.place - 1, lost.place, 1999, 2000, 2500):
        assert list(unit.read(Rules(), after)) == [record for record in found if record.place > after]


def test_a_damaged_batch_of_an_arrow_file_counts_as_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "f"
    texts = [f"{number**99:0400d}" for number in range(300)]
    with pa.ipc.new_file(
        path, pa.schema({"text": pa.string()}), options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as file:
        file.write_table(pa.table({"text": texts}), 100)
    data = bytearray(path.read_bytes())
    place = [found.start() for found in re.finditer(re.escape(ZSTD_MAGIC), data)][-3]  # offsets and bytes of each batch
    data[place : place + 99] = b"\xff" * 99
    path.write_bytes(data)
    found = list(unit_of("arrow", path).read(Rules()))
    (lost,) = [record for record in found if record.reason]
    assert (lost.place, lost.reason, lost.records) == (101, UNREADABLE, 100)
    assert lost.lost_bytes == len(data) // 3
    assert "are lost" in lost.detail
    assert [r.document.text.decode() for r in found if r.document] == texts[:100] + texts[200:]
    assert [r.place for r in found] == list(range(1, 202))
    for after in (99, 100, 101, 150):
        assert list(unit_of("arrow", path).read(Rules(), after)) == found[after:]


def test_a_stream_that_ends_early_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_stream(pa.table({"text": [str(number) * 99 for number in range(90)]}), path, 30)
    path.write_bytes(path.read_bytes()[:-3000])
    found = list(unit_of("arrow", path).read(Rules()))
    assert [record.place for record in found] == list(range(1, 62))
    assert [record.reason for record in found] == [""] * 60 + [UNREADABLE]
    assert found[-1].lost_bytes > 0
    for after in (0, 30, 45, 60, 61):
        assert list(unit_of("arrow", path).read(Rules(), after)) == found[after:]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_damaged_offset_is_not_followed(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "f"
    write_stream(pa.table({"text": column([b"abc", b"defgh", b"ij"], kind)}), path, 9)
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 3, 8, 10))
    data = path.read_bytes()
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, offsets[:8] + b"\xff\xff\xff\x7f" + offsets[12:]))
    (record,) = unit_of("arrow", path).read(Rules())
    assert (record.place, record.reason) == (1, UNREADABLE)
    assert record.detail.startswith("rows 1 to 3 are lost")


@pytest.mark.parametrize(("kind", "writer"), WRITERS)
def test_what_lies_before_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, writer: Callable[[pa.Table, Path, int], None]
) -> None:
    path = tmp_path / "f"
    writer(pa.table({"text": [str(number) for number in range(300)]}), path, 100)
    looked_at, arrays = [], tables._arrays
    monkeypatch.setattr(tables, "_arrays", lambda *given: looked_at.append(given[2]) or arrays(*given))
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
    with pytest.raises(InputError, match=r"column meta\.deep of .* is struct<.*>, not text.*meta\.deep\.name"):
        documents(text=("meta.deep",))
    with pytest.raises(InputError, match=r"no column meta\.txet, but .*; did you mean text=meta\.text\?"):
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
    with pytest.raises(InputError, match=r'no column body, but "na\\xef\\xe9me", more, "more\.na\\xef\\xe9me"'):
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
        with pytest.raises(InputError, match=rf"column (before|after) of {path} is \S+.*(not text|neither strings)"):
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
