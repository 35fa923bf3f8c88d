"""The record: a corpus, plans, runs, scores, exports and texts, each made by the commands that people use.

A corpus is made of folders of the standard library. Recorded are hashes of it and of its views; what a mixture shows,
position by position; plans; loss curves of `settings.RUNS`; bits per byte of these runs, raw and in each view, and what
passes between views; what they write, with guesses and without; their exports, and the logits that transformers
computes from these; the counts of a neural view's predictor. All of it goes through the command line and files, so that
a record outlives other names in the code; `inside` has the little that needs Python.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inside import hashes, kept
from settings import (
    BASE,
    EXPORTED,
    FOLDERS,
    OPTIONS,
    PLANS,
    PROMPTS,
    RUNS,
    SCORED,
    TOKENS,
    VIEWS,
    WAYS,
    WRITERS,
)

_RATE = "1e12"
_LINES = "lines.jsonl:text=body,project=repo"
_CORPORA = {"mixed": "corpus", "one text": "pieces", "tokens": "tokens"}


def record(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """All items, made in a folder, which is left with what the commands wrote."""
    began = time.perf_counter()

    def done(what: str) -> None:
        say(f"{time.perf_counter() - began:4.0f} s: {what}")

    _sources(folder)
    options = set(re.findall(r"--(?:no-)?([a-z][\w.-]+)", _commands(folder, [["train", "--help-all"]])[0]["printed"]))
    recipes = {name: _recipe(folder, name, changed, options) for name, changed in RUNS.items()}
    views = [word for view in VIEWS for word in ("--view", view)]
    shares = ["--validation", "0.1", "--test", "0.1"]
    tokens = [word for view in TOKENS for word in ("--view", view)]
    raw = ["--view", "raw"]
    started = _python(folder, "llama", ["llama"])[0]
    found: dict[str, Any] = {
        "corpus": _all(
            folder,
            {
                "mixed": ["prepare", "code", _LINES, "--out", "corpus", *shares, *views, "--json"],
                "one text": ["prepare", "large.txt", "--out", "pieces", "--validation", "0.05", *raw, "--json"],
                "tokens": ["prepare", "code/json", "large.txt", "--out", "tokens", *shares, *tokens, "--json"],
            },
        )
    }
    found["corpus"]["tokens"].pop("fingerprint", None)
    found["files"] = {name: hashes(folder / place) for name, place in _CORPORA.items()} | {"llama": started}
    done("corpus")
    found["plans"] = _all(
        folder,
        {name: ["train", "--plan", name, "--rate", _RATE, "--corpus", "nowhere", "--json"] for name in PLANS}
        | {name: ["train", "--plan", recipe, "--rate", _RATE, "--json"] for name, recipe in recipes.items()},
    )
    found["previews"] = _all(
        folder,
        {
            name: ["mixture", "preview", "corpus", "--recipe", name, "--steps", "0:30", "--out", "p.html", "--json"]
            for name in ("paper", "coarse_first", "symbols")
        },
    )
    done("plans")
    start = {"from": ["--from", "llama"]}
    found["trained"] = _all(
        folder,
        {name: ["train", at, *start.get(name, []), "--out", f"runs/{name}", "--json"] for name, at in recipes.items()},
    )
    found["curves"] = {name: _curve(folder / "runs" / name) for name in RUNS}
    done("runs")
    found["rows"] = dict(zip(RUNS, _python(folder, "rows", [f"runs/{name}" for name in RUNS]), strict=True))
    found["scores"] = _all(
        folder,
        {name: ["eval", "bpb", f"runs/{name}", "--bytes", "8000", "--json"] for name in SCORED}
        | {"side by side": ["eval", "bpb", "runs/bytes", "runs/pairs", "--bytes", "8000", "--side", "test", "--json"]}
        | {f"transfer {name}": _transfer(name) for name in ("pairs", "switch", "spelled")},
    )
    done("scores")
    exports = _all(
        folder, {one: ["export", f"runs/{one}", "--out", f"out/{one}", "--gguf", "--json"] for one in EXPORTED}
    )
    logits = _python(folder, "logits", [f"out/{name}" for name in EXPORTED])
    ggufs = _python(folder, "gguf", [f"out/{name}/model.gguf" for name in EXPORTED])
    weights = _python(folder, "weights", [f"out/{name}" for name in EXPORTED])
    files = {name: hashes(folder / "out" / name) for name in EXPORTED}
    stay = ("README.md", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    found["export"] = {
        "figures": exports,
        "logits": dict(zip(EXPORTED, logits, strict=True)),
        "gguf": dict(zip(EXPORTED, ggufs, strict=True)),
        "weights": dict(zip(EXPORTED, weights, strict=True)),
        "files": {name: {file: one.get(file) for file in stay} for name, one in files.items()},
    }
    done("exports")
    found["written"] = _written(folder)
    done("continuations")
    found["predictor"] = _python(folder, "predictor", ["out/bytes"])[0]
    done("predictor")
    return found


def _transfer(name: str) -> list[str]:
    return ["eval", "transfer", f"runs/{name}", "--passages", "12", "--json"]


def _written(folder: Path) -> dict[str, Any]:
    """What runs write after 20 prompts, two ways and with guesses and without; and by each option once."""
    asked = {}
    for number, prompt in enumerate(PROMPTS):
        run = f"runs/{WRITERS[number % len(WRITERS)]}"
        for temperature in ("0", "0.7"):
            for drafts in ("none", "both"):
                words = ["generate", run, f"--prompt={prompt}", "--most-bytes", "80", "--temperature", temperature]
                asked[f"t{temperature} {drafts}/{number}"] = [*words, "--drafts", drafts, "--json"]
    for name, words in WAYS.items():
        most = [] if "--most-bytes" in words else ["--most-bytes", "80"]
        asked[f"options/{name}"] = ["generate", *words, *most, "--prompt=import os\ndef main(", "--json"]
    found: dict[str, Any] = {}
    for name, figures in _all(folder, asked).items():
        part, _, key = name.partition("/")
        kept = {"ended": figures.get("ended")}
        if (text := figures.get("bytes_base64")) is not None:
            kept["text"] = base64.b64decode(text).decode("latin-1")
        kept |= {key: figures[key] for key in ("symbols", "error") if key in figures}
        found.setdefault(part, {})[key] = kept
    return found


def _sources(folder: Path) -> None:
    """Folders of the standard library, lines of JSON with other parts of it, and one large text."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in FOLDERS:
        shutil.copytree(library / name, folder / "code" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with open(folder / "lines.jsonl", "w", encoding="utf-8") as lines:
        for number, path in enumerate(sorted(library.glob("[a-d]*.py"))):
            body = path.read_text(encoding="utf-8", errors="replace")[:30_000]
            lines.write(json.dumps({"body": body, "repo": f"p{number % 9}"}) + "\n")
    texts = [path.read_bytes() for path in sorted((library / "idlelib").glob("*.py"))]
    (folder / "large.txt").write_bytes(b"\n".join(texts))


def _recipe(folder: Path, name: str, changed: dict[str, Any], options: set[str]) -> str:
    """Write a run's recipe in the names that this tree has; its file."""
    merged = dict(BASE)
    for key, value in changed.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    lines, tables = [], []
    for key, value in merged.items():
        if not isinstance(value, dict):
            lines.append(f"{_option(key, options)} = {_toml(value)}")
    for key, value in merged.items():
        if isinstance(value, dict):
            own = {_option(f"{key}.{field}", options): _toml(one) for field, one in value.items()}
            table = next(iter(own)).partition(".")[0]
            tables += [f"[{table}]", *(f"{field.partition('.')[2]} = {one}" for field, one in own.items())]
    path = f"{name}.toml"
    (folder / path).write_text("\n".join([*lines, *tables]) + "\n")
    return path


def _option(name: str, options: set[str]) -> str:
    """The name of a field in this tree."""
    return next((one for one in (name, *OPTIONS.get(name, ())) if one.replace("_", "-") in options), name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else json.dumps(value)


def _curve(run: Path) -> dict[str, list[Any]]:
    """Every figure of a run's steps that isn't time or a place, by name."""
    found: dict[str, list[Any]] = {}
    metrics = run / "metrics.jsonl"
    for line in metrics.read_text().splitlines() if metrics.is_file() else []:
        for name, value in kept(json.loads(line)).items():
            found.setdefault(name, []).append(value)
    return found


def _all(folder: Path, asked: dict[str, list[str]]) -> dict[str, Any]:
    return {name: _figures(one) for name, one in zip(asked, _commands(folder, list(asked.values())), strict=True)}


def _figures(answer: dict[str, Any]) -> Any:
    """The object that a command's output ends with, or what it said where it failed."""
    if answer["status"]:
        return {"error": f"status {answer['status']}: {answer['said'][-300:]}"}
    try:
        return kept(json.loads(answer["printed"].splitlines()[-1]))
    except (ValueError, IndexError) as error:
        return {"error": f"no JSON at the end: {error}: {answer['printed'][-300:]}"}


def _commands(folder: Path, words: list[list[str]]) -> list[dict[str, Any]]:
    return _inside(folder, {"commands": words})


def _python(folder: Path, function: str, places: list[str]) -> list[Any]:
    return _inside(folder, {"function": function, "places": places})


def _inside(folder: Path, asked: dict[str, Any]) -> list[Any]:
    """Answers of a process of its own, which has the folder as its place."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    environment = {**os.environ, **one_thread, "PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
    (folder / "asked.json").write_text(json.dumps(asked))
    command = [sys.executable, str(Path(__file__).with_name("inside.py").resolve())]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{asked}: {ran.stderr[-3000:]}")
    return json.loads((folder / "answers.json").read_text())
