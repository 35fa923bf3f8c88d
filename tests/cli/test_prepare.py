"""`byteproxy prepare` as a user meets it: small sources in, a corpus out."""

import json
import random
import re
from pathlib import Path

import pytest
from tests.cli.commands import explained, help_at_once, in_process, last_object, refusal
from tests.toy_corpus import toy_documents

from byteproxy.store.manifest import read_manifest
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView
from byteproxy.views.registry import load


@pytest.fixture
def byteproxy(monkeypatch, capsys, tmp_path):
    """Commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return in_process(monkeypatch, capsys)


@pytest.fixture
def sources(tmp_path):
    """A folder of repositories, and lines of JSON of which one is damaged, one too small, one a copy."""
    documents = toy_documents()
    for document in documents:
        path = tmp_path / "code" / document.project / document.id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.text)
    (tmp_path / "code" / "project0" / "main.rs").write_text('fn main() { println!("one"); }\n')
    lines = [
        json.dumps({"contents": f"note number {n}\n" * 20, "id": f"n{n}", "project": f"p{n % 5}"}) for n in range(30)
    ]
    lines += ["{broken", json.dumps({"contents": ""}), json.dumps({"contents": documents[0].text.decode()})]
    (tmp_path / "notes.jsonl").write_text("\n".join(lines) + "\n")
    return "code:weight=2", "notes.jsonl:text=contents,name=pages"


COMMON = ("--max-faulty", "0.05", "--near-duplicates", "keep", "--workers", "1", "--test", "0.2")


def never(*arguments, **options):
    raise AssertionError("trained again")


def test_sources_become_a_corpus_with_views(byteproxy, sources):
    result = byteproxy("prepare", *sources, "--out", "c", "--view", "bpe:300", "--view", "gzip", *COMMON, "--json")
    figures = last_object(result)
    store = Store.open(Path("c"))
    store.verify()
    documents = [document for split in ("train", "validation", "test") for document in store.documents(split)]
    assert figures["documents"] == len(documents) == 81 + 30
    assert figures["bytes"] == sum(len(document.text) for document in documents)
    for split in ("train", "validation", "test"):
        mine = list(store.documents(split))
        told = {"documents": len(mine), "bytes": sum(len(one.text) for one in mine)}
        assert figures["splits"][split] == {**told, "projects": len({one.project for one in mine})}
    assert figures["sources"]["code"]["weight"] == 2
    assert {name: source["documents"] for name, source in figures["sources"].items()} == {"code": 81, "pages": 30}
    assert figures["sources"]["pages"]["read"]["documents"] == 31, "with the copy"
    assert figures["faulty"] == {"broken JSON": 1}
    assert figures["unwanted"] == {"exact duplicate": 1, "too small": 1}
    assert {json.loads(line)["reason"] for line in Path(figures["rejected_file"]).read_text().splitlines()} == {
        "broken JSON",
        "exact duplicate",
        "too small",
    }
    assert figures["languages"]["rust"]["documents"] == 1
    assert list(figures["views"]) == ["bpe-300", "gzip-9"]
    view = store.view("bpe-300")
    again = BpeView.train((document.text for document in store.documents("train")), 300)
    assert view.fingerprint == again.fingerprint == figures["views"]["bpe-300"]["fingerprint"]
    assert figures["views"]["bpe-300"]["symbols"] == sum(len(view.encode(one.text).symbols) for one in documents)
    assert store.view("gzip-9").name == "gzip-9", "it is named in the manifest"
    assert figures["train_seconds"]["bpe:300"] > 0
    _, _, said = result
    rows = [line.split() for line in said.splitlines()]
    assert next(row for row in rows if row[:1] == ["pages"])[-1] == "1", "weight"
    assert next(row for row in rows if row[:1] == ["code"])[-1] == "2"
    assert any(row[:3] == ["broken", "JSON", "faulty"] for row in rows)
    assert any(row[:3] == ["too", "small", "unwanted"] for row in rows)
    assert "c/rejected.jsonl" in said
    assert "byteproxy mixture preview c --recipe paper" in said
    assert re.search(r"^read: \d+\.\d s, [\d.]+ kB", said, re.MULTILINE), "progress"


def test_a_second_run_trains_nothing_and_a_third_adds_what_is_new(byteproxy, sources, monkeypatch):
    command = ("prepare", *sources, "--out", "c", *COMMON, "--json", "--view")
    first = last_object(byteproxy(*command, "bpe:300"))
    before = {path.name: path.stat().st_mtime_ns for path in Path("c").iterdir() if path.suffix == ".arrow"}
    train = BpeView.train
    monkeypatch.setattr(BpeView, "train", never)
    status, stdout, stderr = byteproxy(*command, "bpe:alphabet=300")
    again = last_object((status, stdout, stderr))
    assert "train bpe" not in stderr
    assert {**first, "seconds": 0, "train_seconds": 0} == {**again, "seconds": 0, "train_seconds": 0}
    assert again["train_seconds"] == {"bpe:alphabet=300": None}
    monkeypatch.setattr(BpeView, "train", train)
    more = last_object(byteproxy(*command, "bpe:300", "--view", "bpe:290", "--view", "bits"))
    assert list(more["views"]) == ["bpe-300", "bpe-290", "bits"]
    after = {path.name: path.stat().st_mtime_ns for path in Path("c").iterdir()}
    assert {name: after[name] for name in before} == before, "nothing was written again"


def test_stopped_while_it_encodes_it_keeps_what_it_trained(byteproxy, sources, monkeypatch):
    command = ("prepare", *sources, "--out", "c", *COMMON, "--view", "bpe:300", "--json")

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.build.add_view", stopped)
        status, _, stderr = byteproxy(*command)
    assert status == 130
    assert "the same command goes on from here" in stderr
    assert read_manifest(Path("c")).views == ()
    monkeypatch.setattr(BpeView, "train", never)
    assert "bpe-300" in last_object(byteproxy(*command))["views"]


def test_a_damaged_view_is_trained_again_and_restored(byteproxy, sources):
    command = ("prepare", *sources, "--out", "c", *COMMON, "--view", "bpe:300", "--json")
    last_object(byteproxy(*command))
    path = Path("c/view-bpe-300.json")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"e", b"f", 1))
    Path("c/shard-00000.bpe-300.arrow").unlink()
    assert last_object(byteproxy(*command))["train_seconds"]["bpe:300"] > 0
    assert path.read_bytes() == whole
    Store.open(Path("c")).verify()


def test_another_corpus_in_the_folder_gets_views_of_its_own(byteproxy, sources):
    command = ("prepare", *sources, "--out", "c", *COMMON, "--view", "bpe:300", "--json")
    first = last_object(byteproxy(*command))
    Path("c/manifest.json").unlink()
    for number in range(40):
        Path(f"code/project{number}/more.py").write_text("".join(f"zebra_{number}_{n} = {n}\n" for n in range(200)))
    second = last_object(byteproxy(*command))
    assert second["train_seconds"]["bpe:300"] > 0
    assert second["views"]["bpe-300"]["fingerprint"] != first["views"]["bpe-300"]["fingerprint"]


def test_another_view_of_the_same_name_leaves_the_corpus_as_it_was(byteproxy, sources, tmp_path):
    BpeView.train((document.text for document in toy_documents(seed=1)), 300).save(tmp_path / "other.json")
    command = ("prepare", *sources, "--out", "c", *COMMON, "--view")
    last_object(byteproxy(*command, "./other.json", "--json"))
    assert "already holds another view named 'bpe-300'" in refusal(byteproxy(*command, "bpe:300"))
    Store.open(Path("c")).verify()
    assert Store.open(Path("c")).view("bpe-300").fingerprint == load(tmp_path / "other.json").fingerprint


def test_a_trained_view_can_be_a_file(byteproxy, sources, tmp_path):
    BpeView.train((document.text for document in toy_documents()), 280).save(tmp_path / "mine.json")
    figures = last_object(byteproxy("prepare", *sources, "--out", "c", *COMMON, "--view", "./mine.json", "--json"))
    assert figures["train_seconds"] == {}
    assert figures["views"]["bpe-280"]["fingerprint"] == load(tmp_path / "mine.json").fingerprint
    assert Store.open(Path("c")).view("bpe-280").alphabet_size == 280


def test_options_decide_the_corpus(byteproxy, sources):
    (Path("code") / "project1" / "odd.py").write_bytes(b"x = '\xff'\n" * 30)
    common = ("prepare", *sources, "--max-faulty", "0.1", "--workers", "1", "--json", "--out")
    options = ("--validation", "0", "--test", "0", "--min-bytes", "400", "--max-bytes", "1500", "--invalid", "drop")
    last_object(byteproxy(*common, "c", *options, "--near-duplicates", "train", "--salt", "pepper"))
    manifest = read_manifest(Path("c"))
    assert (manifest.split.validation, manifest.split.test, manifest.split.salt) == (0, 0, "pepper")
    assert (manifest.rules.smallest, manifest.rules.largest, manifest.rules.invalid) == (400, 1500, "drop")
    assert manifest.near_duplicates == "train"
    assert manifest.rejected["invalid UTF-8"] == 1
    lengths = [len(document.text) for document in Store.open(Path("c")).documents("train")]
    assert lengths
    assert 400 <= min(lengths) <= max(lengths) <= 1500
    assert "c already holds a corpus of other" in refusal(byteproxy(*common, "c"))


def test_few_repositories_and_one_large_file_are_split_and_that_is_said(byteproxy, tmp_path):
    """Code is on all splits though there are four projects only; a text that is all there is, is cut by place."""
    for project in range(4):
        (tmp_path / "few" / f"repo{project}").mkdir(parents=True)
        for number, document in enumerate(toy_documents(20, seed=project)):
            (tmp_path / "few" / f"repo{project}" / f"f{number}.py").write_bytes(document.text)
    words = [f"word{n}" for n in range(5000)]
    rng = random.Random(1)
    (tmp_path / "book").write_text("\n".join(" ".join(rng.choices(words, k=9)) for _ in range(3000)))
    command = ("prepare", "few", "book", "--out", "c", "--workers", "1", "--near-duplicates", "keep")
    figures = last_object(result := byteproxy(*command, "--json"))
    said = result[2]
    assert "few, python: 4 projects can't give the validation and test splits their shares" in said
    assert "book: too few files for the validation and test splits, so the text was cut by place" in said
    for part in figures["split"]["parts"]:
        total = sum(part[split]["bytes"] for split in ("train", "validation", "test"))
        assert part["validation"]["bytes"] / total == pytest.approx(0.05, abs=0.01)
        assert part["test"]["bytes"] / total == pytest.approx(0.1, abs=0.01)
    assert [(group["source"], group["validation"]) for group in figures["split"]["groups"]] == [
        ("book", "place"),
        ("few", "file"),
    ]
    rows = [line.split() for line in said.splitlines()]
    assert next(row for row in rows if row[:2] == ["few,", "python"])[-1] == "file"
    assert next(row for row in rows if row[:1] == ["book"] and row[-1] == "place")
    status, shown, _ = byteproxy("corpus", "stats", "c")
    assert status == 0
    assert "cut by place" in shown
    page = Path("runs/pages/corpus.html").read_text()
    assert "<h2>Split</h2>" in page
    assert "so files were split one by one" in page
    store = Store.open(Path("c"))
    assert all(list(store.documents(split)) for split in ("train", "validation", "test"))


def test_projects_are_held_out_by_name(byteproxy, sources):
    command = ("prepare", *sources, *COMMON, "--json", "--out")
    figures = last_object(byteproxy(*command, "c", "--hold-out", "project3", "--hold-out", "validation:code/project4"))
    store = Store.open(Path("c"))
    assert "project3" in {one.project for one in store.documents("test")}
    assert "project4" in {one.project for one in store.documents("validation")}
    assert figures["split"]["hold_out"] == ["project3", "validation:code/project4"]
    assert "c already holds a corpus of other" in refusal(byteproxy(*command, "c"))
    said = refusal(byteproxy(*command, "d", "--hold-out", "projekt3"))
    assert "there is no project 'projekt3' to hold out" in said
    assert "project3" in said
    assert last_object(byteproxy(*command, "d", "--hold-out", "project3"))["documents"] == figures["documents"]


def test_somebody_elses_folder_is_refused_in_a_line(byteproxy, sources):
    Path("c").mkdir()
    Path("c/rejected.jsonl").write_text("mine\n")
    assert "c holds files that no preparation of a corpus wrote (rejected.jsonl)" in refusal(
        byteproxy("prepare", *sources, "--out", "c", *COMMON)
    )
    assert [path.name for path in Path("c").iterdir()] == ["rejected.jsonl"]
    assert Path("c/rejected.jsonl").read_text() == "mine\n"


def test_files_above_the_limit_are_the_reason_that_is_said(byteproxy, tmp_path):
    (tmp_path / "two").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "two" / name).write_text("text\n" * 100)
    said = refusal(byteproxy("prepare", "two", "--out", "c", "--max-bytes", "100"))
    assert "2 of 2 records that were read are rejected as too large" in said
    assert "allow larger ones (--max-bytes)" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "c"], "no source is named"),
        (["nowhere", "--out", "c"], "nowhere doesn't exist"),
        (["code", "notes.jsonl:name=code", "--out", "c"], "both named code"),
        (["code", "--out", "c", "--view", "nonesuch"], "there is no view 'nonesuch'"),
        (["code", "--out", "c", "--view", "bpe:12"], "256"),
        (["code", "--out", "c", "--view", "missing/view.json"], "there is no file missing/view.json"),
        (["code", "--out", "c", "--workers", "0"], "workers is 0"),
        (["code", "--out", "c", "--test", "1.5"], "split.test is 1.5"),
        (["code", "--out", "c", "--max-bytes", "-1"], "max_bytes -1: give 0 or more"),
        (["notes.jsonl:text=contents", "--out", "c", "--workers", "1"], "1 of 33 records are faulty"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(byteproxy, sources, arguments, said):
    assert said in refusal(byteproxy("prepare", *arguments))
    assert "faulty" in said or not Path("c").exists(), "said before anything is written"


def test_help_teaches_sources_and_comes_at_once(byteproxy):
    text = help_at_once("prepare")
    for example in (
        "stdlib",
        "~/repositories",
        "depth=2,languages=python|rust",
        "jsonl.zst:text=",
        "*.parquet",
        "weight=2",
    ):
        assert example in text
    for option in (
        *(
            "--out",
            "--view",
            "--validation",
            "--test",
            "--salt",
            "--hold-out",
            "--min-bytes",
            "--max-bytes",
            "--invalid",
        ),
        *("--near-duplicates", "--max-faulty", "--workers", "--json"),
    ):
        assert explained(text, option), option
    _, about, _ = byteproxy("--help")
    order = [
        about.index(f"  byteproxy {name} ") for name in ("prepare", "corpus", "views", "mixture", "demo", "generate")
    ]
    assert order == sorted(order)
