"""`rag serve` in a process of its own.

    with Server(index, tmp_path) as server:
        server.start()
        assert server.answer() == ANSWER
        server.kill()

It may be started again at the same address, and its wall clock may jump. It keeps no answers: each is made anew.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from faults.forks import LONGEST, TESTS, shift
from faults.tiny import QUESTION
from live import eventually
from rag.index.store import IndexFolder


class Server:
    """A server of an index, at one address however often it is started; `folder` holds its log and temporary files."""

    def __init__(self, index: Path, folder: Path, *arguments: str, environment: Mapping[str, str] = {}) -> None:
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        self.url, self._log, self._temporary = f"http://127.0.0.1:{port}", folder / "server.log", folder / "temporary"
        self._temporary.mkdir()
        self._clock = folder / "clock"
        self.set_clock(0)
        command = [sys.executable, "-m", "faults.serving", str(self._clock), "--index", str(index), "serve"]
        self._command = [*command, "--port", str(port), *arguments]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        self._environment |= {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "OMP_NUM_THREADS": "1"}
        self._environment |= {"TMPDIR": str(self._temporary), "RAG_SERVE__ANSWERS": "0", **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(timeout=LONGEST)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._client.close()

    @property
    def log(self) -> str:
        """What every start of it has written."""
        return self._log.read_text(encoding="utf-8")

    def left(self) -> list[str]:
        """Its temporary files, but for the one that onnxruntime has for all its processes."""
        return [path.name for path in self._temporary.iterdir() if path.name != ".ses"]

    def start(self, ready: int | None = 200) -> None:
        """Start it, and wait until `/readyz` has that status; None until it listens."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log)
        eventually(lambda: (found := self.status()) is not None and ready in (None, found), LONGEST)

    def status(self) -> int | None:
        """What `/readyz` answers, None where nobody does. A process that has ended by itself fails the test."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return self._client.get(f"{self.url}/readyz").status_code
        except httpx.TransportError:
            return None

    def refusal(self, text: str) -> str:
        """Wait until it says why it answers nothing, with this text in it."""
        eventually(lambda: text in self.answer(), LONGEST)
        return self.answer()

    def takes_up(self, index: Path) -> None:
        """Wait until it answers from what the index folder holds now, and has read it whole."""
        generation = IndexFolder(index).current()[1].generation
        eventually(lambda: f"generation {generation} answers, whole" in self.log, LONGEST)

    def kill(self) -> None:
        """kill -9, which gives it no moment more."""
        if self.process is not None:
            self.process.kill()
            assert self.process.wait(LONGEST) == -signal.SIGKILL, self.log
            self.process = None

    def ended(self) -> str:
        """The signal that ended it; nobody sent one."""
        assert self.process is not None
        code, self.process = self.process.wait(LONGEST), None
        return signal.Signals(-code).name

    def ask(self, asker: str = "127.0.0.1", **body: Any) -> httpx.Response:
        """Ask the question, from any address of this machine's own."""
        with httpx.Client(transport=httpx.HTTPTransport(local_address=asker), timeout=LONGEST) as client:
            return client.post(f"{self.url}/v1/ask", json={"question": QUESTION} | body)

    def answer(self, asker: str = "127.0.0.1") -> str:
        """What the question is answered, or the status and what is told instead."""
        response = self.ask(asker)
        found = response.json()
        if response.status_code != 200:
            return f"{response.status_code}: {found['detail']}"
        return " ".join(sentence["text"] for sentence in found["sentences"]) or str(found["reason"])

    def set_clock(self, seconds: float) -> None:
        """Let its wall clock be so many seconds ahead, from now on."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(seconds), encoding="utf-8")
        new.replace(self._clock)


def _main() -> None:
    clock, *arguments = sys.argv[1:]
    shift(lambda: float(Path(clock).read_text(encoding="utf-8")))
    from rag.cli import main

    main(arguments, prog_name="rag")


if __name__ == "__main__":
    _main()
