"""`rag` run in forks of a process that has imported it already, each with a fault of its own.

    with Forks() as forks:
        done = forks.run("--index", str(index), "index", fault=Fault(at=7, kill=True))
        assert done.code == -signal.SIGKILL

A fault strikes at the nth operation that changes a file system: Python's audit events tell of each before it happens,
and `os.fsync`, which has none, is wrapped. What FAISS and tantivy write is beyond them; `limit` reaches that.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
GROWS = {"os.mkdir", "os.rename", "os.link", "os.symlink"}
SHRINKS = {"os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.utime"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LONGEST = 30.0  # seconds
USED = (
    *("filelock", "onnx", "onnxruntime", "rich.console", "tantivy", "tokenizers"),
    *("rag.answer.answerer", "rag.cli", "rag.corpus.load", "rag.index.build", "rag.index.sparse", "rag.wire"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in a run, and when.

    `at` is the number of the operation, from 1, that is struck: the process is killed before it (`kill`), or it fails
    with `errno`, and so do all after it that need space, as on a disk that is full. 0 strikes none. `limit` is the
    size in bytes that no file may exceed. `clock` are seconds that the wall clock is ahead, and `jump` as many again
    from the operation `at` on. `plain` takes from root what no other user may. `after` are seconds, at whose end the
    process is killed wherever it is.
    """

    at: int = 0
    kill: bool = False
    errno: int = 0
    limit: int | None = None
    clock: float = 0
    jump: float = 0
    plain: bool = False
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended: `code` is below 0 where a signal ended it; `operations` are those that were counted."""

    code: int
    out: str
    err: str
    operations: int

    @property
    def value(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


@dataclass
class Forks:
    """A process that waits to be told what to run in a fork."""

    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Forks:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        environment |= {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "faults.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=LONGEST)  # its standard input ends, and so does it

    def run(
        self, *arguments: str | Path, fault: Fault = Fault(), cwd: Path = TESTS, environment: Mapping[str, str] = {}
    ) -> Done:
        """Run `rag` with these arguments, and wait for its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        told = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "environment": dict(environment)}
        print(json.dumps(told | {"fault": asdict(fault)}), file=self.process.stdin, flush=True)
        return Done(**json.loads(self.process.stdout.readline()))


def _main() -> None:
    _import()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()


def _import() -> None:
    """All that a run needs, so that no fork has to; nothing of it is used before a fork, and no thread begun."""
    for name in USED:
        import_module(name)
    import_module("faiss").omp_set_num_threads(1)


def _forked(told: dict[str, Any]) -> dict[str, Any]:
    pipes = [os.pipe() for _ in range(3)]  # of 64 KiB each, which is more than a run prints
    child = os.fork()
    if child == 0:
        _run(told, *(write for _, write in pipes))
    for _, write in pipes:
        os.close(write)
    code = _end(child, told["fault"]["after"])
    out, err, counted = (Path(f"/dev/fd/{read}").read_bytes() for read, _ in pipes)
    for read, _ in pipes:
        os.close(read)
    return {"code": code, "out": out.decode(errors="replace"), "err": err.decode(errors="replace")} | {
        "operations": len(counted)
    }


def _end(child: int, after: float | None) -> int:
    until = time.monotonic() + (LONGEST if after is None else after)
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until += LONGEST
        time.sleep(0.002)


def _run(told: dict[str, Any], out: int, err: int, counter: int) -> None:
    import traceback

    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(told["cwd"])
        os.environ.update(told["environment"])
        _arm(Fault(**told["fault"]), counter)
        from faults.tiny import tiny_encoder
        from rag.cli import main

        with tiny_encoder():
            main(told["arguments"], prog_name="rag")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _arm(fault: Fault, counter: int) -> None:
    """Count each operation, as a byte written to `counter`, and strike where the fault says."""
    ahead = [fault.clock]
    if fault.clock or fault.jump:
        shift(lambda: ahead[0])
    if fault.limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.limit, resource.RLIM_INFINITY))
    if fault.plain:
        be_plain()
    numbers, write, fsync = [0], os.write, os.fsync

    def operation(grows: bool) -> None:
        numbers[0] += 1
        write(counter, b".")
        if not fault.at or numbers[0] < fault.at:
            return
        if fault.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        ahead[0] = fault.clock + fault.jump
        if fault.errno and grows:
            raise OSError(fault.errno, os.strerror(fault.errno))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITES and str(path) != os.devnull:
                _named(operation, True, path)
        elif event in GROWS or event in SHRINKS:
            _named(operation, event in GROWS, arguments[0])

    def synced(handle: int) -> None:
        operation(True)
        fsync(handle)

    setattr(os, "fsync", synced)  # noqa: B010
    sys.addaudithook(hook)


def be_plain() -> None:
    """Take every capability from this process: then root may write what a file's mode says, and no more."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


def _named(operation: Any, grows: bool, path: object) -> None:
    """The operation, and the file in its error, as the system would name it."""
    try:
        operation(grows)
    except OSError as error:
        error.filename = path
        raise


def shift(ahead: Callable[[], float]) -> None:
    """Let this process's wall clock be so many seconds ahead, as it is asked; monotonic clocks stay."""
    real = {name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime")}
    time.time = lambda: real["time"]() + ahead()
    time.time_ns = lambda: real["time_ns"]() + int(ahead() * 1e9)
    time.gmtime = lambda seconds=None: real["gmtime"](time.time() if seconds is None else seconds)
    time.localtime = lambda seconds=None: real["localtime"](time.time() if seconds is None else seconds)


def each(operations: int, thorough: bool) -> list[int]:
    """The numbers of the operations to strike: each one, or each eleventh and the last eight, which publish."""
    return [n for n in range(1, operations + 1) if thorough or n % 11 == 1 or n > operations - 8]


if __name__ == "__main__":
    _main()
