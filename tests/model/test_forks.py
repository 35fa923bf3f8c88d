"""A forked child computes, though its parent's threads are not there."""

import subprocess
import sys

from tests.waiting import GUARD_SECONDS

CODE = """
import multiprocessing, torch
torch.set_num_threads(2)
from byteproxy.model import forks
one = torch.ones(300, 300)
(one @ one).sum(), torch.ones(10**6).sum()  # now OpenMP has threads

def child():
    print(torch.get_num_threads(), int((one @ one).sum()), int(torch.ones(10**6).sum()), flush=True)

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
print(torch.get_num_threads())
"""


def test_a_forked_child_computes_with_one_thread_and_its_parent_as_before():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.stdout == "1 27000000 1000000\n2\n", done.stderr
