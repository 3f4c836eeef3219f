"""Runs and judgements as TREC files, as trec_eval reads and writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import UserError
from rag.evals.datasets import DatasetError, is_grade, read_beir_qrels, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rag.evals.datasets import Qrels

Run = dict[str, dict[str, float]]
"""Query id -> id of what was found -> score, higher is better; best first where this project wrote it."""


def untied(scored: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The same order, best first, in scores that fall as float32: trec_eval reads no finer and breaks ties by id.

    >>> list(untied([("a", 1.0), ("b", 1.0), ("c", 0.5)]).values())
    [1.0, 0.9999999403953552, 0.5]
    """
    import numpy as np

    out: dict[str, float] = {}
    last, below = np.float32(np.inf), np.float32(-np.inf)
    with np.errstate(over="ignore"):
        for id, score in scored:
            last = min(np.float32(score), np.nextafter(last, below))
            if not np.isfinite(last):
                raise ValueError(f"{id!r} has the score {score}, which does not rank")
            out[id] = float(last)
    return out


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], tag: str = "rag", depth: int = 100) -> None:
    """A TREC run file: `query Q0 id rank score tag`, `depth` lines a query, ranks from 1; tied scores keep their order.

    A query without results has no line. Raises UserError on an id with white space, which the format cannot carry.
    """
    lines = []
    for query, found in run.items():
        ranked = untied(sorted(found.items(), key=lambda item: -item[1])[:depth])
        for rank, (id, score) in enumerate(ranked.items(), 1):
            _check_names("run", query, id, tag)
            lines.append(f"{query} Q0 {id} {rank} {score:.9g} {tag}\n")
    Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_run(path: str | Path) -> Run:
    """The results of a TREC run file by falling score, ties in the order of the file. Raises DatasetError."""
    path = Path(path)
    rows: Run = {}
    for line, text in read_lines(path):
        cells = text.split()
        try:
            query, _, id, _, score, _ = cells
            value = float(score)
        except ValueError:
            raise DatasetError(path, line, f"{text[:60]!r}", "wanted `query Q0 id rank score tag`") from None
        if value != value or id in rows.setdefault(query, {}):
            found = f"{query!r} has {id!r} twice, or without a number for a score"
            raise DatasetError(path, line, found, "wanted each once, with a number")
        rows[query][id] = value
    return {query: dict(sorted(found.items(), key=lambda item: -item[1])) for query, found in rows.items()}


def write_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """A TREC qrels file: `query 0 document grade`, in the order given. Raises UserError on an id with white space."""
    lines = []
    for query, grades in qrels.items():
        for id, grade in grades.items():
            _check_names("qrels", query, id)
            lines.append(f"{query} 0 {id} {grade}\n")
    Path(path).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_qrels(path: str | Path) -> Qrels:
    """The judgements of a TREC qrels file, or of a BEIR one (three columns and a header). Raises DatasetError."""
    path = Path(path)
    first = next(read_lines(path), (1, ""))[1]
    if len(first.split("\t")) == 3:
        return read_beir_qrels(path)
    wanted = "wanted `query 0 document grade`, the grade a small whole number"
    out: Qrels = {}
    for line, text in read_lines(path):
        try:
            query, _, id, cell = text.split()
        except ValueError:
            raise DatasetError(path, line, f"{text[:60]!r}", wanted) from None
        if not is_grade(cell):
            raise DatasetError(path, line, f"{text[:60]!r}", wanted)
        grade = int(cell)
        if out.setdefault(query, {}).setdefault(id, grade) != grade:
            raise DatasetError(path, line, f"{query!r} and {id!r} are judged twice", "keep one of the grades")
    if not out:
        raise DatasetError(path, None, "no judgements", wanted)
    return out


def _check_names(file: str, *names: str) -> None:
    for name in names:
        if len(name.split()) != 1 or name != name.strip():
            raise UserError(f"{name!r} cannot stand in a TREC {file} file; wanted a name without white space")
