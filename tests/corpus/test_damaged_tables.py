"""Tables that are damaged or end early."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.corpus.written_tables import WRITERS, ZSTD_MAGIC, column, unit_of, write_stream

from byteproxy.corpus.records import UNREADABLE, Rules
from byteproxy.errors import InputError


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
