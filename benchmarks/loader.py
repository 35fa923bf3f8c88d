"""The training stream: rows a second, planning, the first batch after a resume, and how fast a corpus is prepared.

All on one core. Floor of the rows: 17 bytes written and 1 to 2 read a position, so at 10 GB/s of memory about 500
million positions a second. Floor of the preparation: a byte is hashed twice (SHA-256, 1.8 GB/s here) and written twice,
beside the reading.

Rows are those of the standard library through a BPE view; a table of 10^8 documents is simulated, its rows drawn from
the real one, so lengths, order and jumps are those of such a corpus and the texts are not. Everything is warm.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from byteproxy.corpus.document import Document
from byteproxy.corpus.source import source
from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import Planner, State
from byteproxy.mixture.schedule import Mixture
from byteproxy.store.encode import add_view
from byteproxy.store.passage_index import SourcePassages, Summary, Table
from byteproxy.store.prepare import prepare, prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView

ROUNDS, STEPS = 9, 20
ROWS, LENGTH = 64, 4096
TOTAL = 100_000
"""Optimizer steps of the run: the paper preset pairs in the first fifth."""
COPIES = 8
RESUME = """
import json, sys, time
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import Mixture
from byteproxy.store.store import Store
folder, view, state = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
begin = time.perf_counter()
stream = Stream(Store.open(folder), (view,), Mixture("paper"), Shape(64, 4096, 1024), 0, 100_000)
plan, _ = stream.plan(State(**{**state, "drawn": tuple(state["drawn"])}))
rows = stream.rows(plan)
print(json.dumps({"seconds": time.perf_counter() - begin, "sum": int(rows.symbols.sum())}))
"""


def measure(say: Callable[[str], None]) -> dict:
    """`positions_s_core`, `plan_share_of_step`, `resume_seconds`, `prepare_mb_s_core`, and what they are made of."""
    with tempfile.TemporaryDirectory() as name, _one_core():
        folder = Path(name)
        say("prepare the standard library ...")
        stream = _stream(folder / "corpus")
        figures: dict[str, Any] = {"rows": ROWS, "length": LENGTH, "rounds": ROUNDS}
        for documents in (10**4, 10**6, 10**8):
            say(f"rows of {documents:,} documents ...")
            figures[f"{documents:.0e} documents"] = _rates(_simulated(stream, folder, documents))
        figures["positions_s_core"] = min(
            figures[key][phase]["positions_s_core"]["median"]
            for key in figures
            if key.endswith("documents")
            for phase in ("paired", "unpaired")
        )
        say("plan steps of 2M positions ...")
        figures["plan_share_of_step"] = _plan_share(stream)
        say("resume ...")
        figures["resume_seconds"] = {f"step {step:,}": _resumed(stream, step) for step in (10, TOTAL - 1)}
        figures["prepare_mb_s_core"] = {}
        for kind in ("jsonl", "parquet", "files"):
            say(f"prepare from {kind} ...")
            figures["prepare_mb_s_core"][kind] = _prepared(folder, kind)
    return figures


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process and its children on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stream(folder: Path) -> Stream:
    prepare_documents(read_stdlib(), folder, SplitOptions(0, 0))
    view = BpeView.train((document.text for document in Store.open(folder).documents("train")), 4096)
    add_view(folder, view)
    return Stream(Store.open(folder), (view.name,), Mixture("paper"), Shape(ROWS, LENGTH, 1024), 0, TOTAL)


def _simulated(stream: Stream, folder: Path, documents: int) -> Stream:
    """The same stream over a table with this many documents of one passage each."""
    real, path = stream.table.rows, folder / f"{documents}.i64"
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for done in range(0, documents, 1 << 20):
            file.write(real[generator.integers(0, len(real), min(1 << 20, documents - done))].tobytes())
    rows = np.memmap(path, np.int64, "r").reshape(-1, real.shape[1])
    sums = tuple(int(total) for total in real[:, 2::2].sum(axis=0) / len(real) * documents)
    one = SourcePassages("simulated", 0, documents, documents, sums)
    other = Stream(*stream.__reduce__()[1])  # type: ignore[arg-type]
    other.table = Table(rows, Summary((one,), stream.table.summary.most))
    other.planner = Planner(other.mixture, TOTAL, other.table, [1.0], [1.0], ROWS, LENGTH, 0)
    return other


def _rates(stream: Stream) -> dict[str, Any]:
    """Both phases of the paper preset: positions a second, plan and rows together."""
    found = {}
    for name, step in (("paired", TOTAL // 10), ("unpaired", TOTAL // 2)):
        state = State(step=step, draw=700 * step, drawn=(700 * step,))
        plans, rows = [], []
        for turn in range(ROUNDS + 1):
            planning = copying = 0.0
            for _ in range(STEPS):
                begin = time.perf_counter()
                plan, state = stream.plan(state)
                between = time.perf_counter()
                stream.rows(plan)
                planning, copying = planning + between - begin, copying + time.perf_counter() - between
            if turn:
                plans.append(planning / STEPS)
                rows.append(copying / STEPS)
        seconds = np.array(plans) + np.array(rows)
        found[name] = {
            "positions_s_core": _spread(ROWS * LENGTH / seconds, 0),
            "plan_ms": _spread(1e3 * np.array(plans), 3),
            "rows_ms": _spread(1e3 * np.array(rows), 3),
        }
    return found


def _plan_share(stream: Stream) -> dict[str, Any]:
    """Planning of a step of 2M positions, as a share of a step that takes one second."""
    rows = (1 << 21) // LENGTH
    found = {}
    for packing in ("fill", "whole"):
        mixture = Mixture("paper", packing=packing)
        planner = Planner(mixture, TOTAL, stream.table, [1.0], [1.0], rows, LENGTH, 0)
        state, seconds = State(), []
        for _ in range(ROUNDS + 1):
            begin = time.perf_counter()
            _, state = planner.plan(state)
            seconds.append(time.perf_counter() - begin)
        found[packing] = _spread(np.array(seconds[1:]), 5)
    return found


def _resumed(stream: Stream, step: int) -> dict[str, Any]:
    """Seconds from opening the store to the first batch, in processes of their own that have done their imports."""
    state = State()
    while state.step < step:
        _, state = stream.plan(state)
    wanted = int(stream.rows(stream.plan(state)[0]).symbols.sum())
    command = [sys.executable, "-c", RESUME, str(stream.store.path), stream.views[0], json.dumps(state._asdict())]
    seconds = []
    for _ in range(ROUNDS):
        answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert answer["sum"] == wanted
        seconds.append(answer["seconds"])
    return _spread(np.array(seconds[1:]), 3)


def _prepared(folder: Path, kind: str) -> dict[str, Any]:
    """MB of text a second, near-duplicates included; the first run warms up."""
    path = folder / f"source.{kind}"
    size = _written(path, kind)
    rates = []
    for turn in range(4):
        begin = time.perf_counter()
        manifest = prepare([source(str(path))], folder / f"prepared-{kind}-{turn}")
        rates.append(sum(side.bytes for side in manifest.splits.values()) / 1e6 / (time.perf_counter() - begin))
    return {**_spread(np.array(rates[1:]), 1), "text_mb": round(size / 1e6, 1)}


def _copies() -> Iterator[Document]:
    """The standard library several times over, each time in letters of its own, so that nothing is like anything."""
    letters = bytes(range(97, 123))
    for copy in range(COPIES):
        shuffled = bytes(np.random.default_rng(copy).permutation(list(letters)).tolist())
        table = bytes.maketrans(letters, shuffled)
        for document in read_stdlib():
            text = document.text.decode("utf-8", "replace").encode().translate(table)
            if text:
                yield Document(f"{copy}/{document.id}", text, "copies", f"{copy}/{document.project}")


def _written(path: Path, kind: str) -> int:
    if kind == "files":
        return sum(_file(path / document.id, document.text) for document in _copies())
    rows = [{"id": document.id, "text": document.text.decode(), "project": document.project} for document in _copies()]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2000)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return sum(len(row["text"].encode()) for row in rows)


def _file(path: Path, text: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return len(text)


def _spread(values: np.ndarray, digits: int) -> dict[str, float]:
    low, median, high = (round(float(value), digits) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {"median": median, "quartiles": [low, high]}  # type: ignore[dict-item]
