"""`byteproxy generate`: a model writes on, byte by byte or several at once."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from byteproxy.cli.output import Json, end

if TYPE_CHECKING:
    from byteproxy.generate.choice import Sampling
    from byteproxy.generate.writer import Writer


def generate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    prompt: Annotated[str, tyro.conf.arg(metavar="TEXT")] = "",
    most_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 300,
    temperature: Annotated[float, tyro.conf.arg(metavar="T")] = 0.6,
    top_p: Annotated[float, tyro.conf.arg(metavar="P")] = 1.0,
    min_p: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0,
    stop: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = (),
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    utf8: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    drafts: Literal["heads", "copy", "both", "none"] = "heads",
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    interactive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    view: Annotated[str | None, tyro.conf.arg(metavar="VIEW")] = None,
    task: Literal["translate", "continue"] = "translate",
    json: Json = False,
) -> None:
    """Continue a prompt with a model of raw bytes. No tokenizer or other compressor takes part.

    Args:
        folder: Folder of a run that byteproxy train left, or one with config.json and model.safetensors, such as
            runs/demo/model.
        prompt: Text to continue; "-" reads it from standard input, bytes as they are. Of one as long as the model's
            context or longer, only the end is read, half a context.
        most_bytes: Bytes to write at most; the model may end the text sooner.
        temperature: 0 always takes the most probable byte.
        top_p: Choose among the most probable bytes that together reach this share.
        min_p: Choose among bytes at least this share as probable as the most probable one.
        stop: Texts that end what is written, and are left out of it.
        seed: Seed of the sampling noise. The same seed writes the same bytes, whatever --drafts is.
        utf8: Write nothing that is not UTF-8. Otherwise invalid bytes are shown as escapes, such as \\xff.
        drafts: Who guesses at the bytes to come, so that one pass of the model writes several: its byte heads, copies
            of what followed the same bytes before, both, or nobody. What is written stays the same.
        dtype: Of weights in products; bfloat16 halves what a pass reads, and rounds.
        device: Where the model runs; auto: on an accelerator where there is one.
        interactive: Write on after each line that is typed, with bytes a second and bytes a pass; Ctrl-D ends it.
        view: Write symbols of this view of a run, such as codebook-4096, in place of raw bytes. Its corpus has to be
            there; --most-bytes counts symbols then.
        task: With --view: translate the prompt into the view, or continue it there, to compare with the raw answer.
        json: End the output with one JSON object on one line instead of streaming the text.
    """
    from byteproxy.errors import InputError
    from byteproxy.generate.choice import Sampling

    if interactive and (json or prompt == "-"):
        raise InputError("--interactive reads what is typed and shows text: leave --json and --prompt - out")
    sampling = Sampling(temperature, top_p, min_p, seed, utf8)
    if view is not None:
        if interactive or stop:
            raise InputError("--view writes symbols, for which there is no --interactive and no --stop: leave them out")
        text = sys.stdin.buffer.read() if prompt == "-" else _bytes(prompt)
        if dtype != "float32" or device not in ("auto", "cpu"):
            raise InputError("--view writes in float32 on the CPU: leave --dtype and --device out")
        _write_view(folder, view, task, text, most_bytes, sampling, json)
        return
    how: dict[str, Any] = {"stops": [_bytes(one) for one in stop], "drafts": drafts}
    writer = _writer(folder, dtype, device)
    text = sys.stdin.buffer.read() if prompt == "-" else _bytes(prompt)
    if interactive:
        _session(writer, text, most_bytes, sampling, how)
        return
    begin = time.perf_counter()
    if not json:
        _show(writer.stream(text, most_bytes, sampling, **how))
        sys.stdout.write("\n")
        return
    from byteproxy.generate.utf8 import characters

    (written,) = writer.write([text], most_bytes, sampling, **how)
    seconds = time.perf_counter() - begin
    counts = writer.counts
    figures = {
        "continuation": "".join(characters([written.text])),
        "bytes": len(written.text),
        "ended": written.ended,
        "bytes_per_second": len(written.text) / seconds,
        "passes": counts.passes,
        "bytes_per_pass": counts.bytes_per_pass,
        "guessed": counts.guessed,
        "right": counts.right,
        "close_choices": counts.close,
    }
    end(json, figures)


def _bytes(text: str) -> bytes:
    """An argument as the bytes that it was given as, also where these are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _writer(folder: Path, dtype: str, device: str) -> "Writer":
    """Of a run, or of an exported model."""
    from byteproxy.errors import InputError
    from byteproxy.export.llama import load_llama
    from byteproxy.export.stock import CONFIG
    from byteproxy.generate.writer import Writer
    from byteproxy.train import saved
    from byteproxy.train.compiler import device_of
    from byteproxy.train.config import DTYPES

    if (folder / saved.CONFIG).is_file():
        run = saved.read_run(folder)
        model, context = run.model, run.config.shape.passage_bytes
    elif (folder / CONFIG).is_file():
        model, context = load_llama(folder)
    else:
        raise InputError(
            f"{str(folder)!r} holds no model: name the folder of a run, such as runs/3m, or of an exported model with "
            f"{CONFIG} and model.safetensors, such as runs/demo/model"
        )
    model.dtype = DTYPES[dtype]
    return Writer(model.to(device_of(device)), context)


def _write_view(folder: Path, view: str, task: str, prompt: bytes, most: int, sampling: "Sampling", json: bool) -> None:
    import torch

    from byteproxy.errors import InputError
    from byteproxy.generate.compressed import ViewWriter
    from byteproxy.generate.utf8 import characters
    from byteproxy.store.store import Store
    from byteproxy.train import saved

    run = saved.read_run(folder, torch.float32)
    store = Store.open(Path(run.config.corpus))
    if run.state["corpus"] != store.manifest.fingerprint_for(run.config.views):
        raise InputError(f"{folder} was trained on another corpus than {store.path} holds now: its symbols are others")
    views = [store.view(name) for name in run.config.views]
    writer = ViewWriter(run.model, views, run.config.shape.passage_bytes)
    found = writer.write(prompt, view, "translate" if task == "translate" else "continue", most, sampling)
    shown = None if found.text is None else "".join(characters([found.text]))
    if not json:
        print(shown if shown is not None else " ".join(map(str, found.symbols.tolist())))
    strings = None if found.strings is None else [["".join(characters([one])) for one in own] for own in found.strings]
    end(json, {"symbols": found.symbols.tolist(), "text": shown, "strings": strings, "ended": found.ended})


def _show(stream: Any) -> bytes:
    """Print pieces as whole characters as they come; gives all of them."""
    from byteproxy.generate.utf8 import characters

    written = bytearray()

    def noted() -> Any:
        for piece in stream:
            written.extend(piece)
            yield piece

    for part in characters(noted()):
        sys.stdout.write(part)
        sys.stdout.flush()
    return bytes(written)


def _session(writer: "Writer", text: bytes, most_bytes: int, sampling: "Sampling", how: dict[str, Any]) -> None:
    """Each line is added to the text so far, and the model writes on; an empty one lets it write on as it is."""
    print("Type a line and the model goes on with the text so far; an empty line lets it go on; Ctrl-D ends.")
    for line in sys.stdin:
        added = _bytes(line)
        text += added if added.strip() else b""
        begin = time.perf_counter()
        written = _show(writer.stream(text, most_bytes, sampling, **how))
        seconds = time.perf_counter() - begin
        text += written
        rate = len(written) / seconds
        print(f"\n[{len(written)} bytes, {rate:,.0f} bytes/s, {writer.counts.bytes_per_pass:.2f} bytes a pass]")
