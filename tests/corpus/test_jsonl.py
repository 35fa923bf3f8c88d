import gzip
import json
import pickle
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteproxy.corpus import decompression, jsonl
from byteproxy.corpus.document import Document
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.records import (
    BROKEN_JSON,
    INVALID_UTF8,
    NO_TEXT,
    TOO_LARGE,
    TOO_SMALL,
    UNREADABLE,
    WRONG_TYPE,
    Record,
    Rules,
    judged,
)

Outcome = tuple[int, int, str, Document | None]

values = st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.text(max_size=9), st.lists(st.just(1), max_size=1))
objects = st.dictionaries(st.sampled_from(["text", "content", "id", "repo", "repo_name", "lang", "other"]), values)


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """A line, sound or damaged in some way."""
    value = draw(st.one_of(objects, values))
    line = json.dumps(value, ensure_ascii=draw(st.booleans())).encode()
    kinds = ["sound", "sound", "sound", "cut", "bytes", "surrogate", "blank", "long", "several", "not a number"]
    match draw(st.sampled_from(kinds)):
        case "cut":
            line = line[: draw(st.integers(0, len(line)))]
        case "bytes":
            place = draw(st.integers(0, len(line)))
            line = line[:place] + draw(st.sampled_from([b"\xff", b"\xe2\x82", b"\xc0\xaf"])) + line[place:]
        case "surrogate":
            line = draw(
                st.sampled_from([b'{"text": "a\\ud800b"}', b'{"text": "t", "other": "\\ud800", "id": "\\ude00"}'])
            )
        case "blank":
            line = draw(st.sampled_from([b"", b" \t", b"\r"]))
        case "several":
            first = json.dumps(draw(objects)).encode()
            line = first + draw(st.sampled_from([b"", b" ", b"\r", b"\xef\xbb\xbf"])) + line
            line = line[: draw(st.integers(len(first), len(line)))] + draw(st.sampled_from([b"", b"}", b"1"]))
        case "not a number":
            line = line.replace(b"null", draw(st.sampled_from([b"NaN", b"-Infinity", b"9" * 30, b"9" * 900, b"1e30"])))
        case "long":
            line = json.dumps({"text": "x" * draw(st.integers(0, 300))}).encode()
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + line + draw(st.sampled_from([b"", b"", b"\r"]))


def slow_reader(data: bytes, rules: Rules, longest: int) -> Iterator[Outcome]:
    """What the file holds, by the json module and the whole of it at once."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if longest and len(line) > longest:
            yield number, number, TOO_LARGE, None
        elif line.strip():
            for reason, document in slow_line(line, number, rules):
                yield number, number, reason, document


def slow_line(line: bytes, number: int, rules: Rules) -> Iterator[tuple[str, Document | None]]:
    text = line.decode("utf-8", "replace" if rules.invalid == "repair" else "surrogateescape")
    values: list[Any] = []
    broken = False
    while (text := text.lstrip("\ufeff \t\r\n")) and not broken:
        try:
            value, end = json.JSONDecoder().raw_decode(text)
            text = text[end:]
            values.append(value)
        except ValueError:
            broken = True
    if broken and not text.startswith("{"):
        values = []
    if (broken or len(values) > 1) and not all(isinstance(value, dict) for value in values):
        values, broken = [], True
    for place, value in enumerate(values, 1):
        yield slow_value(value, f"f:{number}" if place == 1 else f"f:{number}.{place}", rules)
    if broken:
        yield BROKEN_JSON, None


def slow_value(value: Any, default: str, rules: Rules) -> tuple[str, Document | None]:
    if not isinstance(value, dict):
        return WRONG_TYPE, None
    if "text" not in value and "content" not in value:
        return NO_TEXT, None
    text = value["text"] if "text" in value else value["content"]
    if not isinstance(text, str):
        return WRONG_TYPE, None
    if rules.invalid == "repair":
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    elif any("\ud800" <= character <= "\udfff" for character in text):
        return INVALID_UTF8, None
    kept, reason, _ = judged(text.encode(), rules)
    if kept is None:
        return reason, None

    def first(*names: str) -> str:
        for name in names:
            if type(value.get(name)) in (str, int) and value[name] != "":
                return str(value[name]).encode("utf-8", "backslashreplace").decode()
        return ""

    id = first("id") or default
    project = first("project", "repo_name", "repo") or id
    return "", Document(id, kept, "s", project, first("language", "lang").lower())


def outcomes(records: Iterator[Record]) -> list[Outcome]:
    found = list(records)
    assert all(record.file == "f" for record in found)
    assert all(bool(record.detail) == bool(record.reason) == (record.document is None) for record in found)
    return [(record.place, record.line, record.reason, record.document) for record in found]


def unit_of(path: Path, fields: Fields | None = None) -> JsonlUnit:
    return JsonlUnit("s", str(path), "f", path.stat().st_size, path.stat().st_mtime_ns, fields or Fields())


def packed(data: bytes, suffix: str) -> bytes:
    """The data compressed as the suffix says, in two members or frames."""
    halves = data[: len(data) // 2], data[len(data) // 2 :]
    if suffix == ".gz":
        return b"".join(map(gzip.compress, halves))
    return b"".join(pa.compress(half, "zstd", asbytes=True) for half in halves) if suffix == ".zst" else data


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(json_lines(), max_size=8),
    bom=st.booleans(),
    suffix=st.sampled_from(["", ".gz", ".zst"]),
    block=st.integers(1, 400),
    largest=st.sampled_from([0, 1, 20, 1000]),
    smallest=st.sampled_from([0, 1]),
    invalid=st.sampled_from(["keep", "drop", "repair"]),
)
def test_as_a_slow_reader_finds(
    tmp_path: Path, lines: list[bytes], bom: bool, suffix: str, block: int, largest: int, smallest: int, invalid: str
) -> None:
    data = b"\xef\xbb\xbf" * bom + b"\n".join(lines)
    path = tmp_path / f"f.jsonl{suffix}"
    path.write_bytes(packed(data, suffix))
    rules = Rules(smallest, largest, invalid)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "SLACK_BYTES", 40)
        patch.setattr(decompression, "BLOCK_BYTES", block)
        patch.setattr(decompression, "COMPRESSED_BYTES", block)
        found = outcomes(unit_of(path).read(rules))
        expected = list(slow_reader(data, rules, 6 * largest + 40 if largest else 0))
        assert found == (expected or [(1, 0, TOO_SMALL, None)])
        for after in range(len(lines) + 2):
            assert outcomes(unit_of(path).read(rules, after)) == [outcome for outcome in found if outcome[0] > after]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".gz", ".zst"]), cut=st.floats(0.001, 0.999), flip=st.booleans())
def test_damaged_stream_gives_what_stands_before_and_one_rejection(
    tmp_path: Path, suffix: str, cut: float, flip: bool
) -> None:
    lines = [json.dumps({"text": f"{number * 7919 % 10007:0200d}"}).encode() for number in range(3000)]
    data = packed(b"\n".join(lines), suffix)
    place = max(int(len(data) * cut), 10)  # of less, nobody can tell what it was
    damaged = data[:place] + bytes([data[place] ^ 0xFF] * 40) + data[place + 40 :] if flip else data[:place]
    path = tmp_path / f"f.jsonl{suffix}"
    path.write_bytes(damaged)
    found = outcomes(unit_of(path).read(Rules()))
    *sound, last = found
    if not flip:
        texts = [document.text for *_, document in sound if document]
        assert texts == [json.loads(line)["text"].encode() for line in lines[: len(sound)]]
        assert last == (len(sound) + 1, len(sound) + 1, UNREADABLE, None)
        assert len(sound) >= (1500 if cut > 0.51 else 0) - 1
    elif suffix == ".gz":  # pyarrow writes Zstandard without checksums: there damage can go unseen
        assert last[2] == UNREADABLE
    for after in (0, 1, len(sound) // 2, len(sound), len(sound) + 1):
        assert outcomes(unit_of(path).read(Rules(), after)) == [outcome for outcome in found if outcome[0] > after]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_neither_the_file_nor_an_overlong_line_is_held_in_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.jsonl{suffix}"
    with gzip.open(path, "wb", 1) if suffix else path.open("wb") as file:
        file.write(b'{"text": "before"}\n{"text": "' + b"x" * (64 << 20) + b'"}\n')
        for _ in range(64):
            file.write(b'{"text": "' + b"y" * (1 << 19) + b'"}\n')
    tracemalloc.start()
    found = outcomes(unit_of(path).read(Rules(largest=1 << 17)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [reason for _, _, reason, _ in found] == ["", TOO_LARGE] + [TOO_LARGE] * 64
    assert peak < 16 << 20


def test_details_say_what_was_found_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"text": [1]}\n{"a": 1}\n[1]\n{"text": "secret", }\n{"text": "\xff"}\n{"text": null}\n')
    details = {record.line: record.detail for record in unit_of(path, Fields(text=("text", "body"))).read(Rules())}
    assert details[1] == "text is array, not string"
    assert details[2] == "no field text or body"
    assert details[3] == "the line is array, not object"
    assert re.match("column (18|19|20): ", details[4])  # Python's words and place, which change
    assert "secret" not in details[4]
    assert details[5].startswith("byte 10 of the line")
    assert details[6] == "text is null, not string"


def test_named_fields(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"text": "no", "body": "yes", "key": 7, "where": "x", "in": "Rust"}\n{"body": "b", "id": "1"}\n')
    unit = unit_of(path, Fields(("body",), ("key",), ("where",), ("in",)))
    assert [record.document for record in unit.read(Rules())] == [
        Document("7", b"yes", "s", "x", "rust"),
        Document("f:2", b"b", "s", "f:2", ""),
    ]


def test_what_names_nothing_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"text": "t", "id": true, "project": null, "repo_name": "", "repo": 0, "lang": 1.5}\n')
    assert [record.document for record in unit_of(path).read(Rules())] == [Document("f:1", b"t", "s", "0", "")]


def test_file_that_is_gone_is_one_rejection_wherever_reading_goes_on(tmp_path: Path) -> None:
    unit = JsonlUnit("s", str(tmp_path / "gone.jsonl.gz"), "f", 0, 0, Fields())
    for after in (0, 7):
        (record,) = unit.read(Rules(), after)
        assert (record.place, record.reason) == (after + 1, UNREADABLE)
        assert "No such file" in record.detail


def test_key_tells_what_decides_the_records(tmp_path: Path) -> None:
    unit = JsonlUnit("s", str(tmp_path / "a"), "f", 1, 2, Fields())
    same = pickle.loads(pickle.dumps(replace(unit, path="/elsewhere")))
    others = [
        replace(unit, source="t"),
        replace(unit, file="g"),
        replace(unit, size=2),
        replace(unit, mtime_ns=3),
        replace(unit, fields=Fields(id=("x",))),
    ]
    assert same.key == unit.key
    assert len({unit.key, *(other.key for other in others)}) == 6
