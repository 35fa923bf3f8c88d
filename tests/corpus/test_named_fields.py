import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byteproxy.corpus import named_fields
from byteproxy.corpus.source import source
from byteproxy.errors import InputError

RECORDS = [
    {"text": f"t{n}", "repo_name": f"r{n}", "metadata": {"repo": n, "x, y": "z"}, "score": 0.5} for n in range(9)
]


def write(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    data = b"\n".join(json.dumps(record).encode() for record in records)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "d.parquet"])
def test_a_field_that_no_record_has_is_refused_with_those_that_there_are(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, RECORDS)
    for option in ("project=repo_nmae", "project=repo_nmae|other", "id=repo_nmae", "language=text,project=repo_nmae"):
        with pytest.raises(InputError, match=r"no record has a field repo_nmae.*mean \w+=repo_name\?.*metadata"):
            source(f"{path}:{option}").units()
    with pytest.raises(InputError, match=r'did you mean project="metadata.x, y"\?'):
        source(f"{path}:project=metadata.x y").units()
    for option in ("project=repo_name", "project=repo_nmae|repo_name", "project=metadata.repo", "project=gone|"):
        assert len(source(f"{path}:{option}").units()) == 1
    for option in ("project=metadata", "id=score"):
        with pytest.raises(InputError, match=r"(metadata|score) .*(is|holds) .*neither strings? nor whole numbers?"):
            source(f"{path}:{option}").units()


def test_text_that_no_line_has_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", [{"body": "x"}] * 3)
    with pytest.raises(InputError, match=r"no record has a field text or content.*; there are body"):
        source(str(path)).units()
    assert len(source(f"{path}:text=body").units()) == 1


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_some_file_has_to_have_the_field_and_some_record_of_it(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "d"
    for n in range(3):
        write(folder / f"{n}.{suffix}", [{"text": f"t{n}"}] * 5)
    with pytest.raises(InputError, match="no record has a field repo"):
        source(f"{folder}:project=repo").units()
    write(
        folder / f"2.{suffix}",
        [{"text": "t", **more} for more in ({}, {"repo": "r"})][:: -1 if suffix == "parquet" else 1],
    )
    assert len(source(f"{folder}:project=repo").units()) == 3
    write(folder / "3.jsonl", [{"text": "t", "name": None}])
    assert len(source(f"{folder}:project=name").units()) == 4, "there, if nothing is in it"


def test_where_not_everything_is_read_a_later_field_is_allowed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_fields, "FIRST_BYTES", 100)
    monkeypatch.setattr(named_fields, "MAX_BYTES", 8000)
    path = write(tmp_path / "d.jsonl", [{"text": "t" * 90}] * 20 + [{"text": "t", "repo": "r"}])
    assert len(source(f"{path}:project=repo").units()) == 1, "within what is read"
    path = write(tmp_path / "d.jsonl", [{"text": "t" * 90}] * 200 + [{"text": "t", "repo": "r"}])
    with pytest.raises(InputError, match=r"none of the first \d+ records of its files .*project=repo\| that it comes"):
        source(f"{path}:project=repo").units()
    assert len(source(f"{path}:project=repo|").units()) == 1


def test_what_holds_no_record_is_for_reading_to_judge(tmp_path: Path) -> None:
    for data in (b"\n", b"[1]\n", b"{broken\n"):
        (tmp_path / "d.jsonl").write_bytes(data)
        assert len(source(f"{tmp_path}/d.jsonl:project=repo").units()) == 1


def test_no_more_is_read_than_to_the_first_record_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "d.jsonl", RECORDS)
    looked_at = []
    values_of = named_fields.values_of
    monkeypatch.setattr(named_fields, "values_of", lambda line: looked_at.append(line) or values_of(line))
    source(f"{path}:project=repo_name,id=metadata.repo").units()
    assert len(looked_at) == 1
