import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.toys import (
    FIXED,
    SPLIT,
    WORDS,
    Halves,
    Pieces,
    StoppedError,
    StopsHalfway,
    a_document,
    contents,
    identities,
)

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.corpus_folder import ENCODED
from byteproxy.store.encode import add_view
from byteproxy.store.format import VERSION, file_info
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views import registry
from byteproxy.views.base import Encoded
from byteproxy.views.bpe import BpeView
from byteproxy.views.raw import RawView


@pytest.mark.parametrize("documents", [0, 5, 20, 30])
def test_view_broken_off_and_run_again(documents: int, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    with pytest.raises(StoppedError):
        add_view(tmp_path, StopsHalfway(documents))
    (tmp_path / ".shard-00002.words.arrow.99.partial").write_bytes(b"stray")
    before = identities(tmp_path)
    add_view(tmp_path, WORDS)
    after = identities(tmp_path)
    assert all(after[name] == before[name] for name in before if name.startswith("shard-"))
    assert contents(tmp_path) == undisturbed


def test_adding_a_view_writes_to_no_other_file(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    before = identities(tmp_path)
    manifest = add_view(tmp_path, Halves())
    after = identities(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"manifest.json"}
    assert [view.name for view in manifest.views] == ["words", "halves"]


def test_view_is_not_made_from_an_altered_shard(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    path = tmp_path / "shard-00001.arrow"
    path.write_bytes(path.read_bytes().replace(b"line", b"lime", 1))
    with pytest.raises(InputError, match=r"shard-00001\.arrow was altered"):
        add_view(tmp_path, WORDS)


def test_view_of_the_same_name_but_another_content_is_refused(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    add_view(tmp_path, WORDS)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="another view named 'words'"):
        add_view(tmp_path, Pieces(rb".", "words"))
    assert contents(tmp_path) == before


def test_leftover_of_another_view_of_that_name_is_not_used(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    manifest = (tmp_path / "manifest.json").read_bytes()
    add_view(tmp_path, Pieces(rb".", "words"))
    (tmp_path / "manifest.json").write_bytes(manifest)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_leftover_of_another_version_is_not_used(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lack a column."""
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    manifest = (tmp_path / "manifest.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.encode.VERSION", VERSION - 1)
        add_view(tmp_path, WORDS)
    assert contents(tmp_path).keys() == undisturbed.keys()
    assert contents(tmp_path)["shard-00000.words.arrow"] != undisturbed["shard-00000.words.arrow"]
    (tmp_path / "manifest.json").write_bytes(manifest)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", ".hidden"])
def test_view_name_must_fit_a_file_name(name: str, tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    with pytest.raises(InputError, match="can't be part of a file name"):
        add_view(tmp_path, Pieces(rb".", name))


class Faulty(RawView):
    """A view that breaks its contract in one way."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def encode(self, document: bytes) -> Encoded:
        symbols, span_bytes = super().encode(document)
        if self.fault == "spans":
            return Encoded(symbols, span_bytes * 2)
        if self.fault == "last":
            return Encoded(np.append(symbols, 0), np.append(span_bytes, 0))
        if self.fault == "negative":
            return Encoded(symbols, np.array([-1, *[0] * (len(document) - 2), len(document) + 1]))
        if self.fault == "count":
            return Encoded(symbols[:-1], span_bytes)
        return Encoded(symbols + 256, span_bytes)


def test_view_that_changes_without_saying_so_is_refused(tmp_path: Path) -> None:
    class Changing(Pieces):
        fingerprint = "always the same"

    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, Changing(rb".", "odd"))
    before = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "shard-00001.odd.arrow").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.odd\.arrow came out different"):
        add_view(tmp_path, Changing(rb"..?", "odd"))
    assert (tmp_path / "manifest.json").read_bytes() == before
    add_view(tmp_path, Changing(rb".", "odd"))
    Store.open(tmp_path).verify()


def test_view_gets_batches_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recording(Pieces):
        def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
            batches.append([len(document) for document in documents])
            return super().encode_batch(documents)

    batches: list[list[int]] = []
    monkeypatch.setattr("byteproxy.store.encode.ENCODE_BYTES", 6000)
    prepare_documents(FIXED, tmp_path, SplitOptions(0, 0))
    add_view(tmp_path, Recording(rb"."))
    assert [size for batch in batches for size in batch] == [len(document.text) for document in FIXED]
    assert all(sum(batch[:-1]) < 6000 for batch in batches)
    assert len(batches) < len(FIXED)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("spans", "spans that don't cover its 9 bytes"),
        ("count", "spans that don't cover its 9 bytes"),
        ("negative", "spans that don't cover its 9 bytes"),
        ("last", "a last symbol without a span"),
        ("alphabet", "symbols outside of its alphabet of 256"),
    ],
)
def test_faulty_view_is_refused_with_the_document(fault: str, said: str, tmp_path: Path) -> None:
    prepare_documents([a_document(5, b"some text")], tmp_path, SPLIT)
    with pytest.raises(InputError, match=rf"view 'raw' gives document file-5\.py {said}"):
        add_view(tmp_path, Faulty(fault))
    assert sorted(contents(tmp_path)) == ["manifest.json", "shard-00000.arrow"]


TEXTS = [document.text for document in FIXED]
BPE = BpeView.train(TEXTS, 270)


def test_a_trained_view_is_stored_with_the_corpus_and_comes_out_of_it(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    manifest = add_view(tmp_path, BPE, spec="bpe:270")
    entry = manifest.view("bpe-270")
    assert entry.artefact == file_info(tmp_path / "view-bpe-270.json")
    assert entry.spec == ""
    store = Store.open(tmp_path)
    view = store.view("bpe-270")
    assert view.fingerprint == BPE.fingerprint
    assert all(np.array_equal(view.encode(text).symbols, BPE.encode(text).symbols) for text in TEXTS)
    before = identities(tmp_path)
    assert add_view(tmp_path, BPE) == manifest
    assert identities(tmp_path) == before


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_damaged_artefact_is_found_and_restored(damage: str, tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    manifest = add_view(tmp_path, BPE)
    path = tmp_path / "view-bpe-270.json"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
        with pytest.raises(InputError, match=r"view-bpe-270\.json can't be read"):
            Store.open(tmp_path)
    else:
        path.write_bytes(content[:-9] + b" " + content[-8:])
        with pytest.raises(InputError, match=r"view-bpe-270\.json was altered"):
            Store.open(tmp_path).verify()
    assert add_view(tmp_path, BPE) == manifest
    assert path.read_bytes() == content


def test_an_artefact_that_comes_out_in_other_bytes_is_taken(tmp_path: Path) -> None:
    """As that of a codebook may: its file's header has no order."""

    class Restless(Pieces):
        suffix = ".pieces"
        saved = 0

        def save(self, path: Path) -> None:
            self.saved += 1
            path.write_bytes(b"%d" % self.saved)

    prepare_documents(FIXED, tmp_path, SPLIT)
    view = Restless(rb".", "restless")
    first = add_view(tmp_path, view)
    add_view(tmp_path, WORDS)
    (tmp_path / "view-restless.pieces").unlink()
    again = add_view(tmp_path, view)
    assert [entry.name for entry in again.views] == ["restless", "words"]
    assert first.view("restless").artefact != again.view("restless").artefact
    Store.open(tmp_path).verify()


def test_an_untrained_view_is_built_from_its_spec(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    for spec in ("chunks:3", "raw"):
        manifest = add_view(tmp_path, registry.build(spec, lambda: ()).view, spec=spec)
    assert [(entry.artefact, entry.spec) for entry in manifest.views] == [(None, "chunks:3"), (None, "raw")]
    store = Store.open(tmp_path)
    for entry in manifest.views:
        assert store.view(entry.name).fingerprint == entry.fingerprint


@pytest.mark.parametrize("spec", ["", "bpe:270", "somewhere/a.codebook"])
def test_a_view_that_nobody_can_build_is_said(spec: str, tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    add_view(tmp_path, WORDS, spec=spec)
    with pytest.raises(InputError, match="neither the view nor what it is made from"):
        Store.open(tmp_path).view("words")
    with pytest.raises(InputError, match="no view 'none'"):
        Store.open(tmp_path).view("none")


def test_a_view_that_is_another_today_is_refused(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    add_view(tmp_path, WORDS, spec="raw")
    with pytest.raises(InputError, match=r"has the fingerprint .* now, and had"):
        Store.open(tmp_path).view("words")


def a_killed_preparation(folder: Path) -> Path:
    """One that encoded two shards and died in the third; gives the first one's file."""
    prepare_documents(FIXED, folder, SPLIT, shard_bytes=20_000)
    with pytest.raises(StoppedError):
        add_view(folder, StopsHalfway(20))
    return folder / "shard-00000.words.arrow"


def test_a_leftover_is_kept_where_it_is_what_was_written(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    left = a_killed_preparation(tmp_path)
    before = identities(tmp_path)
    add_view(tmp_path, WORDS)
    assert identities(tmp_path)[left.name] == before[left.name]
    assert contents(tmp_path) == undisturbed


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_leftover_with_a_flipped_bit_is_made_again(
    data: st.DataObject, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever bit of its symbols, its offsets, or of what is beside them, and with the time put back."""
    with TemporaryDirectory() as folder:
        left = a_killed_preparation(Path(folder))
        flip_a_bit(left, data.draw(st.integers(0, 8 * left.stat().st_size - 1)))
        add_view(Path(folder), WORDS)
        assert contents(Path(folder)) == undisturbed
        assert f"{left} was altered since it was written, and is made again" in capsys.readouterr().err


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_notes_of_leftovers_only_cost_time(data: st.DataObject, undisturbed: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        a_killed_preparation(Path(folder))
        notes = Path(folder) / ENCODED.format(view="words")
        if data.draw(st.booleans()):
            os.truncate(notes, data.draw(st.integers(0, notes.stat().st_size)))
        else:
            flip_a_bit(notes, data.draw(st.integers(0, 8 * notes.stat().st_size - 1)))
        add_view(Path(folder), WORDS)
        assert contents(Path(folder)) == undisturbed


def flip_a_bit(path: Path, bit: int) -> None:
    content, times = bytearray(path.read_bytes()), path.stat()
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
