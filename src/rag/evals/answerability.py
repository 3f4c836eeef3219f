"""Questions with a passage each: how well do scores tell those that it answers?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.datasets import DatasetError, _json_lines
from rag.evals.metrics import auroc, bootstrap_interval_of
from rag.evals.report import Estimate
from rag.evals.table import aligned
from rag.evals.verifier import calibration_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, a passage, and whether the one answers the other (None: nobody says).

    Pairs of one `group` share an article, or where rows name none, a passage: none of them may help to judge another.
    """

    id: str | int
    question: str
    passage: str
    answerable: bool | None
    group: str


@dataclass(frozen=True, slots=True)
class AnswerabilityReport:
    """How well scores tell what can be answered, over all pairs that have a label.

    `measures` are auroc, auprc (average precision of the answerable), accuracy from 0.5 up, and ece (expected
    calibration error over ten bins), each over `pairs` with its 95% interval by bootstrap.
    """

    name: str
    pairs: int
    answerable: int
    measures: dict[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return {"kind": "answerability", **asdict(self)}


def load_pairs(path: str | Path) -> tuple[Pair, ...]:
    """The rows {"question", "passage"} of a JSON Lines file, in order.

    "unanswerable" (true or false; null or none is no label), "id" and "title" (the article) may be there; others are
    left alone. Where there is no id, the row's number from 1 is it. Raises DatasetError.
    """
    path = Path(path)
    pairs = tuple(_pair(path, line, row, number) for number, (line, row) in enumerate(_json_lines(path), 1))
    if not pairs:
        raise DatasetError(path, None, "no questions", "wanted one JSON object a line")
    return pairs


def _pair(path: Path, line: int, row: Mapping[str, object], number: int) -> Pair:
    question, passage, unanswerable = row.get("question"), row.get("passage"), row.get("unanswerable")
    for name, value in (("question", question), ("passage", passage)):
        if not isinstance(value, str):
            raise DatasetError(path, line, f"{name!r} is {value!r:.60}", "wanted a string")
    if unanswerable is not None and unanswerable not in (True, False):
        raise DatasetError(path, line, f"'unanswerable' is {unanswerable!r:.60}", "wanted true or false")
    id, title = row.get("id"), row.get("title")
    return Pair(
        number if id is None else id if isinstance(id, int) else str(id),
        str(question),
        str(passage),
        None if unanswerable is None else not unanswerable,
        str(title or passage),
    )


def report_answerability(name: str, pairs: Sequence[Pair], scores: Sequence[float]) -> AnswerabilityReport:
    """The report on the pairs that have a label, one score in 0..1 a pair. Raises ValueError where none has one."""
    import numpy as np

    judged = [(score, pair.answerable) for pair, score in zip(pairs, scores, strict=True)]
    judged = [row for row in judged if row[1] is not None]
    if not judged:
        raise ValueError("no pair has a label")
    values, labels = np.array([row[0] for row in judged]), np.array([row[1] for row in judged], dtype=bool)

    def estimate(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        found = low = high = measure(values, labels)
        if not np.isnan(found):
            low, high = bootstrap_interval_of(lambda at: measure(values[at], labels[at]), len(labels))
        return Estimate(found, low, high, len(labels))

    measures = {key: estimate(measure) for key, measure in _MEASURES.items()}
    return AnswerabilityReport(name, len(labels), int(labels.sum()), measures)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean precision at each answerable pair's score, best first; tied scores share theirs. NaN without any.

    >>> import numpy as np
    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))
    0.833...
    """
    import numpy as np

    if not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.searchsorted(-ranked, -ranked, side="right") - 1
    return float((hits[last] / (last + 1))[labels[order]].mean())


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of which 0.5 and above, or less, says what is so."""
    return float(((scores >= 0.5) == labels).mean())


_MEASURES = {"auroc": auroc, "auprc": average_precision, "accuracy": accuracy, "ece": calibration_error}


def least_confidence(scores: Sequence[float], answerable: Sequence[bool], lost: float = 0.05) -> float:
    """The highest threshold below which at most the share `lost` of the answerable lies.

    >>> least_confidence([0.2, 0.6, 0.7, 0.9, 0.1], [True, True, True, True, False], lost=0.25)
    0.6
    """
    held = sorted(score for score, label in zip(scores, answerable, strict=True) if label)
    return held[int(lost * len(held))]


def write_pair_scores(path: str | Path, pairs: Sequence[Pair], scores: Sequence[float]) -> None:
    """A line {"id", "score"} a pair, in order, higher for answerable."""
    lines = (json.dumps({"id": pair.id, "score": round(score, 6)}) for pair, score in zip(pairs, scores, strict=True))
    try:
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be written'}") from None


def format_answerability(report: AnswerabilityReport) -> str:
    """Plain text: a line a measure with its interval."""
    table = [["measure", "value", "95% interval"]]
    table += [[m, f"{e.mean:.3f}", f"{e.low:.3f} to {e.high:.3f}"] for m, e in report.measures.items()]
    return "\n".join([f"{report.name}  {report.pairs} questions, {report.answerable} answerable", *aligned(table)])
