"""One run in several ways: micro-batches, ranks, compiled, and every kind of input and target."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store
from tests.train.ranks import on_ranks

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model import blocks
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.store.encode import add_view
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer
from byteproxy.views.chunks import ChunksView

MODEL = ModelConfig(width=32, layers=2, heads=2, ffn=64)
CONFIG = TrainConfig(
    stop="50 steps",
    views=("bpe-300",),
    compile=False,
    model=MODEL,
    mixture=Mixture(phases=(Phase(0.5, "pairs", 0.4, 0.9), Phase(0.5, "switch", 0.5))),
    shape=Shape(3, 256, 100),
    # Muon works in bfloat16, where one rounding more or less moves a loss by a thousandth within 50 steps.
    optim=OptimConfig("adamw", learning_rate=3e-3),
    log_every=1,
    checkpoint_seconds=1e9,
)
COMPOSED = replace(
    CONFIG,
    model=replace(
        MODEL, inputs="positions", hashed_rows=64, byte_heads=3, ngrams=(2,), ngram_rows=64, byte_head_ngrams=(2,)
    ),
    objective=Objective(symbols=0.0, bag=1.0, bytes=0.5),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store, _ = toy_store(tmp_path_factory.mktemp("corpus"))
    add_view(store.path, ChunksView(4), spec="chunks:4")
    return Store.open(store.path)


def losses(folder):
    return np.array([line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line])


def trained(config, path, folder):
    Trainer(config, Store.open(path), folder).run()


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    trained(CONFIG, store.path, folder)
    return losses(folder)


def test_two_ranks_are_one(store, alone, tmp_path):
    """Three rows for two ranks: one has more than the other."""
    on_ranks(2, trained, CONFIG, store.path, tmp_path)
    np.testing.assert_allclose(losses(tmp_path), alone, rtol=0, atol=1e-4)


def test_two_ranks_go_on_where_one_stopped(store, alone, tmp_path):
    """The state is that of the run, not of its processes; the first line also averages what the first one did."""
    first = Trainer(CONFIG, store, tmp_path)
    for _ in range(20):
        first.step()
    first.save()
    on_ranks(2, trained, CONFIG, store.path, tmp_path)
    np.testing.assert_allclose(losses(tmp_path)[-29:], alone[21:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("optim", [{}, {"new_rows_share": 0.5, "new_rows_rate": 2.0, "last_layer_rate": 0.5}])
def test_a_rank_without_a_row_takes_part(store, tmp_path, optim):
    """One row for two ranks: rank 0 has none, and writes what comes out."""
    config = replace(CONFIG, stop="4 steps", shape=Shape(1, 256, 100), optim=replace(CONFIG.optim, **optim))
    on_ranks(2, trained, config, store.path, tmp_path / "two")
    trained(config, store.path, tmp_path / "one")
    assert len(losses(tmp_path / "two")) == 4
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", [CONFIG, COMPOSED], ids=["symbols", "composed"])
def test_micro_batches_sum_to_the_step(store, tmp_path, config):
    config = replace(config, stop="12 steps")
    trained(config, store.path, tmp_path / "whole")
    for rows in (1, 2):
        trained(replace(config, micro_sequences=rows), store.path, tmp_path / str(rows))
        np.testing.assert_allclose(losses(tmp_path / str(rows)), losses(tmp_path / "whole"), rtol=0, atol=1e-4)


def test_compiled_is_the_same_run(store, alone, tmp_path):
    config = replace(CONFIG, stop="15 steps", compile=True)
    trainer = Trainer(config, store, tmp_path)
    if trainer.passes.why_not_compiled:
        pytest.skip(trainer.passes.why_not_compiled)
    trainer.run()
    assert trainer.model.compiled_for == 3 * 256
    plain = replace(config, compile=False)
    trained(plain, store.path, tmp_path / "plain")
    np.testing.assert_allclose(losses(tmp_path), losses(tmp_path / "plain"), rtol=0, atol=1e-4)


def test_without_a_compiler_a_run_says_so_and_goes_on(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "")
    trained(replace(CONFIG, stop="1 steps", compile=True), store.path, tmp_path)
    assert "not compiled: torch.compile needs a C++ compiler" in capsys.readouterr().err
    assert len(losses(tmp_path)) == 1


def test_a_compiler_that_fails_is_said_once_and_done_without(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    trainer = Trainer(replace(CONFIG, stop="2 steps", compile=True, shape=Shape(1, 200, 64)), store, tmp_path)
    if trainer.passes.why_not_compiled:
        pytest.skip(trainer.passes.why_not_compiled)

    def failing(*arguments):
        raise torch._dynamo.exc.BackendCompilerFailed(torch.compile, RuntimeError("no such instruction"), None)

    monkeypatch.setattr(blocks, "_compiled", lambda part: failing)
    trainer.run()
    assert capsys.readouterr().err.count("not compiled: torch.compile failed") == 1
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize(
    ("views", "model", "objective"),
    [
        (("bpe-300",), {"byte_heads": 4, "symbol_heads": 2}, Objective(bytes=0.5, compressed_weight=1 / 3)),
        (("bpe-300",), {"inputs": "mean"}, Objective(bag=0.3)),
        (("bpe-300",), {"inputs": "mean", "byte_heads": 4}, Objective(symbols=0, bytes=1, reach="symbol")),
        (("chunks-4",), {"inputs": "positions", "hashed_rows": 50}, Objective(symbols=0, bag=1)),
        (("bpe-300", "chunks-4"), {"inputs": "positions", "byte_heads": 2}, Objective(symbols=0, bag=0.5, bytes=0.5)),
        (
            ("bpe-300",),
            {"inputs": "mean", "ngrams": (2, 3), "ngram_outputs": True},
            Objective(symbols=0, symbol_bytes=1),
        ),
        (("bpe-300",), {"softmax": "shared", "byte_heads": 2}, Objective()),
        (("bpe-300",), {"qk_norm": True, "soft_cap": 15.0, "value_embeddings": True, "ngrams": (2, 3)}, Objective()),
        (("bpe-300",), {"key_value_heads": 1}, Objective()),
    ],
    ids=[
        "heads",
        "composed_symbols",
        "composed_bytes",
        "chunks_bag",
        "two_views",
        "spelled",
        "shared",
        "baseline",
        "gqa",
    ],
)
def test_every_kind_of_input_and_target_learns(store, tmp_path, views, model, objective):
    config = replace(CONFIG, views=views, model=replace(MODEL, **model), objective=objective)
    config = replace(config, stop="25 steps", optim=OptimConfig(learning_rate=1e-2))
    trainer = Trainer(config, store, tmp_path)
    before = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
    trainer.run()
    lines = [line for line in read(tmp_path / "metrics.jsonl") if "loss" in line]
    for name in ("raw_loss", "compressed_loss"):
        values = [line[name] for line in lines if line[name] is not None]
        assert np.mean(values[-8:]) < 0.75 * values[0], name
    for kind in lines[-1]["losses"].values():
        assert all(value > 0 for value in kind.values())
    still = [name for name, one in trainer.model.named_parameters() if torch.equal(one, before[name])]
    assert still == []


def test_a_composed_model_has_no_rows_for_symbols(store, tmp_path):
    model = Trainer(COMPOSED, store, tmp_path).model
    assert model.embed_tokens.weight.shape == model.lm_head.weight.shape == (320, 32)


def test_symbols_that_are_no_units_can_not_be_targets_of_composed_positions(store, tmp_path):
    config = replace(CONFIG, views=("chunks-4",), model=replace(MODEL, inputs="mean"))
    with pytest.raises(InputError, match=r"chunks-4.*objective.symbols be 0"):
        Trainer(config, store, tmp_path)


def test_without_sentinels_the_shared_softmax_trains(store, tmp_path):
    plain = Mixture(phases=(Phase(1.0, "plain", 0.5),))
    with pytest.raises(InputError, match=r'mode plain.*model.softmax be "shared"'):
        replace(CONFIG, mixture=plain)
    config = replace(CONFIG, mixture=plain, model=replace(MODEL, softmax="shared"))
    trained(config, store.path, tmp_path)
    assert losses(tmp_path)[-5:].mean() < 0.8 * losses(tmp_path)[0]


@pytest.mark.parametrize(
    ("all_else", "heads"),
    [
        ({}, {"symbol_heads": 2}),
        ({}, {"byte_head_ngrams": (2, 3), "ngram_rows": 64}),
        ({"ngrams": (2,), "ngram_rows": 64, "ngram_outputs": True}, {"byte_head_ngrams": (2,)}),
    ],
)
def test_detached_heads_leave_all_else_as_it_would_be_without_them(store, tmp_path, all_else, heads):
    """To the last bit, though gradients are clipped and further heads have learned."""
    plain = replace(CONFIG, stop="6 steps", model=replace(MODEL, **all_else), optim=OptimConfig("adamw", clip=0.1))
    with_heads = replace(
        plain, model=replace(plain.model, byte_heads=3, **heads), objective=Objective(heads_detached=True)
    )
    trainers = [Trainer(one, store, tmp_path / str(number)) for number, one in enumerate((plain, with_heads))]
    for trainer in trainers:
        trainer.run()
    wanted, found = (trainer.model.state_dict() for trainer in trainers)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
    assert all(found[name].any() for name in found.keys() - wanted.keys())
