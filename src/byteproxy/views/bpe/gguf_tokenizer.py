"""The tokenizer in a GGUF file as a tokenizer.json.

llama.cpp keeps the vocabulary, what kind of token each is, and either merges with the *name* of a pre-tokenizer
(byte-level BPE) or a score for each token (SentencePiece). What a name stands for is a fact of the models that bear it:
the patterns here are those of their own tokenizer.json, which llama.cpp's are written after. A name that is not known
here is refused, as guessing would cut text where the model never saw it cut. A normalizer is not in the file: text that
is not in NFC stays so, as in llama.cpp.

Scores mean that the pair that makes the token of the highest score is merged first, so tokens by their scores, each
from every pair that makes it, are a list of merges; that is how transformers does it, too.
"""

import json
import math
from typing import Any

from byteproxy.gguf_file import GgufFile, gguf_package
from byteproxy.views.bpe.pre_tokenizers import GPT2_PATTERN
from byteproxy.views.bpe.spaces import SPACE

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_NAMES = {
    "gpt-2": ("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling"),
    "smollm": ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    "llama-bpe": ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    "dbrx": ("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"),
    "qwen2": ("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan"),
}
"""Names that mean the same cuts."""
_PATTERNS: dict[str, tuple[str, ...]] = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"),
    "seed-coder": (rf"{_LETTERS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",),
    "tekken": (rf"{_CASED}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",),
    **dict.fromkeys(_NAMES["gpt-2"], (GPT2_PATTERN,)),
    **dict.fromkeys(_NAMES["smollm"], (r"\p{N}", GPT2_PATTERN)),
    **dict.fromkeys((*_NAMES["llama-bpe"], *_NAMES["dbrx"]), (rf"{_LETTERS}|\p{{N}}{{1,3}}|{_REST}",)),
    **dict.fromkeys(_NAMES["qwen2"], (rf"{_LETTERS}|\p{{N}}|{_REST}",)),
}
_WHOLE_WORDS = ("tekken", *_NAMES["llama-bpe"])
"""Pre-tokenizers of which llama.cpp takes a piece that is a token as it is, whatever merges would make of it."""
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def tokenizer_json_of(file: GgufFile) -> str:
    """The text of a tokenizer.json; ValueError, saying why, for a tokenizer that can't be told so."""
    tokens, kind = file.get("tokenizer.ggml.tokens"), file.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("the file has no list of tokens")
    if len(set(tokens)) < len(tokens):
        raise ValueError("two of its tokens are the same")
    kinds = file.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    if len(kinds) != len(tokens):
        raise ValueError(f"it has {len(tokens)} tokens and says the kind of {len(kinds)}")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if kind == "gpt2":
        content = _byte_level(file, vocabulary)
    elif kind == "llama":
        content = _scored(file, tokens, kinds, vocabulary)
    else:
        raise ValueError(f"its tokenizer is of the kind {kind!r}, and byte-level BPE (gpt2) or SPM (llama) is read")
    content["added_tokens"] = _added(tokens, kinds)
    return json.dumps({"version": "1.0", **content}, ensure_ascii=False)


def _byte_level(file: GgufFile, vocabulary: dict[str, int]) -> dict[str, Any]:
    name = file.get("tokenizer.ggml.pre", "default")
    if name not in _PATTERNS:
        raise ValueError(
            f"its pre-tokenizer is called {name!r}, and {', '.join(_PATTERNS)} are known: name the tokenizer.json of "
            "the model, which says what that is"
        )
    merges = [merge.split(" ") for merge in file.get("tokenizer.ggml.merges") or ()]
    cuts = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in _PATTERNS[name]
    ]
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, last]},
        "decoder": {**last, "use_regex": True},
        "model": {
            "type": "BPE",
            "ignore_merges": name in _WHOLE_WORDS,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def _scored(file: GgufFile, tokens: list[str], kinds: list[int], vocabulary: dict[str, int]) -> dict[str, Any]:
    if file.get("tokenizer.ggml.precompiled_charsmap") or file.get("tokenizer.ggml.remove_extra_whitespaces"):
        raise ValueError("it normalizes text in a way that is not known: name the tokenizer.json of the model")
    scores = file.get("tokenizer.ggml.scores")
    if not scores or len(scores) != len(tokens) or not all(map(math.isfinite, scores)):
        raise ValueError("it has no score for each token")
    kind = gguf_package().TokenType
    unknown = next((token for token, one in zip(tokens, kinds, strict=True) if one == kind.UNKNOWN), None)
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepends = [{"type": "Prepend", "prepend": SPACE}] if file.get("tokenizer.ggml.add_space_prefix", True) else []
    merged = {token for token, one in zip(tokens, kinds, strict=True) if one in (kind.NORMAL, kind.USER_DEFINED)}
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*prepends, replaces]},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prepends else []),
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocabulary,
            "merges": _merges({token: scores[vocabulary[token]] for token in merged}, vocabulary),
        },
    }


def _merges(scores: dict[str, float], vocabulary: dict[str, int]) -> list[list[str]]:
    """Pairs that make a token, the token of the highest score first; of one token by the pairs' numbers."""
    found = []
    for token, score in scores.items():
        for end in range(1, len(token)):
            left, right = token[:end], token[end:]
            if left in scores and right in scores:
                found.append((-score, vocabulary[token], vocabulary[left], vocabulary[right], left, right))
    found.sort(key=lambda one: one[:4])
    return [[left, right] for *_, left, right in found]


def _added(tokens: list[str], kinds: list[int]) -> list[dict[str, Any]]:
    """Tokens that text doesn't lead to (special), and those that are found in it before it is cut."""
    kind = gguf_package().TokenType
    special = {kind.UNKNOWN, kind.CONTROL, kind.UNUSED}
    return [
        {"id": number, "content": token, **_FLAGS, "special": one in special}
        for number, (token, one) in enumerate(zip(tokens, kinds, strict=True))
        if token and (one in special or one == kind.USER_DEFINED)
    ]
