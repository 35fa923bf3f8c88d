"""What runs in a process of its own, in the folder of the record: many commands, or what needs Python.

Commands run one after the other in one process, as importing torch takes seconds.
"""

import json
import os
import re
import sys
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from settings import MODULES, VOLATILE, WORDS


def kept(value: Any) -> Any:
    """Figures without those that change from run to run."""
    if isinstance(value, dict):
        return {key: kept(one) for key, one in value.items() if not VOLATILE.search(key)}
    return [kept(one) for one in value] if isinstance(value, list) else value


def hashes(folder: Path) -> dict[str, str]:
    """A hash of each file in a folder that isn't hidden; of JSON, without times and places."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps(kept(json.loads(content)), sort_keys=True).encode()
            found[name] = hash_of(content)
    return found


def hash_of(content: bytes) -> str:
    return f"{len(content)} {sha256(content).hexdigest()[:16]}"


def _answer() -> None:
    """In the child: run what is asked for, and leave the answers."""
    asked = json.loads(Path("asked.json").read_text())
    if "commands" in asked:
        answers: list[Any] = [_run_as_named(words) for words in asked["commands"]]
    else:
        answers = []
        for place in asked["places"]:
            try:
                answers.append(globals()[asked["function"]](place))
            except Exception as error:
                answers.append({"error": f"{type(error).__name__}: {error}"})
    Path("answers.json").write_text(json.dumps(answers))


def _run_as_named(words: list[str]) -> dict[str, Any]:
    """Run a command by the names that this tree has for its options."""
    answer = _run(words)
    if answer["status"] == 2 and "there is no option" in answer["said"]:
        answer = _run([WORDS.get(word, word) for word in words])
    return answer


def _run(words: list[str]) -> dict[str, Any]:
    """Run one command in this process: its exit status, and what it printed to stdout and stderr."""
    main = import_module("byteproxy.cli.main").main
    status: int | str | None = 0
    streams = [os.dup(1), os.dup(2)]
    with open("printed", "wb") as printed, open("said", "wb") as said:
        os.dup2(printed.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.argv = ["byteproxy", *words]
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except Exception as error:
            status = f"{type(error).__name__}: {error}"
        for number, stream in enumerate((sys.stdout, sys.stderr)):
            stream.flush()
            os.dup2(streams[number], number + 1)
            os.close(streams[number])
    told = [Path(name).read_text(errors="replace") for name in ("printed", "said")]
    return {"status": status, "printed": told[0], "said": told[1]}


def _named(name: str) -> Any:
    """What has this name in this tree."""
    for module in MODULES[name]:
        if find_spec(module.rpartition(".")[0]) and find_spec(module):
            return getattr(import_module(module), name)
    raise ImportError(f"{name} is in none of {', '.join(MODULES[name])}: name its module in MODULES")


def llama(folder: str) -> dict[str, str]:
    """Make a Llama of random weights and a byte-level BPE, as transformers keeps them; their hashes."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = ByteLevelBPETokenizer()
    files = sorted(map(str, Path("code/json").glob("*.py")))
    tokenizer.train(files, vocab_size=400, special_tokens=["<s>", "</s>"], show_progress=False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 3, "num_key_value_heads": 3}
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=400, **sizes, **heads, **ends)).save_pretrained(folder)
    tokenizer.save(f"{folder}/tokenizer.json")
    return hashes(Path(folder))


def rows(run: str) -> dict[str, Any]:
    """The first, a middle and the last step's rows of a run: a hash of each array, and its beginning."""
    import numpy as np

    told = Path(run) / "config.toml"
    plain = Path("config.toml")
    plain.write_text(re.sub(r"(?m)^format = .*\n", "", told.read_text()))  # which the configuration's class lacks
    config = _named("from_toml")(plain, _named("TrainConfig"))
    store, objective = _named("Store").open(Path(config.corpus)), config.objective
    expanded = getattr(objective, "needs_expansion" if hasattr(objective, "needs_expansion") else "needs_spelling")
    made = _named("Stream")
    word = "expanded" if "expanded" in signature(made).parameters else "spelled"
    how = {"composed": config.model.composed, word: expanded(config.model)}
    stream = made(store, config.views, config.mixture, config.shape, config.seed, config.steps, **how)
    found: dict[str, Any] = {}
    for number, plan in enumerate(stream.plans()):
        if number not in (0, 9, config.steps - 1):
            continue
        symbols, targets, representations, lengths, *more = stream.rows(plan)
        named = {"symbols": symbols, "targets": targets, "representations": representations, "lengths": lengths}
        named |= {f"text {place}": array for one in more if one is not None for place, array in enumerate(one)}
        found[f"step {number}"] = {
            name: [hash_of(np.ascontiguousarray(array).tobytes()), *np.asarray(array).ravel()[:24].tolist()]
            for name, array in named.items()
        }
        found[f"step {number}"]["text bytes"] = stream.text_bytes(plan).tolist()
    return found


def logits(export: str) -> dict[str, Any]:
    """What transformers makes of an export: ids of a prompt, and the logits after its last one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(export)("import os\n\ndef main(path):\n")["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(export).eval()
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
    return {"class": type(model).__name__, "ids": ids, "last": found[-1].tolist(), "best": found.argmax(-1).tolist()}


def gguf(file: str) -> dict[str, Any]:
    """What the gguf library reads in a file: its fields, and some numbers of each tensor."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    fields = {name: repr(field.contents()) for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    fields = {name: one if len(one) < 80 else hash_of(one.encode()) for name, one in fields.items()}
    return {**fields, **{one.name: _numbers(one.data) for one in reader.tensors}}


def weights(export: str) -> dict[str, Any]:
    """Shape, and some numbers, of each tensor in an export's files."""
    from safetensors.numpy import load_file

    found = {}
    for path in sorted(Path(export).glob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            found[f"{path.stem} {name}"] = {"shape": list(tensor.shape), "numbers": _numbers(tensor)}
    return found


def _numbers(tensor: Any) -> list[float]:
    """Numbers at 16 places of a tensor."""
    flat = tensor.ravel()
    return flat[:: max(1, len(flat) // 16)][:16].tolist()


def predictor(export: str) -> dict[str, Any]:
    """The counts that the neural view's predictor gives with an export's weights, each prefix by itself and grown."""
    import numpy as np

    found = _named("ModelPredictor")(_named("load_llama")(Path(export))[0])
    counts = found.counts([b"", b"d", b"de", b"def", b"import ", b"\xff\x00"])
    memory, first = found.begin()
    _, grown = found.grow(memory, np.zeros(2, np.int64), np.frombuffer(b"dx", np.uint8))
    return {
        "counts": counts.astype(float).tolist(),
        "grown": [*first.astype(float).tolist(), *grown.astype(float).tolist()],
    }


if __name__ == "__main__":
    _answer()
