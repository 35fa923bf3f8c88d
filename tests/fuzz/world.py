"""A small sound world that trials copy and then damage: sources, a corpus, views, runs, an export, a study."""

import json
import os
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import server

NAMES = ["path", "name", "value", "lines", "count", "index", "self", "item", "total", "result", "key", "size"]
SMALL = [
    *(
        "--shape.sequences_per_step=1",
        "--shape.sequence_length=256",
        "--shape.context-bytes=64",
        "--validation.bytes=1000",
    ),
    *("--model.width=64", "--model.layers=1", "--model.heads=1", "--model.ffn=128", "--dtype=float32", "--no-compile"),
    *("--checkpoint-seconds=0", "--keep=20", "--log-every=1", "--validate-every=2", "--deterministic"),
]
TRAIN = ("train", "3m-paper", *SMALL, "--corpus", "corpus", "--stop", "4 steps")
CONVERT = (
    *("convert", "start", "text", "--no-stdlib", "--positions", "512", "--evaluations=1", "--samples.max-bytes=4"),
    *("--split.validation=0.2", "--split.test=0.1", "--run.no-compile", "--run.dtype=float32", "--run.log-every=1"),
    *("--run.shape.sequence-length=256", "--run.shape.context-bytes=64", "--run.validation.bytes=400"),
    "--run.validation.stride=32",
)
PREPARE = ("prepare", "text", "lines.jsonl", "--view", "bpe:300", "--view", "codebook:bits=10", "--workers", "1")
STUDY = """
about = "two arms, one seed, next to no compute"
seeds = [0]
flops = [6e9]
corpus = { sources = ["lines.jsonl"], views = ["bpe:300"], validation = 0.2, test = 0.2 }
trials = { learning_rates = [6e-3], flops = 6e9, seed = 1 }
sizes = { small = {} }

[run]
dtype = "float32"
compile = false
model = { width = 64, layers = 1, heads = 1, ffn = 128 }
shape = { sequences_per_step = 1, sequence_length = 128, context_bytes = 32 }

[scoring]
validation_bytes = 400
test_bytes = 400
document_bytes = 200
stride = 32
curve = 2
curve_bytes = 200
viewer_documents = 1

[arms.bytes]
role = "bytes"
about = "raw bytes only"
run = { mixture = { preset = "bytes" } }

[arms.proxy]
role = "proxy"
about = "the paper's mixture"
run = { mixture = { preset = "paper" }, views = ["bpe-300"] }
"""
STUDYING = ("study", "study.toml", "--out", "study")
COMMANDS = (
    ("prepare",),
    ("corpus", "stats"),
    ("corpus", "show"),
    ("corpus", "verify"),
    ("views", "list"),
    ("views", "train"),
    ("views", "inspect"),
    ("views", "compare"),
    ("mixture", "preview"),
    ("train",),
    ("convert",),
    ("eval", "bpb"),
    ("eval", "transfer"),
    ("generate",),
    ("export",),
    ("study",),
    ("demo",),
)


@dataclass
class World:
    """Where the sound things are, and what is known of them.

    seconds: of the commands that made it, by their first word.
    options: of each command, as its help names them.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    options: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def copy(self, to: Path, names: Sequence[str]) -> Path:
        """Copies of some of its things in a new folder; times are kept."""
        to.mkdir(parents=True)
        for name in names:
            source = self.folder / name
            if source.is_dir():
                shutil.copytree(source, to / name, symlinks=True)
            else:
                shutil.copy2(source, to / name)
        return to


def code(rng: random.Random, lines: int) -> str:
    """Text like source code."""
    made = []
    for _ in range(lines):
        one, two, three = (rng.choice(NAMES) for _ in range(3))
        made += [f"def {one}_{two}({three}):", f"    {two} = {one} + {rng.randint(0, 999)}", f"    return {two}", ""]
    return "\n".join(made)


def make(folder: Path) -> World:
    """Make it, in this process, which has compiled everything afterwards. Raises RuntimeError if a command fails."""
    rng = random.Random(0)
    world = World(folder)
    for project in range(12):
        where = folder / "text" / f"project{project}"
        where.mkdir(parents=True)
        for number in range(3):
            (where / f"file{number}.py").write_text(code(rng, rng.randint(2, 12)))
    with (folder / "lines.jsonl").open("w") as file:
        for number in range(40):
            record = {"text": code(rng, rng.randint(2, 8)), "id": f"line{number}", "project": f"jsonl{number // 2}"}
            file.write(json.dumps(record) + "\n")
    here = Path.cwd()
    os.chdir(folder)
    try:
        _do(world, *PREPARE, "--out", "corpus")
        _do(world, *TRAIN, "--out", "run")
        _do(world, "mixture", "preview", "corpus", "--recipe", "paper", "--steps", "0:2")
        _do(world, "corpus", "verify", "corpus")
        _do(world, "views", "train", "bpe:300", "--corpus", "corpus", "--out", "bpe.json")
        _do(world, "views", "train", "codebook:bits=10", "--corpus", "corpus", "--out", "codebook.view")
        _do(world, "export", "run", "--out", "export")
        for model in ("run", "export"):
            _do(world, "generate", model, "--prompt", "def ", "--max-bytes", "8", "--seed", "1")
        _do(world, "eval", "bpb", "run", "--max-bytes", "400")
        _do(world, "eval", "transfer", "run", "--passages", "2")
        _do(world, "views", "inspect", "lines.jsonl", "--views", "bpe.json", "codebook.view", "--max-bytes", "300")
        _half(folder)
        Path("study.toml").write_text(STUDY)
        _do(world, *STUDYING)
        if server.call(_start, folder) != "made":
            raise RuntimeError("a model to start from could not be made")
    finally:
        os.chdir(here)
    for command in COMMANDS:
        world.options[command] = _options(folder, command)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    return world


def _half(folder: Path) -> None:
    """The run as it stood after its second step."""
    shutil.copytree(folder / "run", folder / "half")
    for step in (folder / "half" / "checkpoints").iterdir():
        if (found := re.search(r"\d+", step.name)) and int(found[0]) > 2:
            shutil.rmtree(step)


def _start(folder: Path) -> str:
    """A Llama with random weights whose tokenizer is the corpus's BPE view."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=300, max_position_embeddings=256, **sizes))
    model.save_pretrained(folder / "start")
    shutil.copy(folder / "bpe.json", folder / "start" / "tokenizer.json")
    return "made"


def _do(world: World, *arguments: str) -> None:
    import time

    begin = time.monotonic()
    status = server.byteproxy_main(arguments)
    world.seconds.setdefault(arguments[0], time.monotonic() - begin)
    if status:
        raise RuntimeError(f"byteproxy {' '.join(arguments)} ended with {status}: see what it said above")


def _options(folder: Path, command: tuple[str, ...]) -> list[str]:
    recipe = ["1m"] if command == ("train",) else []
    found: set[str] = set()
    for asking in ("--help", "--help-all"):
        said = server.run([*command, *recipe, asking], folder).stdout.decode()
        found |= set(re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]", said))
    return sorted(found - {"--help", "--help-all", "--device"})
