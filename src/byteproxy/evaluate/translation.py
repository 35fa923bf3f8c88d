"""Oracle translation: what a passage costs once the model has read the same passage in another representation.

`<compressed> symbols </compressed> <raw>` and then the true bytes, or the reverse; beside it the same content behind
its opening sentinel alone. A passage is translated *exactly* if a model that takes the most probable symbol each time
writes just its content and then ends. One pass tells that, without writing anything: up to the first mistake the model
has read the true content, so it writes all of it if and only if each true symbol is the most probable one after those
before it. Cost: one forward pass over every document.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.evaluate.passage_forms import Documents, Passage, batches, documents_of, inputs_of
from byteproxy.generate.score import bits_at
from byteproxy.progress import Progress, silent
from byteproxy.runs.with_corpus import Run
from byteproxy.vocab import EOS, closing

_LOGITS = 1 << 20  # that exist at the same time


class Translation(NamedTuple):
    """What the content of passages costs, and how far greedy writing gets; one entry for each passage.

    bits: float64, of all positions of its content; sentinels are no text.
    right: int64, positions that are written before the first mistake. content: int64, how many there are.
    exact: bool, whether all are, and then the end.
    """

    bits: np.ndarray
    right: np.ndarray
    content: np.ndarray
    exact: np.ndarray


@torch.no_grad()
def translation_scores(
    run: Run, passages: Sequence[Passage], shown: Sequence[int], progress: Progress = silent
) -> Translation:
    """The content of the last segment of documents that show passages in these representations, in this order.

    progress: passages. Raises IndexError for a last representation whose symbols the model doesn't predict.
    """
    parts = []
    done = 0
    found = batches(passages, shown)
    for batch in found:
        documents = documents_of([passages[at] for at in batch], shown)
        read = inputs_of(run, documents)
        parts.append(_judged(run, documents, run.model.hidden(*read), shown[-1]))
        done += len(batch)
        progress(done, len(passages))
    order = np.argsort(np.concatenate(found))
    return Translation(*(np.concatenate(one)[order] for one in zip(*parts, strict=True)))


def _judged(run: Run, documents: Documents, hidden_ND: torch.Tensor, representation: int) -> Translation:
    device = hidden_ND.device
    predicting = torch.from_numpy(documents.predicting).to(device)
    targets = documents.rows.targets[documents.predicting]
    cost = bits_at(run.model, run.vocab, hidden_ND, documents.predicting, targets, representation)
    bits = np.bincount(documents.document, cost, minlength=len(documents.content))
    best = best_symbols(run, hidden_ND[predicting], representation)
    hit = best.cpu().numpy() == targets
    right = _before_first_miss(hit, documents.content)
    last = best_symbols(run, hidden_ND[torch.from_numpy(documents.ending).to(device)], representation)
    ended = ((last == EOS) | (last == closing(representation))).cpu().numpy()
    return Translation(bits, right, documents.content, (right == documents.content) & ended)


def best_symbols(run: Run, hidden_ND: torch.Tensor, representation: int) -> torch.Tensor:
    """The most probable id at each position among a representation's symbols and what ends a segment: int64 [N].

    These are what writing chooses among, as in `generate.choice`. A soft cap changes no order.
    """
    own = run.vocab.symbol_ids(representation)
    choices = torch.tensor([closing(representation), EOS, *own], device=hidden_ND.device)
    parts = hidden_ND.split(max(1, _LOGITS // len(choices)))
    found = [run.model.lm_head.logits(part_CD, choices).argmax(-1) for part_CD in parts]
    return choices[torch.cat(found)]


def _before_first_miss(hit: np.ndarray, content: np.ndarray) -> np.ndarray:
    """How many of each document's positions come before the first that is no hit: int64 [documents]."""
    starts = np.cumsum(content) - content
    place = np.arange(len(hit)) - np.repeat(starts, content)
    first_miss = np.where(hit, np.repeat(content, content), place)
    return np.minimum.reduceat(first_miss, starts)
