"""Encoding: every view's speed on one core against Hugging Face `tokenizers` with as many symbols, one thread each.

Text: held-out Python code of the validation side, near-duplicates of training text left out; views are trained on the
train side. A view and its rival take turns for several rounds after a warm-up; a ratio is the median over rounds, with
the quartiles beside it. The rival is our own BPE with word splitting in `tokenizers.encode_batch_fast`.

Floor of a walk: one load a byte from the nearest cache that holds the table (4 to 5 cycles in level 1, about 14 in
level 2), and one branch a symbol that no processor predicts (about 15 cycles).
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.evaluate.views.corpus import held_out_sample, open_corpus
from byteproxy.views import registry
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView
from byteproxy.views.codebook import CodebookOptions, CodebookView

ROUNDS = 9
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


def measure(say: Callable[[str], None]) -> dict:
    """Per view `mb_s_core`, `vs_hf_tokenizers`, `bytes_per_symbol`, `train_seconds`; then threads and table sizes."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    corpus = open_corpus("stdlib")
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
        figures[spec] |= _against(views[spec], rivals[size], texts)
    for spec in ("codebook:12", "codebook:16"):
        view = views[spec]
        assert isinstance(view, CodebookView)
        figures[spec] |= {
            "two_threads_vs_one": _scaling(view, texts),
            "table_mb": round(view.trie.memory_bytes / 1e6, 2),
            "walked_mb": round(view.trie.walked_bytes / 1e6, 2),
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


def _alone(view: View) -> Tokenizer:
    assert isinstance(view, BpeView)
    return Tokenizer.from_str(view.tokenizer_json)


def _against(view: View, rival: Tokenizer, texts: list[bytes]) -> dict[str, Any]:
    size = sum(map(len, texts))
    strings = [text.decode("utf-8", "replace") for text in texts]

    def ours() -> int:
        return sum(len(view.encode(text).symbols) for text in texts)

    def theirs() -> None:
        rival.encode_batch_fast(strings, add_special_tokens=False)

    symbols = ours()
    theirs()
    seconds: dict[Callable, list[float]] = {ours: [], theirs: []}
    for _ in range(ROUNDS):
        for run in seconds:
            begin = time.perf_counter()
            run()
            seconds[run].append(time.perf_counter() - begin)
    ratios = np.divide(seconds[theirs], seconds[ours])
    return {
        "mb_s_core": round(size / 1e6 / float(np.median(seconds[ours])), 1),
        "hf_mb_s_core": round(size / 1e6 / float(np.median(seconds[theirs])), 2),
        "vs_hf_tokenizers": round(float(np.median(ratios)), 1),
        "vs_hf_tokenizers_quartiles": [round(float(value), 1) for value in np.quantile(ratios, (0.25, 0.75))],
        "bytes_per_symbol": round(size / symbols, 3),
        "symbols": view.alphabet_size,
    }


def _scaling(view: View, texts: list[bytes]) -> float:
    """Throughput of two threads over that of one, each with the same work."""

    def work(_: int) -> None:
        for _ in range(5):
            for text in texts:
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
