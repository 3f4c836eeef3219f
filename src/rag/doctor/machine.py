"""What the machine has to give."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rag.doctor.finding import Finding
from rag.doctor.installation import Installation, size_of

BUILD = 256 * 2**20
"""Bytes that a build may need beside twice what serves: the encoder's export."""
SERVER = 200 * 2**20
"""Bytes of memory that a server takes beside the index."""
HANDLES = 192
"""Open files of a server beside those who wait: two indexes while one is taken up, and whoever is being answered."""


def writable(installation: Installation) -> Iterator[Finding]:
    """Whether a build may write where the index is, or is to be."""
    index = installation.settings.index
    at = _existing(index)
    if os.access(at, os.W_OK | os.X_OK):
        yield Finding("ok", f"{index} can be written")
    elif installation.serves:
        yield Finding("info", f"{at} is read-only: it serves, and `rag index` cannot renew it", "build it elsewhere")
    else:
        yield Finding("broken", f"{at} cannot be written", "give the right to, or another folder with --index")


def disk(installation: Installation) -> Iterator[Finding]:
    """Room for one more generation, and for the export of an encoder."""
    index = installation.settings.index
    size, at = max(map(size_of, index.glob("generations/*")), default=0), _existing(index)
    free, wanted = shutil.disk_usage(at).free, 2 * size + BUILD
    if free < wanted:
        yield Finding("warning", f"{_mib(free)} free, a build may need {_mib(wanted)}", f"make room at {at}")
    else:
        yield Finding("ok", f"{_mib(free)} free")


def memory(installation: Installation) -> Iterator[Finding]:
    """Room to keep the index's files in memory, which are mapped and read as questions need them."""
    free, wanted = _available(), size_of(installation.index[0]) + SERVER
    if free is None:
        yield Finding("info", "this system does not tell how much is free")
    elif free < wanted:
        found = f"{_mib(free)} free, a server and its index take {_mib(wanted)}: questions will wait for the disk"
        yield Finding("warning", found, "free some, raise the limit of the container, or serve on a larger machine")
    else:
        yield Finding("ok", f"{_mib(free)} free")


def open_files(installation: Installation) -> Iterator[Finding]:
    """How many files and connections a server may have open at once."""
    import resource

    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES + installation.settings.serve.waiting
    if limit != resource.RLIM_INFINITY and limit < wanted:
        can = "" if most == resource.RLIM_INFINITY or wanted <= most else ", as root"
        mend = f"ulimit -n {wanted}{can}; LimitNOFILE={wanted} in a systemd unit"
        yield Finding("warning", f"at most {limit} at once, a busy server may want {wanted}", mend)
    else:
        yield Finding("ok", "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit} at once")


def port(installation: Installation) -> Iterator[Finding]:
    """Whether `rag serve` could listen."""
    at = installation.port
    try:
        socket.create_server(("127.0.0.1", at)).close()
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        yield Finding("warning", f"{at}: {why}", "unless it is a `rag serve` of yours, give another --port")
    else:
        yield Finding("ok", f"{at} is free")


def _existing(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(at for at in (path, *path.absolute().parents) if at.is_dir())


def _available() -> int | None:
    """Bytes of memory that are free, or that the control group allows where that is less; None where nobody says."""
    found = list[int]()
    with suppress(OSError):
        found += [int(kib) << 10 for kib in re.findall(r"^MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"), re.M)]
    with suppress(OSError):
        for group in re.findall(r"^0::/(.*)$", _read("/proc/self/cgroup"), re.M):
            limit = _read(f"/sys/fs/cgroup/{group}/memory.max").strip()
            found += [int(limit)] if limit.isdecimal() else []
    return min(found, default=None)


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
