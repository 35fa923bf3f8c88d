"""What wraps modules sees every weight where it is used: hooks, activation checkpointing, sharding by block."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed._tools.mem_tracker import MemTracker

from byteproxy.model import blocks
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.distillation import Contexts
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.lora import adapt
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.next_byte import NextByte
from byteproxy.model.objective import Objective
from byteproxy.model.targets import BothForms, Positions, targets_of
from byteproxy.views.prefix_tree import prefix_tree
from byteproxy.vocab import FIRST_SYMBOL, SPECIALS, Vocab

VOCAB = Vocab((40,))
TABLES = {"ngrams": (2, 3), "ngram_rows": 64, "ngram_outputs": True, "byte_heads": 3, "byte_head_ngrams": (2,)}
CASES = {
    "plain": ({}, {}),
    "shared": ({"softmax": "shared", "key_value_heads": 2}, {}),
    "symbols": ({**TABLES, "symbol_heads": 2, "value_embeddings": True, "qk_norm": True}, {"bytes": 1.0}),
    "distilled": ({}, {"distill": 1.0}),
    "causal": (
        {"value_embeddings": True, "byte_heads": 3, "byte_head_ngrams": (2,), "ngram_rows": 64},
        {"distill": 1.0, "distill_form": "causal", "heads_detached": True},
    ),
    "expanded": (
        {**TABLES, "inputs": "positions", "hashed_rows": 32},
        {"symbols": 0.0, "symbol_bytes": 1.0, "bytes": 0.5},
    ),
}


def example(case):
    """A model, and two documents of it: raw bytes, then symbols of one to three bytes."""
    shape, weights = CASES[case]
    config = ModelConfig(width=32, layers=3, heads=4, ffn=48, **shape)
    torch.manual_seed(0)
    model = Transformer(config, FIRST_SYMBOL if config.composed else VOCAB.size, output_vocab=VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    counts = torch.cat((torch.ones(20, dtype=torch.int64), torch.randint(1, 4, (17,))))
    ids = torch.randint(64, FIRST_SYMBOL, (int(counts.sum()),))
    ends = counts.cumsum(0)
    segment_ends = torch.where(torch.arange(37) < 20, 20, int(ends[-1]))
    symbols = torch.cat((ids[:20], torch.randint(FIRST_SYMBOL, VOCAB.size, (17,))))
    targets = symbols.roll(-1)
    targets[[19, 36]] = -1
    expansion = ByteExpansion(ids, ends, segment_ends)
    next_byte = NextByte.typed(prefix_tree([bytes([65 + symbol]) for symbol in range(40)]), 1)
    contexts = [contexts_of(symbols)] if weights.get("distill_form") == "causal" else None
    both = BothForms(torch.arange(15), 20 + torch.arange(15), torch.zeros(15, dtype=torch.int64), [next_byte], contexts)
    shown = Positions(symbols, targets, (torch.arange(37) >= 20).long(), expansion, both)
    entries = targets_of(config, shown, VOCAB, Objective(**weights), 0.0)
    return model, Batch(symbols, layout_of(np.array([20, 17])), entries, expansion)


def contexts_of(symbols):
    """Three contexts of the second document, and two branches that leave the first two of them."""
    context, student = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 1, 2, 1, 2])
    own_row, branch_row = SPECIALS + symbols[21:24] - FIRST_SYMBOL, SPECIALS + torch.tensor([3, 7])
    after, read = np.array([20, 21]), FIRST_SYMBOL + np.array([3, 7])
    at, parent, nothing = 20 + torch.arange(3), torch.arange(2), torch.zeros(5, dtype=torch.int64)
    return Contexts(at, nothing[:3], own_row, parent, branch_row, after, read, context, student, nothing)


def gradients(model, batch):
    found = model(batch)
    found.total.backward()
    return [found.total.detach(), *(parameter.grad for parameter in model.parameters())]


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def in_calls_only(module, inside):
    """Parameters that are there while their own module is called, and are nothing at any other time."""
    own = dict(module.named_parameters(recurse=False))
    for name, parameter in own.items():
        module.register_parameter(name, None)
        inside.append(parameter)

    def put(module, given):
        for name, parameter in own.items():
            module._parameters[name] = parameter

    def take(module, given, after):
        for name in own:
            module._parameters[name] = None

    module.register_forward_pre_hook(put)
    module.register_forward_hook(take)


@pytest.mark.parametrize("case", CASES)
def test_no_weight_is_read_but_while_its_own_module_is_called(case):
    """All weights are taken away, and each module gets its own back while it is called: the losses are the same."""
    wanted = gradients(*example(case))
    model, batch = example(case)
    parameters = list(model.parameters())
    inside = []
    for module in list(model.modules()):
        in_calls_only(module, inside)
    assert not list(model.parameters())
    assert {id(one) for one in inside} == {id(one) for one in parameters}
    found = model(batch)
    found.total.backward()
    assert_same([found.total.detach(), *(parameter.grad for parameter in parameters)], wanted)


def calls_of(modules):
    """Counts the calls of modules, one after the other, from now on."""
    calls = [0] * len(modules)

    def count(number):
        calls[number] += 1

    for number, module in enumerate(modules):
        module.register_forward_pre_hook(lambda *_, number=number: count(number))
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("checkpointing", ["attention", "full"])
@pytest.mark.parametrize("case", [*CASES, "lora"])
def test_what_is_computed_again_in_the_backward_pass_changes_no_bit(case, checkpointing, dtype):
    def one_kind(checkpointing):
        model, batch = example("shared" if case == "lora" else case)
        if case == "lora":
            torch.manual_seed(1)
            adapt(model, LoraConfig(rank=2))
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        model.dtype, model.checkpointing = dtype, checkpointing
        calls = calls_of([part for block in model.layers for part in (block, block.self_attn, block.mlp)])
        return gradients(model, batch), calls

    (wanted, once), (found, calls) = one_kind("none"), one_kind(checkpointing)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other) if other is not None else one is None
    again = {"attention": (0, 1, 0), "full": (0, 1, 1)}[checkpointing] * 3
    assert calls == [one + more for one, more in zip(once, again, strict=True)]


@pytest.mark.parametrize("checkpointing", ["attention", "full"])
def test_compiled_parts_are_computed_again_too(checkpointing, monkeypatch):
    """Dynamo and what it makes of autograd; kernels are no matter of what is kept."""
    wanted = gradients(*example("plain"))
    torch._dynamo.reset()
    parts = {
        part: torch.compile(part, dynamic=False, backend="aot_eager")
        for part in (blocks._layer, blocks._attended, blocks._fed)
    }
    monkeypatch.setattr(blocks, "_compiled", parts.__getitem__)
    model, batch = example("plain")
    model.checkpointing = checkpointing
    model.compile_for(len(batch.symbols_N))
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(nested_graph_breaks=True):
        assert_same(gradients(model, batch), wanted)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2


def test_the_less_is_kept_the_lower_is_the_peak():
    def peak(checkpointing):
        model, _ = example("plain")
        symbols = torch.randint(64, FIRST_SYMBOL, (512,))
        shown = Positions(symbols, symbols, torch.zeros(512, dtype=torch.int64))
        batch = Batch(symbols, layout_of(np.array([512])), targets_of(model.config, shown, VOCAB, Objective(), 0.0))
        model.checkpointing = checkpointing
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            gradients(model, batch)
        return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]

    peaks = [peak(checkpointing) for checkpointing in ("none", "attention", "full")]
    # Of a layer's states of 32 and 48 wide ffn: all; without those of attention; the residual stream alone.
    positions = 512 * 4
    kept = [one - peaks[2] for one in peaks]
    assert kept[0] > kept[1] + 3 * 4 * 32 * positions
    assert kept[1] > 2 * 3 * 48 * positions


@pytest.mark.parametrize("case", CASES)
def test_sharded_by_block_the_losses_are_the_same(case, tmp_path):
    """One process: what counts is that each weight is gathered where it is used."""
    from torch.distributed.fsdp import fully_shard

    wanted = gradients(*example(case))
    model, batch = example(case)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        mesh = dist.init_device_mesh("cpu", (1,))
        for block in model.layers:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        found = model(batch)
        found.total.backward()
        grads = [parameter.grad.full_tensor() for parameter in model.parameters()]
    finally:
        dist.destroy_process_group()
    assert_same([found.total.detach(), *grads], wanted)
