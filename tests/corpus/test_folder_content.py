"""What a folder is read as: a repository of the Hub, code with fixtures, both at once, shards of other libraries."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byteproxy.corpus import folder_content as folder_content_module
from byteproxy.corpus.records import BINARY, OTHER_KIND, POINTER, WIDE, Record, Rules
from byteproxy.corpus.source import RecordsSource, source
from byteproxy.corpus.source_files import FilesSource
from byteproxy.errors import InputError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n"
LINES = b"".join(b'{"text": "%d"}\n' % n for n in range(40))
CARD = b"---\nlicense: mit\n---\n# A dataset\n" * 40


def parquet(path: Path, rows: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": [str(n) for n in range(rows)]}), path)


def tar(name: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name.decode()))
    return sink.getvalue()


def put(root: Path, **files: bytes) -> None:
    for name, data in files.items():
        path = root / name.replace("__", ".").replace("_of_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(spec: str) -> list[Record]:
    return [record for unit in source(spec).units() for record in unit.read(Rules())]


def ids(spec: str) -> list[str]:
    return [record.document.id for record in read(spec) if record.document is not None]


def test_a_repository_of_the_hub_is_its_tables(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    put(tmp_path, README__md=CARD, LICENSE=b"MIT", __gitattributes=b"*.parquet filter=lfs\n", dataset_infos__json=b"{}")
    put(tmp_path, config__json=b'{"a": 1}')
    assert len(ids(str(tmp_path))) == 40
    assert {record.reason for record in read(str(tmp_path))} == {""}
    (tmp_path / "data").rename(tmp_path / ".git")
    assert ids(str(tmp_path)) == ["README.md", "config.json", "dataset_infos.json"]


def test_a_saved_data_set_is_its_arrow_files(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path / split, dataset_info__json=b'{"features": {}}', state__json=b'{"_data_files": []}')
        with pa.ipc.new_stream(tmp_path / split / "data-0.arrow", pa.schema({"text": pa.string()})) as writer:
            writer.write_table(pa.table({"text": [split]}))
    put(tmp_path, dataset_dict__json=b'{"splits": ["train", "test"]}')
    assert ids(str(tmp_path)) == ["test/data-0.arrow:1", "train/data-0.arrow:1"]


def test_records_are_known_under_any_name(tmp_path: Path) -> None:
    parquet(tmp_path / "part-00000")
    put(tmp_path, a__json__gz=gzip.compress(LINES), b__txt=LINES, c__json=json.dumps([{"text": "c"}]).encode())
    put(
        tmp_path,
        d__jsonl=gzip.compress(LINES),
        e__gz=gzip.compress(LINES),
        README__md=CARD,
        photo__png=b"\x89PNG\r\n\x1a\n",
    )
    found = source(str(tmp_path))
    assert isinstance(found, RecordsSource)
    kinds = [("a.json.gz", "jsonl"), ("b.txt", "jsonl"), ("c.json", "jsonl"), ("d.jsonl", "jsonl"), ("e.gz", "jsonl")]
    assert found.files == (*kinds, ("part-00000", "parquet"))
    assert len(ids(str(tmp_path))) == 5 * 40 + 1


def test_lines_of_json_among_code_are_source_text(tmp_path: Path) -> None:
    put(
        tmp_path,
        a_of_x__py=b"x = 1\n",
        a_of_fixture__json=LINES,
        a_of_list__json=b'[{"a": 1}]',
        a_of_package__json=b'{"n": 1}',
    )
    assert ids(str(tmp_path)) == ["a/fixture.json", "a/list.json", "a/package.json", "a/x.py"]
    assert (
        len(ids(f"{tmp_path}:include=*.json,format=jsonl,text=text|a|n")) == 40
    )  # what somebody names is read as named


def test_what_is_incidental_is_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, a__py=b"x = 1\n" * 900, b__py=b"y = 1\n" * 900, tests_of_data__jsonl=LINES)
    found = source(str(tmp_path))
    assert isinstance(found, FilesSource)
    *documents, left_out = read(str(tmp_path))
    assert [record.file for record in documents] == ["a.py", "b.py"]
    assert (left_out.file, left_out.reason) == ("tests/data.jsonl", OTHER_KIND)
    data = tmp_path / "data"
    parquet(data / "a.parquet", 20_000)
    put(data, make__py=b"write()\n")
    *documents, left_out = read(str(data))
    assert len(documents) == 20_000
    assert (left_out.file, left_out.reason) == ("make.py", OTHER_KIND)
    (unit,) = source(str(data)).units()[1:]
    assert list(unit.read(Rules(), 1)) == []
    assert unit.key != source(str(data)).units()[0].key


def test_both_at_once_are_refused_with_how_to_choose(tmp_path: Path) -> None:
    put(tmp_path, a__py=b"x = 1\n" * 90, b__jsonl=LINES)
    parquet(tmp_path / "c.parquet")
    with pytest.raises(
        InputError, match=r"holds records \(2 files, .*b\.jsonl.*\) and source text \(1 files, .*a\.py\)"
    ):
        source(str(tmp_path))
    with pytest.raises(InputError, match=r"format=jsonl or format=parquet or format=files, or by include= or exclude="):
        source(str(tmp_path))
    assert len(ids(f"{tmp_path}:format=jsonl")) == len(ids(f"{tmp_path}:format=parquet")) == 40
    assert ids(f"{tmp_path}:format=files") == ids(f"{tmp_path}:include=*.py") == ["a.py"]
    assert len(ids(f"{tmp_path}:exclude=*.py")) == len(ids(f"{tmp_path}:text=text")) == 80


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("shard-000000.tar", tar(b"a.txt"), "2 x a tar archive: unpack it first"),
        ("part.orc", b"ORC\x00" * 200, "2 x an ORC file: write its text as JSON lines or Parquet"),
        ("data.csv", b"text,id\none,1\n" * 200, "2 x a table in CSV: write its text as JSON lines or Parquet"),
        ("data.csv.gz", gzip.compress(b"text,id\none,1\n", mtime=0), "2 x a table in CSV: write"),
        ("data.zip", LFS, "2 x a Git LFS pointer: fetch the data with git lfs pull"),
        ("data.gz", gzip.compress(b"one\n" * 99, mtime=0), "2 x a file of gzip: decompress it first"),
    ],
)
def test_text_about_data_that_is_not_read_is_no_corpus(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    for folder in ("train", "test"):
        put(tmp_path / folder, **{name.replace(".", "__"): data})
    put(tmp_path, README__md=CARD, config__json=b'{"a": 1}')
    with pytest.raises(InputError, match=rf"holds data that isn't read \({what}.*README\.md.*say format=files"):
        source(str(tmp_path))
    assert ids(f"{tmp_path}:format=files") == ids(f"{tmp_path}:exclude=/train|/test") == ["README.md", "config.json"]
    put(tmp_path, a__py=b"x = 1\n" * 2000)
    assert "a.py" in ids(str(tmp_path))
    put(tmp_path, a__py=b"x = 1\n")
    if name.endswith((".tar", ".csv")):
        with pytest.raises(InputError, match=what):
            source(str(tmp_path))
    put(tmp_path, **{f"b{n}__py": b"%d\n" % n for n in range(20)})  # a project, whatever else there is
    assert "a.py" in ids(str(tmp_path))


def test_what_git_ignores_makes_no_folder_a_mixture(tmp_path: Path) -> None:
    put(tmp_path, a__py=b"x = 1\n", data_of_b__jsonl=LINES, __gitignore=b"data/\n")
    assert ids(str(tmp_path)) == ["a.py"]
    (tmp_path / "a.py").unlink()
    assert len(ids(str(tmp_path))) == 40


def test_shards_of_other_libraries_are_refused_by_name(tmp_path: Path) -> None:
    index = {"version": 2, "shards": [{"format": "mds", "raw_data": {"basename": "shard.00000.mds"}}]}
    put(tmp_path / "m", deep_of_index__json=json.dumps(index).encode(), deep_of_shard__mds=bytes(5000))
    put(tmp_path / "l", index__json=b'{"chunks": [], "config": {}}', chunk__bin=bytes(5000))
    put(tmp_path / "code", index__json=b'{"shards": 3}', a__py=b"x = 1\n")
    with pytest.raises(InputError, match=r"m/deep holds shards of MosaicML Streaming .*StreamingDataset.*Parquet"):
        source(f"{tmp_path}/m")
    with pytest.raises(InputError, match=r"/l holds shards of litData"):
        source(f"{tmp_path}/l")
    assert ids(f"{tmp_path}/code") == ["a.py", "index.json"]


def test_folders_of_nothing_to_read_say_what_they_hold(tmp_path: Path) -> None:
    put(tmp_path, a__tar=bytes(257) + b"ustar\x0000" + bytes(300), b__png=b"\x89PNG\r\n\x1a\n", c__xyz=b"text\n")
    with pytest.raises(InputError, match=r"holds no files to read; what it holds: 1 x a tar archive, 1 x a PNG image"):
        source(str(tmp_path))
    with pytest.raises(InputError, match=r"holds no files to read; hidden"):
        source(f"{tmp_path}:include=*.none")


def test_what_is_no_text_under_a_name_of_text_is_listed(tmp_path: Path) -> None:
    put(tmp_path, a__py=b"x = 1\n", b__ts=b"\x47" + bytes(187), c__json=LFS, d__txt="wide".encode("utf-16"))
    put(tmp_path, e__md=gzip.compress(b"# packed\n"), f__c=gzip.compress(bytes(100)))
    found = read(str(tmp_path))
    assert [record.reason for record in found] == ["", BINARY, POINTER, WIDE, "", BINARY]
    assert [record.document and record.document.text for record in found][4] == b"# packed\n"
    assert all(record.detail for record in found if record.reason)


def test_single_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    put(tmp_path, a__parquet=LFS, b__jsonl=LFS, c__txt=LFS, d__py=b"\x89PNG\r\n\x1a\n", e__jsonl="{}".encode("utf-16"))
    put(tmp_path, f__txt=b"", g__jsonl=b"", h__jsonl__gz=gzip.compress(b""), i__parquet=LINES, j__arrow=b"no" * 99)
    for name, message in {
        "a.parquet": "is a Git LFS pointer, not a Parquet file: fetch the data with git lfs pull",
        "b.jsonl": "is a Git LFS pointer, not lines of JSON: fetch",
        "c.txt": "is a Git LFS pointer, not source text: fetch",
        "d.py": "is a PNG image, not source text",
        "e.jsonl": "is text in UTF-16, not lines of JSON: write it in UTF-8 .iconv",
        "f.txt": "is empty",
        "g.jsonl": "is empty",
        "h.jsonl.gz": "is empty",
        "j.arrow": "is text, not an Arrow file",
    }.items():
        with pytest.raises(InputError, match=message):
            source(f"{tmp_path}/{name}")
    with pytest.raises(InputError, match="is json, not a Parquet file"):
        source(f"{tmp_path}/i.parquet:format=parquet")
    with pytest.raises(InputError, match=r"a\.parquet is a Git LFS pointer.*exclude="):
        source(f"{tmp_path}:format=parquet").units()


def test_single_files_are_what_they_hold(tmp_path: Path) -> None:
    parquet(tmp_path / "a.jsonl")
    put(tmp_path, b__parquet=gzip.compress(LINES), c__json=LINES, d__txt__gz=gzip.compress(b"a book"), e__py=LINES)
    assert len(ids(f"{tmp_path}/a.jsonl")) == 40
    assert len(ids(f"{tmp_path}/b.parquet")) == 40
    assert len(ids(f"{tmp_path}/c.json")) == 40
    ((document),) = [record.document for record in read(f"{tmp_path}/d.txt.gz")]
    assert document is not None
    assert (document.text, document.language) == (b"a book", "text")
    assert ids(f"{tmp_path}/e.py") == ["e.py"]
    put(tmp_path, package__json=b'{"name": "x"}')
    assert ids(f"{tmp_path}/package.json") == ["package.json"]


def test_names_that_are_no_unicode_hold(tmp_path: Path) -> None:
    root = tmp_path / "caf\udce9"
    parquet_at = root / "t" / "a.parquet"
    put(root, s_of_a__py=b"x = 1\n", l_of_a__jsonl=LINES)
    (root / "t").mkdir()
    made = tmp_path / "a.parquet"
    parquet(made)
    made.rename(parquet_at)
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema({"text": "string"})) as writer,
    ):
        writer.write_table(pa.table({"text": ["a"]}))
    (tmp_path / "a.arrow").rename(root / "t" / "a.arrow")
    assert ids(f"{root}/s") == ["a.py"]
    assert len(ids(f"{root}/l")) == len(ids(f"{root}/l/a.jsonl")) == 40
    assert len(ids(f"{root}/t")) == 41
    for wrong in (f"{root}/none", f"{root}/s:include=*.rs", f"{root}/t:format=jsonl", str(root)):
        with pytest.raises(InputError) as caught:
            source(wrong).units()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="doesn't exist"):
        source(f"{tmp_path}/{'n' * 300}")


def test_a_folder_of_many_vague_files_is_looked_into_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, **{f"{n:03d}__txt": b"a book" for n in range(12)})
    monkeypatch.setattr(folder_content_module, "LOOKED_AT", 5)
    looked: list[str] = []
    look = folder_content_module.look
    monkeypatch.setattr(folder_content_module, "look", lambda path: looked.append(path) or look(path))  # type: ignore[func-returns-value]
    assert len(ids(str(tmp_path))) == 12
    assert len(looked) == 5
