"""Figures of runs side by side are those of their scores, summed by document, project and source."""

import math
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.compressors import ppmd_bpb, xz_bpb, zstd_bpb
from byteproxy.evaluate.paired import paired_difference
from byteproxy.evaluate.run_bpb import bpb_figures, common_text, notes, run_scores, stride_of
from byteproxy.evaluate.run_tables import differences_table, parts_table, runs_table
from byteproxy.generate.score import Scored, score
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.runs.with_corpus import Run
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import model_of
from byteproxy.vocab import FIRST_BYTE, Vocab

CONFIG = TrainConfig(
    stop="3 steps",
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=1, heads=1, ffn=32),
    shape=Shape(2, 256, 80),
)
SYMBOLS = replace(CONFIG, mixture=Mixture("symbols"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


def run_of(store, name="run", config=CONFIG, seed=0):
    """A run with weights by chance."""
    vocab = Vocab(tuple(store.manifest.view(view).alphabet_size for view in config.views))
    torch.manual_seed(seed)
    model = model_of(config, vocab.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return Run(name, store.path / name, config, store, vocab, model.eval(), seed)


def figures_of(runs, documents):
    return bpb_figures(runs, documents, [run_scores(run, documents, stride_of(run, None)) for run in runs])


def test_figures_are_those_of_the_scores(store):
    run = run_of(store)
    documents = common_text([run], "test", 3000, 700)
    texts = [one.text for one in documents]
    figures = figures_of([run], documents)
    raw = score(run.model, texts, 80, 40)
    view = view_bpb(run.model, run.vocab, 1, store.view("bpe-300"), texts, 80, 40)
    own = figures["runs"]["run"]
    assert (own["raw_bpb"], own["view_bpb"]) == (raw.bpb, {"bpe-300": view.bpb})
    assert own["transfer_gap"] == raw.bpb - view.bpb
    assert (own["window"], own["stride"]) == (80, 40)
    assert figures["compressors"] == {"xz": xz_bpb(texts), "zstd": zstd_bpb(texts), "ppmd": ppmd_bpb(texts)}
    assert (figures["bytes"], figures["documents"]) == (3000, len(texts))
    assert figures["differences"] == []
    for line, document, bits, spread in zip(figures["per_document"], documents, raw.bits, view.bits, strict=True):
        assert (line["document"], line["project"], line["source"]) == (document.id, document.project, "toy")
        assert line["bytes"] == len(document.text)
        assert line["raw_bpb"]["run"] * line["bytes"] == pytest.approx(bits)
        assert line["view_bpb"]["run"]["bpe-300"] * line["bytes"] == pytest.approx(spread)


@pytest.mark.parametrize("what", ["project", "source"])
def test_parts_are_sums_of_their_documents(store, what):
    runs = [run_of(store, "one"), run_of(store, "two", seed=1)]
    documents = common_text(runs, "test", 5000, 700)
    figures = figures_of(runs, documents)
    parts = figures[f"per_{what}"]
    assert {line[what] for line in parts} == {getattr(one, what) for one in documents}
    assert [line["bytes"] for line in parts] == sorted((line["bytes"] for line in parts), reverse=True)
    for part in parts:
        own = [line for line in figures["per_document"] if line[what] == part[what]]
        assert part["bytes"] == sum(line["bytes"] for line in own)
        for name in ("one", "two"):
            bits = sum(line["bytes"] * line["raw_bpb"][name] for line in own)
            assert part["raw_bpb"][name] * part["bytes"] == pytest.approx(bits)
            bits = sum(line["bytes"] * line["view_bpb"][name]["bpe-300"] for line in own)
            assert part["view_bpb"][name]["bpe-300"] * part["bytes"] == pytest.approx(bits)


def test_the_first_run_is_compared_with_each_other_one(store):
    runs = [run_of(store, name, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
    documents = common_text(runs, "test", 5000, 700)
    figures = figures_of(runs, documents)
    scored = {run.name: run_scores(run, documents, 40).raw for run in runs}
    for one, other in zip(figures["differences"], ("b", "c"), strict=True):
        assert (one["run"], one["against"], one["of"], one["against_of"]) == ("a", other, "raw", "raw")
        found = paired_difference(scored["a"], scored[other])
        assert (one["bpb"], one["documents"]) == (found.bpb, {"low": found.low, "high": found.high})
        assert one["percent"] == pytest.approx(100 * (scored["a"].bpb / scored[other].bpb - 1))
        names = sorted({document.project for document in documents})
        which = [names.index(document.project) for document in documents]
        sums = [
            Scored(np.bincount(which, run.bits), np.bincount(which, run.bytes).astype(int))
            for run in (scored["a"], scored[other])
        ]
        over = paired_difference(*sums)
        assert one["projects"] == pytest.approx({"low": over.low, "high": over.high})
        assert one["projects"] != one["documents"]


def test_a_model_of_one_distribution_costs_what_it_says(store):
    """All positions choose alike: the bits of each byte are those of its own probability, in closed form."""
    run = run_of(store, config=replace(CONFIG, mixture=BYTES))
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.zero_()
        run.model.norm.weight.fill_(1.0)
        run.model.embed_tokens.weight[:, 0] = 1.0  # every position reads the same, and is normed to sqrt(width)
        logits = torch.linspace(-2, 3, 320)
        run.model.lm_head.weight[:320, 0] = logits / math.sqrt(32)
    documents = common_text([run], "validation", 2000, 500)
    figures = figures_of([run], documents)
    assert figures["runs"]["run"]["view_bpb"] == {}
    assert figures["runs"]["run"]["transfer_gap"] is None
    bits = (-logits.double().log_softmax(0) / math.log(2)).numpy()
    for line, document in zip(figures["per_document"], documents, strict=True):
        expected = np.mean([bits[FIRST_BYTE + byte] for byte in document.text])
        assert line["raw_bpb"]["run"] == pytest.approx(expected, rel=1e-4)


def test_a_run_without_raw_text_is_compared_by_its_view(store):
    runs = [run_of(store, "bytes"), run_of(store, "tokenizer", SYMBOLS, seed=1)]
    documents = common_text(runs, "test", 3000, 700)
    figures = figures_of(runs, documents)
    (one,) = figures["differences"]
    assert (one["of"], one["against_of"]) == ("raw", "bpe-300")
    expected = figures["runs"]["bytes"]["raw_bpb"] - figures["runs"]["tokenizer"]["view_bpb"]["bpe-300"]
    assert one["bpb"] == pytest.approx(expected)
    assert figures["runs"]["tokenizer"]["headline_bpb"] == figures["runs"]["tokenizer"]["view_bpb"]["bpe-300"]
    slowly = replace(CONFIG, mixture=Mixture(phases=(Phase(1.0, "one", 1.0, 0.5),)))
    documents = common_text(runs, "test", 500, 500)
    assert figures_of([run_of(store, config=slowly)], documents)["runs"]["run"]["headline"] == "raw"


def test_runs_of_other_corpora_need_the_same_text(store, tmp_path):
    documents = list(store.documents("test"))
    prepare_documents(documents, tmp_path / "same", SplitOptions(0.0, 0.999999))
    add_view(tmp_path / "same", store.view("bpe-300"))
    prepare_documents(documents[1:], tmp_path / "less", SplitOptions(0.0, 0.999999))
    add_view(tmp_path / "less", store.view("bpe-300"))
    one = run_of(store, "one")
    same, less = (run_of(Store.open(tmp_path / name), name) for name in ("same", "less"))
    assert common_text([one, same], "test", 10**6, 10**6) == common_text([one], "test", 10**6, 10**6)
    with pytest.raises(InputError, match="one and less were trained on different corpora"):
        common_text([one, less], "test", 10**6, 10**6)


def test_what_cannot_be_scored_is_said(store):
    run = run_of(store)
    with pytest.raises(InputError, match="give 1 to 80 bytes, the longest passage of run"):
        stride_of(run, 81)
    assert (stride_of(run, None), stride_of(run, 80)) == (40, 80)
    with pytest.raises(InputError, match="at least 1"):
        common_text([run], "test", 0, 10)


def test_notes_say_who_is_above_ppmd_and_whose_windows_differ():
    def one(bpb, window=512):
        return {"headline": "raw", "headline_bpb": bpb, "window": window}

    said = notes({"a": one(2.5), "b": one(1.5)}, 2.0)
    assert len(said) == 1
    assert said[0].startswith("a (raw) is above PPMd, 2.500 against 2.000")
    assert "under-trained" in said[0]
    assert "not matched" in notes({"a": one(1.0), "b": one(1.5, 256)}, 2.0)[0]
    assert notes({"a": one(1.0)}, 2.0) == []


def cells(table):
    return list(zip(*(column._cells for column in table.columns), strict=True))


def test_tables_hold_the_figures(store):
    runs = [run_of(store, "a"), run_of(store, "b", replace(CONFIG, objective=Objective(symbols=0.0, bag=1.0)))]
    documents = common_text(runs, "test", 5000, 700)
    results = figures_of(runs, documents)
    rows = {row[0]: row for row in cells(runs_table(results))}
    assert list(rows) == ["a", "b", "xz", "zstd", "PPMd"]
    own = results["runs"]["a"]
    assert rows["a"][5:] == (
        f"{own['raw_bpb']:.4f}",
        f"{own['view_bpb']['bpe-300']:.4f}",
        f"{own['transfer_gap']:+.4f}",
    )
    assert rows["b"][6] == "–"
    assert rows["zstd"][5] == f"{results['compressors']['zstd']:.4f}"
    (difference,) = cells(differences_table(results))
    assert difference[0] == "a (raw)"
    low, high = results["differences"][0]["projects"].values()
    assert difference[-1] == f"{low:+.4f} to {high:+.4f}"


def test_the_largest_come_first_then_the_worst_of_the_others(monkeypatch):
    monkeypatch.setattr("byteproxy.evaluate.run_tables.SHOWN", 2)
    sizes, costs = [50, 10, 40, 30, 20], [1.0, 9.0, 2.0, 3.0, 4.0]
    numbers = count()
    lines = [
        {"project": f"p{next(numbers)}", "bytes": size, "raw_bpb": {"run": cost}, "view_bpb": {}}
        for size, cost in zip(sizes, costs, strict=True)
    ]
    table = parts_table({"per_project": lines, "runs": {"run": {}}}, "project")
    assert [row[0] for row in cells(table)] == ["p0", "p2", "p1", "p4"]
    assert "the 2 largest of 5" in str(table.title)


def test_documents_may_come_from_several_sources(tmp_path):
    documents = [Document(f"{n}", b"%d\n" % n * 30, f"s{n % 2}", f"p{n}") for n in range(6)]
    prepare_documents(documents, tmp_path, SplitOptions(0.0, 0.999999))
    run = run_of(Store.open(tmp_path), config=replace(CONFIG, views=(), mixture=BYTES))
    figures = figures_of([run], common_text([run], "test", 10**6, 10**6))
    assert figures["sources"] == len(figures["per_source"]) == 2
