from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from byteproxy.train import muon
from byteproxy.train.muon import Muon

shapes = st.lists(
    st.one_of(st.sampled_from([(4, 9), (9, 4), (8, 8)]), st.tuples(st.integers(1, 20), st.integers(1, 20))),
    min_size=1,
    max_size=8,
)


def pairs(shapes, seed=0):
    """The same matrices twice."""
    torch.manual_seed(seed)
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    return mine, [torch.nn.Parameter(parameter.detach().clone()) for parameter in mine]


def step(optimizers, parameters, gradients):
    for optimizer, own in zip(optimizers, parameters, strict=True):
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()


@settings(max_examples=25)
@given(shapes, st.floats(0, 0.5), st.sampled_from([0.0, 0.9, 0.95]), st.integers(1, 400), st.integers(0, 99))
def test_moves_as_torchs_own(shapes, weight_decay, momentum, stack_bytes, seed):
    """Over five steps, whatever shares a stack; gradients of very different size, and some missing."""
    mine, theirs = pairs(shapes, seed)
    start = [parameter.detach().clone() for parameter in mine]
    optimizers = (
        Muon(mine, lr=0.1, weight_decay=weight_decay, momentum=momentum),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon, "STACK_BYTES", stack_bytes)
        for turn in range(5):
            gradients = [10.0 ** (number - 4) * torch.randn(shape) for number, shape in enumerate(shapes)]
            gradients[turn % len(shapes)] = None if turn % 2 else torch.zeros(shapes[turn % len(shapes)])
            step(optimizers, (mine, theirs), gradients)
    for one, other, before in zip(mine, theirs, start, strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() <= 0.02 * moved + 1e-6
        mine_state, their_state = optimizers[0].state[one], optimizers[1].state[other]
        assert mine_state.keys() == their_state.keys()
        assert all(torch.equal(mine_state[key], their_state[key]) for key in mine_state)


def test_an_update_is_near_an_orthogonal_matrix():
    """Against the singular value decomposition."""
    torch.manual_seed(0)
    matrix = torch.randn(24, 64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    for dtype in (torch.bfloat16, torch.float32):
        update = muon.orthogonalised(matrix.to(dtype)[None])[0]
        assert update.dtype == dtype
        assert ((left.T @ update.float() @ right.T).diagonal() - 1).abs().max() < 0.4


@given(shapes, st.integers(1, 2000))
def test_stacks_hold_each_matrix_once_and_not_too_many(shapes, most):
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    stacks = list(muon.stacks(parameters, lambda one: one.shape, most))
    assert sorted(id(p) for stack in stacks for p in stack) == sorted(id(p) for p in parameters)
    for stack in stacks:
        assert len({tuple(sorted(p.shape)) for p in stack}) == 1
        assert len(stack) == 1 or sum(2 * p.numel() for p in stack) <= most


def test_matrices_either_way_round_share_a_stack():
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in [(4, 9), (3, 3), (9, 4), (4, 9)]]
    assert [len(stack) for stack in muon.stacks(parameters, lambda one: one.shape, muon.STACK_BYTES)] == [3, 1]


def test_state_goes_through_torchs_state_dicts_and_on_bit_for_bit():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), torch.nn.Linear(6, 3, bias=False))
    optimizer = Muon(model.parameters(), lr=0.01)
    gradients = [[torch.randn_like(p) for p in model.parameters()] for _ in range(4)]
    for some in gradients[:2]:
        step([optimizer], [model.parameters()], some)
    weights, moments = deepcopy(get_state_dict(model, optimizer))
    again = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), torch.nn.Linear(6, 3, bias=False))
    other = Muon(again.parameters(), lr=0.5)
    set_state_dict(again, other, model_state_dict=weights, optim_state_dict=moments)
    for some in gradients[2:]:
        step([optimizer, other], [model.parameters(), again.parameters()], some)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(shape))], lr=0.1)
