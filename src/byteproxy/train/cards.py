"""Accelerators that a run can be planned for: what their makers' data sheets say.

Memory is in the sheet's gigabytes, of 1e9 bytes each: at most what a driver shows. The peak is of dense products of
bfloat16 that are added up in float32; where a sheet has it for sparse matrices only, it is half of that.
"""

from dataclasses import dataclass

from byteproxy.errors import InputError


@dataclass(frozen=True)
class Card:
    """An accelerator. memory: in bytes. peak: FLOPs per second. source: where that is from."""

    name: str
    memory: int
    peak: float
    source: str


CARDS = {
    name: Card(name, gigabytes * 10**9, teraflops * 1e12, source)
    for name, gigabytes, teraflops, source in (
        ("rtx4090-24gb", 24, 165.2, "NVIDIA Ada GPU architecture whitepaper"),
        ("l4-24gb", 24, 121.0, "NVIDIA L4 data sheet, half of the sparse 242"),
        ("a10-24gb", 24, 125.0, "NVIDIA A10 data sheet"),
        ("a100-40gb", 40, 312.0, "NVIDIA A100 data sheet"),
        ("l40s-48gb", 48, 362.05, "NVIDIA L40S data sheet"),
        ("a100-80gb", 80, 312.0, "NVIDIA A100 data sheet"),
        ("h100-80gb", 80, 989.5, "NVIDIA H100 data sheet (SXM), half of the sparse 1,979"),
        ("h200-141gb", 141, 989.5, "NVIDIA H200 data sheet (SXM), half of the sparse 1,979"),
        ("b200-180gb", 180, 2250.0, "NVIDIA HGX B200 data sheet, half of the sparse 4,500"),
        ("mi300x-192gb", 192, 1307.4, "AMD Instinct MI300X data sheet"),
    )
}


def card_named(name: str) -> Card:
    """The card of that name; InputError, which lists them, where there is none."""
    if name not in CARDS:
        raise InputError(f"gpu is {name!r}: give one of {', '.join(CARDS)}")
    return CARDS[name]
