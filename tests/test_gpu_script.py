"""`make gpu` runs whole on a CPU with tiny shapes, so that it is known to work before a card is rented."""

import json

import pytest
import torch
from benchmarks import gpu


@pytest.fixture(scope="module")
def report():
    return gpu.measure(8.0, torch.device("cpu"), tiny=True)


def test_every_part_but_the_tests_runs_on_a_cpu(report):
    assert report.left_out == ["Tests: there is no GPU"]
    ways = [(one["size"], one["attention"], one["compile"], one["checkpointing"]) for one in report.figures["steps"]]
    assert ways == [(size, *cell) for size in ("0.5b", "1.5b") for cell in gpu.ON_CPU]
    assert all(one["positions_per_second"] > 0 and one["flops_per_second"] > 0 for one in report.figures["steps"])
    assert report.figures["sharded"]["loss_apart"] < 1e-5
    assert report.figures["resume"]["loss_apart"] == 0
    assert set(report.figures["bytes_per_second"]) == {1, 16}


def test_the_file_says_what_it_is_of_and_what_is_left_out(report):
    text = gpu.written(report, torch.device("cpu"))
    assert text.startswith("# What `make gpu` found on a CPU, with tiny shapes")
    assert "## Left out\n\n- Tests: there is no GPU\n" in text
    assert [line for line in text.splitlines() if line.startswith("## ")][:2] == [
        "## Training steps, 0.5b",
        "## Training steps, 1.5b",
    ]
    json.dumps(report.figures)


def test_a_part_that_fails_or_has_no_time_costs_no_other():
    def wrong(add):
        add("a line")
        raise ValueError("of its own")

    report = gpu.Report(0.5)
    report.part("wrong", 0.0, wrong)
    report.part("long", 3600.0, lambda add: add("never"))
    report.part("right", 0.0, lambda add: add("done"))
    first, second = report.left_out
    assert first == "wrong: ValueError: of its own"
    assert second.startswith("long: ")
    assert second.endswith(" s are left, and it takes 3600")
    assert report.sections == {"wrong": ["a line"], "right": ["done"]}


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 80GB HBM3", 989.5e12), ("NVIDIA GeForce RTX 4090", 165.2e12), ("Voodoo 2", None)]
)
def test_a_card_is_known_by_its_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert gpu.peak_of(torch.device("cuda")) == peak
