"""What scaffolding leaves in a finished run: a stock model where it went away, one that keeps its tokens where not."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store
from tests.train.test_scaffolding import FADING, NGRAMS, PLAIN, STAYING

from byteproxy.convert.conversion import ConvertRecipe
from byteproxy.errors import InputError
from byteproxy.generate.score import score
from byteproxy.mixture.fading import Fading
from byteproxy.model.attention.layout import layout_of
from byteproxy.runs.load import load
from byteproxy.train.scaffolding import Scaffolding
from byteproxy.train.trainer import Trainer
from byteproxy.vocab import byte_ids, opening

TEXT = b"def path_name(value):\n    return path_value\n"
IDS = torch.from_numpy(np.concatenate(([opening(0)], byte_ids(TEXT))))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs to their end, and one that stopped while its n-grams still counted; the corpus is gone."""
    folder = tmp_path_factory.mktemp("runs")
    store = toy_store(folder / "corpus")[0]
    found = {}
    for name, config in {"fading": FADING, "staying": STAYING, "ngrams": NGRAMS, "early": NGRAMS}.items():
        found[name] = Trainer(replace(config, corpus=str(folder / "corpus")), store, folder / name)
        if name == "early":
            for _ in range(6):
                found[name].step()
            found[name].save()
        else:
            found[name].run()
        found[name].model.eval()
    shutil.rmtree(folder / "corpus")
    return found


@torch.no_grad()
def logits(model):
    return model.lm_head.logits(model.hidden(IDS, layout_of(np.array([len(IDS)]))), torch.arange(320))


@pytest.mark.parametrize("name", ["fading", "ngrams"])
def test_the_stock_export_says_what_the_run_says(trained, tmp_path, name):
    transformers = pytest.importorskip("transformers")
    run = trained[name]
    figures = load(run.folder).export(tmp_path / "out")
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    with torch.no_grad():
        found = stock(IDS[None]).logits[0]
    torch.testing.assert_close(found, logits(run.model), rtol=0, atol=1e-4)
    assert figures["parameters"] == sum(one.numel() for one in stock.parameters()) == PLAIN.model.raw_parameters()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_a_model_whose_ngrams_are_gone_writes_what_it_writes_without_them(trained):
    assert load(trained["ngrams"].folder).generate(b"def ", 20) == load(
        trained["ngrams"].folder, engine="torch"
    ).generate(b"def ", 20)


def test_while_ngrams_fade_a_model_reads_them_by_their_scale_and_is_no_stock_one(trained, tmp_path):
    run = trained["early"]
    model = load(run.folder).model
    torch.testing.assert_close(logits(model), logits(run.model))
    assert model.config.ngrams == (2, 3)
    with pytest.raises(InputError, match=r"after 6 of 12 steps .* scaled by 0\.5: train on to step 9, where they"):
        load(run.folder).export(tmp_path / "out")


def test_a_model_whose_hints_stay_keeps_its_tokens_scores_and_does_nothing_else(trained, tmp_path):
    run = trained["staying"]
    found = load(run.folder)
    torch.testing.assert_close(logits(found.model), logits(run.model))
    hinted = found.score(TEXT).bpb
    assert hinted == pytest.approx(score(run.model, [TEXT], 100).bpb, abs=1e-5)
    with pytest.raises(InputError, match="can't write; train one whose"):
        found.generate(b"def ", 5)
    with pytest.raises(InputError, match="no stock architecture does, so it can't be exported"):
        found.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found.model.hints = None
    assert found.score(TEXT).bpb != pytest.approx(hinted, abs=1e-3)


def test_a_conversion_refuses_hints_that_stay():
    with pytest.raises(InputError, match=r"run\.scaffolding\.hints stay"):
        ConvertRecipe(run=STAYING_RECIPE)
    ConvertRecipe(
        run=replace(
            STAYING_RECIPE, scaffolding=Scaffolding(replace(STAYING.scaffolding.hints, scale=Fading(1.0, 0.0, 1.0)))
        )
    )


STAYING_RECIPE = replace(STAYING, views=())
