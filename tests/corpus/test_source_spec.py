from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byteproxy.corpus.source_spec import alternatives, bare, parsed, quoted
from byteproxy.errors import InputError

KNOWN = ("text", "id", "name")
values = st.text('ab .,:|="\\', min_size=1, max_size=9) | st.sampled_from(
    ["a,id=b", ",text", "x,", '"a"', "a\\|b", '""']
)


@given(values, values, st.lists(values, min_size=1, max_size=3))
@example('"', "\\", ['a"', '"b', "|"])
def test_any_value_can_be_given_in_quotes(one: str, other: str, several: list[str]) -> None:
    spec = f"d.jsonl:name={quoted(one)},text={'|'.join(map(quoted, several))},id={quoted(other)}"
    where, options = parsed(spec, KNOWN)
    assert (where, list(options)) == ("d.jsonl", ["name", "text", "id"])
    assert (bare(options["name"]), bare(options["id"])) == (one, other)
    assert list(map(bare, alternatives(options["text"]))) == several


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("dc:description", ["dc:description"]),
        ("body, cleaned", ["body, cleaned"]),
        ("a=b", ["a=b"]),
        ("a|b", ["a", "b"]),
        ('"a|b"|c', ["a|b", "c"]),
        (r"a\|b|c\,id=x", ["a|b", "c,id=x"]),
        ('a "b" c', ['a "b" c']),
        ('"say ""so"""', ['say "so"']),
        ('"open', ['"open']),
        ("a|", ["a", ""]),
        (r"a\b", [r"a\b"]),
    ],
)
def test_values_as_they_are_written(written: str, meant: list[str]) -> None:
    where, options = parsed(f"~/d.jsonl:text={written},id=i", KNOWN)
    assert (where, options["id"]) == ("~/d.jsonl", "i")
    assert list(map(bare, alternatives(options["text"]))) == meant


def test_the_path_ends_where_an_option_begins_behind_what_exists(tmp_path: Path) -> None:
    for name in ("a", "a:b=c", "a:text=x", "e:colour=red"):
        (tmp_path / name).mkdir()
    for name in ("a", "a:b=c", "a:text=x", "e:colour=red", "gone", "gone:b"):
        assert parsed(f"{tmp_path}/{name}", KNOWN) == (f"{tmp_path}/{name}", {})
        if name != "a:text=x":
            assert parsed(f"{tmp_path}/{name}:text=y:id=z", KNOWN) == (f"{tmp_path}/{name}", {"text": "y:id=z"})
    assert parsed("stdlib:name=n", KNOWN) == ("stdlib", {"name": "n"})
    for spec in (f"{tmp_path}/a:colour=red", f"{tmp_path}/a:colour=x,text=y", f"{tmp_path}/a:text=y,colour=red"):
        with pytest.raises(InputError, match="no option 'colour'"):
            parsed(spec, KNOWN)
