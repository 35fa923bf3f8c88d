"""What could not be read is counted as the records that it was, listed with its bytes, and held against the share."""

import gzip
import json
from pathlib import Path

import pytest

from byteproxy.corpus.source import source, sources
from byteproxy.errors import InputError
from byteproxy.evaluate.corpus.corpus_figures import corpus_figures
from byteproxy.evaluate.corpus.tables import by_reason
from byteproxy.store.format import MANIFEST_VERSION
from byteproxy.store.prepare import Preparation, prepare
from byteproxy.store.store import Store

KEEP = Preparation(near_duplicates="keep", max_faulty=1.0)


def lines(first: int, last: int) -> bytes:
    rows = ({"text": f"{n * 7919 % 10007:0100d}", "id": f"d{n}"} for n in range(first, last))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rejected(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of 2,000 records, of which the second is cut at a quarter."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines(0, 2000)))
    whole = gzip.compress(lines(2000, 4000))
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) // 4])
    return folder


def test_a_shard_that_is_cut_counts_as_what_it_lost(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = prepare([source(str(shards))], out, KEEP)
    documents = sum(split.documents for split in manifest.splits.values())
    assert 2000 < documents < 2600
    assert manifest.records == pytest.approx(4000, rel=0.05)
    assert manifest.lost_records == manifest.rejected["unreadable"] == manifest.records - documents
    assert manifest.lost_bytes == pytest.approx(3 * (shards / "b.jsonl.gz").stat().st_size, rel=0.1)
    (line,) = rejected(out)
    assert (line["file"], line["reason"]) == ("b.jsonl.gz", "unreadable")
    assert (line["records"], line["lost_bytes"]) == (manifest.lost_records, manifest.lost_bytes)
    figures = corpus_figures(Store.open(out))
    assert figures["lost"] == {"records": manifest.lost_records, "bytes_on_disk": manifest.lost_bytes}
    assert f"about {manifest.lost_records:,} lost" in by_reason(figures).title
    assert json.loads((out / "manifest.json").read_text())["version"] == MANIFEST_VERSION
    assert prepare([source(str(shards))], out, KEEP, workers=2) == manifest
    Store.open(out).verify()


def test_the_estimate_is_held_against_the_share_that_may_be_faulty(shards: Path, tmp_path: Path) -> None:
    usual = Preparation(near_duplicates="keep")
    with pytest.raises(
        InputError, match=r"records are faulty, 3\d\.?\d* % .*about 1,\d+ of them, \d,\d+ bytes on disk, lost in"
    ):
        prepare([source(str(shards))], tmp_path / "out", usual)
    assert rejected(tmp_path / "out")[0]["records"] > 1000  # type: ignore[operator]


def test_of_nothing_lost_the_manifest_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(0, 50) + b"{broken\n")
    manifest = prepare([source(f"{tmp_path}/a.jsonl")], tmp_path / "out", KEEP)
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "lost_records" not in content
    assert (manifest.lost_records, manifest.lost_bytes) == (0, 0)
    assert set(rejected(tmp_path / "out")[0]) == {"source", "file", "line", "reason", "detail"}
    assert by_reason(corpus_figures(Store.open(tmp_path / "out"))).title == "Rejected"


def test_a_source_that_gives_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(0, 50))
    (tmp_path / "b.jsonl").write_bytes(b"\n \n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.py").write_bytes(b"")
    (tmp_path / "c" / "y.ts").write_bytes(bytes(500))
    for name, message in {
        "b.jsonl": r"source b gives no document: its records are rejected \(1 too small\); all are listed in",
        "c": r"source c gives no document: its records are rejected \(1 too small, 1 not text\); all are",
    }.items():
        with pytest.raises(InputError, match=message):
            prepare(sources([f"{tmp_path}/a.jsonl", f"{tmp_path}/{name}"]), tmp_path / "out", KEEP)
    (tmp_path / "d.jsonl").write_bytes(lines(0, 50))  # copies of what was read before are documents that were read
    prepare(sources([f"{tmp_path}/a.jsonl", f"{tmp_path}/d.jsonl"]), tmp_path / "out", KEEP)


def test_an_empty_shard_among_others_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(0, 50))
    (folder / "b.jsonl").write_bytes(b"")
    prepare([source(str(folder))], tmp_path / "out", KEEP)
    assert [(one["file"], one["reason"], one["detail"]) for one in rejected(tmp_path / "out")] == [
        ("b.jsonl", "too small", "the file holds no records")
    ]
