"""The page and the figures of a run, out of what it left behind."""

import base64
import copy
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.commands import keeps_to_itself
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import sized, timed
from byteproxy.evaluate.compressors import ppmd_bpb, xz_bpb, zstd_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.evaluate.run_figures import figure_rows, folder_figures
from byteproxy.evaluate.validation import validate_with
from byteproxy.lock import held
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.report import run_page as run_page_module
from byteproxy.report.run_page import keeping_page, read_run, run_page, runs_page, write_run_page, write_stopped_page
from byteproxy.store.store import Store
from byteproxy.train.metrics import Metrics, read
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

CONFIG = TrainConfig(
    stop="6 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64, byte_heads=2),
    shape=Shape(2, 256, 100),
    validation=Validation(800),
    log_every=2,
    validate_every=3,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    store, _ = toy_store(folder / "c")
    trainer = Trainer(CONFIG, store, folder / "a <run>")
    trainer.run(validate_with(CONFIG, store))
    return trainer


@pytest.fixture
def unfinished(trained, tmp_path):
    """What a run that was to have nine steps leaves after six."""
    folder = tmp_path / "begun"
    folder.mkdir()
    longer = (trained.folder / "config.toml").read_text().replace("6 steps", "9 steps")
    (folder / "config.toml").write_text(longer)
    (folder / "metrics.jsonl").write_bytes((trained.folder / "metrics.jsonl").read_bytes())
    return folder


def files_in(page):
    """The content of each file that the pictures of a page can be taken away as, by name."""
    links = re.findall(r'download="([^"]+)" href="data:[^,]+,([^"]+)"', page)
    return {name: base64.b64decode(content).decode() for name, content in links}


def test_the_page_shows_all_that_was_measured(trained):
    page = run_page(read_run(trained.folder))
    assert keeps_to_itself(page)
    for heading in ("Bits per byte of validation text", "Transfer gap", "Training loss", "Speed", "Configuration"):
        assert f">{heading}</h" in page
    # Bits, gap and losses over compute, text and time; two of speed.
    assert page.count("<svg") == page.count('.svg"') == page.count('.csv"') == 3 * 3 + 2
    for series in ("raw bytes", "raw: byte 1", "raw: byte 2", "bpe-300: symbol 1"):
        assert f">{series}<" in page
    assert "None: every step was taken." in page
    assert "context_bytes = 100" in page
    assert "a &lt;run&gt;" in page
    assert "<run>" not in page


def test_figures_are_those_of_counters_and_metrics(trained):
    figures = folder_figures(trained.folder, CONFIG)
    last = read(trained.folder / "metrics.jsonl")[-1]
    assert figures["raw_bpb"] == last["raw_bpb"]
    assert figures["flops"] == trained.counters.flops == last["flops"]
    assert figures["text_bytes"] == dict(zip(("raw", "bpe-300"), trained.counters.text_bytes, strict=True))
    assert figures["losses"]["bpe-300"]["symbol_1"] > 0
    assert 0 < figures["matmul_utilization"] < 1
    assert 0 < figures["loading_share"] < 1
    rows = {row.name: row.value for row in figure_rows(figures)}
    assert rows["bpe-300 bits per byte"] == f"{last['view_bpb']['bpe-300']:.4f}"
    assert rows["steps"] == "6"


def test_skipped_steps_stand_on_the_page(trained):
    metrics = trained.folder / "metrics.jsonl"
    kept = metrics.read_text()
    log = Metrics(trained.folder, 6)
    log.write({"step": 6, "skipped": "the loss is <nan>"})
    log.close()
    page = run_page(read_run(trained.folder))
    metrics.write_text(kept)
    assert "the loss is &lt;nan&gt;" in page
    assert "every step was taken" not in page


def test_a_run_without_validation_or_views_has_a_page(trained, tmp_path):
    config = replace(CONFIG, stop="1 steps", views=(), mixture=replace(CONFIG.mixture, preset="bytes"))
    trainer = Trainer(config, Store.open(trained.stream.store.path), tmp_path / "bare")
    trainer.run()
    page = run_page(read_run(trainer.folder))
    assert "Nothing was logged." in page
    assert "Transfer gap" not in page
    assert folder_figures(trainer.folder, config)["raw_bpb"] is None


def test_units_read_well():
    assert [sized(x) for x in (0, 999, 1234, 1.5e7, 2e14)] == ["0", "999", "1.23 k", "15.0 M", "200 T"]
    assert [timed(x) for x in (1.23, 119, 600, 9e4, 4e5, 1e9)] == [
        "1.2 s",
        "119.0 s",
        "10.0 minutes",
        "25.0 hours",
        "4.6 days",
        "31.7 years",
    ]


def test_a_page_is_made_of_the_folder_alone(trained, tmp_path):
    """As after a kill: no checkpoint, a torn last line, and nothing but two files."""
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "config.toml").write_bytes((trained.folder / "config.toml").read_bytes())
    lines = (trained.folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]) + lines[-1][:20])
    told, known = folder_figures(folder, CONFIG), folder_figures(trained.folder, CONFIG)
    assert told.keys() == known.keys()
    assert told["steps"] == 6
    for what in ("loss", "flops", "positions", "raw_parameters", "compressed_share", "of_steps"):
        assert told[what] == known[what], what
    assert sum(told["text_bytes"].values()) == sum(known["text_bytes"].values())
    page = write_run_page(folder).read_text()
    assert keeps_to_itself(page)
    assert page.count("<svg") == 3 * 3 + 2
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no metrics of any step yet"):
        write_run_page(folder)


def test_the_page_is_there_while_the_run_goes_on(trained, tmp_path, monkeypatch):
    """At each validation, but for no more than a small share of the time; a full disk stops nothing."""
    trainer = Trainer(CONFIG, Store.open(trained.stream.store.path), tmp_path / "going on")
    page, seen, clock = trainer.folder / "report.html", [], [0.0]

    def progress(done, total, note=""):
        seen.append((done, page.exists() and "3 steps of 6" in page.read_text()))
        clock[0] += 10

    monkeypatch.setattr(run_page_module.time, "monotonic", lambda: clock[0])
    trainer.run(validate_with(CONFIG, trainer.stream.store), keeping_page(trainer.folder, CONFIG, progress))
    assert seen == [(1, False), (2, False), (3, False), (4, True), (5, True), (6, True)]
    assert "6 steps," in page.read_text()

    def full(page, path):
        raise InputError("the disk is full")

    page.unlink()
    monkeypatch.setattr(run_page_module, "write_page", full)
    keeping_page(trainer.folder, CONFIG, progress)(6, 6)
    assert not page.exists()


def test_pages_take_a_small_share_of_the_time(trained, monkeypatch):
    clock, written = [0.0], []

    def slow(page, path):
        clock[0] += 1.0
        written.append(clock[0])

    monkeypatch.setattr(run_page_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(run_page_module, "write_page", slow)
    told = keeping_page(trained.folder, CONFIG, lambda *_: None)
    for _ in range(200):
        clock[0] += 1.0
        told(3, 6)
    assert 3 <= len(written) <= 5


def test_a_finished_run_says_from_its_folder_what_its_counters_say(trained):
    told, known = folder_figures(trained.folder, CONFIG), trained.counters
    for name in ("flops", "positions", "seconds", "wall_seconds", "skipped"):
        assert told[name] == getattr(known, name), name
    assert told["loading_share"] == known.loading_seconds / known.seconds
    assert told["text_bytes"] == dict(zip(("raw", "bpe-300"), known.text_bytes, strict=True))
    assert told["compressed_share"] == known.compressed_share()
    assert told["parameters"] == sum(parameter.numel() for parameter in trained.model.parameters())
    assert told["parameters"] > told["raw_parameters"]


def test_only_the_page_of_a_run_that_goes_on_renews_itself(trained, unfinished):
    stopped = run_page(read_run(unfinished))
    assert "the run was not finished, and no process was at work on it" in stopped
    with held(unfinished):
        going_on = run_page(read_run(unfinished))
    assert going_on.count('<noscript><meta http-equiv="refresh" content="20"></noscript>') == 1
    assert "This page renews itself every 20 seconds" in going_on
    assert 'data-renew="20"' in going_on
    finished = run_page(read_run(trained.folder))
    assert "the run was finished" in finished
    for page in (stopped, finished):
        assert 'http-equiv="refresh"' not in page
        assert "renews itself" not in page
        assert 'data-renew=""' in page
    assert keeps_to_itself(going_on)


def test_a_page_says_when_it_was_written_and_what_writes_it_anew(unfinished):
    with held(unfinished):
        run = read_run(unfinished)._replace(read_at=1_764_492_917.5, folder=Path("a <run>"))
        page, both = run_page(run), runs_page([run, run])
    for one in (page, both):
        assert "Written <time>2025-11-30 08:55 UTC</time>" in one
        assert 'data-written="1764492917"' in one
    assert "<code>byteproxy report &#39;a &lt;run&gt;&#39;</code> writes the page anew" in page
    assert "a run was going on" not in page
    assert "some runs were going on" in both


def test_a_run_that_ends_early_leaves_a_page_that_no_longer_renews_itself(unfinished):
    """Although its process holds the folder still."""
    with held(unfinished):
        write_stopped_page(unfinished)
    assert "the run was not finished" in (unfinished / "report.html").read_text()
    shutil.rmtree(unfinished)
    write_stopped_page(unfinished)
    assert not unfinished.exists()


def test_a_long_log_is_drawn_by_means_of_neighbours(trained, unfinished, monkeypatch):
    monkeypatch.setattr(run_page_module, "_POINTS", 2)
    page = run_page(read_run(trained.folder))
    lines = [line for line in read(trained.folder / "metrics.jsonl") if "positions_per_second" in line]
    assert len(lines) == 3
    table = files_in(page)["positions-a-second-wall-seconds.csv"].splitlines()
    x, y = zip(*[(line["wall_seconds"], line["positions_per_second"]) for line in lines], strict=True)
    found = [tuple(map(float, row.split(",")[1:])) for row in table[1:]]
    assert found == [pytest.approx((sum(x[:2]) / 2, sum(y[:2]) / 2)), pytest.approx((x[2], y[2]))]
    assert "Each point is the mean of several lines" in page


def test_compressors_stand_beside_the_bits_of_the_same_text(trained, tmp_path):
    """As the run recorded them: its corpus isn't asked."""
    texts = held_out_texts(Store.open(trained.stream.store.path), "validation", 800, CONFIG.validation.document_bytes)
    ppmd = ppmd_bpb(texts)
    run = read_run(trained.folder)
    assert run.figures["validation_text"] == {
        "bytes": 800,
        "documents": len(texts),
        "compressors": {"xz": xz_bpb(texts), "zstd": zstd_bpb(texts), "ppmd": ppmd},
    }
    page = run_page(run)
    tables = [table for name, table in files_in(page).items() if name.startswith("bits-per-byte") and ".csv" in name]
    assert len(tables) == 3
    assert all(f'PPMd {ppmd:.2f},"",{ppmd}' in table.replace(",,", ',"",') for table in tables)
    assert f"ppmd {ppmd:.3f}" in page
    assert "800\N{NO-BREAK SPACE}B of validation text" in page
    other = copy.deepcopy(run)
    other.logged[0]["validation_text"] = None
    other.figures["validation_text"]["bytes"] = 700
    assert f"PPMd {ppmd:.2f}" in runs_page([run, run])
    assert "All were measured on the same" in runs_page([run, run])
    apart = runs_page([run, other])
    assert f"PPMd {ppmd:.2f}" not in apart.split("<details>")[0]
    assert "are measured on other text" in apart


def test_other_validation_text_before_a_resume_is_said(trained):
    run = copy.deepcopy(read_run(trained.folder))
    assert "it was other text" not in run_page(run)
    first = next(line for line in run.logged if "raw_bpb" in line)
    assert first["step"] == 3
    first["validation_text"]["bytes"] = 700
    assert "Up to step 3 it was other text." in run_page(run)


def test_a_page_is_written_every_few_minutes_even_without_validation(trained, tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(run_page_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(run_page_module, "write_page", lambda page, path: written.append(clock[0]))
    told = keeping_page(trained.folder, replace(CONFIG, validate_every=0), lambda *_: None)
    for _ in range(20):
        clock[0] += 60.0
        told(3, 6)
    assert written == [300.0, 600.0, 900.0, 1200.0]
    begun = tmp_path / "nothing logged yet"
    begun.mkdir()
    (begun / "config.toml").write_bytes((trained.folder / "config.toml").read_bytes())
    told = keeping_page(begun, CONFIG, lambda *_: None)
    clock[0] += 300.0
    told(1, 6)
    (begun / "metrics.jsonl").write_bytes((trained.folder / "metrics.jsonl").read_bytes())
    clock[0] += 300.0
    told(2, 6)
    assert written[4:] == [1800.0], "and what is not there yet is no reason to give up"


def test_runs_stand_side_by_split(trained, tmp_path):
    other = tmp_path / "other & run"
    other.mkdir()
    changed = (trained.folder / "config.toml").read_text().replace("seed = 0", "seed = 7")
    (other / "config.toml").write_text(changed)
    (other / "metrics.jsonl").write_bytes((trained.folder / "metrics.jsonl").read_bytes())
    page = runs_page([read_run(trained.folder), read_run(other)])
    assert keeps_to_itself(page)
    assert page.count("<svg") == 3 * 3
    assert page.count(">other &amp; run<") >= 3 * 3
    assert "<th scope=row>seed</th><td>0</td><td>7</td>" in page
    assert page.count("<tr><th scope=row>") == 2 + 1, "two runs, and the field that they differ in"
