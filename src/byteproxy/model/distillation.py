"""Cross-view distillation: raw positions learn what the same model says of the next byte when it reads symbols.

N hidden states, D width, Q raw positions (students), each with the position that predicts the symbol that covers its
byte (teacher), B rows of the softmax of bytes, R of the typed softmax of symbols, C of either taken at a time.

The teacher at a symbol's beginning is the distribution of the next symbol's first byte, or of the end. Inside a symbol,
after its bytes u, it is that of the next byte given that the symbol begins with u and is longer than u. This is
*segmentation-conditional*: it knows where symbols ended so far, and that the one at hand has not ended, which the bytes
so far don't tell. It is right on average: over all ways to segment the text so far, each as likely as the model of
symbols says, its mean is the exact probability of the next byte. Which way a text is segmented does depend on what
follows, so one teacher alone is no honest prediction, and its own bits (`teacher`) are no code length. Cross-entropy
with the teacher's probabilities is linear in them, so in expectation training follows the exact marginal.

The teacher's logits are computed anew and give no gradient. Nothing exists for all positions times symbols or times
bytes: teachers are taken some at a time with their students, and gradients at once, as in `loss`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from byteproxy.model.loss import capped
from byteproxy.model.next_byte import NextByte, conditional


class Distilled(NamedTuple):
    """Students and their teachers, in the order of these: int64 [Q], weight float32 [Q].

    student, teacher: positions. node: of the bytes of the teacher's symbol that come before the student's byte.
    row: the byte that follows, or `</raw>`.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    node: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    next_byte: NextByte


def distilled_loss(
    hidden_ND: torch.Tensor,
    byte_rows_BD: torch.Tensor,
    symbol_rows_RD: torch.Tensor,
    entries: Distilled,
    soft_cap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of students' cross-entropies with their teachers, in nats; then [2 Q] without gradient.

    These are each student's cross-entropy, and what the byte that follows costs its teacher. A student whose teacher
    has no mass to tell by has none of both.
    """
    if len(entries.student) == 0:
        nothing = torch.zeros((), device=hidden_ND.device)
        return nothing, nothing.new_zeros(0)
    dtype = hidden_ND.dtype
    summed, nats_Q = _Distilled.apply(hidden_ND, byte_rows_BD.to(dtype), symbol_rows_RD.to(dtype), entries, soft_cap)
    return summed, nats_Q


def taught(
    hidden_ND: torch.Tensor, symbol_rows_RD: torch.Tensor, entries: Distilled, soft_cap: float
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Some students after the other, and their teachers' distributions [C, B]."""
    teacher_P, place_Q = torch.unique_consecutive(entries.teacher, return_inverse=True)
    parts = list(entries.next_byte.chunks(len(teacher_P)))
    bounds = torch.tensor([part.start for part in parts] + [len(teacher_P)], device=place_Q.device)
    ends = torch.searchsorted(place_Q, bounds).tolist()
    for part, first, last in zip(parts, ends, ends[1:], strict=False):
        logit_RC = F.linear(symbol_rows_RD, hidden_ND[teacher_P[part]]).float()
        prob_RC = capped(logit_RC, soft_cap).softmax(0)
        mass_XC = entries.next_byte.masses(prob_RC)
        place_C = place_Q[first:last] - part.start
        yield (
            slice(first, last),
            conditional(entries.next_byte.joint(prob_RC, mass_XC, place_C, entries.node[first:last])),
        )


class _Distilled(torch.autograd.Function):
    """Weighted sum of cross-entropies with distributions, with gradients taken chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        byte_rows_BD: torch.Tensor,
        symbol_rows_RD: torch.Tensor,
        entries: Distilled,
        soft_cap: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        nats_2Q = torch.zeros(2, len(entries.student), device=hidden_ND.device)
        dhidden_ND = torch.zeros_like(hidden_ND) if wanted else hidden_ND
        drows_BD = torch.zeros_like(byte_rows_BD, dtype=torch.float32) if wanted else byte_rows_BD
        for here, taught_CB in taught(hidden_ND, symbol_rows_RD, entries, soft_cap):
            at_C, row_C1, weight_C = entries.student[here], entries.row[here, None], entries.weight[here]
            x_CD = hidden_ND[at_C]
            logit_CB = capped(F.linear(x_CD, byte_rows_BD).float(), soft_cap)
            log_prob_CB = logit_CB.log_softmax(-1)
            told_C = taught_CB.sum(-1)  # 1, or 0 where there is no mass to tell by
            nats_2Q[0, here] = -(taught_CB * log_prob_CB).sum(-1)
            nats_2Q[1, here] = -taught_CB.gather(1, row_C1)[:, 0].clamp_min(1e-37).log() * told_C
            if not wanted:
                continue
            dlogit_CB = (log_prob_CB.exp_() * told_C[:, None] - taught_CB) * weight_C[:, None]
            if soft_cap:
                dlogit_CB *= 1 - (logit_CB / soft_cap).square_()
            dlogit_CB = dlogit_CB.to(hidden_ND.dtype)
            dhidden_ND[at_C] = dlogit_CB @ byte_rows_BD  # a student is there once
            drows_BD += dlogit_CB.mT @ x_CD
        ctx.save_for_backward(dhidden_ND, drows_BD)
        nats_Q = nats_2Q.flatten()
        ctx.mark_non_differentiable(nats_Q)
        return nats_2Q[0] @ entries.weight, nats_Q

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        dhidden_ND, drows_BD = ctx.saved_tensors
        scale = gradients[0]
        return dhidden_ND * scale, (drows_BD * scale).to(dhidden_ND.dtype), None, None, None
