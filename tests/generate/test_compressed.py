"""Symbols that a run writes, against one forward pass over all that it has read for each of them."""

import numpy as np
import pytest
import torch
from tests.neural.models import random_model
from tests.toy_corpus import toy_documents

from byteproxy.errors import InputError
from byteproxy.generate.choice import Noise, Sampling
from byteproxy.generate.compressed import ViewWriter
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.neural.kind import NeuralKind, NeuralOptions
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.views.bpe import BpeView
from byteproxy.views.gzip import GzipView

TEXTS = [document.text for document in toy_documents(12)]
BPE = BpeView.train(iter(TEXTS), 300)
NEURAL = NeuralKind.compiled(ModelPredictor(random_model(spread=1.0)), NeuralOptions(12), TEXTS)
VIEWS = [BPE, NEURAL, GzipView()]
PROMPTS = [b"", b"def f(x):\n", b"\xff\xe9\x00"]
FIRST = {"bpe-300": 320, "neural-12": 620, "gzip-9": 620 + 4096}
OPENING = {"bpe-300": 14, "neural-12": 16, "gzip-9": 18}


def model_of(seed=0, **options):
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(width=32, layers=2, heads=2, ffn=64, **options), 620 + 4096 + 256, torch.float64)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


MODELS = [
    model_of(),
    model_of(1, soft_cap=3.0, value_embeddings=True, ngrams=(2, 3), ngram_rows=64, ngram_outputs=True),
]


def told(model, prompt, view, task, most, sampling, number=0):
    """As it is meant: no cache, one symbol after the other."""
    first, opened = FIRST[view.name], OPENING[view.name]
    if task == "translate":
        ids = [12, *(64 + byte for byte in prompt), 13, opened]
    else:
        ids = [opened, *(first + int(symbol) for symbol in view.encode(prompt).symbols)]
    choices = [opened + 1, 2, *range(first, first + view.alphabet_size)]
    noise, found = Noise(sampling.seed, number, len(choices)), []
    while len(found) < most:
        with torch.no_grad():
            hidden = model.hidden(torch.tensor(ids), layout_of(np.array([len(ids)])))[-1]
            logits = (model.lm_head.weight[choices] @ hidden).float()
        if model.config.soft_cap:
            logits = model.config.soft_cap * torch.tanh(logits / model.config.soft_cap)
        if sampling.temperature:
            logits = logits / sampling.temperature
            share, order = logits.softmax(-1).sort(descending=True)
            logits[order[share.cumsum(-1) - share >= sampling.top_p]] = -torch.inf
            logits += torch.from_numpy(noise.at(len(found), 1)[0])
        best = int(logits.argmax())
        if best < 2:
            return found, "model"
        found.append(best - 2)
        ids.append(choices[best])
    return found, "budget"


@pytest.mark.parametrize("task", ["translate", "continue"])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, top_p=0.9, seed=3)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_it_writes_what_the_model_makes_of_it(view, sampling, task):
    for model in MODELS:
        writer = ViewWriter(model, VIEWS, 100)
        for number, prompt in enumerate(PROMPTS):
            found = writer.write(prompt, view.name, task, 25, sampling, number)
            assert (found.symbols.tolist(), found.ended) == told(model, prompt, view, task, 25, sampling, number)


def test_it_ends_where_the_model_ends():
    model = model_of()
    with torch.no_grad():
        model.lm_head.weight[15] *= 8
    writer, prompts = ViewWriter(model, VIEWS, 100), [text[:20] for text in TEXTS]
    found = [writer.write(prompt, "bpe-300", "continue", 25) for prompt in prompts]
    expected = [told(model, prompt, BPE, "continue", 25, Sampling()) for prompt in prompts]
    assert [(one.symbols.tolist(), one.ended) for one in found] == expected
    assert "model" in {one.ended for one in found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_writes_in_other_types_and_no_more_than_a_context(dtype):
    model = Transformer(MODELS[0].config, FIRST["gzip-9"] + 256, dtype)
    model.load_state_dict(MODELS[0].float().state_dict())
    MODELS[0].double()
    found = ViewWriter(model, VIEWS, 30).write(b"def f(x):\n", "neural-12", "translate", 1000, Sampling(1.0))
    assert found.ended == "model" or len(found.symbols) == 30
    assert len(found.symbols) > 0


def test_symbols_are_told_as_what_they_stand_for():
    writer = ViewWriter(MODELS[0], VIEWS, 100)
    written = writer.write(b"def ", "bpe-300", "translate", 12)
    assert written.text == BPE.decode(written.symbols)
    assert written.strings is None
    fuzzy = writer.write(b"def ", "neural-12", "translate", 12)
    assert fuzzy.text is None
    assert fuzzy.strings == [NEURAL.strings_of(symbol)[:8] for symbol in fuzzy.symbols.tolist()]
    garbage = writer.write(b"def ", "gzip-9", "translate", 12)
    assert (garbage.text, garbage.strings, len(garbage.symbols)) == (None, None, 12)
    assert writer.write(b"def ", "bpe-300", "translate", 0).ended == "budget"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((b"a", "bpe-4096", "translate", 5), "no view 'bpe-4096': name bpe-300 or neural-12 or gzip-9"),
        ((b"a" * 101, "bpe-300", "translate", 5), "101 bytes: give at most 100"),
        ((b"a", "bpe-300", "translate", -1), "cannot write -1 symbols"),
        ((b"a", "bpe-300", "translate", 5, Sampling(utf8=True)), "utf8 is for raw bytes"),
    ],
)
def test_what_cannot_be_is_said(arguments, said):
    with pytest.raises(InputError, match=said):
        ViewWriter(MODELS[0], VIEWS, 100).write(*arguments)


def test_models_without_rows_for_symbols_are_refused():
    config = ModelConfig(width=32, layers=1, heads=2, ffn=64)
    with pytest.raises(InputError, match="reads compressed text by its bytes"):
        ViewWriter(Transformer(config, 320), [BPE], 100)
    with pytest.raises(InputError, match="predicts no symbols"):
        ViewWriter(Transformer(config, 620, output_vocab=320), [BPE], 100)
