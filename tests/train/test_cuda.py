"""What a GPU trains is what a CPU trains, up to rounding: every kind of input and target, and their scoring."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_documents

from byteproxy.evaluate.bpb import view_bpb
from byteproxy.generate.score import score
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.train.metrics import read
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

STEPS = 6
CONFIG = TrainConfig(
    stop=f"{STEPS} steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=64, layers=2, heads=2, ffn=128),
    mixture=Mixture(phases=(Phase(0.5, "pairs", 0.4, 0.9), Phase(0.5, "one", 0.5))),
    shape=Shape(4, 256, 100),
    log_every=1,
)
APART = Mixture(phases=(Phase(1.0, "parallel", 0.5),))
NGRAMS = {"ngrams": (2, 3), "ngram_rows": 512, "ngram_outputs": True}
KINDS = {
    "bytes": replace(CONFIG, views=(), mixture=BYTES),
    "symbols": CONFIG,
    "shared": replace(CONFIG, model=replace(CONFIG.model, softmax="shared")),
    "heads": replace(
        CONFIG, model=replace(CONFIG.model, byte_heads=4, symbol_heads=2), objective=Objective(symbols=1.0, bytes=0.5)
    ),
    "bag": replace(CONFIG, model=replace(CONFIG.model, inputs="mean"), objective=Objective(symbols=0.0, bag=1.0)),
    "distilled": replace(CONFIG, mixture=APART, objective=Objective(distill=1.0)),
    "causal": replace(CONFIG, mixture=APART, objective=Objective(distill=1.0, distill_form="causal")),
    "spelled": replace(
        CONFIG,
        model=replace(CONFIG.model, inputs="last", rope_positions="bytes", **NGRAMS),
        objective=Objective(symbols=0.0, symbol_bytes=1.0),
    ),
}


def trained(config, store, folder):
    trainer = Trainer(config, store, folder)
    trainer.run()
    return trainer, [line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("bfloat16", 3e-2)])
def test_losses_and_scores_are_those_of_a_cpu(store, tmp_path, kind, dtype, tolerance):
    config = KINDS[kind]
    there, mine = trained(replace(config, device="cuda", dtype=dtype), store, tmp_path / "there")
    here, wanted = trained(replace(config, device="cpu"), store, tmp_path / "here")
    assert len(mine) == STEPS
    np.testing.assert_allclose(mine, wanted, rtol=tolerance)
    assert there.counters.flops == here.counters.flops
    texts = [document.text for document in toy_documents(4, seed=9)]
    here.model.load_state_dict({name: one.cpu() for name, one in there.model.state_dict().items()})
    vocab = here.stream.vocab
    scores = [score(trainer.model, texts, 100, 50).bits for trainer in (there, here)]
    np.testing.assert_allclose(*scores, rtol=tolerance)
    if config.views and config.objective.symbols:
        view = store.view("bpe-300")
        scores = [view_bpb(trainer.model, vocab, 1, view, texts, 100, 50).bits for trainer in (there, here)]
        np.testing.assert_allclose(*scores, rtol=tolerance)


@pytest.mark.parametrize("kind", ["symbols", "spelled"])
def test_a_compiled_run_has_the_same_losses(store, tmp_path, kind):
    config = replace(KINDS[kind], device="cuda", dtype="bfloat16")
    _, plain = trained(config, store, tmp_path / "plain")
    trainer, compiled = trained(replace(config, compile=True), store, tmp_path / "compiled")
    assert trainer.model.compiled_for, trainer.passes.why_not_compiled
    np.testing.assert_allclose(compiled, plain, rtol=3e-2)


def test_a_stopped_run_goes_on(store, tmp_path):
    config = replace(KINDS["spelled"], device="cuda", dtype="bfloat16")
    first = Trainer(config, store, tmp_path / "stopped")
    for _ in range(STEPS // 2):
        first.step()
    first.save()
    _, rest = trained(config, store, tmp_path / "stopped")
    _, whole = trained(config, store, tmp_path / "whole")
    assert len(rest) == STEPS - STEPS // 2
    np.testing.assert_allclose(
        rest[1:], whole[-len(rest) + 1 :], rtol=2e-2
    )  # the first line has the steps before it, too
