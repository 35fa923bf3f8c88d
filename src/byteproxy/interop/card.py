"""The model card of an export: what it is, how to use it, and the figures of its run.

License, data sets, languages and base model are named where the user gives them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from byteproxy import __version__
from byteproxy.config import to_toml
from byteproxy.train.train_config import TrainConfig

_CARD = """---
{metadata}
---

# {name}

A language model that reads and writes raw UTF-8 bytes. It was trained on {shown} with byteproxy {version}.{text}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("def main(", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100)[0], skip_special_tokens=True))
```

Each byte is a token, id = byte + 64. A text opens with one `<raw>` (id 12, the bos, which the tokenizer adds) and ends
with `</raw>` (13) or `<eos>` (2). It was trained to see {context_bytes:,} bytes of text at once.{heads}{chat}

| figure | |
| --- | ---: |
{rows}

What the run was asked for:

```toml
{config}
```
"""


_PROXY = " ([proxy compression](https://arxiv.org/abs/2602.04289): no compressor is needed to run it)"


class Origin(NamedTuple):
    """What a card says beside figures, as the Hub's metadata has it; empty where nobody said.

    license: an identifier such as apache-2.0. datasets, base_model: identifiers on the Hub.
    languages: codes such as en.
    """

    license: str = ""
    datasets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    base_model: str = ""


NOBODY_SAID = Origin()


def card(
    name: str,
    figures: dict[str, Any],
    config: TrainConfig,
    origin: Origin = NOBODY_SAID,
    sources: Mapping[str, int] | None = None,
) -> str:
    """The card as Markdown.

    figures: those of `runs.export.export_run`; what is None was not measured, and is left out.
    sources: bytes of each source of the corpus, where it is known.
    """
    shown = [
        "raw bytes" if view == "raw" else f"text compressed by the view `{view}`"
        for view, count in figures["text_bytes"].items()
        if count
    ]
    rows = {
        "architecture": figures["architecture"],
        "parameters": f"{figures['parameters']:,}",
        "parameters that only compressed text took, left out": f"{figures['parameters_that_disappeared']:,}",
        "parameters of further byte heads, in `byte_heads.safetensors`": _count(figures["byte_head_parameters"]),
        "optimizer steps": f"{figures['step']:,}",
        "training FLOPs": f"{figures['flops']:.3g}",
        **{f"bytes of text seen as `{view}`": f"{count:,}" for view, count in figures["text_bytes"].items()},
    }
    if figures["raw_bpb"] is not None:
        what = f"bits per byte of validation text, raw, after step {figures['raw_bpb_step']:,}"
        rows[what] = f"{figures['raw_bpb']:.4f}"
    heads = ""
    if figures["byte_head_parameters"]:
        heads = " The heads in `byte_heads.safetensors` predict further bytes; only byteproxy reads them."
    chat = ""
    if figures["chat_specials"] is not None:
        chat = " It keeps the chat template of the model that it began with: `tokenizer.apply_chat_template`."
    compressed = any(count for view, count in figures["text_bytes"].items() if view != "raw")
    return _CARD.format(
        metadata=_metadata(origin, ["byte-level", *(["proxy-compression"] if compressed else [])]),
        name=name,
        shown=" and ".join(shown) + (_PROXY if compressed else ""),
        text=_text(sources or {}),
        version=__version__,
        context_bytes=figures["context_bytes"],
        heads=heads,
        chat=chat,
        rows="\n".join(f"| {what} | {value} |" for what, value in rows.items() if value),
        config=to_toml(replace(config, corpus="")).strip(),
    )


def _metadata(origin: Origin, tags: Sequence[str]) -> str:
    """The Hub's metadata as YAML, of which JSON's strings and lists are a part."""
    said = {
        "license": origin.license,
        "language": list(origin.languages),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": origin.base_model,
        "datasets": list(origin.datasets),
        "tags": list(tags),
    }
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in said.items() if value)


def _text(sources: Mapping[str, int]) -> str:
    """Where its text came from, as its corpus names it."""
    if not sources:
        return ""
    return f" Its text: {', '.join(f'`{name}` ({count:,} bytes)' for name, count in sources.items())}."


def _count(count: int) -> str:
    return f"{count:,}" if count else ""
