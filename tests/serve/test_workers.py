"""Real processes that serve one index together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from faults.tiny import AFTER, ANSWER, NEW_ANSWER, QUESTION, build_tiny, write_corpus
from live import eventually

TESTS = Path(__file__).resolve().parents[1]
LONGEST = 60  # seconds until a server is killed, whatever it does
BODY = f'{{"question": "{QUESTION}"}}'.encode()


@dataclass
class Served:
    """`rag serve` in a process of its own, with its workers."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    meets: Path  # the folder of its temporary files
    client: httpx.Client = field(default_factory=lambda: httpx.Client(headers={"connection": "close"}, timeout=20))

    def ask(self) -> str:
        """Over a connection of its own."""
        found = self.client.post(f"{self.url}/v1/ask", json={"question": QUESTION})
        assert found.status_code == 200, found.text
        return " ".join(sentence["text"] for sentence in found.json()["sentences"])

    def pids(self) -> list[int]:
        """Of the workers that began, in order."""
        return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", self.log.read_text())]

    def measured(self, name: str, **labels: str) -> dict[str, float]:
        """What each worker says of a measure."""
        text = self.client.get(f"{self.url}/metrics").text
        found = (s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name)
        return {s.labels["worker"]: s.value for s in found if labels.items() <= s.labels.items()}

    def everyone_answers(self, workers: int = 2) -> bool:
        return sum(self.measured("rag_worker_up").values()) == workers == len(self.measured("rag_index_passages"))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    pytest.importorskip("onnx", reason="making an encoder needs the `build` extra")
    build_tiny(write_corpus(tmp_path / "corpus"), tmp_path / "index")
    return tmp_path / "index"


@contextmanager
def serving(index: Path, *options: str) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    meets, log = index.parent / "meets", index.parent / "log.txt"
    meets.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    environment |= {"TMPDIR": str(meets), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "rag", "--index", str(index), "serve", "--port", str(port), "--workers", "2"]
    with (
        log.open("wb") as written,
        subprocess.Popen([*command, *options], cwd=index.parent, stderr=written, env=environment) as process,
    ):
        served = Served(process, f"http://127.0.0.1:{port}", log, meets)
        limit = threading.Timer(LONGEST, process.kill)
        limit.start()
        try:
            eventually(lambda: "Application startup complete" in log.read_text(), 30)
            eventually(served.everyone_answers, 30)
            yield served
        finally:
            limit.cancel()
            served.client.close()
            process.kill()
            eventually(lambda: not any(map(runs, served.pids())), 20)


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its entry, which nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def refuses(served: Served) -> bool:
    try:
        served.client.get(f"{served.url}/healthz")
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:
        pass
    return False


def mapped(pid: int, name: str) -> dict[str, int]:
    """What a process holds of a mapped file, in kB, by the kernel's names."""
    sums: dict[str, int] = {}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(f"/{name}")
        elif inside and (found := re.fullmatch(r"(\w+): +(\d+) kB", line)):
            sums[found[1]] = sums.get(found[1], 0) + int(found[2])
    return sums


def test_workers_share_the_work_the_pages_of_the_index_the_rate_and_a_scrape(index: Path) -> None:
    rate, since = 100, time.monotonic()
    with serving(index, "--rate", str(rate)) as served:

        def answered() -> dict[str, float]:
            return served.measured("rag_http_requests_total", route="/v1/ask", status="200")

        asked = 0
        while len(answered()) < 2:
            assert served.ask() == ANSWER
            asked += 1
            assert asked < 60, "one worker answers all"
        assert sum(answered().values()) == asked
        assert len(set(served.pids())) == 2
        assert [folder.stat().st_mode & 0o077 for folder in served.meets.glob("rag-*")] == [0]
        for pid in served.pids():
            for name in ("vectors.npy", "keys.npy"):
                held = mapped(pid, name)
                assert held["Shared_Clean"] == held["Rss"] > 0, (name, held)
                assert held["Private_Dirty"] == 0

        new = build_tiny(write_corpus(index.parent / "corpus", AFTER), index)
        eventually(lambda: set(served.measured("rag_index_passages", generation=new)) == {"1", "2"}, 30)
        assert len(served.measured("rag_index_passages")) == 2  # no other generation serves
        for _ in range(20):
            assert served.ask() == NEW_ANSWER
            asked += 1
        while served.client.get(f"{served.url}/v1/episodes").status_code == 200:
            asked += 1
        assert rate <= asked <= rate * (1 + (time.monotonic() - since) / 60) + 1


def test_a_worker_killed_takes_along_what_it_held_alone_and_a_drain_nothing(index: Path) -> None:
    callers, ends = 6, threading.Event()
    began_and_done: list[tuple[float, bool]] = []

    def call(served: Served) -> None:
        while not ends.is_set():
            began, done = time.monotonic(), False
            with suppress(httpx.HTTPError):
                done = served.ask() == ANSWER
            began_and_done.append((began, done))

    with serving(index) as served:
        threads = [threading.Thread(target=call, args=(served,)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: len(began_and_done) > 20, 30)
            os.kill(served.pids()[0], signal.SIGKILL)
            eventually(lambda: "ended with -9; another takes its place" in served.log.read_text(), 30)
            gone = time.monotonic()
            eventually(lambda: len(served.pids()) == 3, 30)
            eventually(served.everyone_answers, 30)
        finally:
            ends.set()
            for thread in threads:
                thread.join()
        lost = [began for began, done in began_and_done if not done]
        assert len(lost) <= callers
        assert all(began < gone for began in lost)
        assert sum(began > gone for began, _ in began_and_done) > 20

        under_way = [begun(served) for _ in range(8)]
        eventually(lambda: connections(served) >= 8, 30)
        served.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(served), 30)
        for connection in under_way:
            connection.sendall(BODY)
            answer = connection.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert ANSWER.encode() in answer
            connection.close()
        assert served.process.wait(20) == 0
        assert not any(map(runs, served.pids()))
        assert not list(served.meets.glob("rag-*"))


def begun(served: Served) -> socket.socket:
    """A request whose body is still to come."""
    url = httpx.URL(served.url)
    connection = socket.create_connection((url.host, url.port), timeout=20)
    head = f"POST /v1/ask HTTP/1.1\r\nhost: {url.host}\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}"
    connection.sendall(f"{head}\r\n\r\n".encode())
    return connection


def connections(served: Served) -> int:
    """Those to the server that a worker has taken, as the kernel lists them."""
    port = f":{httpx.URL(served.url).port:04X}"
    held = [link for pid in served.pids() for link in links(pid)]
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[1].endswith(port) and row[3] == "01" and f"socket:[{row[9]}]" in held for row in rows)


def links(pid: int) -> list[str]:
    """What the open files of a process are."""
    found = []
    with suppress(FileNotFoundError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(link.readlink()))
    return found


def test_no_worker_outlives_the_process_that_keeps_them(index: Path) -> None:
    with serving(index) as served:
        pids = served.pids()
        assert all(map(runs, pids))
        served.process.kill()
        eventually(lambda: not any(map(runs, pids)), 30)
        assert refuses(served)
        assert not list(served.meets.glob("rag-*"))


CODE = """
import logging, operator, socket, time
from rag.serve import workers

started = workers._started

def told(serve, listening, worker):
    print(worker.number, time.monotonic(), flush=True)
    return started(serve, listening, worker)

workers.PAUSE, workers._started = 0.7, told
workers.keep(operator.is_, socket.create_server(("127.0.0.1", 0)), 2)
"""


def test_workers_that_end_at_once_are_begun_anew_no_sooner_than_said() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        limit = threading.Timer(LONGEST, process.kill)
        limit.start()
        try:
            assert process.stdout
            rows = [process.stdout.readline().split() for _ in range(6)]
            process.terminate()
            assert process.wait(20) == 0
        finally:
            limit.cancel()
            process.kill()
    for number in (b"1", b"2"):
        starts = [float(when) for name, when in rows if name == number]
        assert len(starts) == 3
        assert all(later - earlier >= 0.7 for earlier, later in pairwise(starts))


@pytest.mark.parametrize("wrong", [["--keys", "missing.txt"], ["--workers", "65"]])
def test_what_cannot_be_served_is_said_once_and_begins_no_worker(
    tmp_path: Path, wrong: list[str], serve: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = serve("--workers", "2", *wrong)
    assert done.returncode == 2
    assert done.stderr.startswith("rag: ")
    assert done.stderr.count("\n") == 1


def test_an_address_in_use_is_said_as_ever(serve: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve("--workers", "2", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "give another --host or --port" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "rag", "serve", "--port", port, *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LONGEST)

    return run
