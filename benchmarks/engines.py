"""The same passages in an index folder and in Milvus: what building and asking each cost, in one run.

python benchmarks/engines.py [--passages 100000] [--questions 100] [--kind auto] [--index index] [--keep FOLDER]

The corpus is that of scale.py, its vectors made up; making them up is in no figure. Milvus is a milvus-lite server of
our own, or the cluster that RAG_MILVUS_URI (and RAG_MILVUS_TOKEN) names. Each engine is built and asked by processes of
its own; a question goes to the one, then to the other. Writes ENGINES.md beside this file. What is built stays in the
folder to keep, and is only asked the next time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from scale import HERE, Synthetic
from summary import figure, ratio, table

FOLDER, MILVUS = "folder", "milvus"
ENGINES = (FOLDER, MILVUS)
PARTS = ("hybrid", "dense", "bm25")
FILTERS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "kind (1 in 3)": {"kinds": ("review",)},
    "years (1 in 5)": {"since": "2012-01-01", "until": "2014-12-31"},
    "topic (1 in 43)": {"topics": ("topic 5",)},
    "episode (1 in 1,000)": {"episodes": ("E026",)},
}
ROUNDS, UP, K = 5, 3, 10
"""Rounds, questions of each kind that are asked before and not timed, and passages that are asked for."""
TIMEOUT = 120.0
"""Seconds that a call may take: what is slow is to be measured."""


@dataclass(slots=True)
class Asked:
    """One kind of search under one filter: milliseconds by engine and round, and how much both found alike."""

    part: str
    filter: str
    took: dict[str, list[list[float]]] = field(default_factory=lambda: {engine: [] for engine in ENGINES})
    alike: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built: `source` is an index of our corpus, `folder` holds both engines' indexes.

    `kind` is of Milvus's index of vectors.
    """

    source: Path
    folder: Path
    passages: int
    kind: str

    @property
    def prefix(self) -> str:
        """Begins the names of Milvus's collections."""
        return f"bench_engines_{self.passages}_{self.kind}"

    def command(self, what: str, engine: str, *more: object) -> list[str]:
        """A process that does a part of it, which `main` reads."""
        values = (self.source, self.folder, self.passages, self.kind, *more)
        return [sys.executable, str(Path(__file__).resolve()), what, engine, *map(str, values)]


def overlap(some: Sequence[str], others: Sequence[str]) -> float:
    """Which share of the longer list the other one has too, in 0..1.

    >>> overlap(["a", "b"], ["b", "c"]), overlap([], []), overlap(["a"], [])
    (0.5, 1.0, 0.0)
    """
    longest = max(len(some), len(others))
    return len({*some} & {*others}) / longest if longest else 1.0


def percentile(values: Sequence[float], percent: int) -> float:
    """Between the two nearest values, linearly.

    >>> percentile([1.0, 2.0, 3.0], 50), percentile([1.0], 95)
    (2.0, 1.0)
    """
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def asked_table(cases: Sequence[Asked]) -> str:
    """Milliseconds over all rounds; the ratio of p50s, Milvus's over the folder's, is the median over rounds."""
    rows = []
    for case in cases:
        every = {engine: [ms for each in case.took[engine] for ms in each] for engine in ENGINES}
        middles = {engine: [percentile(each, 50) for each in case.took[engine]] for engine in ENGINES}
        times = [figure(percentile(every[engine], percent)) for engine in ENGINES for percent in (50, 95)]
        slower = ratio(middles[FOLDER], middles[MILVUS], higher=False)
        rows.append([case.part, case.filter, *times, str(slower), f"{statistics.mean(case.alike):.3f}"])
    head = ["search", "filter", "folder p50", "p95", "Milvus p50", "p95", "Milvus / folder", "overlap@10"]
    return table(head, rows)


def costs_table(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """A measure a row; what is not known stays empty."""
    rows = []
    for name, of in found.items():
        ours, theirs = (of.get(engine) for engine in ENGINES)
        share = figure(theirs / ours) if ours and theirs else ""
        rows.append([name, *("" if value is None else figure(value) for value in (ours, theirs)), share])
    return table(["", "folder", "Milvus", "Milvus / folder"], rows)


def costs(
    built: Mapping[str, Mapping[str, Any]], asking: Mapping[str, float | None]
) -> dict[str, dict[str, float | None]]:
    """What an engine costs beside its time for a question."""

    def of(what: Callable[[Mapping[str, Any]], float | None]) -> dict[str, float | None]:
        return {engine: what(built[engine]) for engine in ENGINES}

    return {
        "passages a second": of(lambda b: b["build"]["passages"] / b["build"]["seconds"]),
        "building, s": of(lambda b: b["build"]["seconds"]),
        "a change of 1 in 100, s": of(lambda b: b["change"]["seconds"]),
        "memory building, our process, MiB": of(lambda b: b["build"]["peak_mib"]),
        "memory building, server, MiB": of(lambda b: b["build"]["server_mib"]),
        "memory asking, our process, MiB": {engine: asking[engine] for engine in ENGINES},
        "memory asking, server, MiB": {MILVUS: asking["server"]},
        "on disk, MiB": of(lambda b: b["build"]["disk_mib"]),
    }


def page(costs: str, asked: str, given: argparse.Namespace, cluster: str, load: float, versions: str) -> str:
    """What is written down; `cluster` is the address of the Milvus, empty where it was milvus-lite."""
    which = (
        f"Milvus is the cluster at {cluster}; what it holds in memory and on disk is not known here."
        if cluster
        else "**Milvus is milvus-lite here: one process, written in Python, that stands in for a cluster in tests. Its "
        "speed and memory say nothing of a cluster's.** What our own process holds, and how far BM25 agrees, carry "
        "over; how far vectors agree depends on the index that a Milvus makes of them."
    )
    command = (
        f"python benchmarks/engines.py --passages {given.passages} --questions {given.questions} --kind {given.kind}"
    )
    return "\n\n".join(
        (
            "# A folder and Milvus",
            f"`{command}`, which says how; {versions}; {os.cpu_count()} cores, shared by all; load before it began: "
            f"{load:.1f}. Generated; do not edit.",
            which,
            f"## {given.passages:,} passages, each a vector",
            costs,
            "One build each. Making up texts and vectors is left out of the time. Memory is a process's peak, "
            "resident, with the mapped pages of the index; milvus-lite is started anew between building and asking. On "
            "disk is the first build, with its encoder.",
            "## A question, in milliseconds",
            asked,
            f"The ten best, beside encoding the question; {given.questions} questions a line, no question twice. Each "
            "goes to the folder, then to Milvus, over a connection. The ratio is of the p50s of a round, median (least "
            f"to greatest of {ROUNDS} rounds). Overlap is the share of the ten that both found; Milvus's index of "
            f"vectors is `{given.kind}` (docs/milvus.md).",
        )
    )


def peak_mib(pid: int) -> float | None:
    """The most that a process has held resident, None where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def disk_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Four lines on stderr."""
    for number, item in enumerate(items, 1):
        yield item
        if number * 4 // total > (number - 1) * 4 // total:
            print(f"    {what}: {number:,} of {total:,}", file=sys.stderr)


class Timed(Synthetic):
    """Synthetic, and how many seconds making up took."""

    def __init__(self, index: Path) -> None:
        super().__init__(index)
        self.seconds = 0.0

    def documents(self, passages: int, edition: int = 0) -> Iterator[Any]:
        """As Synthetic's."""
        documents = super().documents(passages, edition)
        while document := self._timed(lambda: next(documents, None)):
            yield document

    def encode(self, texts: Sequence[str]) -> Any:
        """As Synthetic's."""
        return self._timed(lambda: super(Timed, self).encode(texts))

    def _timed(self, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += time.perf_counter() - began


def generations(prefix: str) -> Any:
    """Those of the index in the Milvus that RAG_MILVUS_URI names."""
    from rag.index.milvus.client import Address, Engine
    from rag.index.milvus.published import Generations

    token = os.environ.get("RAG_MILVUS_TOKEN", "")
    return Generations(Engine(Address(os.environ["RAG_MILVUS_URI"], token, prefix=prefix, timeout=TIMEOUT)))


def build(plan: Plan, engine: str, edition: int) -> dict[str, Any]:
    """Build an index, or change it."""
    from rag.index.build import build as in_folder
    from rag.index.milvus.build import build as in_milvus
    from rag.index.store import IndexFolder

    made, target = Timed(plan.source), plan.folder / engine
    options: dict[str, Any] = {"sentence_vectors": False, "opened": lambda _: made, "progress": progress}
    documents = made.documents(plan.passages, edition)
    began = time.perf_counter()
    if engine == MILVUS:
        report = in_milvus(documents, generations(plan.prefix), target, vectors=plan.kind, **options)
    else:
        donors = [IndexFolder(plan.source)]
        report = in_folder(documents, IndexFolder(target), places=False, donors=donors, **options)
    seconds = time.perf_counter() - began - made.seconds
    return {
        "seconds": seconds,
        "passages": report.passages,
        "encoded": report.encoded,
        "peak_mib": peak_mib(os.getpid()),
    }


def answer(plan: Plan, engine: str) -> None:
    """Open an index, and answer each line of stdin, [number, part, filter], by [milliseconds, ids]."""
    import numpy as np

    from rag.index.dense import PASSAGES, DenseRetriever
    from rag.index.library import IndexLibrary
    from rag.index.milvus.library import MilvusLibrary
    from rag.index.milvus.retrieve import MilvusDense, MilvusSparse
    from rag.index.sparse import FOLDER as TERMS
    from rag.index.sparse import TantivyRetriever
    from rag.index.store import IndexFolder
    from rag.index.vectors import VECTORS
    from rag.records import Filters, IndexInfo, Question
    from rag.search.compose import Hybrid, Tempered
    from rag.search.fuse import weighted

    made = Synthetic(plan.source)

    class Known:
        """Has the vector of the question at hand, so that making it up is not timed."""

        name, dimension = "known", made.dimension
        vectors = made.encode([])

        def encode(self, texts: Sequence[str]) -> np.ndarray:  # noqa: ARG002
            return self.vectors

    known = Known()
    library: Any
    dense: Any
    sparse: Any
    if engine == MILVUS:
        found = generations(plan.prefix)
        published = found.serving()
        library = MilvusLibrary(published, found.lineage(published.lineage))
        dense, sparse = MilvusDense(library, known), MilvusSparse(library)
    else:
        folder, manifest = IndexFolder(plan.folder / engine).checked(whole=False)
        library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, "synthetic"))
        vectors = np.load(folder / VECTORS, mmap_mode="r")
        dense = DenseRetriever(folder / PASSAGES, library, known, vectors=vectors)
        sparse = TantivyRetriever(folder / TERMS, library)
    hybrid = Hybrid([dense, Tempered(sparse, sparse)], weighted({"dense": 1.0, "bm25": 0.1}), library)
    parts = {"hybrid": hybrid, "dense": dense, "bm25": sparse}
    for line in sys.stdin:
        number, part, name = json.loads(line)
        question = Question(made.question(number), Filters(**FILTERS[name]))
        known.vectors = made.encode([question.text])
        began = time.perf_counter()
        hits = parts[part].retrieve(question, K)
        took = 1000 * (time.perf_counter() - began)
        print(json.dumps([took, [hit.passage.id for hit in hits]]), flush=True)


class Worker:
    """A process that holds one engine's index open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, *what: object) -> tuple[float, list[str]]:
        """Milliseconds, and the passages that were found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            sys.exit("a process that answers has ended; what it says stands above")
        took, found = json.loads(line)
        return took, found


@contextmanager
def worker(plan: Plan, engine: str) -> Iterator[Worker]:
    pipe = subprocess.PIPE
    with subprocess.Popen(plan.command("answer", engine), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@contextmanager
def lite(folder: Path) -> Iterator[int]:
    """The process of a milvus-lite server over a folder, whose address RAG_MILVUS_URI then is."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    there = ["--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "milvus_lite", "server", *there], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"milvus-lite does not start:\n{(folder / 'log').read_text()[-1000:]}")
            time.sleep(0.1)
        os.environ["RAG_MILVUS_URI"] = f"http://127.0.0.1:{port}"
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def measure_building(plan: Plan, engine: str, server: int | None) -> dict[str, Any]:
    """Build an index, and change one document in a hundred; `server` is the process of milvus-lite."""
    target, made = plan.folder / engine, dict[str, Any]()
    if engine == MILVUS and not target.exists():  # for the encoder
        shutil.copytree(plan.source, target, ignore=shutil.ignore_patterns("collections", ".*"))
    for edition, name in enumerate(("build", "change")):
        print(f"  {engine}: {name}", file=sys.stderr)
        done = subprocess.run(plan.command("build", engine, edition), check=True, stdout=subprocess.PIPE, text=True)
        held = plan.folder / "server" if engine == MILVUS else target
        made[name] = {
            **json.loads(done.stdout.splitlines()[-1]),
            "server_mib": peak_mib(server) if server and engine == MILVUS else None,
            "disk_mib": disk_mib(held) if server or engine == FOLDER else None,
        }
        print(f"  {engine}: {name}: {json.dumps(made[name])}", file=sys.stderr)
    return made


def measure_asking(plan: Plan, questions: int, server: int | None) -> tuple[list[Asked], dict[str, float | None]]:
    """What each search under each filter took and found, and how much memory that was."""
    cases = [Asked(part, filter) for filter in FILTERS for part in PARTS]
    numbers = count()
    with ExitStack() as stack:
        workers = {e: stack.enter_context(worker(plan, e)) for e in ENGINES}

        def ask(case: Asked) -> dict[str, tuple[float, list[str]]]:
            number = next(numbers)
            return {engine: workers[engine].ask(number, case.part, case.filter) for engine in ENGINES}

        for case in cases:
            for _ in range(UP):
                ask(case)
        for round in range(ROUNDS):
            for case in cases:
                answers = [ask(case) for _ in range(questions // ROUNDS)]
                for engine in ENGINES:
                    case.took[engine].append([each[engine][0] for each in answers])
                case.alike += [overlap(each[FOLDER][1], each[MILVUS][1]) for each in answers]
            print(f"  asking: round {round + 1} of {ROUNDS}", file=sys.stderr)
        held = {engine: peak_mib(workers[engine].pid) for engine in ENGINES}
    return cases, held | {"server": peak_mib(server) if server else None}


def measure(plan: Plan, questions: int, cluster: str) -> tuple[str, str]:
    """The tables of costs and of questions."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    told = plan.folder / "built.json"

    @contextmanager
    def served() -> Iterator[int | None]:
        if cluster:
            yield None
        else:
            with lite(plan.folder / "server") as pid:
                yield pid

    if not told.exists():
        with served() as server:
            made = {engine: measure_building(plan, engine, server) for engine in ENGINES}
        told.write_text(json.dumps(made))
    with served() as server:
        cases, held = measure_asking(plan, questions, server)
    return costs_table(costs(json.loads(told.read_text()), held)), asked_table(cases)


def drop(prefix: str) -> None:
    """Leave nothing in a cluster."""
    from pymilvus import MilvusClient

    client = MilvusClient(os.environ["RAG_MILVUS_URI"], token=os.environ.get("RAG_MILVUS_TOKEN", ""))
    for name in client.list_collections():
        if name.startswith(f"{prefix}_"):
            client.drop_collection(name)


def main() -> None:
    if sys.argv[1:2] in (["build"], ["answer"]):
        what, engine, source, target, passages, kind, *more = sys.argv[1:]
        plan = Plan(Path(source), Path(target), int(passages), kind)
        if what == "answer":
            answer(plan, engine)
        else:
            print(json.dumps(build(plan, engine, int(more[0]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=100, help="of each kind of search under each filter")
    parser.add_argument("--kind", default="auto", help="of Milvus's index of vectors: FLAT, HNSW, …")
    parser.add_argument("--index", type=Path, default=Path("index"), help="of our corpus; `rag index` builds it")
    parser.add_argument("--keep", type=Path, help="folder for what is built; by default it is removed at the end")
    given = parser.parse_args()
    if given.passages < 1000 or given.questions < ROUNDS:
        parser.error(f"give at least 1000 passages and {ROUNDS} questions")
    cluster, load = os.environ.get("RAG_MILVUS_URI", ""), os.getloadavg()[0]
    names = ("pymilvus",) if cluster else ("pymilvus", "milvus-lite")
    versions = ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {importlib.metadata.version(name)}" for name in names)]
    )
    with tempfile.TemporaryDirectory(dir=HERE) as name:
        folder = (given.keep or Path(name)) / f"{given.passages}-{given.kind}-{'cluster' if cluster else 'lite'}"
        plan = Plan(given.index, folder, given.passages, given.kind)
        try:
            tables = measure(plan, given.questions, cluster)
        finally:
            if cluster and not given.keep:
                drop(plan.prefix)
    text = page(*tables, given, cluster, load, versions)
    (HERE / "ENGINES.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
