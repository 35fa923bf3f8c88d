"""JSON as lines, as an array, or as one object: told apart, and cut into records, as the json module reads it."""

import bz2
import gzip
import json
import lzma
import random
import re
import zlib
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteproxy.corpus import decompression as stream_module
from byteproxy.corpus import json_shape as shape_module
from byteproxy.corpus.content import look
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.records import BROKEN_JSON, TOO_LARGE, UNREADABLE, USUAL_RECORD_BYTES, Record, Rules

tricky = st.text(st.sampled_from(list('ab",[]{}\\\\\\n\x85 é文')), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | tricky,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tricky, inner, max_size=3),
    max_leaves=6,
)
records = st.builds(lambda text, others: {"text": text, **others}, tricky, st.dictionaries(st.just("x"), values))


def unit(path: Path, usual: int = 0) -> JsonlUnit:
    return JsonlUnit("s", str(path), "f", path.stat().st_size, 1, Fields(), usual)


def texts(found: list[Record]) -> list[str]:
    return [record.document.text.decode() for record in found if record.document is not None]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(records, min_size=1, max_size=8),
    indent=st.sampled_from([None, 0, 2]),
    plain=st.booleans(),
    block=st.integers(1, 60),
    bom=st.booleans(),
    again=st.booleans(),
)
def test_an_array_is_its_elements(
    tmp_path: Path, rows: list[dict[str, object]], indent: int | None, plain: bool, block: int, bom: bool, again: bool
) -> None:
    data = json.dumps(rows, indent=indent, ensure_ascii=plain)
    path = tmp_path / "f.json"
    path.write_text("\ufeff" * bom + data + f"\n{data}\n" * again, encoding="utf-8")
    assert look(str(path)).shape == "array"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "BLOCK_BYTES", block)
        found = list(unit(path).read(Rules(smallest=0)))
        assert texts(found) == [row["text"] for row in rows] * (1 + again)
        assert all(record.document is not None for record in found)
        assert [record.place for record in found] == sorted({record.place for record in found})
        for after in (0, found[0].place, found[-1].place):
            again_found = list(unit(path).read(Rules(smallest=0), after))
            assert again_found == [record for record in found if record.place > after]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(records, min_size=2, max_size=8), share=st.floats(0.2, 0.999), packed=st.booleans())
def test_an_array_that_breaks_off_keeps_what_is_whole(
    tmp_path: Path, rows: list[dict[str, object]], share: float, packed: bool
) -> None:
    data = json.dumps(rows).encode()
    data = data[: max(int(len(data) * share), data.index(b"}") + 3)]
    whole = 0
    for number in range(1, len(rows) + 1):
        whole += len(json.dumps(rows[:number])) - 1 <= len(data)
    path = tmp_path / "f.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    if look(str(path)).shape != "array":
        return  # one object and a broken second
    *sound, last = unit(path).read(Rules(smallest=0))
    assert texts(sound) == [row["text"] for row in rows[:whole]]
    assert (last.reason, last.document) == (UNREADABLE, None)
    assert last.records >= 1
    assert "breaks off" in last.detail


PACK = {"": bytes, "gz": gzip.compress, "zst": zstd.compress, "xz": lzma.compress, "bz2": bz2.compress}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(records, min_size=1, max_size=30),
    suffix=st.sampled_from(list(PACK)),
    share=st.floats(0.0, 0.999),
    damage=st.sampled_from(["cut", "flip", "garbage"]),
    members=st.integers(1, 3),
)
def test_records_that_are_whole_before_damage_are_kept(
    tmp_path: Path, rows: list[dict[str, object]], suffix: str, share: float, damage: str, members: int
) -> None:
    lines = [json.dumps(row).encode() + b"\n" for row in rows] * 20
    step = -(-len(lines) // members)
    packed = [PACK[suffix](b"".join(lines[first : first + step])) for first in range(0, len(lines), step)]
    data = b"".join(packed)
    place = max(int(len(data) * share), 12)
    before = 0  # lines of members that are whole before the damage
    while before < len(packed) and sum(map(len, packed[: before + 1])) <= place:
        before += 1
    sound = min(before * step, len(lines)) if suffix else data[:place].count(b"\n")
    if damage == "garbage":
        data, sound = data + b"\xff garbage", len(lines)
    elif damage == "flip":
        data = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
    else:
        data = data[:place]
    path = tmp_path / f"f.jsonl.{suffix}"
    path.write_bytes(data)
    found = list(unit(path).read(Rules(smallest=0)))
    expected = [json.loads(line)["text"] for line in lines]
    assert texts(found)[:sound] == expected[:sound]
    if damage != "flip":
        assert texts(found) == expected[: len(texts(found))]
    if damage == "garbage" or (suffix in ("gz", "xz", "bz2") and texts(found) != expected):  # they have checksums
        assert any(record.reason for record in found)
    for after in (sound, len(found)):
        assert list(unit(path).read(Rules(smallest=0), after)) == [one for one in found if one.place > after]


def test_an_overlong_element_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps([{"text": "a"}, {"text": "x" * 3_000_000}, {"text": "b"}]))
    found = list(unit(path).read(Rules(largest=1000)))
    assert texts(found) == ["a", "b"]
    assert [record.reason for record in found] == ["", TOO_LARGE, ""]


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', "lines"),
        ('\ufeff{"text": "a"}\r\n\r\n{"text": "b"}', "lines"),
        ('{"text": NaN}\n{"text": "\\ud800"}\n', "lines"),
        ('{"a": 1}{"a": 2}', "lines"),
        ('{"a": 1}\n{broken\n{"a": 2}\n', "lines"),
        ('{"a": ' + "9" * 5000 + '}\n{"a": 2}\n', "lines"),
        ('[{"a": 1}]', "array"),
        ('\n [\n  {\n    "a": [1, {"b": 2}]\n  }\n]\n', "array"),
        ("[{}, {}]", "array"),
        ('{"name": "package", "version": "1"}\n', "object"),
        ('{\n  "name": "package",\n  "files": [{"a": 1}]\n}\n', "object"),
        ("{}\n", "object"),
        ("[1, 2, 3]", ""),
        ('["a", "b"]', ""),
        ('[{"a": 1}].map(x => x)', ""),
        ("{ color: red }", ""),
        ("[section]\nkey = 1\n", ""),
        ('"text"', ""),
        ("{% block %}\n{% end %}\n", ""),
        ('{"a": 1', ""),
        ('[]\n{"text": "a"}\n{"text": "b"}\n', "lines"),
        ('broken\n{"text": "a"}\n', "lines"),
        ('# a heading\n\nand text\n{"text": "a"}\n', ""),
        ("a\nb\n", ""),
    ],
)
def test_shapes(tmp_path: Path, data: str, shape: str) -> None:
    path = tmp_path / "f"
    path.write_text(data, encoding="utf-8", newline="")
    assert look(str(path)).shape == shape
    path.write_bytes(gzip.compress(data.encode()))
    assert look(str(path)).shape == shape


@pytest.mark.parametrize("size", [100, 20_000, 300_000])
def test_a_first_record_of_any_length_is_followed_to_its_end(tmp_path: Path, size: int) -> None:
    row, path = json.dumps({"text": "x" * size}), tmp_path / "f"
    for data, shape in ((f"{row}\n{row}\n", "lines"), (f"[{row},\n{row}]", "array"), (row, "object"), (row[:-2], "")):
        path.write_text(data)
        assert look(str(path)).shape == shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape_module, "MAX_BYTES", 1)
        path.write_text(f"[{row},\n{row}]")
        assert look(str(path)).shape == ("array" if size < 100_000 else "")


def test_what_is_lost_is_counted_by_what_was_read(tmp_path: Path) -> None:
    noise = random.Random(0)
    lines = [json.dumps({"text": noise.randbytes(50).hex()}) + "\n" for _ in range(2000)]
    packed = gzip.compress("".join(lines).encode())
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 4] + noise.randbytes(len(packed) - len(packed) // 4))  # and not cut
    *sound, last = unit(path).read(Rules())
    before = zlib.decompressobj(31).decompress(packed[: len(packed) // 4]).count(b"\n")
    assert before > 400
    assert texts(sound)[:before] == [json.loads(line)["text"] for line in lines[:before]]
    assert len(sound) < before + 100  # deflate can make text of anything for a while
    assert last.lost_bytes == pytest.approx(0.75 * len(packed), rel=0.05)
    assert last.records == pytest.approx(2000 - len(sound), rel=0.1)
    assert re.search(rf"about {last.records:,} records and {last.lost_bytes:,} bytes on disk are lost", last.detail)
    path.write_bytes(packed[: len(packed) // 4])
    *sound, last = unit(path, usual=len(packed)).read(Rules())
    assert last.lost_bytes == len(packed) - len(packed) // 4
    assert last.records == pytest.approx(2000 - len(sound), rel=0.1)
    *sound, last = unit(path).read(Rules())  # alone: as much again
    assert last.records == len(sound)
    assert last.lost_bytes == len(packed) // 4


def test_a_file_of_which_nothing_can_be_read_is_many_records(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes("".join(f"{n} is text\n" for n in range(5000)).encode("utf-16"))
    (record,) = unit(path).read(Rules())
    assert (record.reason, record.records) == (UNREADABLE, round(path.stat().st_size / USUAL_RECORD_BYTES))
    assert record.lost_bytes == path.stat().st_size
    assert "UTF-16" in record.detail
    gone = unit(path)
    path.unlink()
    assert next(iter(gone.read(Rules()))).records == record.records


def test_a_hole_of_zeros_is_one_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(bytes(20_000) + b'\n{"text": "a"}\n{"text": "b"}\n')
    found = list(unit(path).read(Rules()))
    assert [record.reason for record in found] == [BROKEN_JSON, "", ""]


def test_a_last_line_without_its_end_is_kept_if_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n{"text": "b"}') + b"garbage")
    found = list(unit(path).read(Rules()))
    assert texts(found) == ["a", "b"]
    assert [record.place for record in found] == [1, 2, 3]
    assert list(unit(path).read(Rules(), 2)) == found[2:]
    assert list(unit(path).read(Rules(), 3)) == []
