"""Reading a run while a trainer beside it goes on and removes the checkpoints that it no longer keeps."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.interop.llama import export_llama
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs import load as load_module
from byteproxy.runs.lineage import LINEAGE
from byteproxy.runs.load import MAX_TRIES, load, of_newest
from byteproxy.runs.with_corpus import open_runs
from byteproxy.train import checkpoint
from byteproxy.train.run_config import CONFIG as CONFIG_FILE
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

CONFIG = TrainConfig(
    stop="9 steps",
    compile=False,
    keep=1,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=1, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
    validation=Validation(0),
)


@pytest.fixture
def trainer(tmp_path):
    store, _ = toy_store(tmp_path / "c")
    trainer = Trainer(replace(CONFIG, corpus=str(tmp_path / "c")), store, tmp_path / "run")
    trainer.step()
    trainer.save()
    return trainer


@pytest.mark.parametrize("moment", ["rows", "load", "said", "inside"])
@pytest.mark.parametrize("read", [load, lambda folder: open_runs([folder])[0]])
def test_a_checkpoint_that_is_removed_while_it_is_read_is_read_newer(trainer, moment, read, monkeypatch):
    """Before each of the calls that look into it, and after its checksums were compared."""
    where = (checkpoint, moment) if moment != "inside" else (checkpoint, "_read")
    original = getattr(*where)
    moved = []

    def overtaken(found, *arguments):
        if not moved:
            moved.append(found)
            trainer.step()
            trainer.save()  # which removes the one before
        return original(found, *arguments)

    monkeypatch.setattr(*where, overtaken)
    run = read(trainer.folder)
    if moved:
        assert not moved[0].exists()
    own = trainer.model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in run.model.state_dict().items())


def test_checkpoints_that_go_faster_than_they_are_read_end_in_a_line(trainer):
    tries: list[Path] = []

    def read(_, found):
        tries.append(found)
        trainer.step()
        trainer.save()
        raise InputError("gone")

    with pytest.raises(InputError, match="is being trained, and"):
        of_newest(trainer.folder, read)
    assert len(set(tries)) == MAX_TRIES


def test_a_damaged_checkpoint_is_said_at_once(trainer):
    (state,) = (trainer.folder / "checkpoints").glob("step-*/state.json")
    state.write_text("{}")
    with pytest.raises(InputError, match=r"state\.json was altered"):
        load(trainer.folder)


def test_another_configuration_is_refused_before_a_model_is_made(trainer, monkeypatch):
    path = trainer.folder / CONFIG_FILE
    path.write_text(path.read_text().replace("width = 32", "width = 320000"))
    monkeypatch.setattr(load_module, "model_of", lambda *_: pytest.fail("it was made"))
    with pytest.raises(InputError, match="is not that of its checkpoint"):
        load(trainer.folder)


def test_a_damaged_lineage_is_in_the_way_of_nothing_but_itself(trainer):
    (trainer.folder / LINEAGE).write_text("{")
    loaded = load(trainer.folder)
    assert loaded.score("text").bpb > 0
    with pytest.raises(InputError, match=r"lineage.json is damaged .*: copy it again"):
        _ = loaded.lineage


@pytest.mark.parametrize("there", ["nothing", "folder", "pipe"])
def test_a_model_of_tokens_without_its_tokenizer_is_none_of_bytes(tmp_path, there):
    """Its first 320 tokens would be read as bytes, and what it scores would be nonsense."""
    export_llama(Transformer(ModelConfig(width=16, layers=1, heads=2, ffn=32), 400), 64, tmp_path, rows=None)
    if there == "folder":
        (tmp_path / TOKENIZER).mkdir()
    if there == "pipe":
        os.mkfifo(tmp_path / TOKENIZER)
    with pytest.raises(InputError, match=r"holds no tokenizer, and its model has 400 symbols where one of raw"):
        load(tmp_path)
