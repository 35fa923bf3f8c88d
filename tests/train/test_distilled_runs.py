"""Runs that distil: resumed, in micro-batches, with either form, and what can't teach."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from tests.toy_corpus import toy_documents
from tests.train.toy_run import CONFIG, losses, same, weights

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.objective import Objective
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.trainer import Trainer
from byteproxy.views.chunks import ChunksView

DISTILLING = replace(
    CONFIG,
    stop="6 steps",
    objective=Objective(distill=0.5),
    mixture=Mixture(phases=(Phase(0.5, "parallel", 0.5), Phase(0.5, "one", 0.9))),
    shape=Shape(2, 512, 100),
)


def test_a_run_that_distils_resumes_bit_for_bit_and_tells_of_student_and_teacher(store, tmp_path):
    whole = Trainer(DISTILLING, store, tmp_path / "whole")
    whole.run()

    def stop_after_two(done, total, note):
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 2"):
        Trainer(DISTILLING, store, tmp_path / "stopped").run(progress=stop_after_two)
    resumed = Trainer(replace(DISTILLING, micro_sequences=1), store, tmp_path / "stopped")
    assert resumed.averages.columns[-2:] == ["distilled", "teacher"]
    Trainer(DISTILLING, store, tmp_path / "stopped").run()
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    lines = read(tmp_path / "whole" / "metrics.jsonl")
    shown = [line["losses"].get("raw", {}) for line in lines if "losses" in line]
    assert all({"distilled", "teacher"} <= set(one) for one in shown[:3])
    assert not {"distilled", "teacher"} & set(shown[-1])
    assert shown[0]["distilled"] == pytest.approx(np.log(320), rel=1e-4)  # as nothing is known yet
    plain = Trainer(replace(DISTILLING, objective=Objective()), store, tmp_path / "plain")
    plain.run()
    assert not same(weights(plain), weights(whole))
    with pytest.raises(InputError, match=r"objective.distill is 0.5 there and 0.0 here"):
        Trainer(replace(DISTILLING, objective=Objective()), store, tmp_path / "whole")


def test_what_is_distilled_does_not_depend_on_micro_batches(store, tmp_path):
    """Only what stands in one row is."""
    found = []
    for name, rows in (("one", 1), ("both", 0)):
        trainer = Trainer(replace(DISTILLING, stop="2 steps", micro_sequences=rows), store, tmp_path / name)
        trainer.run()
        found.append(read(tmp_path / name / "metrics.jsonl")[0]["losses"]["raw"])
    assert found[0]["distilled"] == pytest.approx(found[1]["distilled"], rel=1e-4)
    assert found[0]["teacher"] == pytest.approx(found[1]["teacher"], rel=1e-4)


def test_causal_teachers_say_what_they_leave_out(store, tmp_path):
    config = replace(DISTILLING, stop="2 steps", model=replace(DISTILLING.model, byte_heads=2), dtype="bfloat16")
    causally = {"distill": 0.5, "distill_form": "causal"}
    kinds = {"causal": causally, "light": {**causally, "distill_threshold": 0.5}, "segmented": {"distill": 0.5}}
    for name, told in kinds.items():
        Trainer(replace(config, objective=Objective(**told)), store, tmp_path / name).run()
    causal, light, segmented = (read(tmp_path / name / "metrics.jsonl")[0]["losses"]["raw"] for name in kinds)
    assert 0 < causal["left_out"] < light["left_out"] < 1
    assert "left_out" not in segmented
    assert causal["teacher"] != segmented["teacher"]
    assert causal["byte_1"] == segmented["byte_1"]


def test_a_mixture_that_never_shows_both_forms_apart_distils_nothing():
    for mixture, wrong in ((CONFIG.mixture, "parallel"), (replace(DISTILLING.mixture, packing="whole"), "fill")):
        with pytest.raises(InputError, match=rf'"{wrong}", or objective.distill'):
            replace(DISTILLING, mixture=mixture)


def test_a_view_whose_symbols_spell_no_text_can_not_teach(tmp_path):
    documents = toy_documents()
    prepare_documents(documents, tmp_path / "corpus", SplitOptions(0.1, 0.2))
    add_view(tmp_path / "corpus", ChunksView(4), spec="chunks:4")
    with pytest.raises(InputError, match=r"'chunks-4' don't: take one such as bpe"):
        Trainer(replace(DISTILLING, views=("chunks-4",)), Store.open(tmp_path / "corpus"), tmp_path / "run")
