"""What a folder holds decides which page is made of it, from its files alone."""

import json
import shutil

import pytest
from tests.report.test_demo import results as demo_results
from tests.study.fabricated import results as study_results
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.report import build as build_module
from byteproxy.report.build import build
from byteproxy.study.recipe import StudyRecipe
from byteproxy.train.metrics import Metrics
from byteproxy.train.run_config import write_run_config
from byteproxy.train.train_config import TrainConfig

LINE = {"flops": 7, "positions": 5, "text_bytes": 9, "seconds": 1.0, "wall_seconds": 2.0, "loading_share": 0.1}
SHARE = {"segments": 0.5, "text_bytes": 0.5, "positions": 0.5}


@pytest.fixture
def run(tmp_path):
    """What a run that was killed early leaves."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = TrainConfig(
        stop="6 steps", model=ModelConfig(width=32, layers=2, heads=2, ffn=64), shape=Shape(2, 256, 100)
    )
    write_run_config(folder, config)
    log = Metrics(folder / "metrics.jsonl", 0)
    log.write({"step": 2, **LINE, "compressed_share": SHARE, "loss": 3.0, "losses": {"raw": {"byte_1": 3.0}}})
    log.close()
    return folder


def test_a_run_a_demo_and_runs_side_by_split(run, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "PAGES", tmp_path / "pages")
    built = build([run])
    assert (built.kind, built.path) == ("run", run / "report.html")
    assert built.figures["steps"] == 2
    assert "2 steps of 6" in built.path.read_text()
    other = shutil.copytree(run, tmp_path / "other")
    built = build([run, other])
    assert built.path == tmp_path / "pages" / "runs.html"
    assert "2 runs side by side" in built.path.read_text()
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "demo.toml").write_text("")
    (demo / "results.json").write_text(json.dumps(demo_results()))
    built = build([demo], tmp_path / "demo.html")
    assert (built.kind, built.path) == ("demo", tmp_path / "demo.html")
    assert "2.311" in built.path.read_text()
    with pytest.raises(InputError, match="is a demo: several folders on one page have to be runs"):
        build([run, demo])


def test_a_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "PAGES", tmp_path / "pages")
    toy_store(tmp_path / "c")
    built = build([tmp_path / "c"])
    assert (built.kind, built.path) == ("corpus", tmp_path / "pages" / "corpus.html")
    assert "Documents by length" in built.path.read_text()


def test_a_study_whose_corpus_is_elsewhere(tmp_path, monkeypatch):
    """Its results, as its last call wrote them."""
    (tmp_path / "study.toml").write_text("")
    monkeypatch.setattr(build_module, "from_toml", lambda *_: StudyRecipe.__new__(StudyRecipe))
    monkeypatch.setattr(StudyRecipe, "corpus", type("Nowhere", (), {"path": ""})(), raising=False)
    with pytest.raises(InputError, match="has no results and its corpus is not at"):
        build([tmp_path])
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(InputError, match="holds no results"):
        build([tmp_path])
    (tmp_path / "results.json").write_text(json.dumps(study_results() | {"runs": [], "fits": []}))
    built = build([tmp_path])
    assert (built.kind, built.path) == ("study", tmp_path / "report.html")
    assert "2.0755" in built.path.read_text()


def test_what_is_none_of_them_is_refused_in_a_line(run, tmp_path):
    for path, why in ((tmp_path / "nowhere", "is no folder"), (tmp_path, "holds no run, study, demo or corpus")):
        with pytest.raises(InputError, match=f"{path.name} {why}"):
            build([path])
    (run / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="holds no metrics of any step yet"):
        build([run])
    (tmp_path / "demo.toml").write_text("")
    with pytest.raises(InputError, match="is a demo that is not done yet"):
        build([tmp_path])


def test_a_file_of_another_kind_is_not_replaced(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("\\section")
    with pytest.raises(InputError, match="is there and is no page"):
        build([run], tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "\\section"
