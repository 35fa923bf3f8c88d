"""What distillation needs of the views of a run, and of rows: what symbols spell, and who teaches whom."""

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Rows
from byteproxy.model.covers import covers_of
from byteproxy.model.distillation import Contexts
from byteproxy.model.next_byte import NextByte
from byteproxy.model.targets import BothForms
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig
from byteproxy.views.base import spelled
from byteproxy.views.prefix_tree import prefix_tree
from byteproxy.vocab import SPECIALS, Vocab, closing


def next_bytes_of(config: TrainConfig, store: Store, device: torch.device) -> list[NextByte]:
    """The prefixes of each view's symbols, where the run distils; else none.

    Raises InputError for a view whose symbols don't spell the text, and where the corpus doesn't have the view itself.
    """
    if not config.objective.distill:
        return []
    found = []
    for representation, name in enumerate(config.views, 1):
        view = spelled(store.view(name))
        if view is None:
            raise InputError(
                f"objective.distill needs views whose symbols spell the text's own bytes, and those of {name!r} don't: "
                "take one such as bpe or codebook, or let objective.distill be 0"
            )
        found.append(NextByte.typed(prefix_tree(view.strings), representation, device))
    return found


def both_forms_of(
    rows: Rows, next_bytes: list[NextByte], device: torch.device | str, vocab: Vocab, causal: bool
) -> BothForms | None:
    """The raw positions of rows that are shown as symbols, too, on a device; None where rows don't say."""
    if rows.both is None:
        return None

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    raw_Q, symbol_Q, before_Q = map(put, rows.both)
    if not causal:
        return BothForms(raw_Q, symbol_Q, before_Q, next_bytes)
    contexts = [_contexts(rows, one, number, device, vocab) for number, one in enumerate(next_bytes, 1)]
    return BothForms(raw_Q, symbol_Q, before_Q, next_bytes, contexts)


def _contexts(
    rows: Rows, next_byte: NextByte, representation: int, device: torch.device | str, vocab: Vocab
) -> Contexts:
    """What tells the raw positions of one view causally."""
    assert rows.both is not None, "only of rows that say what is shown in both forms"
    here = rows.representations[rows.both.symbol] == representation
    raw, symbol, before = (one[here] for one in rows.both)
    first = vocab.first_id(representation)
    found = covers_of(next_byte.tree, raw, symbol, before, rows.targets, first)

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    own_row = np.where(found.own_C < 0, closing(representation), SPECIALS + found.own_C)
    return Contexts(
        position=put(found.position_C),
        first=put(found.first_C),
        own_row=put(own_row),
        parent=put(found.parent_X),
        branch_row=put(SPECIALS + found.symbol_X),
        after=found.position_C[found.parent_X],
        symbol=first + found.symbol_X,
        context=put(found.context_E),
        student=put(found.student_E),
        node=put(found.node_E),
    )
