"""A corpus prepared here opens in datasets, polars and duckdb, text and symbols, without byteproxy."""

import json
from pathlib import Path

import numpy as np
import pytest

from byteproxy.corpus.source import sources
from byteproxy.corpus.split import SplitOptions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import Preparation, prepare
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[dict[str, object]]]:
    """A store from a JSONL file, and its documents with their symbols in the order of shards."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(["one", "two", "naïve", "throughout"], 40)) for _ in range(60)]
    lines = [{"id": f"é{number}", "text": text, "repo": f"r{number % 9}"} for number, text in enumerate(texts)]
    (folder / "web.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    preparation = Preparation(SplitOptions(0.2, 0.2), shard_bytes=3000, near_duplicates="keep")
    prepare(sources([str(folder / "web.jsonl")]), folder / "out", preparation)
    view = BpeView.train((str(line["text"]).encode() for line in lines), 270)
    add_view(folder / "out", view)
    store = Store.open(folder / "out")
    rows = [
        {
            "id": document.id,
            "text": document.text,
            "source": "web",
            "project": document.project,
            "symbols": store.symbols(view.name, shard, row).tolist(),
        }
        for split in ("train", "validation", "test")
        for shard in store.shards(split)
        for row, document in enumerate(documents_of(store, split, shard))
    ]
    assert len(store.manifest.shards) > 4
    assert len(rows) == 60
    return store, rows


def documents_of(store: Store, split: str, shard: int) -> list:
    """The documents of one shard."""
    before = sum(store.manifest.shards[other].documents for other in store.shards(split) if other < shard)  # type: ignore[arg-type]
    return list(store.documents(split))[before : before + store.manifest.shards[shard].documents]  # type: ignore[arg-type]


def files(store: Store) -> tuple[list[Path], list[Path]]:
    texts = [store.path / shard.file.name for shard in store.manifest.shards]
    return texts, [store.path / file.name for file in store.manifest.views[0].files]


COLUMNS = ("id", "text", "source", "project")


def test_datasets(corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    store, wanted = corpus
    texts, views = files(store)
    for paths, columns in ((texts, COLUMNS), (views, ("symbols",))):
        for streaming in (True, False):
            found = datasets.load_dataset(
                "arrow",
                data_files=list(map(str, paths)),
                split="train",
                streaming=streaming,
                cache_dir=str(tmp_path / "cache"),
            )
            rows = [{column: row[column] for column in columns} for row in found]
            assert rows == [{column: row[column] for column in columns} for row in wanted]


def test_polars(corpus) -> None:
    import polars

    store, wanted = corpus
    texts, views = files(store)
    frame = polars.concat([polars.read_ipc(path) for path in texts])
    assert frame.select(COLUMNS).to_dicts() == [{column: row[column] for column in COLUMNS} for row in wanted]
    lazy = polars.scan_ipc([str(path) for path in views]).select("symbols").collect()
    assert lazy["symbols"].to_list() == [row["symbols"] for row in wanted]


def test_duckdb(corpus) -> None:
    import duckdb
    import pyarrow.dataset

    store, wanted = corpus
    texts, views = files(store)
    documents = pyarrow.dataset.dataset([str(path) for path in texts], format="ipc")
    symbols = pyarrow.dataset.dataset([str(path) for path in views], format="ipc")
    connection = duckdb.connect()
    connection.register("documents", documents)
    connection.register("symbols", symbols)
    found = connection.execute("select project, sum(octet_length(text)) from documents group by project").fetchall()
    by_project: dict[str, int] = {}
    for row in wanted:
        by_project[row["project"]] = by_project.get(row["project"], 0) + len(row["text"])
    assert dict(found) == by_project
    lengths = connection.execute("select len(symbols) from symbols").fetchall()
    assert sorted(length for (length,) in lengths) == sorted(len(row["symbols"]) for row in wanted)
