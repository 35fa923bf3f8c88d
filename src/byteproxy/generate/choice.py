"""Which byte comes next: from logits to a choice, with noise that is a function of where it falls.

M places, C choices: the two ways to end, the 256 bytes, then further ways to end, of a chat. A draw is the largest of
log p over temperature plus Gumbel noise (the Gumbel-max trick). The noise of a choice is a hash of (seed, document,
place in what is written, choice), so a seed gives the same bytes however many are decided in one pass, and whichever
other documents are written beside. At temperature 0 there is none, and the largest logit wins.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from byteproxy.coins import hashed
from byteproxy.errors import InputError
from byteproxy.generate.utf8 import allowed
from byteproxy.jit import nb
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
    utf8: whether only valid UTF-8 is written.
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


def chosen(
    logit_MC: np.ndarray,
    sampling: Sampling,
    noise_MC: np.ndarray | None = None,
    mask_MC: np.ndarray | None = None,
    soft_cap: float = 0.0,
) -> tuple[list[int], list[bool]]:
    """The choice at each of M places, and whether the second best was under 1e-4 behind, so that rounding may decide.

    mask_MC: 0, or minus infinity for what may not come, which takes no part in the shares of top-p and min-p either.
    soft_cap: logits are bent as in training: the order stays, but what a temperature divides does not.
    """
    nothing = np.zeros((0, logit_MC.shape[1]), np.float32)
    choice_M, close_M = _chosen(
        logit_MC,
        soft_cap,
        sampling.temperature,
        sampling.top_p,
        sampling.min_p,
        nothing if noise_MC is None else noise_MC,
        nothing if mask_MC is None else mask_MC,
    )
    return choice_M.tolist(), close_M.tolist()


@nb.njit(cache=True, nogil=True)
def _chosen(logit_MC, soft_cap, temperature, top_p, min_p, noise_MC, mask_MC):  # type: ignore[no-untyped-def]
    rows, choices = logit_MC.shape
    choice_M, close_M = np.empty(rows, np.int64), np.empty(rows, np.bool_)
    score_C = np.empty(choices, logit_MC.dtype)
    cap = score_C.dtype.type(soft_cap)
    for row in range(rows):
        for choice in range(choices):
            score = logit_MC[row, choice]
            if cap > 0:
                score = cap * np.tanh(score / cap)
            if len(mask_MC):
                score += mask_MC[row, choice]
            score_C[choice] = score
        if len(noise_MC):
            most = score_C.max()
            for choice in range(choices):  # below the best one, which no temperature makes too large
                score_C[choice] = (score_C[choice] - most) / temperature
            _cut(score_C, top_p, min_p)
            score_C += noise_MC[row]
        best, first, second = 0, -np.inf, -np.inf
        for choice in range(choices):
            if score_C[choice] > first:
                best, first, second = choice, score_C[choice], first
            elif score_C[choice] > second:
                second = score_C[choice]
        choice_M[row], close_M[row] = best, first - second < _TIE
    return choice_M, close_M


@nb.njit(cache=True, nogil=True)
def _cut(score_C, top_p, min_p):  # type: ignore[no-untyped-def]
    """Minus infinity for what min-p leaves out, and of the rest for what top-p does."""
    most = score_C.max()
    if min_p > 0:
        least = most + np.log(min_p)
        for choice in range(len(score_C)):
            if score_C[choice] < least:
                score_C[choice] = -np.inf
    if top_p < 1:
        share_C = np.exp(score_C - most)
        left = top_p * share_C.sum()
        for choice in np.argsort(-share_C):
            if left <= 0:
                score_C[choice] = -np.inf
            left -= share_C[choice]


@cache
def utf8_masks(more_ends: int = 0) -> np.ndarray:
    """Masks for `chosen`, float32 [state, left, C], with so many further ends: texts end between characters only."""
    known = allowed()
    ends = np.zeros((*known.shape[:2], len(ENDS) + more_ends), bool)
    ends[0] = True
    allowed_choices = np.concatenate([ends[..., : len(ENDS)], known, ends[..., len(ENDS) :]], -1)
    return np.where(allowed_choices, 0, -np.inf).astype(np.float32)
