"""`kill -9` in the middle of a compiled run: `--resume` goes on to the same curve, bit for bit."""

import multiprocessing
import signal

import pytest
import torch
from tests.cli.commands import in_process
from tests.toy_corpus import toy_store
from tests.waiting import until

from byteproxy.train import checkpoint
from byteproxy.train.metrics import read

RECIPE = """
stop = "24 steps"
views = ["bpe-300"]
log_every = 1
deterministic = true
dtype = "float32"
checkpoint_seconds = 0.0
[model]
width = 32
layers = 2
heads = 2
ffn = 64
byte_heads = 2
[objective]
bytes = 0.5
[shape]
sequences_per_step = 4
sequence_length = 256
context_bytes = 100
[validation]
bytes = 2000
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    toy_store(folder / "corpus")
    path = folder / "toy.toml"
    path.write_text(f'corpus = "{folder / "corpus"}"\n{RECIPE}')
    return path


def curve(run):
    return {line["step"]: (line["loss"], line["losses"]) for line in read(run / "metrics.jsonl") if "loss" in line}


def tensors(run):
    found = checkpoint.newest(run / "checkpoints")
    assert found is not None
    state = {}
    torch.distributed.checkpoint.state_dict_loader._load_state_dict(
        state,
        storage_reader=torch.distributed.checkpoint.FileSystemReader(found),
        planner=torch.distributed.checkpoint.default_planner._EmptyStateDictLoadPlanner(),
        no_dist=True,
    )
    return state


def test_killed_in_the_middle_and_resumed_is_the_undisturbed_run(recipe, tmp_path, monkeypatch, capsys):
    byteproxy = in_process(monkeypatch, capsys)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert byteproxy("train", recipe, "--out", undisturbed)[0] == 0
    # A fork, which has imported and compiled what takes a new process seconds.
    process = multiprocessing.get_context("fork").Process(target=byteproxy, args=("train", recipe, "--out", killed))
    process.start()
    written = killed / "metrics.jsonl"
    until(lambda: written.exists() and len(curve(killed)) >= 5, process.is_alive)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert byteproxy("train", "--resume", killed)[0] == 0
    assert len(curve(undisturbed)) == 24
    assert curve(killed) == curve(undisturbed)
    mine, theirs = tensors(killed), tensors(undisturbed)
    assert len(flat(mine)) > 20
    assert all(torch.equal(one, flat(theirs)[name]) for name, one in flat(mine).items())


def flat(state, prefix=""):
    found = {}
    for name, value in state.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            found[f"{prefix}{name}"] = value
    return found
