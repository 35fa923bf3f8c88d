"""`byteproxy corpus` as a user meets it."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import BYTEPROXY, explained, in_process, keeps_to_itself, last_object, on_terminal, refusal
from tests.store.toys import Pieces
from tests.toy_corpus import toy_documents

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views import registry
from byteproxy.views.bpe import BpeView


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sources that share an id, a copy, several shards, and views of four sorts."""
    folder = tmp_path_factory.mktemp("corpus") / "c"
    documents = [Document(d.id, d.text, d.source, d.project, "python") for d in toy_documents()]
    documents += [
        Document("file0.py", b"shared = 'id'\n\tcaf\xc3\xa9 \xff\n", "other", "project0"),
        Document("long.md", b"word and word\n" * 400, "other", "prose", "markdown"),
        Document("copy.py", documents[3].text, "other", "prose", "markdown"),
    ]
    prepare_documents(documents, folder, SplitOptions(0.1, 0.2), shard_bytes=20_000)
    add_view(folder, BpeView.train((document.text for document in documents), 300))
    for spec in ("nibbles", "gzip"):
        add_view(folder, registry.build(spec, lambda: ()).view, spec=spec)
    add_view(folder, Pieces(rb"[a-z]+|\n|.", "words"))
    return folder


@pytest.fixture
def store(made, tmp_path):
    """The test's own."""
    return Store.open(shutil.copytree(made, tmp_path / "c"))


@pytest.fixture
def byteproxy(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys)


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def test_stats_are_those_of_the_documents(byteproxy, store, monkeypatch):
    by_split = {split: list(store.documents(split)) for split in SPLITS}
    documents = [document for split in SPLITS for document in by_split[split]]
    monkeypatch.setattr(Store, "text_buffer", lambda *_: pytest.fail("read a text"))
    result = byteproxy("corpus", "stats", "c", "--json")
    figures = last_object(result)
    lengths = sorted(len(document.text) for document in documents)
    assert figures["documents"] == len(documents)
    assert figures["bytes"] == sum(lengths)
    for kind in ("source", "language"):
        told = figures[f"{kind}s"]
        assert set(told) == {getattr(document, kind) for document in documents}
        for name, one in told.items():
            mine = [document for document in documents if getattr(document, kind) == name]
            assert one["documents"] == len(mine)
            assert one["bytes"] == sum(len(document.text) for document in mine)
            assert one["projects"] == len({document.project for document in mine})
    assert figures["sources"]["other"]["read"]["documents"] == 3
    assert figures["sources"]["other"]["documents"] == 2
    assert figures["unwanted"] == {"exact duplicate": 1}
    for split in SPLITS:
        assert figures["splits"][split]["documents"] == len(by_split[split])
        assert figures["lengths"][split]["largest"] == max(len(document.text) for document in by_split[split])
    assert figures["lengths"]["all"]["p50"] == lengths[(len(lengths) - 1) // 2]
    assert figures["lengths"]["all"]["mean"] == pytest.approx(np.mean(lengths))
    bins = Counter(length.bit_length() for length in lengths)
    assert {one["from"]: one["documents"] for one in figures["histogram"] if one["documents"]} == {
        1 << number - 1: count for number, count in bins.items()
    }
    assert sum(one["bytes"] for one in figures["histogram"]) == sum(lengths)
    assert figures["views"]["bpe-300"]["symbols"] == store.manifest.view("bpe-300").symbols
    status, _, said = result
    assert status == 0
    rows = [line.split() for line in said.splitlines()]
    longest = next(row for row in rows if row[:2] == ["4", "KiB"])
    assert longest[5] == "1", "one document of 4 to 8 KiB"
    assert "5.60" in longest
    assert any(row[:1] == ["markdown"] for row in rows)
    assert store.manifest.view("bpe-300").fingerprint[:12] in said


def test_stats_leave_a_page_with_a_plot(byteproxy, store):
    status, stdout, _ = byteproxy("corpus", "stats", "c")
    assert status == 0
    assert "Page: runs/pages/corpus.html" in stdout
    assert "█" in stdout
    assert "…" not in stdout, "everything fits into 80 columns"
    page = Path("runs/pages/corpus.html").read_text()
    assert keeps_to_itself(page)
    histogram = last_object(byteproxy("corpus", "stats", "c", "--out", "other.html", "--json"))["histogram"]
    assert page.count("<g><title>") == 2 * len(histogram)
    assert "c/rejected.jsonl" in page
    assert Path("other.html").exists()


def test_show_compares_what_is_stored_with_what_the_views_give(byteproxy, store):
    result = byteproxy("corpus", "show", "c", "toy/file0.py", "--json")
    shown = last_object(result)
    split, document = next(
        (split, one)
        for split in SPLITS
        for one in store.documents(split)
        if (one.source, one.id) == ("toy", "file0.py")
    )
    assert (shown["split"], shown["project"], shown["bytes"]) == (split, document.project, len(document.text))
    for name in ("bpe-300", "nibbles", "gzip-9"):
        assert shown["views"][name]["agrees"] is True
        assert shown["views"][name]["symbols"] == len(store.view(name).encode(document.text).symbols)
    assert shown["views"]["words"]["agrees"] is None
    assert shown["views"]["words"]["symbols"] == len(Pieces(rb"[a-z]+|\n|.").encode(document.text).symbols)
    said = result[2]
    assert said.count("stored symbols agree") == 3
    assert "words" in said
    assert "symbols stored; not compared" in said
    page = Path("runs/pages/document.html").read_text()
    assert keeps_to_itself(page)
    assert page.count("stored symbols agree") == 3
    assert page.count("<pre class=symbols") == 3, "the text and two aligned views"
    assert "not compared" in page


def test_show_takes_the_first_document_of_a_split(byteproxy, store):
    for split in SPLITS:
        shown = last_object(byteproxy("corpus", "show", "c", "--split", split, "--json"))
        assert (shown["id"], shown["split"]) == (next(store.documents(split)).id, split)
    assert last_object(byteproxy("corpus", "show", "c", "--json"))["split"] == "train"


def test_show_cuts_in_the_terminal_and_later_on_the_page(byteproxy, store):
    status, stdout, _ = byteproxy("corpus", "show", "c", "long.md", "--max-bytes", "3000")
    assert status == 0
    assert stdout.count("The first 2,000 of 5,600 bytes are shown") >= 2
    assert "word and word⏎\n" in stdout
    page = Path("runs/pages/document.html").read_text()
    assert "The first 3,000 of 5,600 bytes are shown" in page
    assert "The first 2,000" not in page


def test_show_has_any_bytes(byteproxy, store):
    status, stdout, _ = byteproxy("corpus", "show", "c", "other/file0.py")
    assert status == 0
    assert "→       caf\N{LATIN SMALL LETTER E WITH ACUTE} \\xff⏎" in stdout


def test_show_without_views_shows_the_text(byteproxy, tmp_path):
    prepare_documents(toy_documents(), tmp_path / "plain", SplitOptions())
    status, stdout, _ = byteproxy("corpus", "show", "plain", "file7.py")
    assert status == 0
    assert "def " in stdout
    assert "def " in Path("runs/pages/document.html").read_text()


def test_show_refuses_names_that_say_too_little_or_nothing(byteproxy, store):
    assert "say which one, toy/file0.py or other/file0.py" in refusal(byteproxy("corpus", "show", "c", "file0.py"))
    assert "such as long.md" in refusal(byteproxy("corpus", "show", "c", "LONG"))
    assert "holds no document 'nothing'" in refusal(byteproxy("corpus", "show", "c", "nothing"))
    split = last_object(byteproxy("corpus", "show", "c", "long.md", "--json"))["split"]
    other = next(one for one in SPLITS if one != split)
    assert f"the {other} split of c holds no" in refusal(byteproxy("corpus", "show", "c", "long.md", "--split", other))
    assert "max_bytes is 0" in refusal(byteproxy("corpus", "show", "c", "--max-bytes", "0"))


def test_show_refuses_symbols_that_are_not_those_of_the_view(byteproxy, store):
    shown = last_object(byteproxy("corpus", "show", "c", "long.md", "--json"))
    path = Path("c") / store.manifest.view("bpe-300").files[shown["shard"]].name
    symbols = store.symbols("bpe-300", shown["shard"], shown["row"]).tobytes()
    data = path.read_bytes()
    assert data.count(symbols) == 1
    changed = bytearray(data)
    changed[data.index(symbols)] ^= 1
    path.write_bytes(changed)
    said = refusal(byteproxy("corpus", "show", "c", "long.md"))
    assert "bpe-300" in said
    assert "byteproxy corpus verify" in said


def test_verify_tells_what_it_read(byteproxy, store):
    result = byteproxy("corpus", "verify", "c", "--json")
    verified = last_object(result)
    assert (
        verified["files"] == len(store.manifest.files) == len([p for p in Path("c").iterdir() if p.name[0] != "."]) - 1
    )
    assert verified["bytes"] == sum(file.size for file in store.manifest.files)
    assert verified["fingerprint"] == store.manifest.fingerprint
    assert "verify:" in result[2], "progress"


@pytest.mark.parametrize(
    "name", ["shard-00001.arrow", "shard-00000.bpe-300.arrow", "view-bpe-300.json", "rejected.jsonl", "manifest.json"]
)
def test_verify_names_the_file_that_was_altered(byteproxy, store, name):
    flip(Path("c") / name)
    assert f"c/{name} " in refusal(byteproxy("corpus", "verify", "c"))


def test_verify_reads_caches_too(byteproxy, store):
    """Tables of passages and notes of what was verified: any flipped byte in them is found, and named as what it is."""
    store.table("train", ("words",), 100)
    store.table("test", (), 50)
    verified = last_object(byteproxy("corpus", "verify", "c", "--json"))
    kept = sorted(Path("c/.passages").iterdir())
    assert verified["caches"] == len(kept) == 4
    assert verified["cache_bytes"] == sum(path.stat().st_size for path in kept)
    for path in kept:
        content = path.read_bytes()
        flip(path)
        line = refusal(byteproxy("corpus", "verify", "c"))
        assert f"{path} is damaged" in line
        assert "it is a cache" in line
        path.write_bytes(content)
    assert last_object(byteproxy("corpus", "verify", "c", "--json")) == verified


def test_a_name_that_is_no_text_is_refused(byteproxy, store):
    line = refusal(byteproxy("corpus", "show", "c", "caf\udce9"))
    assert r"c holds no document 'caf\udce9': all ids are Unicode" in line


def test_verify_names_the_file_that_is_gone(byteproxy, store):
    Path("c/shard-00000.gzip-9.arrow").unlink()
    assert "c/shard-00000.gzip-9.arrow can't be read" in refusal(byteproxy("corpus", "verify", "c"))


@pytest.mark.parametrize("command", ["stats", "show", "verify"])
def test_what_is_no_corpus_is_refused(byteproxy, command, tmp_path):
    assert "nowhere holds no finished corpus" in refusal(byteproxy("corpus", command, "nowhere"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("stats", ["DIR", "--out", "--json"]),
        ("show", ["DIR", "[DOCUMENT]", "--split", "--max-bytes", "--out", "--json"]),
        ("verify", ["DIR", "--json"]),
    ],
)
def test_every_option_is_explained(byteproxy, command, options):
    _, text, _ = byteproxy("corpus", command, "--help")
    for option in options:
        assert explained(text, option), option


def test_show_uses_colours_on_a_terminal(store, tmp_path):
    seen = on_terminal([BYTEPROXY, "corpus", "show", "c", "long.md"], cwd=tmp_path)
    assert b"48;2;159;208;255m" in seen
    assert "│".encode() not in seen
