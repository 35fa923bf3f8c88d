"""Sharded training (FSDP2): every process holds a part of each weight, of its gradient and of its moments.

The processes form a mesh, copies x shards. Those of a row hold one copy of the model together: of each parameter, a
stretch of its first dimension. A block's weights are put together before it runs and dropped afterwards, forward and
backward; tables, norm and heads for the whole pass. A gradient is summed where it is needed: each process gets the sum
of its stretch over all of them. So a process needs the memory of its part, of one block, and of the tables.

Weights, sums and moments are float32. Where products are bfloat16, blocks travel in it, as each product casts its
weights to it anyway; tables, in which gradients of many positions add up, stay float32.

FSDP2 expects each process to run the same modules equally often. So in a sharded run each process makes as many passes
as the others. One without rows passes those of another, and they count nothing. A loss without targets has a gradient
of zeros (`Transformer.connected`). What has no gradient on any process gets none, as in a run of one process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from byteproxy.model.network import Transformer
from byteproxy.train import parallel
from byteproxy.train.initial_values import InitialValues
from byteproxy.train.train_config import TrainConfig

SHARD = "shard"


def mesh_of(config: TrainConfig, device: torch.device) -> DeviceMesh | None:
    """The mesh of a run's processes, of copies and shards; None where each process holds the whole model.

    Raises InputError where the configuration's mesh doesn't have as many places as there are processes.
    """
    copies, shards = config.parallel.mesh(parallel.world().ranks)
    if shards == 1:
        return None
    if copies == 1:
        return init_device_mesh(device.type, (shards,), mesh_dim_names=(SHARD,))
    return init_device_mesh(device.type, (copies, shards), mesh_dim_names=("replicate", SHARD))


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor, in its memory: all of it, unless the tensor is sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    own: torch.Tensor = cast("DTensor", tensor.detach()).to_local()
    return own


def sharded_as(whole: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """A tensor of which this process holds `own`, sharded as `whole` is."""
    if not isinstance(whole, DTensor):
        return own
    spec = whole.device_mesh, whole.placements
    return DTensor.from_local(own, *spec, run_check=False, shape=whole.shape, stride=whole.stride())


def rows_of(whole: torch.Size, rank: int, shards: int) -> range:
    """Which of its first dimension's places a shard of a tensor has."""
    most = -(-whole[0] // shards)
    return range(min(rank * most, whole[0]), min((rank + 1) * most, whole[0]))


def spread(model: Transformer, mesh: DeviceMesh) -> None:
    """Let FSDP2 shard a model's blocks, and the rest of it, in place; gradients are summed, in float32."""
    half = model.dtype if model.dtype != torch.float32 and not model.config.value_embeddings else None
    for module in (*model.blocks(), model):
        policy = MixedPrecisionPolicy(
            param_dtype=None if module is model else half, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        wrapped = fully_shard(module, mesh=mesh, mp_policy=policy)
        wrapped.set_gradient_divide_factor(1.0)  # sums: gloo's means are none
        wrapped.set_force_sum_reduction_for_comms(True)


class Sharding:
    """A model spread over a mesh, and what its passes need for that."""

    def __init__(self, model: Transformer, mesh: DeviceMesh) -> None:
        """Shard a model in place. mesh: see `mesh_of`."""
        self.model, self.group = model, mesh.get_group(SHARD)
        self._with_gradient: set[str] = set()
        spread(model, mesh)
        self._root = cast(FSDPModule, model)
        self._root.set_reduce_scatter_unused_params(True)
        model.connected = True

    def begin(self) -> None:
        """Settle where the parameters lie; to be called once they have their values, and before an optimizer."""
        self._root._get_fsdp_state()._lazy_init()  # else the first pass would do it, and may move them
        self._root.unshard()
        for name, parameter in self.model.named_parameters():
            if not isinstance(parameter, DTensor) and parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda _, name=name: self._with_gradient.add(name))
        self._root.reshard()

    def before_pass(self, last: bool) -> None:
        """Let gradients be summed in the step's last pass only."""
        self._root.set_requires_gradient_sync(last)

    def settle_gradients(self, targets: bool) -> None:
        """Drop gradients of zeros where no process had any. targets: whether the step has some, anywhere."""
        names = [name for name, parameter in self.model.named_parameters() if parameter.grad is not None]
        apart = [name for name in names if not name.startswith("layers.")]
        present = parallel.any_rank_each([name in self._with_gradient for name in apart])
        dropped = {name for name, there in zip(apart, present, strict=True) if not there} if targets else set(names)
        for name, parameter in self.model.named_parameters():
            if name in dropped:
                parameter.grad = None
        self._with_gradient.clear()

    @contextmanager
    def whole_tables(self) -> Iterator[None]:
        """While entered, what is no block is whole on each process, for passes that all of them make alike."""
        self._root.unshard()
        try:
            yield
        finally:
            self._root.reshard()


def sharded_model(model: Transformer, mesh: DeviceMesh) -> Sharding:
    """Spread a model with its values over a mesh. Each process needs the memory of all of it, of the host's."""
    sharding = Sharding(model, mesh)
    sharding.begin()
    return sharding


def sharded_model_without_memory(
    model: Transformer, values: InitialValues, mesh: DeviceMesh, device: torch.device, draw: bool
) -> Sharding:
    """Spread a model on the meta device over a mesh, and give it its values, a tensor at a time.

    draw: False where its weights are put in later.
    """
    keys = values.keys(model)
    sharding = Sharding(model, mesh)
    model.to_empty(device=device)
    rank, shards = dist.get_rank(sharding.group), dist.get_world_size(sharding.group)

    def put(tensor: torch.Tensor, filled: torch.Tensor) -> None:
        if isinstance(tensor, DTensor):
            own = rows_of(tensor.shape, rank, shards)
            tensor.to_local().copy_(filled[own.start : own.stop])
        else:
            tensor.copy_(filled)

    values.fill(model, keys, put, parameters=draw)
    sharding.begin()
    return sharding
