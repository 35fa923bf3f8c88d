"""What a folder holds decides which page is made of it, from its files alone."""

import json
import shutil
from pathlib import Path

import pytest
from tests.report.test_conversion_page import results as conversion_results
from tests.report.test_demo_page import results as demo_results
from tests.report.test_model_demo_page import results as model_demo_results
from tests.study.fabricated import results as study_results
from tests.study.toys import prepare, recipe
from tests.toy_corpus import toy_store

from byteproxy.checksummed import write_checksummed
from byteproxy.config import to_toml
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.report import build_page as build_module
from byteproxy.report.build_page import build_page
from byteproxy.study.queue import Queue
from byteproxy.study.recipe import StudyRecipe
from byteproxy.study.study_folder import claimed
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
    log = Metrics(folder, 0)
    log.write({"step": 2, **LINE, "compressed_share": SHARE, "loss": 3.0, "losses": {"raw": {"byte_1": 3.0}}})
    log.close()
    return folder


def test_a_run_a_demo_and_runs_side_by_split(run, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "PAGES", tmp_path / "pages")
    built = build_page([run])
    assert (built.kind, built.path) == ("run", run / "report.html")
    assert built.figures["steps"] == 2
    assert "2 steps of 6" in built.path.read_text()
    other = shutil.copytree(run, tmp_path / "other")
    built = build_page([run, other])
    assert built.path == tmp_path / "pages" / "runs.html"
    assert "2 runs side by side" in built.path.read_text()
    with pytest.raises(InputError, match="a run is named twice"):
        build_page([run, run / ".." / run.name])
    monkeypatch.chdir(run)
    assert "<h1>Run run</h1>" in build_page([Path()]).path.read_text(), "also where it is named by a dot"
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "demo.toml").write_text("")
    (demo / "results.json").write_text(json.dumps(demo_results()))
    built = build_page([demo], tmp_path / "demo.html")
    assert (built.kind, built.path) == ("demo", tmp_path / "demo.html")
    assert "2.311" in built.path.read_text()
    (demo / "results.json").write_text(json.dumps(model_demo_results()))
    assert "reads and writes raw bytes" in build_page([demo], tmp_path / "demo.html").path.read_text()
    conversion = tmp_path / "conversion"
    conversion.mkdir()
    (conversion / "convert.toml").write_text("")
    with pytest.raises(InputError, match=r"is a conversion that is not done yet: run it to its end$"):
        build_page([conversion])
    (conversion / "run").mkdir()
    (conversion / "run/config.toml").write_text("")
    with pytest.raises(InputError, match=rf"or name its run, {conversion / 'run'}, for the curves so far"):
        build_page([conversion])
    (conversion / "results.json").write_text(json.dumps(conversion_results()))
    built = build_page([conversion])
    assert (built.kind, built.path) == ("conversion", conversion / "report.html")
    assert "1.873" in built.path.read_text()
    with pytest.raises(InputError, match="is a demo: several folders on one page have to be runs"):
        build_page([run, demo])


def test_a_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "PAGES", tmp_path / "pages")
    toy_store(tmp_path / "c")
    built = build_page([tmp_path / "c"])
    assert (built.kind, built.path) == ("corpus", tmp_path / "pages" / "corpus.html")
    assert "Documents by length" in built.path.read_text()


def test_a_study_half_done_from_its_queue_and_corpus(tmp_path):
    """Runs that were done since its last call count; that call's results say its name alone."""
    out = tmp_path / "study"
    plan = recipe(tmp_path, corpus__path=str(out / "corpus"))
    with claimed(out, plan):
        store = prepare(plan, out, None)
        (out / "results.json").write_text(json.dumps({"study": "its <name>", "queue": {"done": 0}}))
    queue = Queue(plan, store, out)
    trials = [key for key in queue.keys if key.kind == "trial"]
    for bits, key in enumerate(trials, 2):
        job = queue.job(key)
        counted = {"flops": key.flops, "positions": 5, "steps": 3, "seconds": 1.0, "wall_seconds": 1.0, "skipped": 0}
        seen = {"text_bytes_seen": 9, "raw_text_bytes_seen": 9, "compressed_share": SHARE, "curve": [], "parameters": 7}
        made = {"made_with": job.made_with, "begun": None, "config": to_toml(job.config)}
        write_checksummed(job.folder / "result.json", {**made, **counted, **seen, "validation_bpb": bits / 10})
    built = build_page([out])
    assert (built.kind, built.path) == ("study", out / "report.html")
    assert built.figures["study"] == "its <name>"
    assert built.figures["queue"] == {"done": 4, "left": 4, "failed": []}
    assert [one["validation_bpb"] for one in built.figures["trials"] if one["chosen"]] == [0.2, 0.4]
    assert set(built.figures["compressors"]) == {"validation"}, "the test split stays shut"
    page = built.path.read_text()
    assert "its &lt;name&gt;" in page
    assert "4 runs are done, 4 are left" in page
    assert "<b class=chosen>0.2000</b>" in page
    (out / "results.json").unlink()
    assert build_page([out]).figures["study"] == "study", "its folder's name, as it has no other"


def test_a_study_whose_corpus_is_elsewhere(tmp_path, monkeypatch):
    """Its results, as its last call wrote them."""
    (tmp_path / "study.toml").write_text("")
    monkeypatch.setattr(build_module, "from_toml", lambda *_: StudyRecipe.__new__(StudyRecipe))
    monkeypatch.setattr(StudyRecipe, "corpus", type("Nowhere", (), {"path": ""})(), raising=False)
    with pytest.raises(InputError, match="has no results and its corpus is not at"):
        build_page([tmp_path])
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(InputError, match="holds no results"):
        build_page([tmp_path])
    (tmp_path / "results.json").write_text(json.dumps(study_results() | {"runs": [], "fits": []}))
    built = build_page([tmp_path])
    assert (built.kind, built.path) == ("study", tmp_path / "report.html")
    assert "2.0755" in built.path.read_text()


def test_what_is_none_of_them_is_refused_in_a_line(run, tmp_path):
    nothing = "holds no run, study, demo, conversion or corpus"
    for path, why in ((tmp_path / "nowhere", "is no folder"), (tmp_path, nothing)):
        with pytest.raises(InputError, match=f"{path.name} {why}"):
            build_page([path])
    (run / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="holds no metrics of any step yet"):
        build_page([run])
    (tmp_path / "demo.toml").write_text("")
    with pytest.raises(InputError, match="is a demo that is not done yet"):
        build_page([tmp_path])


def test_a_file_of_another_kind_is_not_replaced(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("\\section")
    with pytest.raises(InputError, match="is there and is no page"):
        build_page([run], tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "\\section"
