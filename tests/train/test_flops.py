"""The formula against torch's counter, which sees plain matrix products only."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.mixture.toys import table_of
from torch.utils.flop_counter import FlopCounterMode

from byteproxy.mixture.planner import Planner, State
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.lora import adapt
from byteproxy.model.lora_config import MATRICES, LoraConfig
from byteproxy.model.loss import Entries, typed_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective
from byteproxy.train import compiler
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.flops import distillation_flops, lora_savings, matmul_rate, plan_logits, training_flops
from byteproxy.train.train_config import DTYPES
from byteproxy.vocab import Vocab


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(width=64, layers=3, heads=4, ffn=160),
        ModelConfig(width=96, layers=2, heads=6, key_value_heads=2, ffn=256),
        ModelConfig(width=96, layers=2, heads=3, head_dim=64, key_value_heads=1, ffn=256, attention_biases="all"),
        ModelConfig(),
    ],
)
def test_formula_agrees_with_the_counter(config):
    vocab, positions, raw = Vocab((1000,)), 256, 100
    model = Transformer(config, vocab.size, backend="dense")
    symbols, layout = torch.randint(vocab.size, (positions,)), layout_of(np.array([positions]))
    with FlopCounterMode(display=False) as counter:
        hidden = model.hidden(symbols, layout)
        loss = torch.zeros(())
        for representation, part in enumerate((hidden[:raw], hidden[raw:])):
            weight = model.lm_head.weight
            rows = [weight[one.start : one.stop] for one in typed_rows(representation, vocab)]
            logits = part @ torch.cat(rows).T
            loss = loss + logits.logsumexp(1).sum()
        loss.backward()
    formula = training_flops(config, np.array([positions]), raw * 320 + (positions - raw) * 1064)
    # The dense product makes every position attend to all of them, masked or not.
    heads = config.heads * config.head_width
    formula += 3 * 4 * heads * config.layers * (positions * (positions - 1) // 2)
    assert formula == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("matrices", [MATRICES, ("q_proj", "down_proj")])
def test_with_lora_it_agrees_with_the_counter_too(matrices):
    config, lora = ModelConfig(width=64, layers=3, heads=4, ffn=160), LoraConfig(4, 1.0, matrices)
    vocab, raw = Vocab((1000,)), 128
    model = Transformer(config, vocab.size, backend="dense")
    adapt(model, lora)
    symbols, layout = torch.arange(2 * raw) % vocab.size, layout_of(np.array([2 * raw]))
    with FlopCounterMode(display=False) as counter:
        hidden, loss = model.hidden(symbols, layout), torch.zeros(())
        for representation, part in enumerate(hidden.split(raw)):
            nothing = torch.zeros(raw, dtype=torch.int64)
            entries = Entries(torch.arange(raw), nothing, nothing, torch.ones(raw))
            loss = loss + model.lm_head(part, entries, typed_rows(representation, vocab))[0]
        loss.backward()
    plan = SimpleNamespace(lengths=np.array([2 * raw]), targets=np.array([raw, raw]))
    formula = training_flops(config, plan.lengths, raw * (320 + 1064))
    formula -= lora_savings(config, Objective(), vocab, plan, lora)
    # The dense product makes every position attend to all of them; specials' rows have a gradient at each position.
    formula += 3 * 4 * 64 * 3 * (2 * raw * (2 * raw - 1) // 2)
    assert formula == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_plan_is_priced_by_what_it_holds():
    config, vocab = ModelConfig(width=64, layers=3, heads=4, ffn=160), Vocab((1000,))
    table = table_of([[[(300, 100)], [(200, 60)], [(90, 30)]]])
    mixture = Mixture(phases=(Phase(1.0, "pairs", 0.7),))
    plan, _ = Planner(mixture, 10, table, [1.0], [1.0], rows=2, length=512, seed=0).plan(State())
    by_hand = 0
    for length in plan.lengths.tolist():
        by_hand += sum(4 * 64 * 3 * (place + 1) for place in range(length))
    by_hand += 2 * 1024 * config.matrix_parameters
    by_hand += 2 * 64 * (int(plan.targets[0]) * 320 + int(plan.targets[1]) * 1064)
    logits = plan_logits(config, Objective(), vocab, plan)
    assert training_flops(config, plan.lengths, logits) == 3 * by_hand


def test_every_softmax_in_use_is_priced():
    """One compressed document of 60 symbols and one raw one of 200 bytes, whole: positions times rows, by hand."""
    vocab = Vocab((1000,))
    table = table_of([[[(200, 60)]]])
    mixture = Mixture(phases=(Phase(1.0, "parallel", 0.5),))
    plan, _ = Planner(mixture, 10, table, [1.0], [1.0], rows=1, length=268, seed=0).plan(State())
    assert plan.lengths.tolist() in ([203, 63, 2], [63, 203, 2])
    plan = plan._replace(pieces=plan.pieces[:2])  # without what is cut at the end
    raw, compressed = 202, 62

    def logits(model, text=None, **objective):
        return plan_logits(ModelConfig(**model), Objective(**objective), vocab, plan, text)

    assert logits({}) == raw * 320 + compressed * 1064
    assert logits({"byte_heads": 4}) == 4 * raw * 320 + compressed * 1064
    assert logits({"byte_heads": 4, "symbol_heads": 3}) == 4 * raw * 320 + 3 * compressed * 1064
    assert logits({"byte_heads": 4}, bytes=1.0) == 4 * (raw + compressed) * 320 + compressed * 1064
    assert logits({"byte_heads": 4}, bag=1.0) == (4 * raw + compressed) * 320 + compressed * 1064
    assert logits({"inputs": "mean"}, symbols=0.0, bag=1.0) == (raw + compressed) * 320
    spelled = {"inputs": "mean", "ngrams": (2,), "ngram_outputs": True}
    assert logits(spelled, 200, symbols=0.0, symbol_bytes=1.0) == (raw + 200 + 2) * 320
    with pytest.raises(ValueError, match="how many"):
        logits(spelled, symbols=0.0, symbol_bytes=1.0)
    config, (teachers, students) = ModelConfig(), (61 * 1064, 201 * 320)  # symbols, bytes, and their ends
    distilled = {form: Objective(distill=1.0, distill_form=form) for form in ("segmented", "causal")}
    found = {form: distillation_flops(config, one, vocab, plan) for form, one in distilled.items()}
    assert distillation_flops(config, Objective(), vocab, plan) == 0
    assert found["segmented"] == 2 * config.width * (3 * students + teachers)
    again = training_flops(config, np.array([62]), 0) // 3 * 5 // 2
    assert found["causal"] == 2 * config.width * (3 * students + teachers * 7 // 2) + again
    read = training_flops(config, np.array([62]), 0) // 3
    for form, one in distilled.items():
        frozen = distillation_flops(config, replace(one, distill_teacher="frozen"), vocab, plan)
        assert frozen == found[form] + read, "it reads the symbols once more"
    assert logits({"softmax": "shared"}) == (raw + compressed) * 1320


def test_rates_are_measured():
    assert matmul_rate(torch.float32, (256, 256, 256), 0.02) > 1e8
    assert fastest_dtype("cpu") in DTYPES


@pytest.mark.parametrize(("seconds", "rounds"), [(0.1, 6), (0.6, 2), (30, 1)])
def test_a_busy_machine_is_measured_for_no_longer(monkeypatch, seconds, rounds):
    """By a clock that only the measuring moves."""
    now, measured = [0.0], []

    def slow(dtype, **_):
        now[0] += seconds
        measured.append(dtype)
        return 3.0 if dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(compiler, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(compiler, "matmul_rate", slow)
    assert fastest_dtype("cpu") == "bfloat16"
    assert len(measured) == 2 * rounds
