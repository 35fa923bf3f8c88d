"""Work done by several processes at once, joined as torchrun would have them, on this machine only."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from tests.waiting import GUARD_SECONDS

from byteproxy.train.parallel import joined


def on_ranks(ranks: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work` returned in each of so many processes, by rank; `work` is found by its name in its module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["byteproxy.train.trainer"])  # once for all ranks: it takes seconds
    results = context.Queue()
    processes = [
        context.Process(target=_run, args=(rank, ranks, port, results, work, arguments), daemon=True)
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        found = dict(results.get(timeout=GUARD_SECONDS) for _ in processes)
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    failed = [result for result in found.values() if isinstance(result, BaseException)]
    if failed:
        raise failed[0]
    return [found[rank] for rank in range(ranks)]


def _run(rank: int, ranks: int, port: int, results: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
    try:
        with joined():
            result = work(*arguments)
    except BaseException as error:
        result = error
    results.put((rank, result))
