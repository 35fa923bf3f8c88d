"""What is no byte-level BPE tokenizer that can be a view is refused in one clear line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.bpe.families import BYTE_LEVEL, FLAGS, NFC, SPECIAL, TEXT, WITH_WORDS, family, sequence, split

from byteproxy.errors import InputError
from byteproxy.views.bpe import BpeOptions, BpeView
from byteproxy.views.bpe.engine import Engine
from byteproxy.views.bpe.reference import SlowEngine

PLAIN = family(WITH_WORDS)
AWAY = {"type": "Split", "pattern": {"String": "x"}, "behavior": "Removed", "invert": False}
Change = Callable[[dict[str, Any]], Any]


def changed(**parts: Any) -> Change:
    return lambda content: content.update(parts)


def in_model(**parts: Any) -> Change:
    return lambda content: content["model"].update(parts)


def in_vocab(**parts: Any) -> Change:
    return lambda content: content["model"]["vocab"].update(parts)


def added(*tokens: Any) -> Change:
    return lambda content: content.update(added_tokens=list(tokens))


def token(number: Any, content: Any, **flags: Any) -> dict[str, Any]:
    return {"id": number, "content": content, **FLAGS, **flags}


def nested(depth: int) -> dict[str, Any]:
    step: dict[str, Any] = dict(WITH_WORDS)
    for _ in range(depth):
        step = sequence(step)
    return step


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}), "not BPE"),
        (changed(model=None), "not BPE"),
        (changed(model=[1]), "not BPE"),
        (in_model(vocab=[["a", 0]]), "not BPE"),
        (in_model(merges={"a": "b"}), "not BPE"),
        (changed(normalizer={"type": "NFKC"}), "normalizer, NFKC, may .* \"normalizer\": null can be one"),
        (changed(normalizer={"type": "Sequence", "normalizers": [NFC, {"type": "Lowercase"}]}), "izer, Lowercase"),
        (changed(normalizer="NFC"), "no object"),
        (changed(normalizer={"type": "Sequence"}), "without its normalizers"),
        (changed(pre_tokenizer=None), "exactly one ByteLevel"),
        (changed(pre_tokenizer=[]), "no object"),
        (changed(pre_tokenizer={"type": "Sequence", "pretokenizers": 3}), "without its pretokenizers"),
        (changed(pre_tokenizer={"type": "Whitespace"}), "may drop"),
        (lambda content: content.pop("pre_tokenizer"), "exactly one ByteLevel"),
        (changed(pre_tokenizer=sequence(BYTE_LEVEL, BYTE_LEVEL)), "exactly one ByteLevel"),
        (changed(pre_tokenizer=sequence({"type": "Metaspace"}, BYTE_LEVEL)), "may drop"),
        (changed(pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}), "adds a space"),
        (changed(pre_tokenizer=sequence(AWAY, BYTE_LEVEL)), "may drop"),
        (changed(pre_tokenizer=sequence(split("("), BYTE_LEVEL)), "gives up on this tokenizer"),
        (changed(pre_tokenizer=sequence({"type": "Split", "behavior": "Isolated"}, BYTE_LEVEL)), "gives up on this"),
        (in_model(dropout=0.1), "dropout"),
        (in_model(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (in_model(continuing_subword_prefix="##"), "continuing_subword_prefix"),
        (in_model(merges=[["no", "such"]]), "not in its vocabulary"),
        (in_model(merges=["a b c"]), "no pair"),
        (in_model(merges=[["a"]]), "no pair"),
        (in_model(merges=[["a", 7]]), "no pair"),
        (in_model(merges=[None]), "no pair"),
        (in_vocab(a=98), "repeat"),
        (in_vocab(a=-1), "not from 0"),
        (in_vocab(a=1 << 20), "not from 0"),
        (in_vocab(a=1 << 31), "not from 0"),
        (in_vocab(a=10**4000), "not from 0"),
        (in_vocab(a=1.5), "not from 0 .*1.5"),
        (in_vocab(a="7"), 'not from 0 .*"7"'),
        (in_vocab(a=True), "not from 0 .*true"),
        (in_vocab(a=None), "not from 0"),
        (in_vocab(**{"a b": 1500}), "256 bytes"),
        (in_vocab(**{"": 1500}), "256 bytes"),
        (lambda file: file["model"]["vocab"].pop("A") and in_model(byte_fallback=True, merges=[])(file), "1 of the"),
        (changed(added_tokens="none"), "no list"),
        (added("<s>"), r"added_tokens\[0\] is no token"),
        (added(token("1500", "  ")), r"added_tokens\[0\] is no token"),
        (added({"id": 1500}), r"added_tokens\[0\] is no token"),
        (added(token(1500, "  ", rstrip=1)), r"added_tokens\[0\] has a flag"),
        (added(token(1500, "\ud800")), r"added_tokens\[0\] has half"),
        (added(token(1500, "\t\t"), token(1502, "  ")), r"added_tokens\[1\], '  ', says id 1502, but .* it 1501"),
        (added(token(7, "  ")), "says id 7, but"),
        (added(token(165, "é")), "number of another symbol"),
        (added(token(1500, "x" * 10_000_001)), "more than 10000000 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_byte_level_bpe_is_refused(change: Change, reason: str, tmp_path: Path) -> None:
    content = json.loads(json.dumps(PLAIN))
    change(content)
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"odd\.json is no byte-level .*{reason}") as raised:
        BpeView.load(path)
    assert len(str(raised.value)) < 600
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(PLAIN)[:-20], "broken JSON"),
        ("", "broken JSON"),
        ("[1]", "no object"),
        ("{}", "not BPE"),
        ('{"model":' + "[" * 100_000, "too deep"),
        ('{"model":' + "[" * 100_000 + "]" * 100_000 + "}", "too deep"),
        ('{"model": ' + "9" * 5000 + "}", "thousands of digits"),
        (json.dumps({**PLAIN, "pre_tokenizer": nested(400)}), "too deep|gives up|nest"),
    ],
    ids=["cut off", "empty", "list", "nothing", "open", "deep", "digits", "steps"],
)
def test_broken_files_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text(text)
    if reason.startswith("too deep|"):  # sequences within sequences mean what is in them
        assert isinstance(BpeView.load(tmp_path / "broken.json")._engine, Engine)
        return
    with pytest.raises(InputError, match=rf"broken\.json.*{reason}"):
        BpeView.load(tmp_path / "broken.json")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match=r"broken\.json"):
        BpeView.load(tmp_path / "broken.json")


def test_json_that_nests_without_end_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"model":' + "[" * 100_000)
    assert not BpeView.recognises(tmp_path / "deep.json")


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 1 << 40),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]]]),
)


@settings(max_examples=150)
@given(data=st.data())
def test_a_wrong_value_anywhere_is_no_traceback(data: st.DataObject) -> None:
    content: Any = json.loads(
        json.dumps(family(sequence(split(r"\p{L}+"), BYTE_LEVEL), "<s>", {"content": "  "}, normalizer=NFC))
    )
    content["model"]["merges"], content["model"]["vocab"] = (
        content["model"]["merges"][:2],
        dict(list(content["model"]["vocab"].items())[:258]),
    )
    for spot in content["added_tokens"]:
        spot["id"] -= 1500 - 258
    within = content
    while isinstance(within, (dict, list)) and within:
        keys = list(within) if isinstance(within, dict) else list(range(len(within)))
        key = data.draw(st.sampled_from(keys[:12]))
        if not isinstance(within[key], (dict, list)) or not within[key] or data.draw(st.integers(0, 3)) == 0:
            within[key] = data.draw(LEAVES)
            break
        within = within[key]
    try:
        view = BpeView(json.dumps(content))
    except ValueError:
        return
    assert view.encode(b"it's  \xff a").span_bytes.sum() == 9


CATASTROPHE = r"(?<!z)(a+)+$|x"


def test_patterns_that_backtrack_for_ever_are_an_input_error(capfd: pytest.CaptureFixture[str]) -> None:
    view = BpeView(json.dumps({**PLAIN, "pre_tokenizer": sequence(split(CATASTROPHE), BYTE_LEVEL)}))
    assert isinstance(view._engine, SlowEngine)
    assert len(view.encode(b"xx").symbols) == 2
    with pytest.raises(InputError, match=r"gives up on this tokenizer .*retry-limit.*name a tokenizer with"):
        view.encode(b"a" * 40 + b"b")
    capfd.readouterr()


PANICS = """
import json, sys, threading
from byteproxy.views.bpe import BpeView
from byteproxy.errors import InputError
from tests.views.bpe.test_tokenizer_json import CATASTROPHE, PLAIN, BYTE_LEVEL, sequence, split
view = BpeView(json.dumps({**PLAIN, "pre_tokenizer": sequence(split(CATASTROPHE), BYTE_LEVEL)}))
before = sys.stderr
try:
    view.encode(b"a" * 40 + b"b")
except InputError as error:
    print("said", file=sys.stderr)
assert sys.stderr is before
"""


def test_what_rust_has_to_say_of_it_does_not_precede_our_line() -> None:
    done = subprocess.run([sys.executable, "-c", PANICS], capture_output=True, text=True, timeout=200)
    assert done.stderr == "said\n"


def test_those_that_are_understood_do_not_backtrack() -> None:
    view = BpeView(json.dumps({**PLAIN, "pre_tokenizer": sequence(split(r"(?:a+)+$|x"), BYTE_LEVEL)}))
    assert isinstance(view._engine, Engine)
    assert view.decode(view.encode(b"a" * 400 + b"b").symbols) == b"a" * 400 + b"b"


def test_what_a_pattern_would_drop_is_spelled() -> None:
    """`Removed` with `invert` keeps what its pattern finds; what it doesn't find are pieces, too."""
    kept, isolated = (
        BpeView(json.dumps({**PLAIN, "pre_tokenizer": sequence(split(r"[a-z]+", *how), BYTE_LEVEL)}))
        for how in (("Removed", True), ("Isolated", False))
    )
    assert kept.encode(TEXT.encode()).symbols.tolist() == isolated.encode(TEXT.encode()).symbols.tolist()
    assert kept.decode(kept.encode(b"ab, cd").symbols) == b"ab, cd"


def test_alphabets_have_a_bound() -> None:
    with pytest.raises(InputError, match="bpe option alphabet is 99999999: give a whole number from 256 to 1,048,576"):
        BpeOptions(99_999_999)
    with pytest.raises(InputError, match="bpe option alphabet is 2097152: give"):
        BpeView.train([], 1 << 21)
    assert BpeOptions(1 << 20).alphabet == 1 << 20


def test_special_tokens_may_have_any_number() -> None:
    content = {**PLAIN, "added_tokens": [{"id": 9_000_000, "content": "<s>", **SPECIAL}]}
    assert BpeView(json.dumps(content)).alphabet_size == 1500
