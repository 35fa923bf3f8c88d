"""The model card of an export: what it is, how to use it, and the figures of its run.

No license is named, since that is for whoever trained the model to say.
"""

from dataclasses import replace
from typing import Any

from byteproxy import __version__
from byteproxy.config import to_toml
from byteproxy.train.config import TrainConfig

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- byte-level
- proxy-compression
---

# {name}

A language model that reads and writes raw UTF-8 bytes. It was trained on {shown}
([arXiv 2602.04289](https://arxiv.org/abs/2602.04289)) with byteproxy {version}; no compressor is needed to run it.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("def main(", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100)[0], skip_special_tokens=True))
```

Each byte is a token, id = byte + 64. A text opens with one `<raw>` (id 12, the bos, which the tokenizer adds) and ends
with `</raw>` (13) or `<eos>` (2). It was trained to see {context_bytes:,} bytes of text at once.{heads}

| figure | |
| --- | ---: |
{rows}

What the run was asked for:

```toml
{config}
```
"""


def card(name: str, figures: dict[str, Any], config: TrainConfig) -> str:
    """The card as Markdown. figures: those of `run.export_run`; what is None was not measured, and is left out."""
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
    return _CARD.format(
        name=name,
        shown=" and ".join(shown),
        version=__version__,
        context_bytes=figures["context_bytes"],
        heads=heads,
        rows="\n".join(f"| {what} | {value} |" for what, value in rows.items() if value),
        config=to_toml(replace(config, corpus="")).strip(),
    )


def _count(count: int) -> str:
    return f"{count:,}" if count else ""
