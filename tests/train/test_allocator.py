"""Large blocks that are freed are not returned to the system, and not zeroed by it again."""

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from byteproxy.train.allocator import keep_freed_memory

def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    for place in range(0, len(block), 4096):
        block[place] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = sys.argv[1] == "kept" and keep_freed_memory()
touched()
print(kept, sum(touched() for _ in range(3)))
"""


def test_blocks_that_were_freed_cost_no_pages_again() -> None:
    (_, returned), (kept, reused) = (_faults("returned"), _faults("kept"))
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert reused < returned / 10


def _faults(how: str) -> tuple[bool, int]:
    said = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True).stdout
    kept, faults = said.split()
    return kept == "True", int(faults)
