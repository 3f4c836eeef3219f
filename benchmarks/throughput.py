"""Questions a second of a real `rag serve`, beside what bounds them; needs an index (`rag index`).

python benchmarks/throughput.py [--questions 300] [--workers 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLERS = (1, 8, 64)


def request(port: int, method: str, path: str, value: object = None) -> bytes:
    """A request as it goes over the wire."""
    body = b"" if value is None else json.dumps(value).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def caller(port: int, waiting: list[bytes], took: list[float], refused: list[int]) -> None:
    """Send one request after another over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while waiting:
        sent = waiting.pop()
        began = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        if (status := int(head.split()[1])) != 200:
            refused.append(status)
    writer.close()


async def load(port: int, requests: list[bytes], callers: int) -> tuple[float, list[float], int]:
    """Requests a second, seconds of each, and how many were not answered with 200."""
    took: list[float] = []
    refused: list[int] = []
    waiting, began = requests[::-1], time.perf_counter()
    await asyncio.gather(*(caller(port, waiting, took, refused) for _ in range(callers)))
    return len(took) / (time.perf_counter() - began), sorted(took), len(refused)


def encoding(questions: list[str]) -> float:
    """Questions a second that are encoded alone, with as many threads as cores."""
    from rag.index.encode import ENCODER, OnnxEncoder
    from rag.index.store import IndexFolder

    encoder = OnnxEncoder(IndexFolder(ROOT / "index").checked()[0] / ENCODER)
    encoder.encode(questions[:10])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        began = time.perf_counter()
        list(pool.map(lambda question: encoder.encode([question]), questions))
    return len(questions) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    count = given.questions
    rows = [json.loads(line) for line in (ROOT / "evals/questions.jsonl").read_text().splitlines()]
    few = [row["question"] for row in rows][:50]
    fresh = (f"{question} ({n})" for n, question in enumerate(cycle(few)))  # another text, so another vector
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rag", "serve", "--port", str(port), "--workers", str(given.workers)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
                    break
                time.sleep(0.1)
            print(f"{count} requests a row, {given.workers} workers, {os.cpu_count()} cores, the caller's among them")
            print(f"{'':10} callers  a second  p50 ms  p95 ms  not answered  of encoding alone")
            for callers in CALLERS:
                for what in ("health", "distinct", "repeated"):
                    if what == "health":
                        requests = [request(port, "GET", "/healthz")] * count
                    else:
                        source = fresh if what == "distinct" else cycle(few)
                        asked = [next(source) for _ in range(count)]
                        requests = [request(port, "POST", "/v1/ask", {"question": question}) for question in asked]
                    bound = encoding([next(fresh) for _ in range(count)]) if what == "distinct" else None
                    rate, took, refused = asyncio.run(load(port, requests, callers))
                    share = f"{rate / bound:.2f} (of {bound:.0f} a second)" if bound else ""
                    p95 = took[int(0.95 * len(took))]
                    print(
                        f"{what:10} {callers:7} {rate:9.1f} {1000 * statistics.median(took):7.1f} {1000 * p95:7.1f} "
                        f"{refused:13}  {share}",
                        flush=True,
                    )
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
