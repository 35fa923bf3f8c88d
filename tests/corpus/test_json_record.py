import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byteproxy.corpus.fields import Fields, looked_up, usable
from byteproxy.corpus.json_record import DEPTH, objects, records_of
from byteproxy.corpus.records import BROKEN_JSON, INVALID_UTF8, Record, Rules

REPAIR = Rules(invalid="repair")


def read(line: bytes, rules: Rules = REPAIR, fields: Fields | None = None) -> Sequence[Record]:
    return records_of(line, 7, "s", "f", fields or Fields(), rules)


def texts(line: bytes, rules: Rules = REPAIR) -> list[bytes | str]:
    """The text of each record, or the reason why it has none."""
    return [record.document.text if record.document else record.reason for record in read(line, rules)]


numbers = st.one_of(
    st.floats(), st.integers(), st.integers(-(10**40), 10**40), st.sampled_from([10**700, 2**63, 2**64, -(2**63) - 1])
)
strings = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["text", "id", "project", "lang", "x"])


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """JSON as people write it: names twice, blanks, escapes or none."""
    if isinstance(value, dict):
        pairs = [*value.items(), *(draw(st.sampled_from([[], list(value.items())[:1]])))]
        inside = [f"{draw(written(key))}{draw(blanks)}:{draw(written(item))}" for key, item in pairs]
        return f"{{{draw(blanks)}{','.join(inside)}{draw(blanks)}}}"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


blanks = st.sampled_from(["", "", " ", "\t", "\r"])
lines = st.dictionaries(names, values, max_size=5).flatmap(written).map(lambda line: line.encode("utf-8", "replace"))
damaged = st.builds(
    lambda line, at, gone, new: line[:at] + new + line[at + gone :],
    lines,
    st.integers(0, 60),
    st.integers(0, 3),
    st.sampled_from([b"", b",", b"]", b"}", b'"', b"\\", b"\x00", b"\x0b", b"[", b"{", b"-", b"0", b"NaN", b"\\u12"]),
)


@given(lines | damaged | values.map(json.dumps).map(str.encode))
@example(b"[" * 900 + b"]" * 900)
@example(b'{"text": "t", "id": ' + b"7" * 900 + b"}")
@example(b'{"text": "t", "id": -0, "project": 1e25}')
@example(b'{"text": null, "id": {"": null, "\x80": null}}')
@example(b'{"text": "\xe2\x82", "id": "\x80"}')
@example(b"{}{")
@example(b'{"text": "a"}\t{"text": "b"} {"text": "c" "id"}')
@example(b"{} 1")
def test_what_the_json_module_reads_is_read_as_it_does_and_nothing_else(line: bytes) -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        values, sound = by_trial(line.decode("utf-8", "replace").strip(BLANKS))  # "repair": damage cuts characters too
    finally:
        sys.set_int_max_str_digits(limit)
    records = read(line)
    if not sound:
        assert records[-1].reason == BROKEN_JSON
        records = records[:-1]
    for record, value in zip(records, values, strict=True):
        check(record, value, several=len(values) > 1 or not sound)


BLANKS = " \t\r\n\ufeff"


def by_trial(text: str) -> tuple[list[Any], bool]:
    """The values of a line, and whether that is all of it: one of any kind, else objects, each the shortest sound."""
    values: list[Any] = []
    while text:
        try:
            last = json.loads(text)
            return ([*values, last], True) if isinstance(last, dict) or not values else ([], False)
        except ValueError:
            pass
        for end in range(1, len(text)):
            try:
                value = json.loads(text[:end]) if text[end - 1] == "}" else None
            except ValueError:
                continue
            if isinstance(value, dict):
                break
        else:
            return values if text[0] == "{" else [], False
        values.append(value)
        text = text[end:].lstrip(BLANKS)
    return values, True


def check(record: Record, value: Any, several: bool) -> None:
    document = record.document
    if not isinstance(value, dict) or not isinstance(value.get("text"), str) or not value["text"]:
        assert document is None
        return
    assert document is not None
    halves = [character if not "\ud800" <= character <= "\udfff" else "\ufffd" for character in value["text"]]
    assert document.text.decode() == "".join(halves)
    wanted = value.get("id")
    if isinstance(wanted, str) and wanted:
        assert document.id == wanted.encode("utf-8", "backslashreplace").decode()
    elif type(wanted) is int:
        assert document.id == str(Decimal(wanted))
    else:
        assert document.id.startswith("f:7") if several else document.id == "f:7"


@pytest.mark.parametrize("levels", [1, DEPTH - 1, DEPTH, DEPTH + 1, 2 * DEPTH, 1100, 10_000, 40_000])
def test_depth_beside_the_text(levels: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"[": ', b"}"), (b'["]{\\\\", {"\\"}": [NaN, ', b"]}]")):
        deep = opening * levels + b"0" + closing * levels
        assert texts(b'{"deep": %b, "text": "t"}' % deep) == [b"t"]
        assert texts(b'{"deep": %b, "text": "a"}{"text": "b", "deep": [%b, %b]}' % (deep, deep, deep)) == [b"a", b"b"]
        for broken in (deep[:-1], deep + b"]", deep.replace(b"0", b","), deep.replace(b"0", b"1 2"), deep[1:]):
            assert texts(b'{"deep": %b, "text": "t"}' % broken) == [BROKEN_JSON]
        assert texts(deep) != [BROKEN_JSON]


@given(st.data(), st.integers(1, 4))
def test_what_is_cut_is_sound_where_the_whole_is(data: st.DataObject, levels: int) -> None:
    """Brackets and strings at random, against the json module, with a depth that it takes."""
    pieces = data.draw(
        st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"a"', b":", b",", b'"\\""', b"1"]), max_size=14)
    )
    line = b'{"a":' * 9 * levels + b"[" * DEPTH + b"".join(pieces) + b"]" * DEPTH + b"}" * 9 * levels
    try:
        json.loads(line)
        sound = True
    except ValueError:
        sound = False
    assert (objects(line)[1] == "") == sound


def test_half_a_surrogate_pair() -> None:
    line = b'{"text": "cut \\ud83d here \\ud83d\\ude00", "id": "\\ude00", "other": "\\ud800"}'
    (record,) = read(line)
    assert record.document is not None
    assert (record.document.text.decode(), record.document.id) == ("cut \ufffd here \U0001f600", "\\ude00")
    for invalid in ("keep", "drop"):
        (record,) = read(line, Rules(invalid=invalid))  # type: ignore[arg-type]
        assert (record.reason, record.detail) == (INVALID_UTF8, "half a surrogate pair at character 5 of text")
        assert texts(b'{"text": "sound", "other": "\\ud800"}', Rules(invalid=invalid)) == [b"sound"]  # type: ignore[arg-type]


def test_bytes_that_are_not_utf8_count_in_the_text_only() -> None:
    for invalid in ("keep", "drop", "repair"):
        rules = Rules(invalid=invalid)  # type: ignore[arg-type]
        assert texts(b'{"text": "sound", "other\xff": "\xff"}', rules) == [b"sound"]
        other = "a\ufffdb".encode() if invalid == "repair" else INVALID_UTF8
        assert texts(b'{"text": "a\xe2\x82b", "other": "\xff"}', rules) == [other]


def test_several_objects_in_a_line() -> None:
    for between in (b"", b" ", b"\r", b"\xef\xbb\xbf", b" \t\xef\xbb\xbf "):
        found = read(b'{"text": "a"}%b{"text": "b", "id": "i"}%b{"text": "c"}' % (between, between))
        assert [(r.place, r.line, r.document and (r.document.id, r.document.text)) for r in found] == [
            (7, 7, ("f:7", b"a")),
            (7, 7, ("i", b"b")),
            (7, 7, ("f:7.3", b"c")),
        ]
    assert texts(b'{"text": "a"}{"text": "b"}{"text": "c') == [b"a", b"b", BROKEN_JSON]
    assert texts(b'{"text": "a"}{"x": 1}') == [b"a", "no text field"]
    for line in (
        b'{"text": "a"} // it',
        b'{"text": "a"},',
        b'{"text": "a"}[1]',
        b'{"text": "a"}{"text": "b"} 1',
        b"1 2",
    ):
        assert texts(line) == [BROKEN_JSON]


def test_byte_order_marks() -> None:
    mark = b"\xef\xbb\xbf"
    assert texts(mark + b'{"text": "a"}') == texts(mark + mark + b' {"text": "a"}') == [b"a"]
    assert texts(mark) == texts(mark + b" \r") == []
    assert texts(b'{"text": "\xef\xbb\xbfa"}') == [mark + b"a"], "that of a text is part of it"


def test_names_with_dots() -> None:
    line = b'{"text": "t", "a.b": "whole", "a": {"b": "inner", "b.c": "x", "b": {"c": "y"}}, "d": {"e": {"f": "g"}}}'

    def project(name: str, line: bytes = line) -> str:
        (record,) = read(line, fields=Fields(project=(name,)))
        assert record.document is not None
        return record.document.project

    assert project("a.b") == "whole"
    assert project("a.b.c") == "x"
    assert project("d.e.f") == "g"
    assert project("d.e") == project("d.f") == project("d.") == project(".d") == project("a.b.c.d") == "f:7"
    assert project("d.e.f", line[:-1] + b', "n": NaN}') == "g"
    (record,) = read(b'{"meta": {"text": "t"}}', fields=Fields(text=("meta.body", "meta.text")))
    assert record.document is not None
    assert record.document.text == b"t"


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b", "b.a", ""]), inner)))
def test_a_name_with_dots_is_found_where_some_way_of_cutting_it_leads(value: Any) -> None:
    def ways(record: Any, name: str) -> list[Any]:
        if not isinstance(record, dict):
            return []
        found = [record[name]] if name in record else []
        cuts = [at for at, character in enumerate(name) if character == "."]
        return found + [value for at in reversed(cuts) for value in ways(record.get(name[:at]), name[at + 1 :])]

    for name in ("a", "a.b", "a.b.a", "b.a.b.a", ".", "a."):
        if isinstance(value, dict):
            assert looked_up(value, name, "none") == [*ways(value, name), "none"][0]


def test_usable() -> None:
    assert usable([None, "", True, 1.5, [], {}, 0, "x"]) == "0"
    assert usable([Decimal("9" * 900)]) == "9" * 900
    assert usable([]) == usable([False, 1e9, None]) == ""
