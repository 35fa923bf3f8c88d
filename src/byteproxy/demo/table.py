"""The figures of a demo for a terminal: arms side by side, or what a model came to and how it writes cut words."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from byteproxy.convert.cut_prompts import is_right
from byteproxy.demo.with_model import SIDES
from byteproxy.study.units import fixed, percent, scientific, si, took

_COLUMNS = ("arm", "raw\nbpb", "training\nFLOPs", "positions", "text\nseen", "segments\ncompressed", "training\ntime")

_SHOWN_CUTS = 6
_TAIL = 24  # characters of a prompt that are shown before a cut


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


def model_table(results: Mapping[str, Any]) -> Table:
    """A row for each way in which the held-out text was read."""
    found = results["convert"]
    size = si(results["conversion"]["validation"]["bytes"], "B")
    table = Table(box=box.SIMPLE_HEAD, title=f"{size} of {results['held_out']}")
    for name in ("read as", "bits\nper byte", "training\nFLOPs", "positions", "training\ntime"):
        table.add_column(name, justify="left" if name == "read as" else "right", no_wrap=True)
    table.add_row("its own tokens, before: the ceiling", fixed(found["token_bpb"], 3))
    table.add_row("raw bytes, before", fixed(found["raw_bpb_before"], 3))
    for name, raw, side in (("after", "raw_bpb_after", ""), ("from scratch", "scratch_raw_bpb", "scratch_")):
        cost = scientific(found[f"{side}flops"]), si(found[f"{side}positions"]), took(found[f"{side}seconds"])
        table.add_row(f"raw bytes, {name}", fixed(found[raw], 3), *cost)
    return table


def cuts_table(results: Mapping[str, Any]) -> Table:
    """How each went on with words that were cut: some of them, and how many of all were right."""
    cuts = results["cuts"]
    table = Table(box=box.SIMPLE_HEAD, title="cut inside a word; + where the rest of it came")
    for name in ("prompt", "tokens, before", "bytes, after", "from scratch"):
        table.add_column(name, no_wrap=True)
    for cut in cuts["written"][:_SHOWN_CUTS]:
        line = cut["prompt"].rpartition("\n")[2].lstrip()[-_TAIL:]
        table.add_row(line, *(f"{'+' if is_right(cut, cut[side]) else ' '} {_first(cut[side])}" for side in SIDES))
    table.add_section()
    for kind in ("given", "drawn"):
        own = cuts[kind]
        if own["cuts"]:
            table.add_row(f"right, of {own['cuts']} {kind} ones", *(f"  {own[side]}" for side in SIDES))
    return table


def _first(written: str) -> str:
    """The first line, as far as it fits."""
    return written.partition("\n")[0][:_TAIL]
