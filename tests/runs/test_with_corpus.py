"""A run comes back as it was trained, and only with its own corpus."""

import json
from dataclasses import replace

import pytest
import torch
from tests.toy_corpus import toy_documents, toy_store

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.runs.with_corpus import OPENED, open_runs, remember_opened
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

CONFIG = TrainConfig(
    stop="3 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
    validation=Validation(0),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    store, _ = toy_store(folder / "c")
    trainer = Trainer(replace(CONFIG, corpus=str(folder / "c")), store, folder / "run")
    trainer.run()
    return folder, trainer


def test_the_model_is_the_one_that_was_trained(trained):
    folder, trainer = trained
    (run,) = open_runs([folder / "run"])
    assert (run.name, run.step, run.vocab) == ("run", 3, trainer.stream.vocab)
    assert run.config == trainer.config
    own = run.model.state_dict()
    assert own.keys() == trainer.model.state_dict().keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in trainer.model.state_dict().items())
    assert not run.model.training


def test_a_moved_corpus_is_named_and_another_one_refused(trained, tmp_path):
    folder, trainer = trained
    moved = tmp_path / "moved"
    moved.symlink_to(folder / "c")
    astray = tmp_path / "run"
    astray.mkdir()
    told = (folder / "run/config.toml").read_text().replace(str(folder / "c"), str(tmp_path / "gone"))
    (astray / "config.toml").write_text(told)
    (astray / "checkpoints").symlink_to(folder / "run/checkpoints")
    with pytest.raises(InputError, match="is not there: say where it is with --corpus"):
        open_runs([astray])
    assert open_runs([astray], moved)[0].step == 3
    prepare_documents(toy_documents(seed=1), tmp_path / "other", SplitOptions(0.1, 0.2))
    add_view(tmp_path / "other", trainer.stream.store.view("bpe-300"))
    with pytest.raises(InputError, match="another corpus"):
        open_runs([astray], tmp_path / "other")


def test_what_is_no_run_is_said(trained, tmp_path):
    folder, _ = trained
    with pytest.raises(InputError, match="holds no run"):
        open_runs([tmp_path])
    (tmp_path / "config.toml").write_text((folder / "run/config.toml").read_text())
    with pytest.raises(InputError, match="no checkpoint yet"):
        open_runs([tmp_path])
    with pytest.raises(InputError, match="named twice"):
        open_runs([folder / "run", folder / "." / "run"])


def test_runs_of_one_name_are_told_apart(trained, tmp_path):
    folder, _ = trained
    (tmp_path / "run").symlink_to(folder / "run")
    names = [run.name for run in open_runs([folder / "run"])]
    assert names == ["run"]
    copy = tmp_path / "a/run"
    copy.mkdir(parents=True)
    (copy / "config.toml").write_text((folder / "run/config.toml").read_text())
    (copy / "checkpoints").symlink_to(folder / "run/checkpoints")
    assert [run.name for run in open_runs([folder / "run", copy])] == [str(folder / "run"), str(copy)]


def test_each_opening_is_a_line(trained):
    folder, _ = trained
    (run,) = open_runs([folder / "run"])
    lines = [remember_opened(run, "eval bpb", bytes=size, documents=2) for size in (10, 20)]
    assert [json.loads(line) for line in (folder / "run" / OPENED).read_text().splitlines()] == lines
    assert [line["bytes"] for line in lines] == [10, 20]
    assert lines[0].keys() == {"time", "command", "step", "bytes", "documents"}
