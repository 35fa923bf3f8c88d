"""`byteproxy export`: a run as a folder that other tools load as it is."""

from pathlib import Path
from typing import Annotated

import tyro

from byteproxy.cli.output import Json, console, end


def export(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    gguf: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    license: Annotated[str, tyro.conf.arg(metavar="ID")] = "",
    datasets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ID [ID ...]")] = (),
    languages: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CODE [CODE ...]")] = (),
    base_model: Annotated[str, tyro.conf.arg(metavar="ID")] = "",
    json: Json = False,
) -> None:
    """Write a run as a stock model of raw bytes, LlamaForCausalLM or what it began with otherwise, and its tokenizer.

    transformers, and what builds on it, loads the folder with no code of ours. Whatever only compressed text took is
    left out; further byte heads go to a file that other tools ignore. The corpus isn't needed.

    Args:
        run: Folder that `byteproxy train` left.
        out: Folder to write; must not exist.
        gguf: Write `model.gguf`, for llama.cpp and what builds on it, too.
        license: For the model card, as the Hub writes it, such as apache-2.0.
        datasets: For the card: data sets on the Hub that the text came from.
        languages: For the card: codes such as en or code.
        base_model: For the card: the model on the Hub that training began with.
    """
    from byteproxy.files import ensure_free
    from byteproxy.interop.card import Origin
    from byteproxy.runs.model_folder import kind_of_model

    terminal = console(json)
    ensure_free(out)
    kind_of_model(run)  # what leads nowhere is refused before torch is imported
    from byteproxy.runs.load import load

    figures = load(run, device="cpu").export(out, gguf, Origin(license, datasets, languages, base_model))
    left_out = figures["parameters_that_disappeared"]
    terminal.say(
        f"{figures['architecture']} of {figures['parameters']:,} parameters in {out}, "
        f"{sum(figures['files'].values()):,} bytes in {len(figures['files'])} files. "
        + (f"{left_out:,} parameters that only compressed text used are left out." if left_out else "All are kept.")
    )
    if figures["byte_head_parameters"]:
        terminal.say(
            f"{figures['byte_head_parameters']:,} more, of further byte heads, are in a file that other tools ignore."
        )
    end(json, figures)
