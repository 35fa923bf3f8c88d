"""What others wrote, parsed: the same as by Python's own parsers where it is sane, and else a ValueError at once."""

import json
import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.config import from_toml
from byteproxy.errors import InputError
from byteproxy.model.model_config import ModelConfig
from byteproxy.parsing import DEEPEST, parse_json, parse_toml

NAMES = st.text(max_size=8)
ATOMS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.text("[]{}\"'\\#.\na\t", max_size=9),
)
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))


@given(VALUES | st.none())
def test_json_is_what_python_reads(value):
    assert parse_json(json.dumps(value)) == parse_json(json.dumps(value).encode()) == value


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_toml_is_what_python_reads(value):
    text = tomli_w.dumps(value)
    assert parse_toml(text) == tomllib.loads(text) == value


@given(st.binary(max_size=60) | st.text("[]{}\"'\\#.=\na1", max_size=60).map(str.encode))
def test_anything_else_is_a_value_error(content):
    for parse, theirs in ((parse_json, json.loads), (parse_toml, tomllib.loads)):
        try:
            found = parse(content)
        except ValueError:
            continue
        assert found == theirs(content.decode()) or found != found


def test_brackets_in_strings_are_no_nesting():
    many = "[{" * 10_000
    assert parse_json(json.dumps([many, "\\" + many])) == [many, "\\" + many]
    for quotes in ('"', "'", '"""', "'''"):
        assert parse_toml(f"a = {quotes}{many}{quotes} # {many}") == {"a": many}


DEEP = {
    "json lists": (parse_json, "[" * 10**6),
    "json objects": (parse_json, '{"a":' * 10**6),
    "json closed": (parse_json, "[" * 1000 + "]" * 1000),
    "json behind brackets that close in a string": (parse_json, '["' + "]" * 2000 + '",' + "[" * 1000 + "]" * 1001),
    "toml lists": (parse_toml, "a = " + "[" * 10**5),
    "toml tables": (parse_toml, "a = " + "{b=" * 10**5),
    "toml key": (parse_toml, ".".join("a" * 10**5) + " = 1"),
    "toml quoted key": (parse_toml, " . ".join(['"a"'] * 10**5) + " = 1"),
    "toml header": (parse_toml, "[" + ".".join("a" * 10**5) + "]"),
}


@pytest.mark.parametrize("name", DEEP)
def test_depth_is_refused_at_once(name):
    parse, text = DEEP[name]
    with pytest.raises(ValueError, match=f"nested deeper than {DEEPEST}|a key of more than {DEEPEST} parts"):
        parse(text)


@pytest.mark.parametrize("digits", ["1" * 21, "-" + "9" * 5000, "1" * 10**6])
def test_long_numbers_are_refused(digits):
    with pytest.raises(ValueError, match="a whole number of"):
        parse_json(f'{{"a": [{digits}]}}')
    with pytest.raises(ValueError, match=r"a whole number of|Exceeds the limit"):
        parse_toml(f"a = [{digits}]")
    with pytest.raises(ValueError, match="a whole number of"):
        parse_toml(f"a = 0x{'f' * 5000}")


@pytest.mark.parametrize("text", ["width = " + "[" * 10**5, f"width = {'1' * 5000}", "width = 1\xff", "width = "])
def test_a_configuration_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as error:
        from_toml(path, ModelConfig)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_configuration_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 21))
    for name, why in (
        ("endless.toml", "no regular file"),
        ("large.toml", "2,097,152 bytes"),
        ("none.toml", "No such file"),
    ):
        with pytest.raises(InputError, match=why):
            from_toml(tmp_path / name, ModelConfig)
