"""A conversion that trains a few weights beside the model's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.convert.tiny import RECIPE, conversion

from byteproxy.convert.run_conversion import run_conversion
from byteproxy.interop.llama import load_llama
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.lora_config import LoraConfig
from byteproxy.runs.load import load
from byteproxy.train.checkpoint import Reader, newest
from byteproxy.train.optim_config import OptimConfig

LORA = LoraConfig(4, matrices=("q_proj", "v_proj", "down_proj"))
OPTIM = OptimConfig("adamw", learning_rate=1e-2, new_rows_share=0.25, new_rows_rate=2.0)


@pytest.fixture(scope="module")
def finished(model, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("lora") / "out"
    recipe = replace(RECIPE, run=replace(RECIPE.run, lora=LORA, optim=OPTIM))
    return out, run_conversion(conversion(model, text, recipe), out)


def test_it_learns_bytes(finished):
    _, results = finished
    assert results["after"]["raw_bpb"] < results["before"]["raw_bpb"]


def test_its_export_is_stock_and_what_has_no_factors_is_the_models_own(finished, model):
    out, _ = finished
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    begun_with, exported, run = load_llama(model)[0], load(out / "model"), load(out / "run")
    own, now = begun_with.state_dict(), exported.model.state_dict()
    for name in (name for name in own if name.startswith(("layers.", "norm."))):
        assert torch.equal(own[name], now[name]) != (name.split(".")[-2] in LORA.matrices), name
    ids = torch.tensor([12, *(64 + byte for byte in b"def path_name(")])
    with torch.no_grad():
        hidden = run.model.hidden(ids, layout_of(np.array([len(ids)])))
        ours = run.model.lm_head.logits(hidden, torch.arange(320))
        torch.testing.assert_close(ours, theirs(ids[None]).logits[0], rtol=1e-4, atol=1e-4)
    for engine in ("auto", "torch"):
        texts = load(out / "run", engine=engine).generate("def path_name(", 20)
        assert texts[0].text == exported.generate("def path_name(", 20)[0].text


def test_only_what_learned_has_moments(finished):
    out, _ = finished
    found = Reader(newest(out / "run/checkpoints")).read_metadata().state_dict_metadata
    moments = {name.removeprefix("optimizers.state.").rpartition(".")[0] for name in found if "optimizers" in name}
    assert moments
    assert "byte_heads.weight" in moments
    assert all(name.endswith(".new_rows") or ".lora_" in name for name in moments - {"byte_heads.weight"})
