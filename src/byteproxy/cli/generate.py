"""`byteproxy generate`: a model writes on, byte by byte or several at once."""

import base64
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from byteproxy.cli.output import console, end

if TYPE_CHECKING:
    from byteproxy.generate.choice import Sampling
    from byteproxy.generate.decoder import Engine
    from byteproxy.generate.writer import Writer
    from byteproxy.runs.load import LoadedModel


_JSON = """Print one JSON object on one line instead of streaming the answer: bytes_base64 holds the bytes of the
answer, continuation shows them as text with escapes."""


def generate(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    prompt: Annotated[str, tyro.conf.arg(metavar="TEXT")] = "",
    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 300,
    temperature: Annotated[float, tyro.conf.arg(metavar="T")] = 0.6,
    top_p: Annotated[float, tyro.conf.arg(metavar="P")] = 1.0,
    min_p: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0,
    stop: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = (),
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    utf8: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    drafts: Literal["heads", "copy", "both", "none"] = "heads",
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    engine: Literal["auto", "torch"] = "auto",
    raw: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    interactive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    chat: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    system: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None,
    view: Annotated[str | None, tyro.conf.arg(metavar="VIEW")] = None,
    task: Literal["translate", "continue"] = "translate",
    json: Annotated[bool, tyro.conf.arg(name="json", help=_JSON), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Continue a prompt with a model of raw bytes. No tokenizer or other compressor takes part.

    A terminal shows the answer as text, with escapes such as \\xff for what is not UTF-8 and for control characters. A
    file or a pipe gets the exact bytes, and no newline after them.

    Args:
        folder: Folder of a run that byteproxy train left, or one with config.json and model.safetensors, such as
            runs/demo/model.
        prompt: Text to continue; "-" reads the bytes of standard input as they are. A prompt that fills the model's
            context is cut: the model reads its end, half a context.
        max_bytes: Bytes to write at most; the model may end the text sooner.
        temperature: 0 always takes the most probable byte.
        top_p: Choose among the most probable bytes that together reach this share.
        min_p: Choose among bytes at least this share as probable as the most probable one.
        stop: Texts that end what is written, and are left out of it. They are taken as they stand: a newline is
            $'\\n' in bash.
        seed: Seed of the sampling noise. The same seed writes the same bytes, whatever --drafts is.
        utf8: Write nothing that is not UTF-8.
        drafts: What guesses the next bytes, so that one pass of the model writes several: its byte heads, copies of
            what followed the same bytes before, both, or none. The output stays the same.
        dtype: Number format of the weights in matrix products; bfloat16 halves what a pass reads, and rounds.
        device: Where the model runs; auto: on an accelerator where there is one.
        engine: What runs the model; auto: on a CPU the compiled engine, elsewhere torch. Both write the same, up to
            rounding.
        raw: Write the exact bytes to a terminal too.
        interactive: Write on after each line that is typed, with bytes a second and bytes a pass; Ctrl-D ends it.
        chat: The prompt, or with --interactive each line, is a message that the model answers, by the chat template
            that it kept of the model it began with.
        system: With --chat: what the model is told before all messages; without, what its template says by itself.
        view: Write symbols of this view of a run, such as codebook-4096, in place of raw bytes. Its corpus has to be
            there; --max-bytes counts symbols then.
        task: With --view: translate the prompt into the view, or continue it there, to compare with the raw answer.
    """
    from byteproxy.cli.answer import deliver
    from byteproxy.errors import InputError
    from byteproxy.generate.choice import Sampling
    from byteproxy.runs.model_folder import kind_of_model

    if interactive and (json or raw or prompt == "-"):
        raise InputError("--interactive reads what is typed and shows text: leave --json, --raw and --prompt - out")
    if raw and json:
        raise InputError("--raw writes bytes and --json an object, which holds them as bytes_base64: give one of them")
    kind_of_model(folder)  # what leads nowhere is refused before torch is imported
    _tell_of_backslashes(stop)
    if system is not None and not chat:
        raise InputError("--system is said in a chat: give --chat too")
    if chat and view is not None:
        raise InputError("--view writes symbols, and --chat a message: give one of them")
    sampling = Sampling(temperature, top_p, min_p, seed, utf8)
    if view is not None and (interactive or stop):
        raise InputError("--view writes symbols, for which there is no --interactive and no --stop: leave them out")
    if view is not None and (dtype != "float32" or device not in ("auto", "cpu")):
        raise InputError("--view writes in float32 on the CPU: leave --dtype and --device out")
    text = sys.stdin.buffer.read() if prompt == "-" else os.fsencode(prompt)
    if view is not None:
        _write_view(folder, view, task, text, max_bytes, sampling, engine, raw, json)
        return
    how: dict[str, Any] = {"stops": [os.fsencode(one) for one in stop], "drafts": drafts}
    from byteproxy.runs.load import load

    loaded = load(folder, dtype, device, engine)
    writer = loaded.writer
    said = [] if system is None else [_message("system", os.fsencode(system))]
    if interactive:
        if chat:
            _conversation(loaded, [*said, *([_message("user", text)] if text else [])], max_bytes, sampling, how)
        else:
            _session(writer, text, max_bytes, sampling, how)
        return
    asked = loaded.chat_prompt([*said, _message("user", text)]) if chat else text
    begin = time.perf_counter()
    if not json:
        deliver(writer.stream(asked, max_bytes, sampling, **how), raw)
        return
    from byteproxy.generate.utf8 import characters

    (written,) = writer.write([asked], max_bytes, sampling, **how)
    seconds = time.perf_counter() - begin
    counts = writer.counts
    figures = {
        "continuation": "".join(characters([written.text])),
        "bytes_base64": base64.b64encode(written.text).decode(),
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


def _tell_of_backslashes(stops: tuple[str, ...]) -> None:
    """A shell gives --stop "\\n" as a backslash and an n, which is rarely meant."""
    from byteproxy.console import say

    for stop in stops:
        if any(escape in stop for escape in ("\\n", "\\t", "\\r")):
            say(
                f"note: --stop {stop} is taken as it stands, backslash and all; a newline or a tab is $'{stop}' in bash"
            )


def _write_view(
    folder: Path,
    view: str,
    task: str,
    prompt: bytes,
    most: int,
    sampling: "Sampling",
    engine: "Engine",
    raw: bool,
    json: bool,
) -> None:
    from byteproxy.cli.answer import deliver
    from byteproxy.generate.utf8 import characters
    from byteproxy.runs.with_corpus import view_writer

    writer = view_writer(folder, engine)
    found = writer.write(prompt, view, "translate" if task == "translate" else "continue", most, sampling)
    if not json:
        deliver([" ".join(map(str, found.symbols.tolist())).encode() if found.text is None else found.text], raw)
        return
    strings = None if found.strings is None else [["".join(characters([one])) for one in own] for own in found.strings]
    figures = {
        "symbols": found.symbols.tolist(),
        "text": None if found.text is None else "".join(characters([found.text])),
        "bytes_base64": None if found.text is None else base64.b64encode(found.text).decode(),
        "strings": strings,
        "ended": found.ended,
    }
    end(json, figures)


def _session(writer: "Writer", text: bytes, max_bytes: int, sampling: "Sampling", how: dict[str, Any]) -> None:
    """Each line is added to the text so far, and the model writes on; an empty one lets it write on as it is."""
    from byteproxy.cli.answer import show

    terminal = console(False)
    terminal.say("Type a line and the model goes on with the text so far; an empty line lets it go on; Ctrl-D ends.")
    for line in sys.stdin:
        added = line.encode(sys.stdin.encoding or "utf-8", "surrogateescape")
        text += added if added.strip() else b""
        begin = time.perf_counter()
        written = show(writer.stream(text, max_bytes, sampling, **how))
        seconds = time.perf_counter() - begin
        text += written
        rate = len(written) / seconds
        sys.stdout.write("\n")
        terminal.say(f"[{len(written)} bytes, {rate:,.0f} bytes/s, {writer.counts.bytes_per_pass:.2f} bytes a pass]")


def _message(role: str, text: bytes) -> dict[str, str]:
    return {"role": role, "content": text.decode("utf-8", "surrogateescape")}


def _conversation(
    loaded: "LoadedModel", messages: list[dict[str, str]], max_bytes: int, sampling: "Sampling", how: dict[str, Any]
) -> None:
    """Each line is a message, which the model answers with all that was said before it in mind."""
    terminal = console(False)
    terminal.say("Type a message and the model answers; Ctrl-D ends.")
    if messages and messages[-1]["role"] == "user":
        messages.append(_answered(loaded, messages, max_bytes, sampling, how))
    for line in sys.stdin:
        said = line.rstrip("\r\n").encode(sys.stdin.encoding or "utf-8", "surrogateescape")
        if said.strip():
            messages.append(_message("user", said))
            messages.append(_answered(loaded, messages, max_bytes, sampling, how))


def _answered(
    loaded: "LoadedModel", messages: list[dict[str, str]], max_bytes: int, sampling: "Sampling", how: dict[str, Any]
) -> dict[str, str]:
    from byteproxy.cli.answer import show

    written = show(loaded.writer.stream(loaded.chat_prompt(messages), max_bytes, sampling, **how))
    sys.stdout.write("\n")
    return _message("assistant", written)
