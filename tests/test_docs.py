"""The examples of docs/, run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from tests.mixture.corpora import corpus as make_corpus

from byteproxy.mixture.batches import BatchDataset, Batches

PAGE = Path(__file__).parents[1] / "docs" / "other_trainers.md"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the example leaves behind, run in a folder with a corpus."""
    folder = tmp_path_factory.mktemp("example")
    make_corpus(folder / "corpus")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Loader processes are forked from here and need nothing but the stream.
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_it_learns(ran):
    losses = [entry["loss"] for entry in ran["trainer"].state.log_history if "loss" in entry]
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.5
    assert ran["batch"].step == 0


def test_transformers_keeps_documents_apart(ran):
    """A symbol of another document changes no logit, and the loss is the mean over our own targets."""
    batch = next(iter(Batches(ran["stream"])))
    tensors = next(iter(BatchDataset(Batches(ran["stream"]))))
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
