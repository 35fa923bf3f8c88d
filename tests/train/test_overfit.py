"""Fifty passages learned by heart in each representation, and translated once both were shown together."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.embedding import Spelling
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, losses
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.config import TrainConfig
from byteproxy.train.optim import OptimConfig
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import EOS, FIRST_BYTE, RAW, closing, opening

PASSAGES = 50
CONFIG = TrainConfig(
    stop="220 steps",
    views=("bpe-280",),
    compile=False,
    model=ModelConfig(width=64, layers=2, heads=2, ffn=128),
    mixture=Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing="whole"),
    shape=Shape(4, 512, 200),
    optim=OptimConfig(learning_rate=6e-3, weight_decay=0.0),
    checkpoint_seconds=1e9,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Documents of one passage each, which differ from their first letters on."""
    dice, folder = random.Random(0), tmp_path_factory.mktemp("corpus")
    letters = "abcdefghijklmnopqrstuvwxyz"
    documents = []
    for number in range(PASSAGES):
        words = ["".join(dice.choices(letters, k=dice.randint(2, 5))) for _ in range(5)]
        text = f"{letters[number % 26]}{letters[number // 26]} = {' + '.join(words)}"
        documents.append(Document(f"{number}.py", text.encode(), "toy", f"project{number}"))
    prepare_documents(documents, folder, Split(0.0, 0.0))
    add_view(folder, BpeView.train((document.text for document in documents), 280))
    return Store.open(folder)


def segments(trainer, text):
    """The symbols and the spelling of a text, raw and compressed, sentinels included."""
    raw = [opening(RAW), *(FIRST_BYTE + byte for byte in text), closing(RAW)]
    encoded = trainer.stream.store.view("bpe-280").encode(text)
    first = trainer.stream.vocab.first_id(1)
    compressed = [opening(1), *(encoded.symbols.astype(int) + first).tolist(), closing(1)]
    spans = [1, *encoded.span_bytes.tolist(), 1]
    spelled = [opening(1), *(FIRST_BYTE + byte for byte in text), closing(1)]
    return (raw, [1] * len(raw), raw), (compressed, spans, spelled)


def forward(trainer, parts):
    """Hidden states of one document of these segments with an eos, and what they are shown."""
    symbols = [one for part, _ in parts for one in part[0]] + [EOS]
    spans = [one for part, _ in parts for one in part[1]] + [1]
    ids = [one for part, _ in parts for one in part[2]] + [EOS]
    kinds = [kind for part, kind in parts for _ in part[0]] + [parts[-1][1]]
    ends = np.cumsum(spans)
    piece_ends = np.cumsum([len(part[2]) for part, _ in parts])
    piece_ends[-1] += 1
    lengths = [len(part[0]) for part, _ in parts]
    lengths[-1] += 1
    limits = np.repeat(piece_ends, lengths)
    spelling = Spelling(*(torch.from_numpy(np.asarray(one)) for one in (ids, ends, limits)))
    shown = Positions(torch.tensor(symbols), torch.tensor([*symbols[1:], -1]), torch.tensor(kinds), spelling)
    with torch.no_grad():
        return trainer.model(shown.symbols_N, layout_of(np.array([len(symbols)])), spelling), shown


def per_target(trainer, store, kind):
    """Mean nats of the headline column over all passages, shown in one representation."""
    nats = counts = 0.0
    for document in store.documents("train"):
        hidden, shown = forward(trainer, [(segments(trainer, document.text)[kind], kind)])
        found = losses(trainer.model, hidden, shown, trainer.stream.vocab, trainer.config.objective, 1.0)
        column = 0 if kind == RAW or not trainer.config.objective.symbols else trainer.config.model.byte_heads
        column = -1 if kind and trainer.config.objective.bag else column
        nats += float(found.nats[kind, column])
        counts += float(found.counts[kind, column])
    return nats / counts


def translated(trainer, store):
    """How many passages come out byte for byte after their compressed form: the most probable byte each time.

    Every byte is the most probable one after the true ones before it, so writing byte by byte gives the same text.
    """
    exact = 0
    for document in store.documents("train"):
        raw, compressed = segments(trainer, document.text)
        hidden, _ = forward(trainer, [(compressed, 1), (raw, RAW)])
        begin = len(compressed[0])
        logits = hidden[begin : begin + len(raw[0]) - 1] @ trainer.model.lm_head.weight[:320].T
        exact += logits.argmax(1).tolist() == raw[0][1:]
    return exact


@pytest.mark.parametrize(
    ("model", "objective", "floor"),
    [
        ({}, Objective(), 0.0),
        # What a bag costs at the least is the entropy of its bytes; see below.
        ({"inputs": "positions", "hashed_rows": 2048, "byte_heads": 2}, Objective(symbols=0, bytes=1.0), 0.0),
    ],
    ids=["symbols", "composed"],
)
def test_fifty_passages_by_heart_and_translated(store, tmp_path, model, objective, floor):
    config = replace(CONFIG, model=replace(CONFIG.model, **model), objective=objective)
    trainer = Trainer(config, store, tmp_path)
    untrained = per_target(trainer, store, RAW), per_target(trainer, store, 1)
    trainer.run()
    # Which of fifty passages it is costs log 50 nats each, about 0.1 a target, whatever is learned.
    raw, compressed = per_target(trainer, store, RAW), per_target(trainer, store, 1)
    print(untrained, raw, compressed, translated(trainer, store))
    assert min(untrained) > 3
    assert raw < 0.2
    assert compressed < 0.3 + floor
    assert translated(trainer, store) == PASSAGES
