"""What a corpus costs as it grows, to a million passages; the vectors are made up, so that encoding is left out.

python benchmarks/scale.py [--sizes 1000 10000 100000 200000 1000000] [--keep FOLDER]

Texts are words of our corpus as often as it has them, around one of its passages; vectors lie around one of its vectors
as far apart as its vectors do. Every size is built, changed by one passage in a hundred, opened and asked, each in a
process of its own; asking is on one core. Writes SCALE.md and scale.png beside this file. What is built stays in the
folder to keep, and is only asked the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PER_DOCUMENT, QUESTIONS, K = 10, 200, 10
KINDS = ("flat", "pq", "ivf")


class Synthetic:
    """Documents, and an encoder for their passages and for questions about them."""

    name = "synthetic"

    def __init__(self, index: Path) -> None:
        from rag.index.store import IndexFolder
        from rag.index.vectors import VECTORS

        folder = IndexFolder(index).current()[0]
        lines = (folder / "passages.jsonl").read_text(encoding="utf-8").splitlines()
        self.words = [[w.strip(".,;:()“”\"'") for w in json.loads(line)["text"].split()] for line in lines]
        self.every = [word for words in self.words for word in words]
        self.base = np.load(folder / VECTORS)
        self.dimension = self.base.shape[1]

    def documents(self, passages: int, edition: int = 0) -> Iterator[Any]:
        """Documents of ten passages each; in edition 1 one in a hundred is another."""
        from rag.records import Document, Paragraph

        for number in range(passages // PER_DOCUMENT):
            random = np.random.default_rng([number, edition if number % 100 == 7 else 0])
            topic = int(random.integers(len(self.words)))
            blocks = [self.text(topic, random) for _ in range(PER_DOCUMENT)]
            starts = np.cumsum([0, *(len(block) + 2 for block in blocks)]).tolist()
            yield Document(
                id=f"reviews/{number:06d}",
                kind=("review", "episode", "concept")[number % 3],
                title=f"Topic {topic}",
                text="\n\n".join(blocks),
                paragraphs=tuple(Paragraph(s, s + len(b)) for s, b in zip(starts, blocks, strict=False)),
                topics=(f"topic {topic // 8}",),
                date=f"20{10 + number % 15}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            )

    def text(self, topic: int, random: np.random.Generator) -> str:
        """Four sentences, half of their words from the topic's passage; one cites an episode."""
        sentences = []
        for at in range(4):
            own = random.choice(len(self.words[topic]), 7)
            more = random.integers(0, len(self.every), 7)
            words = [self.words[topic][i] for i in own] + [self.every[i] for i in more]
            cited = f" E{random.integers(1000):03d}" if at == 0 else ""
            sentences.append(" ".join(words).capitalize() + cited + ".")
        return " ".join(sentences)

    def question(self, number: int) -> str:
        """Six words of a topic."""
        random = np.random.default_rng([10**6, number])
        topic = int(random.integers(len(self.words)))
        return f"Topic {topic}\n" + " ".join(self.words[topic][i] for i in random.choice(len(self.words[topic]), 6))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Around the vector of the text's topic, as far from it as two others are from each other."""
        from rag.index.encode import text_key

        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            random = np.random.default_rng(text_key(text))
            one, other = random.integers(0, len(self.base), 2)
            topic = int(text.split("\n", 1)[0].rpartition(" ")[2])
            noise = 0.02 * random.standard_normal(self.dimension, dtype=np.float32)
            out[row] = self.base[topic] + 0.6 * (self.base[one] - self.base[other]) + noise
        unit: np.ndarray = out / np.linalg.norm(out, axis=1, keepdims=True)
        return unit


def built(source: Path, target: Path, passages: int, edition: int, kind: str) -> dict[str, float]:
    """Build or change an index of so many passages."""
    from rag.index.build import build
    from rag.index.store import IndexFolder

    synthetic = Synthetic(source)
    began = time.perf_counter()
    report = build(
        synthetic.documents(passages, edition),
        IndexFolder(target),
        sentence_vectors=False,
        places=False,
        donors=[IndexFolder(source)],
        vectors=kind,  # type: ignore[arg-type]
        opened=lambda _: synthetic,
    )
    seconds, work = time.perf_counter() - began, time.process_time()
    size = sum(p.stat().st_size for p in IndexFolder(target).current()[0].rglob("*") if p.is_file())
    found = {"seconds": seconds, "work": work, "encoded": report.encoded, "passages": report.passages}
    return found | {"mib": size / 2**20} | peak()


def peak() -> dict[str, float]:
    return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def asked(source: Path, target: Path) -> dict[str, Any]:
    """Open an index and ask it on one core, with and without filters; recall is against every vector compared."""
    import faiss

    from rag.index.dense import PASSAGES, DenseRetriever
    from rag.index.library import IndexLibrary
    from rag.index.sparse import FOLDER, TantivyRetriever
    from rag.index.store import IndexFolder
    from rag.index.vectors import VECTORS
    from rag.records import Filters, IndexInfo, Question
    from rag.search.compose import Hybrid, Tempered
    from rag.search.fuse import weighted

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    faiss.omp_set_num_threads(1)
    synthetic = Synthetic(source)
    questions = [synthetic.question(number) for number in range(QUESTIONS)]
    vector_of = dict(zip(questions, synthetic.encode(questions), strict=True))

    class Known:
        name, dimension = "known", synthetic.dimension

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.stack([vector_of[text] for text in texts])

    began = time.perf_counter()
    folder, manifest = IndexFolder(target).checked(whole=False)
    library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, "synthetic"))
    vectors = np.load(folder / VECTORS, mmap_mode="r")
    dense = DenseRetriever(folder / PASSAGES, library, Known(), vectors=vectors)
    sparse = TantivyRetriever(folder / FOLDER, library)
    hybrid = Hybrid([dense, Tempered(sparse, sparse)], weighted({"dense": 1.0, "bm25": 0.1}), library)
    found: dict[str, Any] = {"open_ms": 1000 * (time.perf_counter() - began)}

    block = np.ascontiguousarray(vectors[:100_000])
    timed = []
    for _ in range(7):
        began = time.perf_counter()
        float(block.sum())
        timed.append(time.perf_counter() - began)
    found["read_gb_s"] = block.nbytes / min(timed) / 1e9
    found["floor_ms"] = 1000 * len(vectors) * vectors.shape[1] * 4 / (found["read_gb_s"] * 1e9)

    at = np.load((folder / PASSAGES).with_suffix(".npy"))[1]
    wanted = np.stack(list(vector_of.values()))
    filters = {
        "all": Filters(),
        "kind (1 in 3)": Filters(kinds=("review",)),
        "years (1 in 5)": Filters(since="2012-01-01", until="2014-12-31"),
        "topic (1 in 43)": Filters(topics=("topic 5",)),
        "episode (1 in 1,000)": Filters(episodes=("E026",)),
    }
    found["filters"] = {}
    for name, filter in filters.items():
        rows = library.select(filter)
        rows = np.arange(len(library)) if rows is None else rows
        exact = best(np.asarray(vectors), at[rows], rows, wanted)
        times: dict[str, list[float]] = {"hybrid": [], "dense": [], "bm25": []}
        right = 0
        for number, text in enumerate([questions[0], *questions]):  # the first is asked twice, and timed once
            question = Question(text, filter)
            took = {}
            for part in (hybrid, dense, sparse):
                began = time.perf_counter()
                hits = part.retrieve(question, K if part is hybrid else 100)
                took["hybrid" if part is hybrid else part.name] = 1000 * (time.perf_counter() - began)
                if part is dense and number:
                    right += len(
                        {hit.passage.id for hit in hits[:K]} & {library.passage(r).id for r in exact[number - 1]}
                    )
            if number:
                for part_name, value in took.items():
                    times[part_name].append(value)
        found["filters"][name] = {
            "passages": len(rows),
            "recall": right / (QUESTIONS * min(K, max(1, len(rows)))),
            **{f"{part}_p50": float(np.percentile(of, 50)) for part, of in times.items()},
            **{f"{part}_p95": float(np.percentile(of, 95)) for part, of in times.items()},
        }
    return found | peak()


def best(vectors: np.ndarray, at: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> list[list[int]]:
    """The rows of the ten nearest vectors to each wanted one, every vector compared."""
    scores = np.full((len(wanted), 0), 0.0, dtype=np.float32)
    kept = np.empty((len(wanted), 0), dtype=np.int64)
    for start in range(0, len(at), 50_000):
        some = wanted @ vectors[at[start : start + 50_000]].T
        scores = np.concatenate([scores, some], axis=1)
        kept = np.concatenate([kept, np.broadcast_to(rows[start : start + 50_000], some.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        scores, kept = np.take_along_axis(scores, order, 1), np.take_along_axis(kept, order, 1)
    found: list[list[int]] = kept.tolist()
    return found


def child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def measure(index: Path, sizes: Sequence[int], keep: Path, only_ask: bool) -> list[dict[str, Any]]:
    """A row for each size, and each kind up to 200,000 passages; beyond that the chosen kind alone is built."""
    from rag.index.dense import kind_for

    rows = []
    for size in sizes:
        chosen = kind_for(size)
        for kind in KINDS if 10_000 <= size <= 200_000 else (chosen,):
            target = keep / f"{size}-{kind}"
            row: dict[str, Any] = {"passages": size, "kind": kind, "chosen": kind == chosen}
            for edition, name in enumerate(("build", "change") if kind == chosen else ("build",)):
                told = target / f"{name}.json"
                if not (told.exists() or only_ask):
                    told.parent.mkdir(exist_ok=True)
                    told.write_text(json.dumps(child("build", str(index), str(target), str(size), str(edition), kind)))
                row |= {name: json.loads(told.read_text())} if told.exists() else {}
            row |= child("ask", str(index), str(target))
            rows.append(row)
            print(
                f"{size:>9,} {kind:5}{' *' if kind == chosen else '  '} {json.dumps(row['filters']['all'])}",
                file=sys.stderr,
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "# As a corpus grows",
        "",
        "Made by `python benchmarks/scale.py`, which says how; asking is on one core, beside encoding the question.",
        "",
        "| passages | kept as | open | hybrid p50 | p95 | dense p95 | BM25 p95 | recall@10 | all vectors read once |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        a = r["filters"]["all"]
        name = f"**{r['kind']}**" if r["chosen"] else r["kind"]
        lines.append(
            f"| {r['passages']:,} | {name} | {r['open_ms']:.0f} ms | {a['hybrid_p50']:.1f} ms | "
            f"{a['hybrid_p95']:.1f} ms | {a['dense_p95']:.1f} ms | "
            f"{a['bm25_p95']:.1f} ms | {a['recall']:.3f} | {r['floor_ms']:.1f} ms |"
        )
    lines += ["", "The kind in bold is the one that is chosen for so many.", "", "## Building", ""]
    lines += [
        "| passages | build | work | its memory | a change of 1% | work | its memory | encoded again | on disk |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in filter(lambda r: r["chosen"] and "build" in r, rows):
        b, c = r["build"], r.get("change")
        changed = (
            f"{c['seconds']:.0f} s | {c['work']:.0f} s | {c['peak_mib']:.0f} MiB | {c['encoded']:,}"
            if c
            else "– | – | – | –"
        )
        lines.append(
            f"| {r['passages']:,} | {b['seconds']:.0f} s | {b['work']:.0f} s | {b['peak_mib']:.0f} MiB | "
            f"{changed} | {b['mib']:.0f} MiB |"
        )
    lines += ["", "Work is the processor's time, on however many cores; making up the vectors and texts is in both."]
    lines += [
        "",
        "## Filters",
        "",
        "| passages | filter | leaves | hybrid p50 | p95 | recall@10 |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    for r in filter(lambda r: r["chosen"], rows):
        for name, a in r["filters"].items():
            lines.append(
                f"| {r['passages']:,} | {name} | {a['passages']:,} | {a['hybrid_p50']:.1f} ms | "
                f"{a['hybrid_p95']:.1f} ms | {a['recall']:.3f} |"
            )
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """How long retrieval takes by the number of passages, and what reading every vector would."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    chosen = [r for r in rows if r["chosen"]]
    sizes = [r["passages"] for r in chosen]
    for part, label in (("hybrid", "hybrid"), ("dense", "dense"), ("bm25", "BM25")):
        axes.plot(sizes, [r["filters"]["all"][f"{part}_p95"] for r in chosen], marker="o", label=f"{label}, p95")
    for kind in KINDS:
        of = [r for r in rows if r["kind"] == kind]
        axes.plot(
            [r["passages"] for r in of],
            [r["filters"]["all"]["dense_p95"] for r in of],
            ":",
            alpha=0.6,
            label=f"dense, {kind}",
        )
    axes.plot(sizes, [r["floor_ms"] for r in chosen], "k--", linewidth=1, label="reading every vector once")
    axes.axhline(10, color="grey", linewidth=0.5)
    axes.set(xscale="log", yscale="log", xlabel="passages", ylabel="milliseconds on one core")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    if sys.argv[1:2] == ["build"]:
        source, target, passages, edition, kind = sys.argv[2:]
        print(json.dumps(built(Path(source), Path(target), int(passages), int(edition), kind)))
        return
    if sys.argv[1:2] == ["ask"]:
        print(json.dumps(asked(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 200_000, 1_000_000])
    parser.add_argument("--index", type=Path, default=Path("index"))
    parser.add_argument("--only-ask", action="store_true", help="build nothing: ask what is kept")
    parser.add_argument("--keep", type=Path, help="folder for what is built; by default it is removed at the end")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=HERE) as name:
        rows = measure(arguments.index, arguments.sizes, arguments.keep or Path(name), arguments.only_ask)
    (HERE / "scale.json").write_text(json.dumps(rows, indent=1) + "\n")
    (HERE / "SCALE.md").write_text(table(rows), encoding="utf-8")
    picture(rows, HERE / "scale.png")


if __name__ == "__main__":
    main()
