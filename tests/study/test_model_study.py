"""A study whose arms begin with a published model: a tiny one of tokens, on text that it hasn't seen."""

import html
import json
import shutil
from pathlib import Path

import pytest
from tests.study.toys import recipe

from byteproxy.checksummed import read_checksummed
from byteproxy.errors import InputError
from byteproxy.interop.published import published
from byteproxy.model.model_config import ModelConfig
from byteproxy.report.build_page import build_page
from byteproxy.report.study_page import study_page
from byteproxy.study.fairness import check_contexts, check_tricks, check_unseen, why_seen
from byteproxy.study.queue import Queue
from byteproxy.study.start_model import as_noted, bound, known_model, taken
from byteproxy.study.study import Limits, report_study, run_study
from byteproxy.train.run_config import read_run_config

BYTES = {"role": "bytes", "start": "model", "run": {"mixture": {"preset": "bytes"}}}
ARMS = {
    "bytes": BYTES,
    "joint": {"role": "proxy", "start": "model", "run": {"mixture": {"phases": [{"rate": 0.3}]}}},
    "tokens": {"role": "tokenizer", "start": "model", "run": {"mixture": {"preset": "symbols"}}},
    "scratch": {"role": "bytes", "run": {"mixture": {"preset": "bytes"}}},
}
FLOPS = 1e9


def study(folder, where, text, **changes):
    values = {
        **{"run__model": {"byte_heads": 1}, "run__optim__learning_rate": 1e-3, "trials": None, "seeds": [0]},
        **{"flops": [FLOPS], "arms": ARMS, "keep_models": False, "scoring__robust_bytes": 400},
        **{"model": {"path": str(where), "published": "2024-11-02", "marginal_bytes": 60}},
        **{"corpus": {"sources": [str(text)], "validation": 0.1, "test": 0.2, "published": "2026-01-01"}},
        "claims": [{"name": "it keeps tokens", "arms": ["bytes", "joint", "tokens"], "against": ["bytes"]}],
    }
    return recipe(folder, **{**values, **changes})


@pytest.fixture(scope="module")
def finished(model, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    return out, run_study(study(out.parent, model, text), "toy", out)


@pytest.fixture
def copied(finished, tmp_path):
    """The finished study in a folder of its own; its runs know the corpus by where it was."""
    return shutil.copytree(finished[0], tmp_path / "run")


def test_every_arm_is_scored_and_tokens_are_beside(finished):
    _, results = finished
    assert results["queue"] == {"done": 4, "left": 0, "failed": []}
    assert {name: arm["raw_bpb"]["split"] for name, arm in results["arms"].items()} == {
        **dict.fromkeys(("bytes", "joint", "tokens"), "test"),
        "scratch": "validation",
    }
    assert set(results["token_bpb_after"]) == {"bytes", "joint", "tokens"}
    assert results["arms"]["scratch"]["token_bpb"] is None
    tokens = {name: one["mean"] for name, one in results["token_bpb_after"].items()}
    assert tokens["tokens"] == results["arms"]["tokens"]["raw_bpb"]["mean"]
    assert tokens["tokens"] < tokens["joint"] < tokens["bytes"], "who sees no tokens forgets them"
    assert all(arm["flops"] == pytest.approx(FLOPS, rel=0.01) for arm in results["arms"].values())
    cells = [cell for cell in results["cells"] if cell["arm"] == "joint"]
    assert [cell["split"] for cell in cells] == ["test", "validation"]
    assert cells[0]["token_bpb"] == tokens["joint"]


def test_references_train_nothing_and_stand_beside(finished):
    _, results = finished
    found = {(one["name"], one["split"]): one for one in results["references"]}
    assert set(found) == {*((name, split) for name in ("tokens", "raw") for split in ("test", "validation"))} | {
        ("marginals", "validation")
    }
    assert found["raw", "test"]["bpb"] > results["arms"]["bytes"]["raw_bpb"]["mean"]
    assert 0 < results["curve_text"]["tokens"] < found["raw", "validation"]["bpb"]
    assert found["tokens", "test"]["bytes"] == results["scored"]["test"]["bytes"]
    marginals = found["marginals", "validation"]
    assert marginals["bytes"] == 60
    assert marginals["least"] <= marginals["bpb"] <= marginals["most"]
    assert marginals["most"] <= marginals["tokens"] + 1e-9, "the tokenizer's own way is one of all"
    kept = next(
        one
        for one in results["token_differences"]
        if (one["arm"], one["against"], one["split"]) == ("joint", "model", "test")
    )
    assert kept["means"][1] == pytest.approx(found["tokens", "test"]["bpb"])
    assert kept["bpb"] == pytest.approx(kept["means"][0] - kept["means"][1])
    assert kept["documents"]["low"] <= kept["bpb"] <= kept["documents"]["high"]


def test_shape_and_tokenizer_are_the_models(finished, model):
    out, results = finished
    shape = published(Path(model)).stock.shape
    for name in ARMS:
        config = read_run_config(out / "runs" / f"final-{name}-small-1e+09-seed0")
        assert (config.model.width, config.model.layers, config.model.ffn) == (shape.width, shape.layers, shape.ffn)
        assert bool(config.start.path) == (name != "scratch")
        assert config.views == ((known_model(out).view,) if name != "scratch" else ())
    assert results["model"]["arms"] == ["bytes", "joint", "tokens"]
    assert results["model"]["license"] == "mit"


def test_no_model_stays_and_test_scores_are_sealed_until_their_claim(finished):
    out, _ = finished
    assert not list(out.glob("runs/*/checkpoints"))
    assert sum(path.stat().st_size for path in out.glob("runs/*/*")) < 400_000
    assert [path.parent.name for path in out.glob("runs/*/sealed.json")] == ["final-scratch-small-1e+09-seed0"]
    sealed = read_checksummed(out / "runs/final-scratch-small-1e+09-seed0/sealed.json")
    assert set(sealed) == {"made_with", "sealed"}
    assert "bpb" not in sealed["sealed"]


def test_sealed_scores_are_those_of_a_model_that_was_kept(finished, model, text, tmp_path):
    """Which is scored when the claim is opened."""
    few = {name: ARMS[name] for name in ("bytes", "joint")}
    claims = [{"name": "later", "arms": ["bytes", "joint"], "against": ["bytes"]}]
    kept = study(tmp_path, model, text, arms=few, claims=claims, keep_models=True, model__marginal_bytes=0)
    results = run_study(kept, "toy", tmp_path / "run")
    assert len(list((tmp_path / "run").glob("runs/*/checkpoints/*"))) == 2
    for name in few:
        for what in ("raw_bpb", "token_bpb"):
            assert results["arms"][name][what]["mean"] == pytest.approx(
                finished[1]["arms"][name][what]["mean"], abs=1e-6
            )


def test_what_is_claimed_later_is_opened_later(copied, model, text):
    before = json.loads((copied / "results.json").read_text())
    claims = [{"name": "scratch", "arms": ["scratch", "bytes"], "against": ["bytes"]}]
    results = run_study(study(copied.parent, model, text, claims=claims), "toy", copied)
    assert results["arms"]["scratch"]["raw_bpb"]["split"] == "test"
    assert results["arms"]["bytes"]["raw_bpb"] == before["arms"]["bytes"]["raw_bpb"]
    assert [line["claim"] for line in results["opened"]] == ["it keeps tokens", "scratch"]
    assert not list(copied.glob("runs/*/sealed.json"))


def test_other_test_text_takes_another_training(copied, model, text):
    """No figure of text that was never scored is made up, and the runs that lack one are named."""
    claims = [{"name": "scratch", "arms": ["scratch", "bytes"], "against": ["bytes"]}]
    results = run_study(study(copied.parent, model, text, claims=claims, scoring__test_bytes=500), "toy", copied)
    assert [one["key"] for one in results["queue"]["failed"]] == [
        "final-scratch-small-1e+09-seed0",
        "final-bytes-small-1e+09-seed0",
    ] or len(results["queue"]["failed"]) == 2
    assert "delete its folder" in results["queue"]["failed"][0]["why"]


def test_kinds_of_text_add_up(finished):
    _, results = finished
    kinds = [one for one in results["kinds_of_text"] if one["arm"] == "joint"]
    assert {one["language"] for one in kinds} == {"python", "markdown"}
    total = sum(one["bytes"] for one in kinds)
    assert total == results["scored"]["test"]["bytes"]
    for what, mean in (("bpb", "raw_bpb"), ("token_bpb", "token_bpb")):
        bits = sum(one[what] * one["bytes"] for one in kinds)
        assert bits / total == pytest.approx(results["arms"]["joint"][mean]["mean"])
    assert all(one["token_bpb_before"] > 0 for one in kinds)


def test_typing_errors_and_cut_prompts_are_the_same_for_all(finished):
    _, results = finished
    found = {(one["arm"], one["form"]): one for one in results["robustness"]}
    assert set(found) == {
        *((arm, form) for arm in (None, "bytes", "joint") for form in ("raw", "tokens")),
        *(("tokens", "tokens"), ("scratch", "raw")),
    }
    assert len({(one["errors"], one["prompts"], one["bytes"]) for one in found.values()}) == 1
    assert found[None, "raw"]["prompts"] > 0
    assert all(one["mistyped_bpb"] > 0 < one["cut_bpb"] for one in found.values())


def test_the_page_and_the_verdict_say_it(finished):
    _, results = finished
    page = study_page(results)
    assert "The model that arms begin with" in page
    assert "the ceiling" in page
    assert "Read it with care" not in page
    assert "The model's own tokens cost" in results["verdict"]
    assert results["claims"] == [
        {"name": "it keeps tokens", "arms": ["bytes", "joint", "tokens"], "against": ["bytes"]}
    ]
    assert "</i>tokens*</th>" in page, "bits of symbols are marked in each table"
    assert "</i>tokens</th>" not in page
    assert "and the model's own tokens before on the same text" in html.unescape(page)
    assert f"own tokens {results['curve_text']['tokens']:.2f}" in page
    assert study_page({**results, "model": {"may_have_seen": 3, "arms": 4}, "references": [{}]})


def test_results_are_written_again_without_the_model(copied, model, text, monkeypatch):
    kept = json.loads((copied / "results.json").read_text())
    results = report_study(study(copied.parent, "", text), "toy", copied)
    for what in ("arms", "references", "token_differences", "kinds_of_text", "verdict"):
        assert results[what] == kept[what]
    monkeypatch.chdir(copied)
    assert build_page([Path()]).figures["token_bpb_after"] == kept["token_bpb_after"]


def test_a_model_that_was_moved_is_the_same_and_another_is_refused(copied, model, text, tmp_path):
    moved = shutil.copytree(model, tmp_path / "moved")
    known = taken(study(tmp_path, moved, text), copied)
    assert known.source.path == str(moved)
    queue = Queue(bound(study(tmp_path, moved, text), known, copied), _store(copied), copied)
    assert all(queue.result(key) for key in queue.keys)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rope_theta": 20_000.0}))
    with pytest.raises(InputError, match="another model"):
        taken(study(tmp_path, moved, text), copied)


def _store(out):
    from byteproxy.store.store import Store

    return Store.open(out / "corpus")


def test_how_byte_rows_begin_is_part_of_an_arm(model, text, tmp_path):
    own = {**BYTES, "run": {**BYTES["run"], "start": {"byte_rows": "first_byte"}}}
    asked = study(tmp_path, model, text, arms={**ARMS, "other": own})
    known = taken(asked, tmp_path)
    found = bound(asked, known, tmp_path)
    assert found.config("other", "small").start == known.source.start.__class__(
        **{**known.source.start.__dict__, "byte_rows": "first_byte"}
    )
    check_tricks(found)
    control = study(tmp_path, model, text, arms={**ARMS, "other": {**own, "role": "control"}})
    check_tricks(bound(control, known, tmp_path))
    proxy = {**ARMS["joint"], "run": {**ARMS["joint"]["run"], "start": {"byte_rows": "random"}}}
    unfair = bound(study(tmp_path, model, text, arms={**ARMS, "joint": proxy}), known, tmp_path)
    with pytest.raises(InputError, match=r"arm joint has start\.byte_rows"):
        check_tricks(unfair)
    alone = {"scratch": ARMS["scratch"], "joint": ARMS["joint"]}
    with pytest.raises(InputError, match="arm joint has start"):
        check_tricks(bound(study(tmp_path, model, text, arms=alone, claims=[]), known, tmp_path))


def test_an_arm_from_scratch_may_have_a_shape_of_its_own(model, text, tmp_path):
    own = {**ARMS["scratch"], "run": {**ARMS["scratch"]["run"], "model": {"width": 24, "heads": 2}}}
    asked = study(tmp_path, model, text, arms={**ARMS, "little": own})
    found = bound(asked, taken(asked, tmp_path), tmp_path)
    assert found.config("little", "small").model == ModelConfig(width=24, heads=2)
    assert found.config("scratch", "small").model == found.config("bytes", "small").model
    begun = {**ARMS["bytes"], "run": {**ARMS["bytes"]["run"], "model": {"width": 24}}}
    with pytest.raises(InputError, match=r"arms\.other\.run\.model\.width: the study's model decides that"):
        taken(study(tmp_path, model, text, arms={**ARMS, "other": begun}), tmp_path)


def test_contexts_are_equal_in_bytes(model, text, tmp_path):
    longer = {**ARMS["joint"], "run": {**ARMS["joint"]["run"], "shape": {"context_bytes": 60}}}
    with pytest.raises(InputError, match="arm bytes reads 50 bytes of text at once and arm joint 60"):
        check_contexts(study(tmp_path, model, text, arms={**ARMS, "joint": longer}))


def test_text_is_newer_than_the_model_or_the_results_say_that_nobody_knows(model, text, tmp_path):
    check_unseen(study(tmp_path, model, text))
    assert why_seen(study(tmp_path, model, text)) == ""
    with pytest.raises(InputError, match="may have been trained on"):
        check_unseen(study(tmp_path, model, text, model__published="2026-01-01"))
    older = study(tmp_path, model, text, model__published="")
    check_unseen(older)
    assert why_seen(older).startswith("nobody said when the model was published")
    undated = study(tmp_path, model, text, corpus__published="")
    check_unseen(undated)
    assert why_seen(undated).startswith("nobody said when the text was first published")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": None}, "arms.bytes begins with a model, and none is named"),
        ({"arms": {"bytes": ARMS["scratch"]}, "claims": []}, "no arm begins with it"),
        ({"arms": {"bytes": {**BYTES, "start": "source"}}, "claims": []}, r"arms\.start"),
        ({"corpus__published": "January"}, "corpus.published is 'January'"),
        ({"model__published": "2026"}, "model.published is '2026'"),
        ({"run__start": {"path": "x"}, "arms": ARMS}, "name the model under"),
        ({"run__model": {"soft_cap": 9.0}}, "soft_cap"),
        (
            {
                "arms": {
                    **ARMS,
                    "scratch": {**ARMS["scratch"], "run": {"mixture": {"preset": "bytes"}, "lora": {"rank": 2}}},
                }
            },
            "lora.rank is 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model, text, tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        study(tmp_path, model, text, **changes)


def test_what_the_model_decides_is_left_out(model, text, tmp_path):
    with pytest.raises(InputError, match=r"run\.model\.width: the study's model decides that"):
        taken(study(tmp_path, model, text, run__model={"width": 48}), tmp_path)
    with pytest.raises(InputError, match="none is named"):
        taken(study(tmp_path, "", text), tmp_path)
    with pytest.raises(InputError, match="holds no study of a model yet"):
        as_noted(study(tmp_path, model, text), tmp_path)


def test_a_corpus_needs_the_tokenizer(model, text, tmp_path):
    from tests.toy_corpus import toy_store

    toy_store(tmp_path / "corpus")
    there = study(tmp_path, model, text, corpus={"path": str(tmp_path / "corpus")})
    with pytest.raises(InputError, match="no view that is the tokenizer"):
        run_study(there, "toy", tmp_path / "run")


def test_factors_of_an_arm_learn_beside_the_models_weights(model, text, tmp_path):
    """LoRA, which takes a model whose weights stay."""
    arms = {"bytes": {**BYTES, "run": {**BYTES["run"], "lora": {"rank": 2}}}}
    asked = study(tmp_path, model, text, arms=arms, claims=[], flops=[4e8], model__marginal_bytes=0)
    results = run_study(asked, "toy", tmp_path / "run", limits=Limits())
    assert results["queue"] == {"done": 1, "left": 0, "failed": []}
    (before,) = [one for one in results["references"] if one["name"] == "raw"]
    assert results["arms"]["bytes"]["validation_bpb"]["mean"] < before["bpb"]
