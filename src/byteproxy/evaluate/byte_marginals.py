"""Bits per byte of text under a model of tokens, in whatever tokens it is written: exact byte marginals, or bounds.

The tokenizer writes a text in one way. A model of tokens gives some probability to all others too, and a reader of
bytes is owed their sum. The *covers* of a string are the sequences of tokens whose last one reaches its end or goes
beyond it (Vieira et al., "From Language Models over Tokens to Language Models over Characters", arXiv 2412.03719). The
probability A_i that a text begins with its first i bytes is the sum over their covers. A cover is a *history* of whole
tokens and one token to come, so

    A_i = sum over histories h that end at a byte s_h < i:  w_h x (mass of the tokens that begin with bytes s_h to i),

where w_h is the probability of the history's tokens. A history costs a pass over its last token; masses are sums over
ranges of the sorted vocabulary (`views.prefix_tree`). There are exponentially many histories, so some are dropped at
each byte, the tokenizer's own never. Reported of each text, in bits:

bits: the marginal, if what was dropped predicts later bytes as well as what was kept: each byte's own cost is that of
    A_i among what is kept of A_(i-1). Exact where nothing is dropped. What is dropped usually predicts worse, as it is
    not how the model saw text; then the truth lies between `bits` and `most`.
most, least: bounds that hold in any case. With D_i the mass dropped up to byte i, the truth lies between A_i and
    A_i + D_i. What was dropped early may in principle predict all later bytes with certainty, so `least` says little
    of long texts. dropped: what droppings cost all in all, `most` - `bits` of a text that is read in one window.
tokens: what the tokenizer's own tokens cost, as in `bpb.view_bpb`: the ceiling, since they are one of the covers.
specials: the part of `tokens` that goes to symbols without text, other than the end. All figures pay for these, as raw
    text's do in `generate.score`.

Cost: a pass over the last token of each history that is kept, for all windows side by side. Keys and values of
histories that begin alike are kept once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import in_symbols
from byteproxy.generate.score import Windows, windows_over
from byteproxy.interop.published import Published
from byteproxy.model.decoding import Histories
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, View, spelled
from byteproxy.views.prefix_tree import NO_NODE, ROOT, prefix_tree
from byteproxy.vocab import SPECIALS, Vocab, closing, opening

WINDOWS = 32
"""Windows that are read side by side."""


@dataclass(frozen=True)
class Beam:
    """Which histories are kept.

    width: the most that may begin at one byte, the tokenizer's own among them.
    share: one is dropped that has less than this of all mass there.
    levels: tokens that a history may have after it left the tokenizer's own way; None: any number.
    """

    width: int = 8
    share: float = 1e-4
    levels: int | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"beam.width is {self.width}: give at least 1")
        if not 0 <= self.share < 1:
            raise InputError(f"beam.share is {self.share}: give 0 up to, not including, 1")
        if self.levels is not None and self.levels < 0:
            raise InputError(f"beam.levels is {self.levels}: give at least 0, or none for any number")


class TokenModel:
    """A model as one of tokens: V tokens, R rows of its softmax.

    id_V: the symbol that each token is to the model, -1 for none. row_V: its row of the softmax, -1 for none.
    tree: of the tokens' strings. textless: the rows that are neither a token with text nor the end.
    """

    def __init__(
        self, model: Transformer, view: View, opening: int, end: int, id_V: np.ndarray, id_R: np.ndarray
    ) -> None:
        """opening: the symbol that text begins with. end: the one that ends it. id_R: what the softmax chooses among.

        InputError for a tokenizer that doesn't spell the text's own bytes, and for models that read n-grams.
        """
        spelling = spelled(view)
        if spelling is None:
            raise InputError(f"the symbols of view {view.name} don't spell the text's own bytes: take one such as bpe")
        config = model.config
        if config.composed or config.ngrams or config.ngram_outputs:
            raise InputError("byte marginals are computed of models that read symbols only, and no n-grams")
        self.model, self.view, self.opening, self.id_V, self.id_R = model, spelling, opening, id_V, id_R
        self.tree = prefix_tree(spelling.strings)
        self.row_V = np.where(id_V < 0, -1, np.searchsorted(id_R, id_V))
        text = np.append(self.row_V[self.tree.order], np.searchsorted(id_R, end))
        self.textless = np.setdiff1d(np.arange(len(id_R)), text)

    @classmethod
    def of_run(cls, model: Transformer, vocab: Vocab, representation: int, view: View) -> "TokenModel":
        """A run's model as one of a view's tokens, with the typed softmax of that view."""
        ids = np.array(vocab.symbol_ids(representation), np.int64)
        rows = np.concatenate([np.arange(SPECIALS), ids])
        return cls(model, view, opening(representation), closing(representation), ids, rows)

    @classmethod
    def of_stock(cls, model: Transformer, view: View, begins: int, ends: int) -> "TokenModel":
        """A model of tokens as it was published. begins, ends: its ids of bos (eos, if it has none) and of eos."""
        rows = len(model.lm_head.weight)
        ids = np.arange(view.alphabet_size)
        ids[ids >= rows] = -1  # bytes that the tokenizer's file has no token for
        return cls(model, view, begins, ends, ids, np.arange(rows))

    @classmethod
    def of_published(cls, model: Published) -> "TokenModel":
        """A model as somebody published it (`interop.published`), with its own tokenizer.

        InputError where it has none, or names neither bos nor eos, so that it is not known what text begins with.
        """
        view, (begins, ends) = model.tokenizer(), model.ends()
        if view is None:
            raise InputError(
                f"{model.path} has no tokenizer of its own: byte marginals are computed of models of tokens"
            )
        if begins is None or ends is None:
            raise InputError(f"{model.path} names neither bos nor eos: add bos_token_id or eos_token_id to its config")
        return cls.of_stock(model.model(), view, begins, ends)

    def encode(self, text: bytes) -> Encoded:
        """A text's tokens; InputError where the model has none for a byte."""
        encoded = self.view.encode(text)
        if missing := [symbol for symbol in encoded.symbols.tolist() if self.id_V[symbol] < 0]:
            raise InputError(f"the text has byte {self.view.strings[missing[0]]!r}, and the model has no token for it")
        return encoded


class Marginals(NamedTuple):
    """What texts cost, in bits: float64 [texts] each; see above. bytes: int64 [texts]."""

    bits: np.ndarray
    most: np.ndarray
    least: np.ndarray
    dropped: np.ndarray
    tokens: np.ndarray
    specials: np.ndarray
    bytes: np.ndarray

    def bpb(self) -> dict[str, float]:
        """Bits per byte over all texts together, by name."""
        total = max(1, int(self.bytes.sum()))
        return {name: float(getattr(self, name).sum() / total) for name in self._fields if name != "bytes"}


@torch.no_grad()
def marginal_bits(
    tokens: TokenModel,
    texts: Sequence[bytes],
    window: int,
    stride: int | None = None,
    beam: Beam | None = None,
    progress: Progress = silent,
) -> Marginals:
    """What texts cost a model of tokens as bytes, whatever tokens they are written in; progress counts bytes.

    window, stride: in bytes of text, as in `generate.score`, from one token's beginning to another's end.
    beam: which histories are kept.
    """
    beam, stride = beam or Beam(), max(1, window // 2) if stride is None else stride
    windows = []
    for number, text in enumerate(texts):
        encoded = tokens.encode(text)
        spans = encoded.span_bytes.astype(np.int64)
        found = in_symbols(windows_over([len(text)], window, stride), spans)
        windows += [(number, _Window(tokens, text, encoded.symbols, spans, *one)) for one in _each(found)]
    sums = np.zeros((6, len(texts)))
    done, total = 0, sum(len(one.text) for _, one in windows)
    windows.sort(key=lambda one: len(one[1].text))
    for first in range(0, len(windows), WINDOWS):
        batch = windows[first : first + WINDOWS]
        _read_all(tokens, [one for _, one in batch], beam)
        for number, one in batch:
            sums[:, number] += one.found()
            done += len(one.text)
        progress(done, total)
    bits, most, least, dropped, own, specials = sums
    return Marginals(bits, most, least, dropped, own, specials, np.array([len(text) for text in texts], np.int64))


def _each(windows: Windows) -> list[tuple[int, int, int]]:
    """Begin, first scored one and end of each window."""
    return list(zip(windows.start.tolist(), windows.scored_from.tolist(), windows.end.tolist(), strict=True))


class _History(NamedTuple):
    """Whole tokens from a window's begin up to `start`.

    log_weight: of their probability, in nats. off: tokens since it left the tokenizer's own way, 0 on it.
    at: where its positions are kept.
    By how many bytes of the text follow, from none to as many as any token begins with:
    log_mass, log_longer: of the tokens that begin with these, and of those that are longer too.
    own: the tokens that are just these, and the logarithm of each one's probability.
    lost_nats: what the mass that is no text and not the end costs.
    """

    start: int
    log_weight: float
    off: int
    at: np.ndarray
    log_mass: list[float]
    log_longer: list[float]
    own: list[list[tuple[int, float]]]
    lost_nats: float


class _Commit(NamedTuple):
    """A history that goes on by a token, still to be read."""

    history: _History | None
    token: int
    log_weight: float
    off: int


class _Window:
    """A window, read byte by byte."""

    def __init__(
        self, tokens: TokenModel, text: bytes, symbols: np.ndarray, spans: np.ndarray, start: int, scored: int, end: int
    ) -> None:
        """symbols, spans: of the whole text. start, scored, end: the symbols of the window, and the first scored."""
        ends = np.cumsum(spans)
        begin = int(ends[start] - spans[start])
        self.tokens, self.text = tokens, text[begin : int(ends[end - 1])]
        own_ends = (ends[start:end] - begin).tolist()
        self.own = dict(zip([0, *own_ends], symbols[start:end].tolist(), strict=False))  # by where a token begins
        self.scored = 0 if scored == start else own_ends[scored - start - 1]
        self.at, self.alive = 0, list[_History]()
        self.log_kept = np.full(len(self.text) + 1, -np.inf)  # of A_i, what is dropped at i taken out
        self.log_all = np.full(len(self.text) + 1, -np.inf)  # of A_i, what was dropped before taken out
        self.log_dropped = np.full(len(self.text) + 1, -np.inf)  # of what is dropped at i
        self.own_nats = np.zeros(len(self.text) + 1)  # of the tokenizer's token that ends at i
        self.lost_nats = np.zeros(len(self.text) + 1)
        self.log_kept[0] = self.log_all[0] = 0.0

    def next_commits(self, beam: Beam) -> list[_Commit]:
        """The histories to read next, those that begin at the next byte at which any does; none at the end."""
        while self.at < len(self.text):
            self.at += 1
            commits = self._commits(beam)
            if commits and self.at < len(self.text):
                return commits
        return []

    def _commits(self, beam: Beam) -> list[_Commit]:
        """Take in the next byte: what all covers weigh, and which histories that end here are kept."""
        at, total, going_on, commits = self.at, [], [], []
        self.alive = [one for one in self.alive if at - one.start < len(one.log_mass)]
        for one in self.alive:
            length = at - one.start
            total.append(one.log_weight + one.log_mass[length])
            going_on.append(one.log_weight + one.log_longer[length])
            for token, log_prob in one.own[length]:
                own = one.off == 0 and self.own.get(one.start) == token
                if own:
                    self.own_nats[at], self.lost_nats[at] = -log_prob, one.lost_nats
                commits.append(_Commit(one, token, one.log_weight + log_prob, 0 if own else one.off + 1))
        self.log_all[at] = np.logaddexp.reduce(total)
        commits.sort(key=lambda one: (one.off > 0, -one.log_weight))
        least, levels = self.log_all[at] + _log(beam.share), np.inf if beam.levels is None else beam.levels
        kept, out = list[_Commit](), list[float]()
        for commit in commits:
            wanted = len(kept) < beam.width and commit.log_weight >= least and commit.off <= levels
            if wanted or commit.off == 0:
                kept.append(commit)
            else:
                out.append(commit.log_weight)
        self.log_kept[at] = self.log_all[at]
        if out:
            self.log_kept[at] = np.logaddexp.reduce([*going_on, *(commit.log_weight for commit in kept)])
            self.log_dropped[at] = np.logaddexp.reduce(out)
        return kept

    def take(self, commit: _Commit, at: np.ndarray, log_prob_R: np.ndarray) -> None:
        """A commit was read: at, where its positions are kept, and log_prob_R what may follow."""
        tree, row_V, prob_R = self.tokens.tree, self.tokens.row_V, np.exp(log_prob_R)
        node, log_mass, log_longer, own = ROOT, [0.0], [0.0], list[list[tuple[int, float]]]([[]])
        for byte in self.text[self.at :]:
            node = int(tree.step(np.array([node]), np.array([byte]))[0])
            if node == NO_NODE:
                break
            found = tree.order[tree.first[node] : tree.last[node]]
            found = found[row_V[found] >= 0]
            ends = tree.node[found] == node
            log_mass.append(_log(prob_R[row_V[found]].sum()))
            log_longer.append(_log(prob_R[row_V[found[~ends]]].sum()))
            own.append([(int(one), float(log_prob_R[row_V[one]])) for one in found[ends]])
        lost_nats = float(-np.log1p(-min(prob_R[self.tokens.textless].sum(), 1 - 1e-16))) if commit.off == 0 else 0.0
        one = _History(self.at, commit.log_weight, commit.off, at, log_mass, log_longer, own, lost_nats)
        self.alive.append(one)

    def found(self) -> list[float]:
        """bits, most, least, dropped, tokens and specials of the bytes that are scored."""
        first, end = self.scored, len(self.text)
        log_lost = np.logaddexp.accumulate(self.log_dropped)
        steps = self.log_kept[first:end] - self.log_all[first + 1 :]
        cuts = self.log_all[first + 1 : end] - self.log_kept[first + 1 : end]
        most = np.logaddexp(self.log_kept[first], log_lost[first]) - self.log_all[end]
        least = self.log_kept[first] - np.logaddexp(self.log_all[end], log_lost[end - 1])
        own, lost = self.own_nats[first + 1 :].sum(), self.lost_nats[first + 1 :].sum()
        nats = [steps.sum(), most, max(0.0, least), cuts.sum(), own, lost]
        return [float(one / np.log(2)) for one in nats]


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf


def _read_all(tokens: TokenModel, windows: Sequence[_Window], beam: Beam) -> None:
    """Read windows side by side, each from one byte at which histories end to the next."""
    model, id_R = tokens.model, torch.from_numpy(tokens.id_R).to(tokens.model.device)
    histories = Histories(model, 64 + sum(2 * len(one.own) for one in windows))
    waiting = [(one, [_Commit(None, -1, 0.0, 0)]) for one in windows]
    while waiting:
        each = [(window, commit) for window, commits in waiting for commit in commits]
        nothing = np.zeros(0, np.int64)
        before = [nothing if commit.history is None else commit.history.at for _, commit in each]
        symbols = [tokens.opening if commit.history is None else int(tokens.id_V[commit.token]) for _, commit in each]
        after, step = histories.longer(before, symbols)
        log_prob_NR = F.log_softmax(model.lm_head.logits(model.read(step), id_R).double(), -1).cpu().numpy()
        for (window, commit), at, log_prob_R in zip(each, after, log_prob_NR, strict=True):
            window.take(commit, at, log_prob_R)
        following = [(window, window.next_commits(beam)) for window, _ in waiting]
        waiting = [(window, commits) for window, commits in following if commits]
