"""What distillation needs of the views of a run: what their symbols spell."""

import torch

from byteproxy.errors import InputError
from byteproxy.model.next_byte import NextByte
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig
from byteproxy.views.base import spelled
from byteproxy.views.prefix_tree import prefix_tree


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
