"""Muon over matrices whose rows lie with several processes, against torch's own in one."""

import pytest
import torch
from tests.train.ranks import on_ranks

from byteproxy.train import muon
from byteproxy.train.muon import Muon
from byteproxy.train.parallel import world
from byteproxy.train.sharded_muon import ShardedMuon
from byteproxy.train.sharding import rows_of

RANKS, STEPS = 3, 4
SHAPES = [(4, 9), (9, 4), (8, 8), (2, 5), (1, 7), (9, 4), (16, 3), (4, 9)]
"""Some share a stack, one way or the other round; some have less rows than there are processes."""
SETTINGS = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}


def matrices():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def gradients(step):
    """Of very different size; in each step another one is not there."""
    random = torch.Generator().manual_seed(step + 1)
    found = [10.0 ** (number - 4) * torch.randn(shape, generator=random) for number, shape in enumerate(SHAPES)]
    return [None if number == step else one for number, one in enumerate(found)]


def stepped(optimizer, parameters, own=lambda gradient: gradient):
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = None if gradient is None else own(gradient).clone()
        optimizer.step()


def sharded(dtype):
    """This process's rows of all matrices and of their momenta."""

    def own(matrix):
        rows = rows_of(matrix.shape, world().rank, RANKS)
        return matrix.detach()[rows.start : rows.stop]

    muon.STACK_BYTES = 100  # two matrices each, where a process has a third of them
    whole = matrices()
    parts = [torch.nn.Parameter(own(one).clone()) for one in whole]
    shapes = {part: one.shape for part, one in zip(parts, whole, strict=True)}
    groups = [{"params": parts[:5]}, {"params": parts[5:]}]
    optimizer = ShardedMuon(groups, *SETTINGS.values(), dtype, shapes, torch.distributed.group.WORLD)
    stepped(optimizer, parts, own)
    momenta = [optimizer.state[part]["momentum_buffer"] for part in parts]
    return [part.detach().numpy() for part in parts], [one.numpy() for one in momenta]


def both(_):
    return sharded(torch.bfloat16), sharded(torch.float32)


@pytest.fixture(scope="module")
def found():
    return on_ranks(RANKS, both, None)


def together(found, kind, what):
    """The whole matrices that all processes hold."""
    held = [rank[kind][what] for rank in found]
    return [torch.cat([torch.from_numpy(one) for one in parts]) for parts in zip(*held, strict=True)]


def test_it_moves_as_torchs_own_in_one_process(found):
    """In bfloat16, whose products round to 1 in 256, and are summed in another order where matrices share a stack."""
    theirs, start = matrices(), matrices()
    optimizer = torch.optim.Muon(theirs, **SETTINGS, adjust_lr_fn="match_rms_adamw")
    stepped(optimizer, theirs)
    for one, other, before in zip(together(found, 0, 0), theirs, start, strict=True):
        assert (one - other).norm() <= 0.02 * (other - before).norm() + 1e-6
    for one, other in zip(together(found, 0, 1), theirs, strict=True):
        assert torch.equal(one, optimizer.state[other]["momentum_buffer"])


def test_in_float32_it_moves_as_ours_in_one_process(found):
    alone = matrices()
    stepped(Muon(alone, **SETTINGS, dtype=torch.float32), alone)
    for one, other in zip(together(found, 1, 0), alone, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)
