"""What the index holds besides rankings: documents, passages, and which rows a filter leaves."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import NotFound
from rag.index.store import reading
from rag.records import AskedQuestion, Document, Filters, IndexInfo, Paragraph, Passage, Sentence

PASSAGES, DOCUMENTS, COLUMNS = "passages.jsonl", "documents.jsonl", "columns.json"
PLACES = "places.npy"
"""Where each passage lies on a map, shape (passages, 2), float32 in 0..1, NaN for none; older indexes lack it."""


class _Lines:
    """Random access to the lines of a file, by an array of byte offsets beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path):
            self._file = np.memmap(path, mode="r") if path.stat().st_size else np.empty(0, dtype=np.uint8)
            self._offsets = np.load(path.with_suffix(".npy"), mmap_mode="r")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> dict[str, object]:
        with reading(self._path):
            line: dict[str, object] = json.loads(self._file[self._offsets[row] : self._offsets[row + 1]].tobytes())
        return line


def _write_lines(path: Path, rows: Iterable[object]) -> None:
    offsets = [0]
    with path.open("wb") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")  # type: ignore[call-overload]
            offsets.append(file.tell())
    np.save(path.with_suffix(".npy"), np.array(offsets, dtype=np.int64))


def write_library(documents: Sequence[Document], passages: Sequence[Passage], folder: Path) -> None:
    """Write documents and passages; row i of the index is `passages[i]`, which must be sorted by id."""
    _write_lines(folder / DOCUMENTS, documents)
    _write_lines(folder / PASSAGES, passages)
    columns = {
        "documents": [d.id for d in documents],
        "about": {d.episode: d.id for d in documents if d.episode},
        "kinds": [p.kind for p in passages],
        "topics": [[t.casefold() for t in p.topics] for p in passages],
        "episodes": [list(p.episodes) for p in passages],
        "dates": [p.date for p in passages],
        "of": [p.document for p in passages],
    }
    (folder / COLUMNS).write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")


class IndexLibrary:
    """Documents and passages of one generation, read as they are asked for. Raises IndexUnusable."""

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.info = info
        self._passages, self._documents = _Lines(folder / PASSAGES), _Lines(folder / DOCUMENTS)
        with reading(folder / COLUMNS):
            columns = json.loads((folder / COLUMNS).read_text(encoding="utf-8"))
            self._row_of_document = {id: row for row, id in enumerate(columns["documents"])}
            self._about: dict[str, str] = columns["about"]
            self._columns = columns
        self._places = np.empty((0, 2), dtype=np.float32)
        path = folder / PLACES
        if path.exists():
            with reading(path):
                self._places = np.load(path, mmap_mode="r")
                if self._places.shape != (len(self), 2) or self._places.dtype != np.float32:
                    raise ValueError(f"{self._places.dtype} of {self._places.shape}, wanted float32 of {len(self), 2}")
        self.passage = lru_cache(maxsize=4096)(self._read_passage)
        self._select = lru_cache(maxsize=64)(self._read_select)

    def __len__(self) -> int:
        return len(self._passages)

    def _read_passage(self, row: int) -> Passage:
        values = self._passages[row]
        sentences = tuple(
            Sentence(**s | {"episodes": tuple(s["episodes"]), "asked": tuple(s["asked"])})
            for s in values["sentences"]  # type: ignore[attr-defined]
        )
        lists: dict[str, Any] = {name: tuple(values[name]) for name in ("episodes", "topics")}  # type: ignore[arg-type]
        return Passage(**values | lists | {"sentences": sentences})  # type: ignore[arg-type]

    def select(self, filters: Filters) -> np.ndarray | None:
        """Rows that the filters leave, ascending; None where nothing is filtered."""
        return self._select(filters) if filters else None

    def _read_select(self, filters: Filters) -> np.ndarray:
        topics = {t.casefold() for t in filters.topics}
        columns = self._columns
        rows = [
            row
            for row, (kind, of, tagged, date) in enumerate(
                zip(columns["kinds"], columns["episodes"], columns["topics"], columns["dates"], strict=True)
            )
            if (not filters.kinds or kind in filters.kinds)
            and (not filters.episodes or not set(filters.episodes).isdisjoint(of))
            and (not topics or not topics.isdisjoint(tagged))
            and (not filters.since or (date is not None and date >= filters.since))
            and (not filters.until or (date is not None and date <= filters.until))
        ]
        return np.array(rows, dtype=np.int64)

    def document(self, id: str) -> Document:
        """The document as it was indexed. Raises NotFound."""
        row = self._row_of_document.get(id)
        if row is None:
            raise NotFound(f"no document {id!r}")
        values = self._documents[row]
        paragraphs = tuple(Paragraph(**p) for p in values["paragraphs"])  # type: ignore[attr-defined]
        questions = tuple(AskedQuestion(**q) for q in values["questions"])  # type: ignore[attr-defined]
        lists = {"paragraphs": paragraphs, "topics": tuple(values["topics"]), "questions": questions}  # type: ignore[arg-type]
        return Document(**values | lists)  # type: ignore[arg-type]

    def documents(self) -> Iterator[Document]:
        """Every document, sorted by id, each read as it is asked for."""
        return map(self.document, sorted(self._row_of_document))

    def place(self, passage: Passage) -> tuple[float, float] | None:
        """Where the passage lies on the map, in 0..1 each way; None where it has no place, or is of another index."""
        row = bisect_left(range(len(self._places)), passage.id, key=lambda row: self.passage(row).id)
        if row == len(self._places) or self.passage(row).id != passage.id:
            return None
        return self._place(row)

    def placed(self, most: int) -> list[tuple[Passage, tuple[float, float]]]:
        """At most `most` passages that have a place, evenly spaced and in order, each with its place."""
        rows = np.flatnonzero(np.isfinite(self._places).all(axis=1))
        chosen = rows[np.linspace(0, len(rows) - 1, max(0, min(most, len(rows)))).round().astype(np.int64)]
        return [(self.passage(row), at) for row in chosen.tolist() if (at := self._place(row)) is not None]

    def _place(self, row: int) -> tuple[float, float] | None:
        x, y = self._places[row].tolist()
        return (x, y) if np.isfinite((x, y)).all() else None

    def episodes(self) -> Sequence[str]:
        """Every episode ID that a document is about or a sentence is attributed to, sorted."""
        return sorted({*self._about, *(e for of in self._columns["episodes"] for e in of)})

    def about(self, episode: str) -> Document | None:
        """The document that is about an episode, where there is one."""
        id = self._about.get(episode)
        return None if id is None else self.document(id)

    def citing(self, episode: str) -> list[Passage]:
        """Passages of other documents with a sentence attributed to the episode, in order."""
        rows = self._read_select(Filters(episodes=(episode,)))
        return [p for p in map(self.passage, rows.tolist()) if p.document != self._about.get(episode)]

    def citing_counts(self) -> Mapping[str, int]:
        """Of each of `episodes()`, how many passages `citing` gives; no passage is read for it."""
        counts = dict.fromkeys(self.episodes(), 0)
        for of, episodes in zip(self._columns["of"], self._columns["episodes"], strict=True):
            for episode in episodes:
                counts[episode] += self._about.get(episode) != of
        return counts

    def neighbours(self, passage: Passage, n: int = 1) -> Sequence[Passage]:
        """Up to n passages before and n after it in its document, in reading order, without itself."""
        rows = [row for row, of in enumerate(self._columns["of"]) if of == passage.document]
        around = [self.passage(row) for row in rows]
        at = next((i for i, p in enumerate(around) if p.id == passage.id), None)
        return [] if at is None else around[max(0, at - n) : at] + around[at + 1 : at + 1 + n]
