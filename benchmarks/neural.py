"""The neural view: is the compiled form the oracle, and what each way to encode costs.

    make bench BENCH_ARGS="--only neural"             trains a predictor of 2 million parameters for 60 steps first
    PYTHONPATH=. .venv/bin/python benchmarks/neural.py X.neural    takes one that `byteproxy views train neural` left

The oracle reads windows of the validation split byte by byte and never sees the file; only what the model says of a
prefix is kept for the next time, as it is a pure function. Every window is compared with the compiled one. Speeds are
of one thread: the walk and the codebook's take turns, each round with text of its own, and the ratio is the median
with its quartiles. FLOPs are 2 a parameter and position, attention left out, which is little at these lengths.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.neural.padding import padding
from tests.views.neural_oracle import windows

from byteproxy.evaluate.compressors import ppmd_bpb
from byteproxy.evaluate.views.fuzzy import neural_figures
from byteproxy.evaluate.views.view_texts import corpus_named, held_out_sample
from byteproxy.model.attention.layout import layout_of
from byteproxy.neural.entropies import entropies
from byteproxy.neural.kind import NeuralKind
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.neural.predictor_training import MODELS
from byteproxy.views import registry
from byteproxy.views.base import View
from byteproxy.views.coder import LONGEST, Code, counts_of
from byteproxy.views.neural_tree import expanded
from byteproxy.vocab import BYTES, FIRST_BYTE, RAW, byte_ids, opening

WINDOWS, ROUNDS, BLOCK_BYTES = 100_000, 9, 2_000_000
CORPUS_BYTES = 3.3e12
"""What the paper trained on, in bytes of text."""


class Kept:
    """A predictor whose answers are kept. The oracle asks one prefix at a time."""

    def __init__(self, predictor: ModelPredictor) -> None:
        self.predictor, self.known = predictor, {}
        self.fingerprint = predictor.fingerprint

    def counts(self, prefixes: Sequence[bytes]) -> np.ndarray:
        for prefix in prefixes:
            if prefix not in self.known:
                self.known[prefix] = self.predictor.counts([prefix])[0]
        return np.stack([self.known[prefix] for prefix in prefixes])


def measure(say: Callable[[str], None], file: str | None = None) -> dict[str, Any]:
    """Figures of one neural view beside the codebook of as many symbols."""
    corpus = corpus_named("stdlib")
    if file is None:
        say("train a predictor ...")
        view: Any = registry.build("neural:16,size=2m,steps=60", corpus.train_texts).view
    else:
        view = registry.load(Path(file))
    assert isinstance(view, NeuralKind)
    predictor, code = view.predictor, view.about.code
    texts = held_out_sample(corpus, "validation", 2_000_000).texts
    train = b"".join(corpus.train_texts())
    say("expand ...")
    begin = time.perf_counter()
    tree = expanded(predictor, code)
    seconds = time.perf_counter() - begin
    assert tree is not None
    figures: dict[str, Any] = {
        "bits": code.bits,
        "predictor_parameters": predictor.parameters,
        "nodes": len(tree.symbol),
        "compile_seconds": round(seconds, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    figures |= {key: value for key, value in neural_figures(view, texts).items() if key not in figures}
    say("train the codebook ...")
    book = registry.build("codebook:16,parse=greedy", corpus.train_texts).view
    figures["codebook_bits_per_byte"] = code_bits(book, texts, 16)
    figures["ppmd_bits_per_byte"] = ppmd_bpb(texts)
    say("walks ...")
    figures |= walk_speeds(view, book, train)
    say("passes of the model ...")
    figures |= pass_speeds(predictor, code, texts)
    say("the oracle ...")
    figures |= compared(view, predictor, code, texts)
    figures |= shape_effects(predictor, tree.strings())
    return figures | costs(figures)


def code_bits(view: View, texts: Sequence[bytes], bits: int) -> float:
    """Bits per byte when every symbol is written with that many."""
    return bits * sum(len(one.symbols) for one in view.encode_batch(list(texts))) / sum(map(len, texts))


def walk_speeds(view: View, book: View, train: bytes) -> dict[str, Any]:
    """Both walks in turn, on text that neither has seen in this process."""
    blocks = [train[at : at + BLOCK_BYTES] for at in range(0, len(train), BLOCK_BYTES)][: ROUNDS + 1]
    found = []
    for block in blocks:
        pace = []
        for one in (view, book):
            begin = time.process_time()
            one.encode(block)
            pace.append(len(block) / 1e6 / (time.process_time() - begin))
        found.append(pace)
    ours, theirs = np.array(found[1:]).T
    ratio = ours / theirs
    return {
        "walk_mb_s": round(float(np.median(ours)), 1),
        "codebook_mb_s": round(float(np.median(theirs)), 1),
        "walk_vs_codebook": [round(float(value), 2) for value in np.percentile(ratio, (50, 25, 75))],
    }


def pass_speeds(predictor: ModelPredictor, code: Code, texts: Sequence[bytes]) -> dict[str, Any]:
    """The oracle without anything kept, and the pass in context, in kB of text a second."""
    some, size = texts[0][:400], 0
    begin = time.perf_counter()
    windows(some, [], predictor, code)
    oracle = len(some) / (time.perf_counter() - begin)
    model, documents = predictor.model(torch.float32), list(texts[:6])
    entropies(model, documents[:1])
    begin = time.perf_counter()
    size = sum(map(len, documents))
    entropies(model, documents)
    context = size / (time.perf_counter() - begin)
    return {
        "oracle_kb_s": round(oracle / 1e3, 3),
        "context_kb_s": round(context / 1e3, 2),
        "context_padding": round(padding(texts), 4),
    }


def compared(view: NeuralKind, predictor: ModelPredictor, code: Code, texts: Sequence[bytes]) -> dict[str, Any]:
    """Every window of the oracle beside the compiled one, until there are enough of them."""
    kept, begin = Kept(predictor), time.perf_counter()
    seen = differing = bytes_seen = positions = 0
    for text in texts:
        found = view.windows(text)
        own = list(zip(view.tree.symbol[found[:, 0]].tolist(), found[:, 1].tolist(), strict=True))
        expected = [tuple(window) for window in windows(text, [], kept, code)]
        seen += len(expected)
        bytes_seen += len(text)
        positions += sum((size + 1) * (size + 2) // 2 for _, size in expected)
        differing += sum(one != other for one, other in zip(own, expected, strict=False)) + abs(
            len(own) - len(expected)
        )
        if seen >= WINDOWS:
            break
    return {
        "windows_compared": seen,
        "windows_that_differ": differing,
        "oracle_positions_a_byte": round(positions / bytes_seen, 2),
        "oracle_kept_seconds": round(time.perf_counter() - begin, 1),
    }


@torch.no_grad()
def shape_effects(predictor: ModelPredictor, strings: Sequence[bytes]) -> dict[str, Any]:
    """Of some strings, the share with any count that changes when they are read in a batch and not alone."""
    chosen = [one for one in strings[:: len(strings) // 1500] if len(one) < LONGEST]

    def changed(dtype: torch.dtype) -> float:
        model = predictor.model(dtype)
        ids_B = torch.arange(FIRST_BYTE, FIRST_BYTE + BYTES)

        def counts(some: Sequence[bytes]) -> np.ndarray:
            lengths = np.array([len(one) + 1 for one in some])
            ids = [part for one in some for part in (np.array([opening(RAW)]), byte_ids(one))]
            hidden_ND = model.hidden(torch.from_numpy(np.concatenate(ids)), layout_of(lengths))[np.cumsum(lengths) - 1]
            return counts_of(model.lm_head.logits(hidden_ND, ids_B).double().softmax(-1).numpy(), predictor.precision)

        together = counts(chosen)
        return float(np.mean([(counts([one])[0] != row).any() for one, row in zip(chosen, together, strict=True)]))

    return {"changed_by_shape_float32": changed(torch.float32), "changed_by_shape_float64": changed(torch.float64)}


def costs(figures: dict[str, Any]) -> dict[str, Any]:
    """FLOPs a byte, and of 3.3 TB, by this model and by one of 40 million parameters."""
    found = {}
    for name, parameters in (("own", figures["predictor_parameters"]), ("40m", MODELS["40m"][0].raw_parameters())):
        found[f"flops_a_byte_{name}"] = {
            "oracle": 2 * parameters * figures["oracle_positions_a_byte"],
            "oracle_with_cache": 2 * parameters * (1 + figures["code_bits_per_byte"] / figures["bits"]),
            "context": 2 * parameters * 2,
        }
        found[f"flops_{name}"] = {
            **{f"{how}_3.3TB": value * CORPUS_BYTES for how, value in found[f"flops_a_byte_{name}"].items()},
            "compiling_once": 2 * parameters * figures["nodes"],
        }
    found["walk_core_hours_3.3TB"] = round(CORPUS_BYTES / 1e6 / figures["walk_mb_s"] / 3600, 1)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr, flush=True), *sys.argv[1:2]), indent=1))
