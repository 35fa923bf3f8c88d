"""Chats are followed as a model without a cache would follow them, and end where a turn does."""

from functools import cache

import numpy as np
import pytest
import torch

from byteproxy.coins import hashed
from byteproxy.errors import InputError
from byteproxy.generate.choice import Sampling
from byteproxy.generate.prompt import ChatPrompt
from byteproxy.generate.writer import Generation, Writer
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import byte_ids

CONTEXT, MOST = 24, 60
TURNS = (3, 5)
CHOICES = [13, 2, *range(64, 320), *TURNS]


@cache
def model(end):
    torch.manual_seed(0)
    made = Transformer(ModelConfig(width=32, layers=1, heads=4, ffn=48, byte_heads=3), 320)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made.lm_head.weight.data[[2, 13, *TURNS]] *= end
    return made


def chat(*parts):
    """Bytes and specials as a prompt."""
    return ChatPrompt(np.concatenate([byte_ids(one) if isinstance(one, bytes) else np.array([one]) for one in parts]))


PROMPTS = [
    chat(5, b"user\nhi", 3, b"\n", 5, b"assistant\n"),
    chat(12, 5, b"u"),
    b"plain text",
    chat(5, b"a prompt that is longer than all that the model reads", 3),
    chat(5),
]


def slow(model, prompt, temperature, seed, number):
    """Pass by pass over all that is read; choices that a chat bars can't win."""
    talked = isinstance(prompt, ChatPrompt)
    ids = prompt.ids if talked else np.concatenate([[12], byte_ids(prompt)])
    if len(ids) > CONTEXT:
        ids = np.concatenate([[12], ids[-(CONTEXT // 2) :]])
    out = bytearray()
    for place in range(MOST):
        if len(ids) > CONTEXT + 1:
            ids = np.concatenate([[12], ids[-(CONTEXT // 2) :]])
        with torch.no_grad():
            hidden = model.hidden(torch.from_numpy(ids), layout_of(np.array([len(ids)])))[-1]
        logits = (model.lm_head.weight[CHOICES] @ hidden).detach().numpy().astype(np.float64)
        logits[:2] -= np.inf if talked else 0
        if temperature:
            key = hashed(np.uint64(seed), np.uint64(number), np.uint64(0))
            bits = [int(hashed(key, np.uint64(place), np.uint64(one)) >> np.uint64(11)) for one in range(len(CHOICES))]
            logits = logits / temperature - np.log(-np.log((np.array(bits) + 0.5) / 2**53))
        symbol = CHOICES[int(logits.argmax())]
        if symbol < 64:
            return Generation(bytes(out), "model")
        ids = np.append(ids, symbol)
        out.append(symbol - 64)
    return Generation(bytes(out), "budget")


@pytest.mark.parametrize("end", [0.0, 3.0])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_chats_and_texts_go_together_as_each_would_alone(end, temperature, engine):
    writer = Writer(model(end), CONTEXT, engine, TURNS)
    wanted = [slow(model(end), prompt, temperature, 7, number) for number, prompt in enumerate(PROMPTS)]
    for drafts in ("none", "both"):
        assert writer.write(PROMPTS, MOST, Sampling(temperature, seed=7), drafts=drafts) == wanted
    if end:
        assert any(one.ended == "model" and one.text for one in (wanted[0], wanted[1], wanted[3], wanted[4]))


def test_utf8_is_kept_in_an_answer_too():
    writer = Writer(model(1.0), CONTEXT, chat_ends=TURNS)
    found = writer.write([PROMPTS[0]] * 8, MOST, Sampling(3.0, utf8=True))
    assert any(one.text for one in found)
    for one in found:
        one.text.decode()


def test_without_symbols_that_end_turns_a_chat_ends_as_text_does():
    only = chat(12, b"plain text")
    assert Writer(model(1.0), CONTEXT).write([only], MOST) == Writer(model(1.0), CONTEXT).write([b"plain text"], MOST)


def test_what_is_no_prompt_among_chats_is_refused():
    with pytest.raises(InputError, match="prompts has 'text'"):
        Writer(model(1.0), CONTEXT).write([PROMPTS[0], "text"], MOST)
