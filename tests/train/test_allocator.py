"""Large blocks that are freed are not returned to the system, and not zeroed by it again, until that is asked for."""

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

_HELD = """
from byteproxy.train.allocator import give_back_freed_memory, keep_freed_memory

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

kept = keep_freed_memory()
blocks = [bytearray(b"x") * (1 << 20) for _ in range(128)]
last = blocks.pop()  # what was freed lies below it
blocks.clear()
before = held()
print(kept and give_back_freed_memory(), before - held())
"""


def test_blocks_that_were_freed_cost_no_pages_again() -> None:
    (_, returned), (kept, reused) = (_faults("returned"), _faults("kept"))
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert reused < returned / 10


def test_what_is_kept_can_be_given_back() -> None:
    given, less = subprocess.run(
        [sys.executable, "-c", _HELD], capture_output=True, text=True, check=True
    ).stdout.split()
    if given != "True":
        pytest.skip("this C library has no malloc_trim")
    assert int(less) > 100 << 20


def _faults(how: str) -> tuple[bool, int]:
    said = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True).stdout
    kept, faults = said.split()
    return kept == "True", int(faults)
