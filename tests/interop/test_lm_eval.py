"""lm-eval's ordinary `hf` backend on an export, against our own model under lm-eval's rule."""

import json
import math

import numpy as np
import pytest
import torch

from byteproxy.interop.export_folder import write_folder
from byteproxy.interop.llama import stock_files
from byteproxy.interop.tokenizer import tokenizer_files
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer

lm_eval = pytest.importorskip("lm_eval")

CONTEXT = 64
TEXTS = ["def f(x):\n    return x\n", "a literal <raw> and \u00e9\u20ac\U0001f600 " * 9, "x" * (2 * CONTEXT + 1), "y"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=32, layers=2, heads=2, ffn=64), 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return model


@pytest.fixture(scope="module")
def bits_per_byte(model, tmp_path_factory):
    """What lm-eval says of TEXTS, as its command line would."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    folder = tmp_path_factory.mktemp("lm_eval")
    write_folder(folder / "out", stock_files(model, CONTEXT) | tokenizer_files(CONTEXT))
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        task = ConfigurableTask(
            config={
                "task": "texts",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
                "test_split": "test",
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "{{text}}",
                "metric_list": [{"metric": "bits_per_byte"}],
            }
        )
        backend = HFLM(pretrained=str(folder / "out"), device="cpu", dtype="float32", add_bos_token=False)
        results = lm_eval.evaluate(backend, {"texts": task}, bootstrap_iters=0)
    return results["results"]["texts"]["bits_per_byte,none"]


def ours(model):
    """One `<raw>` before a text; windows of a position more than the context, each reading on from the byte before."""
    bits, count = 0.0, 0
    for text in TEXTS:
        symbols = torch.tensor([12, *(64 + byte for byte in text.encode())])
        for begin in range(0, len(symbols) - 1, CONTEXT + 1):
            window = symbols[begin : begin + CONTEXT + 2]
            with torch.no_grad():
                hidden = model.hidden(window[:-1], layout_of(np.array([len(window) - 1])))
                logits = hidden @ model.lm_head.weight.T
            bits += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item() / math.log(2)
        count += len(text.encode())
    return bits / count


def test_its_bits_per_byte_are_ours_under_its_rule(model, bits_per_byte):
    assert ours(model) > 1
    assert bits_per_byte == pytest.approx(ours(model), abs=1e-3)
