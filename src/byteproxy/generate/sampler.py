"""Byte by byte: what the model writes after a prompt.

The document opens with the raw sentinel; at each step the model chooses among the 256 bytes and the two ways to end,
`</raw>` and eos. No compressor takes part: all that is needed is a model with the rows of specials and bytes. When the
context is full, the last half of it is read again as a new window, which opens with the sentinel as every window does.
"""

import codecs
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F

from byteproxy.errors import InputError
from byteproxy.generate.cache import Cache
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import BYTES, EOS, FIRST_BYTE, FIRST_SYMBOL, RAW, byte_ids, closing, opening

_CHOICES = [closing(RAW), EOS, *range(FIRST_BYTE, FIRST_BYTE + BYTES)]


@torch.no_grad()
def continued(
    model: Transformer, prompt: bytes, most: int, context: int, temperature: float = 0.0, seed: int = 0
) -> Iterator[int]:
    """The bytes that follow a prompt, one after the other, as values from 0 to 255.

    most: bytes to write at most; fewer come if the model closes the text.
    context: bytes that the model was trained to see at once. Of a longer prompt only the end is read, half of that.
    temperature: 0 takes the most probable byte each time.
    seed: of the sampling noise; the same seed gives the same bytes.
    Raises InputError for numbers out of range, or a model without a row for each special and byte.
    """
    if most < 0 or context < 2 or temperature < 0:
        raise InputError(
            f"cannot write {most} bytes with a context of {context} at temperature {temperature}: "
            "give at least 0 bytes, a context of at least 2 and a temperature of at least 0"
        )
    if (rows := min(len(model.embed_tokens.weight), len(model.lm_head.weight))) < FIRST_SYMBOL:
        raise InputError(
            f"the model has {rows} symbols, too few to write bytes with: "
            f"give one whose first {FIRST_SYMBOL} are byteproxy's specials and the 256 bytes"
        )
    noise = torch.Generator().manual_seed(seed)
    choices = torch.tensor(_CHOICES)
    rows_CD = model.lm_head.weight[choices].to(model.dtype)
    text = bytearray(prompt)
    cache, unread = _window(model, text, context)
    for _ in range(most):
        if cache.filled + len(unread) > cache.context:
            cache, unread = _window(model, text, context)
        logit_C = _logits(cache.read(model, unread)[-1], rows_CD, model.config.soft_cap)
        if temperature == 0:
            choice = int(logit_C.argmax())
        else:
            choice = int(torch.multinomial((logit_C / temperature).softmax(-1), 1, generator=noise))
        symbol = _CHOICES[choice]
        if symbol < FIRST_BYTE:
            return
        text.append(symbol - FIRST_BYTE)
        unread = choices[choice : choice + 1]
        yield symbol - FIRST_BYTE


def _logits(hidden_D: torch.Tensor, rows_CD: torch.Tensor, soft_cap: float) -> torch.Tensor:
    """Float32 [C], bent as in training: the order stays, but what a temperature divides does not."""
    logit_C = F.linear(hidden_D, rows_CD).float()
    return soft_cap * torch.tanh(logit_C / soft_cap) if soft_cap else logit_C


def _window(model: Transformer, text: bytearray, context: int) -> tuple[Cache, torch.Tensor]:
    """An empty cache, and the symbols that a new window reads first: the sentinel and the end of the text."""
    kept = bytes(text[-(context // 2) :]) if len(text) >= context else bytes(text)
    symbols = torch.cat((torch.tensor([opening(RAW)]), torch.from_numpy(byte_ids(kept))))
    return Cache(model.config, context + 1, model.dtype), symbols


def characters(stream: Iterable[int]) -> Iterator[str]:
    """Text from single bytes, never half a character: what is not valid UTF-8 comes as a backslash escape."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for byte in stream:
        if part := decoder.decode(bytes((byte,))):
            yield part
    if part := decoder.decode(b"", final=True):
        yield part
