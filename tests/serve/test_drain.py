"""A real process that is told to stop."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from live import eventually

TESTS = Path(__file__).resolve().parents[1]
CODE = """
import sys, threading, time
from dataclasses import replace
from pathlib import Path
from fakes import one_episode
from rag.assemble import Service
from rag.corpus.markers import DEFAULT_PATTERN
from rag.serve import server

inner = one_episode(Path(sys.argv[1]), estimating=False)

class Slow:
    def stream(self, *arguments, **options):
        print("working", flush=True)
        sys.stdin.readline()
        yield from inner.stream(*arguments, **options)

server.listen, listen = (lambda *_: listen("127.0.0.1", 0)), server.listen
plain, server.uvicorn.Server.startup = server.uvicorn.Server.startup, None

async def startup(self, sockets=None):
    await plain(self, sockets)
    print(sockets[0].getsockname()[1], flush=True)

server.uvicorn.Server.startup = startup
service = Service(inner._library, None, Slow(), DEFAULT_PATTERN)
server.run(lambda: lambda: service, lambda: None)
"""


def test_a_server_told_to_stop_answers_what_is_under_way_and_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}")
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        stop = threading.Timer(30, process.kill)
        stop.start()
        try:
            assert process.stdin
            assert process.stdout
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            asked = pool.submit(httpx.post, f"{url}/v1/ask", json={"question": "what of E026"}, timeout=20)
            assert "working\n" in process.stdout
            process.send_signal(signal.SIGTERM)
            process.stdin.write("\n")
            process.stdin.flush()
            assert asked.result().status_code == 200
            assert process.wait(20) == 0
        finally:
            stop.cancel()
            process.kill()
