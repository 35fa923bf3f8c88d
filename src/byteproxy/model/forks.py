"""Models in forked processes: with one thread, since those of OpenMP do not survive a fork.

GNU's OpenMP, which torch computes with, keeps its threads for the next product. A forked child inherits the notes of
them and not the threads, and waits for ever at its first product with several. With one thread none is waited for. A
child that is to compute with several has to be started by `spawn`.
"""

import os
import sys


def _one_thread() -> None:
    torch = sys.modules.get("torch")  # where it was never imported there are no such threads
    if torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
