"""What the index holds besides rankings: documents, passages, and which rows a filter leaves."""

from __future__ import annotations

import json
import os
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rag.errors import NotFound
from rag.index.encode import text_key
from rag.index.store import reading
from rag.records import AskedQuestion, Document, Filters, IndexInfo, Key, Paragraph, Passage

PASSAGES, DOCUMENTS = "passages.jsonl", "documents.jsonl"
COLUMNS, NAMES = "columns.npz", "names.json"
"""What a filter looks at, a number for each name, and the names."""
PLACES = "places.npy"
"""Where each passage lies on a map, shape (passages, 2), float32 in 0..1, NaN for none; older indexes lack it."""

_NONE = -1


class _Lines:
    """Random access to the lines of a file, by an array beside it: where each row starts and ends, in bytes.

    Read and not mapped: what was read would count as this process's memory, and a file cut short would end it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._spans = np.load(path.with_suffix(".npy"))
            if self._spans.ndim != 2 or self._spans.shape[1] != 2:
                raise ValueError(f"spans of shape {self._spans.shape}, wanted (rows, 2)")
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._spans)

    def line(self, row: int) -> bytes:
        start, end = self._spans[row].tolist()
        return os.pread(self._file, end - start, start)

    def __getitem__(self, row: int) -> dict[str, Any]:
        with reading(self.path):
            values: dict[str, Any] = json.loads(self.line(row))
        return values


class _LineWriter:
    """Lines as they come; `close` puts their rows in the order of their ids."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")
        self._ends = array("q", [0])
        self.ids: list[str] = []

    def add(self, record: Document | Passage) -> bytes:
        line = json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        self.ids.append(record.id)
        return line

    def close(self) -> None:
        self._file.close()

    def finish(self) -> np.ndarray:
        """Row -> when it was added."""
        self.close()
        order = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), dtype=np.int64)
        ends = np.frombuffer(self._ends, dtype=np.int64)
        np.save(self._path.with_suffix(".npy"), np.stack([ends[:-1][order], ends[1:][order]], axis=1))
        return order


class _Column:
    """Names of each row, as numbers: those of row i are `codes[starts[i]:starts[i + 1]]`."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._codes, self._starts = array("i"), array("q", [0])

    def add(self, names: Iterable[str]) -> None:
        self._codes.extend(self._number.setdefault(name, len(self._number)) for name in names)
        self._starts.append(len(self._codes))

    def finish(self, order: np.ndarray, more: Iterable[str] = ()) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The names sorted, with `more`; codes that count through them, and starts, rows in the order given."""
        names = sorted({*self._number, *more})
        place = {name: at for at, name in enumerate(names)}
        moved = np.array([place[name] for name in self._number], dtype=np.int32)
        starts = np.frombuffer(self._starts, dtype=np.int64)
        lengths = np.diff(starts)[order]
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        taken = np.repeat(starts[:-1][order] - ends[:-1], lengths) + np.arange(ends[-1])
        codes = np.frombuffer(self._codes, dtype=np.int32)[taken]
        return names, moved[codes] if len(moved) else codes, ends


class LibraryWriter:
    """Documents and their passages on their way into a folder, in any order; few bytes of each stay in memory.

    Row i of the index is the i-th passage by id.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._documents, self._passages = _LineWriter(folder / DOCUMENTS), _LineWriter(folder / PASSAGES)
        self._columns = {name: _Column() for name in ("of", "kinds", "dates", "topics", "episodes")}
        self._about: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._passages.ids)

    def add(self, document: Document | None, passages: Iterable[Passage]) -> bytes:
        """Write a document, if there is one, and passages; a digest of what was written."""
        digest = sha256()
        if document is not None:
            digest.update(self._documents.add(document))
            if document.episode:
                self._about[document.episode] = document.id
        for p in passages:
            digest.update(self._passages.add(p))
            names = ([p.document], [p.kind], [p.date] if p.date else [], [t.casefold() for t in p.topics], p.episodes)
            for column, of in zip(self._columns.values(), names, strict=True):
                column.add(of)
        return digest.digest()

    def __enter__(self) -> LibraryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._documents.close()
        self._passages.close()

    def finish(self) -> None:
        """Write where everything stands."""
        documents, passages = self._documents.finish(), self._passages.finish()
        arrays: dict[str, np.ndarray] = {}
        names: dict[str, list[str]] = {}
        for name, column in self._columns.items():
            more = self._documents.ids if name == "of" else self._about if name == "episodes" else ()
            names[name], codes, starts = column.finish(passages, more)
            if name in ("topics", "episodes"):
                arrays |= {name: codes, f"{name}_starts": starts}
            else:
                arrays[name] = np.full(len(starts) - 1, _NONE, dtype=np.int32)
                arrays[name][np.diff(starts) > 0] = codes
        place = {id: at for at, id in enumerate(names.pop("of"))}
        keys = np.array([text_key(self._documents.ids[at]) for at in documents.tolist()], dtype=np.uint64)
        rows = np.argsort(keys, kind="stable")
        np.savez(self._folder / COLUMNS, document_keys=keys[rows], document_rows=rows, **arrays)  # type: ignore[arg-type]
        about = {episode: [id, place[id]] for episode, id in self._about.items()}
        (self._folder / NAMES).write_text(json.dumps(names | {"about": about}), encoding="utf-8")


def write_library(documents: Iterable[Document], passages: Iterable[Passage], folder: Path) -> None:
    """Write documents and passages; row i of the index is the i-th passage by id."""
    with LibraryWriter(folder) as writer:
        for document in documents:
            writer.add(document, ())
        writer.add(None, passages)
        writer.finish()


class IndexLibrary:
    """Documents and passages of one generation, read as they are asked for. Raises IndexUnusable."""

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.info, self._folder = info, folder
        self._passages, self._documents = _Lines(folder / PASSAGES), _Lines(folder / DOCUMENTS)
        with reading(folder / COLUMNS), np.load(folder / COLUMNS) as columns:
            self._columns: dict[str, np.ndarray] = dict(columns)
            for name in ("of", "kinds", "dates"):
                if self._columns[name].shape != (len(self),):
                    raise ValueError(f"{name} of shape {self._columns[name].shape}, wanted {len(self)} rows")
            for name in ("topics", "episodes"):
                starts = self._columns[f"{name}_starts"]
                if starts.shape != (len(self) + 1,) or starts[-1] != len(self._columns[name]):
                    raise ValueError(f"{name} that do not add up")
        with reading(folder / NAMES):
            names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
            self._names: dict[str, list[str]] = {
                name: list(map(str, names[name])) for name in ("kinds", "dates", "topics", "episodes")
            }
            self._about: dict[str, tuple[str, int]] = {
                episode: (str(id), int(code)) for episode, (id, code) in names["about"].items()
            }
        self._places = np.empty((0, 2), dtype=np.float32)
        path = folder / PLACES
        if path.exists():
            with reading(path):
                self._places = np.load(path, mmap_mode="r")
                if self._places.shape != (len(self), 2) or self._places.dtype != np.float32:
                    raise ValueError(f"{self._places.dtype} of {self._places.shape}, wanted float32 of {len(self), 2}")
        # A question reads two hundred passages; msgspec makes one in a fifth of the time that json takes.
        self._passage = msgspec.json.Decoder(Passage).decode
        self.passage = lru_cache(maxsize=4096)(self.read)
        self._select = lru_cache(maxsize=64)(self._read_select)

    def __len__(self) -> int:
        return len(self._passages)

    def read(self, row: int) -> Passage:
        """The passage of a row; unlike `passage` it keeps none in memory."""
        with reading(self._passages.path):
            line = self._passages.line(row)
            try:
                return self._passage(line)
            except UnicodeDecodeError:  # a lone surrogate, which a corpus may hold
                return msgspec.convert(json.loads(line), Passage)

    def passages(self, keys: Sequence[Key]) -> Sequence[Passage]:
        """The passages of the keys, which are rows, in the order given."""
        return [self.passage(int(row)) for row in keys]

    def select(self, filters: Filters) -> np.ndarray | None:
        """Rows that the filters leave, ascending; None where nothing is filtered."""
        return self._select(filters) if filters else None

    def days(self, filters: Filters) -> Sequence[str]:
        """The dates of passages, from `since` to `until`."""
        dates = self._names["dates"]
        until = bisect_right(dates, filters.until) if filters.until else len(dates)
        return dates[bisect_left(dates, filters.since or "") : until]

    def _read_select(self, filters: Filters) -> np.ndarray:
        keep = np.ones(len(self), dtype=bool)
        if filters.kinds:
            keep &= np.isin(self._columns["kinds"], self._codes("kinds", filters.kinds))
        if filters.since or filters.until:
            keep &= np.isin(self._columns["dates"], self._codes("dates", self.days(filters)))
        for name, wanted in (("topics", [t.casefold() for t in filters.topics]), ("episodes", filters.episodes)):
            if wanted:
                keep &= self._holding(name, wanted)
        return np.flatnonzero(keep)

    def _codes(self, name: str, wanted: Iterable[str]) -> list[int]:
        names = self._names[name]
        places = ((bisect_left(names, one), one) for one in wanted)
        return [at for at, one in places if at < len(names) and names[at] == one]

    def _holding(self, name: str, wanted: Iterable[str]) -> np.ndarray:
        """Which rows hold any of the names, shape (rows,)."""
        found = np.flatnonzero(np.isin(self._columns[name], self._codes(name, wanted)))
        holding = np.zeros(len(self), dtype=bool)
        holding[np.searchsorted(self._columns[f"{name}_starts"], found, side="right") - 1] = True
        return holding

    def document(self, id: str) -> Document:
        """The document as it was indexed. Raises NotFound."""
        keys, key = self._columns["document_keys"], np.uint64(text_key(id))
        for at in range(int(np.searchsorted(keys, key)), int(np.searchsorted(keys, key, side="right"))):
            document = self._document(self._columns["document_rows"][at])
            if document.id == id:
                return document
        raise NotFound(f"no document {id!r}")

    def _document(self, row: int) -> Document:
        values = self._documents[row]
        with reading(self._folder / DOCUMENTS):
            values["paragraphs"] = tuple(Paragraph(**p) for p in values["paragraphs"])
            values["questions"] = tuple(AskedQuestion(**q) for q in values["questions"])
            values["topics"] = tuple(values["topics"])
            return Document(**values)

    def documents(self) -> Iterator[Document]:
        """Every document, sorted by id, each read as it is asked for."""
        return map(self._document, range(len(self._documents)))

    def all_passages(self) -> Iterator[Passage]:
        """Every passage, sorted by id, each read as it is asked for."""
        return map(self.passage, range(len(self)))

    def place(self, passage: Passage) -> tuple[float, float] | None:
        """Where the passage lies on the map, in 0..1 each way; None where it has no place, or is of another index."""
        row = self._row(passage)
        return None if row is None or not len(self._places) else self._place(row)

    def _row(self, passage: Passage) -> int | None:
        """The row of a passage, None for one of another index."""
        row = bisect_left(range(len(self)), passage.id, key=lambda row: self._passages[row]["id"])
        return row if row < len(self) and self.passage(row).id == passage.id else None

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
        return self._names["episodes"]

    def about(self, episode: str) -> Document | None:
        """The document that is about an episode, where there is one."""
        held = self._about.get(episode)
        return None if held is None else self.document(held[0])

    def citing(self, episode: str) -> list[Passage]:
        """Passages of other documents with a sentence attributed to the episode, in order."""
        of, about = self._columns["of"], self._about.get(episode, ("", _NONE))[1]
        rows = np.flatnonzero(self._holding("episodes", [episode]) & (of != about))
        return [self.passage(row) for row in rows.tolist()]

    def citing_counts(self) -> Mapping[str, int]:
        """Of each of `episodes()`, how many passages `citing` gives; no passage is read for it."""
        codes, starts = self._columns["episodes"], self._columns["episodes_starts"]
        about = np.array([self._about.get(name, ("", _NONE))[1] for name in self._names["episodes"]], dtype=np.int64)
        of = np.repeat(self._columns["of"], np.diff(starts))
        counts = np.bincount(codes[about[codes] != of], minlength=len(about)).tolist()
        return dict(zip(self._names["episodes"], counts, strict=True))

    def neighbours(self, passage: Passage, n: int = 1) -> Sequence[Passage]:
        """Up to n passages before and n after it in its document, in reading order, without itself."""
        row = self._row(passage)
        if row is None:
            return []
        rows = np.flatnonzero(self._columns["of"] == self._columns["of"][row])
        at = int(np.searchsorted(rows, row))
        return [self.passage(row) for row in (*rows[max(0, at - n) : at].tolist(), *rows[at + 1 : at + 1 + n].tolist())]
