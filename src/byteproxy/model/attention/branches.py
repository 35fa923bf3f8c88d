"""Branches of packed documents: single positions that each follow one of a document's, which layers run afterwards.

X branches, P kept positions, S query heads that share keys. A branch sees its document up to the position that it
follows, and itself: neither other branches nor what comes later. What a layer computes of the documents' own positions
in their pass, keys and values, is kept without gradient (`Kept`), so branches cost their own positions only.

Branches are computed B runs at a time: up to C branches of one document each, against the T positions up to the last of
these. Runs of like lengths stand together, padded to the longest, as do blocks of queries in `documents`.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from byteproxy.model.attention import Attend
from byteproxy.model.attention.documents import BLOCK, SCORES
from byteproxy.model.attention.layout import Kept, Layout
from byteproxy.model.model_config import Checkpointing

if TYPE_CHECKING:
    from byteproxy.model.attention.packed import PackedAttention

_CUDA = 32  # times as many scores at once on CUDA
_LONGER = 1.25  # runs together: the longest over the shortest, and some positions more
_MORE = 32


@cache
def keeping(backend: Attend) -> Attend:
    """A backend that keeps what branches will see, where the layout wants that."""

    def attend(q_NHE: torch.Tensor, k_NGE: torch.Tensor, v_NGE: torch.Tensor, layout: Layout) -> torch.Tensor:
        if layout.kept is not None:
            layout.kept.add(k_NGE, v_NGE)
        return backend(q_NHE, k_NGE, v_NGE, layout)

    return attend


class Piece(NamedTuple):
    """Runs that are computed at once, padded by repetition.

    branch_BC: which branches. after_BC: the place in its document that each follows. key_BT: which kept positions.
    """

    branch_BC: torch.Tensor
    after_BC: torch.Tensor
    key_BT: torch.Tensor


class Branches(NamedTuple):
    """Branches, made ready once for all layers; how a layer reads them, as `packed.Rows` is for documents.

    slot_X: where each branch stands in all pieces, one after the other.
    """

    symbols_N: torch.Tensor
    cos_N1E: torch.Tensor
    sin_N1E: torch.Tensor
    kept: Kept
    pieces: list[Piece]
    slot_X: torch.Tensor
    compiled: bool = False
    checkpointing: Checkpointing = "none"

    def attend(
        self, attention: "PackedAttention", q_XHE: torch.Tensor, k_XGE: torch.Tensor, v_XGE: torch.Tensor
    ) -> torch.Tensor:
        """[X, H, E]. A branch's own score stands behind those of the document."""
        keys_GPE, values_GPE = self.kept.layers[attention.layer]
        scale = q_XHE.shape[-1] ** -0.5
        q_GXSE = q_XHE.unflatten(1, (len(keys_GPE), -1)).transpose(0, 1).contiguous()
        k_GX1E, v_GX1E = k_XGE.transpose(0, 1)[:, :, None], v_XGE.transpose(0, 1)[:, :, None]
        own_GXS1 = (q_GXSE * k_GX1E).sum(-1, keepdim=True) * scale
        found = []
        for branch_BC, after_BC, key_BT in self.pieces:
            q_GBCSE, own_GBCS1 = q_GXSE[:, branch_BC], own_GXS1[:, branch_BC]
            k_YTE, v_YTE = (one[:, key_BT].flatten(0, 1) for one in (keys_GPE, values_GPE))
            score_YZT = (q_GBCSE.flatten(0, 1).flatten(1, 2) @ k_YTE.mT).mul_(scale)
            score_GBCST = score_YZT.view(*q_GBCSE.shape[:-1], -1)
            later_BC1T = torch.arange(score_YZT.shape[-1], device=after_BC.device) > after_BC[..., None, None]
            score_GBCST = torch.cat((score_GBCST.masked_fill_(later_BC1T, float("-inf")), own_GBCS1), -1)
            weight_GBCST = score_GBCST.softmax(-1)
            seen_YZE = weight_GBCST[..., :-1].flatten(0, 1).flatten(1, 2) @ v_YTE
            out_GBCSE = seen_YZE.view_as(q_GBCSE) + weight_GBCST[..., -1:] * v_GX1E[:, branch_BC]
            found.append(out_GBCSE.flatten(1, 2))
        return torch.cat(found, 1)[:, self.slot_X].transpose(0, 1).flatten(1, 2)


def pieces_of(kept: Kept, after_X: np.ndarray, heads: int) -> tuple[list[Piece], torch.Tensor]:
    """How branches that follow these positions are computed, and where each will stand. heads: of queries."""
    device = kept.positions_P.device
    document_X, place_X = kept.places(after_X)
    order = np.lexsort((place_X, document_X))
    document, place = document_X[order], place_X[order]
    begins = np.flatnonzero(np.diff(document, prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    first_U = np.flatnonzero(rank % BLOCK == 0)
    count_U = np.diff(np.append(first_U, len(order)))
    most_U, begin_U = place[first_U + count_U - 1] + 1, kept.begins[document[first_U]]
    slot_X, slots, pieces = np.empty(len(order), np.int64), 0, []
    for run in _alike(most_U, count_U, heads, SCORES * (_CUDA if device.type == "cuda" else 1)):
        count, most = count_U[run, None], most_U[run, None]
        column = np.arange(count.max())
        at_BC = first_U[run, None] + np.minimum(column, count - 1)
        real = column < count
        slot_X[order[at_BC[real]]] = slots + np.flatnonzero(real)
        slots += real.size
        key_BT = begin_U[run, None] + np.minimum(np.arange(most.max()), most - 1)
        pieces.append(Piece(*(torch.from_numpy(one).to(device) for one in (order[at_BC], place[at_BC], key_BT))))
    return pieces, torch.from_numpy(slot_X).to(device)


def _alike(most_U: np.ndarray, count_U: np.ndarray, heads: int, scores: int) -> list[np.ndarray]:
    """Which runs are computed at once: of like lengths, with no more scores than that, or one run alone."""
    found, widest = [list[int]()], 0
    for run in np.argsort(most_U, kind="stable").tolist():
        most, together = int(most_U[run]), found[-1]
        widest = max(widest, int(count_U[run]))
        if together and (
            most > _LONGER * most_U[together[0]] + _MORE or (len(together) + 1) * widest * most * heads > scores
        ):
            found.append([run])
            widest = int(count_U[run])
        else:
            together.append(run)
    return [np.array(together) for together in found if together]
