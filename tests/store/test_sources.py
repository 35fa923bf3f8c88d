"""Preparation from sources that are read in units: restarts, processes, rejections, and folders that are finished."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.sources import ToySource, ToyUnit, a_source
from tests.store.toys import FIXED, SPLIT, StoppedError, a_document, contents, identities

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import Passed, Record, Rules, unheard
from byteproxy.corpus.source import source
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.progress import quietly
from byteproxy.store import staging
from byteproxy.store.corpus_folder import SOURCES
from byteproxy.store.prepare import Preparation, prepare, prepare_documents
from byteproxy.store.store import Store

KEEP = Preparation(SPLIT, near_duplicates="keep", shard_bytes=20_000, max_faulty=0.2)
FILES: list[list[Document | str]] = [[*FIXED[:12], "{broken"], [], FIXED[10:20], ["", *FIXED[20:], *FIXED[:3]]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[ToySource]:
    folder = tmp_path_factory.mktemp("sources")
    other = [replace(document, id=f"other-{document.id}", language="toy") for document in FIXED]
    return [a_source(folder / "b", FILES, "b", 0.5), a_source(folder / "a", [[*other], [a_document(99, b"")]], "a")]


@pytest.fixture(scope="module")
def undisturbed(sources: list[ToySource], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare(sources, folder, KEEP)
    files = contents(folder)
    assert len(files) > 6
    assert ".staged" not in files
    return files


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PART_RECORDS", 5)
    monkeypatch.setattr(staging, "PART_BYTES", 20_000)


def copied(sources: list[ToySource], folder: Path) -> list[ToySource]:
    """Sources of the same content that a test may write to."""
    return [replace(one, folder=shutil.copytree(one.folder, folder / one.name)) for one in sources]


def rejected(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]


def test_what_is_kept_is_what_a_plain_loop_keeps(sources: list[ToySource], tmp_path: Path) -> None:
    manifest = prepare(sources, tmp_path, KEEP)
    records = [(s.name, r) for s in sources for u in s.units() for r in u.read(Rules())]
    kept: dict[bytes, Document] = {}
    expected = []
    for name, record in records:
        reason, detail = record.reason, record.detail
        if record.document is not None:
            first = kept.setdefault(record.document.text, record.document)
            if first is record.document:
                continue
            reason, detail = "exact duplicate", f"{first.source}/{first.id}"
        expected.append({"source": name, "file": record.file, "line": record.line, "reason": reason, "detail": detail})
    assert rejected(tmp_path) == expected
    assert manifest.rejected == Counter(one["reason"] for one in expected)
    assert set(manifest.rejected) == {"broken JSON", "exact duplicate", "too small"}
    assert (
        manifest.records == len(records) == len(expected) + sum(split.documents for split in manifest.splits.values())
    )
    store = Store.open(tmp_path)
    by_split = {split: list(store.documents(split)) for split in SPLITS}
    splits = {document.project: split for split, found in by_split.items() for document in found}
    for split in SPLITS:
        assert by_split[split] == [document for document in kept.values() if splits[document.project] == split] != []
    assert list(store.manifest.sources) == ["b", "a"]
    assert [source.weight for source in store.manifest.sources.values()] == [0.5, 1.0]
    assert manifest.sources["a"].documents == len(FIXED)
    assert manifest.sources["a"].bytes == sum(len(document.text) for document in FIXED)
    store.verify()


@pytest.mark.usefixtures("small_parts")
def test_the_size_of_parts_changes_nothing(
    sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    prepare(sources, tmp_path, KEEP)
    assert contents(tmp_path) == undisturbed


def test_the_number_of_processes_changes_nothing(
    sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    seen: list[tuple[int, int]] = []
    prepare(sources, tmp_path, KEEP, workers=2, stage=lambda *_: Watched(seen))
    assert contents(tmp_path) == undisturbed
    size = sum(path.stat().st_size for source in sources for path in source.folder.iterdir())
    text = sum(split["bytes"] for split in json.loads(undisturbed["manifest.json"])["sides"].values())
    ends = dict.fromkeys(pair for pair in seen if pair[0] == pair[1])  # an empty file may be the last to be read
    assert list(ends) == [(size, size), (text, text)]


def test_one_large_file_reports_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text("".join(json.dumps({"text": f"{number} " * 200}) + "\n" for number in range(3000)))
    monkeypatch.setattr("byteproxy.store.reader_pool.TELL_SECONDS", 0.0)
    watched = Watched([])
    prepare(
        [source(str(path))],
        tmp_path / "out",
        KEEP,
        stage=lambda what, _: watched if what == "read" else quietly(what, ""),
    )
    size = path.stat().st_size
    behind = [done for done, total in watched.seen if total == size]
    assert len(set(behind)) > 5
    assert behind == sorted(behind)
    assert behind[-1] == size
    assert re.fullmatch(r"3,000 documents, [\d,]+/s", watched.notes[-1])


class Watched:
    """A stage that keeps what is reported."""

    def __init__(self, seen: list[tuple[int, int]]) -> None:
        self.seen = seen
        self.notes: list[str] = []

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.seen.append((done, total))
        self.notes.append(note)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("stop", [0, 3, 17, 40, 70])
def test_a_stop_while_reading_costs_what_is_not_staged(
    stop: int, sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ToyUnit.read
    places: list[int] = []

    def stopping(self: ToyUnit, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        for record in read(self, rules, after, passed):
            if len(places) == stop:
                raise StoppedError
            places.append(record.place)
            yield record

    with monkeypatch.context() as patched:
        patched.setattr(ToyUnit, "read", stopping)
        with pytest.raises(StoppedError):
            prepare(sources, tmp_path, KEEP)
    whole = len(places)
    stop = 10_000
    with monkeypatch.context() as patched:
        patched.setattr(ToyUnit, "read", stopping)
        prepare(sources, tmp_path, KEEP)
    assert contents(tmp_path) == undisturbed
    assert len(places) - whole <= json.loads(undisturbed["manifest.json"])["records"] - max(whole - 5, 0)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["text", "id", "truncated", "empty"])
def test_damaged_parts_are_read_again(
    damage: str,
    sources: list[ToySource],
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.prepare._filled", stop)
        with pytest.raises(StoppedError):
            prepare(sources, tmp_path, KEEP)
    before = identities(tmp_path / ".staged")
    path = tmp_path / ".staged" / "000000-000001.arrow"
    content = path.read_bytes()
    at = content.index({"text": b"line\nline", "id": b"file-6.py"}.get(damage, b"A")) + 2
    path.write_bytes({"truncated": content[:-40], "empty": b""}.get(damage, content[:at] + b"!" + content[at + 1 :]))
    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.prepare._filled", stop)
        with pytest.raises(StoppedError):
            prepare(sources, tmp_path, KEEP)
    after = identities(tmp_path / ".staged")
    again = {name for name in before if before[name] != after[name]}
    assert again == {name for name in before if name.startswith("000000-") and name > "000000-000000.arrow"}
    prepare(sources, tmp_path, KEEP)
    assert contents(tmp_path) == undisturbed


def test_parts_of_other_files_rules_and_signatures_are_not_used(
    sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    others = [*copied(sources, tmp_path / "others")]
    (others[0].folder / "000.jsonl").write_text("{}\n" * 3)
    for wrong, settings in ((sources, replace(KEEP, rules=Rules(smallest=700))), (others[:1], KEEP)):
        with monkeypatch.context() as patched:
            patched.setattr("byteproxy.store.prepare._filled", stop)
            patched.setattr(ToyUnit, "_record", lambda *_: Record(1, "f", 1, a_document(0, b"wrong")))
            with pytest.raises(StoppedError):
                prepare(wrong, tmp_path / "out", settings)
    prepare(sources, tmp_path / "out", KEEP)
    assert contents(tmp_path / "out") == undisturbed


def test_a_finished_folder_is_not_read_again(
    sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = prepare(sources, tmp_path, KEEP)
    before = identities(tmp_path)
    (tmp_path / ".staged").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(ToyUnit, "read", None)
        assert prepare(sources, tmp_path, KEEP) == manifest
    assert identities(tmp_path) == before
    (tmp_path / SOURCES).unlink()
    assert prepare(sources, tmp_path, KEEP, workers=2) == manifest
    assert identities(tmp_path) == before
    assert (tmp_path / SOURCES).exists()


@pytest.mark.parametrize("name", ["shard-00001.arrow", "rejected.jsonl"])
@pytest.mark.parametrize("altered", [False, True])
def test_what_is_missing_or_altered_is_restored(
    name: str, altered: bool, sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    prepare(sources, tmp_path, KEEP)
    before = identities(tmp_path)
    if altered:
        (tmp_path / name).write_bytes(undisturbed[name][:-9] + b"!" + undisturbed[name][-8:])
    else:
        (tmp_path / name).unlink()
    prepare(sources, tmp_path, KEEP)
    after = identities(tmp_path)
    assert {one for one in after if after[one] != before[one]} == {name}
    assert contents(tmp_path) == undisturbed


def test_other_sources_are_refused(sources: list[ToySource], tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out, own = tmp_path / "out", copied(sources, tmp_path)
    prepare(own, out, KEEP)
    for wrong, settings in (
        (own[::-1], KEEP),
        (own[:1], KEEP),
        ([replace(own[0], weight=2.0), own[1]], KEEP),
        (own, replace(KEEP, rules=Rules(smallest=2))),
        (own, replace(KEEP, split=SplitOptions(0.2, 0.3))),
    ):
        with pytest.raises(InputError, match="already holds a corpus of other"):
            prepare(wrong, out, settings)
    with (own[1].folder / "001.jsonl").open("a") as file:
        file.write("{one more that is broken\n")
    with pytest.raises(InputError, match="already holds a corpus of other"):
        prepare(own, out, KEEP)
    assert contents(out) == undisturbed
    os.truncate(own[1].folder / "001.jsonl", (own[1].folder / "001.jsonl").stat().st_size - 25)
    prepare(own, out, KEEP)
    assert contents(out) == undisturbed


def test_too_many_faults_stop_it_and_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byteproxy.store.rejected.MIN_RECORDS", 40)
    files: list[list[Document | str]] = [["{", "{", *(a_document(n, b"%d" % n) for n in range(30))]]
    files += [[f"{{{n}" for n in range(9)], [a_document(n, b"%d" % n) for n in range(50, 1000)]]
    source = a_source(tmp_path / "toy", files)
    settings = replace(KEEP, max_faulty=0.1)
    with pytest.raises(InputError) as caught:
        prepare([source], tmp_path / "out", settings)
    message = str(caught.value)
    assert "11 of 41 records are faulty, 26.8 % and more than the 10 % allowed (11 broken JSON; first: " in message
    assert "first: toy, 000.jsonl:1; toy, 000.jsonl:2; toy, 001.jsonl:1; all are listed in" in message
    listed = rejected(tmp_path / "out")
    assert [(one["file"], one["line"]) for one in listed] == [
        ("000.jsonl", 1),
        ("000.jsonl", 2),
        *(("001.jsonl", n) for n in range(1, 10)),
    ]
    assert {one["reason"] for one in listed} == {"broken JSON"}
    with pytest.raises(InputError, match="11 of 41 records are faulty"):
        prepare([source], tmp_path / "out", settings, workers=2)
    manifest = prepare([source], tmp_path / "out", replace(KEEP, max_faulty=0.3))
    assert manifest.rejected == {"broken JSON": 11}
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="the list of them would overwrite"):
        prepare([source], tmp_path / "out", settings)
    (tmp_path / "out" / ".staged").rename(tmp_path / "gone")
    assert contents(tmp_path / "out") == before


def test_few_records_are_judged_at_the_end_only(tmp_path: Path) -> None:
    files: list[list[Document | str]] = [["{"], [a_document(n, b"%d" % n) for n in range(99)]]
    assert prepare([a_source(tmp_path / "a", files)], tmp_path / "1", replace(KEEP, max_faulty=0.01)).records == 100
    with pytest.raises(InputError, match=r"1 of 99 records are faulty, 1\.01 %"):
        prepare([a_source(tmp_path / "b", [files[0], files[1][1:]])], tmp_path / "2", replace(KEEP, max_faulty=0.01))


def test_nothing_left_is_said_and_listed(tmp_path: Path) -> None:
    source = a_source(tmp_path / "toy", [[a_document(0, b""), a_document(1, b"x")], ["{"]])
    with pytest.raises(
        InputError, match=r"there are no documents .*2 of 3 records .* too small; all are listed in .*--min-bytes"
    ):
        prepare([source], tmp_path / "out", replace(KEEP, rules=Rules(smallest=2), max_faulty=1.0))
    assert [one["reason"] for one in rejected(tmp_path / "out")] == ["too small", "too small", "broken JSON"]
    with pytest.raises(InputError, match="there are no documents"):
        prepare([], tmp_path / "none", KEEP)


def test_a_list_of_an_earlier_failure_goes_away(tmp_path: Path) -> None:
    source = a_source(tmp_path / "toy", [["{"], [a_document(1, b"x")]])
    with pytest.raises(InputError, match="faulty"):
        prepare([source], tmp_path / "out", KEEP)
    (tmp_path / "toy" / "000.jsonl").unlink()
    manifest = prepare([source], tmp_path / "out", KEEP)
    assert (manifest.rejected, manifest.rejected_file) == ({}, None)
    assert sorted(contents(tmp_path / "out")) == ["manifest.json", "shard-00000.arrow"]


def test_names_that_are_not_unicode_are_faults(tmp_path: Path) -> None:
    documents = [a_document(0, b"x"), replace(a_document(1, b"y"), id="\udcff.py"), a_document(2, b"z")]
    with pytest.raises(InputError, match=r"1 of 3 records are faulty.*name that is not Unicode"):
        prepare_documents(documents, tmp_path, SPLIT)
    assert [(one["file"], one["reason"]) for one in rejected(tmp_path)] == [("\\udcff.py", "name that is not Unicode")]


def test_sources_of_one_name_are_refused(sources: list[ToySource], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two sources are named 'b'"):
        prepare([sources[0], replace(sources[1], name="b")], tmp_path, KEEP)
    with pytest.raises(InputError, match="workers is 0"):
        prepare(sources, tmp_path, KEEP, workers=0)
    for wrong in ({"near_duplicates": "drop"}, {"shard_bytes": 0}, {"max_faulty": 1.5}, {"max_faulty": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            replace(KEEP, **wrong)  # type: ignore[arg-type]
