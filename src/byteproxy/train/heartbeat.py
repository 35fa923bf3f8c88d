"""Signs of life of the processes of a run, so that one that ended or was stopped does not hold the others for hours.

Beside the training loop each process has a thread that counts up a number of its own in the store where the processes
found each other, and reads those of the others: some small requests a second. A process that computes, waits or writes
still counts, however long it takes; one that was killed, or stopped by a signal, does not.
"""

import os
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

import torch.distributed as dist

from byteproxy.console import say
from byteproxy.errors import InputError

SECONDS_APART = 0.5
"""Seconds between two signs of a process."""
LATE = 0.02
"""Share of its wait for rank 0 by which a process may notice rank 0 too late."""
MAX_SILENT_SECONDS = 60.0
"""After which a process counts as gone, where its machine is merely busy it is heard of long before."""
_DONE, _FAILED = "done", "failed "
_STATUS = 2


class RankLostError(InputError):
    """Another process of the run is gone. speaks: whether this one is the one to say so. gone: which, if known."""

    def __init__(self, message: str, speaks: bool, gone: list[int]) -> None:
        super().__init__(message)
        self.speaks, self.gone = speaks, gone


class Heartbeat:
    """This process's signs of life, and what it knows of the others'."""

    def __init__(self, store: dist.Store, rank: int, ranks: int, patience: float = MAX_SILENT_SECONDS) -> None:
        """patience: seconds after which a silent process ends the run."""
        self._rank, self._ranks, self._patience = rank, ranks, patience
        self._store = store.clone()  # type: ignore[attr-defined]
        self._store.set_timeout(timedelta(seconds=max(1.0, patience / 2)))
        self._waits = 0
        self._count = 0
        self._stop = threading.Event()
        self._said = dict.fromkeys(range(ranks), "")
        self._heard = dict.fromkeys(range(ranks), time.monotonic())
        self._beat()

    def start(self) -> None:
        """Begin to watch the others; all have to have a heartbeat by now."""
        self._heard = dict.fromkeys(self._heard, time.monotonic())
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self, error: BaseException | None) -> None:
        """Tell the others that this process leaves, and why if it failed."""
        self._stop.set()
        self._thread.join()
        why = _DONE if error is None else _FAILED + (str(error).splitlines() or [type(error).__name__])[0]
        if not isinstance(error, RankLostError):
            with suppress(RuntimeError):
                self._store.set(_key(self._rank), why)

    def wait_for_rank_zero(self) -> None:
        """Wait until rank 0 is here as well, as long as it lives."""
        self._waits += 1
        key = f"heartbeat/here/{self._waits}"
        if self._rank == 0:
            self._store.set(key, "")
            return
        begin = time.monotonic()
        while True:
            error: RuntimeError | None = None
            ended = self._ended(0)  # before it is asked for, as it may end right after it was here
            try:  # asked again and again, since a wait that runs out prints lines of torch's own
                if self._store.check([key]):
                    return
            except RuntimeError as gone:  # the store is gone, and rank 0 may have had it
                error = gone
            if ended:
                raise self.lost(error or RuntimeError("rank 0 is gone")) from error
            time.sleep(min(SECONDS_APART, max(0.01, LATE * (time.monotonic() - begin))))

    def lost(self, error: BaseException) -> RankLostError:
        """What to raise where a collective call failed: names who is gone, which a few seconds tell."""
        time.sleep(6 * SECONDS_APART)
        now = time.monotonic()
        gone = [rank for rank in self._others() if self._ended(rank) or now - self._heard[rank] > 4 * SECONDS_APART]
        if not gone:
            return RankLostError(
                f"the processes lost each other ({(str(error).splitlines() or ['no reason'])[0]}): go on from the "
                "newest checkpoint with --resume",
                self._rank == 0,
                gone,
            )
        speaks = self._rank == min(set(range(self._ranks)) - set(gone))
        return RankLostError(self._message(gone, "ended"), speaks, gone)

    def _ended(self, rank: int) -> bool:
        return self._said[rank].startswith((_DONE, _FAILED))

    def _others(self) -> list[int]:
        return [rank for rank in range(self._ranks) if rank != self._rank]

    def _message(self, gone: list[int], how: str) -> str:
        failed = next(
            (said.removeprefix(_FAILED) for said in map(self._said.get, gone) if said and said[:7] == _FAILED), ""
        )
        names = f"rank {gone[0]}" if len(gone) == 1 else f"ranks {', '.join(map(str, gone))}"
        why = f" ({failed})" if failed else ""
        return f"{names} {how}{why}: the others can't go on alone; start again from the newest checkpoint with --resume"

    def _beat(self) -> None:
        self._count += 1
        self._store.set(_key(self._rank), str(self._count))

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS_APART):
            with suppress(RuntimeError):  # a store that does not answer makes all silent
                self._beat()
                now = time.monotonic()
                for rank, said in enumerate(self._store.multi_get([_key(rank) for rank in range(self._ranks)])):
                    if said.decode() != self._said[rank]:
                        self._said[rank], self._heard[rank] = said.decode(), now
            now = time.monotonic()
            silent = [
                rank for rank in self._others() if not self._ended(rank) and now - self._heard[rank] > self._patience
            ]
            if silent:
                self._give_up(silent)

    def _give_up(self, silent: list[int]) -> NoReturn:
        """End this process: its main thread waits inside a call that nothing ends, and a kill is as safe."""
        if self._rank == min(set(range(self._ranks)) - set(silent)):
            message = self._message(silent, f"has not been heard of for {self._patience:.0f} s and ended or is stopped")
            with suppress(OSError, ValueError):
                say(f"byteproxy: {message}")
        os._exit(_STATUS)


def _key(rank: int) -> str:
    return f"heartbeat/{rank}"
