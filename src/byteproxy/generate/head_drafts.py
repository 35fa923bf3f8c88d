"""Guesses by the model's further byte heads: what each says from one state, one after the other.

B documents, J heads, L ids at the end of each text, D width, M = B x J places, C choices: as in `choice`; K lengths of
n-grams, of R rows each; P, I and W: `product`.

Heads without n-grams look at the state alone. Those with them (`model.byte_head_ngrams`) also read the n-gram that ends
just before their byte, guesses of the heads before them included, as they are trained to. A guess then
costs K rows of D numbers and a product with 256 rows; a pass costs thousands of rows.
"""

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.generate.choice import ENDS, Sampling
from byteproxy.generate.cpu.compiled import add_rows, ngram_rows
from byteproxy.generate.cpu.product import packed, times
from byteproxy.jit import nb
from byteproxy.model import embedding
from byteproxy.model.network import Transformer
from byteproxy.vocab import BYTES, FIRST_BYTE

_NO_NOISE = np.zeros((0, 0), np.float32)


class Heads:
    """The model's byte heads of the second byte ahead and on.

    count: of them. reach: ids at the end of a text that they read, L; 0 for heads that look at the state alone.
    """

    def __init__(self, model: Transformer, compiled: bool = True) -> None:
        """compiled: on a CPU by the compiled engine."""
        config, heads = model.config, None if model.byte_heads is None else model.byte_heads.weight
        self.count = 0 if heads is None else len(heads)
        self.reach = max(config.byte_head_ngrams, default=0)
        own = self.reach and config.ngram_outputs
        if own:
            self.reach = max(self.reach, 1 + max(config.ngrams))
        self._rows, self._soft_cap = config.ngram_rows, config.soft_cap
        self._own = list(model.ngram_bias.scaled()) if own and model.ngram_bias is not None else []
        self._own_lengths = config.ngrams if own else ()
        self._tables = None if model.head_ngram_bias is None else model.head_ngram_bias.weight
        self._lengths = config.byte_head_ngrams
        self._heads_JBD, self._packed = None, None
        if heads is None:
            return
        self._heads_JBD = heads[:, FIRST_BYTE : FIRST_BYTE + BYTES].detach().to(model.dtype)
        if compiled and heads.device.type == "cpu":
            none = np.zeros((1, config.width), np.float32)
            self._packed = (
                np.array(self._own_lengths, np.int64),
                tuple(table.numpy() for table in self._own) or (none,),
                np.array(self._lengths, np.int64),
                none[None] if self._tables is None else self._tables.detach().numpy(),
                np.stack([packed(head) for head in self._heads_JBD]),
            )

    def guesses(
        self,
        hidden_BD: torch.Tensor,
        tail_BL: np.ndarray,
        count: int,
        sampling: Sampling,
        noise_MC: np.ndarray | None,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """The first `count` heads' bytes after the next one, for each document, and by how much each leads the second.

        tail_BL: int64, the last `reach` ids of each, the next byte included; 0 for those that a short one lacks.
        noise_MC: that will decide at these places, float32, those of a document one after the other; with it the guess
            is most often what is drawn.
        """
        if self._packed is None:
            return self._anywhere(hidden_BD, tail_BL, count, sampling, noise_MC)
        noise, temperature = (_NO_NOISE, 1.0) if noise_MC is None else (noise_MC, sampling.temperature)
        byte_BJ, lead_BJ = _chained(
            hidden_BD.numpy(), tail_BL, count, *self._packed, noise, temperature, self._soft_cap
        )
        return byte_BJ.tolist(), lead_BJ.tolist()

    def _anywhere(
        self,
        hidden_BD: torch.Tensor,
        tail_BL: np.ndarray,
        count: int,
        sampling: Sampling,
        noise_MC: np.ndarray | None,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """The same by torch's operations."""
        assert self._heads_JBD is not None, "only of a model that has such heads"
        known_BL = torch.from_numpy(tail_BL).to(hidden_BD.device)
        for table, length in zip(self._own, self._own_lengths, strict=True):
            hidden_BD = hidden_BD - F.embedding(self._ngrams(known_BL[:, :-1], length), table).to(hidden_BD.dtype)
        found, leads = [], []
        for head in range(count):
            x_BD = hidden_BD
            for table, length in zip(() if self._tables is None else self._tables, self._lengths, strict=True):
                x_BD = x_BD + F.embedding(self._ngrams(known_BL, length), table).to(x_BD.dtype)
            logit_BC = F.linear(x_BD, self._heads_JBD[head]).float()
            if self._soft_cap:
                logit_BC = self._soft_cap * torch.tanh(logit_BC / self._soft_cap)
            if noise_MC is not None:
                noise_BC = torch.from_numpy(noise_MC[head::count, len(ENDS) : len(ENDS) + BYTES]).to(logit_BC.device)
                logit_BC = logit_BC / sampling.temperature + noise_BC
            best_B2, byte_B2 = logit_BC.topk(2, -1)
            found.append(byte_B2[:, 0])
            leads.append(best_B2[:, 0] - best_B2[:, 1])
            known_BL = torch.cat((known_BL, found[-1][:, None] + FIRST_BYTE), 1)
        return torch.stack(found, 1).tolist(), torch.stack(leads, 1).tolist()

    def _ngrams(self, known_BL: torch.Tensor, length: int) -> torch.Tensor:
        """The row of the n-gram at the end of each line; zeros pad, as the beginning of a text does."""
        documents, width = known_BL.shape
        at_B = torch.arange(1, documents + 1, device=known_BL.device) * width - 1
        return embedding.ngram_rows(known_BL.flatten(), at_B, torch.full_like(at_B, width - 1), length, self._rows)


@nb.njit(cache=True, nogil=True)
def _chained(  # type: ignore[no-untyped-def]
    hidden_BD, tail_BL, count, own_lengths, own_tables, lengths_K, tables_KRD, heads_JPIW, noise_MC, temperature, cap
):
    """Bytes and leads [B, count]; without noise, which is then of no place, the largest logit's."""
    documents, known = tail_BL.shape
    known_BL = np.zeros((documents, known + count), np.int64)
    known_BL[:, :known] = tail_BL
    lead_BJ = np.empty((documents, count), np.float32)
    document_B, place_B, bare_BD = np.arange(documents), np.full(documents, known - 2), hidden_BD.copy()
    row_KB = ngram_rows(known_BL, document_B, place_B, own_lengths, own_tables[0].shape[0])
    for number in range(len(own_lengths)):
        add_rows(bare_BD, own_tables[number], row_KB[number], -1.0)
    logit_BO = np.empty((documents, heads_JPIW.shape[1] * heads_JPIW.shape[3]), bare_BD.dtype)
    for head in range(count):
        x_BD = bare_BD.copy()
        place_B[:] = known - 1 + head
        row_KB = ngram_rows(known_BL, document_B, place_B, lengths_K, tables_KRD.shape[1])
        for number in range(len(lengths_K)):
            add_rows(x_BD, tables_KRD[number], row_KB[number], 1.0)
        times(x_BD, heads_JPIW[head], logit_BO)
        for document in range(documents):
            best, most, second = 0, -np.inf, -np.inf
            for byte in range(BYTES):
                score = logit_BO[document, byte]
                if cap > 0:
                    score = cap * np.tanh(score / cap)
                if len(noise_MC):
                    score = score / temperature + noise_MC[document * count + head, len(ENDS) + byte]
                if score > most:
                    best, most, second = byte, score, most
                elif score > second:
                    second = score
            known_BL[document, known + head], lead_BJ[document, head] = best + FIRST_BYTE, most - second
    return known_BL[:, known:] - FIRST_BYTE, lead_BJ
