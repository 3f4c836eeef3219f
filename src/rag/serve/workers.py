"""Several processes that answer at one address, and the one that keeps their number."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from socket import socket, socketpair
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

PAUSE = 5.0
"""Seconds from one start of a worker to its next at least, so that one that dies at once is no load."""
DRAIN = 12.0
"""Seconds until workers that were told to stop are killed; each gives the requests under way ten."""

_log = logging.getLogger("rag.serve")


@dataclass(frozen=True, slots=True)
class Worker:
    """One of `of` processes that serve together, by its number, from 1; `folder` is where they meet."""

    number: int
    of: int
    folder: Path

    def share(self, whole: int) -> int:
        """What of `whole` threads is this worker's; at least one."""
        return max(1, whole // self.of)


Serve = Callable[[socket, Worker], None]


def keep(serve: Serve, listening: socket, count: int) -> None:
    """Have `count` processes `serve` until SIGTERM or SIGINT, each begun anew when it ends; then they drain.

    They are spawned, since a fork has none of the threads that a library began, and whatever those held stays held. A
    connection that none of them has taken yet waits in `listening`, which all of them share, for the next one that
    does. `serve` goes to them by pickle.
    """
    with TemporaryDirectory(prefix="rag-", ignore_cleanup_errors=True) as folder, _told() as told:
        workers = [Worker(number, count, Path(folder)) for number in range(1, count + 1)]
        due, alive = dict.fromkeys(workers, monotonic()), dict[Worker, "SpawnProcess"]()
        try:
            while True:
                for worker in workers:
                    if worker not in alive and due[worker] <= (now := monotonic()):
                        alive[worker], due[worker] = _started(serve, listening, worker), now + PAUSE
                pause = min((due[worker] - monotonic() for worker in workers if worker not in alive), default=None)
                ended = [process.sentinel for process in alive.values()]
                if told in connection.wait([told, *ended], None if pause is None else max(pause, 0)):
                    break
                for worker, process in list(alive.items()):
                    if process.exitcode is not None:
                        told_how = "worker %d (process %d) ended with %d; another takes its place"
                        _log.error(told_how, worker.number, process.pid, process.exitcode)
                        del alive[worker]
        finally:
            listening.close()  # else whoever connects now would wait for nobody
            _drain(list(alive.values()))


def _started(serve: Serve, listening: socket, worker: Worker) -> SpawnProcess:
    process = get_context("spawn").Process(target=_work, args=(serve, listening, worker), daemon=True)
    process.start()
    return process


def _drain(processes: list[SpawnProcess]) -> None:
    until = monotonic() + DRAIN
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(max(until - monotonic(), 0))
        if process.exitcode is None:
            _log.error("process %d did not end in time, and was killed", process.pid)
            process.kill()
            process.join()


@contextmanager
def _told() -> Iterator[socket]:
    """A socket that can be read once this process is told to stop."""
    reads, writes = socketpair()
    with reads, writes:
        writes.setblocking(False)
        signal.set_wakeup_fd(writes.fileno())
        for which in (signal.SIGTERM, signal.SIGINT):
            signal.signal(which, lambda *_: None)
        try:
            yield reads
        finally:
            signal.set_wakeup_fd(-1)


def _work(serve: Serve, listening: socket, worker: Worker) -> None:
    threading.Thread(target=_end_with_the_parent, args=(worker,), daemon=True).start()
    serve(listening, worker)


def _end_with_the_parent(worker: Worker) -> None:
    """Nobody would tell this process to stop, or begin it anew."""
    if parent := parent_process():
        parent.join()
    shutil.rmtree(worker.folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
