"""`byteproxy generate`: a model writes on, byte by byte."""

import json as json_module
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro


def generate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    prompt: Annotated[str, tyro.conf.arg(metavar="TEXT")] = "",
    most_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 300,
    temperature: Annotated[float, tyro.conf.arg(metavar="T")] = 0.6,
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    json: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Continue a prompt with a model of raw bytes. No tokenizer or other compressor takes part.

    Args:
        folder: Folder with config.json and model.safetensors, such as runs/demo/model.
        prompt: Text to continue; "-" reads it from standard input, bytes as they are.
        most_bytes: Bytes to write at most; the model may end the text sooner.
        temperature: 0 always takes the most probable byte.
        seed: Seed of the sampling noise.
        json: End the output with one JSON object on one line instead of streaming the text.
    """
    from byteproxy.export.llama import load_llama
    from byteproxy.generate.sampler import characters, continued

    model, context = load_llama(folder)
    read = sys.stdin.buffer.read() if prompt == "-" else prompt.encode("utf-8", "surrogateescape")
    begin = time.perf_counter()
    stream = continued(model, read, most_bytes, context, temperature, seed)
    if json:
        written = bytes(stream)
        seconds = time.perf_counter() - begin
        text = "".join(characters(written))
        print(
            json_module.dumps({"continuation": text, "bytes": len(written), "bytes_per_second": len(written) / seconds})
        )
        return
    for part in characters(stream):
        sys.stdout.write(part)
        sys.stdout.flush()
    sys.stdout.write("\n")
