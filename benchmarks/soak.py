"""Mixed traffic for long against a real `rag serve`, whose index is built anew meanwhile; needs an index (`rag index`).

python benchmarks/soak.py [--requests 36000] [--workers 1] [--callers 8] [--slices 12]

Writes `benchmarks/SOAK.md`, and ends with 1 where anything is not as it has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from summary import table
from traffic import Seen, Traffic, Wrong

ROOT = Path(__file__).resolve().parents[1]
WAITING = 16
"""Questions that wait for a core: few, so that some are sent away."""
AT_ONCE = 60
"""Questions that are asked at once, in the middle of each slice."""
WARM = 9_000
"""Requests until a server is warm: it has all its threads, and as many vectors of questions as it keeps."""
GROWTH = 0.1
"""How much of its memory a server that is warm may grow by."""
FEWEST = 4
"""Slices that growth is judged by, at least."""
STOP = 15.0
"""Seconds that a server has to end."""
SAID = "The build numbered {} of a long stretch changes this sentence alone."


@dataclass(frozen=True, slots=True)
class Reading:
    """What the server's processes hold together, once a slice is over and nobody is connected."""

    mib: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the run."""

    seen: Seen
    reading: Reading


@dataclass(frozen=True, slots=True)
class Trend:
    """Growth a slice, least squares, with its 95% interval; without bounds where there are too few slices."""

    slope: float
    low: float
    high: float


def trend(values: Sequence[float]) -> Trend:
    """How values grow.

    >>> trend([1.0, 2.0, 3.0, 4.0]).slope
    1.0
    """
    if len(values) < FEWEST:
        return Trend(0.0, float("-inf"), float("inf"))
    from scipy import stats

    found = stats.linregress(range(len(values)), values)
    half = float(stats.t.ppf(0.975, len(values) - 2) * found.stderr)
    return Trend(float(found.slope), float(found.slope) - half, float(found.slope) + half)


def grows(values: Sequence[float]) -> bool:
    """Whether memory leaks: the interval's lower end alone makes more than GROWTH of what was held at first."""
    return len(values) >= FEWEST and trend(values).low * (len(values) - 1) > GROWTH * values[0]


def leaks(values: Sequence[int]) -> bool:
    """Whether each of the last third is above all of the first: what comes and goes is not."""
    third = max(len(values) // 3, 1)
    return len(values) >= FEWEST and min(values[-third:]) > max(values[:third])


def family(pid: int) -> list[int]:
    """A process and those below it that serve."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    return [pid, *(below for child, parent in parents.items() if parent == pid for below in family(child))]


def read(pid: int) -> Reading:
    """What the processes of a server hold; pages that they share count once for each."""
    mib, files, threads = 0.0, 0, 0
    for each in family(pid):
        values = dict(line.split(":", 1) for line in Path(f"/proc/{each}/status").read_text().splitlines())
        mib += int(values["VmRSS"].split()[0]) / 1024
        threads += int(values["Threads"])
        files += len(os.listdir(f"/proc/{each}/fd"))  # noqa: PTH208
    return Reading(mib, files, threads)


async def settled(pid: int) -> Reading:
    """The same, once it holds no fewer files than a second ago, which is at most ten seconds from now."""
    before = read(pid)
    for _ in range(10):
        await asyncio.sleep(1)
        if (now := read(pid)).files >= before.files:
            return now
        before = now
    return before


@dataclass
class Soak:
    """One server, what it is asked, and what was wrong."""

    pid: int
    url: str
    index: Path
    corpus: Path
    questions: tuple[list[str], list[str]]
    documents: list[str]
    random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311
    wrong: Counter[str] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)
    builds: int = 0

    async def slice(self, requests: int, callers: int) -> Slice:
        """A part of the traffic, with a build under way, and a rush in its middle."""
        seen = Seen()
        building = asyncio.create_task(asyncio.to_thread(self.build))
        left, rush = iter(range(requests - AT_ONCE)), (requests - AT_ONCE) // 2
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=callers)
        async with httpx.AsyncClient(base_url=self.url, timeout=60, limits=limits, trust_env=False) as client:
            traffic = Traffic(client, self.random, *self.questions, self.documents, seen)

            async def call() -> None:
                for number in left:
                    await self.right(traffic.one())
                    if number == rush:
                        seen.counts["at once"] += AT_ONCE
                        asked = (traffic.ask(self.random.choice(self.questions[0]), False) for _ in range(AT_ONCE))
                        await asyncio.gather(*map(self.right, asked))

            await asyncio.gather(*(call() for _ in range(callers)))
        await building
        return Slice(seen, await settled(self.pid))

    async def right(self, request: Awaitable[None]) -> None:
        """A request, whose fault is counted and not raised."""
        try:
            await request
        except Wrong as error:
            self.wrong[str(error)] += 1
        except (httpx.HTTPError, ValueError) as error:
            self.wrong[f"no response: {type(error).__name__}"] += 1

    def build(self) -> None:
        """Change the corpus, and build its index anew."""
        self.builds += 1
        page = self.corpus / "reviews" / "soak.md"
        page.write_text(f"---\ntitle: A soak\n---\n{SAID.format(self.builds)}\n", encoding="utf-8")
        command = [sys.executable, "-m", "rag", "--index", str(self.index), "index", "--corpus", str(self.corpus)]
        if subprocess.run(command, cwd=self.index.parent, capture_output=True).returncode:
            self.wrong["a build failed"] += 1
        self.known.add(generation(self.index))

    async def stop(self, process: subprocess.Popen[bytes], under_way: int = 4) -> bool:
        """Whether a server that is told to stop answers what is under way, and ends with 0 in time."""
        body, head_read, go_on = json.dumps({"question": self.questions[0][0]}).encode(), 0, asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            nonlocal head_read
            yield body[:5]
            head_read += 1
            await go_on.wait()
            yield body[5:]

        headers = {"content-type": "application/json", "content-length": str(len(body))}
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            posts = (client.post("/v1/ask", content=slowly(), headers=headers) for _ in range(under_way))
            asked = list(map(asyncio.create_task, posts))
            while head_read < under_way:
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)  # for the server to have read what was sent
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1)
            go_on.set()
            answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if not isinstance(answer, httpx.Response) or answer.status_code != 200:
                self.wrong[f"under way at SIGTERM: {answer!r}"] += 1
                return False
        try:
            return process.wait(STOP) == 0
        except subprocess.TimeoutExpired:
            return False


def generation(index: Path) -> str:
    """The one that serves."""
    return (index / "CURRENT").read_text(encoding="utf-8").split()[0]


@contextmanager
def served(folder: Path, index: Path, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`rag serve` in a process of its own, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RAG_SERVE__WAITING": str(WAITING), "RAG_SERVE__WORKERS": str(workers)}
    command = [sys.executable, "-m", "rag", "--index", str(index), "serve", "--port", str(port)]
    with (
        (folder / "log.txt").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                        break
                time.sleep(0.1)
            yield process, url
        finally:
            process.kill()


def judged(slices: Sequence[Slice], soak: Soak) -> dict[str, bool]:
    """What has to hold, and whether it does."""
    sizes = [sum(count for kind, count in each.seen.counts.items() if kind != "sent away") for each in slices]
    warm = [each.reading for each, had in zip(slices, accumulate(sizes), strict=True) if had > WARM]
    mib = [each.mib for each in warm]
    found = trend(mib)
    slope = f"{found.slope:+.2f} MiB a slice, 95% from {found.low:+.2f} to {found.high:+.2f}, over {len(warm)} slices"
    if len(warm) < FEWEST:
        slope = "too short a run to tell; nor for files and threads"
    answered = {name for each in slices for name in each.seen.generations}
    return {
        "no response but those that are meant": not soak.wrong,
        "every answer is of an index that was built here": answered <= soak.known,
        "every index has answered, the last one perhaps not": len(soak.known - answered) <= 1,
        "some questions were sent away, with Retry-After": any(each.seen.counts["sent away"] for each in slices),
        f"memory does not grow by more than {GROWTH:.0%} ({slope})": not grows(mib),
        "open files do not grow": not leaks([each.files for each in warm]),
        "threads do not grow": not leaks([each.threads for each in warm]),
    }


def page(slices: Sequence[Slice], verdicts: dict[str, bool], soak: Soak, given: argparse.Namespace, took: float) -> str:
    """What is written down."""
    rows = []
    for number, each in enumerate(slices, 1):
        cuts = statistics.quantiles(each.seen.took, n=100)
        asked = sum(count for kind, count in each.seen.counts.items() if kind != "sent away")
        held = each.reading
        rows.append(
            [
                *(str(number), str(asked), str(each.seen.counts["sent away"]), str(len(each.seen.generations))),
                *(f"{cuts[49]:.0f}", f"{cuts[94]:.0f}", f"{held.mib:.0f}", str(held.files), str(held.threads)),
            ]
        )
    kinds = sum((each.seen.counts for each in slices), Counter[str]())
    head = ["slice", "requests", "sent away", "generations", "p50 ms", "p95 ms", "MiB", "open files", "threads"]
    lines = [f"- {'yes' if so else 'NO'}: {what}" for what, so in verdicts.items()]
    lines += [f"- wrong, {count} times: {what}" for what, count in soak.wrong.most_common()]
    shares = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common() if kind != "sent away")
    command = f"python benchmarks/soak.py --requests {given.requests} --workers {given.workers}"
    return "\n\n".join(
        (
            "# A long stretch of traffic",
            f"`{command}`, {given.callers} callers, {took / 60:.0f} minutes, {soak.builds} builds under way; Python "
            f"{platform.python_version()}, {os.cpu_count()} cores shared with the callers and the builds. Generated; "
            "do not edit.",
            f"Requests: {shares}.",
            table(head, rows),
            f"In the middle of each slice {AT_ONCE} questions are asked at once, of which {WAITING} may wait; the "
            "milliseconds are of the others. Memory is resident, of all processes together, with the mapped pages of "
            "the index; it, open files and threads are read at the end of a slice, once nobody is connected. "
            f"Growth is judged from request {WARM:,} on.",
            "\n".join(lines),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=36_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "SOAK.md")
    given = parser.parse_args()
    if given.requests < 2 * AT_ONCE * given.slices:
        parser.error(f"--requests {given.requests} are too few for {given.slices} slices; give {2 * AT_ONCE} for each")
    asked = [json.loads(line) for line in (ROOT / "evals/questions.jsonl").read_text(encoding="utf-8").splitlines()]
    answerable = [row["question"] for row in asked if row.get("quotes")]
    unanswerable = [row["question"] for row in asked if not row.get("quotes")]
    with TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        index = shutil.copytree(ROOT / "index", folder / "index", ignore=shutil.ignore_patterns("collections", ".*"))
        corpus = shutil.copytree(ROOT / "corpus", folder / "corpus")
        documents = [f"{path.parent.name}/{path.stem}" for path in sorted(corpus.glob("*/*.md"))]
        with served(folder, index, given.workers) as (process, url):
            soak = Soak(process.pid, url, index, corpus, (answerable, unanswerable), documents)
            soak.known.add(generation(index))
            began, slices = time.perf_counter(), list[Slice]()
            for number in range(given.slices):
                slices.append(asyncio.run(soak.slice(given.requests // given.slices, given.callers)))
                each = slices[-1]
                print(f"slice {number + 1}: {each.reading}, p50 {statistics.median(each.seen.took):.0f} ms", flush=True)
            took = time.perf_counter() - began
            verdicts = judged(slices, soak)
            verdicts["SIGTERM ends it with 0, once what is under way is answered"] = asyncio.run(soak.stop(process))
        text = page(slices, verdicts, soak, given, took)
        given.out.write_text(text + "\n", encoding="utf-8")
        print(text)
        if not all(verdicts.values()):
            print((folder / "log.txt").read_text(errors="replace")[-2000:], file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
