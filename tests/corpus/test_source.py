import gzip
import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from byteproxy.corpus.fields import Fields
from byteproxy.corpus.records import Rules
from byteproxy.corpus.source import OPTIONS, RecordsSource, source, sources
from byteproxy.corpus.source_files import FilesSource
from byteproxy.corpus.stdlib import NAME, StdlibSource, read_stdlib
from byteproxy.errors import InputError


def texts(spec: str) -> list[tuple[str, str, bytes]]:
    """Of each document that a spec leads to the source, id and text, read from units that went through pickle."""
    units = [pickle.loads(pickle.dumps(unit)) for unit in pickle.loads(pickle.dumps(source(spec))).units()]
    documents = [record.document for unit in units for record in unit.read(Rules())]
    return [(document.source, document.id, document.text) for document in documents if document]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for path in ("a/b/x.py", "a/y.rs", "z.py", "a/notes.bin"):
        (tmp_path / "code" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / path).write_bytes(path.encode())
    return tmp_path / "code"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "B", "key": "k", "in": "C", "of": "p"}\n'))
    (folder / "a.ndjson").write_bytes(b'{"content": "A"}\n')
    pq.write_table(pa.table({"text": ["C"]}), folder / "c.parquet")
    with pa.ipc.new_stream(folder / "d.feather", pa.schema({"text": pa.string()})) as writer:
        writer.write_table(pa.table({"text": ["D"]}))
    (folder / ".cache").write_bytes(b"hidden")
    return folder


def test_the_standard_library() -> None:
    read = source("stdlib:weight=0.5")
    assert read == StdlibSource(weight=0.5)
    assert read.name == NAME
    assert source("stdlib:name=std").name == "std"
    rules = Rules(smallest=0, largest=0)
    units = [pickle.loads(pickle.dumps(unit)) for unit in read.units()]
    assert [record.document for unit in units for record in unit.read(rules)] == list(read_stdlib())
    assert {document.language for document in read_stdlib()} == {"python"}
    assert [unit.key for unit in units] == [unit.key for unit in read.units()]


def test_folder_of_source_files_with_its_options(code: Path) -> None:
    assert source(str(code)) == FilesSource("code", str(code))
    spec = f"{code}:name=n,weight=2.5,depth=3,include=*.py|*.bin,exclude=/z.py|b/,languages=python|visual basic"
    assert source(spec) == FilesSource(
        "n", str(code), 2.5, 3, ("*.py", "*.bin"), ("/z.py", "b/"), ("python", "visual basic")
    )
    assert texts(f"{code}:include=*.bin|z.py") == [("code", "a/notes.bin", b"a/notes.bin"), ("code", "z.py", b"z.py")]


def test_folder_of_records_of_mixed_kinds(data: Path) -> None:
    found = [("data", "a.ndjson:1", b"A"), ("data", "c.parquet:1", b"C"), ("data", "d.feather:1", b"D")]
    assert texts(str(data)) == [*found, ("data", "deep/b.jsonl.gz:1", b"B")]
    assert texts(f"{data}:exclude=deep/") == found
    assert texts(f"{data}:include=*.parquet|deep/") == [found[1], ("data", "deep/b.jsonl.gz:1", b"B")]
    assert texts(f"{data}:format=arrow") == found[2:]
    assert [unit.size for unit in source(f"{data}:format=jsonl").units()] == [
        17,
        (data / "deep/b.jsonl.gz").stat().st_size,
    ]


def test_names_of_fields(data: Path) -> None:
    read = source(f"{data}/deep/b.jsonl.gz:text=body|text,id=key,project=of,language=in")
    assert read == RecordsSource(
        "b", str(data / "deep"), (("b.jsonl.gz", "jsonl"),), Fields(("body", "text"), ("key",), ("of",), ("in",))
    )
    ((record,),) = (list(unit.read(Rules())) for unit in read.units())
    assert record.document is not None
    assert (record.document.id, record.document.project, record.document.language) == ("k", "p", "c")


@pytest.mark.parametrize(
    ("file", "name", "kind"),
    [
        ("x.jsonl", "x", "jsonl"),
        ("x.y.NDJSON.zst", "x.y", "jsonl"),
        ("x.json.gz", "x", "jsonl"),
        ("x.json", "x.json", ""),
        ("x.py", "x.py", ""),
    ],
)
def test_single_files_by_suffix(tmp_path: Path, file: str, name: str, kind: str) -> None:
    (tmp_path / file).write_bytes(b"x")
    read = source(f"{tmp_path}/{file}")
    assert read.name == name
    if kind:
        assert isinstance(read, RecordsSource)
        assert read.files == ((file, kind),)
    else:
        assert texts(f"{tmp_path}/{file}") == [(name, file, b"x")]


def test_a_format_that_is_named_holds_whatever_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"text": "t"}')
    (tmp_path / "y.jsonl").write_bytes(b'{"text": "t"}')
    assert texts(f"{tmp_path}/x.json:format=jsonl") == [("x", "x.json:1", b"t")]
    assert texts(f"{tmp_path}/y.jsonl:format=files,name=z") == [("z", "y.jsonl", b'{"text": "t"}')]
    assert texts(f"{tmp_path}:format=jsonl,include=*.json") == [(tmp_path.name, "x.json:1", b"t")]


def test_a_colon_without_an_option_is_part_of_the_path(tmp_path: Path) -> None:
    for name in ("a:b", "a:b=c:d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_bytes(b"x")
        assert source(f"{tmp_path}/{name}").name == name
        assert source(f"{tmp_path}/{name}:depth=2,name=n").name == "n"


def test_paths_hold_in_another_folder(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code / "a")
    read = source("..")
    monkeypatch.chdir("/")
    assert read.name == "code"
    assert len(read.units()[0].what) > 0


def test_links_to_files_of_records_are_read(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "f00").write_bytes(json.dumps({"text": "t"}).encode())
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "train.jsonl").symlink_to("../blobs/f00")
    assert texts(f"{tmp_path}/snapshot") == [("snapshot", "train.jsonl:1", b"t")]


def test_what_looks_like_a_file_of_records_is_never_left_out_silently(data: Path) -> None:
    (data / "lost.jsonl").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"lost\.jsonl: No such file"):
        source(str(data)).units()
    os.mkfifo(data / "pipe.jsonl")
    with pytest.raises(InputError, match=r"pipe\.jsonl isn't a regular file"):
        source(f"{data}:exclude=lost.*").units()


def test_two_sources_of_a_name_are_refused(code: Path) -> None:
    assert [read.name for read in sources(["stdlib", f"{code}", f"{code}:name=other"])] == [NAME, "code", "other"]
    with pytest.raises(InputError, match=rf"{code} and {code}:weight=2 are both named code: .*name="):
        sources([f"{code}", f"{code}:weight=2"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "names nothing"),
        (":name=x", "names nothing"),
        ("CODE:colour=red", rf"no option 'colour'; there are {', '.join(OPTIONS)}"),
        ("CODE:depth=1,", "no option ''"),
        ("CODE:depth=1,name", "option name has no value"),
        ("CODE:name=", "option name has no value"),
        ("CODE:depth=1,depth=2", "depth is given twice"),
        ("CODE:depth=-1", "depth is '-1'"),
        ("CODE:depth=one", "depth is 'one'"),
        ("CODE:weight=0", "weight is 0"),
        ("CODE:weight=inf", "weight is inf"),
        ("CODE:weight=nan", "weight is nan"),
        ("CODE:weight=much", "weight is much"),
        ("CODE:format=zip", "format is 'zip'; there are auto, files, jsonl, parquet, arrow"),
        ("CODE:languages=python|klingon", "no language 'klingon'; there are ada, "),
        ("CODE:text=body", r"option text isn't for a folder of source files, which takes name, .*depth"),
        ("CODE/z.py:depth=2", "option depth isn't for a single source file"),
        ("CODE:format=parquet", r"no file to read as parquet: looked for \.parquet \.pq"),
        ("DATA:depth=2", "option depth isn't for a folder of records"),
        ("DATA/a.ndjson:include=x", "option include isn't for a single file of records"),
        ("DATA:include=*.zip", "holds no files"),
        ("DATA:format=jsonl,include=*.zip", r"no file to read as jsonl: looked for files that match \*\.zip"),
        ("stdlib:format=files", "option format isn't for the standard library, which takes name, weight"),
        ("CODE/none", "doesn't exist"),
        ("CODE/pipe", "neither a file nor a folder"),
        ("CODE/empty", "holds no files"),
        ("/", "has no name of its own"),
    ],
)
def test_what_is_wrong_is_refused_with_what_is_right(code: Path, data: Path, spec: str, message: str) -> None:
    os.mkfifo(code / "pipe")
    (code / "empty").mkdir()
    spec = spec.replace("CODE", str(code)).replace("DATA", str(data))
    if spec == "/":
        spec += ":format=files"  # and not look at all of it
    with pytest.raises(InputError, match=message):
        source(spec)


def test_units_refuse_what_is_gone_or_not_a_table(data: Path) -> None:
    read = source(str(data))
    (data / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"c\.parquet is text, not a Parquet file: fetch it again"):
        read.units()
    (data / "c.parquet").unlink()
    with pytest.raises(InputError, match=r"can't read .*c\.parquet: No such file"):
        read.units()


@pytest.mark.parametrize("name", ["a.csv", "a.TSV", "a.csv.gz"])
def test_a_table_in_csv_is_no_text_unless_somebody_says_so(tmp_path: Path, name: str) -> None:
    data = b"text,id\none,1\n" * 9
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(InputError, match=r"is a table in CSV, whose rows aren't read: .* format=files"):
        source(str(path))
    assert [text for _, _, text in texts(f"{path}:format=files")] == [data]
