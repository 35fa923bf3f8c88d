"""Where a model comes from is written once, and read without what it came from."""

import json
import shlex
import sys
from dataclasses import replace

import pytest
from tests.toy_corpus import toy_store

import byteproxy
from byteproxy.errors import InputError
from byteproxy.runs.lineage import LINEAGE, Lineage, license_of, read_lineage, remember_lineage
from byteproxy.train.train_config import Start, TrainConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


def test_it_says_command_corpus_and_start(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/byteproxy", "train", "my recipe.toml"])
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    start = Start(str(tmp_path / "llama"), "ab", "cd")
    config = TrainConfig(corpus=str(store.path), views=("bpe-300",), start=start)
    remember_lineage(tmp_path, config, store)
    known = read_lineage(tmp_path)
    assert shlex.split(known.command) == ["byteproxy", "train", "my recipe.toml"]
    assert (known.byteproxy, known.corpus, known.views) == (byteproxy.__version__, str(store.path), ("bpe-300",))
    assert known.fingerprint == store.manifest.fingerprint_for(("bpe-300",))
    assert known.sources == {name: source.bytes for name, source in store.manifest.sources.items()}
    assert (known.start, known.start_license) == (start, "apache-2.0")
    remember_lineage(tmp_path, replace(config, views=()), store)
    assert read_lineage(tmp_path) == known, "it is written once"
    assert str(tmp_path) not in known.without_places().written().decode()
    assert known.without_places().start == Start("llama", "ab", "cd")


def test_a_run_that_lost_it_was_begun_by_nobody_knows_what(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["byteproxy", "train", "--resume", "run"])
    config = TrainConfig(corpus=str(store.path), views=("bpe-300",))
    remember_lineage(tmp_path, config, store, begun=True)
    known = read_lineage(tmp_path)
    assert (known.byteproxy, known.command) == ("", "")
    assert (known.corpus, known.views) == (str(store.path), ("bpe-300",))


def test_of_a_folder_that_says_nothing_the_card_may_know_the_license(tmp_path):
    assert read_lineage(tmp_path) == Lineage()
    (tmp_path / "README.md").write_text('---\nlanguage: en\nlicense: "mit"\n---\nlicense: none\n')
    assert read_lineage(tmp_path) == Lineage(license="mit")


@pytest.mark.parametrize(
    "card", ["", "license: mit\n", "---\nname: x\n---\nlicense: mit\n", "---\nmy_license: mit\n---\n"]
)
def test_a_card_without_a_license_names_none(tmp_path, card):
    (tmp_path / "README.md").write_text(card)
    assert license_of(tmp_path) == ""


def test_what_is_damaged_or_of_another_format_is_refused(tmp_path):
    (tmp_path / LINEAGE).write_bytes(Lineage().written()[:-9])
    with pytest.raises(InputError, match="is damaged"):
        read_lineage(tmp_path)
    (tmp_path / LINEAGE).write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="of format 99"):
        read_lineage(tmp_path)
    (tmp_path / LINEAGE).write_text(json.dumps({"format": 1, "command": "byteproxy train 3m"}))
    with pytest.raises(InputError, match=r"of format 1, .* delete the file"):
        read_lineage(tmp_path)


def test_no_letter_of_it_can_be_another(tmp_path):
    written = Lineage(command="byteproxy train", sources={"code": 7}, license="mit").written()
    for place, byte in enumerate(written):
        (tmp_path / LINEAGE).write_bytes(written[:place] + bytes([byte ^ 2]) + written[place + 1 :])
        with pytest.raises(InputError, match="is damaged"):
            read_lineage(tmp_path)
