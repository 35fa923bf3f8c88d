"""`byteproxy report` as a user meets it; which page is made of what is in tests/report/test_build_page.py."""

import pytest
from tests.cli.commands import in_process, keeps_to_itself, last_object, refusal
from tests.toy_corpus import toy_store


@pytest.fixture
def report(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = in_process(monkeypatch, capsys)
    return lambda *arguments: run("report", *arguments)


def test_the_page_of_a_corpus(report, tmp_path):
    toy_store(tmp_path / "c")
    status, stdout, _ = report("c", "--out", "page.html")
    assert (status, stdout) == (0, "Page: page.html\n")
    assert keeps_to_itself((tmp_path / "page.html").read_text())
    told = last_object(report("c", "--json"))
    assert (told["kind"], told["page"]) == ("corpus", "runs/pages/corpus.html")
    assert told["figures"]["documents"] == 80
    assert (tmp_path / told["page"]).read_text() == (tmp_path / "page.html").read_text()


def test_refusals_are_one_line(report, tmp_path):
    assert "nowhere is no folder" in refusal(report("nowhere"))
    assert "holds no run, study, demo, conversion or corpus" in refusal(report(tmp_path))
    assert report()[0] == 2
