"""Causal attention inside documents, one file per backend, each tested against `dense`."""

from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

import torch

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import Layout
from byteproxy.model.device_kind import kind_of
from byteproxy.model.model_config import Backend

Attend: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Layout], torch.Tensor]
"""(q_NHE, k_NGE, v_NGE, layout) -> [N, H, E]; H is a multiple of G, and heads that share keys stand side by side."""


def backend(name: Backend, device: torch.device, dtype: torch.dtype) -> Attend:
    """The backend of that name; "auto" is what is fastest there: `varlen` on CUDA in bfloat16, else `documents`.

    Raises InputError for one that can't train on that device or in that type.
    """
    cuda, half = kind_of(device) == "cuda", dtype in (torch.bfloat16, torch.float16)
    if name == "auto":
        name = "varlen" if cuda and half else "documents"
    if name in ("varlen", "flex") and not cuda:
        raise InputError(f'attention is "{name}", which trains on CUDA only: give auto, documents or sdpa')
    if name == "varlen" and not half:
        raise InputError('attention is "varlen", which has no float32: give dtype bfloat16, or attention flex')
    chosen: Attend = import_module(f"byteproxy.model.attention.{name}").attend
    return chosen
