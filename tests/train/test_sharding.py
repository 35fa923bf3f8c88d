"""Runs whose model is spread over processes, against the same runs in one process."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store
from tests.train.ranks import on_ranks

from byteproxy.errors import InputError
from byteproxy.generate.score import score
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.parallel import world
from byteproxy.train.sharding import rows_of
from byteproxy.train.train_config import Parallel, TrainConfig
from byteproxy.train.trainer import Trainer

MODEL = ModelConfig(width=32, layers=1, heads=2, ffn=64)
CONFIG = TrainConfig(
    stop="50 steps",
    views=("bpe-300",),
    compile=False,
    model=MODEL,
    mixture=Mixture(phases=(Phase(0.5, "pairs", 0.4, 0.9), Phase(0.5, "switch", 0.5))),
    shape=Shape(6, 256, 100),
    # Muon works in bfloat16, where one rounding more or less moves a loss by a thousandth within 50 steps.
    optim=OptimConfig("adamw", learning_rate=3e-3),
    log_every=1,
    checkpoint_seconds=1e9,
)
WHOLE = replace(CONFIG, validate_every=25)
SHORT = replace(CONFIG, stop="8 steps")
ODD = replace(
    CONFIG,
    stop="5 steps",
    # Tables of one and two matrices, and keys of two rows: less than there are processes. Six rows for four.
    model=replace(
        MODEL, inputs="positions", hashed_rows=63, byte_heads=3, ngrams=(2,), ngram_rows=61, byte_head_ngrams=(2,),
        key_value_heads=1, head_dim=2, qk_norm=True,
    ),
    objective=Objective(symbols=0.0, bag=1.0, bytes=0.5),
    micro_sequences=1,
)  # fmt: skip
SHORT_RUNS = {
    "muon": replace(SHORT, optim=OptimConfig("muon", learning_rate=3e-3)),
    "bfloat16": replace(SHORT, dtype="bfloat16"),
    "clipped": replace(SHORT, micro_sequences=1, optim=replace(CONFIG.optim, clip=0.1)),
    "saving_memory": replace(
        SHORT, activation_checkpointing="full", micro_sequences=1, optim=replace(CONFIG.optim, states="bfloat16")
    ),
}
BROKEN_AT, BROKEN_RANK = 2, 2


def losses(folder):
    return np.array([line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line])


def trained(config, path, folder, validate=None):
    trainer = Trainer(config, Store.open(path), folder)
    trainer.run(validate)
    return trainer


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, torch.distributed.tensor.DTensor) else tensor


def beginning(config, path, folder):
    """A run's first weights, and the gradients of its first step, before they are clipped, by name."""
    trainer = Trainer(config, Store.open(path), folder)
    weights = {name: whole(one.detach()).clone().numpy() for name, one in trainer.model.named_parameters()}
    plan, _ = trainer.stream.plan(trainer.state)
    trainer.update.prepare(0, config.steps)
    found = trainer.passes.of_step(plan)
    gradients = {name: one.grad for name, one in trainer.model.named_parameters()}
    gradients = {name: one if one is None else whole(one).clone().numpy() for name, one in gradients.items()}
    return {
        "weights": weights,
        "gradients": gradients,
        "loss": found.total,
        "norm": float(trainer.update.clip()),
        "norms": trainer.update.gradient_norms(),
    }


def raw_bits(model):
    """A figure for which the model is read outside of its `forward`."""
    return {"raw_bpb": score(model, [b"def shard(self):\n    return 1\n" * 9], 100).bpb}


def broken(config, path, folder):
    """A run whose loss is not a number once, on one rank."""
    trainer = Trainer(config, Store.open(path), folder)
    sound = trainer.passes.losses

    def passed(rows, step):
        found = sound(rows, step)
        bad = step == BROKEN_AT and world().rank == BROKEN_RANK
        return found._replace(total=found.total * float("nan")) if bad else found

    trainer.passes.losses = passed
    trainer.run()
    return trainer.counters.skipped


def rows_seen(trainer):
    """Lets a trainer note the rows that it passes in each step, by their numbers."""
    seen, rows = {}, trainer.stream.rows

    def noted(plan, first, last):
        found = rows(plan, first, last)
        symbols = found.symbols.reshape(last - first, -1)
        seen.update({(plan.step, first + number): row.tolist() for number, row in enumerate(symbols)})
        return found

    trainer.stream.rows = noted
    return seen


def on_two(path, folder):
    """All that is asked of two processes, in one go."""
    trainer = Trainer(replace(WHOLE, parallel=Parallel(shard=2)), Store.open(path), folder / "sharded")
    seen = rows_seen(trainer)
    trainer.run(raw_bits)
    for name, config in SHORT_RUNS.items():
        trained(replace(config, parallel=Parallel(1, 0)), path, folder / name)
    states = [state for one in trainer.update.optimizers for state in one.state.values()]
    return {
        "seen": seen,
        "held": sum(one.to_local().numel() for one in trainer.model.parameters()),
        "moments": sum(state["exp_avg"].numel() for state in states),
        "begin": beginning(replace(CONFIG, parallel=Parallel(shard=2)), path, folder / "begin"),
    }


def on_four(path, folder):
    """All that is asked of four processes, in one go."""
    trained(replace(SHORT, parallel=Parallel(2, 2)), path, folder / "mixed")
    trained(replace(ODD, parallel=Parallel(1, 0)), path, folder / "odd")
    return {
        "begin": beginning(replace(ODD, parallel=Parallel(2, 2)), path, folder / "begin"),
        "skipped": broken(replace(SHORT, stop="4 steps", parallel=Parallel(shard=4)), path, folder / "broken"),
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


@pytest.fixture(scope="module")
def two(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, on_ranks(2, on_two, store.path, folder)


@pytest.fixture(scope="module")
def four(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    return folder, on_ranks(4, on_four, store.path, folder)


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    trainer = Trainer(WHOLE, store, folder)
    seen = rows_seen(trainer)
    trainer.run(raw_bits)
    return folder, seen, trainer


def test_two_shards_are_one_process(two, alone):
    np.testing.assert_allclose(losses(two[0] / "sharded"), losses(alone[0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SHORT_RUNS)
def test_two_shards_are_one_process_in_a_short_run_of_each_kind(store, two, tmp_path, name):
    """Blocks travel in bfloat16, and their gradients are rounded to it pass by pass, as one process's are."""
    trained(SHORT_RUNS[name], store.path, tmp_path)
    atol = 1e-3 if SHORT_RUNS[name].dtype == "bfloat16" else 1e-4  # a weight that rounds the other way is 1 in 256 off
    np.testing.assert_allclose(losses(two[0] / name), losses(tmp_path), rtol=0, atol=atol)


def test_two_copies_of_two_shards_are_one_process(store, four, tmp_path):
    """Six rows for four: two of them have two."""
    trained(SHORT, store.path, tmp_path)
    np.testing.assert_allclose(losses(four[0] / "mixed"), losses(tmp_path), rtol=0, atol=1e-4)


def test_odd_shapes_empty_shards_and_passes_without_a_row(store, four, tmp_path):
    trained(ODD, store.path, tmp_path)
    np.testing.assert_allclose(losses(four[0] / "odd"), losses(tmp_path), rtol=0, atol=1e-4)


def test_the_rows_are_those_of_one_process(two, alone):
    together: dict[tuple[int, int], list[int]] = {}
    for found in two[1]:
        assert not together.keys() & found["seen"].keys()
        together |= found["seen"]
    assert together == alone[1]


def test_each_process_holds_a_part(two, alone):
    parameters = sum(one.numel() for one in alone[2].model.parameters())
    assert sum(found["held"] for found in two[1]) == parameters
    for found in two[1]:
        assert found["held"] == found["moments"] == parameters / 2


@pytest.mark.parametrize("ranks", [2, 4])
def test_it_begins_as_one_process_does(request, store, tmp_path, ranks):
    """Weights to the bit; gradients are sums, and absent where no process has any; the same figures on all."""
    config, fixture = (CONFIG, "two") if ranks == 2 else (ODD, "four")
    alone = beginning(config, store.path, tmp_path)
    for found in (one["begin"] for one in request.getfixturevalue(fixture)[1]):
        assert found["weights"].keys() == alone["weights"].keys()
        for key, values in alone["weights"].items():
            assert np.array_equal(values, found["weights"][key]), key
            mine, theirs = alone["gradients"][key], found["gradients"][key]
            assert (mine is None) == (theirs is None), key
            if mine is not None:
                np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-6)
        assert found["norm"] == pytest.approx(alone["norm"], rel=1e-4)
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        assert found["norms"] == pytest.approx(alone["norms"], rel=1e-3, abs=1e-7)


def test_a_loss_that_is_no_number_on_one_rank_is_passed_over_by_all_and_named(four):
    folder, found = four
    assert [one["skipped"] for one in found] == [1] * 4
    lines = read(folder / "broken" / "metrics.jsonl")
    assert [line["skipped"] for line in lines if "skipped" in line] == [f"the loss is nan on rank {BROKEN_RANK} of 4"]
    assert len(losses(folder / "broken")) == 3
    assert np.isfinite(losses(folder / "broken")).all()


def test_all_measure_together_what_one_would(two, alone):
    mine, theirs = (
        [line["raw_bpb"] for line in read(folder / "metrics.jsonl") if "raw_bpb" in line]
        for folder in (alone[0], two[0] / "sharded")
    )
    assert len(mine) == 2
    np.testing.assert_allclose(theirs, mine, atol=1e-3)


def test_shards_cover_each_place_once():
    for places in range(9):
        for shards in range(1, 6):
            size = torch.Size((places, 3))
            rows = [place for rank in range(shards) for place in rows_of(size, rank, shards)]
            assert rows == list(range(places))
            chunks = [len(chunk) for chunk in torch.empty(size).chunk(shards)] if places else []
            assert [len(rows_of(size, rank, shards)) for rank in range(shards)][: len(chunks)] == chunks


@pytest.mark.parametrize(
    ("asked", "ranks", "mesh"),
    [
        (Parallel(), 1, (1, 1)),
        (Parallel(), 6, (6, 1)),
        (Parallel(shard=3), 6, (2, 3)),
        (Parallel(2, 0), 6, (2, 3)),
        (Parallel(shard=4), 6, None),
        (Parallel(shard=4), 2, None),
        (Parallel(3, 0), 4, None),
        (Parallel(2, 2), 2, None),
    ],
)
def test_a_mesh_comes_out_even_or_is_refused(asked, ranks, mesh):
    if mesh is not None:
        assert asked.mesh(ranks) == mesh
        return
    with pytest.raises(InputError, match=f"does not make {ranks} processes: start another number"):
        asked.mesh(ranks)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Parallel(0, 0), "both 0"),
        (lambda: replace(CONFIG, parallel=Parallel(shard=2), optim=OptimConfig(new_rows_rate=2.0)), "new_rows_rate"),
        (
            lambda: replace(
                CONFIG,
                parallel=Parallel(shard=2),
                mixture=Mixture(phases=(Phase(1.0, "parallel", 0.5),)),
                objective=Objective(distill=0.5, distill_form="causal"),
            ),
            "distill_form",
        ),
    ],
)
def test_what_can_not_be_sharded_is_refused_by_its_name(make, field):
    with pytest.raises(InputError, match=field):
        make()
