"""`byteproxy views` as a user meets it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.commands import BYTEPROXY, help_at_once, in_process, last_object, on_terminal, refusal
from tests.neural.models import tiny
from tests.toy_corpus import toy_store

from byteproxy.evaluate.views import view_figures as view_figures
from byteproxy.neural.kind import NeuralKind, NeuralOptions
from byteproxy.store.store import Store
from byteproxy.store.trained_views import fingerprint_of, unfinished
from byteproxy.train.trainer import Trainer
from byteproxy.views import registry
from byteproxy.views.bpe import BpeView
from byteproxy.views.registry import kinds, load, quick_kinds

__all__ = ["tiny"]  # a fixture


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small prepared corpus."""
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    toy_store(folder)
    return str(folder)


@pytest.fixture
def views(monkeypatch, capsys, tmp_path):
    """Run `byteproxy views ...` in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view_figures, "SPEED_SECONDS", 0.01)

    command = in_process(monkeypatch, capsys)
    return lambda *arguments: command("views", *arguments)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("list", ["--json"]),
        ("train", ["VIEW", "--corpus", "--out", "--json"]),
        ("compare", ["[VIEW ...]", "--corpus", "--split", "--max-bytes", "--seed", "--out", "--json"]),
        ("inspect", ["FILE", "--views", "--corpus", "--max-bytes", "--out", "--json"]),
    ],
)
def test_every_option_is_explained(views, command, options):
    _, text, _ = views(command, "--help")
    for option in options:
        lines = [line.strip("│ ") for line in text.splitlines()]
        place = next(place for place, line in enumerate(lines) if line.startswith(option))
        assert len(" ".join(lines[place : place + 2]).split()) > 3  # what is said of a long one begins below it
    assert ("final claim" in " ".join(text.split())) == (command == "compare")


def test_help_names_the_commands_and_comes_at_once(monkeypatch, capsys):
    text = help_at_once("views")
    for command in ("list", "train", "compare", "inspect"):
        assert f"  byteproxy views {command} " in text
    _, about, _ = in_process(monkeypatch, capsys)("--help")
    for command in ("views list", "views train", "views compare", "views inspect"):
        assert command in about


def test_list_tells_kinds_and_options(views):
    status, stdout, _ = views("list")
    assert status == 0
    for name, kind in kinds().items():
        assert name in stdout
        assert kind.summary.split()[0] in stdout
    status, stdout, stderr = views("list", "--json")
    listed = last_object((status, stdout, stderr))["kinds"]
    assert set(listed) == set(kinds())
    gzip = {"summary": kinds()["gzip"].summary, "trained": False, "options": {"level": 9}, "choices": {}}
    assert listed["gzip"] == gzip
    assert listed["token_bytes"]["choices"]["order"] == ["big-endian", "gray"]
    assert "order=big-endian (or gray)" in stderr
    assert listed["bpe"]["trained"] is True
    assert "level=9" in stderr


def test_train_saves_what_compare_and_inspect_can_name(views, corpus, tmp_path):
    status, stdout, stderr = views("train", "bpe:300", "--corpus", corpus, "--json")
    assert status == 0, stderr
    trained = last_object((status, stdout, stderr))
    assert trained["path"] == "runs/views/bpe-300.json"
    assert trained["name"] == "bpe-300"
    assert trained["alphabet_size"] == 300
    assert trained["train_seconds"] > 0
    assert 1.5 < trained["bytes_per_symbol"] < 10
    saved = load(Path(trained["path"]))
    assert saved.fingerprint == trained["fingerprint"]
    assert isinstance(saved, BpeView)
    assert "train bpe:300" in stderr, "progress"

    status, stdout, stderr = views("compare", trained["path"], "raw", "--corpus", corpus, "--json")
    assert status == 0, stderr
    compared = last_object((status, stdout, stderr))
    view = compared["views"][trained["path"]]
    assert view["name"] == "bpe-300"
    assert view["train_seconds"] is None, "it was loaded"
    keys = {"bytes_per_symbol", "encode_mb_s", "stability", "resync_bytes", "symbols_used", "entropy_bits"}
    assert keys <= view.keys()
    assert view["stability"]["random_delete"] > compared["views"]["raw"]["stability"]["random_delete"]
    assert {"corpus", "split", "held_out_bytes", "near_duplicates_dropped", "stability_raw", "views"} <= compared.keys()
    assert "bpe-300" in (tmp_path / compared["page"]).read_text()

    document = b"def path_name(value):\n    return value\n"
    (tmp_path / "document.py").write_bytes(document)
    status, stdout, stderr = views("inspect", "document.py", "--views", trained["path"], "gzip", "--json")
    assert status == 0, stderr
    inspected = last_object((status, stdout, stderr))
    assert inspected["bytes"] == 39
    assert inspected["views"][trained["path"]]["symbols"] == len(saved.encode(document).symbols)
    assert inspected["views"]["gzip"]["aligned"] is False
    assert "<pre class=symbols" in (tmp_path / "runs/views/inspect.html").read_text()


def test_train_takes_a_place_to_save(views, corpus, tmp_path):
    status, stdout, _ = views("train", "bpe:270", "--corpus", corpus, "--out", "new/folder/mine.json")
    assert status == 0
    assert "bpe-270: 270 symbols" in stdout
    assert "new/folder/mine.json" in stdout
    assert load(tmp_path / "new/folder/mine.json").alphabet_size == 270
    assert not (tmp_path / "runs").exists()


def test_train_replaces_views_only(views, corpus, tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "a document"}\n')
    said = refusal(views("train", "bpe:270", "--corpus", corpus, "--out", "d.jsonl"))
    assert "d.jsonl is there and is no view" in said
    assert (tmp_path / "d.jsonl").read_text() == '{"text": "a document"}\n'
    for size in (270, 280):
        assert views("train", f"bpe:{size}", "--corpus", corpus, "--out", "mine.json")[0] == 0
    assert load(tmp_path / "mine.json").alphabet_size == 280


def test_compare_prints_tables_and_leaves_a_page(views, corpus, tmp_path):
    status, stdout, _ = views("compare", "raw", "gzip", "--corpus", corpus, "--out", "page.html", "--max-bytes", "4000")
    assert status == 0
    assert "validation: 4.00 kB" in stdout
    raw_lines = [line for line in stdout.splitlines() if line.strip().startswith("raw ")]
    assert len(raw_lines) == 2, "two tables"
    assert "0.10" in raw_lines[1]
    assert "Page: page.html" in stdout
    assert (tmp_path / "page.html").read_text().count("<g><title>") == 2
    status, stdout, stderr = views("compare", "raw", "--corpus", corpus, "--split", "test", "--json")
    assert last_object((status, stdout, stderr))["split"] == "test"


def test_inspect_shows_symbols_in_the_terminal(views, tmp_path):
    (tmp_path / "a.py").write_bytes(b"ab\n\tc\xff" + b"x" * 5000)
    status, stdout, _ = views("inspect", "a.py", "--views", "double_bytes", "chunks:size=3", "--max-bytes", "3000")
    assert status == 0
    assert "double_bytes: 2,503 symbols of 65,792, 2.00 bytes each" in stdout
    assert "ab│⏎\n→" in stdout
    assert r"c\xff│xx│xx" in stdout
    assert "The first 2,000 of 5,006 bytes are shown" in stdout
    assert "The first 2,001 of 5,006 bytes are shown" in stdout
    page = (tmp_path / "runs/views/inspect.html").read_text()
    assert "The first 3,000 of 5,006 bytes are shown" in page


def test_inspect_reads_standard_input(corpus, tmp_path):
    done = subprocess.run(
        [BYTEPROXY, "views", "inspect", "-", "--views", "raw", "--json"],
        input=b"\xff\x00",
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == 2
    assert rb"\xff" in (tmp_path / "runs/views/inspect.html").read_bytes()


def test_inspect_uses_colours_on_a_terminal(tmp_path):
    (tmp_path / "a.py").write_bytes(b"abcd")
    seen = on_terminal([BYTEPROXY, "views", "inspect", "a.py", "--views", "double_bytes"], cwd=tmp_path)
    assert b"48;2;159;208;255mab\x1b[0m\x1b[" in seen
    assert "│".encode() not in seen


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "raw", "nonesuch"], "there is no view 'nonesuch': name one of"),
        (["compare", "raw", "gzip:10"], "level"),
        (["compare", "raw", "--corpus", "nowhere"], "nowhere is no prepared corpus"),
        (["compare", "raw", "--seed", "-1"], "seed is -1"),
        (["compare", "missing/view.json"], "there is no file missing/view.json"),
        (["inspect", "missing.py", "--views", "raw"], "can't read missing.py"),
        (["inspect", ".", "--views", "raw"], "can't read ."),
        (["inspect", "file", "--views", "nonesuch"], "there is no view 'nonesuch'"),
        (["inspect", "file", "--views", "raw", "--max-bytes", "0"], "max_bytes is 0"),
        (["inspect", "file", "--views", "raw", "--out", "file/page.html"], "cannot write file/page.html"),
        (["train", "raw"], "nothing to train"),
        (["train", "nonesuch"], "there is no view 'nonesuch'"),
        (["train", "file"], "file is a file and no kind of view"),
        (["train", "bpe:12"], "256"),
        (["train", "bpe:alphabet=many"], "alphabet"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(views, corpus, tmp_path, arguments, said):
    (tmp_path / "file").write_text("text")
    if "--corpus" not in arguments and arguments[0] != "inspect":
        arguments = [*arguments, "--corpus", corpus]
    assert said in refusal(views(*arguments))
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_said(views, corpus, tmp_path):
    (tmp_path / "file").write_text("text")
    result = views("train", "bpe:300", "--corpus", corpus, "--out", "file/x.json")
    assert "can't make the folder file" in refusal(result)
    assert "train" not in result[2], "it says so before it trains"


def test_no_view_named_means_all_kinds(views, corpus, tmp_path, monkeypatch):
    (tmp_path / "a.py").write_bytes(b"def f(): pass\n")
    few = {name: kind for name, kind in kinds().items() if not kind.trained}
    assert set(quick_kinds()) == set(kinds()) - {"neural"}, "what takes minutes has to be named"
    monkeypatch.setattr(registry, "kinds", lambda: few)
    status, stdout, stderr = views("inspect", "a.py", "--json")
    assert list(last_object((status, stdout, stderr))["views"]) == sorted(few)
    status, stdout, stderr = views("compare", "--corpus", corpus, "--json")
    assert list(last_object((status, stdout, stderr))["views"]) == sorted(few)


def test_a_neural_view_is_trained_with_a_model_of_some_size(views, corpus, tmp_path):
    result = views("train", "neural:12,steps=1", "--size", "1m", "--corpus", corpus, "--json")
    assert result[0] == 0, result[2]
    trained = last_object(result)
    assert trained["path"] == "runs/views/neural-12.neural"
    assert not list((tmp_path / "runs/views").glob(".training*"))
    assert trained["alphabet_size"] == 1 << 12
    shown = views("compare", trained["path"], "gzip", "--corpus", corpus, "--json")
    compared = last_object(shown)
    figures = compared["views"][trained["path"]]
    assert figures["nodes"] >= 256
    assert trained["compile_seconds"] > 0
    assert figures["compile_seconds"] is None, "the file does not say"
    assert {"collision_share", "lcp80_share"} <= figures["fuzzy"].keys()
    assert compared["paper_order_holds"] is None
    assert "Steadiest first" in shown[2]
    assert "'size=1m' is no option here" in refusal(views("train", "bpe:300", "--size", "1m", "--corpus", corpus))


def test_a_stopped_training_goes_on_with_the_same_command(views, corpus, tmp_path, tiny, monkeypatch):
    """What an earlier call left is used, if it was of the same spec and text: nothing is trained a second time."""
    spec, parent = "neural:12,steps=2,seed=3", Path("runs/views")
    begun = unfinished(parent, spec, fingerprint_of(corpus))
    assert begun != unfinished(parent, "neural:12,steps=2,seed=4", fingerprint_of(corpus))
    assert begun != unfinished(parent, spec, fingerprint_of("stdlib"))
    texts = [document.text for document in Store.open(Path(corpus)).documents("train")]
    view = NeuralKind.make(NeuralOptions(12, steps=2, seed=3), texts, unfinished=begun)
    shutil.copytree(begun, "kept")
    monkeypatch.delattr(Trainer, "step")
    trained = views("train", spec, "--corpus", corpus, "--json")
    assert trained[0] == 0, trained[2]
    assert last_object(trained)["fingerprint"] == view.fingerprint
    assert not begun.exists()
    shutil.copytree("kept", begun)
    compared = views("compare", spec, "gzip", "--corpus", corpus, "--json")
    assert compared[0] == 0, compared[2]
    assert last_object(compared)["views"][spec]["nodes"] == view.nodes
    assert not begun.exists()
