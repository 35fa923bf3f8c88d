"""The training step: against transformers' Llama of the same shape, against this machine's own matrix products, and
what documents, symbols, heads and determinism cost.

`vs_transformers`: positions a second, ours over `LlamaForCausalLM` compiled, SDPA with is_causal, fused AdamW, float32
weights with bfloat16 products (autocast) as ours has them. Rows of 1,024 positions, one document each, AdamW on both.
`peak_memory_vs_transformers`: of a step's highest resident memory, less what was there before the model was made; each
side in a process of its own. `gemm_share`: the floor is the products of one step (forward, input gradient, weight
gradient) at the rate that this machine reaches for each of their shapes alone, attention's at the mean of these rates;
the share is that time over the step's, optimizer included.
The other ratios are of steps of the 20m model in the mixture's own rows. Sides alternate, a step each, after a warm-up;
a ratio is the median over rounds, with the quartiles beside it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train import compiler
from byteproxy.train.compiler import TORCH_DTYPES, fastest_dtype
from byteproxy.train.flops import matmul_rate, training_flops
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import FIRST_SYMBOL, SPECIALS, Vocab

LENGTH = 1024
ROWS = {"3m": 8, "20m": 4}
ROUNDS = {"3m": 9, "20m": 5}
SHAPES = {
    "3m": ModelConfig(width=256, layers=4, heads=4, ffn=704),
    "20m": ModelConfig(width=512, layers=6, heads=8, ffn=1408),
}
VIEW = "bpe-4096"
ONE = Mixture(phases=(Phase(1.0, "one", 0.9),))
APART = Mixture(phases=(Phase(1.0, "parallel", 0.5),))
"""Every passage in both forms, the most that can be distilled."""
COMPOSED = {"inputs": "mean", "hashed_rows": 0}


def measure(say: Callable[[str], None]) -> dict:
    """Figures of two sizes on this machine."""
    dtype = TORCH_DTYPES[fastest_dtype("cpu")]
    figures: dict = {"dtype": str(dtype).removeprefix("torch."), "torch": torch.__version__}
    for size in SHAPES:
        say(f"{size} beside transformers ...")
        for key, value in _against_transformers(size, dtype).items():
            figures.setdefault(key, {})[size] = value
    for size in SHAPES:
        say(f"memory of {size} ...")
        memory = {side: _memory_of(side, size, dtype) for side in ("ours", "transformers")}
        figures.setdefault("peak_memory_mb", {})[size] = {side: round(value) for side, value in memory.items()}
        ratio = round(memory["ours"] / memory["transformers"], 3)
        figures.setdefault("peak_memory_vs_transformers", {})[size] = ratio
    figures |= _of_the_mixture(dtype, say)
    return figures


def _against_transformers(size: str, dtype: torch.dtype) -> dict:
    sides = {side: _stepper(side, size, dtype) for side in ("ours", "transformers")}
    seconds = _alternate(sides, ROUNDS[size])
    ours, positions = seconds["ours"], ROWS[size] * LENGTH
    flops = training_flops(SHAPES[size], np.full(ROWS[size], LENGTH), positions * FIRST_SYMBOL)
    step = float(np.median(ours))
    return {
        "positions_s": {side: round(positions / float(np.median(values))) for side, values in seconds.items()},
        "gflops_s": round(flops / step / 1e9, 1),
        "gemm_share": round(floor(SHAPES[size], positions, flops, dtype, [(positions, FIRST_SYMBOL)]) / step, 3),
        "vs_transformers": _ratio(seconds["transformers"], ours),
    }


def _stepper(side: str, size: str, dtype: torch.dtype) -> Callable[[], None]:
    """One training step of one side, compiled, on symbols that stay the same."""
    symbols = torch.randint(SPECIALS, FIRST_SYMBOL, (ROWS[size], LENGTH), generator=torch.Generator().manual_seed(0))
    return _our_step(size, symbols, dtype) if side == "ours" else _their_step(size, symbols, dtype)


def _our_step(size: str, symbols: torch.Tensor, dtype: torch.dtype) -> Callable[[], None]:
    model = Transformer(SHAPES[size], FIRST_SYMBOL, dtype)
    compiler.prepare(model, True, symbols.numel(), torch.device("cpu"))
    (optimizer,) = Update(model, OptimConfig("adamw")).optimizers
    targets = symbols.roll(-1, 1)
    targets[:, -1] = -1
    shown = Positions(symbols.flatten(), targets.flatten(), torch.zeros(symbols.numel(), dtype=torch.int64))
    lengths = np.full(len(symbols), LENGTH)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        entries = targets_of(model.config, shown, Vocab(), Objective(), 0.0)
        found = model(Batch(shown.symbols_N, layout_of(lengths), entries))
        (found.total / (targets >= 0).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _their_step(size: str, symbols: torch.Tensor, dtype: torch.dtype) -> Callable[[], None]:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = SHAPES[size]
    config = LlamaConfig(
        vocab_size=FIRST_SYMBOL,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        max_position_embeddings=LENGTH,
        attn_implementation="sdpa",
        use_cache=False,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = forward(input_ids=symbols, labels=symbols).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _memory_of(side: str, size: str, dtype: torch.dtype) -> float:
    """Megabytes, measured in a process of its own."""
    name = str(dtype).removeprefix("torch.")
    command = [sys.executable, __file__, "--memory", side, size, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _print_memory(side: str, size: str, dtype: torch.dtype) -> None:
    import transformers  # noqa: F401  on both sides, so that neither pays for it

    before = _status("VmRSS")
    step = _stepper(side, size, dtype)
    for _ in range(2):
        step()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of compiling
    for _ in range(3):
        step()
    print(_status("VmHWM") - before)


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "Linux says so"
    return int(found[1]) / 1024


def _of_the_mixture(dtype: torch.dtype, say: Callable[[str], None]) -> dict:
    """Steps of the 20m model in real rows."""
    name = next(name for name, known in TORCH_DTYPES.items() if known == dtype)
    with tempfile.TemporaryDirectory() as folder:
        say("prepare a corpus ...")
        prepare_documents(read_stdlib(), Path(folder), SplitOptions(0.05, 0.1))
        view = BpeView.train((d.text for d in Store.open(Path(folder)).documents("train")), 4096)
        add_view(Path(folder), view)
        store = Store.open(Path(folder))
        bytes_only = TrainConfig(
            dtype=name,
            model=SHAPES["20m"],
            mixture=BYTES,
            shape=Shape(ROWS["20m"], LENGTH, 512),
            optim=OptimConfig("adamw"),
        )
        proxy = replace(bytes_only, views=(VIEW,), mixture=ONE)
        by_bytes = Objective(symbols=0.0, bag=1.0)
        configs = {
            "bytes": bytes_only,
            "proxy": proxy,
            "byte_outputs": replace(proxy, objective=by_bytes, model=replace(SHAPES["20m"], **COMPOSED)),
            "seven_heads": replace(bytes_only, model=replace(SHAPES["20m"], byte_heads=7)),
            "apart": replace(proxy, mixture=APART),
            "distilled": replace(proxy, mixture=APART, objective=Objective(distill=1.0)),
            "muon": replace(bytes_only, optim=OptimConfig("muon")),
        }
        say("steps of the mixture ...")
        trainers = {key: Trainer(config, store, Path(tempfile.mkdtemp(dir=folder))) for key, config in configs.items()}
        sides: dict[str, Callable[[], object]] = {key: trainer.step for key, trainer in trainers.items()}
        sides["unmasked"] = _stepper("ours", "20m", dtype)

        def deterministic() -> None:
            with compiler.deterministic(True):
                trainers["bytes"].step()

        sides["deterministic"] = deterministic
        seconds = _alternate(sides, ROUNDS["20m"])
        counters = trainers["bytes"].counters
        return {
            "proxy_step_vs_bytes_step": _ratio(seconds["proxy"], seconds["bytes"]),
            "byte_outputs_step_vs_bytes_step": _ratio(seconds["byte_outputs"], seconds["bytes"]),
            "seven_heads_step_vs_one": _ratio(seconds["seven_heads"], seconds["bytes"]),
            "distilled_step_vs_undistilled": _ratio(seconds["distilled"], seconds["apart"]),
            "muon_step_vs_adamw": _ratio(seconds["muon"], seconds["bytes"]),
            "masked_step_vs_unmasked": _ratio(seconds["bytes"], seconds["unmasked"]),
            "deterministic_step_vs_default": _ratio(seconds["deterministic"], seconds["bytes"]),
            "loading_share": round(counters.loading_seconds / counters.seconds, 5),
        }


def _alternate(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds a step, float64 [rounds], of each side in turn, after two warm-up rounds of all."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 2):
        for name, step in sides.items():
            begin = time.perf_counter()
            step()
            if turn > 1:
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def _ratio(one: np.ndarray, other: np.ndarray) -> dict:
    low, median, high = np.quantile(one / other, (0.25, 0.5, 0.75))
    return {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]}


def floor(
    shape: ModelConfig, positions: int, flops: int, dtype: torch.dtype, softmaxes: list[tuple[int, int]]
) -> float:
    """Seconds of the matrix products of one step at this machine's rate for each shape.

    softmaxes: positions and rows of each.
    """
    width, q, kv = shape.width, shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    layer = [(width, q + 2 * kv), (q, width), (width, 2 * shape.ffn), (shape.ffn, width)]
    products = [(positions, k, n) for k, n in layer] * shape.layers + [(m, width, rows) for m, rows in softmaxes]
    rates: dict[tuple[int, int, int], float] = {}
    seconds = counted = 0.0
    for m, k, n in products:
        for each in ((m, k, n), (m, n, k), (n, m, k)):
            if each not in rates:
                rates[each] = matmul_rate(dtype, each, 0.05)
            seconds += 2 * m * k * n / rates[each]
            counted += 2 * m * k * n
    return seconds * flops / counted


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", nargs=3, required=True)
    side, size, name = parser.parse_args().memory
    _print_memory(side, size, TORCH_DTYPES[name])
