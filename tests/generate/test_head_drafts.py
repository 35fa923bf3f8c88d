"""What the further byte heads guess: against loops, and from within a writer on a model whose heads are never wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.generate.choice import Sampling
from byteproxy.generate.head_drafts import Heads
from byteproxy.generate.writer import Writer
from byteproxy.model.embedding import ngram_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import BYTES, FIRST_BYTE, RAW, byte_ids, opening

SHAPES = {
    "alone": {},
    "ngrams": {"byte_head_ngrams": (2, 4)},
    "outputs": {"byte_head_ngrams": (3,), "ngrams": (2, 5), "ngram_outputs": True},
    "inputs": {"byte_head_ngrams": (2,), "ngrams": (4,)},
    "capped": {"byte_head_ngrams": (2, 3), "soft_cap": 5.0},
}


def filled(dtype=torch.float32, **options):
    torch.manual_seed(0)
    config = ModelConfig(width=24, layers=1, heads=2, ffn=16, byte_heads=6, ngram_rows=100, **options)
    model = Transformer(config, 320, dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.requires_grad_(False)


MODELS = {name: filled(**options) for name, options in SHAPES.items()}


def told(tables, lengths, ids, rows):
    added = torch.zeros(24)
    for table, length in zip(tables, lengths, strict=True):
        padded = torch.tensor(([0] * length + ids)[-length:])
        added += table[ngram_rows(padded, torch.tensor([length - 1]), torch.tensor([length]), length, rows)[0]]
    return added


def slow(model, hidden, ids, count, temperature, noise):
    """Head by head, as training has them; `ids` are all of a window."""
    config, known, leads = model.config, list(ids), []
    if config.byte_head_ngrams and config.ngram_outputs:
        hidden = hidden - told(model.ngram_bias.weight, config.ngrams, known[:-1], 100)
    for head in range(count):
        state = hidden
        if config.byte_head_ngrams:
            state = state + told(model.head_ngram_bias.weight, config.byte_head_ngrams, known, 100)
        score = model.byte_heads.weight[head, FIRST_BYTE:] @ state
        if config.soft_cap:
            score = config.soft_cap * torch.tanh(score / config.soft_cap)
        if temperature:
            score = score / temperature + noise[head, 2:]
        best, second = score.topk(2).values
        leads.append(float(best - second))
        known.append(int(score.argmax()) + FIRST_BYTE)
    return [id - FIRST_BYTE for id in known[len(ids) :]], leads


@settings(max_examples=60)
@given(
    st.sampled_from(list(SHAPES)),
    st.lists(st.binary(max_size=8), min_size=1, max_size=4),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.7, 2.0]),
    st.integers(0, 99),
    st.booleans(),
)
def test_guesses_are_those_of_the_loops(name, texts, count, temperature, seed, anywhere):
    model, rng = MODELS[name], np.random.default_rng(seed)
    heads = Heads(model)
    if anywhere:
        heads._packed = None
    hidden_BD = torch.from_numpy(rng.normal(size=(len(texts), 24)).astype(np.float32))
    noise_BJC = rng.gumbel(size=(len(texts), count, 258)).astype(np.float32)
    ids = [[opening(RAW), *byte_ids(text).tolist()] for text in texts]
    tail_BL = np.array([([0] * heads.reach + one)[len(one) :] for one in ids], np.int64)
    noise_MC = noise_BJC.reshape(-1, 258) if temperature else None
    found, leads = heads.guesses(hidden_BD, tail_BL, count, Sampling(temperature), noise_MC)
    pairs = zip(hidden_BD, ids, torch.from_numpy(noise_BJC), strict=True)
    wanted = [slow(model, hidden, known, count, temperature, noise) for hidden, known, noise in pairs]
    assert found == [guesses for guesses, _ in wanted]
    np.testing.assert_allclose(leads, [ahead for _, ahead in wanted], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_guess_alike(dtype):
    """In float64 the same bytes; in bfloat16 the same by both ways."""
    options = SHAPES["outputs"]
    model, twin = filled(dtype, **options), MODELS["outputs"]
    if dtype == torch.float64:
        model = model.double()
    heads, rng = Heads(model), np.random.default_rng(0)
    hidden_BD = torch.from_numpy(rng.normal(size=(64, 24)).astype(np.float32))
    tail_BL = rng.integers(FIRST_BYTE, 320, (64, heads.reach))
    read_BD = hidden_BD.double() if dtype == torch.float64 else hidden_BD
    found = np.array(heads.guesses(read_BD, tail_BL, 5, Sampling(), None)[0])
    wanted = np.array(Heads(twin).guesses(hidden_BD, tail_BL, 5, Sampling(), None)[0])
    assert (found == wanted).mean() > (0.99 if dtype == torch.float64 else 0.6)


def cycle(**options):
    """A model that follows one cycle through all bytes, told by the last two ids only; so are its heads.

    What the state has besides them is nothing, so a head that doesn't take the own n-gram out of it is wrong.
    """
    torch.manual_seed(1)
    config = ModelConfig(
        32, 1, 2, ffn=16, ngrams=(2,), ngram_rows=1 << 17, ngram_outputs=True, byte_heads=6, byte_head_ngrams=(2,)
    )
    model = Transformer(config, 320)
    order = torch.randperm(BYTES)
    after = torch.empty(BYTES, dtype=torch.int64)
    after[order] = order.roll(-1)
    code_CD = torch.nn.functional.normalize(torch.randn(BYTES, 32), dim=-1)
    before = torch.empty_like(after)
    before[after] = torch.arange(BYTES)
    ids = torch.arange(BYTES) + FIRST_BYTE
    with torch.no_grad():
        model.norm.weight.zero_()
        for known in (before + FIRST_BYTE, torch.full((BYTES,), opening(RAW))):
            pairs = torch.stack((known, ids), 1).flatten()
            at = torch.arange(BYTES) * 2 + 1
            row = ngram_rows(pairs, at, torch.ones_like(at), 2, config.ngram_rows)
            model.ngram_bias.weight[0][row] = model.head_ngram_bias.weight[0][row] = code_CD[after] * 9
        first = ngram_rows(torch.tensor([opening(RAW)]), torch.tensor([0]), torch.tensor([0]), 2, config.ngram_rows)
        model.ngram_bias.weight[0][first] = code_CD[7] * 9
        model.lm_head.weight[FIRST_BYTE:] = code_CD
        model.byte_heads.weight[:, FIRST_BYTE:] = code_CD
    return model


@pytest.mark.parametrize("temperature", [0.0, 0.05])
def test_heads_that_know_the_rule_are_never_wrong(temperature):
    """From an empty prompt, through windows that begin anew, with documents of different lengths."""
    writer, prompts = Writer(cycle(), 40), [b"", b"a", b"\xff"]
    sampling = Sampling(temperature)
    plain = writer.write(prompts, 300, sampling, drafts="none")
    writer._times.of = lambda documents, most: np.ones(most + 1)  # whatever a pass costs, guesses pay
    assert writer.write(prompts, 300, sampling, drafts="heads") == plain
    assert len({one.text[:256] for one in plain}) == 3
    assert all(len(set(one.text[:256])) == 256 for one in plain)
    counts = writer.counts
    assert counts.right["heads"] == counts.guessed["heads"]
    assert counts.bytes_per_pass > 4


def test_guesses_that_did_not_pay_are_tried_again():
    writer = Writer(cycle(), 400)
    writer._times.of = lambda documents, most: np.ones(most + 1)
    odds = writer._rates["heads"]
    odds._right, odds._seen = [0.0] * len(odds._right), [1000] * len(odds._seen)
    writer.write([b"a"], 400)
    assert writer.counts.right["heads"] > 100
