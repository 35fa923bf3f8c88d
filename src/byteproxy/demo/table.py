"""The arms side by side, for a terminal; plain compressors below them for scale."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from byteproxy.study.units import fixed, percent, scientific, si

_COLUMNS = ("arm", "raw\nbpb", "training\nFLOPs", "positions", "text\nseen", "segments\ncompressed", "training\ntime")


def arms_table(results: Mapping[str, Any]) -> Table:
    """A row for each arm, then xz and PPMd on the same text."""
    table = Table(
        box=box.SIMPLE_HEAD, title=f"held out: {si(results['held_out_bytes'], 'B')} of projects no arm has seen"
    )
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    for name, arm in results["arms"].items():
        table.add_row(
            name,
            fixed(arm["raw_bpb"], 3),
            scientific(arm["flops"]),
            si(arm["positions"]),
            si(arm["text_bytes_seen"], "B"),
            percent(arm["compressed_share"]["segments"]),
            fixed(arm["seconds"], 0, "s"),
        )
    table.add_section()
    for name, key in (("PPMd", "ppmd_bpb"), ("xz", "xz_bpb")):
        table.add_row(name, fixed(results[key], 3), *[""] * (len(_COLUMNS) - 2))
    return table
