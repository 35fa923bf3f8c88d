"""Texts that are cut by place, through a whole preparation: what is in which split, and that nothing changes it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.store.sources import ToySource, a_source
from tests.store.toys import StoppedError, contents

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import Unit
from byteproxy.corpus.source import source
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.store.prepare import Preparation, prepare, prepare_documents
from byteproxy.store.store import Store

SPLIT = SplitOptions(0.05, 0.1)
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz     ", np.uint8)


def a_text(seed: int, size: int, lines: bool = True) -> bytes:
    text = np.random.default_rng(seed).choice(LETTERS, size)
    if lines:
        text[79::80] = ord("\n")
    return text.tobytes()


def on_splits(folder: Path) -> dict[str, bytes]:
    """The text of each split, its documents in the order of their ids."""
    store = Store.open(folder)
    found = {split: sorted(store.documents(split), key=lambda one: (one.id.partition("+"), one.id)) for split in SPLITS}
    return {split: b"".join(document.text for document in documents) for split, documents in found.items()}


@pytest.mark.parametrize("size", [40_000, 700_000])
def test_one_file_gives_three_sides_with_gaps(size: int, tmp_path: Path) -> None:
    text = a_text(1, size)
    (tmp_path / "input.txt").write_bytes(text)
    manifest = prepare([source(str(tmp_path / "input.txt"))], tmp_path / "c", Preparation(SPLIT))
    (group,) = manifest.groups
    assert (group.validation, group.test, group.projects) == ("place", "place", 1)
    splits = on_splits(tmp_path / "c")
    places = [text.index(splits[split]) for split in ("train", "validation", "test")]
    ends = [place + len(splits[split]) for place, split in zip(places, SPLITS, strict=True)]
    assert places[0] == 0
    assert ends[2] == len(text)
    gap = min(4096, size // 100)
    for end, begin in zip(ends[:2], places[1:], strict=True):
        assert gap / 2 <= begin - end <= gap + 1024
        assert text[end - 1 : end] == text[begin - 1 : begin] == b"\n", "cut at a line's end"
    for split, share in (("validation", 0.05), ("test", 0.1)):
        assert len(splits[split]) / size == pytest.approx(share, abs=1100 / size)
        assert manifest.splits[split].bytes == len(splits[split])
    assert manifest.rejected == {}


def test_the_one_document_of_a_language_is_cut_and_others_are_not(tmp_path: Path) -> None:
    code = [Document(f"{p}/{f}", a_text(p * 9 + f, 900), "code", f"p{p}", "go") for p in range(60) for f in range(3)]
    book = Document("book", a_text(999, 90_000, lines=False), "code", "book", "english")
    prepare_documents([*code[:50], book, *code[50:]], tmp_path / "c", SPLIT, near_duplicates="held_out")
    store = Store.open(tmp_path / "c")
    ids = {split: [one.id for one in store.documents(split) if one.project == "book"] for split in SPLITS}
    assert ids["train"] == ["book"]
    assert [[name.partition("+")[0] for name in ids[split]] for split in SPLITS[1:]] == [["book"], ["book"]]
    kept = {one.id: one for split in SPLITS for one in store.documents(split)}
    assert all(kept[one.id] == one for one in code)
    for split in SPLITS[1:]:
        (part,) = (one for one in store.documents(split) if one.project == "book")
        begin = int(part.id.rpartition("+")[2])
        assert book.text[begin : begin + len(part.text)] == part.text
        assert book.text[begin - 1 : begin] == b" ", "a text without lines is cut after a blank"
        assert (part.source, part.language) == ("code", "english")


def test_parts_have_signatures_of_their_own(tmp_path: Path) -> None:
    """A held-out document that is like the train part, and not like all of the text, is dropped."""
    text = a_text(1, 200_000)
    documents = [Document("a", text, "s", "a"), Document("b", text[:78_000] + b" more", "t", "b")]
    split = SplitOptions(0.3, 0.3, hold_out=("b",))
    manifest = prepare_documents(documents, tmp_path / "c", split, near_duplicates="held_out")
    assert manifest.rejected == {"near-duplicate": 1}
    (line,) = (tmp_path / "c" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["detail"] == "similar to a train document"
    assert [manifest.splits[split].documents for split in SPLITS] == [1, 1, 1]


@pytest.fixture
def mixed(tmp_path: Path) -> list[ToySource]:
    """A source of few projects, whose files are split, and one with a text that is cut."""
    few = [[Document(f"{p}-{f}", a_text(p * 50 + f, 700), "few", f"p{p}") for f in range(30)] for p in range(4)]
    long = [[Document("long", a_text(7, 200_000), "long", "long")], [Document("short", b"short\n", "long", "p1")]]
    return [a_source(tmp_path / name, files, name) for name, files in (("few", few), ("long", long))]


class Backwards:
    """A source whose units come in another order."""

    def __init__(self, of: ToySource) -> None:
        self.of, self.name, self.weight = of, of.name, of.weight

    def units(self) -> list[Unit]:
        return self.of.units()[::-1]


def test_neither_workers_nor_the_order_of_units_nor_a_restart_change_splits(
    mixed: list[ToySource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation = Preparation(SPLIT)
    manifest = prepare(mixed, tmp_path / "a", preparation)
    assert [(group.validation, group.test) for group in manifest.groups] == [("file", "file"), ("place", "place")]
    assert manifest.records == 122
    before = contents(tmp_path / "a")
    prepare(mixed, tmp_path / "b", preparation, workers=2)
    assert contents(tmp_path / "b") == before

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.prepare.write_shards", stop)
        with pytest.raises(StoppedError):
            prepare(mixed, tmp_path / "c", preparation)
    assert len(list((tmp_path / "c" / ".staged").iterdir())) == 7, "a part for each unit, and one of what was cut"
    prepare(mixed, tmp_path / "c", preparation)
    assert contents(tmp_path / "c") == before
    prepare(mixed, tmp_path / "c", preparation)
    backwards = prepare([Backwards(one) for one in mixed], tmp_path / "d", preparation)
    assert backwards.groups == manifest.groups
    by_id = [
        {
            (one.source, one.id): (split, one.text)
            for split in SPLITS
            for one in Store.open(tmp_path / name).documents(split)
        }
        for name in ("a", "d")
    ]
    assert by_id[0] == by_id[1]
    salted = prepare(mixed, tmp_path / "e", replace(preparation, split=replace(SPLIT, salt="x")))
    assert salted.groups != manifest.groups
    assert {**json.loads(before["manifest.json"])["split"]} == {
        "validation": 0.05,
        "test": 0.1,
        "salt": "",
        "hold_out": [],
    }
