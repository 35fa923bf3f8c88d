"""An export in other tools: greedy bytes of ours, transformers and llama.cpp, and what lm-eval says it costs.

    LLAMA_CPP=build/llama/package/bins/linux-x64 python benchmarks/other_tools.py runs/bytes/model

The folder is an export, with `model.gguf` if llama.cpp is to be compared (`byteproxy export --gguf`); where LLAMA_CPP
names nothing, it is left out. Everything is float32 on the CPU. llama.cpp chooses among all 320 symbols. lm-eval scores
a task of local text, nothing is fetched; ours is the same text under lm-eval's rule of windows. Takes minutes and some
3 GB for a model of 135 million parameters.
"""

import argparse
import inspect
import json
import math
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from tests.interop import llama_cpp

from byteproxy.generate.choice import Sampling
from byteproxy.generate.prompt import ChatPrompt
from byteproxy.interop.gguf import GGUF
from byteproxy.model.attention.layout import layout_of
from byteproxy.runs.load import LoadedModel, load
from byteproxy.vocab import FIRST_BYTE, RAW, byte_ids, opening

PROMPTS = (
    'def read_lines(path):\n    """Return the lines of a text file as a list."""\n',
    "import os\n\ndef list_files(folder):\n    return ",
    "assert sorted([3, 1, 2]) == ",
    "The capital of France is",
    "été 😀 ",
)
MODULES = ("bisect.py", "heapq.py", "keyword.py")
"""Of the standard library: short ones, for lm-eval."""
MOST_SCORED = 3000


def main() -> None:
    """Compare and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-bytes", type=int, default=100)
    asked = parser.parse_args()
    ours = load(asked.folder, "float32", "cpu")
    prompts = [_ids(prompt) for prompt in PROMPTS]
    found: dict[str, Any] = {"bytes": asked.max_bytes, "context": ours.context, "prompts": list(PROMPTS)}
    written = ours.generate(list(PROMPTS), asked.max_bytes, Sampling(0))
    wanted = [one.text for one in written]
    found["written"] = [one.text.decode("utf-8", "backslashreplace") for one in written]
    found["ended"] = [one.ended for one in written]
    found["close_choices"] = ours.writer.counts.close
    found["transformers"] = _agreement(wanted, _transformers(asked.folder, prompts, asked.max_bytes))
    if llama_cpp.FOLDER and (asked.folder / GGUF).is_file():
        found["llama_cpp"] = _agreement(wanted, _llama_cpp(ours, asked.folder / GGUF, prompts, asked.max_bytes))
    if ours.chat:
        found["chat"] = _chat(ours, asked.folder, asked.max_bytes)
    found["lm_eval"] = _lm_eval(ours, asked.folder)
    print(json.dumps(found, indent=1))


def _ids(text: str) -> list[int]:
    return [opening(RAW), *byte_ids(text.encode()).tolist()]


def _agreement(wanted: list[bytes], found: list[bytes]) -> dict[str, Any]:
    """Whether all bytes are the same; how many are where not."""
    same = [
        next((at for at, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), None)
        for pair in zip(wanted, found, strict=True)
    ]
    return {
        "equal": wanted == found,
        "bytes": sum(map(len, wanted)),
        "first_differences": [
            min(map(len, pair)) if at is None else at
            for at, pair in zip(same, zip(wanted, found, strict=True), strict=True)
            if pair[0] != pair[1]
        ],
    }


def _transformers(folder: Path, prompts: list[list[int]], most: int, **more: Any) -> list[bytes]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for prompt in prompts:
        read = torch.tensor([prompt])
        ids = model.generate(read, attention_mask=torch.ones_like(read), max_new_tokens=most, do_sample=False, **more)
        found.append(_bytes(ids[0, len(prompt) :].tolist()))
    return found


def _bytes(ids: list[int]) -> bytes:
    return bytes(number - FIRST_BYTE for number in ids if number >= FIRST_BYTE)


def _llama_cpp(ours: LoadedModel, path: Path, prompts: list[list[int]], most: int) -> list[bytes]:
    theirs = llama_cpp.Model(path, ours.context + 1)
    ends, found = theirs.ends(), []
    for prompt in prompts:
        ids, fresh = list(prompt), True
        assert theirs.tokenize(_bytes(prompt)) == prompt
        while len(ids) < len(prompt) + most and (fresh or ids[-1] not in ends):
            ids.append(int(theirs.logits(ids if fresh else ids[-1:], fresh).argmax()))
            fresh = False
        found.append(_bytes(ids[len(prompt) :]))
    return found


def _chat(ours: LoadedModel, folder: Path, most: int) -> dict[str, Any]:
    from transformers import AutoTokenizer

    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt: ChatPrompt = ours.chat_prompt(messages)
    ids = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    (answer,) = ours.generate(prompt, most, Sampling(0))
    suppressed = json.loads((folder / "generation_config.json").read_text())["suppress_tokens"]
    theirs = _transformers(folder, [ids], most, suppress_tokens=[*suppressed, 2, 13])
    return {
        "ids_equal": ids == prompt.ids.tolist(),
        "answer": answer.text.decode("utf-8", "backslashreplace"),
        "ended": answer.ended,
        "transformers": _agreement([answer.text], theirs),
    }


def _lm_eval(ours: LoadedModel, folder: Path) -> dict[str, float]:
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    texts = [(Path(sysconfig.get_path("stdlib")) / name).read_text()[:MOST_SCORED] for name in MODULES]
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "texts.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        task = ConfigurableTask(
            config={
                "task": "texts",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": place},
                "test_split": "test",
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "{{text}}",
                "metric_list": [{"metric": "bits_per_byte"}],
            }
        )
        backend = HFLM(pretrained=str(folder), device="cpu", dtype="float32", add_bos_token=False)
        results = lm_eval.evaluate(backend, {"texts": task}, bootstrap_iters=0)
    return {
        "bytes": sum(len(text.encode()) for text in texts),
        "bits_per_byte": results["results"]["texts"]["bits_per_byte,none"],
        "ours_under_its_rule": _under_its_rule(ours, texts),
    }


def _under_its_rule(ours: LoadedModel, texts: list[str]) -> float:
    """One `<raw>` before a text; windows of a position more than the context, of the last one only its unscored end."""
    bits, longest = 0.0, ours.context + 1
    for text in texts:
        ids = torch.tensor(_ids(text))
        for scored in range(0, len(ids) - 1, longest):
            end = min(len(ids) - 1, scored + longest)
            begin = max(0, end - longest)
            with torch.no_grad():
                hidden = ours.model.hidden(ids[begin:end], layout_of(np.array([end - begin])))
                logits = (hidden @ ours.model.lm_head.weight.T)[scored - begin :]
            bits += torch.nn.functional.cross_entropy(logits, ids[scored + 1 : end + 1], reduction="sum").item()
    return bits / math.log(2) / sum(len(text.encode()) for text in texts)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
