"""What a run is said to need is what it takes."""

import ctypes
import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective
from byteproxy.train.memory import PROCESS_BYTES, min_parameters, peak_bytes, step_bytes
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

CONFIG = TrainConfig(
    stop="2 steps",
    compile=False,
    dtype="float32",
    device="cpu",
    views=("bpe-300",),
    model=ModelConfig(width=1024, layers=2, heads=8, ffn=2048),
    shape=Shape(1, 256, 100),
    optim=OptimConfig(optimizer="adamw"),
)


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def grown_by(work, first):
    """The bytes by which a forked process grows at its peak, and what its work gives; first: imports and such."""
    hears, tells = os.pipe()
    if not (child := os.fork()):
        try:
            torch.set_num_threads(1)
            first()
            _give_back()
            before = resident_bytes()
            found = work()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            os.write(tells, json.dumps([peak - before, found]).encode())
        finally:
            os._exit(0)
    os.close(tells)
    with os.fdopen(hears) as heard:
        said = heard.read()
    os.waitpid(child, 0)
    return json.loads(said)


def _give_back():
    """Give the system what earlier tests of this process freed and glibc kept: it would be used first, uncounted."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    with suppress(OSError):  # of a system that has no such file
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, too


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_steps_take_what_was_said(store, tmp_path):
    def work(config=CONFIG):
        trainer = Trainer(config, store, tmp_path)
        trainer.step()
        trainer.step()
        return sum(parameter.numel() for parameter in trainer.model.parameters())

    small = replace(CONFIG, model=ModelConfig(width=32, layers=1, heads=2, ffn=64))
    grown, parameters = grown_by(work, lambda: work(small))
    symbols = 320 + store.manifest.view("bpe-300").alphabet_size
    assert min_parameters(CONFIG, symbols) == parameters
    assert step_bytes(CONFIG, parameters, symbols) == pytest.approx(grown, rel=0.15)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_moments_in_bfloat16_take_half(store, tmp_path, optimizer):
    small = replace(CONFIG, model=ModelConfig(width=32, layers=1, heads=2, ffn=64), optim=OptimConfig(optimizer))
    trainer = Trainer(small, store, tmp_path)
    trainer.step()
    taken = sum(tensor.nbytes for state in trainer.update.optimizers[-1].state.values() for tensor in state.values())
    taken -= 4 * len(trainer.update.optimizers[-1].state)  # the steps that each counts
    half = replace(small, optim=replace(small.optim, states="bfloat16"))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    assert step_bytes(small, parameters, 400) - step_bytes(half, parameters, 400) == taken // 2


def test_what_is_computed_again_is_kept_of_one_layer():
    def bytes_of(checkpointing, layers=2):
        model = replace(CONFIG.model, layers=layers)
        run = replace(CONFIG, activation_checkpointing=checkpointing, model=model)
        return step_bytes(run, min_parameters(run, 400), 400)

    saved = bytes_of("none") - bytes_of("attention")
    assert saved == 4 * 256 * (4 * 1024)
    a_layer = {name: bytes_of(name, 3) - bytes_of(name) for name in ("none", "full")}
    assert a_layer["none"] - a_layer["full"] == 4 * 256 * (2 * 1024 + 4 * 1024 + 3 * 2048)


def test_keys_and_values_that_branches_read_count():
    run = replace(CONFIG, mixture=Mixture(phases=(Phase(1.0, "parallel", 0.5),)), objective=Objective(distill=1.0))
    causal = replace(run, objective=replace(run.objective, distill_form="causal"))
    parameters = min_parameters(run, 400)
    more = step_bytes(causal, parameters, 400) - step_bytes(run, parameters, 400)
    assert more == 2 * 2 * 1024 * 4 * 256 // 2


def test_the_process_counts_and_so_do_the_logits():
    symbols = 320 + 49173
    smollm2 = ModelConfig(width=576, layers=30, heads=9, key_value_heads=3, ffn=1536)
    run = replace(CONFIG, dtype="bfloat16", model=smollm2, shape=Shape(1, 1024, 512))
    parameters = min_parameters(run, symbols)
    assert peak_bytes(run, parameters, symbols) == PROCESS_BYTES + step_bytes(run, parameters, symbols)
    without = step_bytes(run, parameters, 0)
    assert step_bytes(run, parameters, symbols) - without == 2 * symbols * (1024 + 576)
    assert peak_bytes(run, parameters, symbols) == pytest.approx(4.47e9, rel=0.15)  # as a conversion was seen to take


def test_a_frozen_teacher_counts():
    symbols, distilling = 999, Objective(distill=1.0)
    run = replace(CONFIG, objective=distilling, mixture=Mixture(phases=(Phase(1.0, "parallel", 0.5),)))
    frozen = replace(run, objective=replace(distilling, distill_teacher="frozen"))
    teacher, table = Transformer(CONFIG.model, symbols), symbols * CONFIG.model.width
    held = sum(parameter.numel() for parameter in teacher.parameters())
    for dtype, item in (("float32", 4), ("bfloat16", 2)):
        plain, more = (step_bytes(replace(one, dtype=dtype), 10**6, symbols) for one in (run, frozen))
        assert more - plain == item * (held + table)
    adapted, shared = (step_bytes(replace(one, lora=LoraConfig(2)), 10**6, symbols) for one in (run, frozen))
    assert shared - adapted == 4 * table, "it is what stays of the model itself"
