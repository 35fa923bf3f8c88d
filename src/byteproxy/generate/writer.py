"""What a model writes after prompts: bytes in, bytes out, and no compressor takes part.

Every document opens with the raw sentinel; at each step the model chooses among the 256 bytes and the two ways to end,
`</raw>` and eos. B documents go together, whatever their lengths: each pass reads the byte that was chosen last in each
document and then *guesses* at the bytes after it (`drafts`), and finds what the model chooses at each of these places.
Guesses that agree were right, and as many bytes are written at once; the first that does not is replaced by the model's
own choice. What is written is what a pass for every byte would write, up to rounding: where the two best choices are
under 1e-4 apart, either may win, and such places are counted.

A model of chats ends at further symbols, too. The answer in a chat ends at these alone: `</raw>` and eos end passages
in training, which stop wherever text was cut.

Limits. Of a prompt of `context` bytes or more only the end is read, half a context. When the context is full while
writing, the last half of it is read again as a new window, which opens with the sentinel as every window but a chat's
first does. Both happen at the same byte with guesses and without. A prompt may be any bytes, and end inside a
character.

Cost: one pass over the weights for each step of all documents together, and N x (positions so far) in attention.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.generate.choice import CHOICES, ENDS, Noise, Sampling, chosen, utf8_masks
from byteproxy.generate.cpu.product import Matrix
from byteproxy.generate.decoder import Decoder, Engine, compiled
from byteproxy.generate.drafts import COPIED, LEADS, AcceptanceRates, Drafts, PassTimes, copied, kinds_of, worth
from byteproxy.generate.head_drafts import Heads
from byteproxy.generate.open_text import Ended, OpenText
from byteproxy.generate.prompt import ChatPrompt
from byteproxy.generate.utf8 import BETWEEN, FOLLOWING, REFUSED, state_after
from byteproxy.model.network import Transformer
from byteproxy.ranges import ensure_bytes, ensure_one_of
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, RAW, byte_ids, opening

MAX_DOCUMENTS_PER_PASS = 16
_CHUNK = 512  # positions of a prompt that are read at once
_RETRY = 32  # passes after which guesses are tried that do not seem to pay
_REST = 8  # passes without guesses after one that had none worth checking


class Generation(NamedTuple):
    """The bytes after one prompt, and what ended them: the budget, the model, or a stop string, which is left out."""

    text: bytes
    ended: Ended


@dataclass
class Counts:
    """What writing took, all documents together.

    passes: over the weights, those of prompts not among them. steps: documents in each, summed.
    bytes: that were chosen. close: choices among these with the second best under 1e-4 behind.
    guessed, right: guesses of each drafter, and how many of them were written.
    """

    passes: int = 0
    steps: int = 0
    bytes: int = 0
    close: int = 0
    guessed: dict[str, int] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)

    @property
    def bytes_per_pass(self) -> float:
        """Bytes that one pass brings a document."""
        return self.bytes / self.steps if self.steps else 0.0


class Writer:
    """A model that writes; weights are packed once. `counts` tells of the last call."""

    def __init__(
        self, model: Transformer, context: int, engine: Engine = "auto", chat_ends: Sequence[int] = ()
    ) -> None:
        """context: bytes that the model was trained to see at once, at least 2. engine: see `decoder`.

        chat_ends: specials that end an answer in a chat, and text too.

        Raises InputError for less, or a model without a row for each special and byte.
        """
        if context < 2:
            raise InputError(f"the context is {context} bytes: give at least 2")
        if (rows := min(len(model.embed_tokens.weight), len(model.lm_head.weight))) < FIRST_SYMBOL:
            raise InputError(
                f"the model has {rows} symbols, too few to write bytes with: "
                f"give one whose first {FIRST_SYMBOL} are byteproxy's specials and the 256 bytes"
            )
        self.context, self.counts = context, Counts()
        self._model, self._engine, self._soft_cap = model, engine, model.config.soft_cap
        self._heads = Heads(model, compiled(model, engine))
        self._chat_ends = len(chat_ends)
        choices = torch.tensor((*CHOICES, *chat_ends), device=model.device)
        self._logits = Matrix(model.lm_head.weight.detach()[choices].to(model.dtype), compiled(model, engine))
        self._times = PassTimes()
        self._guessing = 0.0  # seconds of the last guesses, a part of what the next pass costs
        # What earlier calls taught stays known.
        self._rates = {"heads": AcceptanceRates(LEADS), "copy": AcceptanceRates(COPIED)}
        self._turn = self._rest = 0
        self._decoder: Decoder | None = None

    def write(
        self,
        prompts: Sequence[bytes | ChatPrompt],
        most: int,
        sampling: Sampling | None = None,
        stops: Sequence[bytes] = (),
        drafts: Drafts = "heads",
    ) -> list[Generation]:
        """What follows each prompt, at most `most` bytes; the arguments are those of `pieces`."""
        found = [bytearray() for _ in prompts]
        ended: list[Ended] = ["budget"] * len(prompts)
        for number, piece, end in self.pieces(prompts, most, sampling, stops, drafts):
            found[number] += piece
            ended[number] = end or ended[number]
        return [Generation(bytes(text), end) for text, end in zip(found, ended, strict=True)]

    def stream(
        self,
        prompt: bytes | ChatPrompt,
        most: int,
        sampling: Sampling | None = None,
        stops: Sequence[bytes] = (),
        drafts: Drafts = "heads",
    ) -> Iterator[bytes]:
        """What follows one prompt, piece by piece; `utf8.characters` makes whole characters of it."""
        for _, piece, _ in self.pieces([prompt], most, sampling, stops, drafts):
            if piece:
                yield piece

    @torch.inference_mode()
    def pieces(
        self,
        prompts: Sequence[bytes | ChatPrompt],
        most: int,
        sampling: Sampling | None = None,
        stops: Sequence[bytes] = (),
        drafts: Drafts = "heads",
    ) -> Iterator[tuple[int, bytes, Ended | None]]:
        """Pass by pass: the number of a prompt, bytes that follow it, and with the last of these what ended them.

        most: bytes to write at most, for each prompt.
        stops: a text ends where one of these would, and without it; bytes that may begin one are held back.
        drafts: who guesses: the model's byte heads, copies of what followed the same bytes before, both, or nobody.
        The noise of a prompt depends on the seed and its number, so the same prompts are followed by the same bytes
        whatever `drafts` is and however many there are.
        Raises InputError for a negative budget, an empty stop, or one that is no UTF-8 where nothing else is written.
        """
        sampling = Sampling() if sampling is None else sampling
        chats = any(isinstance(one, ChatPrompt) for one in prompts)
        ensure_bytes("prompts", [_bytes_of(one) for one in prompts] if chats else prompts)
        ensure_one_of("drafts", drafts, get_args(Drafts))
        _check(most, stops, sampling)
        self.counts = Counts()
        self.counts.guessed, self.counts.right = dict.fromkeys(self._rates, 0), dict.fromkeys(self._rates, 0)
        for first in range(0, len(prompts), MAX_DOCUMENTS_PER_PASS):
            documents = [
                self._begun(number, prompt, sampling)
                for number, prompt in enumerate(prompts[first : first + MAX_DOCUMENTS_PER_PASS], first)
            ]
            if most == 0:
                yield from ((one.number, b"", "budget") for one in documents)
                continue
            decoder = self._opened(documents)
            while documents:
                hidden_BD = self._step(decoder, documents, most, sampling)
                gone = []
                for index, document in enumerate(documents):
                    piece = document.release(stops, most)
                    if document.ended:
                        gone.append(index)
                    yield document.number, piece, document.ended
                kept = list(range(len(documents)))
                for index in reversed(gone):
                    decoder.drop(index)
                    documents[index], kept[index] = documents[-1], kept[-1]
                    documents.pop(), kept.pop()
                if documents:
                    self._guess(_rows(hidden_BD, kept), decoder.filled, documents, drafts, sampling)
            self._decoder = decoder

    def _begun(self, number: int, prompt: bytes | ChatPrompt, sampling: Sampling) -> OpenText:
        text, chat = _bytes_of(prompt), isinstance(prompt, ChatPrompt)
        most = self.context + 1
        prompt_N = (prompt.ids if isinstance(prompt, ChatPrompt) else _window(byte_ids(text[-most:])))[-most:]
        noise = Noise(sampling.seed, number, len(CHOICES) + self._chat_ends)
        return OpenText(
            number, prompt_N, bytearray(text), len(text), chat and bool(self._chat_ends), noise, state_after(text)
        )

    def _opened(self, documents: list[OpenText]) -> Decoder:
        """A decoder that has read all prompts but for their last bytes; the memory of the call before is used again."""
        # Taken while it is used: two streams that are read in turns have two.
        decoder, self._decoder = self._decoder, None
        if decoder is None or len(decoder.filled) < len(documents):
            decoder = Decoder(self._model, len(documents), self.context + 1, self._engine)
        decoder.used = len(documents)
        for index, document in enumerate(documents):
            self._open_window(decoder, index, document)
        return decoder

    def _open_window(self, decoder: Decoder, index: int, document: OpenText) -> None:
        """Read the sentinel and the end of the text, or all of a chat that is new and fits, but for the last id."""
        decoder.take_back(index, 0)
        written = document.text[max(document.begin, len(document.text) - self.context - 1) :]
        ids_N = np.concatenate([document.prompt_N, byte_ids(bytes(written))])
        if len(ids_N) > self.context:
            ids_N = _window(ids_N[-(self.context // 2) :])
        document.unread = int(ids_N[-1])
        for begin in range(0, len(ids_N) - 1, _CHUNK):
            decoder.read_one(index, ids_N[begin : min(begin + _CHUNK, len(ids_N) - 1)])

    def _step(self, decoder: Decoder, documents: list[OpenText], most: int, sampling: Sampling) -> torch.Tensor:
        """One pass: what is chosen is added to every document. Hidden states [B, D] where the last choice was made."""
        begin = time.perf_counter()
        for index, document in enumerate(documents):
            if decoder.filled[index] == decoder.positions:
                self._open_window(decoder, index, document)
            room = decoder.positions - 1 - decoder.filled[index]
            del document.guesses[min(room, most - document.written - 1) :]
        before = decoder.filled[: len(documents)]
        hidden_MD = decoder.read_each([np.array([one.unread, *one.guesses]) for one in documents])
        logit_MC = self._logits(hidden_MD).cpu().numpy()
        counts = [1 + len(one.guesses) for one in documents]
        noise_MC = _noise(documents, counts) if sampling.temperature else None
        mask_MC = self._mask(documents, most, counts, sampling.utf8)
        choices, close = chosen(logit_MC, sampling, noise_MC, mask_MC, self._soft_cap)
        last, at = [], 0
        for index, document in enumerate(documents):
            right = document.right(choices[at : at + counts[index]])
            self.counts.bytes += document.take(choices[at : at + right + 1])
            self.counts.close += sum(close[at : at + right + 1])
            decoder.take_back(index, before[index] + 1 + right)
            last.append(at + right)
            self._count(document, right)
            at += counts[index]
        self.counts.passes += 1
        if self.counts.passes > 1:  # the first one may have compiled
            seconds = time.perf_counter() - begin + self._guessing
            self._times.saw(len(documents), len(logit_MC) - len(documents), seconds)
        return _rows(hidden_MD, last)

    def _mask(self, documents: list[OpenText], most: int, counts: list[int], utf8: bool) -> np.ndarray | None:
        """What may come at every place of a pass, float32 [M, C]; None: anything."""
        if not utf8 and not any(document.chat for document in documents):
            return None
        shape = sum(counts), len(CHOICES) + self._chat_ends
        mask_MC = _utf8_mask(documents, most, self._chat_ends) if utf8 else np.zeros(shape, np.float32)
        in_chat_M = np.repeat([document.chat for document in documents], counts)
        mask_MC[in_chat_M, : len(ENDS)] = -np.inf
        return mask_MC

    def _count(self, document: OpenText, right: int) -> None:
        self.counts.steps += 1
        if document.guesses:
            self._rates[document.drafter].saw(document.kinds[: len(document.guesses)], right)
            self.counts.guessed[document.drafter] += len(document.guesses)
            self.counts.right[document.drafter] += right

    def _guess(
        self,
        hidden_BD: torch.Tensor,
        filled: list[int],
        documents: list[OpenText],
        drafts: Drafts,
        sampling: Sampling,
    ) -> None:
        """Give every document its guesses at the bytes after the one that it reads next, at place `filled`."""
        begin, self._guessing = time.perf_counter(), 0.0
        for document in documents:
            document.guesses, document.kinds, document.drafter = [], [], ""
        self._turn += 1
        self._rest = max(0, self._rest - 1)
        if drafts == "none" or (self._rest and self._turn % _RETRY):
            return
        if drafts in ("copy", "both"):
            for document in documents:
                found = copied(document.text, self.context, COPIED)
                document.guesses = [byte + FIRST_BYTE for byte in found]
                document.kinds, document.drafter = list(range(len(found))), "copy"
        if drafts in ("heads", "both") and self._heads.count:
            self._ask_heads(hidden_BD, filled, documents, sampling)
        chances = [self._rates[one.drafter].of(one.kinds) if one.guesses else [] for one in documents]
        kept = worth(chances, self._times, more=0 if self._turn % _RETRY else 2)
        for document, count in zip(documents, kept, strict=True):
            del document.guesses[count:]
        self._rest = 0 if any(kept) else _REST
        self._guessing = time.perf_counter() - begin

    def _ask_heads(
        self, hidden_BD: torch.Tensor, filled: list[int], documents: list[OpenText], sampling: Sampling
    ) -> None:
        """Guesses of the heads, all that there are, for the documents that have none."""
        without = [index for index, document in enumerate(documents) if not document.guesses]
        if not without:
            return
        asked, count = [documents[one] for one in without], self._heads.count
        noise_MC = _noise(asked, [count] * len(asked)) if sampling.temperature else None
        tail_BL = np.array([_tail(documents[one].text, filled[one], self._heads.reach) for one in without], np.int64)
        guesses, leads = self._heads.guesses(_rows(hidden_BD, without), tail_BL, count, sampling, noise_MC)
        for document, found, ahead in zip(asked, guesses, leads, strict=True):
            document.guesses = [byte + FIRST_BYTE for byte in found]
            document.kinds, document.drafter = kinds_of(ahead), "heads"


def _noise(documents: list[OpenText], counts: list[int]) -> np.ndarray:
    """Noise of so many next places of each document, one after the other: float32 [M, C]."""
    parts = [document.noise.at(document.written, count) for document, count in zip(documents, counts, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _bytes_of(prompt: bytes | ChatPrompt) -> bytes:
    return prompt.text if isinstance(prompt, ChatPrompt) else prompt


def _window(ids_N: np.ndarray) -> np.ndarray:
    """Ids behind the sentinel that opens raw text."""
    return np.concatenate([[opening(RAW)], ids_N])


def _utf8_mask(documents: list[OpenText], most: int, chat_ends: int) -> np.ndarray:
    """What UTF-8 allows at every place of a pass, if the guesses before it are right: float32 [M, C]."""
    states, left = [], []
    for document in documents:
        state = document.state
        for place, guess in enumerate([*document.guesses, FIRST_BYTE]):
            states.append(state)
            left.append(min(4, max(1, most - document.written - place)))
            state = int(FOLLOWING[state, guess - FIRST_BYTE])
            state = BETWEEN if state == REFUSED else state  # a wrong guess: nobody asks what comes after it
    return utf8_masks(chat_ends)[states, left]


def _check(most: int, stops: Sequence[bytes], sampling: Sampling) -> None:
    if not isinstance(most, int) or most < 0:
        raise InputError(f"cannot write {most} bytes: give a whole number from 0")
    ensure_bytes("stops", stops)
    for stop in stops:
        if not stop:
            raise InputError("a stop string is empty: give at least one byte, or no stop string")
        try:
            stop.decode()
        except UnicodeDecodeError:
            if sampling.utf8:
                raise InputError(f"the stop string {stop!r} is no UTF-8, so it can't come: leave it out") from None


def _rows(x_MD: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """Some rows. On a CPU not by torch, whose threads look for more work for a while, where a pass needs the cores."""
    numpys = x_MD.device.type == "cpu" and x_MD.dtype != torch.bfloat16
    return torch.from_numpy(x_MD.numpy()[rows]) if numpys else x_MD[rows]


def _tail(text: bytearray, place: int, count: int) -> list[int]:
    """The last ids of a window whose last byte stands at this place in it; 0 for places before its sentinel."""
    ids = [byte + FIRST_BYTE for byte in text[-min(place, count) :]] if place and count else []
    if len(ids) < count and len(ids) == place:
        ids.insert(0, opening(RAW))
    return [0] * (count - len(ids)) + ids
