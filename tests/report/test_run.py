"""The page and the figures of a run, out of what it left behind."""

from dataclasses import replace

import pytest
from tests.cli.commands import keeps_to_itself
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import sized, timed
from byteproxy.evaluate.run_figures import figure_rows, folder_figures
from byteproxy.evaluate.validation import validate_with
from byteproxy.lock import held
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.report import run as run_page_module
from byteproxy.report.plots import Line, curves, smoothed
from byteproxy.report.run import keeping_page, read_run, run_page, runs_page, write_run_page
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


def test_a_plot_takes_its_colours_from_the_page_and_repeats_itself():
    lines = [Line("one", 0, [1, 2, 3], [3.0, 2.0, 1.5]), Line("other", 9, [1, 2, 3], [4.0, 2.5, 1.0], smooth=True)]
    picture = curves("name", lines, [], "steps", "loss").svg
    assert picture == curves("name", lines, [], "steps", "loss").svg
    assert picture.startswith('<svg viewBox="')
    assert "var(--arm0)" in picture
    assert "var(--arm9)" in picture
    assert "#0" not in picture.replace('href="#', "").replace("url(#", "")
    assert ">other<" in picture
    assert "stroke-dasharray" in picture


def test_smoothing_keeps_a_straight_line():
    assert smoothed([float(x) for x in range(100)]) == pytest.approx(list(range(100)))


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
        clock[0] += 1000

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


def test_only_the_page_of_a_run_that_goes_on_renews_itself(trained, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    longer = (trained.folder / "config.toml").read_text().replace("6 steps", "9 steps")
    (begun / "config.toml").write_text(longer)
    (begun / "metrics.jsonl").write_bytes((trained.folder / "metrics.jsonl").read_bytes())
    stopped = run_page(read_run(begun))
    assert "not finished" in stopped
    with held(begun):
        going_on = run_page(read_run(begun))
    assert going_on.count('<meta http-equiv="refresh"') == 1
    assert "this page renews itself" in going_on
    assert 'http-equiv="refresh"' not in stopped + run_page(read_run(trained.folder))
    assert keeps_to_itself(going_on)


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
