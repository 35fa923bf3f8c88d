"""Twenty passages learned by heart in each representation, and translated once both were shown together."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.loss import local_targets, typed_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, RAW, closing, opening

PASSAGES = 20
CLEAR = 3  # positions that differ from passage to passage
CONFIG = TrainConfig(
    stop="100 steps",
    views=("bpe-272",),
    compile=False,
    model=ModelConfig(width=64, layers=2, heads=2, ffn=128),
    shape=Shape(2, 512, 200),
    optim=OptimConfig(learning_rate=3e-3, weight_decay=0.0),
    checkpoint_seconds=1e9,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Documents of one passage each, which differ from their first letters on."""
    rng, folder = random.Random(0), tmp_path_factory.mktemp("corpus")
    letters = "abcdefghijklmnopqrstuvwxyz"
    documents = []
    for number in range(PASSAGES):
        words = ["".join(rng.choices(letters, k=rng.randint(2, 5))) for _ in range(3)]
        text = f"{letters[number % 26]}{letters[number // 26]} = {' + '.join(words)}"
        documents.append(Document(f"{number}.py", text.encode(), "toy", f"project{number}"))
    prepare_documents(documents, folder, SplitOptions(0.0, 0.0))
    add_view(folder, BpeView.train((document.text for document in documents), 272))
    return Store.open(folder)


def segments(trainer, text):
    """The symbols and the spelling of a text, raw and compressed, sentinels included."""
    raw = [opening(RAW), *(FIRST_BYTE + byte for byte in text), closing(RAW)]
    encoded = trainer.stream.store.view("bpe-272").encode(text)
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
    spelling = ByteExpansion(*(torch.from_numpy(np.asarray(one)) for one in (ids, ends, limits)))
    shown = Positions(torch.tensor(symbols), torch.tensor([*symbols[1:], -1]), torch.tensor(kinds), spelling)
    with torch.no_grad():
        return trainer.model.hidden(shown.symbols_N, layout_of(np.array([len(symbols)])), spelling), shown


def surprise(trainer, store, kind):
    """Mean nats of what comes next in all passages, shown in one representation, once it is clear which one it is."""
    head, vocab, nats = trainer.model.lm_head.weight, trainer.stream.vocab, []
    for document in store.documents("train"):
        hidden, shown = forward(trainer, [(segments(trainer, document.text)[kind], kind)])
        if kind and trainer.config.objective.symbols:
            rows = torch.cat([head[one.start : one.stop] for one in typed_rows(kind, vocab)])
            targets = local_targets(shown.targets_N[:-1], kind, vocab)
        else:
            rows, targets = head[:FIRST_SYMBOL], shown.expansion.ids_M[shown.expansion.ends_N[:-1]]
        nats.append(F.cross_entropy(hidden[CLEAR:-1] @ rows.T, targets[CLEAR:], reduction="none"))
    return float(torch.cat(nats).mean().detach())


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


KINDS = pytest.mark.parametrize(
    ("model", "objective"),
    [
        ({}, Objective()),
        ({"inputs": "positions", "hashed_rows": 2048, "byte_heads": 2}, Objective(symbols=0, bytes=1.0)),
    ],
    ids=["symbols", "composed"],
)


@KINDS
def test_twenty_passages_by_heart(store, tmp_path, model, objective):
    mixture = Mixture(phases=(Phase(1.0, "one", 0.5),), packing="whole")
    config = replace(CONFIG, model=replace(CONFIG.model, **model), objective=objective, mixture=mixture)
    trainer = Trainer(config, store, tmp_path)
    assert min(surprise(trainer, store, kind) for kind in (RAW, 1)) > 4
    trainer.run()
    assert surprise(trainer, store, RAW) < 0.1
    assert surprise(trainer, store, 1) < 0.1


@KINDS
def test_after_pairs_every_passage_is_translated_byte_for_byte(store, tmp_path, model, objective):
    mixture = Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing="whole")
    config = replace(CONFIG, model=replace(CONFIG.model, **model), objective=objective, mixture=mixture)
    trainer = Trainer(config, store, tmp_path)
    assert translated(trainer, store) == 0
    trainer.run()
    assert translated(trainer, store) == PASSAGES
