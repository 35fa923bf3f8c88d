"""Heads that turn hidden states into logits: each owns its rows and takes its own loss.

X hidden states, D width, V symbols, J heads, R rows of a softmax, Q queries.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from byteproxy.model.distillation import Distilled, TeacherStates, distilled_loss
from byteproxy.model.loss import Entries, capped, rows_of, summed_loss
from byteproxy.model.model_config import MAX_BYTE_PLACES

Rows = Sequence[range]
"""Which ids a softmax chooses among, as ranges one after the other."""


class Heads(nn.Module):
    """One linear head on hidden states, weight [V, D], or J of them, weight [J, V, D]."""

    def __init__(self, weight: torch.Tensor, soft_cap: float) -> None:
        super().__init__()
        self.weight, self.soft_cap = nn.Parameter(weight), soft_cap
        self.new_rows: nn.Parameter | None = None  # of specials and bytes, where they alone learn (`lora.py`)

    def forward(
        self, hidden_XD: torch.Tensor, entries: Entries | Distilled, rows: Rows, head: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of what entries cost in nats, with gradient, and what each costs, see `summed_loss`.

        rows: of the softmax; where entries are distilled (see `distilled_loss`), the bytes' and then those of symbols,
            which only a model that teaches itself reads.
        head: the one that all entries are of, counted from 0; None: each entry says it.
        """
        weight_JVD = self.weight if self.weight.dim() == 3 else self.weight[None]
        if head is not None:
            weight_JVD = weight_JVD[head : head + 1]
        new_JKD = None if self.new_rows is None else self.new_rows[None]
        if isinstance(entries, Distilled):
            byte_rows_BD = rows_of(weight_JVD, new_JKD, rows[0])[0]
            teacher = entries.states or TeacherStates(hidden_XD, self.symbol_rows(rows[1:], hidden_XD.dtype))
            return distilled_loss(hidden_XD, byte_rows_BD, teacher, entries, self.soft_cap)
        return summed_loss(hidden_XD, weight_JVD, entries, self.soft_cap, rows, new_JKD)

    def symbol_rows(self, rows: Rows, dtype: torch.dtype) -> torch.Tensor:
        """The one head's rows of a softmax [R, D], as a teacher's: without gradient."""
        new_JKD = None if self.new_rows is None else self.new_rows.detach()[None]
        parts = [rows_of(self.weight.detach()[None], new_JKD, one)[0].to(dtype) for one in rows]  # cast, then together
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def logits(self, hidden_XD: torch.Tensor, ids_R: torch.Tensor) -> torch.Tensor:
        """The one head's logits of these ids, [X, R], float32, or float64 of such hidden states."""
        weight_RD = self.weight[ids_R]
        if self.new_rows is not None:
            new_RD = self.new_rows[ids_R.clamp_max(len(self.new_rows) - 1)]
            weight_RD = torch.where((ids_R < len(self.new_rows))[:, None], new_RD, weight_RD)
        logit_XR = F.linear(hidden_XD, weight_RD.to(hidden_XD.dtype))
        return capped(logit_XR if logit_XR.dtype == torch.float64 else logit_XR.float(), self.soft_cap)


class PlaceScales(nn.Module):
    """What a hidden state is multiplied by when it predicts a byte further on in the next symbol: [places, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(MAX_BYTE_PLACES, width))

    def forward(self, hidden_QD: torch.Tensor, place_Q: torch.Tensor) -> torch.Tensor:
        """Float32 [Q, D]. place_Q: of the byte in its symbol; those beyond the last share its row."""
        return hidden_QD * F.embedding(place_Q.clamp_max(MAX_BYTE_PLACES - 1), self.weight)
