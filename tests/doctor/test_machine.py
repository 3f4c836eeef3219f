"""A machine that gives too little."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from doctor.conftest import everything, faults
from rag.doctor.finding import Finding
from rag.doctor.installation import Installation
from rag.doctor.machine import writable
from rag.index.store import IndexFolder


def seen_by_others() -> list[Finding]:
    """What the check of the right to write finds in a process that root's privileges are taken from."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            assert ctypes.CDLL(None).capset(header, none) == 0
            os.write(write, json.dumps([asdict(f) for f in writable(Installation())]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return [Finding(**values) for values in json.loads(said)]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def test_an_index_that_may_not_be_written_still_serves(folder: Path) -> None:
    with read_only(folder / "index"):
        (found,) = seen_by_others()
    assert found.grade == "info"
    assert "index is read-only" in found.found
    shutil.rmtree(folder / "index")
    with read_only(folder):
        (found,) = seen_by_others()
    assert found.grade == "broken"
    assert f"{folder} cannot be written" in found.found
    assert "--index" in found.mend
    assert seen_by_others() == [Finding("ok", "index can be written")]


def test_an_index_larger_than_the_disk_and_the_memory_have_room_for(folder: Path) -> None:
    with (IndexFolder(folder / "index").current()[0] / "sparse").open("wb") as file:
        file.truncate(1 << 43)  # of which nothing takes room
    found = faults(everything())
    assert set(found) == {"disk", "memory"}
    assert "a build may need 16777472 MiB" in found["disk"][0].found
    assert found["disk"][0].mend == "make room at index"
    assert "questions will wait for the disk" in found["memory"][0].found


def test_few_open_files(folder: Path) -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
    try:
        found = everything(RAG_SERVE__WAITING="100")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    (files,) = found["open-files"]
    assert (files.grade, files.found) == ("warning", "at most 200 at once, a busy server may want 292")
    assert files.mend.startswith("ulimit -n 292")


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (port,) = everything(port=taken.getsockname()[1])["port"]
    assert (port.grade, "Address already in use" in port.found, "--port" in port.mend) == ("warning", True, True)
