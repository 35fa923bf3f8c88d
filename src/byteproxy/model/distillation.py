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

The *causal* form is told bytes only: the masses that several histories give to the next byte, each weighed by the
history's own probability, are added up (`covers` has which histories, and what they leave out).

The teacher's logits are computed anew and give no gradient. Teachers are taken some at a time with their students, and
gradients at once, as in `loss`, so that nothing exists for all positions times symbols. Only what causal contexts say
does exist for all pairs of one and a student at once: [E, B], in float32, some 6 kB a raw position.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from byteproxy.model.loss import capped
from byteproxy.model.next_byte import NextByte, conditional
from byteproxy.views.prefix_tree import ROOT
from byteproxy.vocab import FIRST_SYMBOL

_STUDENTS = 1024  # whose logits exist at the same time, where teachers were added up for all of them


class Contexts(NamedTuple):
    """What tells students causally, see `covers`: contexts are C on the view's own way, then X branches.

    position, first, own_row: int64 [C]. parent, branch_row: int64 [X]; rows are of the typed softmax of symbols.
    branch_XD: the branches' hidden states, without gradient. context, student, node: int64 [E], by the context.
    """

    position: torch.Tensor
    first: torch.Tensor
    own_row: torch.Tensor
    parent: torch.Tensor
    branch_row: torch.Tensor
    branch_XD: torch.Tensor
    context: torch.Tensor
    student: torch.Tensor
    node: torch.Tensor


class Distilled(NamedTuple):
    """Students and their teachers, in the order of these: int64 [Q], weight float32 [Q].

    student, teacher: positions. node: of the bytes of the teacher's symbol that come before the student's byte.
    row: the byte that follows, or `</raw>`. contexts: what tells them causally; None: each one's own teacher does.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    node: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    next_byte: NextByte
    contexts: Contexts | None = None


def distilled_loss(
    hidden_ND: torch.Tensor,
    byte_rows_BD: torch.Tensor,
    symbol_rows_RD: torch.Tensor,
    entries: Distilled,
    soft_cap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of students' cross-entropies with their teachers, in nats; then [2 Q or 3 Q] without gradient.

    These are each student's cross-entropy; what the byte that follows costs its teacher; and the share of all mass that
    causal teachers, only these, leave out from there on. A student whose teacher has no mass to tell by has none.
    """
    if len(entries.student) == 0:
        nothing = torch.zeros((), device=hidden_ND.device)
        return nothing, nothing.new_zeros(0)
    dtype = hidden_ND.dtype
    summed, nats_Q = _Distilled.apply(hidden_ND, byte_rows_BD.to(dtype), symbol_rows_RD.to(dtype), entries, soft_cap)
    return summed, nats_Q


Taught = Iterator[tuple[slice, torch.Tensor, torch.Tensor]]
"""Some students after the other, their teachers' distributions [C, B], and what these leave out from there on [C]."""


def taught(hidden_ND: torch.Tensor, symbol_rows_RD: torch.Tensor, entries: Distilled, soft_cap: float) -> Taught:
    """What students are taught, given how the text is segmented."""
    teacher_P, place_Q = torch.unique_consecutive(entries.teacher, return_inverse=True)
    parts = list(entries.next_byte.chunks(len(teacher_P)))
    bounds = torch.tensor([part.start for part in parts] + [len(teacher_P)], device=place_Q.device)
    ends = torch.searchsorted(place_Q, bounds).tolist()
    for part, first, last in zip(parts, ends, ends[1:], strict=False):
        logit_RC = F.linear(symbol_rows_RD, hidden_ND[teacher_P[part]]).float()
        prob_RC = capped(logit_RC, soft_cap).softmax(0)
        mass_XC = entries.next_byte.masses(prob_RC)
        place_C = place_Q[first:last] - part.start
        joint_CB = entries.next_byte.joint(prob_RC, mass_XC, place_C, entries.node[first:last])
        yield slice(first, last), conditional(joint_CB), joint_CB.new_zeros(last - first)


def taught_causally(
    hidden_ND: torch.Tensor, symbol_rows_RD: torch.Tensor, entries: Distilled, contexts: Contexts, soft_cap: float
) -> Taught:
    """What students are taught by all histories with at most one symbol off the view's own way, each by its weight."""
    teachers_XD = torch.cat((hidden_ND[contexts.position], contexts.branch_XD.to(hidden_ND.dtype)))
    own, students, next_byte = len(contexts.position), len(entries.student), entries.next_byte
    exact = torch.float32 if hidden_ND.device.type == "mps" else torch.float64  # mps has no float64
    parts = list(next_byte.chunks(len(teachers_XD)))
    bounds = torch.tensor([part.start for part in parts] + [len(teachers_XD)], device=hidden_ND.device)
    ends = torch.searchsorted(contexts.context, bounds).tolist()
    joint_EB = hidden_ND.new_zeros(len(contexts.context), FIRST_SYMBOL, dtype=torch.float32)
    ended_E = joint_EB.new_zeros(len(joint_EB))
    # What each symbol costs that leads on from a context: the one that the view wrote, then those of branches.
    parent = torch.cat((torch.arange(own, device=bounds.device), contexts.parent))
    row = torch.cat((contexts.own_row, contexts.branch_row))
    order = torch.argsort(parent, stable=True)
    steps = torch.searchsorted(parent[order], bounds).tolist()
    nats_X = torch.zeros(len(order), dtype=exact, device=bounds.device)
    for part, first, last, begin, end in zip(parts, ends, ends[1:], steps, steps[1:], strict=False):
        log_prob_RC = capped(F.linear(symbol_rows_RD, teachers_XD[part]).float(), soft_cap).log_softmax(0)
        here_X = order[begin:end]
        nats_X[here_X] = -log_prob_RC[row[here_X], parent[here_X] - part.start].to(exact)
        prob_RC = log_prob_RC.exp_()
        mass_XC = next_byte.masses(prob_RC)
        place_E, node_E = contexts.context[first:last] - part.start, contexts.node[first:last]
        joint_EB[first:last] = next_byte.joint(prob_RC, mass_XC, place_E, node_E)
        ended_E[first:last] = mass_XC[node_E, place_E]
    # A branch that goes on by a whole symbol has two off the way.
    ended_E = (ended_E - joint_EB.sum(-1)).clamp_min_(0) * ((contexts.context >= own) & (contexts.node != ROOT))
    weight_E = _weights(nats_X, contexts, students)
    taught_QB = joint_EB.new_zeros(students, FIRST_SYMBOL).index_add_(0, contexts.student, joint_EB * weight_E[:, None])
    left_Q = taught_QB.new_zeros(students).index_add_(0, contexts.student, ended_E * weight_E)
    told_Q = taught_QB.sum(-1)
    for first in range(0, students, _STUDENTS):
        here = slice(first, first + _STUDENTS)
        share_C = left_Q[here] / (left_Q[here] + told_Q[here]).clamp_min(1e-37)
        yield here, conditional(taught_QB[here]), share_C


def _weights(nats_X: torch.Tensor, contexts: Contexts, students: int) -> torch.Tensor:
    """Each pair's share of the probability that histories have from their passage's beginning on: float32 [E].

    nats_X: what the symbol after each context costs that the view wrote, then what branches' symbols cost. Shares are
    of a student's most probable history, so that none of them is too small to count.
    """
    own = len(contexts.position)
    before_C = nats_X[:own].cumsum(0) - nats_X[:own]
    log_C = before_C[contexts.first] - before_C
    log_E = torch.cat((log_C, log_C[contexts.parent] - nats_X[own:]))[contexts.context]
    most_Q = log_E.new_full((students,), -torch.inf).scatter_reduce(0, contexts.student, log_E, "amax")
    return (log_E - most_Q[contexts.student]).exp().float()


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
        kinds = 2 if entries.contexts is None else 3
        nats_KQ = torch.zeros(kinds, len(entries.student), device=hidden_ND.device)
        dhidden_ND = torch.zeros_like(hidden_ND) if wanted else hidden_ND
        drows_BD = torch.zeros_like(byte_rows_BD, dtype=torch.float32) if wanted else byte_rows_BD
        given = (hidden_ND, symbol_rows_RD, entries)
        causal = entries.contexts
        teaching = taught(*given, soft_cap) if causal is None else taught_causally(*given, causal, soft_cap)
        for here, taught_CB, left_C in teaching:
            at_C, row_C1, weight_C = entries.student[here], entries.row[here, None], entries.weight[here]
            x_CD = hidden_ND[at_C]
            logit_CB = capped(F.linear(x_CD, byte_rows_BD).float(), soft_cap)
            log_prob_CB = logit_CB.log_softmax(-1)
            told_C = taught_CB.sum(-1)  # 1, or 0 where there is no mass to tell by
            nats_KQ[2:, here] = left_C
            nats_KQ[0, here] = -(taught_CB * log_prob_CB).sum(-1)
            nats_KQ[1, here] = -taught_CB.gather(1, row_C1)[:, 0].clamp_min(1e-37).log() * told_C
            if not wanted:
                continue
            dlogit_CB = (log_prob_CB.exp_() * told_C[:, None] - taught_CB) * weight_C[:, None]
            if soft_cap:
                dlogit_CB *= 1 - (logit_CB / soft_cap).square_()
            dlogit_CB = dlogit_CB.to(hidden_ND.dtype)
            dhidden_ND[at_C] = dlogit_CB @ byte_rows_BD  # a student is there once
            drows_BD += dlogit_CB.mT @ x_CD
        ctx.save_for_backward(dhidden_ND, drows_BD)
        nats_Q = nats_KQ.flatten()
        ctx.mark_non_differentiable(nats_Q)
        return nats_KQ[0] @ entries.weight, nats_Q

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        dhidden_ND, drows_BD = ctx.saved_tensors
        scale = gradients[0]
        return dhidden_ND * scale, (drows_BD * scale).to(dhidden_ND.dtype), None, None, None
