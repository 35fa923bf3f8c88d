"""Encoding: every view's speed on one core against Hugging Face `tokenizers` with as many symbols, one thread each.

`foreign` is the same for the patterns of published tokenizers, with the merges of our own `bpe:65536`: both sides have
the same `tokenizer.json`.

Views are trained on the train split of the standard library. Bytes per symbol are those of held-out code: the
validation split, near-duplicates of training text left out. For speed a view and its rival take turns, each round with
text that neither has seen before, so that no cache of pieces is warm with it; a ratio is the median over rounds, with
the quartiles beside it. The rival is our own BPE with word splitting in `tokenizers.encode_batch_fast`.

Floor of a walk: one load a byte from the nearest cache that holds the table (4 to 5 cycles in level 1, about 14 in
level 2), and one branch a symbol that no processor predicts (about 15 cycles).
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, pre_tokenizers

from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.evaluate.views.view_texts import corpus_named, held_out_sample
from byteproxy.views import registry
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView
from byteproxy.views.codebook import CodebookOptions, CodebookView

ROUNDS, OURS_BYTES, THEIRS_BYTES = 9, 2_200_000, 400_000
RIVALS = {4096: "bpe:4096", 65536: "bpe:65536"}
VIEWS = {
    "bpe:4096": 4096,
    "bpe:4096,words=false": 4096,
    "codebook:12": 4096,
    "codebook:12,lines=false": 4096,
    "codebook:12,parse=greedy": 4096,
    "bpe:65536": 65536,
    "bpe:65536,words=false": 65536,
    "codebook:16": 65536,
    "codebook:16,lines=false": 65536,
    "codebook:16,parse=greedy": 65536,
    "token_bytes": 65536,
    "raw": 4096,
    "chunks": 4096,
    "nibbles": 4096,
    "gzip": 4096,
}
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
FOREIGN: dict[str, tuple[list[str], bool]] = {
    "gpt2": ([], True),
    "llama3": ([rf"{CASES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{TAIL}"], False),
    "qwen2": ([rf"{CASES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{TAIL}"], False),
    "gpt4o": (
        [
            rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CASES}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CASES}?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ],
        False,
    ),
    "deepseek3": (
        [
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        False,
    ),
    "smollm": ([r"\p{N}"], True),
}
"""The patterns by which text is cut, one after the other, and whether that of GPT-2 comes last."""


def measure(say: Callable[[str], None]) -> dict:
    """Per view `mb_s_core`, `vs_hf_tokenizers`, `bytes_per_symbol`, `train_seconds`; `foreign`; threads, tables."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    corpus = corpus_named("stdlib")
    texts = held_out_sample(corpus, "validation", 2_000_000).texts
    train_texts = list(corpus.train_texts())
    _compile(train_texts[:3])
    views: dict[str, View] = {}
    figures: dict[str, Any] = {"held_out_mb": round(sum(map(len, texts)) / 1e6, 2), "rounds": ROUNDS}
    for spec in VIEWS:
        say(f"train {spec} ...")
        view, seconds = registry.build(spec, lambda: iter(train_texts))
        views[spec] = view
        figures[spec] = {"train_seconds": None if seconds is None else round(seconds, 1)}
    rivals = {size: _alone(views[spec]) for size, spec in RIVALS.items()}
    for spec, size in VIEWS.items():
        say(f"encode with {spec} ...")
        figures[spec] |= _against(views[spec], rivals[size], train_texts, texts)
    figures["foreign"] = {}
    for name, (patterns, with_words) in FOREIGN.items():
        say(f"encode with the pattern of {name} ...")
        foreign = _foreign(views["bpe:65536"], patterns, with_words)
        figures["foreign"][name] = _against(foreign, _alone(foreign), train_texts, texts)
    for spec in ("codebook:12", "codebook:16"):
        view = views[spec]
        assert isinstance(view, CodebookView)
        figures[spec] |= {
            "two_threads_vs_one": _scaling(view, train_texts),
            "table_mb": round(sum(array.nbytes for array in view.trie) / 1e6, 2),
            "walked_mb": round(view.trie.cells.nbytes / 1e6, 2),
        }
    say("train codebook:16 on 30 MB ...")
    whole = [document.text for document in read_stdlib()]
    begin = time.perf_counter()
    CodebookView.make(CodebookOptions(bits=16), whole)
    figures["codebook_2_16_training"] = {
        "text_mb": round(sum(map(len, whole)) / 1e6, 1),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    return figures


def _compile(texts: list[bytes]) -> None:
    """What is compiled at first use is no part of training or encoding."""
    for spec in ("codebook:10", "codebook:10,parse=greedy", "bpe:300", "bpe:300,words=false"):
        view, _ = registry.build(spec, lambda: iter(texts))
        view.encode_batch(texts)


def _foreign(view: View, patterns: list[str], with_words: bool) -> BpeView:
    """The view with its merges that cuts by these patterns."""
    assert isinstance(view, BpeView)
    tokenizer = Tokenizer.from_str(view.tokenizer_json)
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    spelt = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=with_words)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cuts, spelt])
    return BpeView(tokenizer.to_str())


def _alone(view: View) -> Tokenizer:
    assert isinstance(view, BpeView)
    return Tokenizer.from_str(view.tokenizer_json)


def _against(view: View, rival: Tokenizer, texts: list[bytes], held_out: list[bytes]) -> dict[str, Any]:
    rate: dict[str, list[float]] = {"ours": [], "theirs": []}
    unseen = iter(texts)
    for _ in range(ROUNDS + 1):  # the first one warms up
        theirs = _taken(unseen, THEIRS_BYTES)
        ours = _taken(unseen, OURS_BYTES - THEIRS_BYTES)
        strings = [text.decode("utf-8", "replace") for text in theirs]
        begin = time.perf_counter()
        rival.encode_batch_fast(strings, add_special_tokens=False)
        between = time.perf_counter()
        for text in ours:
            view.encode(text)
        end = time.perf_counter()
        rate["theirs"].append(sum(map(len, theirs)) / 1e6 / (between - begin))
        rate["ours"].append(sum(map(len, ours)) / 1e6 / (end - between))
    ours_mb_s, theirs_mb_s = np.array(rate["ours"][1:]), np.array(rate["theirs"][1:])
    ratios = ours_mb_s / theirs_mb_s
    symbols = sum(len(view.encode(text).symbols) for text in held_out)
    return {
        "mb_s_core": round(float(np.median(ours_mb_s)), 1),
        "hf_mb_s_core": round(float(np.median(theirs_mb_s)), 2),
        "vs_hf_tokenizers": round(float(np.median(ratios)), 1),
        "vs_hf_tokenizers_quartiles": [round(float(value), 1) for value in np.quantile(ratios, (0.25, 0.75))],
        "bytes_per_symbol": round(sum(map(len, held_out)) / symbols, 3),
        "symbols": view.alphabet_size,
    }


def _taken(texts: Iterator[bytes], size: int) -> list[bytes]:
    """The next texts, of about `size` bytes together."""
    taken: list[bytes] = []
    for text in texts:
        taken.append(text)
        size -= len(text)
        if size <= 0:
            break
    return taken


def _scaling(view: View, texts: list[bytes]) -> float:
    """Throughput of two threads over that of one, each with the same work, 10 MB of text."""
    share = _taken(iter(texts), 10_000_000)

    def work(_: int) -> None:
        for text in share:
            view.encode(text)

    ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            work(0)
            one = time.perf_counter() - begin
            begin = time.perf_counter()
            list(pool.map(work, range(2)))
            ratios.append(2 * one / (time.perf_counter() - begin))
    return round(float(np.median(ratios)), 2)
