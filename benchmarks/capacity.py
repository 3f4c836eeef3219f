"""What an index in Milvus takes, by arithmetic: the tables of docs/scale.md, which says where each number is from.

python benchmarks/capacity.py [--measure INDEX]

With --measure, prints what an index folder has of the numbers below that are our own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SENTENCES = 3.5
"""Sentences of a passage: 2.7 in our corpus, 4 in `scale.py`."""
TERMS = 47
"""Different index terms of a passage."""
TEXT = 2_536
"""Bytes of a passage and its share of its document, as JSON."""
ROW = 137
"""Bytes of a vector's row besides it: four names of 16, two generations of 8, and 57 of what filters look at."""
OWN_RATE, SENTENCE_RATE = 64, 139
"""Texts that one core encodes in a second: passages, sentences."""

VECTOR = 384 * 4
LINK, POSTING = 4, 8
M, AUTO_M, SUBQUANTISERS = 30, 18, 48
DEGREE, SECTOR, CODES, CACHED = 56, 4_096, 0.125, 0.1
GPU_RATE = 14_200
SEGMENT, DISK_SEGMENT = 1_024 * 2**20, 2_048 * 2**20
SHARD, MOST_SHARDS = 100e9, 16

REPLICAS, NODE, FILLED, COPIES = 2, 128e9, 0.7, 2
"""Chosen: replicas, memory of a query node, the share of it and of its disk that is planned for, and how often object
storage holds what there is, since what compaction has merged stays for a while."""
BUILDING = 25
"""Bytes for each row of the largest partition, in the machine that builds."""


@dataclass(frozen=True, slots=True)
class Index:
    """Bytes of a vector in a query node: in memory, and on its disk."""

    memory: float
    disk: float
    how: str


NODE_BYTES = VECTOR + LINK * (DEGREE + 1)
INDEXES = {
    "FLAT": Index(VECTOR, 0, "384 × 4"),
    "IVF_SQ8": Index(384 + 2, VECTOR, "384 × 1 + 2 for its list"),
    "IVF_PQ": Index(SUBQUANTISERS + 2, VECTOR, f"{SUBQUANTISERS} codes of 1 + 2 for its list"),
    "HNSW": Index(VECTOR + 2 * M * LINK, 0, f"384 × 4 + 2 × {M} links × 4"),
    "AUTOINDEX": Index(VECTOR + 2 * AUTO_M * LINK, 0, f"HNSW: 384 × 4 + 2 × {AUTO_M} links × 4"),
    "HNSW_SQ": Index(384 + 2 * M * LINK, VECTOR, f"384 × 1 + 2 × {M} links × 4"),
    "DISKANN": Index(
        VECTOR * (CODES + CACHED),
        SECTOR / (SECTOR // NODE_BYTES),
        f"384 × 4 × ({CODES} codes + {CACHED} cache); {SECTOR // NODE_BYTES} nodes of 384 × 4 + 4 + {DEGREE} × 4 "
        f"in {SECTOR:,}",
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A corpus of so many passages, and how it is kept. `cores` encode it."""

    title: str
    passages: int
    index: str
    cores: int
    sentences: bool = True

    @property
    def vectors(self) -> float:
        """Vectors of passages, and of sentences where they are kept.

        >>> f"{Plan('', 10_000_000, 'HNSW', 64).vectors:,.0f}"
        '45,000,000'
        """
        return self.passages * (1 + (SENTENCES if self.sentences else 0))

    @property
    def memory(self) -> tuple[float, float]:
        """Bytes of a replica: of vectors, of BM25."""
        return self.vectors * INDEXES[self.index].memory, self.passages * TERMS * POSTING

    @property
    def nodes(self) -> int:
        """Query nodes of a replica.

        >>> Plan("", 10_000_000, "HNSW", 64).nodes
        1
        """
        return math.ceil(sum(self.memory) / (NODE * FILLED))

    @property
    def disk(self) -> float:
        """Bytes of a query node's disk: what is mapped from it, and what DISKANN reads from it."""
        rows = self.vectors * (INDEXES[self.index].disk + 2 * ROW)  # the fields, and as much for their indexes
        return (rows + self.passages * TEXT) / self.nodes / FILLED

    @property
    def rows(self) -> float:
        """Bytes of the vectors' collection as it is written."""
        return self.vectors * (VECTOR + ROW)

    @property
    def stored(self) -> float:
        """Bytes of object storage."""
        kept = INDEXES[self.index]
        return COPIES * (
            self.rows + self.vectors * (kept.memory + kept.disk) + self.passages * (TEXT + TERMS * POSTING + ROW)
        )

    @property
    def segments(self) -> int:
        """Segments of the vectors' collection, once merged."""
        return math.ceil(self.rows / (DISK_SEGMENT if self.index == "DISKANN" else SEGMENT))

    @property
    def shards(self) -> int:
        """Shards of it by Milvus's rule."""
        return min(MOST_SHARDS, math.ceil(self.rows / SHARD))

    @property
    def core_hours(self) -> float:
        """Hours of one core for encoding all of it."""
        return (self.passages / OWN_RATE + (self.vectors - self.passages) / SENTENCE_RATE) / 3600

    @property
    def building(self) -> tuple[float, float]:
        """Bytes of memory and of disk in the machine that builds."""
        return BUILDING * max(self.passages, self.vectors - self.passages), self.passages * TEXT


PLANS = (
    Plan("10 million", 10_000_000, "HNSW", 64),
    Plan("100 million", 100_000_000, "DISKANN", 64),
    Plan("a billion", 1_000_000_000, "DISKANN", 1024),
    Plan("a billion, no sentences", 1_000_000_000, "DISKANN", 1024, sentences=False),
)


def figure(value: float) -> str:
    """Three significant digits.

    >>> figure(1234), figure(75.6), figure(0.88), figure(4.5e8), figure(1e9)
    ('1,230', '75.6', '0.88', '450 million', '1 billion')
    """
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{float(f'{value:.3g}'):,g}"


def amount(size: float) -> str:
    """Bytes in decimal units.

    >>> amount(193e9), amount(1.933e12)
    ('193 GB', '1.93 TB')
    """
    return f"{figure(size / 1e12)} TB" if size >= 1e12 else f"{figure(size / 1e9)} GB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, columns, *rows))


def index_table() -> str:
    """Bytes a vector of 384 dimensions, by the kind of index."""
    rows = [
        [f"`{name}`", f"{kind.memory:,.0f}", f"{kind.disk:,.0f}" if kind.disk else "–", kind.how]
        for name, kind in INDEXES.items()
    ]
    rows.append(["`SPARSE_INVERTED_INDEX`, a passage", f"{TERMS * POSTING}", "–", f"{TERMS} terms × (4 + 4)"])
    return table(["index", "memory, bytes", "disk, bytes", "how"], rows, ["---", "--:", "--:", "---"])


def plan_table() -> str:
    """What each plan takes."""
    lines: list[tuple[str, list[str]]] = [
        ("vectors", [figure(p.vectors) for p in PLANS]),
        ("`RAG_MILVUS_INDEX`", [f"`{p.index}`" for p in PLANS]),
        ("memory a replica: vectors", [amount(p.memory[0]) for p in PLANS]),
        ("memory a replica: BM25", [amount(p.memory[1]) for p in PLANS]),
        (f"query nodes of {amount(NODE)}, {FILLED:.0%} filled, a replica", [f"{p.nodes}" for p in PLANS]),
        (f"query nodes, {REPLICAS} replicas", [f"**{p.nodes * REPLICAS}**" for p in PLANS]),
        ("disk of each, NVMe", [amount(p.disk) for p in PLANS]),
        ("object storage", [amount(p.stored) for p in PLANS]),
        ("segments of vectors", [figure(p.segments) for p in PLANS]),
        ("shards by Milvus's rule", [f"{p.shards}" for p in PLANS]),
        ("encoding, hours of a core", [figure(p.core_hours) for p in PLANS]),
        ("encoding, hours", [f"{figure(p.core_hours / p.cores)} on {p.cores:,} cores" for p in PLANS]),
        ("one V100, hours at least", [figure(p.vectors / GPU_RATE / 3600) for p in PLANS]),
        ("machine that builds: memory", [amount(p.building[0]) for p in PLANS]),
        ("machine that builds: disk", [amount(p.building[1]) for p in PLANS]),
    ]
    return table(
        ["", *(p.title for p in PLANS)], [[name, *cells] for name, cells in lines], ["---", *["--:"] * len(PLANS)]
    )


def measure(index: Path) -> str:
    """Our own numbers, as an index folder has them; rates are of CPU time, so that other work changes them little."""
    import json
    import time

    import msgspec

    from rag.corpus.split import index_text, term_text
    from rag.index.encode import ENCODER, OnnxEncoder
    from rag.index.library import IndexLibrary
    from rag.index.store import IndexFolder
    from rag.index.terms import terms
    from rag.records import IndexInfo

    folder, manifest = IndexFolder(index).checked(whole=False)
    library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name))
    passages = [library.passage(row) for row in range(len(library))]
    form = manifest.id_pattern, manifest.titled
    own = [index_text(p, *form) for p in passages]
    sentences = [p.text[s.start - p.start : s.end - p.start] for p in passages for s in p.sentences]
    written = sum(len(json.dumps(msgspec.to_builtins(record))) for record in (*passages, *library.documents()))
    filtered = sum(len("".join((p.kind, p.date or "", *p.topics, *p.episodes))) for p in passages)
    encoder = OnnxEncoder(folder / ENCODER)
    encoder.encode(own[:10])
    rates = []
    for texts in (own, sentences):
        began = time.process_time()
        encoder.encode(texts)
        rates.append(len(texts) / (time.process_time() - began))
    distinct = sum(len(set(terms(term_text(p, *form)))) for p in passages)
    return (
        f"sentences {len(sentences) / len(own):.1f}, terms {distinct / len(own):.0f}, text {written / len(own):,.0f}, "
        f"row {4 * 16 + 2 * 8 + filtered / len(own):.0f}, own rate {rates[0]:.0f}, sentence rate {rates[1]:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", type=Path, metavar="INDEX")
    arguments = parser.parse_args()
    print(measure(arguments.measure) if arguments.measure else f"{index_table()}\n\n{plan_table()}")


if __name__ == "__main__":
    main()
