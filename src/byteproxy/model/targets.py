"""Which targets each position has, through which softmax, at which weight: from data alone, no weight takes part.

N positions, R byte heads, H symbol heads, E entries, Q queries (bytes of the next symbol, each a softmax of its own).
Positions are expanded to bytes (`embedding.ByteExpansion`), so the bytes that follow a position are the ids after its
own, in every representation alike; and none is a target beyond the end of the segment that the position stands in.
Losses are kept apart by representation and by *column*: the byte heads, then the symbol heads, the bag, the bytes of
expanded symbols, and with distillation the student's and the teacher's.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from byteproxy.model.distillation import Contexts, Distilled
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.loss import Entries, groups_of, local_targets, typed_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.next_byte import NextByte
from byteproxy.model.objective import Objective
from byteproxy.vocab import FIRST_SENTINEL, FIRST_SYMBOL, NEUTRAL, PAD, RAW, SPECIALS, Vocab


class Positions(NamedTuple):
    """What a model is shown, and what follows: as `mixture.loader.Rows`, on the model's device.

    symbols_N, targets_N: int64; a negative target is none. representations_N: int64. expansion: None if not needed.
    both: what distillation needs; None without.
    """

    symbols_N: torch.Tensor
    targets_N: torch.Tensor
    representations_N: torch.Tensor
    expansion: ByteExpansion | None = None
    both: "BothForms | None" = None


class BothForms(NamedTuple):
    """Raw positions whose passage is shown as symbols too, in the order of these: int64 [Q], see `mixture.both_forms`.

    next_bytes: of each representation, the first compressed one first. contexts: of each one's symbols, in their order,
        where teachers are causal; None: they are not.
    """

    raw_Q: torch.Tensor
    symbol_Q: torch.Tensor
    before_Q: torch.Tensor
    next_bytes: Sequence[NextByte]
    contexts: Sequence[Contexts] | None = None


def columns(config: ModelConfig, objective: Objective) -> list[str]:
    """The names of the columns of `Losses`."""
    more = ["distilled", "teacher"] if objective.distill else []
    more += ["left_out"] if objective.distill and objective.distill_form == "causal" else []
    names = [f"byte_{head}" for head in range(1, config.byte_heads + 1)]
    return [*names, *(f"symbol_{head}" for head in range(1, config.symbol_heads + 1)), "bag", "symbol_bytes", *more]


class TargetEntries(NamedTuple):
    """Entries of one softmax before they are in order; share is 1, or 1 / n for each of n bytes in a bag."""

    position: torch.Tensor
    head: torch.Tensor
    row: torch.Tensor
    weight: torch.Tensor
    share: torch.Tensor
    column: torch.Tensor


class Queries(NamedTuple):
    """Hidden states that are made for one byte each, with the n-gram that ends just before it.

    position_Q: of the state that they are made from. before_Q: where in the expansion's ids that n-gram ends.
    place_Q: the byte's place in the next symbol; None: they are a further byte head's.
    """

    position_Q: torch.Tensor
    before_Q: torch.Tensor
    place_Q: torch.Tensor | None = None


class Softmax(NamedTuple):
    """What one softmax is to predict.

    heads: the module whose rows they are. head: the one of it that all entries are of; None: each entry says it.
    rows: of the softmax; of a teacher's softmax of symbols, too, where entries are distilled.
    share_E: how much of a target each entry is. cell_E: its representation times the number of columns plus its column.
    queries: entries' positions count these in place of positions; those of expanded symbols stand behind positions.
    detached: whether its loss changes no hidden state.
    """

    heads: Literal["lm_head", "byte_heads", "symbol_heads"]
    head: int | None
    rows: tuple[range, ...]
    entries: Entries | Distilled
    share_E: torch.Tensor
    cell_E: torch.Tensor
    queries: Queries | None
    detached: bool = False


class Targets(NamedTuple):
    """All targets of some positions. size: representations and columns of what their losses are kept apart by."""

    softmaxes: list[Softmax]
    size: tuple[int, int]


def contexts_of(targets: Targets) -> list[Contexts]:
    """What tells students causally, of all softmaxes that the model teaches itself."""
    entries = [one.entries for one in targets.softmaxes if isinstance(one.entries, Distilled)]
    return [one.contexts for one in entries if one.contexts is not None and one.states is None]


def targets_of(config: ModelConfig, shown: Positions, vocab: Vocab, objective: Objective, progress: float) -> Targets:
    """All targets of these positions.

    progress: the share of the run's steps that are done, for weights that move.
    """
    size, found = (vocab.representations, len(columns(config, objective))), list[Softmax]()

    def add(
        heads: Literal["lm_head", "byte_heads", "symbol_heads"],
        rows: tuple[range, ...],
        targets: TargetEntries,
        head: int | None = None,
        queries: Queries | None = None,
        representation_X: torch.Tensor = shown.representations_N,
    ) -> None:
        order = torch.argsort(targets.position, stable=True)
        position, number, row, weight, share, column = (one[order] for one in targets)
        cell = representation_X[position] * size[1] + column
        detached = objective.heads_detached and heads != "lm_head"
        entries = Entries(position, number, row, weight, groups_of(position))
        found.append(Softmax(heads, head, rows, entries, share, cell, queries, detached))

    of_bytes, representation_N = (range(FIRST_SYMBOL),), shown.representations_N
    first, further = byte_targets(config, shown, objective, progress)
    symbols = [
        (representation, *next_symbol_targets(config, shown, objective, progress, representation, vocab))
        for representation in range(1, vocab.representations)
        if objective.symbols
    ]
    if config.softmax == "shared":
        as_ids = [_as_ids(targets, representation, vocab) for representation, targets, _ in symbols]
        add("lm_head", (range(vocab.size),), _joined([first, *as_ids]))
    else:
        if objective.symbol_bytes:
            queries, targets = expanded_targets(config, shown, objective)
            first = _joined([first, targets._replace(position=targets.position + len(representation_N))])
            both_X = torch.cat((representation_N, representation_N[queries.position_Q]))
            add("lm_head", of_bytes, first, queries=queries, representation_X=both_X)
        else:
            add("lm_head", of_bytes, first)
        for representation, targets, _ in symbols:
            add("lm_head", typed_rows(representation, vocab), targets)
    if config.byte_heads > 1 and config.byte_head_ngrams:
        assert shown.expansion is not None, "bytes further on are known by what positions are expanded to"
        for head in range(config.byte_heads - 1):
            own = TargetEntries(*(one[further.head == head] for one in further))
            at = own.position
            queries = Queries(at, shown.expansion.ends_N[at] + head)
            numbers = torch.arange(len(at), device=at.device)
            own = own._replace(position=numbers, head=torch.zeros_like(at))
            add("byte_heads", of_bytes, own, head, queries, representation_N[at])
    elif config.byte_heads > 1:
        add("byte_heads", of_bytes, further)
    if config.symbol_heads > 1:
        for representation, _, targets in symbols:
            add("symbol_heads", typed_rows(representation, vocab), targets)
    if objective.distill:
        found += distillation(shown, vocab, objective, size[1])
    return Targets(found, size)


def distillation(shown: Positions, vocab: Vocab, objective: Objective, size: int) -> list[Softmax]:
    """What raw positions are taught by positions that read the same passage as symbols. size: how many columns."""
    found = list[Softmax]()
    if shown.both is None:
        return found
    raw_Q, symbol_Q, before_Q, next_bytes, causal = shown.both
    columns = 2 if causal is None else 3
    for representation, next_byte in enumerate(next_bytes, 1):
        here = (shown.representations_N[symbol_Q] == representation).nonzero()[:, 0]
        student, teacher = raw_Q[here], symbol_Q[here]
        token = shown.targets_N[teacher] - vocab.first_id(representation)  # below 0 at the end of a segment
        node = next_byte.node_in(token, before_Q[here])
        weight = torch.full_like(student, objective.raw_weight * objective.distill, dtype=torch.float32)
        contexts = None if causal is None else causal[representation - 1]
        following, threshold = shown.targets_N[student], objective.distill_threshold
        entries = Distilled(student, teacher, node, following, weight, next_byte, contexts, threshold)
        cell = torch.cat([torch.full_like(student, size - columns + one) for one in range(columns)])
        rows = (range(FIRST_SYMBOL), *typed_rows(representation, vocab))
        found.append(Softmax("lm_head", 0, rows, entries, torch.ones_like(cell, dtype=torch.float32), cell, None))
    return found


def byte_targets(
    config: ModelConfig, shown: Positions, objective: Objective, progress: float
) -> tuple[TargetEntries, TargetEntries]:
    """Targets of the first byte head, whose rows are specials and bytes; and those of the heads after it.

    Raises IndexError if a raw position's target is neither.
    """
    targets_N, expansion = shown.targets_N, shown.expansion
    aimed_N, raw_N = targets_N >= 0, shown.representations_N == RAW
    raw = (raw_N & aimed_N).nonzero()[:, 0]
    if bool((targets_N[raw] >= FIRST_SYMBOL).any()):
        raise IndexError("a raw position has a target that is no special and no byte")
    first = [_entries(raw, 0, targets_N[raw], objective.raw_weight, 0)]
    further: list[TargetEntries] = []
    weight_N = torch.where(raw_N, objective.raw_weight, objective.compressed_weight * objective.bytes)
    if expansion is not None:
        limit_N = _reach(shown, expansion, objective)
        for head in range(1, config.byte_heads + 1):
            seen_N = (expansion.ends_N + head - 1 < limit_N) & (weight_N > 0)
            at = (seen_N & ~raw_N if head == 1 else seen_N).nonzero()[:, 0]
            weight = weight_N[at] * objective.head_weight(head, progress)
            entries = _entries(at, max(0, head - 2), expansion.ids_M[expansion.ends_N[at] + head - 1], weight, head - 1)
            (first if head == 1 else further).append(entries)
        first += _bags(config, shown, expansion, objective)
    return _joined(first), _joined(further)


def next_symbol_targets(
    config: ModelConfig, shown: Positions, objective: Objective, progress: float, representation: int, vocab: Vocab
) -> tuple[TargetEntries, TargetEntries]:
    """Targets of a compressed representation's first symbol head, and those of the heads after it; rows are its own."""
    here_N = shown.representations_N == representation
    at = (here_N & (shown.targets_N >= 0)).nonzero()[:, 0]
    weight = objective.compressed_weight * objective.symbols
    column = config.byte_heads
    first = _entries(at, 0, local_targets(shown.targets_N[at], representation, vocab), weight, column)
    further = []
    segment_N = _segments(shown.symbols_N) if config.symbol_heads > 1 else shown.symbols_N
    for head in range(2, config.symbol_heads + 1):
        same_N = segment_N[head:] == segment_N[:-head]
        at = (same_N & here_N[:-head]).nonzero()[:, 0]
        row = local_targets(shown.symbols_N[at + head], representation, vocab)
        own = weight * objective.head_weight(head, progress)
        further.append(_entries(at, head - 2, row, own, column + head - 1))
    return first, _joined(further)


def _reach(shown: Positions, expansion: ByteExpansion, objective: Objective) -> torch.Tensor:
    """Where in the expansion's ids each position's byte heads have to stop: int64 [N]."""
    if objective.reach == "text":
        return expansion.segment_ends_N
    next_N = torch.cat((expansion.ends_N[1:], expansion.ends_N[-1:])).minimum(expansion.segment_ends_N)
    return torch.where(shown.representations_N == RAW, expansion.segment_ends_N, next_N)


def _bags(config: ModelConfig, shown: Positions, expansion: ByteExpansion, objective: Objective) -> list[TargetEntries]:
    """Bags of the next symbol's bytes; and for bags and bytes alike the sentinel that opens the next segment."""
    compressed_N = (shown.representations_N != RAW) & (shown.targets_N >= 0)
    within_N = expansion.ends_N < expansion.segment_ends_N
    bag, column = objective.compressed_weight * objective.bag, config.byte_heads + config.symbol_heads
    found = []
    if bag:
        at = (compressed_N & within_N).nonzero()[:, 0]
        counts = expansion.ends_N[at + 1] - expansion.ends_N[at]
        position = torch.repeat_interleave(at, counts)
        begins = torch.cumsum(counts, 0) - counts
        place = torch.arange(len(position), device=at.device) - torch.repeat_interleave(begins, counts)
        row = expansion.ids_M[expansion.ends_N[position] + place]
        share = 1 / torch.repeat_interleave(counts, counts)
        found.append(_entries(position, 0, row, bag * share, column, share))
    at = (compressed_N & ~within_N).nonzero()[:, 0]
    by_byte = objective.compressed_weight * objective.symbol_bytes
    for weight, own in ((bag, column), (objective.compressed_weight * objective.bytes, 0), (by_byte, column + 1)):
        if weight:
            found.append(_entries(at, 0, shown.targets_N[at], weight, own))
    return found


def expanded_targets(config: ModelConfig, shown: Positions, objective: Objective) -> tuple[Queries, TargetEntries]:
    """Queries for the bytes of each compressed position's next symbol, in order, and their targets by query."""
    expansion = shown.expansion
    assert expansion is not None, "expanded symbols need to be told what they are expanded to"
    ends_N = expansion.ends_N
    within_N = (shown.representations_N != RAW) & (shown.targets_N >= 0) & (ends_N < expansion.segment_ends_N)
    at = within_N.nonzero()[:, 0]
    counts = ends_N[at + 1] - ends_N[at]
    of_Q = torch.repeat_interleave(at, counts)
    place_Q = torch.arange(len(of_Q), device=at.device) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    target_Q = ends_N[of_Q] + place_Q
    column = config.byte_heads + config.symbol_heads + 1
    weight = objective.compressed_weight * objective.symbol_bytes
    numbers_Q = torch.arange(len(of_Q), device=at.device)
    return Queries(of_Q, target_Q - 1, place_Q), _entries(numbers_Q, 0, expansion.ids_M[target_Q], weight, column)


def _segments(symbols_N: torch.Tensor) -> torch.Tensor:
    """Numbers of segments, int64 [N]: one begins at each opening symbol and at each empty position."""
    sentinel_N = (symbols_N >= FIRST_SENTINEL) & (symbols_N < SPECIALS) & ((symbols_N - FIRST_SENTINEL) % 2 == 0)
    return (sentinel_N | (symbols_N == NEUTRAL) | (symbols_N == PAD)).cumsum(0)


def _entries(
    position: torch.Tensor,
    head: int,
    row: torch.Tensor,
    weight: torch.Tensor | float,
    column: int,
    share: torch.Tensor | None = None,
) -> TargetEntries:
    def filled(value: float) -> torch.Tensor:
        return torch.full_like(position, value, dtype=torch.float32)

    return TargetEntries(
        position,
        torch.full_like(position, head),
        row,
        weight if isinstance(weight, torch.Tensor) else filled(weight),
        filled(1.0) if share is None else share,
        torch.full_like(position, column),
    )


def _joined(parts: list[TargetEntries]) -> TargetEntries:
    if not parts:
        nothing, none = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
        return TargetEntries(nothing, nothing, nothing, none, none, nothing)
    return TargetEntries(*(torch.cat(one) for one in zip(*parts, strict=True)))


def _as_ids(targets: TargetEntries, representation: int, vocab: Vocab) -> TargetEntries:
    """Rows of a representation's own softmax as ids, which are the rows of the shared one."""
    shift = vocab.first_id(representation) - SPECIALS
    return targets._replace(row=torch.where(targets.row < SPECIALS, targets.row, targets.row + shift))
