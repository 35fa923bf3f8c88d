"""`byteproxy generate` as a user meets it: runs and exported models, any prompt, and what it refuses."""

import base64
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.commands import in_process, last_object, on_terminal, refusal
from tests.fuzz import server
from tests.toy_corpus import toy_store
from tests.waiting import GUARD_SECONDS

from byteproxy.console import escaped
from byteproxy.generate.choice import Sampling
from byteproxy.generate.writer import Writer
from byteproxy.interop.llama import export_llama
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.runs.load import load
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

BYTEPROXY = Path(sys.executable).parent / "byteproxy"
CONFIG = TrainConfig(
    stop="3 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64, byte_heads=3),
    shape=Shape(2, 256, 100),
    validation=Validation(0),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run whose corpus is gone, and the same model exported."""
    folder = tmp_path_factory.mktemp("runs")
    store, _ = toy_store(folder / "c")
    trainer = Trainer(replace(CONFIG, corpus=str(folder / "c")), store, folder / "run")
    trainer.run()
    export_llama(trainer.model, 100, folder / "model")
    shutil.rmtree(folder / "c")
    return folder / "run", folder / "model", trainer.model


@pytest.fixture
def byteproxy(monkeypatch, capsys):
    return in_process(monkeypatch, capsys)


@pytest.fixture
def typed(monkeypatch):
    def standard_input(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8", "surrogateescape"))

    return standard_input


def _writer(folder):
    return load(folder).writer


def test_a_run_is_the_model_that_was_trained(folders):
    run = load(folders[0])
    model, context = run.model, run.context
    own = folders[2].state_dict()
    assert context == 100
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


def test_a_run_and_its_export_write_the_same(folders, byteproxy):
    options = ("--prompt", "def ", "--max-bytes", "150", "--json")
    run, exported = (last_object(byteproxy("generate", folder, *options)) for folder in folders[:2])
    plain = last_object(byteproxy("generate", folders[0], *options, "--drafts", "none"))
    assert run["continuation"] == exported["continuation"] == plain["continuation"]
    assert run["bytes"] == plain["bytes"] > 20
    assert plain["passes"] == plain["bytes"] + (plain["ended"] == "model")
    assert run["passes"] == plain["passes"] - run["right"]["heads"]
    assert run["guessed"]["heads"] > 0 == exported["guessed"]["heads"]


def test_what_is_streamed_is_what_json_holds(folders, byteproxy):
    options = ("--prompt", "x = ", "--max-bytes", "80", "--temperature", "1", "--utf8")
    status, text, _ = byteproxy("generate", folders[0], *options)
    held = last_object(byteproxy("generate", folders[0], *options, "--json"))
    assert (status, text) == (0, held["continuation"])
    assert len(held["continuation"].encode()) == held["bytes"] > 20


def test_a_file_gets_the_very_bytes_and_so_does_json(folders, monkeypatch, capsysbinary, tmp_path):
    """Of an answer that is no UTF-8; a terminal gets it as text that steers nothing."""
    options = ("--prompt", "x = ", "--max-bytes", "200", "--temperature", "3", "--seed", "3")
    (wanted,) = _writer(folders[0]).write([b"x = "], 200, Sampling(3, seed=3))
    with pytest.raises(UnicodeDecodeError):
        wanted.text.decode()
    words = ["generate", str(folders[0]), *options]
    assert server.run(words, tmp_path, limit=GUARD_SECONDS).stdout == wanted.text
    run = in_process(monkeypatch, capsysbinary)
    assert run("generate", folders[0], *options, "--raw")[1] == wanted.text
    held = json.loads(run("generate", folders[0], *options, "--json")[1])
    assert base64.b64decode(held["bytes_base64"]) == wanted.text
    assert held["bytes"] == len(wanted.text)
    seen = on_terminal([BYTEPROXY, *words]).replace(b"\r\n", b"\n").decode()
    seen = seen.removesuffix("\x1b[0m")  # colorama's, at the end of every program that imports numba
    assert seen == escaped(wanted.text.decode("utf-8", "backslashreplace")) + "\n"


def test_a_backslash_in_a_stop_is_told(folders, byteproxy):
    _, _, said = byteproxy("generate", folders[0], "--stop", r"\ndef", "--max-bytes", "5", "--utf8")
    assert said.startswith("note: --stop \\ndef is taken as it stands, backslash and all")
    assert len(said.splitlines()) == 1
    _, _, said = byteproxy("generate", folders[0], "--stop", "\ndef", "--max-bytes", "5", "--utf8")
    assert said == ""


def test_options_reach_the_writer(folders, byteproxy):
    options = ("--prompt", "x = ", "--max-bytes", "80", "--json")
    texts = [
        last_object(byteproxy("generate", folders[0], *options, *more))["continuation"]
        for more in (
            ["--temperature", "0"],
            ["--temperature", "5", "--min-p", "1"],
            ["--temperature", "5", "--top-p", "0.0001"],
            ["--temperature", "5"],
            ["--temperature", "5", "--seed", "1"],
        )
    ]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts)) == 3
    whole = last_object(byteproxy("generate", folders[0], *options, "--temperature", "5", "--utf8"))["continuation"]
    stopped = last_object(
        byteproxy("generate", folders[0], *options, "--temperature", "5", "--utf8", "--stop", "never", whole[9:11])
    )
    assert (stopped["ended"], stopped["continuation"]) == ("stop", whole[: whole.index(whole[9:11])])


def test_weights_may_be_bfloat16(folders, byteproxy):
    """Seen where the rounding decides."""
    writers = []
    for dtype in (torch.float32, torch.bfloat16):
        model = load(folders[0]).model
        model.dtype = dtype
        writers.append(Writer(model, 100))
    for seed in range(500):
        exact, rounded = (one.write([b"x = "], 80, Sampling(0.1, seed=seed))[0].text for one in writers)
        if exact != rounded:
            break
    assert exact != rounded
    options = ("--prompt", "x = ", "--max-bytes", "80", "--temperature", "0.1", "--seed", str(seed), "--json")
    for dtype, wanted in (("float32", exact), ("bfloat16", rounded)):
        found = last_object(byteproxy("generate", folders[0], *options, "--device", "cpu", "--dtype", dtype))
        assert found["continuation"] == wanted.decode("utf-8", "backslashreplace")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="it is there")
def test_a_device_that_is_not_there_is_refused(folders, byteproxy):
    assert "which is not there" in refusal(byteproxy("generate", folders[0], "--device", "mps"))


@pytest.mark.parametrize(
    "data",
    [b"", bytes(range(256)), "def für €".encode()[:-1], b"a = 1\n" * 180_000],
    ids=["empty", "binary", "cut", "1 MB"],
)
def test_any_prompt_is_read_as_it_is(folders, byteproxy, typed, data):
    typed(data)
    held = last_object(byteproxy("generate", folders[0], "--prompt", "-", "--temperature", "0", "--json"))
    (wanted,) = _writer(folders[0]).write([data], 300)
    assert held["continuation"] == wanted.text.decode("utf-8", "backslashreplace")
    assert held["bytes"] == len(wanted.text)


def test_a_session_goes_on_with_the_text_so_far(folders, byteproxy, typed):
    typed(b"def f\n\n")
    status, text, _ = byteproxy("generate", folders[0], "--interactive", "--max-bytes", "20", "--temperature", "0")
    writer = _writer(folders[0])
    (first,) = writer.write([b"def f\n"], 20)
    (second,) = writer.write([b"def f\n" + first.text], 20)
    assert status == 0
    for one in (first, second):
        assert f"{one.text.decode('utf-8', 'backslashreplace')}\n[{len(one.text)} bytes, " in text
    assert text.count(" bytes/s, ") == text.count(" bytes a pass]") == 2


def test_a_closed_pipe_is_no_traceback(folders):
    command = f"{BYTEPROXY} generate {folders[0]} --prompt x --max-bytes 400 | head -c 20"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=GUARD_SECONDS)
    assert len(done.stdout) == 20
    assert b"Traceback" not in done.stderr


def test_what_cannot_write_is_refused(folders, byteproxy, tmp_path):
    assert "holds no model" in refusal(byteproxy("generate", tmp_path / "absent"))
    run = shutil.copytree(folders[0], tmp_path / "run")
    (checkpoint,) = (run / "checkpoints").iterdir()
    for name in (".metadata", next(path.name for path in checkpoint.glob("*.distcp"))):
        shutil.copytree(checkpoint, tmp_path / "kept", dirs_exist_ok=True)
        (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:100])
        assert "cannot be read" in refusal(byteproxy("generate", run))
        shutil.copytree(tmp_path / "kept", checkpoint, dirs_exist_ok=True)
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint yet" in refusal(byteproxy("generate", run))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--temperature", "-1"], "temperature is -1"),
        (["--top-p", "0"], "top-p is 0"),
        (["--min-p", "2"], "min-p is 2"),
        (["--max-bytes", "-1"], "cannot write -1 bytes"),
        (["--stop", ""], "stop string is empty"),
        (["--interactive", "--json"], "leave --json"),
        (["--interactive", "--raw"], "leave --json, --raw"),
        (["--raw", "--json"], "give one of them"),
        (["--view", "bpe-300", "--dtype", "bfloat16"], "leave --dtype"),
    ],
)
def test_wrong_options_are_refused(folders, byteproxy, options, says):
    assert says in refusal(byteproxy("generate", folders[0], *options))


def test_a_run_writes_a_view_while_its_corpus_is_there(byteproxy, tmp_path):
    store, _ = toy_store(tmp_path / "c")
    Trainer(replace(CONFIG, corpus=str(tmp_path / "c")), store, tmp_path / "run").run()
    command = ("generate", tmp_path / "run", "--prompt", "def f", "--view", "bpe-300", "--max-bytes", "20")
    told = {}
    for task in ("translate", "continue"):
        found = last_object(byteproxy(*command, "--task", task, "--temperature", "0", "--json"))
        assert found["text"] == store.view("bpe-300").decode(np.array(found["symbols"])).decode(
            "utf-8", "backslashreplace"
        )
        assert found["strings"] is None
        told[task] = found["symbols"]
    assert told["translate"] != told["continue"]
    assert "leave them out" in refusal(byteproxy(*command, "--stop", "x"))
    assert "no view 'bpe'" in refusal(byteproxy(*command[:4], "--view", "bpe"))
    manifest = tmp_path / "c" / "manifest.json"
    told = manifest.read_text()
    manifest.write_text(told.replace(store.manifest.view("bpe-300").fingerprint, "0" * 64))
    assert "another" in refusal(byteproxy(*command))
    manifest.write_text(told)
    shutil.rmtree(tmp_path / "c")
    assert "c" in refusal(byteproxy(*command))
