"""Whether a model's hidden states say which raw passage and which compressed one are the same text, layer by layer.

Each form of a passage is read as a document of its own. Its states are averaged over the positions of its content, the
mean over all passages of a representation is taken off, and each passage is looked up among the forms in the other
representation by cosine similarity. Of n passages, chance finds 1 in n. Composed inputs read the same rows of bytes in
every representation, so with these the inputs find most passages before anything is learned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.evaluate.passage_forms import Inputs, Passage, batches, documents_of, inputs_of
from byteproxy.model.network import Transformer
from byteproxy.runs.with_corpus import Run


class Retrieval(NamedTuple):
    """Shares of passages that are found first, by layer, from the inputs (0) on: from raw to a view, and back."""

    raw_to_view: list[float]
    view_to_raw: list[float]


@torch.no_grad()
def pooled(run: Run, passages: Sequence[Passage], representation: int) -> np.ndarray:
    """States of passages by layer, averaged over the positions of their content: float64 [layers + 1, passages, D]."""
    parts = []
    found = batches(passages, [representation])
    for batch in found:
        documents = documents_of([passages[at] for at in batch], [representation])
        read = inputs_of(run, documents)
        device = read.symbols_N.device
        content = torch.from_numpy(documents.predicting + 1).to(device)  # what stands one further than it is predicted
        document = torch.from_numpy(documents.document).to(device)
        counts = torch.from_numpy(documents.content).to(device)
        layers = []
        for x_ND in _states(run.model, read):
            sums = torch.zeros(len(batch), x_ND.shape[1], device=device)
            sums.index_add_(0, document, x_ND[content].float())
            layers.append((sums / counts[:, None]).double().cpu().numpy())
        parts.append(np.stack(layers))
    return np.concatenate(parts, axis=1)[:, np.argsort(np.concatenate(found))]


def _states(model: Transformer, read: Inputs) -> list[torch.Tensor]:
    """The residual stream [N, D] that the first layer reads, then that after each layer."""
    first, *_ = blocks = model.blocks()
    states: list[torch.Tensor] = []
    hooks = [first.register_forward_pre_hook(lambda _, given: states.append(given[0]))]
    hooks += [block.register_forward_hook(lambda _, given, after: states.append(after)) for block in blocks]
    try:
        model.hidden(*read)
    finally:
        for hook in hooks:
            hook.remove()
    return states


def retrieval(raw: np.ndarray, view: np.ndarray) -> Retrieval:
    """Look each passage up in the other representation; both float64 [layers + 1, passages, D], in the same order."""
    there, back = [], []
    for one, other in zip(raw, view, strict=True):
        similarity = _directions(one) @ _directions(other).T
        same = np.arange(len(similarity))
        there.append(float((similarity.argmax(1) == same).mean()))
        back.append(float((similarity.argmax(0) == same).mean()))
    return Retrieval(there, back)


def _directions(states_ND: np.ndarray) -> np.ndarray:
    """States without their mean, scaled to length 1; a state that is the mean itself stays 0."""
    centred = states_ND - states_ND.mean(0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
