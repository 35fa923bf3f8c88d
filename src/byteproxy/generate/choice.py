"""Which byte comes next: from logits to a choice, with noise that is a function of where it falls.

B documents, N positions, C choices: the two ways to end, then the 256 bytes. A draw is the largest of log p over
temperature plus Gumbel noise (the Gumbel-max trick). The noise of a choice is a hash of (seed, document, place in what
is written, choice), so a seed gives the same bytes however many are decided in one pass, and whichever other documents
are written beside. At temperature 0 there is none, and the largest logit wins.
"""

from dataclasses import dataclass
from functools import cache

import numba as nb
import numpy as np
import torch

from byteproxy.coins import hashed
from byteproxy.errors import InputError
from byteproxy.generate.utf8 import allowed
from byteproxy.vocab import BYTES, EOS, FIRST_BYTE, RAW, closing

ENDS = (closing(RAW), EOS)
CHOICES = (*ENDS, *range(FIRST_BYTE, FIRST_BYTE + BYTES))
_AHEAD = 64  # places whose noise is made at once
_TIE = 1e-4


@dataclass(frozen=True)
class Sampling:
    """How bytes are chosen.

    temperature: 0 takes the most probable one each time.
    top_p: only the most probable ones that together reach this share, the one that reaches it included.
    min_p: only those at least this share as probable as the most probable one.
    seed: of the noise; the same one gives the same bytes.
    utf8: nothing is written that is not UTF-8.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    utf8: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}: give 0 for the most probable byte, or a number above")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p is {self.top_p}: give a share above 0 and at most 1, which leaves nothing out")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"min-p is {self.min_p}: give a share from 0, which leaves nothing out, to 1")
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"seed is {self.seed}: give a whole number from 0 to 2^63 - 1")


class Noise:
    """The Gumbel noise of one document, made some places ahead."""

    def __init__(self, seed: int, document: int, choices: int = len(CHOICES)) -> None:
        """choices: C, at each place."""
        self._choices = choices
        self._key = np.uint64(hashed(np.uint64(seed), np.uint64(document), np.uint64(0)))
        self._begin, self._made = 0, np.zeros((0, choices), np.float32)

    def at(self, place: int, count: int) -> np.ndarray:
        """Float32 [count, C], of the places from this one on."""
        if not self._begin <= place <= place + count <= self._begin + len(self._made):
            self._begin = place
            self._made = _gumbel(self._key, place, max(count, _AHEAD), self._choices)
        return self._made[place - self._begin : place - self._begin + count]


@nb.njit(cache=True)
def _gumbel(key, place, count, choices):  # type: ignore[no-untyped-def]
    made = np.empty((count, choices), np.float32)
    for row in range(count):
        for choice in range(choices):
            bits = hashed(key, np.uint64(place + row), np.uint64(choice)) >> np.uint64(11)
            made[row, choice] = -np.log(-np.log((float(bits) + 0.5) / 9007199254740992.0))
    return made


def scores(
    logit_BNC: torch.Tensor, sampling: Sampling, noise_BNC: torch.Tensor | None, mask_BNC: torch.Tensor | None
) -> torch.Tensor:
    """What the choice is the largest of, float32 [B, N, C]; minus infinity where a choice is left out.

    mask_BNC: 0, or minus infinity for what may not come, which takes no part in the shares of top-p and min-p either.
    """
    if mask_BNC is not None:
        logit_BNC = logit_BNC + mask_BNC
    if noise_BNC is None:
        return logit_BNC
    logit_BNC = logit_BNC / sampling.temperature
    if sampling.min_p > 0:
        least = logit_BNC.amax(-1, keepdim=True) + float(np.log(sampling.min_p))
        logit_BNC = logit_BNC.masked_fill(logit_BNC < least, -torch.inf)
    if sampling.top_p < 1:
        share, order = logit_BNC.softmax(-1).sort(-1, descending=True)
        beyond = share.cumsum(-1) - share >= sampling.top_p
        logit_BNC = logit_BNC.masked_fill(torch.zeros_like(beyond).scatter_(-1, order, beyond), -torch.inf)
    return logit_BNC + noise_BNC


def chosen(score_BNC: torch.Tensor) -> tuple[list[list[int]], list[list[bool]]]:
    """The choice at each position, and whether the second best was under 1e-4 behind, so that rounding may decide."""
    best_BN2, place_BN2 = score_BNC.topk(2, -1)
    close_BN = best_BN2[..., 0] - best_BN2[..., 1] < _TIE
    return place_BN2[..., 0].tolist(), close_BN.tolist()


@cache
def utf8_masks() -> torch.Tensor:
    """For `scores`, float32 [state, left, C]: texts end between characters only."""
    known = allowed()
    ends = np.zeros((*known.shape[:2], len(ENDS)), bool)
    ends[0] = True
    return torch.from_numpy(np.where(np.concatenate([ends, known], -1), 0, -np.inf).astype(np.float32))
