"""Checkpoints that all processes write, read by others in any number."""

import json
import os
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from tests.toy_corpus import toy_store
from tests.train.ranks import on_ranks
from tests.train.test_sharding import CONFIG, losses

from byteproxy.errors import InputError
from byteproxy.store.store import Store
from byteproxy.train import checkpoint
from byteproxy.train.parallel import world
from byteproxy.train.train_config import Parallel
from byteproxy.train.trainer import Trainer

CONFIG = replace(CONFIG, stop="16 steps")


def went_on(config, path, folder, until):
    """Train up to a step, and save there."""
    trainer = Trainer(config, Store.open(path), folder)

    def stop(done, total, note):
        if done == until:
            trainer.stop_after_this_step()

    with suppress(KeyboardInterrupt):
        trainer.run(progress=stop)
    return trainer.state.step


def said(work, *arguments):
    try:
        return work(*arguments)
    except InputError as error:
        return str(error)


def on_four(path, folder):
    config = replace(CONFIG, parallel=Parallel(shard=4))
    found = {"done": went_on(config, path, folder, 4)}
    trainer = Trainer(config, Store.open(path), folder)
    if world().rank == 2:  # as on a disk without space, in the write of one rank
        os.fsync, kept = full, os.fsync
    found["full"] = said(trainer.save)
    if world().rank == 2:
        os.fsync = kept
    return found


def full(_):
    raise OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


def test_a_run_goes_on_with_four_three_one_and_two(store, tmp_path):
    alone, run = tmp_path / "alone", tmp_path / "run"
    Trainer(CONFIG, store, alone).run()
    four = on_ranks(4, on_four, store.path, run)
    assert [found["done"] for found in four] == [4] * 4
    newest = checkpoint.newest(run / "checkpoints")
    assert newest.name == "step-000004"
    assert {file.name.split("_")[2] for file in newest.glob("*.distcp")} == {"0", "1", "2", "3"}
    for found in four:
        assert found["full"].startswith("rank 2 cannot write a checkpoint to")
        assert "No space left on device" in found["full"]
    assert [path.name for path in (run / "checkpoints").iterdir()] == [newest.name]
    assert on_ranks(3, went_on, replace(CONFIG, parallel=Parallel(shard=3)), store.path, run, 8) == [8] * 3
    assert went_on(CONFIG, store.path, run, 12) == 12
    assert on_ranks(2, went_on, replace(CONFIG, parallel=Parallel(2)), store.path, run, 99) == [16] * 2
    np.testing.assert_allclose(losses(run), losses(alone), rtol=0, atol=1e-4)
    assert len(losses(run)) == 16
    listed = json.loads((checkpoint.newest(run / "checkpoints") / "checksums.json").read_text())
    assert {one["name"] for one in listed} >= {".metadata", "state.json"}
