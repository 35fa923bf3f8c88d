"""Which targets each position has, through which softmax, at which weight.

N positions, R byte heads, H symbol heads, E entries, Q queries (bytes of the next symbol, each a softmax of its own).
Positions are spelled out (`embedding.Spelling`), so the bytes that follow a position are the ids after its own, in
every representation alike; and none is a target beyond the end of the segment that the position stands in. Losses are
kept apart by representation and by *column*: the byte heads, then the symbol heads, the bag, and the spelled bytes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from byteproxy.model.config import LONGEST_PLACE, ModelConfig
from byteproxy.model.embedding import Spelling
from byteproxy.model.loss import Entries, local_targets, softmax_rows, summed_loss
from byteproxy.model.objective import Objective
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import FIRST_SENTINEL, FIRST_SYMBOL, NEUTRAL, PAD, RAW, SPECIALS, Vocab


class Positions(NamedTuple):
    """What a model is shown, and what follows: as `mixture.loader.Rows`, on the model's device.

    symbols_N, targets_N: int64; a negative target is none. representations_N: int64. spelling: None if not needed.
    places_N: int64, how many positions of its document stand before each; read where symbols are spelled only.
    """

    symbols_N: torch.Tensor
    targets_N: torch.Tensor
    representations_N: torch.Tensor
    spelling: Spelling | None = None
    places_N: torch.Tensor | None = None


class Losses(NamedTuple):
    """The loss of some positions.

    total: weighted sum in nats, with gradient.
    nats, counts: float64 [representations, columns], unweighted sums, and of how many targets; a bag counts as one.
    """

    total: torch.Tensor
    nats: torch.Tensor
    counts: torch.Tensor


def columns(config: ModelConfig) -> list[str]:
    """The names of the columns of `Losses`."""
    names = [f"byte_{head}" for head in range(1, config.byte_heads + 1)]
    return [*names, *(f"symbol_{head}" for head in range(1, config.symbol_heads + 1)), "bag", "spelled"]


class Aims(NamedTuple):
    """Entries of one softmax before they are in order; share is 1, or 1 / n for each of n bytes in a bag."""

    position: torch.Tensor
    head: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    share: torch.Tensor
    column: torch.Tensor


def losses(
    model: Transformer, hidden_ND: torch.Tensor, shown: Positions, vocab: Vocab, objective: Objective, progress: float
) -> Losses:
    """What all targets of these positions cost.

    progress: the share of the run's steps that are done, for weights that move.
    """
    config = model.config
    size = vocab.representations, len(columns(config))
    total = torch.zeros((), device=hidden_ND.device)
    exact = torch.device("cpu") if hidden_ND.device.type == "mps" else hidden_ND.device  # mps has no float64
    nats, counts = (torch.zeros(size, dtype=torch.float64, device=exact) for _ in range(2))
    for hidden_XD, representation_X, rows_JRD, aims in _softmaxes(model, hidden_ND, shown, vocab, objective, progress):
        order = torch.argsort(aims.position, stable=True)
        position, head, row, weight, share, column = (one[order] for one in aims)
        summed, nats_E = summed_loss(hidden_XD, rows_JRD, Entries(position, head, row, weight), config.soft_cap)
        total = total + summed
        cell = (representation_X[position] * size[1] + column).to(exact)
        nats.view(-1).index_add_(0, cell, (nats_E * share).to(exact).double())
        counts.view(-1).index_add_(0, cell, share.to(exact).double())
    return Losses(total, nats, counts)


class _Softmax(NamedTuple):
    """What is read, the representation of each of these X states, the rows of the heads, and the targets."""

    hidden_XD: torch.Tensor
    representation_X: torch.Tensor
    rows_JRD: torch.Tensor
    aims: Aims


def _softmaxes(
    model: Transformer,
    hidden_ND: torch.Tensor,
    shown: Positions,
    vocab: Vocab,
    objective: Objective,
    progress: float,
) -> Iterator[_Softmax]:
    """Every softmax that is used."""
    config, head_VD, representation_N = model.config, model.lm_head.weight, shown.representations_N
    first, further = byte_aims(config, shown, objective, progress)
    symbols = [
        (representation, *symbol_aims(config, shown, objective, progress, representation, vocab))
        for representation in range(1, vocab.representations)
        if objective.symbols
    ]
    if config.softmax == "shared":
        joined = [first, *(_as_ids(aims, representation, vocab) for representation, aims, _ in symbols)]
        yield _Softmax(hidden_ND, representation_N, head_VD[None], _joined(joined))
    else:
        hidden_XD, representation_X = hidden_ND, representation_N
        if objective.spell:
            hidden_QD, of_Q, aims = spelled(model, hidden_ND, shown, objective)
            first = _joined([first, aims._replace(position=aims.position + len(hidden_ND))])
            representation_X = torch.cat((representation_N, representation_N[of_Q]))
            hidden_XD = torch.cat((hidden_ND, hidden_QD))
        yield _Softmax(hidden_XD, representation_X, head_VD[None, :FIRST_SYMBOL], first)
        for number, aims, _ in symbols:
            yield _Softmax(hidden_ND, representation_N, softmax_rows(head_VD, number, vocab)[None], aims)
    if model.byte_heads is not None and config.byte_head_ngrams:
        for rows_RD, (hidden_QD, of_Q, aims) in zip(
            model.byte_heads, chained(model, hidden_ND, shown, further), strict=True
        ):
            yield _Softmax(hidden_QD, representation_N[of_Q], rows_RD[None], aims)
    elif model.byte_heads is not None:
        yield _Softmax(hidden_ND, representation_N, model.byte_heads, further)
    if model.symbol_heads is not None:
        for number, _, aims in symbols:
            yield _Softmax(hidden_ND, representation_N, softmax_rows(model.symbol_heads, number, vocab), aims)


def byte_aims(config: ModelConfig, shown: Positions, objective: Objective, progress: float) -> tuple[Aims, Aims]:
    """Targets of the first byte head, whose rows are specials and bytes; and those of the heads after it.

    Raises IndexError if a raw position's target is neither.
    """
    targets_N, spelling = shown.targets_N, shown.spelling
    aimed_N, raw_N = targets_N >= 0, shown.representations_N == RAW
    raw = (raw_N & aimed_N).nonzero()[:, 0]
    if bool((targets_N[raw] >= FIRST_SYMBOL).any()):
        raise IndexError("a raw position has a target that is no special and no byte")
    first = [_aims(raw, 0, targets_N[raw], objective.raw_weight, 0)]
    further: list[Aims] = []
    weight_N = torch.where(raw_N, objective.raw_weight, objective.compressed_weight * objective.bytes)
    if spelling is not None:
        limit_N = _reach(shown, spelling, objective)
        for head in range(1, config.byte_heads + 1):
            seen_N = (spelling.ends_N + head - 1 < limit_N) & (weight_N > 0)
            at = (seen_N & ~raw_N if head == 1 else seen_N).nonzero()[:, 0]
            weight = weight_N[at] * objective.head_weight(head, progress)
            aims = _aims(at, max(0, head - 2), spelling.ids_M[spelling.ends_N[at] + head - 1], weight, head - 1)
            (first if head == 1 else further).append(aims)
        first += _bags(config, shown, spelling, objective)
    return _joined(first), _joined(further)


def symbol_aims(
    config: ModelConfig, shown: Positions, objective: Objective, progress: float, representation: int, vocab: Vocab
) -> tuple[Aims, Aims]:
    """Targets of a compressed representation's first symbol head, and those of the heads after it; rows are its own."""
    here_N = shown.representations_N == representation
    at = (here_N & (shown.targets_N >= 0)).nonzero()[:, 0]
    weight = objective.compressed_weight * objective.symbols
    column = config.byte_heads
    first = _aims(at, 0, local_targets(shown.targets_N[at], representation, vocab), weight, column)
    further = []
    segment_N = _segments(shown.symbols_N) if config.symbol_heads > 1 else shown.symbols_N
    for head in range(2, config.symbol_heads + 1):
        same_N = segment_N[head:] == segment_N[:-head]
        at = (same_N & here_N[:-head]).nonzero()[:, 0]
        row = local_targets(shown.symbols_N[at + head], representation, vocab)
        own = weight * objective.head_weight(head, progress)
        further.append(_aims(at, head - 2, row, own, column + head - 1))
    return first, _joined(further)


def _reach(shown: Positions, spelling: Spelling, objective: Objective) -> torch.Tensor:
    """Where in the spelled ids each position's byte heads have to stop: int64 [N]."""
    if objective.reach == "text":
        return spelling.segment_ends_N
    next_N = torch.cat((spelling.ends_N[1:], spelling.ends_N[-1:])).minimum(spelling.segment_ends_N)
    return torch.where(shown.representations_N == RAW, spelling.segment_ends_N, next_N)


def _bags(config: ModelConfig, shown: Positions, spelling: Spelling, objective: Objective) -> list[Aims]:
    """Bags of the next symbol's bytes; and for bags and bytes alike the sentinel that opens the next segment."""
    compressed_N = (shown.representations_N != RAW) & (shown.targets_N >= 0)
    within_N = spelling.ends_N < spelling.segment_ends_N
    bag, column = objective.compressed_weight * objective.bag, config.byte_heads + config.symbol_heads
    found = []
    if bag:
        at = (compressed_N & within_N).nonzero()[:, 0]
        counts = spelling.ends_N[at + 1] - spelling.ends_N[at]
        position = torch.repeat_interleave(at, counts)
        begins = torch.cumsum(counts, 0) - counts
        place = torch.arange(len(position), device=at.device) - torch.repeat_interleave(begins, counts)
        row = spelling.ids_M[spelling.ends_N[position] + place]
        share = 1 / torch.repeat_interleave(counts, counts)
        found.append(_aims(position, 0, row, bag * share, column, share))
    at = (compressed_N & ~within_N).nonzero()[:, 0]
    spell = objective.compressed_weight * objective.spell
    for weight, own in ((bag, column), (objective.compressed_weight * objective.bytes, 0), (spell, column + 1)):
        if weight:
            found.append(_aims(at, 0, shown.targets_N[at], weight, own))
    return found


def spelled(
    model: Transformer, hidden_ND: torch.Tensor, shown: Positions, objective: Objective
) -> tuple[torch.Tensor, torch.Tensor, Aims]:
    """Queries for the bytes of each compressed position's next symbol, in order.

    Gives what their softmaxes read [Q, D], the positions they belong to [Q], and their targets, numbered by query. What
    is read is the hidden state as it was before the n-gram at its end was added, scaled by the byte's place in the
    symbol, and the n-gram that ends just before the byte: so a first byte is predicted as a raw position would do it.
    """
    spelling, places_N = shown.spelling, shown.places_N
    assert spelling is not None, "spelled symbols need to be told what they are spelled with"
    assert places_N is not None, "n-grams need to know where documents begin"
    assert model.spell_scales is not None, "and tables at the output"
    ends_N = spelling.ends_N
    within_N = (shown.representations_N != RAW) & (shown.targets_N >= 0) & (ends_N < spelling.segment_ends_N)
    at = within_N.nonzero()[:, 0]
    counts = ends_N[at + 1] - ends_N[at]
    of_Q = torch.repeat_interleave(at, counts)
    place_Q = torch.arange(len(of_Q), device=at.device) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    target_Q = ends_N[of_Q] + place_Q
    rows = model.all_ngrams(model.config.ngrams, places_N, spelling)
    own_ND = model.told([row_M[ends_N - 1] for row_M in rows])
    scale_QD = F.embedding(place_Q.clamp_max(LONGEST_PLACE - 1), model.spell_scales)
    hidden_QD = (hidden_ND - own_ND)[of_Q] * scale_QD + model.told([row_M[target_Q - 1] for row_M in rows])
    column = model.config.byte_heads + model.config.symbol_heads + 1
    weight = objective.compressed_weight * objective.spell
    numbers_Q = torch.arange(len(of_Q), device=at.device)
    return hidden_QD.to(hidden_ND.dtype), of_Q, _aims(numbers_Q, 0, spelling.ids_M[target_Q], weight, column)


def chained(
    model: Transformer, hidden_ND: torch.Tensor, shown: Positions, further: Aims
) -> Iterator[tuple[torch.Tensor, torch.Tensor, Aims]]:
    """Queries of each further byte head that reads n-grams, head by head; `further` are the targets of them all.

    Gives what its softmax reads [Q, D], the positions they belong to [Q], and their targets, numbered by query. What is
    read is the hidden state as it was before the n-gram at its end was added, and the n-gram that ends just before the
    byte. The states of all heads are kept for the backward pass: (R - 1) x N x D numbers.
    """
    spelling, places_N, config = shown.spelling, shown.places_N, model.config
    assert spelling is not None, "bytes further on are known by their spelling"
    assert places_N is not None, "n-grams need to know where documents begin"
    if config.ngram_outputs:
        rows = model.all_ngrams(config.ngrams, places_N, spelling)
        hidden_ND = hidden_ND - model.told([row_M[spelling.ends_N - 1] for row_M in rows]).to(hidden_ND.dtype)
    told_MD = model.told_heads(model.all_ngrams(config.byte_head_ngrams, places_N, spelling)).to(hidden_ND.dtype)
    for head in range(config.byte_heads - 1):
        aims = Aims(*(one[further.head == head] for one in further))
        of_Q = aims.position
        hidden_QD = hidden_ND[of_Q] + told_MD[spelling.ends_N[of_Q] + head]
        yield hidden_QD, of_Q, aims._replace(position=torch.arange(len(of_Q), device=of_Q.device), head=0 * aims.head)


def _segments(symbols_N: torch.Tensor) -> torch.Tensor:
    """Numbers of segments, int64 [N]: one begins at each opening symbol and at each empty position."""
    sentinel_N = (symbols_N >= FIRST_SENTINEL) & (symbols_N < SPECIALS) & ((symbols_N - FIRST_SENTINEL) % 2 == 0)
    return (sentinel_N | (symbols_N == NEUTRAL) | (symbols_N == PAD)).cumsum(0)


def _aims(
    position: torch.Tensor,
    head: int,
    row: torch.Tensor,
    weight: torch.Tensor | float,
    column: int,
    share: torch.Tensor | None = None,
) -> Aims:
    def filled(value: float) -> torch.Tensor:
        return torch.full_like(position, value, dtype=torch.float32)

    return Aims(
        position,
        torch.full_like(position, head),
        row,
        weight if isinstance(weight, torch.Tensor) else filled(weight),
        filled(1.0) if share is None else share,
        torch.full_like(position, column),
    )


def _joined(parts: list[Aims]) -> Aims:
    if not parts:
        nothing, none = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        return Aims(nothing, nothing, nothing, none, none, nothing)
    return Aims(*(torch.cat(one) for one in zip(*parts, strict=True)))


def _as_ids(aims: Aims, representation: int, vocab: Vocab) -> Aims:
    """Rows of a representation's own softmax as ids, which are the rows of the shared one."""
    shift = vocab.first_id(representation) - SPECIALS
    return aims._replace(row=torch.where(aims.row < SPECIALS, aims.row, aims.row + shift))
