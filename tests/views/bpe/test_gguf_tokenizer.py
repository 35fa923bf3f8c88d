"""Tokenizers in GGUF files: the numbers are those of the tokenizer.json that the file was made of."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from tests.views.bpe.families import FAMILIES, TEXT
from tests.views.bpe.test_families import TEXTS, UNITS
from tests.views.bpe.test_sentencepiece import PREPEND, REPLACE, SPACE, made, steps
from tests.views.bpe.test_sentencepiece import TEXTS as SPACED_TEXTS
from tokenizers import Tokenizer

from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile, opened
from byteproxy.views.bpe import BpeView
from byteproxy.views.registry import load

gguf = pytest.importorskip("gguf")
TYPES = gguf.TokenType


def written(path: Path, content: dict[str, Any], pre: str | None, scores: list[float] | None = None) -> Path:
    """The tokenizer of a tokenizer.json as llama.cpp's converter writes it."""
    vocabulary = dict(content["model"]["vocab"])
    types = dict.fromkeys(vocabulary, TYPES.NORMAL)
    for token in content["added_tokens"]:
        vocabulary.setdefault(token["content"], token["id"])
        types[token["content"]] = TYPES.CONTROL if token["special"] else TYPES.USER_DEFINED
    if scores is not None:
        types |= dict.fromkeys((one for one in vocabulary if one.startswith("<0x") and len(one) == 6), TYPES.BYTE)
        types["<unk>"] = TYPES.UNKNOWN
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    assert [vocabulary[token] for token in tokens] == list(range(len(tokens)))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2" if scores is None else "llama")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([types[token] for token in tokens])
    if scores is not None:
        writer.add_token_scores(scores)
    else:
        merges = [one if isinstance(one, str) else " ".join(one) for one in content["model"]["merges"]]
        writer.add_token_merges(merges)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


PRE = {
    "gpt2": "gpt-2",
    "smollm2": "smollm",
    "llama3": "llama-bpe",
    "qwen2": "qwen2",
    "starcoder": "starcoder",
    "nemo": "tekken",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[BpeView, Tokenizer]]:
    folder = tmp_path_factory.mktemp("gguf")
    known: dict[str, tuple[BpeView, Tokenizer]] = {}

    def found(name: str) -> tuple[BpeView, Tokenizer]:
        if name not in known:
            content = {**FAMILIES[name](), "normalizer": None, "post_processor": None}
            for token in content["added_tokens"]:
                token["normalized"] = False
            content["model"]["ignore_merges"] = name in ("llama3", "nemo")
            tokenizer = Tokenizer.from_str(json.dumps(content))
            tokenizer.encode_special_tokens = True
            known[name] = BpeView.load(written(folder / f"{name}.gguf", content, PRE[name])), tokenizer
        return known[name]

    return found


@pytest.mark.parametrize("name", PRE)
@settings(max_examples=80)
@given(text=TEXTS)
def test_the_numbers_are_those_of_the_tokenizer(name: str, text: str, files: Any) -> None:
    view, tokenizer = files(name)
    text = "".join(one for one in text if not {*one.encode()} & {*missing_bytes(view)})
    assert view.encode(text.encode()).symbols.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def missing_bytes(view: BpeView) -> list[int]:
    return [byte for byte, symbol in enumerate(view.byte_symbols) if symbol in view.own_bytes]


@pytest.mark.parametrize("name", PRE)
def test_the_engine_knows_the_patterns(name: str, files: Any) -> None:
    assert not files(name)[0]._file.cuts.unknown


def test_every_known_name_is_a_view_of_any_bytes(tmp_path: Path) -> None:
    from byteproxy.views.bpe.gguf_tokenizer import _PATTERNS

    content = FAMILIES["gpt2"]()
    for name in _PATTERNS:
        view = BpeView.load(written(tmp_path / "t.gguf", content, name))
        assert not view._file.cuts.unknown, name
        text = (TEXT + "".join(UNITS)).encode() + b"\xff\xfe"
        assert view.decode(view.encode(text).symbols) == text
    assert (
        BpeView.load(written(tmp_path / "t.gguf", content, None)).fingerprint
        == BpeView.load(written(tmp_path / "t.gguf", content, "default")).fingerprint
    )


def cut(view: BpeView, text: str) -> list[bytes]:
    """The pieces of a text, by a tokenizer that merges all of each that it can."""
    return [view.strings[symbol] for symbol in view.encode(text.encode()).symbols.tolist()]


def test_digits_are_cut_as_the_name_says(files: Any) -> None:
    """Of SmolLM2 one by one, whatever transformers' own reading of a GGUF file makes of it."""
    assert cut(files("smollm2")[0], "2024")[-4:] == [b"2", b"0", b"2", b"4"]
    assert cut(files("qwen2")[0], "2024") == [b"2", b"0", b"2", b"4"]


def scores_of(content: dict[str, Any]) -> list[float]:
    """As SentencePiece numbers them: the earlier a token was merged, the higher."""
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    scores = dict.fromkeys(vocabulary, -1e6)
    for rank, (left, right) in reversed(list(enumerate(merges))):
        scores[left + right] = -float(rank)
    return [scores[token] for token in sorted(vocabulary, key=vocabulary.__getitem__)]


def by_scores(text: str, vocabulary: dict[str, int], scores: list[float]) -> list[int]:
    """The definition, slowly: of all neighbours that make a token, those of the highest score, leftmost first."""
    symbols = list(text)
    while True:
        pairs = [one + other for one, other in pairwise(symbols)]
        known = [(-scores[vocabulary[pair]], at) for at, pair in enumerate(pairs) if pair in vocabulary]
        if not known:
            break
        _, at = min(known)
        symbols[at : at + 2] = [pairs[at]]
    named = [
        [symbol] if symbol in vocabulary else [f"<0x{byte:02X}>" for byte in symbol.encode()] for symbol in symbols
    ]
    return [vocabulary[name] for names in named for name in names]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[BpeView, dict[str, int], list[float]]:
    content = made(steps(PREPEND, REPLACE))
    scores = scores_of(content)
    path = written(tmp_path_factory.mktemp("spm") / "m.gguf", content, None, scores)
    return BpeView.load(path), content["model"]["vocab"], scores


@settings(max_examples=150)
@given(text=SPACED_TEXTS)
def test_scores_are_merges(text: str, scored: tuple[BpeView, dict[str, int], list[float]]) -> None:
    view, vocabulary, scores = scored
    wanted = by_scores((SPACE + text).replace(" ", SPACE), vocabulary, scores) if text else []
    assert view.encode(text.encode()).symbols.tolist() == wanted


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", FAMILIES["gpt2"](), "gpt-2")
    first, view = opened(path), BpeView.load(path)
    assert opened(path) is first
    assert BpeView.load(path) is view
    assert first.get("tokenizer.ggml.pre") == "gpt-2"
    written(path, FAMILIES["qwen2"](), "qwen2")
    assert opened(path).get("tokenizer.ggml.pre") == "qwen2"
    assert BpeView.load(path).fingerprint != view.fingerprint


def test_a_file_is_named_as_a_view(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", FAMILIES["gpt2"](), "gpt-2")
    view = load(path)
    assert isinstance(view, BpeView)
    view.save(tmp_path / "tokenizer.json")
    assert (
        load(tmp_path / "tokenizer.json").fingerprint == view.fingerprint == BpeView.in_gguf(GgufFile(path)).fingerprint
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"tokenizer.ggml.pre": "poro-chat"},
            "pre-tokenizer is called 'poro-chat', and default, .* are known: name the",
        ),
        ({"tokenizer.ggml.model": "t5"}, "of the kind 't5', and byte-level BPE"),
        ({"tokenizer.ggml.model": "llama"}, "no score for each token"),
        ({"tokenizer.ggml.merges": ["x"]}, "no pair"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "two of its tokens are the same"),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, "it has 2 tokens and says the kind of"),
    ],
)
def test_what_is_not_known_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    from tests.interop.gguf_files import copied

    path = written(tmp_path / "m.gguf", FAMILIES["gpt2"](), "gpt-2")
    fields = {name.replace(".", "__"): value for name, value in change.items()}
    with pytest.raises(InputError, match=said) as raised:
        BpeView.load(copied(path, tmp_path / "other.gguf", **fields))
    assert "\n" not in str(raised.value)
