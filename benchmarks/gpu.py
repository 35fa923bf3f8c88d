"""`make gpu`: what one card makes of training, resuming and writing, in at most 8 minutes, as a file of results.

The tests that need CUDA come first; then training steps of the shapes of 0.5b and 1.5b, with each way to attend,
compiled or not, with and without activation checkpointing; a model sharded over one rank; a run that is stopped and
goes on; and writing. A part that would not be done in time, or doesn't fit onto the card, is left out, and the results
say so. Where there is no GPU all parts but the tests run on the CPU, with tiny shapes: this shows that the script works
before a card is paid for, and measures nothing.

FLOPs are those of docs/design.md. Shares are of the card's own product [positions, width] x [width, ffn], and of its
peak by its data sheet where that is known.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.files import write_aside
from byteproxy.generate.choice import Sampling
from byteproxy.generate.writer import Writer
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import Backend, Checkpointing, ModelConfig
from byteproxy.recipes.named import run_named
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.study.hardware import machine
from byteproxy.train import trainer as trainer_module
from byteproxy.train.cards import CARDS
from byteproxy.train.compiler import TORCH_DTYPES
from byteproxy.train.flops import matmul_rate
from byteproxy.train.memory import peak_megabytes
from byteproxy.train.metrics import read
from byteproxy.train.sharding import SHARD
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CUDA_TESTS = ("tests/train/test_cuda.py", "tests/model/test_attention.py")
MINUTES = 8.0
WARM, STEPS = 2, 5
TINY = ModelConfig(width=64, layers=2, heads=2, ffn=128)


Add = Callable[[str], None]
"""Adds a line to a part of the results."""


class Cell(NamedTuple):
    """A way to compute a training step."""

    attention: Backend
    compile: bool = False
    checkpointing: Checkpointing = "none"

    def applied(self, config: TrainConfig) -> TrainConfig:
        """A configuration that computes its steps in this way."""
        return replace(
            config, attention=self.attention, compile=self.compile, activation_checkpointing=self.checkpointing
        )

    def __str__(self) -> str:
        again = "" if self.checkpointing == "none" else f", {self.checkpointing} computed again"
        return f"{self.attention}, {'compiled' if self.compile else 'as it is'}{again}"


ON_CARD = (
    Cell("varlen"),
    Cell("flex"),
    Cell("varlen", checkpointing="attention"),
    Cell("varlen", checkpointing="full"),
    Cell("varlen", compile=True),
    Cell("varlen", compile=True, checkpointing="full"),
)
ON_CPU = (Cell("documents"), Cell("sdpa", checkpointing="full"), Cell("documents", compile=True))


class Report:
    """What there is to write: sections of lines, and what was left out, each with why."""

    def __init__(self, minutes: float) -> None:
        self.begun, self.until = time.monotonic(), time.monotonic() + 60 * minutes
        self.sections: dict[str, list[str]] = {}
        self.figures: dict[str, Any] = {}
        self.left_out: list[str] = []

    @property
    def seconds_left(self) -> float:
        """Until the time is up."""
        return self.until - time.monotonic()

    def part(self, name: str, least_seconds: float, work: Callable[[Add], None]) -> None:
        """Do a part, which is given what adds a line to it; one that fails is left out, and the others go on.

        least_seconds: that it takes; with less time left it is left out.
        """
        lines: list[str] = []
        begin = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            if self.seconds_left < least_seconds:
                raise _LeftOutError(f"{max(0.0, self.seconds_left):.0f} s are left, and it takes {least_seconds:.0f}")
            work(lines.append)
        except _LeftOutError as why:
            self.left_out.append(f"{name}: {why}")
        except Exception as error:  # a fault of one part costs no other
            self.left_out.append(f"{name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        if lines:
            self.sections[name] = lines
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


class _LeftOutError(Exception):
    """Says why a part, or one of its lines, is left out."""


def tests(report: Report, device: torch.device, add: Add) -> None:
    """Run the tests that need CUDA."""
    if device.type != "cuda":
        raise _LeftOutError("there is no GPU")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CUDA_TESTS]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=min(240.0, report.seconds_left - 60)
        )
    except subprocess.TimeoutExpired as late:
        raise _LeftOutError(f"not done in {late.timeout:.0f} s") from late
    last = (done.stdout.splitlines() or ["no output"])[-1]
    add(f"`pytest {' '.join(CUDA_TESTS)}`: {last}")
    add("")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    report.figures["tests"] = {
        "passed": int((re.search(r"(\d+) passed", last) or [0, 0])[1]),
        "failed": [line.removeprefix("FAILED ") for line in failed],
    }
    for line in failed:
        add(f"- {line}")


def steps(
    report: Report, store: Store, folder: Path, device: torch.device, name: str, config: TrainConfig, add: Add
) -> None:
    """Time training steps of a size, each way."""
    shape = config.model
    cells = ON_CARD if device.type == "cuda" else ON_CPU
    positions = config.shape.sequences_per_step * config.shape.sequence_length
    own = matmul_rate(TORCH_DTYPES[config.dtype], (positions, shape.width, shape.ffn), device=device)
    peak = peak_of(device)
    add(
        f"Width {shape.width}, {shape.layers} layers, rows of {config.shape.sequence_length:,} positions, raw "
        f"bytes, AdamW, {config.dtype}. The product [{positions:,}, {shape.width}] x [{shape.width}, {shape.ffn}] "
        f"alone: {own / 1e12:,.3g} TFLOP/s."
    )
    add("")
    add("| attention | rows a pass | positions/s | TFLOP/s | share of own product | of peak | peak MB |")
    add("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    begun = len(report.figures.setdefault("steps", []))
    for cell in cells:
        try:
            found = _timed(report, store, folder, device, cell.applied(config))
        except _LeftOutError as why:
            report.left_out.append(f"{name}, {cell}: {why}")
            continue
        rate = found["flops_per_second"]
        row = {"size": name, **cell._asdict(), **found, "share_of_own_product": rate / own}
        row["share_of_peak"] = None if peak is None else rate / peak
        report.figures["steps"].append(row)
        of_peak = "–" if peak is None else f"{rate / peak:.2f}"
        add(
            f"| {cell} | {found['rows']} | {found['positions_per_second']:,.0f} | {rate / 1e12:,.3g} "
            f"| {rate / own:.2f} | {of_peak} | {found['peak_mb']:,} |"
        )
    if len(report.figures["steps"]) == begun:
        raise _LeftOutError("no way to attend was timed")


def _timed(report: Report, store: Store, folder: Path, device: torch.device, config: TrainConfig) -> dict[str, Any]:
    """Figures of some steps, with as many rows as fit: those of the configuration, or half, and so on."""
    rows = config.shape.sequences_per_step
    while rows:
        if report.seconds_left < (40 if device.type == "cuda" else 0):
            raise _LeftOutError("no time is left")
        own = replace(config, micro_sequences=0, shape=replace(config.shape, sequences_per_step=rows))
        try:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                return {"rows": rows, **_of_steps(Trainer(own, store, Path(name)), device)}
        except torch.OutOfMemoryError:
            rows //= 2
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
    raise _LeftOutError("not even one row fits onto the card")


def _of_steps(trainer: Trainer, device: torch.device) -> dict[str, Any]:
    trainer.passes.compile(trainer.stream.plan(trainer.state)[0])
    for _ in range(WARM):
        trainer.step()
    if trainer.config.compile and not trainer.model.compiled_for:
        raise _LeftOutError(trainer.passes.why_not_compiled)
    before = replace(trainer.counters)
    begin = time.perf_counter()
    for _ in range(STEPS):
        trainer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - begin
    counters = trainer.counters
    return {
        "positions_per_second": (counters.positions - before.positions) / seconds,
        "flops_per_second": (counters.flops - before.flops) / seconds,
        "waited_for_rows": (counters.loading_seconds - before.loading_seconds) / seconds,
        "peak_mb": peak_megabytes(device),
    }


def peak_of(device: torch.device) -> float | None:
    """FLOPs per second of this card by its maker's data sheet; None where it isn't known."""
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).lower().replace("-", " ").split()
    names = {*words, *("".join(pair) for pair in pairwise(words))}
    return next((card.peak for name, card in CARDS.items() if name.partition("-")[0] in names), None)


def sharded(report: Report, store: Store, folder: Path, device: torch.device, config: TrainConfig, add: Add) -> None:
    """Steps of a model that FSDP2 has sharded over one rank, beside the same steps without."""
    with one_rank(device):
        losses, seconds = {}, {}
        for side in ("plain", "sharded"):
            mesh = init_device_mesh(device.type, (1,), mesh_dim_names=(SHARD,)) if side == "sharded" else None
            with tempfile.TemporaryDirectory(dir=folder) as name, sharded_by(mesh):
                trainer = Trainer(config, store, Path(name))
                trainer.passes.compile(trainer.stream.plan(trainer.state)[0])
                trainer.step()
                begin = time.perf_counter()
                for _ in range(STEPS):
                    trainer.step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds[side] = (time.perf_counter() - begin) / STEPS
                losses[side] = trainer.averages.total / trainer.averages.targets
                del trainer
            if device.type == "cuda":
                torch.cuda.empty_cache()
        apart = abs(losses["sharded"] / losses["plain"] - 1)
        ratio = seconds["sharded"] / seconds["plain"]
        report.figures["sharded"] = {"step_vs_plain": ratio, "loss_apart": apart}
        add(
            f"A step of the smaller shape takes {ratio:.2f} times as long as without; the mean loss of "
            f"{STEPS + 1} steps differs by {apart:.1e} of itself."
        )


@contextmanager
def one_rank(device: torch.device) -> Iterator[None]:
    """While entered, this process is a group of its own."""
    backend, own = ("nccl", torch.device("cuda", 0)) if device.type == "cuda" else ("gloo", None)
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, device_id=own)
    try:
        yield
    finally:
        dist.destroy_process_group()


def sharded_by(mesh: DeviceMesh | None) -> AbstractContextManager[object]:
    """While entered, models are sharded over this mesh, of one process too, which a run of its own has no need of."""
    return patch.object(trainer_module, "mesh_of", lambda config, device: mesh)


def resume(report: Report, store: Store, folder: Path, config: TrainConfig, add: Add) -> None:
    """Stop a run in its middle and let it go on."""
    config = replace(config, stop=f"{2 * STEPS} steps", log_every=1, validation=Validation(bytes=0))
    first = Trainer(config, store, folder / "stopped")
    for _ in range(STEPS):
        first.step()
    first.save()
    losses = {}
    for name in ("stopped", "whole"):
        Trainer(config, store, folder / name).run()
        lines = [line for line in read(folder / name / "metrics.jsonl") if "loss" in line]
        losses[name] = {line["step"]: line["loss"] for line in lines}
    later = range(STEPS + 2, 2 * STEPS + 1)  # the line before has the steps of both
    apart = max(abs(losses["stopped"][step] / losses["whole"][step] - 1) for step in later)
    report.figures["resume"] = {"loss_apart": apart}
    add(f"Losses after the stop differ by at most {apart:.1e} of themselves from those of a run without one.")


def writing(report: Report, store: Store, folder: Path, device: torch.device, config: TrainConfig, add: Add) -> None:
    """Write with random weights: the time does not depend on them."""
    most = 128 if device.type == "cuda" else 16
    with tempfile.TemporaryDirectory(dir=folder) as name:
        model = Trainer(config, store, Path(name)).model.eval()
    writer = Writer(model, config.shape.context_bytes)
    add("| prompts at once | bytes/s |")
    add("| ---: | ---: |")
    for batch in (1, 16):
        prompts = [b"def main(" for _ in range(batch)]
        writer.write(prompts, 4, Sampling(0.0))
        begin = time.perf_counter()
        writer.write(prompts, most, Sampling(0.0))
        rate = writer.counts.bytes / (time.perf_counter() - begin)
        report.figures.setdefault("bytes_per_second", {})[batch] = rate
        add(f"| {batch} | {rate:,.0f} |")


def measure(minutes: float, device: torch.device, tiny: bool) -> Report:
    """All parts, in `minutes` at most. tiny: shapes for a look at whether the parts work."""
    report, on_card = Report(minutes), device.type == "cuda"

    def part(name: str, seconds: float, work: Callable[[Add], None]) -> None:
        report.part(name, seconds if on_card else 0.0, work)

    part("Tests", 90.0, lambda add: tests(report, device, add))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        print("prepare a corpus ...", file=sys.stderr, flush=True)
        documents = islice(read_stdlib(), 200 if tiny else None)
        prepare_documents(documents, folder / "corpus", SplitOptions(0.05, 0.1))
        store = Store.open(folder / "corpus")
        sizes = {name: small(run_named(name), device, tiny) for name in ("0.5b", "1.5b")}
        for name in sizes:
            timed = partial(steps, report, store, folder, device, name, sizes[name])
            part(f"Training steps, {name}", 20.0, timed)
        smaller = sizes["0.5b"]
        one_pass = replace(smaller, compile=False, shape=replace(smaller.shape, sequences_per_step=1))
        part("Sharded over one rank", 60.0, lambda add: sharded(report, store, folder, device, one_pass, add))
        tiny_run = replace(one_pass, model=TINY)
        part("Stop and go on", 30.0, lambda add: resume(report, store, folder, tiny_run, add))
        part("Writing", 30.0, lambda add: writing(report, store, folder, device, one_pass, add))
    return report


def small(recipe: TrainConfig, device: torch.device, tiny: bool) -> TrainConfig:
    """Raw bytes and one pass a step of a recipe; tiny: of a model of two layers."""
    shape = replace(recipe.shape, sequences_per_step=recipe.micro_sequences)
    if tiny:
        shape = Shape(2, 256, 128)
    return replace(
        recipe,
        corpus="",
        stop="1000 steps",
        device=device.type,
        dtype="float32" if tiny else recipe.dtype,
        model=TINY if tiny else recipe.model,
        mixture=BYTES,
        shape=shape,
        views=(),
        micro_sequences=0,
    )


def written(report: Report, device: torch.device) -> str:
    """The file of results."""
    here = machine("bfloat16" if device.type == "cuda" else "float32")
    name = here["accelerator"] or "a CPU, with tiny shapes: it shows that the script works, and measures nothing"
    lines = [f"# What `make gpu` found on {name}", ""]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    lines += [
        f"PyTorch {here['torch']}, Python {here['python']}, {here['processor']}. {datetime.now(UTC):%Y-%m-%d}. "
        f"Commit {commit.strip() or 'unknown'}. Measured once, in {time.monotonic() - report.begun:.0f} s."
    ]
    for name, section in report.sections.items():
        lines += ["", f"## {name}", "", *section]
    lines += ["", "## Left out", ""]
    lines += [f"- {one}" for one in report.left_out] or ["Nothing."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that all of it may take")
    parser.add_argument("--out", type=Path, help="file of results; benchmarks/results/cuda_CARD_DATE.md on a GPU")
    parser.add_argument("--json", action="store_true", help="end with the figures as one JSON object on one line")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny = device.type != "cuda"
    report = measure(asked.minutes, device, tiny)
    text = written(report, device)
    print(text, file=sys.stderr if asked.json else sys.stdout)
    out = asked.out
    if out is None and not tiny:
        card = re.sub(r"\W+", "-", torch.cuda.get_device_name(device).lower().removeprefix("nvidia ")).strip("-")
        out = ROOT / "benchmarks" / "results" / f"cuda_{card}_{datetime.now(UTC):%Y-%m-%d}.md"
    if out is not None:
        write_aside(out, text.encode())
        print(f"Results: {out}", file=sys.stderr)
    if asked.json:
        print(json.dumps({**report.figures, "left_out": report.left_out}))


if __name__ == "__main__":
    main()
