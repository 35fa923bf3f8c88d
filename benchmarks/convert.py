"""The joint phase of a conversion: a training step at SmolLM2's shape, from random weights.

30 layers of width 576, 9 heads on 3, ffn 1,536, 49,152 tokens; a step of about 4,096 positions, passages of 512 bytes,
half of the text as bytes and half as tokens (3.6 bytes each). `gemm_share`: the floor is the products of one step
(forward, input gradient, weight gradient) at the rate that this machine reaches for each of their shapes alone,
attention's at the mean of these rates; the share is that time over the step's, clipping and optimizer included.
`first_step_s`: from drawing the weights to the end of the first step, compiling included; what torch keeps compiled
from earlier runs shortens it. `heads_step`: a step that trains further byte heads too, as the recipe has them, over one
that doesn't, uncompiled, in turns.

`writing`: what a pass of the compiled engine costs, in float32, random weights, 128 positions read: a byte's pass over
that of a token, whose softmax has 49,152 rows (`byte_pass_over_tokens`); bytes a second one by one over tokens, of 3.6
bytes each (`plain_over_tokens`); and a pass that checks so many guesses over one without (`pass_with_guesses`). How
many guesses are right only a trained model says: BYTEPROXY_BENCH_CONVERSION names the folder of a conversion, whose
byte model then writes against its own layers writing tokens (`afterwards`, see `convert.writing_speed`).

`distilled`, of that conversion, too: forward and backward of a row of 2,048 positions that shows each passage as bytes
and as tokens, with cross-view distillation over without, in turns, uncompiled, further heads left out. `causal` reads
all branches, `causal_X` those that tell more than X of the rest. `left_out`: the mean share of a causal teacher's mass.
"""

import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks.train import floor

from byteproxy.convert.conversion_folder import CORPUS, MODEL, RUN
from byteproxy.convert.writing_speed import measured_speed
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.choice import CHOICES
from byteproxy.generate.cpu.product import Matrix
from byteproxy.generate.decoder import Decoder
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.next_byte import NextByte
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.progress import quietly
from byteproxy.recipes.named import convert_recipe
from byteproxy.runs.load import load
from byteproxy.store.store import Store
from byteproxy.train import compiler
from byteproxy.train.compiler import TORCH_DTYPES, fastest_dtype
from byteproxy.train.flops import training_flops
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.run_config import read_run_config
from byteproxy.train.teachers import both_forms_of
from byteproxy.views.base import spelled
from byteproxy.views.bpe import BpeView
from byteproxy.views.prefix_tree import prefix_tree
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, SPECIALS, Vocab

TOKENS = 49_152
SHAPE = ModelConfig(width=576, layers=30, heads=9, key_value_heads=3, ffn=1536, rope_theta=1e5, norm_epsilon=1e-5)
RAW_LENGTHS = np.full(4, 514)  # a passage and its sentinels
TOKEN_LENGTHS = np.full(14, 145)
STEPS = 5
DISTILLED, THRESHOLDS, ROUNDS = 2048, (0.0, 1e-4, 1e-3, 1e-2), 3
BYTES_PER_TOKEN, READ, GUESSES = 3.6, 128, (1, 2, 3, 5, 7)
RECIPE = convert_recipe().run


def measure(say: Callable[[str], None]) -> dict:
    """Figures of the step on this machine."""
    dtype = TORCH_DTYPES[fastest_dtype("cpu")]
    lengths = np.concatenate((RAW_LENGTHS, TOKEN_LENGTHS))
    positions = int(lengths.sum())
    say("the first step, compiled ...")
    begin = time.perf_counter()
    step = _stepper(SHAPE, dtype, compiled=True)
    step()
    first = time.perf_counter() - begin
    say("steps ...")
    seconds = np.array([_seconds(step) for _ in range(STEPS)])
    softmaxes = [(int(RAW_LENGTHS.sum()), FIRST_SYMBOL), (int(TOKEN_LENGTHS.sum()), SPECIALS + TOKENS)]
    flops = training_flops(SHAPE, lengths, sum(count * rows for count, rows in softmaxes))
    say("the floor ...")
    least = floor(SHAPE, positions, flops, dtype, softmaxes)
    del step
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    say("steps with heads ...")
    heads = _heads_step(dtype)
    say("writing ...")
    writing = _writing() | _afterwards(say)
    distilled = _distilled_steps(say)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "positions": positions,
        "step_s": {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]},
        "positions_s": round(positions / float(median)),
        "gflops_s": round(flops / float(median) / 1e9, 1),
        "gemm_share": round(least / float(median), 3),
        "first_step_s": round(first, 1),
        "heads_step": heads,
        "writing": writing,
        "distilled": distilled,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _stepper(shape: ModelConfig, dtype: torch.dtype, compiled: bool) -> Callable[[], None]:
    """One training step on symbols that stay the same; further heads don't change the model, as in the recipe."""
    generator = torch.Generator().manual_seed(0)
    vocab, lengths = Vocab((TOKENS,)), np.concatenate((RAW_LENGTHS, TOKEN_LENGTHS))
    model = _random(shape, vocab.size, dtype)
    raw, tokens = int(RAW_LENGTHS.sum()), int(TOKEN_LENGTHS.sum())
    symbols_N = torch.cat(
        (
            torch.randint(FIRST_BYTE, FIRST_SYMBOL, (raw,), generator=generator),
            torch.randint(FIRST_SYMBOL, vocab.size, (tokens,), generator=generator),
        )
    )
    representations_N = (torch.arange(raw + tokens) >= raw).long()
    targets_N = symbols_N.roll(-1)
    targets_N[np.cumsum(lengths) - 1] = -1
    expansion = _expansion(lengths, representations_N, generator) if shape.byte_heads > 1 else None
    shown = Positions(symbols_N, targets_N, representations_N, expansion)
    compiler.prepare(model, compiled, len(symbols_N), torch.device("cpu"))
    objective = replace(Objective(), heads_detached=True)
    update = Update(model, OptimConfig("adamw"), heads_detached=True)

    def step() -> None:
        update.prepare(STEPS, 2 * STEPS)
        entries = targets_of(model.config, shown, vocab, objective, 0.0)
        found = model(Batch(shown.symbols_N, layout_of(lengths), entries, expansion))
        (found.total / (targets_N >= 0).sum()).backward()
        update.clip()
        update.step()

    return step


def _random(shape: ModelConfig, symbols: int, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(shape, symbols, dtype)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def _expansion(lengths: np.ndarray, representations_N: torch.Tensor, generator: torch.Generator) -> ByteExpansion:
    """Bytes behind positions: one of a raw one, four of a token."""
    ends_N = torch.where(representations_N == 0, 1, 4).cumsum(0)
    ids_M = torch.randint(FIRST_BYTE, FIRST_SYMBOL, (int(ends_N[-1]),), generator=generator)
    last_N = torch.from_numpy(np.repeat(np.cumsum(lengths) - 1, lengths))
    return ByteExpansion(ids_M, ends_N, ends_N[last_N])


def _heads_step(dtype: torch.dtype) -> dict:
    """Steps with the recipe's further heads over steps without."""
    own = RECIPE.model
    with_heads = replace(
        SHAPE, byte_heads=own.byte_heads, byte_head_ngrams=own.byte_head_ngrams, ngram_rows=own.ngram_rows
    )
    steps = [_stepper(shape, dtype, compiled=False) for shape in (SHAPE, with_heads)]
    for step in steps:
        step()
    seconds = np.array([[_seconds(step) for step in steps] for _ in range(STEPS)])
    return {"heads": own.byte_heads - 1, "ngrams": list(own.byte_head_ngrams)} | _ratio(seconds[:, 1] / seconds[:, 0])


@torch.inference_mode()
def _writing() -> dict:
    """What passes cost that write bytes and tokens."""
    model = _random(SHAPE, FIRST_SYMBOL + TOKENS).eval()
    decoder = Decoder(model, 1, READ + 1 + max(GUESSES))
    decoder.read_one(0, np.full(READ, FIRST_BYTE))
    byte, token = (Matrix(model.lm_head.weight[rows]) for rows in (list(CHOICES), slice(FIRST_SYMBOL - 2, None)))

    def passed(rows: Matrix, guesses: int = 0) -> Callable[[], None]:
        def call() -> None:
            decoder.take_back(0, READ)
            rows(decoder.read_one(0, np.full(1 + guesses, FIRST_BYTE))).argmax(-1)

        return call

    sides = {"token": passed(token), "byte": passed(byte), **{str(count): passed(byte, count) for count in GUESSES}}
    for call in sides.values():
        call()
    seconds = {name: np.empty(4 * STEPS) for name in sides}
    for turn in range(4 * STEPS):
        for name, call in sides.items():
            seconds[name][turn] = _seconds(call)
    return {
        "byte_pass_over_tokens": _ratio(seconds["byte"] / seconds["token"]),
        "plain_over_tokens": _ratio(seconds["token"] / seconds["byte"] / BYTES_PER_TOKEN),
        "plain_bytes_s": round(float(1 / np.median(seconds["byte"])), 1),
        "pass_with_guesses": {str(count): _ratio(seconds[str(count)] / seconds["byte"]) for count in GUESSES},
    }


def _named() -> Path | None:
    named = os.environ.get("BYTEPROXY_BENCH_CONVERSION")
    return Path(named) if named else None


def _afterwards(say: Callable[[str], None]) -> dict:
    """How fast a conversion's model writes, if one is named."""
    folder = _named()
    if folder is None:
        return {}
    say(f"{folder} writes ...")
    texts = held_out_texts(Store.open(folder / CORPUS), "validation", 1 << 14, 1 << 10)
    view = BpeView.load(folder / TOKENIZER)
    return {"afterwards": measured_speed(folder / RUN, folder / MODEL, view, texts, quietly)}


def _distilled_steps(say: Callable[[str], None]) -> dict:
    """What distillation adds to a step of a conversion's model, if one is named."""
    folder = _named()
    if folder is None:
        return {}
    say(f"{folder} is taught ...")
    store, model = Store.open(folder / CORPUS), load(folder / RUN, device="cpu").model.train()
    (name,) = read_run_config(folder / RUN).views
    view = spelled(store.view(name))
    assert view is not None, "tokens spell the text"
    mixture = Mixture(phases=(Phase(1.0, "parallel", 0.5),))
    stream = Stream(store, (name,), mixture, Shape(1, DISTILLED, 512), 0, STEPS, expanded=True, both=True)
    rows = stream.rows(stream.plan(State())[0])
    next_bytes = [NextByte.typed(prefix_tree(view.strings), 1)]
    config = replace(model.config, byte_heads=1, byte_head_ngrams=())
    symbols_N, targets_N, kinds_N = map(torch.from_numpy, (rows.symbols, rows.targets, rows.representations))
    left_out = {}

    def passed(key: str, objective: Objective) -> Callable[[], None]:
        def call() -> None:
            causal = objective.distill_form == "causal"
            both = both_forms_of(rows, next_bytes, "cpu", stream.vocab, causal) if objective.distill else None
            shown = Positions(symbols_N, targets_N, kinds_N.long(), None, both)
            entries = targets_of(config, shown, stream.vocab, objective, 0.0)
            found = model(Batch(symbols_N, layout_of(rows.lengths), entries))
            (found.total / (targets_N >= 0).sum()).backward()
            if causal:
                left_out[key] = round(float(found.nats[0, -1] / found.counts[0, -1]), 5)

        return call

    kinds = {"none": Objective(), "segmented": Objective(distill=1.0)}
    for least in THRESHOLDS:
        key = f"causal_{least:g}" if least else "causal"
        kinds[key] = Objective(distill=1.0, distill_form="causal", distill_threshold=least)
    sides = {key: passed(key, objective) for key, objective in kinds.items()}
    for call in sides.values():
        call()
    seconds = {key: np.array([]) for key in sides}
    for _ in range(ROUNDS):
        for key, call in sides.items():
            seconds[key] = np.append(seconds[key], _seconds(call))
    ratios = {key: _ratio(seconds[key] / seconds["none"]) for key in sides if key != "none"}
    contexts = both_forms_of(rows, next_bytes, "cpu", stream.vocab, True).contexts[0]
    counts = {"tokens": len(contexts.position), "branches": len(contexts.after)}
    return {"positions": len(symbols_N), **counts, **ratios, "left_out": left_out}


def _ratio(ratios: np.ndarray) -> dict:
    low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]}


def _seconds(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin
