"""`byteproxy eval` as a user meets it."""

import json
from dataclasses import replace

import pytest
from tests.cli.commands import explained, in_process, last_object, refusal
from tests.toy_corpus import toy_documents

from byteproxy.corpus.split import SplitOptions
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView

CONFIG = TrainConfig(
    stop="4 steps",
    corpus="c",
    views=("bpe-300",),
    compile=False,
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    mixture=Mixture(phases=(Phase(1.0, "pairs", 0.5),)),
    shape=Shape(1, 640, 100),
    validation=Validation(0),
)


def made_store(folder):
    """A validation split of several projects."""
    documents = toy_documents(60)
    prepare_documents(documents, folder, SplitOptions(0.2, 0.2))
    add_view(folder, BpeView.train((document.text for document in documents), 300))
    return Store.open(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("eval")
    store = made_store(made / "c")
    Trainer(CONFIG, store, made / "pairs").run()
    Trainer(replace(CONFIG, views=(), mixture=BYTES), store, made / "bytes").run()
    return made


@pytest.fixture
def byteproxy(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    return in_process(monkeypatch, capsys)


SMALL = ("--max-bytes", 1500, "--document-bytes", 900)


def test_bpb_of_two_runs(byteproxy):
    found = last_object(byteproxy("eval", "bpb", "pairs", "bytes", *SMALL, "--json"))
    assert found.keys() == {"whole", "languages"} | {
        *("split", "bytes", "documents", "projects", "sources", "runs", "compressors", "differences"),
        *("per_source", "per_project", "per_document", "notes", "opened"),
    }
    assert (found["split"], found["bytes"], found["opened"]) == ("validation", 1500, [])
    assert list(found["runs"]) == ["pairs", "bytes"]
    run = found["runs"]["pairs"]
    assert (run["step"], run["steps"], run["window"], run["stride"], run["corpus"]) == (4, 4, 100, 50, "c")
    assert run["transfer_gap"] == pytest.approx(run["raw_bpb"] - run["view_bpb"]["bpe-300"])
    assert found["runs"]["bytes"]["transfer_gap"] is None
    (difference,) = found["differences"]
    assert difference["bpb"] == pytest.approx(run["raw_bpb"] - found["runs"]["bytes"]["raw_bpb"])
    for over in ("documents", "projects"):
        assert difference[over]["low"] <= difference["bpb"] <= difference[over]["high"]
    assert sum(line["bytes"] for line in found["per_document"]) == 1500
    assert [note.split()[0] for note in found["notes"]] == ["pairs", "bytes"], "both are far above PPMd"


def test_tables_for_people(byteproxy):
    status, stdout, stderr = byteproxy("eval", "bpb", "pairs", "bytes", *SMALL, "--stride", 100)
    assert status == 0
    assert "1.50 kB of the validation split" in stdout
    for word in ("PPMd", "zstd", "over projects", "raw bits per byte by document", "under-trained"):
        assert word in stdout
    assert "pairs: bpe-300: " in stderr


def test_opening_the_test_side_is_noted_and_said(byteproxy, folder):
    for _ in range(2):
        status, stdout, _ = byteproxy("eval", "bpb", "bytes", *SMALL, "--split", "test")
        assert status == 0
        assert "The test split is opened: noted in bytes/opened.jsonl" in stdout
    found = last_object(byteproxy("eval", "transfer", "bytes", "--passages", 5, "--split", "test", "--json"))
    lines = [json.loads(line) for line in (folder / "bytes/opened.jsonl").read_text().splitlines()]
    assert [line["command"] for line in lines] == ["eval bpb", "eval bpb", "eval transfer"]
    assert lines[0]["bytes"] == 1500
    assert lines[0]["documents"] > 0
    assert found["opened"] == [{"run": "bytes", **lines[2]}]
    assert lines[2]["passages"] == 5
    assert not (folder / "pairs/opened.jsonl").exists(), "the validation split was all that was opened"


def test_transfer(byteproxy):
    found = last_object(byteproxy("eval", "transfer", "pairs", "bytes", "--passages", 12, "--json"))
    assert found.keys() == {"split", "runs", "notes", "opened"}
    run = found["runs"]["pairs"]
    view = run["views"]["bpe-300"]
    assert (run["passages"], run["saw_pairs"], found["opened"]) == (12, True, [])
    assert view.keys() == {
        *("view_bpb", "translated_bpb", "translated_exact", "translated_right"),
        *("reverse_bpb", "reverse_exact", "reverse_right", "retrieval"),
    }
    assert run["transfer_gap"] == pytest.approx(run["raw_bpb"] - view["view_bpb"])
    assert view["retrieval"].keys() == {"raw_to_view", "view_to_raw", "chance"}
    assert len(view["retrieval"]["raw_to_view"]) == 3
    assert view["retrieval"]["chance"] == 1 / 12
    assert sum(line["bytes"] for line in run["per_passage"]) == run["bytes"]
    bits = sum(line["views"]["bpe-300"]["translated_bits"] for line in run["per_passage"])
    assert bits == pytest.approx(view["translated_bpb"] * run["bytes"])
    assert found["runs"]["bytes"]["views"] == {}
    assert any("no compressed text" in note for note in found["notes"])
    assert not any("never saw pairs" in note for note in found["notes"])


def test_tables_are_whole_in_a_narrow_window(byteproxy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    for command in (("bpb", *SMALL), ("transfer", "--passages", 3)):
        status, stdout, _ = byteproxy("eval", command[0], "pairs", *command[1:])
        assert status == 0
        assert "\N{HORIZONTAL ELLIPSIS}" not in stdout


def test_transfer_for_people(byteproxy):
    status, stdout, _ = byteproxy("eval", "transfer", "pairs", "--passages", 5)
    assert status == 0
    assert "pairs: 5 passages of the validation split" in stdout
    lines = [line.split() for line in stdout.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("inputs", "1", "2")] == ["inputs", "1", "2"]
    assert "chance 20.0" in stdout


def test_refusals(byteproxy):
    assert "holds no run" in refusal(byteproxy("eval", "bpb", "c"))
    assert "no run is named" in refusal(byteproxy("eval", "bpb"))
    assert "give 1 to 100 bytes" in refusal(byteproxy("eval", "bpb", "pairs", "--stride", 101, "--split", "test"))
    assert "'gone', the corpus of pairs, is not there" in refusal(byteproxy("eval", "bpb", "pairs", "--corpus", "gone"))
    assert "at least 2" in refusal(byteproxy("eval", "transfer", "pairs", "--passages", 1))


def test_help_explains(byteproxy):
    _, stdout, _ = byteproxy("eval", "bpb", "--help")
    for option in ("--max-bytes", "--document-bytes", "--stride", "--split", "--corpus"):
        assert explained(stdout, option)
