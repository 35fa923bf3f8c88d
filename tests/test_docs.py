"""The examples of docs/, run as they stand."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.mixture.corpora import corpus as make_corpus
from tests.toy_corpus import toy_store

from byteproxy.mixture.batches import BatchDataset
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import ModelConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "other_trainers.md"


def blocks_of(page):
    return [
        compile(block, str(page), "exec") for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the example leaves behind, run in a folder with a corpus."""
    folder = tmp_path_factory.mktemp("example")
    make_corpus(folder / "corpus")
    blocks = blocks_of(PAGE)
    assert len(blocks) == 2
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Loader processes are forked from here and need nothing but the stream.
        for block in blocks:
            exec(block, names)
    return names


def test_it_learns(ran):
    losses = [entry["loss"] for entry in ran["trainer"].state.log_history if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.5
    assert ran["batch"].step == 0


def test_transformers_keeps_documents_apart(ran):
    """A symbol of another document changes no logit, and the loss is the mean over our own targets."""
    batch = next(iter(ran["batches"]))
    tensors = next(iter(BatchDataset(ran["batches"])))
    model = ran["model"].eval()
    with torch.no_grad():
        out = model(**tensors)
        other = tensors["input_ids"].clone()
        second = int((batch.documents[0] == 1).argmax())
        assert second > 10
        other[0, :second] = 70
        changed = model(**{**tensors, "input_ids": other})
    assert torch.equal(out.logits[0, second:], changed.logits[0, second:])
    assert not torch.equal(out.logits[0, :second], changed.logits[0, :second])
    targets = torch.from_numpy(batch.targets)
    nats = torch.nn.functional.cross_entropy(out.logits[targets >= 0], targets[targets >= 0])
    assert out.loss.item() == pytest.approx(nats.item(), rel=1e-4)
    assert int((targets >= 0).sum()) == batch.step_targets


def test_scoring(tmp_path, monkeypatch):
    store, config = toy_store(tmp_path / "corpus")[0], TrainConfig(stop="1 steps", compile=False, mixture=BYTES)
    config = replace(config, model=ModelConfig(width=16, layers=1, heads=2, ffn=24), shape=Shape(2, 128, 100))
    trainer = Trainer(config, store, tmp_path / "runs" / "first")
    trainer.run()
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks_of(DOCS / "scoring.md"):
        exec(block, names)
    assert names["scored"].bytes.tolist() == [12, 0, 2]
    assert names["likeliest"] in names["choices"]
    assert names["bits"].shape == (len(b"banana"),)
