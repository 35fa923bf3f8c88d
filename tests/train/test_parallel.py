import os
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.ranks import on_ranks

from byteproxy.errors import InputError
from byteproxy.train import parallel
from byteproxy.train.parallel import World, any_rank, from_rank_zero, joined, sum_gradients, sum_over, world

RANKS = 2
SHAPES = [(3, 5), (200, 40), (7,), (2, 3, 4), (50, 60), (), (30, 30), (11, 13)]
NOWHERE, ONLY_ON_ONE, FROZEN, TURNED = 2, 3, 4, 6
"""Parameters that have no gradient on any rank, only on rank 1, must not be touched, and lie in memory by columns."""


def parameters_of(rank):
    """The same parameters on every rank, with gradients of its own."""
    random = torch.Generator().manual_seed(rank)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for number, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=random)
        parameter.grad = gradient.T.contiguous().T if number == TURNED else gradient
    parameters[NOWHERE].grad = None
    if rank == 0:
        parameters[ONLY_ON_ONE].grad = None
    parameters[FROZEN].requires_grad_(False)
    return parameters


def halves():
    """Inputs [8, 4] and targets, of which each rank takes rows of its own; the second one more of them."""
    random = torch.Generator().manual_seed(9)
    x, y = torch.randn(8, 4, generator=random), torch.randn(8, 2, generator=random)
    return [(x[:3], y[:3]), (x[3:], y[3:])], (x, y)


def gradient_of(x, y, targets):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 2)
    (((layer(x) - y) ** 2).sum() / targets).backward()
    return layer


def work(folder):
    """All that is asked of two processes, in one go: starting them takes seconds."""
    rank = world().rank
    calls = []
    reduce = parallel.dist.all_reduce
    parallel.dist.all_reduce = lambda tensor, *more: (calls.append(tensor.numel()), reduce(tensor, *more))[1]
    parallel.BUCKET_BYTES = 4096
    parameters = parameters_of(rank)
    sum_gradients(parameters)
    found = {"calls": list(calls), "gradients": [p.grad if p.grad is None else p.grad.numpy() for p in parameters]}
    layer = gradient_of(*halves()[0][rank], targets=8)
    sum_gradients(layer.parameters())
    array = np.array([0.1, 1 + 2.0**-40]) * (rank + 1)
    (folder / "late").unlink(missing_ok=True)
    any_rank(False)
    if rank == 1:
        time.sleep(0.3)
        (folder / "late").touch()
    any_rank(False)
    return found | {
        "world": tuple(world()),
        "layer": layer.weight.grad.numpy(),
        "seen": (folder / "late").exists(),
        "sum": sum_over(array),
        "array": array,
        "any": [any_rank(False), any_rank(rank == 1), any_rank(rank == 0), any_rank(True)],
        "told": from_rank_zero({"step": 7, "path": folder} if rank == 0 else None),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return folder, on_ranks(RANKS, work, folder)


def test_gradients_are_the_sum_over_ranks_to_the_bit(found):
    one, other = (parameters_of(rank) for rank in range(RANKS))
    for result in found[1]:
        for number, gradient in enumerate(result["gradients"]):
            if number == NOWHERE:
                assert gradient is None
            elif number == ONLY_ON_ONE:
                assert np.array_equal(gradient, other[number].grad.numpy())
            elif number == FROZEN:
                assert np.array_equal(gradient, (one, other)[result["world"][0]][number].grad.numpy())
            else:
                assert np.array_equal(gradient, (one[number].grad + other[number].grad).numpy())


def test_gradients_travel_in_few_stretches(found):
    """Who has what; then 15, 8000 (by itself), 24 + 1 + 900, 143: no more than 1,024 numbers unless it is one."""
    assert [result["calls"] for result in found[1]] == [[len(SHAPES) - 1, 15, 8000, 925, 143]] * RANKS


def test_two_ranks_have_the_gradient_of_the_whole_batch(found):
    whole = gradient_of(*halves()[1], targets=8).weight.grad
    for result in found[1]:
        np.testing.assert_allclose(result["layer"], whole.numpy(), rtol=1e-5, atol=1e-7)


def test_arrays_are_summed_in_float64_and_not_in_place(found):
    for rank, result in enumerate(found[1]):
        assert result["sum"].tolist() == (np.array([0.1, 1 + 2.0**-40]) + np.array([0.1, 1 + 2.0**-40]) * 2).tolist()
        assert result["array"].tolist() == (np.array([0.1, 1 + 2.0**-40]) * (rank + 1)).tolist()


def test_wishes_and_what_rank_zero_knows_reach_all(found):
    folder, results = found
    for rank, result in enumerate(results):
        assert result["world"] == (rank, RANKS)
        assert result["any"] == [False, True, True, True]
        assert result["told"] == {"step": 7, "path": folder}
        assert result["seen"]


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_buckets_hold_all_in_order_and_no_two_fit_into_one(sizes, most):
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "BUCKET_BYTES", 4 * most)
        buckets = list(parallel._buckets(parameters))
    assert [id(p) for bucket in buckets for p in bucket] == [id(p) for p in parameters]
    totals = [sum(p.numel() for p in bucket) for bucket in buckets]
    assert all(total <= most or len(bucket) == 1 for total, bucket in zip(totals, buckets, strict=True))
    assert all(total + bucket[0].numel() > most for total, bucket in zip(totals, buckets[1:], strict=False))


def test_a_process_alone_joins_nothing_and_changes_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    parameters, array = parameters_of(0), np.ones(3)
    before = [p.grad if p.grad is None else p.grad.clone() for p in parameters]
    with joined() as here:
        assert here == world() == World(0, 1)
        assert not torch.distributed.is_initialized()
        sum_gradients(parameters)
        assert sum_over(array) is array
        assert from_rank_zero(array) is array
        assert (any_rank(False), any_rank(True)) == (False, True)
    assert all(p.grad is None if b is None else torch.equal(p.grad, b) for p, b in zip(parameters, before, strict=True))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "2"}, r"RANK, MASTER_ADDR, MASTER_PORT not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT not set"),
        ({"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, "whole numbers"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, "RANK is 2"),
    ],
)
def test_a_start_that_is_not_torchruns_is_refused(variables, said, monkeypatch):
    for name in [name for name in os.environ if name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said), joined():
        pass
