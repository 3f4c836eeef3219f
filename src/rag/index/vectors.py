"""The vector of every text that speaks for a passage, in one file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.index.encode import Progress, silent, text_key

if TYPE_CHECKING:
    from rag.index.library import IndexLibrary
    from rag.ports import Encoder, Vectors
    from rag.records import Passage

KEYS, VECTORS = "keys.npy", "vectors.npy"
_CHUNK = 20_000
"""Vectors that are copied at once."""
ENCODED = 64
"""Texts that are encoded at once."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What speaks for a passage: its own text, its sentences', and the questions that it is said to answer."""

    own: str
    sentences: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        yield self.own
        yield from self.sentences
        yield from self.asked


class Gathered:
    """Rows of vectors in another order, read as they are asked for."""

    def __init__(self, vectors: Vectors, at: np.ndarray) -> None:
        self._vectors, self._at = vectors, at

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, rows: np.ndarray) -> Vectors:
        found: Vectors = self._vectors[self._at[rows]]
        return found


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept. Each pair is (rows, at): `vectors[at[i]]` speaks for the passage of row `rows[i]`.

    `reused` counts passages whose own vector was known.
    """

    passages: tuple[np.ndarray, np.ndarray]
    sentences: tuple[np.ndarray, np.ndarray]
    reused: int


def keep_vectors(
    library: IndexLibrary,
    spoken: Callable[[Passage], Spoken],
    model: Encoder,
    old: tuple[np.ndarray, Vectors],
    folder: Path,
    questions: Iterable[str] = (),
    progress: Progress = silent,
    at_once: int = ENCODED,
) -> Kept:
    """Write `keys.npy`, sorted `text_key`s, and `vectors.npy`, the vector of each.

    What `old`, such keys and vectors, knows is copied, the rest is encoded, `at_once` texts a call. Texts are read from
    the library twice and never held beyond that, so that memory grows by some 16 bytes a text. Raises OSError where a
    file cannot be written.
    """
    own = array("Q")
    of_sentences, of_asked = _Said(array("q"), array("Q")), _Said(array("q"), array("Q"))
    for row in range(len(library)):
        texts = spoken(library.read(row))
        own.append(text_key(texts.own))
        of_sentences.add(row, texts.sentences)
        of_asked.add(row, texts.asked)
    questions = tuple(questions)
    also = np.array([text_key(text) for text in questions], dtype=np.uint64)
    keys = np.unique(np.concatenate([_uint64(own), _uint64(of_sentences.keys), _uint64(of_asked.keys), also]))
    np.save(folder / KEYS, keys)
    at = _places(old[0], keys)
    every = (text for row in range(len(library)) for text in spoken(library.read(row)))
    with _VectorFile(folder / VECTORS, len(keys), model.dimension) as file:
        known = np.flatnonzero(at >= 0)
        for start in range(0, len(known), _CHUNK):
            rows = known[start : start + _CHUNK]
            file.write(rows, np.asarray(old[1][at[rows]]))
        if new := int((at < 0).sum()):
            fresh = _unknown(chain(every, questions), keys, at < 0)
            for _ in progress(_encoded(fresh, model, file, at_once), new, "encoding"):
                pass
    asked, places = _int64(of_asked.rows), np.searchsorted(keys, _uint64(of_asked.keys))
    first = np.searchsorted(keys, _uint64(own))
    second = np.searchsorted(keys, _uint64(of_sentences.keys))
    return Kept(
        (np.concatenate([np.arange(len(own)), asked]), np.concatenate([first, places])),
        (np.concatenate([_int64(of_sentences.rows), asked]), np.concatenate([second, places])),
        int((at[first] >= 0).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    rows: array[int]
    keys: array[int]

    def add(self, row: int, texts: Iterable[str]) -> None:
        for text in texts:
            self.rows.append(row)
            self.keys.append(text_key(text))


class _VectorFile:
    """A file of vectors, written in any order; not mapped, so that a full disk is an error and not a signal."""

    def __init__(self, path: Path, rows: int, dimension: int) -> None:
        empty = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dimension))
        self._offset, self._stride = int(empty.offset), dimension * 4
        del empty
        self._file = path.open("r+b")

    def __enter__(self) -> _VectorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: np.ndarray, vectors: Vectors) -> None:
        """Vector i goes to row `rows[i]`; rows ascend."""
        cuts = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            self._file.seek(self._offset + int(rows[start]) * self._stride)
            self._file.write(np.ascontiguousarray(vectors[start:end], dtype=np.float32).data)


def _unknown(texts: Iterable[str], keys: np.ndarray, todo: np.ndarray) -> Iterator[tuple[int, str]]:
    """Each text that is to be encoded, once, and its place among the keys."""
    for text in texts:
        place = int(np.searchsorted(keys, np.uint64(text_key(text))))
        if todo[place]:
            todo[place] = False
            yield place, text


def _encoded(fresh: Iterator[tuple[int, str]], model: Encoder, file: _VectorFile, at_once: int) -> Iterator[str]:
    while some := sorted(islice(fresh, at_once)):
        texts = [text for _, text in some]
        file.write(np.array([place for place, _ in some]), model.encode(texts))
        yield from texts


def _places(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each key stands among the known ones, which are sorted; -1 for a new one."""
    if not len(known):
        return np.full(len(keys), -1)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, places, -1)


def _uint64(keys: array[int]) -> np.ndarray:
    return np.frombuffer(keys, dtype=np.uint64) if keys else np.empty(0, dtype=np.uint64)


def _int64(rows: array[int]) -> np.ndarray:
    return np.frombuffer(rows, dtype=np.int64) if rows else np.empty(0, dtype=np.int64)
