"""Whether a run fits into this machine's memory, before any of it is allocated.

Counted are the process itself, the weights, their gradients and moments, what backward keeps of a pass, the loss's
logits, and a step's plan. What is more than the machine has would end in a crash, or in hours of swapping, so it is
refused with what it would need.
"""

import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch

from byteproxy.errors import InputError
from byteproxy.store.manifest import Manifest
from byteproxy.train import parallel
from byteproxy.train.compiler import device_of
from byteproxy.train.train_config import TrainConfig
from byteproxy.vocab import FIRST_SYMBOL, Vocab

_UNITS = (1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")
PROCESS_BYTES = 800 << 20
"""Of a process before it has a model: torch, its kernels, the corpus's tables, a tokenizer's."""
_CHUNK = 1024
"""Positions whose logits exist at once, at most (`model/loss.py`)."""
_PLAN_BYTES = 88
"""Bytes of a step's plan for each position: its pieces and lengths."""


def ensure_fits(config: TrainConfig, manifest: Manifest) -> None:
    """InputError where a run needs more memory than this machine has, or more than its accelerator."""
    vocab = Vocab(tuple(manifest.view(name).alphabet_size for name in config.views))
    if short := short_of_memory(config, vocab.size):
        raise InputError(
            f"the run {short}: lower model.width, model.layers or shape.sequences_per_step, or set micro_sequences"
        )


def short_of_memory(config: TrainConfig, symbols: int) -> str:
    """Say what a run needs and what there is, where that is too little; else nothing. symbols: of its vocabulary."""
    positions = (config.micro_sequences or config.shape.sequences_per_step) * config.shape.sequence_length
    parameters = min_parameters(config, symbols)
    run = step_bytes(config, parameters, symbols)
    plan = PROCESS_BYTES + _PLAN_BYTES * config.shape.positions
    device = device_of(config.device)
    on_host = plan if device.type == "cuda" else run + plan
    here = _ranks_here()
    needs = [(on_host * here, machine_bytes(), "this machine")]
    if device.type == "cuda":
        needs.append((run, torch.cuda.get_device_properties(device).total_memory, "its accelerator"))
    for needed, there, what in needs:
        if needed > there:
            ranks = f" for {here} processes" if here > 1 and what == "this machine" else ""
            return (
                f"needs about {amount(needed)}{ranks}, of {parameters:,} parameters and {positions:,} positions in a "
                f"pass, and {what} has {amount(there)}"
            )
    return ""


def peak_bytes(config: TrainConfig, parameters: int, symbols: int) -> int:
    """Bytes that a run needs at its peak, about: of its process, or of its accelerator where it has one.

    symbols: of its vocabulary.
    """
    on_host = device_of(config.device).type != "cuda"
    return step_bytes(config, parameters, symbols) + (PROCESS_BYTES if on_host else 0)


def step_bytes(config: TrainConfig, parameters: int, symbols: int) -> int:
    """Bytes that a training step needs at its peak, about: weights, gradients, moments, and what is kept for backward.

    Gradients and moments have the parameters that are trained. Kept for each position of a micro-batch and each layer:
    the residual stream three times, queries, keys, values and what attention gave, and three times the ffn's width; in
    two bytes each where products are bfloat16. What is computed again in the backward pass is kept of one layer only.
    So is a copy of the matrices then. The loss has the logits of a chunk, and a copy of the table that they come from.
    A frozen teacher has its weights, and its own copy of that table. Of a sharded model a process has its
    part; whole are the tables with their gradients, and two layers, as the next one is fetched while one computes.
    """
    model, half = config.model, config.dtype == "bfloat16"
    positions = (config.micro_sequences or config.shape.sequences_per_step) * config.shape.sequence_length
    item = 2 if half else 4
    trained = config.lora.trained_parameters(model, parameters)
    states = 4 * (parameters + trained) + moment_bytes(config, parameters)
    cast = item * model.matrix_parameters if half else 0
    if (shards := config.parallel.shard) > 1:
        tables = parameters - model.matrix_parameters
        states, cast = states // shards + 8 * tables, 2 * (item + 4) * model.matrix_parameters // model.layers
    kept = positions * item * _kept_numbers(config, 3) + _kept_for_branches(config, positions * item)
    rows = symbols if config.objective.symbols else FIRST_SYMBOL
    loss = rows * item * (min(positions, _CHUNK) + model.width)
    return states + cast + kept + loss + teacher_bytes(config, symbols)


def teacher_bytes(config: TrainConfig, symbols: int) -> int:
    """Bytes of a frozen teacher: two tables and the layers, or nothing where it is what stays of the model itself.

    symbols: of the vocabulary, in one more copy of their rows.
    """
    if not config.objective.frozen_teacher:
        return 0
    shape, item = config.model.stock_shape, 2 if config.dtype == "bfloat16" else 4
    own = 0 if config.lora.rank else shape.raw_parameters() + 2 * (symbols - FIRST_SYMBOL) * shape.width
    return item * (own + symbols * shape.width)


def moment_bytes(config: TrainConfig, parameters: int) -> int:
    """Bytes of all moments: two of a weight, or of matrices one where Muon moves them."""
    trained = config.lora.trained_parameters(config.model, parameters)
    matrices = config.model.matrix_parameters if config.optim.optimizer == "muon" else 0
    return 4 * matrices + 2 * (2 if config.optim.states == "bfloat16" else 4) * (trained - matrices)


def rank_bytes(config: TrainConfig, symbols: int, ranks: int) -> int:
    """Bytes of a rank's tensors at the peak of a step, about, where so many ranks hold the model together.

    A rank has its part of weights and moments, the tables with their gradients, and whole gradients of everything where
    they wait for a further micro-batch. The most is needed as the backward pass begins, with all that uncompiled layers
    and the loss keep; or when the gradients of a first block are summed; or as it
    ends, with a rank's part of all gradients. Of one rank it is `step_bytes`.
    """
    rows = -(-config.shape.sequences_per_step // ranks)
    micro = min(config.micro_sequences or rows, rows)
    parameters, item = min_parameters(config, symbols), 2 if config.dtype == "bfloat16" else 4
    if ranks == 1:
        return step_bytes(replace(config, micro_sequences=micro), parameters, symbols)
    model, positions = config.model, micro * config.shape.sequence_length
    block = model.matrix_parameters // model.layers
    tables = parameters - model.matrix_parameters
    trained = config.lora.trained_parameters(model, parameters)
    own = (4 * parameters + moment_bytes(config, parameters)) // ranks + 8 * tables
    softmaxes, waiting = 2 if symbols > FIRST_SYMBOL else 1, 4 * trained if micro < rows else 0
    layer = _kept_numbers(replace(config, model=replace(model, layers=1)), 4)
    kept, bytes_each = _kept_numbers(config, 4), positions * item
    begin = waiting + 3 * item * block + bytes_each * (kept + (3 + softmaxes) * model.width + model.ffn)
    summed = waiting + (3 * item + 8) * block + bytes_each * (kept - layer + model.width)
    end = (3 * item + 4) * block + bytes_each * (layer + 2 * model.width + model.ffn) + 4 * trained // ranks
    return own + max(begin, summed, end) + teacher_bytes(config, symbols)


def _kept_numbers(config: TrainConfig, times: int) -> int:
    """Numbers that are kept of a position for the backward pass, in all layers; times: of each width, 3 if compiled."""
    model, again = config.model, config.activation_checkpointing
    attended, fed = 4 * model.heads * model.head_width, times * (model.width + model.ffn)
    if again == "full":
        return model.layers * model.width + attended + fed
    return model.layers * fed + (model.layers if again == "none" else 1) * attended


def _kept_for_branches(config: TrainConfig, bytes_of_positions: int) -> int:
    """Keys and values that causal teachers' branches read: of each layer, of as many positions as are symbols.

    These are half of all at most, as each is the other form of a raw position.
    """
    if not config.objective.distill or config.objective.distill_form != "causal":
        return 0
    return config.model.layers * 2 * config.model.kv_heads * config.model.head_width * bytes_of_positions // 2


def ensure_plannable(config: TrainConfig) -> None:
    """InputError where the plan of a single step of a run needs more memory than this machine has."""
    needed = _PLAN_BYTES * config.shape.positions
    if needed > machine_bytes():
        raise InputError(
            f"shape.sequences_per_step {config.shape.sequences_per_step:,} times shape.sequence_length "
            f"{config.shape.sequence_length:,} makes steps of {config.shape.positions:,} positions, whose plan alone "
            f"takes {amount(needed)}: lower one of them"
        )


def min_parameters(config: TrainConfig, rows: int) -> int:
    """Parameters of a model over `rows` symbols, options that add a few left out."""
    model, more = config.model, rows - FIRST_SYMBOL
    tables = (0 if model.composed else more) + (more if config.objective.symbols else 0)
    more_rows = (tables + model.hashed_rows) * model.width
    return model.raw_parameters() + more_rows + model.byte_head_parameters + config.lora.factor_parameters(model)


def machine_bytes() -> int:
    """Memory of this machine, or of the container that the process is in."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if sys.platform == "linux" and Path(limit).is_file():
            said = Path(limit).read_text(encoding="ascii").strip()
            found = min(found, int(said)) if said.isdecimal() else found
    return found


def _ranks_here() -> int:
    """Processes of the run on this machine."""
    ranks = parallel.world().ranks
    said = os.environ.get("LOCAL_WORLD_SIZE", "")
    return min(ranks, int(said)) if said.isdecimal() and int(said) > 0 else ranks


def amount(count: int) -> str:
    """A number of bytes for people."""
    size, unit = next((one for one in _UNITS if count >= one[0]), _UNITS[-1])
    return f"{count / size:,.1f} {unit}"


def peak_megabytes(device: torch.device) -> int:
    """The most memory that was in use: of the accelerator where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10
