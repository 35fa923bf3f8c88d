"""Views by name: what is typed, what is built, and what is refused."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Literal

import pytest
from tests.toy_corpus import toy_documents

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views import registry
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView
from byteproxy.views.codebook import CodebookView
from byteproxy.views.raw import RawView
from byteproxy.views.token_bytes import TokenBytesView

TEXTS = [document.text for document in toy_documents(40)]


class Shouting(RawView):
    """A third party's view."""

    @dataclass(frozen=True)
    class Options:
        loud: int = 1
        pitch: float = 0.5
        often: bool = False
        voice: Literal["low", "high"] = "low"

    def __init__(self, options):
        self.options = options

    @classmethod
    def make(cls, options, texts, progress=None):
        assert list(texts) == []
        return cls(options)


@pytest.fixture
def third_party(monkeypatch):
    mine = EntryPoint("shouting", f"{__name__}:Shouting", registry.GROUP)
    broken = EntryPoint("broken", "no_such_package.views:View", registry.GROUP)
    there = registry.entry_points(group=registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints([*there, mine, broken]))
    monkeypatch.setattr(EntryPoint, "load", load(EntryPoint.load))


def load(real):
    return lambda entry: Shouting if entry.name == "shouting" else real(entry)


def no_texts():
    raise AssertionError("nothing is trained here")


def test_every_kind_of_the_design_is_there():
    found = registry.kinds()
    expected = [
        "bits",
        "bpe",
        "chunks",
        "codebook",
        "double_bits",
        "double_bytes",
        "gzip",
        "neural",
        "nibbles",
        "raw",
        "shuffled",
        "token_bytes",
    ]
    assert list(found) == expected
    trained = [name for name, kind in found.items() if kind.trained]
    assert trained == ["bpe", "codebook", "neural", "shuffled", "token_bytes"]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("raw", "raw"),
        ("chunks", "chunks-4"),
        ("chunks:7", "chunks-7"),
        ("chunks:size=16", "chunks-16"),
        ("gzip:1", "gzip-1"),
        ("bits", "bits"),
    ],
)
def test_what_needs_no_training_is_built_at_once(spec, name):
    view, seconds = registry.build(spec, no_texts)
    assert (view.name, seconds) == (name, None)


@pytest.mark.parametrize(
    ("spec", "name", "kind"),
    [
        ("bpe:300", "bpe-300", BpeView),
        ("bpe:300,words=false", "bpe-300-lines", BpeView),
        ("codebook:10,parse=greedy,longest=12", "codebook-1024-greedy-longest12", CodebookView),
        ("token_bytes:gray,alphabet=300", "token_bytes-gray-300", TokenBytesView),
    ],
)
def test_what_needs_training_is_trained_saved_and_loaded(spec, name, kind, tmp_path):
    view, seconds = registry.build(spec, lambda: iter(TEXTS))
    assert (view.name, type(view)) == (name, kind)
    assert seconds > 0
    path = tmp_path / f"view{kind.suffix}"
    view.save(path)
    assert registry.is_artefact(str(path))
    again, none = registry.build(str(path), no_texts)
    assert (again.fingerprint, type(again), none) == (view.fingerprint, kind, None)


def test_a_file_in_this_folder_is_found_but_a_kind_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BpeView.train(TEXTS, 280).save(Path("mine"))
    BpeView.train(TEXTS, 280).save(Path("raw"))
    assert registry.build("mine", no_texts).view.name == "bpe-280"
    assert registry.build("raw", no_texts).view.name == "raw"
    assert registry.build("./raw", no_texts).view.name == "bpe-280"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nonesuch", "no view 'nonesuch': name one of bits, bpe, .*, or the file"),
        ("some/where.json", "no file some/where.json"),
        ("chunks:1", "size"),
        ("chunks:four", "size is 'four': give a whole number"),
        ("chunks:4,5", "'5' is no option here .there are: size"),
        ("chunks:width=4", "'width=4' is no option here"),
        ("raw:1", "'1' is no option here .there are: none"),
        ("bpe:4096,words=no", "words is 'no': give true or false"),
        ("codebook:parse=best", "parse is 'best': give one of lookahead, greedy, optimal"),
        ("codebook:split=much", "split is 'much': give a number"),
    ],
)
def test_what_cannot_be_built_says_why(spec, reason):
    with pytest.raises(InputError, match=reason):
        registry.build(spec, no_texts)


def test_a_file_of_no_kind_is_refused(tmp_path):
    for content in (b"", b"{}", b"\xff\x00", b"print(1)\n"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InputError, match="is no view that byteproxy knows"):
            registry.load(tmp_path / "file")


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "raw",
            "bits",
            "double_bits",
            "nibbles",
            "double_bytes",
            "chunks:3",
            "gzip",
            "bpe:300",
            "bpe:300,words=false",
        ),
        *("token_bytes:gray,alphabet=300", "codebook:10", "codebook:10,split=0.1,identifiers=whole"),
    ],
)
def test_every_kind_goes_through_the_store(spec, tmp_path):
    view = registry.build(spec, lambda: iter(TEXTS)).view
    documents = toy_documents(30)
    prepare_documents(documents, tmp_path, SplitOptions(0.1, 0.2))
    add_view(tmp_path, view)
    store = Store.open(tmp_path)
    store.verify()
    entry = store.manifest.view(view.name)
    assert (entry.fingerprint, entry.aligned) == (view.fingerprint, view.aligned)
    found = []
    for shard, info in enumerate(store.manifest.shards):
        for row in range(info.documents):
            assert view.decode(store.symbols(view.name, shard, row)) == store.text(shard, row)
            found.append(store.text(shard, row))
    assert sorted(found) == sorted(document.text for document in documents)


def test_a_third_party_is_found_by_its_entry_point(third_party):
    view: View = registry.build("shouting:3,pitch=1.5,often=true,voice=high", no_texts).view
    assert isinstance(view, Shouting)
    assert view.options == Shouting.Options(3, 1.5, True, "high")


def test_a_third_party_that_cannot_be_imported_is_named(third_party):
    with pytest.raises(InputError, match=r"view 'broken' .* reinstall its package"):
        registry.kind("broken")


def test_a_folder_means_its_tokenizer(tmp_path):
    folder = tmp_path / "llama"
    folder.mkdir()
    view = BpeView.train(TEXTS, 300)
    view.save(folder / "tokenizer.json")
    (folder / "config.json").write_text("{}")
    assert registry.build(str(folder), no_texts).view.fingerprint == view.fingerprint
    assert registry.build(f"token_bytes:tokenizer={folder}", list).view.name == "token_bytes-big-endian-300"


def test_a_folder_without_one_is_refused_with_what_it_holds(tmp_path):
    folder = tmp_path / "llama"
    folder.mkdir()
    with pytest.raises(InputError, match=r"llama holds no tokenizer.json, but nothing: name a folder with one"):
        registry.load(folder)
    for number in range(10):
        (folder / f"part-{number}").write_text("")
    with pytest.raises(InputError, match=r"no tokenizer.json, but part-0, .*part-7 and 2 more: name"):
        registry.build(f"{folder}/", no_texts)
    with pytest.raises(InputError, match=r"no tokenizer.json, but part-0"):
        registry.build(f"token_bytes:tokenizer={folder}", list)


@pytest.mark.parametrize("spec", ["n" * 300, "f/" + "n" * 300])
def test_names_that_are_too_long_are_no_files(spec):
    with pytest.raises(InputError, match=r"there is no (view|file)"):
        registry.build(spec, no_texts)
