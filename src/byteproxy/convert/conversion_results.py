"""All figures of a conversion: what it began with, what it cost, what was kept, and what the model can do now.

All of it is taken from what the stages left in the folder, so a conversion that was stopped has the same figures.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from byteproxy.convert.before_and_after import Written
from byteproxy.convert.conversion import Conversion
from byteproxy.convert.cut_prompts import counted
from byteproxy.corpus.split import ways
from byteproxy.evaluate.run_figures import folder_figures
from byteproxy.interop.stock import CLASSES
from byteproxy.runs.source_model import SourceModel
from byteproxy.store.store import Store
from byteproxy.study.hardware import machine
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import METRICS, read_run_config

_OF_RUN = ("steps", "positions", "flops", "seconds", "wall_seconds", "positions_per_second", "matmul_utilization")
_OF_POINT = ("step", "positions", "flops", "seconds", "raw_bpb")


def results_of(
    conversion: Conversion,
    source: SourceModel,
    store: Store,
    run: Path,
    before: Mapping[str, Any],
    written: Written,
) -> dict[str, Any]:
    """The figures, which JSON takes. before: as `measured_before` gives them. written: what it writes afterwards."""
    config = read_run_config(run)
    view = config.views[0]
    measured = [line for line in read_metrics(run / METRICS) if "raw_bpb" in line]
    figures, last = folder_figures(run, config), measured[-1]
    raw, tokens = last["raw_bpb"], last["view_bpb"][view]
    before_bpb = {name: before[name] for name in ("raw_bpb", "token_bpb")}
    manifest, samples = store.manifest, conversion.recipe.samples
    cuts = [{**cut, "after": after} for cut, after in zip(before["cuts"], written.cuts, strict=True)]
    return {
        "model": {
            **source.written(),
            "architecture": CLASSES[str(config.model.stock_architecture)],
            "shape": {name: getattr(config.model, name) for name in ("width", "layers", "heads", "kv_heads", "ffn")},
            "tokens": manifest.view(view).alphabet_size,
            "bytes_per_token": before["bytes_per_token"],
        },
        "machine": machine(config.dtype),
        "corpus": {
            "sources": {name: one.bytes for name, one in manifest.sources.items()},
            "splits": {name: asdict(one) for name, one in manifest.splits.items()},
            "split_by": ways(manifest.groups),
        },
        "validation": {name: before[name] for name in ("bytes", "documents", "window", "stride")},
        "compressors": last["validation_text"]["compressors"],
        "before": before_bpb,
        "after": {"raw_bpb": raw, "token_bpb": tokens},
        "raw_over_ceiling": raw / before["token_bpb"],
        "tokens_kept": tokens / before["token_bpb"],
        "cost": {
            **{name: figures[name] for name in _OF_RUN},
            "text_bytes": figures["text_bytes"],
            "memory_mb": figures["memory_mb"],
            "parameters": figures["parameters"],
            "exported_parameters": figures["raw_parameters"],
        },
        "curve": [
            {"step": 0, "positions": 0, "flops": 0, "seconds": 0.0, **before_bpb},
            *({**{name: line[name] for name in _OF_POINT}, "token_bpb": line["view_bpb"][view]} for line in measured),
        ],
        "samples": [
            {"prompt": prompt, "before": as_tokens, "after": as_bytes}
            for prompt, as_tokens, as_bytes in zip(samples.prompts, before["samples"], written.samples, strict=True)
        ],
        "cuts": {**counted(cuts, ("before", "after")), "written": cuts},
    }
