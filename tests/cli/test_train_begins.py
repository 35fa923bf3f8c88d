"""How runs begin and go on: killed at every write, two at a time, with one command, and longer than they were."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli import killed_starts
from tests.cli.commands import in_process, last_object, refusal
from tests.toy_corpus import toy_store
from tests.waiting import GUARD_SECONDS

from byteproxy.config import from_toml
from byteproxy.interop.llama import export_llama
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs.folder import ensure_free
from byteproxy.runs.start import fitted_to_start, start_from
from byteproxy.store.store import Store
from byteproxy.train import checkpoint
from byteproxy.train.metrics import read
from byteproxy.train.parallel import held
from byteproxy.train.run_config import read_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
RECIPE = """
stop = "12 steps"
corpus = "c"
compile = false
log_every = 1
[model]
width = 32
layers = 1
heads = 2
ffn = 64
[shape]
sequences_per_step = 2
sequence_length = 256
context_bytes = 100
[validation]
bytes = 0
"""
LONGER = """[optim]
warmup_steps = 3
decay_share = 0.5
[mixture]
phases = [{rate = 0.5}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("begins")
    _, view = toy_store(made / "c")
    torch.manual_seed(5)
    export_llama(Transformer(ModelConfig(width=32, layers=1, heads=2, ffn=64), 300), 200, made / "llama", rows=None)
    view.save(made / "llama/tokenizer.json")
    (made / "tiny.toml").write_text(RECIPE)
    (made / "longer.toml").write_text(RECIPE + LONGER)
    return made


@pytest.fixture
def byteproxy(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    return in_process(monkeypatch, capsys)


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


def weights(run):
    config = read_run_config(run)
    return Trainer(config, Store.open(Path(config.corpus)), run, start_from=start_from).model.state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def losses(run):
    return [line["loss"] for line in read(run / "metrics.jsonl") if "loss" in line]


def stopping_at(step):
    """A stage that sends Ctrl-C after that step."""
    from contextlib import contextmanager

    @contextmanager
    def stage(what, unit):
        def report(done, total, note=""):
            if what == "train" and done == step:
                os.kill(os.getpid(), signal.SIGINT)

        yield report

    return stage


@pytest.fixture(scope="module")
def started(folder):
    """How many moments a run was killed at, and how two at once ended."""
    with contextlib.chdir(folder):
        return killed_starts.moments(), killed_starts.both()


def test_killed_at_any_write_a_run_begins_with_its_start_or_anew(byteproxy, folder, started):
    """Never with random weights: either `--resume` begins with the start, or the same command does."""
    store = Store.open(folder / "c")
    asked = from_toml(folder / "tiny.toml", TrainConfig)
    wanted = Trainer(fitted_to_start(asked, store, Path("llama")), store, folder / "never", start_from=start_from)
    kinds = set()
    for moment in range(1, started[0] + 1):
        run = folder / f"killed-{moment}"
        begun, saved = (run / "config.toml").exists(), checkpoint.newest(run / "checkpoints") is not None
        kinds.add((begun, saved))
        if begun:
            assert same(wanted.model.state_dict(), weights(run))
        elif run.exists():
            assert not saved
            ensure_free(run)
    assert kinds >= {(False, False), (True, False), (True, True)}


@pytest.fixture
def begun(byteproxy, folder):
    """A run with a start that was killed before its first checkpoint."""
    run = folder / "begun"
    if not (folder / "whole").exists():
        assert byteproxy("train", "tiny.toml", "--from", "llama", "--out", "whole", "--json")[0] == 0
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(folder / "whole", run)
    for name in ("checkpoints", "metrics.jsonl", "report.html"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return run


def test_without_a_checkpoint_it_goes_on_from_its_start_to_the_same_weights(byteproxy, folder, begun):
    assert byteproxy("train", "--resume", "begun")[0] == 0
    assert losses(begun) == losses(folder / "whole")
    assert same(weights(begun), weights(folder / "whole"))


@pytest.mark.parametrize("altered", ["model.safetensors", "tokenizer.json", "config.json", None])
def test_another_start_is_refused(byteproxy, folder, begun, altered):
    away = folder / "away"
    shutil.rmtree(away, ignore_errors=True)
    (folder / "llama").rename(away)
    try:
        if altered is None:
            said = refusal(byteproxy("train", "--resume", "begun"))
            assert "llama, the model that the run begins with, is not there" in said
        else:
            shutil.copytree(away, folder / "llama")
            path = folder / "llama" / altered
            content = bytearray(path.read_bytes())
            content[-9 if altered != "config.json" else content.index(b"null")] ^= 1
            path.write_bytes(content)
            said = refusal(byteproxy("train", "--resume", "begun"))
            assert re.search("is not the one that the run was begun with|holds no|no byte-level BPE", said), said
        assert checkpoint.newest(begun / "checkpoints") is None
        assert byteproxy("train", "--resume", "begun", "--from", "away", "--json")[0] == 0
        assert losses(begun) == losses(folder / "whole")
    finally:
        shutil.rmtree(folder / "llama", ignore_errors=True)
        away.rename(folder / "llama")


def test_a_folder_in_use_is_refused_and_no_trace_is_left(byteproxy, folder):
    with held(folder / "busy"):
        for arguments in (["tiny.toml"], ["tiny.toml", "--resume-if-exists"]):
            said = refusal(byteproxy("train", *arguments, "--out", "busy"))
            assert "busy is in use by another run" in said
        assert [path.name for path in (folder / "busy").iterdir()] == [".lock"]
    assert not (folder / "busy").exists()


def test_of_two_at_once_one_is_refused_and_the_other_can_be_opened(byteproxy, folder, started):
    codes = started[1]
    assert sorted(codes) == [0, 2]
    refused = (folder / f"refused-{codes.index(2) + 1}").read_text()
    assert "both is in use by another run" in refused or "both holds a run already" in refused
    assert read_run_config(folder / "both").seed == codes.index(0) + 1
    assert last_object(byteproxy("train", "--resume", "both", "--json"))["steps"] == 12


def test_one_command_starts_and_goes_on(byteproxy, folder, monkeypatch):
    from byteproxy.cli import progress as cli_progress

    command = [
        "train",
        "tiny.toml",
        "--out",
        "one",
        "--dtype",
        "auto",
        "--stop",
        "5000 positions",
        "--resume-if-exists",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(cli_progress, "stage", stopping_at(4))
        status, _, stderr = byteproxy(*command)
    assert status == 130
    assert stderr.splitlines()[-1] == "byteproxy: stopped after step 4, which is saved; the same command goes on"
    assert last_object(byteproxy(*command, "--keep", "3", "--json"))["steps"] == 10
    assert read_run_config(folder / "one").keep == 3
    assert "is finished: its 10 steps are done" in byteproxy(*command)[1]
    said = refusal(byteproxy(*command, "--model.ffn", "96"))
    assert "another configuration (model.ffn is 64 there and 96 here)" in said
    said = refusal(byteproxy(*command, "--model.key-value-heads", "1"))
    assert "model.key_value_heads is absent there and 1 here" in said
    (folder / "one/asked.toml").unlink()  # as of a run that was begun otherwise
    assert byteproxy(*command)[0] == 0
    assert "model.ffn is 64 there" in refusal(byteproxy(*command, "--model.ffn", "96"))


def stopped_at(byteproxy, monkeypatch, recipe, out, step, *more):
    from byteproxy.cli import progress as cli_progress

    with monkeypatch.context() as patch:
        patch.setattr(cli_progress, "stage", stopping_at(step))
        assert byteproxy("train", recipe, "--out", out, *more)[0] == 130


def test_made_longer_it_is_the_run_that_was_longer_from_the_start(byteproxy, folder, monkeypatch):
    stopped_at(byteproxy, monkeypatch, "longer.toml", "short", 6)
    assert byteproxy("train", "longer.toml", "--out", "long", "--stop", "20 steps")[0] == 0
    before = (folder / "short/config.toml").read_bytes()
    assert "shorter" in refusal(byteproxy("train", "--resume", "short", "--stop", "7 steps"))
    assert (folder / "short/config.toml").read_bytes() == before
    assert last_object(byteproxy("train", "--resume", "short", "--stop", "20 steps", "--json"))["steps"] == 20
    assert same(weights(folder / "short"), weights(folder / "long"))
    assert losses(folder / "short") == losses(folder / "long")


@pytest.mark.parametrize(
    ("recipe", "more", "step", "said"),
    [
        ("longer.toml", [], 9, "its learning rate has been decaying since step 8 of 12.*a checkpoint of before"),
        ("longer.toml", ["--optim.schedule", "cosine"], 5, "followed a cosine over 12 steps since step"),
        ("tiny.toml", [], 3, "what the mixture shows at step 2, as its phases are shares"),
        ("longer.toml", ["--optim.warmup-steps", "None", "--optim.warmup-share", "0.3"], 2, "warm-up is a share"),
        (
            "longer.toml",
            ["--model.byte-heads", "2", "--objective.heads-weight-end", "0.1"],
            2,
            "the weight of heads at step 2",
        ),
    ],
)
def test_what_would_have_been_another_run_is_not_made_longer(
    byteproxy, folder, monkeypatch, tmp_path, recipe, more, step, said
):
    run = tmp_path / "run"
    stopped_at(byteproxy, monkeypatch, recipe, run, step, *more)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert re.search(said, refusal(byteproxy("train", "--resume", run, "--stop", "40 steps")))
    assert files == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "option",
    [["--seed", "3"], ["--model.width=64"], ["--optim.learning-rate", "1"], ["--no-compile"], ["--views", "x"]],
)
def test_what_decides_weights_is_refused_when_a_run_goes_on(byteproxy, folder, begun, option):
    name = option[0].removeprefix("--").partition("=")[0].replace("-", "_")
    assert f"{name} decides the weights" in refusal(byteproxy("train", "--resume", "begun", *option))


DIES = """
import os, signal, sys
from byteproxy.cli import main
from byteproxy.train.trainer import Trainer

step = Trainer.step
def dies(self):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and os.environ["RANK"] == "1" and self.state.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)
Trainer.step = dies
sys.argv[0] = "byteproxy"
main.main()
"""


def test_a_rank_that_dies_is_replaced_and_the_run_goes_on(byteproxy, folder, tmp_path):
    """By torchrun, where only the first of two processes has something to say; then with another number of them.

    Each of the two holds half of the model.
    """
    (tmp_path / "dies.py").write_text(DIES)
    train = ["train", "tiny.toml", "--out", "elastic", "--checkpoint-seconds", "0", "--resume-if-exists", "--json"]
    train += ["--parallel.replicate", "1", "--parallel.shard", "0"]
    torchrun = [Path(sys.executable).parent / "torchrun", "--max-restarts", "1", "--nproc-per-node"]
    done = subprocess.run(
        [*torchrun, "2", tmp_path / "dies.py", *train],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures, alone = json.loads(line), last_object(byteproxy("train", "tiny.toml", "--out", "alone", "--json"))
    assert (figures["processes"], figures["steps"]) == (2, 12)
    assert (figures["flops"], figures["text_bytes"]) == (alone["flops"], alone["text_bytes"])
    assert done.stderr.count("train: ") == 1
    assert losses(folder / "elastic") == pytest.approx(losses(folder / "alone"), rel=1e-4)
    newest = checkpoint.newest(folder / "elastic/checkpoints")
    shutil.rmtree(newest)  # one process goes on where two were
    assert last_object(byteproxy(*train))["processes"] == 1
    assert losses(folder / "elastic") == pytest.approx(losses(folder / "alone"), rel=1e-4)
