"""Cross-view distillation: raw positions learn what a model says of the next byte when it reads symbols.

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

The teacher is the model itself, or another one whose states are given (`TeacherStates`). Its logits are computed anew
and give no gradient. Teachers are taken some at a time with their students, and
gradients at once, as in `loss`, so that nothing exists for all positions times symbols. Only what causal contexts on
the view's own way say does exist for all pairs of one and a student at once: [E, B], in float32, under 2 kB a raw
position.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
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
    after, symbol: int64 [X], on the host: the position that each branch follows, and the id that it reads there.
    context, student, node: int64 [E], by the context.
    """

    position: torch.Tensor
    first: torch.Tensor
    own_row: torch.Tensor
    parent: torch.Tensor
    branch_row: torch.Tensor
    after: np.ndarray
    symbol: np.ndarray
    context: torch.Tensor
    student: torch.Tensor
    node: torch.Tensor


BranchStates = Callable[[np.ndarray, np.ndarray], torch.Tensor]
"""Hidden states [X, D] of symbols that follow positions: `Contexts.after` and `Contexts.symbol` of some branches."""


class TeacherStates(NamedTuple):
    """What a teacher that is another model says of its own P positions: [P, D], and its softmax of symbols [R, D]."""

    hidden_PD: torch.Tensor
    symbol_rows_RD: torch.Tensor


class Distilled(NamedTuple):
    """Students and their teachers, in the order of these: int64 [Q], weight float32 [Q].

    student, teacher: positions. node: of the bytes of the teacher's symbol that come before the student's byte.
    row: the byte that follows, or `</raw>`. contexts: what tells them causally; None: each one's own teacher does.
    threshold: branches are read that tell a student more than this share of what the view's own way does; 0: all are.
    branch_states: reads them; put in by the model that teaches, whose pass over documents they need.
    states: of a teacher that is another model, whose positions `teacher` and `contexts` count then; None: the model
        that learns teaches, too.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    node: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    next_byte: NextByte
    contexts: Contexts | None = None
    threshold: float = 0.0
    branch_states: BranchStates | None = None
    states: TeacherStates | None = None


def distilled_loss(
    hidden_ND: torch.Tensor,
    byte_rows_BD: torch.Tensor,
    teacher: TeacherStates,
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
    teacher = TeacherStates(teacher.hidden_PD.detach(), teacher.symbol_rows_RD.detach().to(dtype))
    summed, nats_Q = _Distilled.apply(hidden_ND, byte_rows_BD.to(dtype), teacher, entries, soft_cap)
    return summed, nats_Q


Taught = Iterator[tuple[slice, torch.Tensor, torch.Tensor]]
"""Some students after the other, their teachers' distributions [C, B], and what these leave out from there on [C]."""


def taught(teacher: TeacherStates, entries: Distilled, soft_cap: float) -> Taught:
    """What students are taught, given how the text is segmented."""
    teacher_P, place_Q = torch.unique_consecutive(entries.teacher, return_inverse=True)
    parts = list(entries.next_byte.chunks(len(teacher_P)))
    bounds = torch.tensor([part.start for part in parts] + [len(teacher_P)], device=place_Q.device)
    ends = torch.searchsorted(place_Q, bounds).tolist()
    for part, first, last in zip(parts, ends, ends[1:], strict=False):
        logit_RC = F.linear(teacher.symbol_rows_RD, teacher.hidden_PD[teacher_P[part]]).float()
        prob_RC = capped(logit_RC, soft_cap).softmax(0)
        mass_YC = entries.next_byte.masses(prob_RC)
        place_C = place_Q[first:last] - part.start
        joint_CB = entries.next_byte.joint(mass_YC, place_C, entries.node[first:last])
        yield slice(first, last), conditional(joint_CB), joint_CB.new_zeros(last - first)


def taught_causally(teacher: TeacherStates, entries: Distilled, contexts: Contexts, soft_cap: float) -> Taught:
    """What students are taught by all histories with at most one symbol off the view's own way, each by its weight.

    The view's own contexts come first. They say what each branch weighs, and so which ones have to be read.
    """
    own, students, branches = len(contexts.position), len(entries.student), entries.branch_states
    hidden_PD, symbol_rows_RD = teacher
    if own == 0:
        yield slice(0, students), hidden_PD.new_zeros(students, FIRST_SYMBOL).float(), hidden_PD.new_zeros(students)
        return
    assert branches is not None or len(contexts.after) == 0, "the teacher puts in what reads branches"
    of_own = slice(0, int(torch.searchsorted(contexts.context, own)))
    of_branches = slice(of_own.stop, None)
    student_E, node_E = contexts.student, contexts.node
    masses = _Masses(symbol_rows_RD, entries.next_byte, soft_cap)
    # What each symbol costs that leads on from a context: the one that the view wrote, then those of branches.
    parent = torch.cat((torch.arange(own, device=hidden_PD.device), contexts.parent))
    row = torch.cat((contexts.own_row, contexts.branch_row))
    told = list(masses(hidden_PD[contexts.position], contexts.context[of_own], node_E[of_own], parent, row))
    weight_E = _weights(torch.stack([one.nats_X for one in told]).sum(0), contexts, students)
    taught_QB = weight_E.new_zeros(students, FIRST_SYMBOL)
    left_Q = weight_E.new_zeros(students)
    for one in told:
        here = one.pairs
        taught_QB.index_add_(0, student_E[here], one.joint_EB * weight_E[here, None])
    read = np.arange(len(contexts.after))
    context_E, rest_E = contexts.context[of_branches] - own, weight_E[of_branches]
    rest_student_E, rest_node_E = student_E[of_branches], node_E[of_branches]
    if entries.threshold:
        heavy_E = rest_E > entries.threshold * taught_QB.sum(-1)[rest_student_E]
        heavy_X = torch.zeros(len(read), dtype=torch.bool, device=heavy_E.device)
        heavy_X[context_E[heavy_E]] = True
        kept_E = heavy_X[context_E]
        left_Q.index_add_(0, rest_student_E[~kept_E], rest_E[~kept_E])  # no more than that
        context_E = (heavy_X.cumsum(0) - 1)[context_E[kept_E]]
        rest_E, rest_student_E, rest_node_E = rest_E[kept_E], rest_student_E[kept_E], rest_node_E[kept_E]
        read = heavy_X.nonzero()[:, 0].cpu().numpy()
    if branches is not None and len(read):
        branch_XD = branches(contexts.after[read], contexts.symbol[read]).to(hidden_PD.dtype)
        for one in masses(branch_XD, context_E, rest_node_E, parent[:0], row[:0]):
            weight, student = rest_E[one.pairs], rest_student_E[one.pairs]
            taught_QB.index_add_(0, student, one.joint_EB * weight[:, None])
            # A branch that goes on by a whole symbol has two off the way.
            ended = (one.all_E - one.joint_EB.sum(-1)).clamp_min_(0) * (rest_node_E[one.pairs] != ROOT)
            left_Q.index_add_(0, student, ended * weight)
    told_Q = taught_QB.sum(-1)
    for first in range(0, students, _STUDENTS):
        some = slice(first, first + _STUDENTS)
        share_C = left_Q[some] / (left_Q[some] + told_Q[some]).clamp_min(1e-37)
        yield some, conditional(taught_QB[some]), share_C


class _Told(NamedTuple):
    """What some contexts say: to which pairs, the masses of each one's next bytes [E, B], and of its prefix [E].

    nats_X: what symbols cost that lead on from these contexts, 0 for those of others.
    """

    pairs: slice
    joint_EB: torch.Tensor
    all_E: torch.Tensor
    nats_X: torch.Tensor


class _Masses(NamedTuple):
    """What contexts say by the softmax of symbols."""

    symbol_rows_RD: torch.Tensor
    next_byte: NextByte
    soft_cap: float

    def __call__(
        self,
        states_CD: torch.Tensor,
        context_E: torch.Tensor,
        node_E: torch.Tensor,
        parent_X: torch.Tensor,
        row_X: torch.Tensor,
    ) -> Iterator[_Told]:
        """What contexts of these states say, some after the others.

        context_E: ascending, and the nodes that they are asked for. parent_X, row_X: symbols that lead on.
        """
        device = states_CD.device
        exact = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
        parts = list(self.next_byte.chunks(len(states_CD)))
        bounds = torch.tensor([part.start for part in parts] + [len(states_CD)], device=device)
        ends = torch.searchsorted(context_E, bounds).tolist()
        order = torch.argsort(parent_X, stable=True)
        steps = torch.searchsorted(parent_X[order], bounds).tolist()
        for part, first, last, begin, end in zip(parts, ends, ends[1:], steps, steps[1:], strict=False):
            logit_RC = F.linear(self.symbol_rows_RD, states_CD[part]).float()
            log_prob_RC = capped(logit_RC, self.soft_cap).log_softmax(0)
            here_X = order[begin:end]
            nats_X = torch.zeros(len(order), dtype=exact, device=device)
            nats_X[here_X] = -log_prob_RC[row_X[here_X], parent_X[here_X] - part.start].to(exact)
            mass_YC = self.next_byte.masses(log_prob_RC.exp_())
            place_E, asked_E = context_E[first:last] - part.start, node_E[first:last]
            joint_EB = self.next_byte.joint(mass_YC, place_E, asked_E)
            yield _Told(slice(first, last), joint_EB, self.next_byte.mass(mass_YC, place_E, asked_E), nats_X)


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
        teacher: TeacherStates,
        entries: Distilled,
        soft_cap: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        kinds = 2 if entries.contexts is None else 3
        nats_KQ = torch.zeros(kinds, len(entries.student), device=hidden_ND.device)
        dhidden_ND = torch.zeros_like(hidden_ND) if wanted else hidden_ND
        drows_BD = torch.zeros_like(byte_rows_BD, dtype=torch.float32) if wanted else byte_rows_BD
        given, causal = (teacher, entries), entries.contexts
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
