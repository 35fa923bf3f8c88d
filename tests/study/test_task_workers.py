"""Processes that do a study's runs."""

import re
import signal
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from byteproxy.study import task_workers


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_workers_leave_ctrl_c_to_their_parent(tmp_path):
    """All processes of a terminal get it; to a worker that heard it, the SIGTERM that follows would be a second one."""
    resource_tracker._resource_tracker._stop()  # as in a process that has started none before
    started = [task_workers._Worker(tmp_path, 1, None) for _ in range(2)]
    try:
        for worker in started:
            status = Path(f"/proc/{worker.process.pid}/status").read_text()
            blocked = int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16)
            assert blocked >> (signal.SIGINT - 1) & 1
    finally:
        for worker in started:
            worker.process.kill()
            worker.process.join()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
