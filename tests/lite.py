"""A Milvus to test with: a milvus-lite server process of our own, or the cluster that RAG_MILVUS_URI names."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from live import eventually
from rag.settings import MilvusSettings, Secret, Settings

ENVIRONMENT = "RAG_MILVUS_URI"
_numbers = count()


class Lite:
    """A milvus-lite server on a port of 127.0.0.1, over a folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as bound:
            self._port = bound.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        address = ["--host", "127.0.0.1", "--port", str(self._port)]
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(self._folder / "data"), *address]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._listens, 60)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        assert self.process.poll() is None, (self._folder / "log").read_text()
        return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """With SIGKILL, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It is there and does not answer."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def milvus(folder: Path) -> Iterator[str]:
    """The address of one to test with; skips where there is none to be had."""
    pytest.importorskip("pymilvus", reason="the engine milvus needs the extra `milvus`")
    if uri := os.environ.get(ENVIRONMENT):
        yield uri
        return
    pytest.importorskip("milvus_lite", reason=f"no milvus-lite is installed, and {ENVIRONMENT} names no cluster")
    lite = Lite(folder)
    lite.start()
    try:
        yield lite.uri
    finally:
        lite.kill()


def settings_for(uri: str, index: Path, **more: Any) -> Settings:
    """Settings of an index of its own, beside all others in that Milvus."""
    prefix = f"test_{os.getpid()}_{next(_numbers)}"
    token = Secret(held) if (held := os.environ.get("RAG_MILVUS_TOKEN")) else None
    milvus = MilvusSettings(uri=uri, prefix=prefix, token=token)
    return Settings(engine="milvus", index=index, milvus=milvus, **more)


def dropped(settings: Settings) -> None:
    """Leave nothing of it in a cluster that others use too."""
    from pymilvus import MilvusClient

    token = settings.milvus.token.value if settings.milvus.token else ""
    client = MilvusClient(settings.milvus.uri, token=token)
    for name in client.list_collections():
        if name.startswith(f"{settings.milvus.prefix}_"):
            client.drop_collection(name)
