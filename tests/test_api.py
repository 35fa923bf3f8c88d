"""What `import byteproxy` gives: lazily, all of it there, documented, and doing what the commands do."""

import importlib
import importlib.util
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import in_process, last_object
from tests.toy_corpus import toy_documents

import byteproxy
from byteproxy.cli.main import COMMANDS, Group
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import Mixture
from byteproxy.recipes.named import changed, run_named, run_recipes

ROOT = Path(__file__).parents[1]


def imported(code: str) -> set[str]:
    """The packages that some code imports, in a process of its own."""
    code = f"{code}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_import_is_lazy():
    heavy = {"torch", "numpy", "numba", "pyarrow", "rich", "tyro"}
    assert not imported("import byteproxy; byteproxy.stream, byteproxy.evaluate") & heavy


def test_every_name_is_there_and_documented():
    assert set(byteproxy.HOMES) == set(byteproxy.__all__) <= set(dir(byteproxy))
    for name in byteproxy.__all__:
        said = inspect.unwrap(getattr(byteproxy, name)).__doc__
        assert all(f"\n    {section}:\n" in said for section in ("Args", "Returns", "Raises")), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        byteproxy.nothing  # noqa: B018


def test_what_is_a_package_too_can_be_called(tmp_path):
    """Python sets `byteproxy.evaluate` to the package when something in it is imported."""
    found = byteproxy.evaluate
    assert importlib.import_module("byteproxy.evaluate.runs").HeldOut
    assert byteproxy.evaluate is found is sys.modules["byteproxy.evaluate"]
    assert list(inspect.signature(byteproxy.evaluate).parameters)[:2] == ["runs", "measure"]
    for _ in range(2):
        with pytest.raises(InputError, match="holds no run"):
            byteproxy.evaluate(tmp_path)


def test_the_page_is_what_the_docstrings_say():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    make_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_api)
    assert make_api.PAGE.read_text() == make_api.page(), "run `make api`"
    commands = [
        f"{name} {inner}" if inner else name
        for name, found in COMMANDS.items()
        for inner in (found.commands if isinstance(found, Group) else [""])
    ]
    assert list(make_api.BEHIND) == commands, "every command can be called from Python"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    for document in toy_documents():
        path = folder / "text" / document.project / document.id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.text)
    source, options = f"{folder}/text", {"near_duplicates": "keep", "workers": 1}
    return byteproxy.prepare([source], folder / "corpus", views=["bpe:300"], **options)


def test_a_corpus_is_what_the_command_makes(corpus, tmp_path, monkeypatch, capsys):
    command = in_process(monkeypatch, capsys)
    source = corpus.path.parent / "text"
    options = "--view", "bpe:300", "--near-duplicates", "keep", "--json"
    made = last_object(command("prepare", str(source), "--out", str(tmp_path / "c"), *options))
    again = byteproxy.open_corpus(tmp_path / "c")
    assert again.manifest.fingerprint == corpus.manifest.fingerprint
    assert made["documents"] == sum(held.documents for held in corpus.manifest.splits.values())
    with pytest.raises(InputError, match="no source is named"):
        byteproxy.prepare([], tmp_path / "none")


def test_views_are_made_trained_and_found(corpus):
    text = b"def path_name(value):\n    return value\n"
    own = byteproxy.view("bpe-300", corpus)
    assert own.fingerprint == byteproxy.view("bpe:300", corpus.path).fingerprint == corpus.view("bpe-300").fingerprint
    trained = byteproxy.view("bpe:260", texts=[text] * 9)
    assert trained.decode(trained.encode(text).symbols) == text
    assert byteproxy.view("double_bytes").encode(text).span_bytes.sum() == len(text)
    with pytest.raises(InputError, match="has to be trained"):
        byteproxy.view("bpe:300")


def test_a_stream_is_the_same_for_any_ranks(corpus):
    asked = {"steps": 3, "sequences_per_step": 4, "sequence_length": 128, "context_bytes": 50, "seed": 5}
    whole = byteproxy.stream(corpus, "paper", **asked)
    halves = [byteproxy.stream(corpus.path, Mixture("paper"), rank=rank, ranks=2, **asked) for rank in (0, 1)]
    assert whole.vocab_size == 64 + 256 + 300
    for batch, *parts in zip(whole, *halves, strict=True):
        assert batch.symbols.shape == (4, 128)
        assert (batch.symbols == np.concatenate([part.symbols for part in parts])).all()
    last = list(byteproxy.stream(corpus, state=batch.following, **asked | {"steps": 4}))
    assert [one.step for one in last] == [3]
    assert len(list(byteproxy.stream(corpus, "bytes", **asked, micro_sequences=1))) == 12


@pytest.fixture(scope="module")
def run(corpus):
    """A run of two steps: its folder, and what differs from the recipe 3m-paper."""
    changes = {
        "stop": "2 steps",
        "corpus": str(corpus.path),
        "compile": False,
        "model": {"width": 16, "layers": 1, "heads": 2, "ffn": 24},
        "shape": {"sequences_per_step": 2, "sequence_length": 1024, "context_bytes": 50},
        "validation": {"bytes": 300},
    }
    figures = byteproxy.train("3m-paper", corpus.path.parent / "run", changes)
    assert (figures["steps"], figures["of_steps"]) == (2, 2)
    return corpus.path.parent / "run", changes


def test_a_run_is_gone_on_with_and_stays_what_it_is(run):
    folder, changes = run
    told = []
    left = folder / "checkpoints/.step-000001.gone"  # as a kill in the last clean-up leaves it
    left.mkdir()
    again = byteproxy.train("3m-paper", folder, changes, resume="if_exists", say=told.append)
    assert told[-1].endswith("is finished: its 2 steps are done.")
    assert again["steps"] == 2
    assert not left.exists()
    assert byteproxy.train(None, folder, {"log_every": 1}, resume="yes")["raw_bpb"] == again["raw_bpb"]
    with pytest.raises(InputError, match="seed"):
        byteproxy.train("3m-paper", folder, changes | {"seed": 1}, resume="if_exists")
    with pytest.raises(InputError, match=r"did you mean model\.width"):
        byteproxy.train("3m-paper", folder / "other", {"model": {"widht": 16}})


@pytest.mark.parametrize("name", run_recipes())
def test_a_preset_takes_the_place_of_phases(name):
    known = run_named(name)
    assert changed(known, {}) == known
    found = changed(known, {"mixture": {"preset": "bytes"}, "model": {"layers": 1}})
    assert found.mixture.schedule == Mixture("bytes").schedule
    assert found.model == replace(known.model, layers=1)


def test_a_model_writes_scores_and_is_exported(run, tmp_path):
    model = byteproxy.load(run[0])
    prompts = ["def main(", b"\xff"]
    written = [one.text for one in model.generate(prompts, max_bytes=9)]
    assert all(len(text) <= 9 for text in written)
    scored = model.score(["def main(", b"\xff", ""])
    assert scored.bytes.tolist() == [9, 1, 0]
    model.export(tmp_path / "out")
    exported = byteproxy.load(tmp_path / "out")
    assert [one.text for one in exported.generate(prompts, max_bytes=9)] == written
    found = byteproxy.evaluate(run[0], max_bytes=300, document_bytes=100)
    assert found["runs"]["run"]["raw_bpb"] == pytest.approx(8, abs=2)
    told = []
    found = byteproxy.evaluate([run[0]], "transfer", split="test", passages=3, say=told.append)
    assert found["runs"]["run"]["passages"] == 3
    assert len(told) == len(found["opened"]) == 1, "the test split is opened"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: byteproxy.evaluate(folder, "bits"), "measure is 'bits': give one of bpb, transfer"),
        (lambda folder: byteproxy.evaluate(folder, split="train"), "split is 'train': give one of validation, test"),
        (lambda folder: byteproxy.evaluate(folder, max_bytes=0), "max_bytes is 0"),
        (lambda folder: byteproxy.train(None, folder, resume="maybe"), "resume is 'maybe': give one of no, if_exists"),
        (
            lambda folder: byteproxy.train(None, folder, {"device": "gpu"}, resume="yes"),
            "changes: device is 'gpu': give",
        ),
        (lambda folder: byteproxy.load(folder, device="gpu"), "device is 'gpu': give one of auto"),
        (lambda folder: byteproxy.load(folder, engine="fast").generate("a"), "engine is 'fast': give one of auto"),
        (lambda folder: byteproxy.load(folder).generate("a", drafts="all"), "drafts is 'all': give one of heads"),
        (lambda folder: byteproxy.load(folder).generate("a", 1.5), "cannot write 1.5 bytes: give a whole number"),
        (lambda folder: byteproxy.load(folder).generate("a", stops="ab"), "stops has 'ab': give a list of texts"),
        (lambda folder: byteproxy.load(folder).generate("a", stops=["ab"]), "stops has 'ab': give a list of texts"),
        (lambda folder: byteproxy.load(folder).generate([7]), "prompts has 7: give a list of texts"),
        (lambda folder: byteproxy.load(folder).score([7]), "texts has 7: give a list of texts"),
        (lambda folder: byteproxy.load(folder).score(7), "texts is 7: give text or bytes, or several of them"),
        (
            lambda folder: byteproxy.load(folder).generate(["a", "b\ud83d"]),
            "prompts has 'b\\ud83d', in which character 2 is half a surrogate pair: give text",
        ),
        (lambda folder: byteproxy.load(folder).generate(b"a", 1, stops=3), "stops has 3: give a list of texts"),
        (lambda folder: byteproxy.prepare("text", folder, salt=3), "salt is 3: give text"),
        (lambda folder: byteproxy.prepare("text", folder, workers="2"), "workers is '2': give a whole number"),
        (lambda folder: byteproxy.prepare("text", folder, workers=True), "workers is True: give a whole number"),
        (
            lambda folder: byteproxy.prepare(["text", 3], folder),
            "sources is ['text', 3]: give text or a path or several",
        ),
        (lambda folder: byteproxy.prepare("text", folder, invalid=3), "invalid is 3: give one of keep, drop, repair"),
        (lambda folder: byteproxy.prepare("text", folder, validation="a"), "validation is 'a': give a number"),
        (lambda folder: byteproxy.convert("m", folder, minutes="x"), "minutes is 'x': give a number"),
        (lambda folder: byteproxy.convert("m", folder, 3), "sources is 3: give text or a path or several, each text"),
        (lambda folder: byteproxy.convert("m", folder, changes=[]), "changes is []: give a dictionary"),
        (lambda folder: byteproxy.convert(3, folder), "model is 3: give text or a path"),
        (lambda folder: byteproxy.convert("m", folder, stdlib="no"), "stdlib is 'no': give True or False"),
        (lambda folder: byteproxy.train(None, folder, say="loud"), "say is 'loud': give a function"),
    ],
)
def test_a_value_that_no_argument_takes_is_refused_by_name(run, call, said):
    with pytest.raises(InputError) as error:
        call(run[0])
    assert str(error.value).startswith(said)


def test_numbers_of_numpy_and_any_bytes_are_taken(run):
    model = byteproxy.load(run[0])
    wanted = model.score([b"def main(", b"x"], stride=np.int64(20)).bits.tolist()
    assert model.score([bytearray(b"def main("), memoryview(b"x")]).bits.tolist() == pytest.approx(wanted)
    assert len(model.generate(bytearray(b"def "), max_bytes=3)) == 1
    byteproxy.evaluate(run[0], max_bytes=np.int64(300), document_bytes=100)


def test_one_may_stand_where_several_may(corpus):
    source, out = f"{corpus.path.parent}/text", corpus.path
    again = byteproxy.prepare(Path(source), out, views="bpe:300", near_duplicates="keep", workers=1)
    assert again.manifest.fingerprint == corpus.manifest.fingerprint
    assert byteproxy.stream(corpus, views="bpe-300", steps=1).stream.views == ("bpe-300",)


def test_nothing_costs_no_bits(run):
    assert np.isnan(byteproxy.load(run[0]).score([]).bpb)
