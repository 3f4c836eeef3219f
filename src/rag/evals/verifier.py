"""Claims with passages and labels: how well do scores tell the supported ones?"""

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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

_YES = {"supported", "supports", "support", "attributable", "entailment", "true", "yes", "1"}
_NO = {
    "not_supported", "unsupported", "contradicted", "contradicts", "contradict", "contradiction", "contradictory",
    "refuted", "refutes", "not_attributable", "not_enough_info", "nei", "neutral", "false", "no", "0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the passages that are said to support it, and whether they do (None: nobody says).

    `source` is the data set that a row names, "" where it names none. Rows of one `group` belong to one question, or
    share their claim or a passage: none of them may help to judge another.
    """

    id: str | int
    text: str
    passages: tuple[str, ...]
    label: bool | None
    source: str
    group: int


@dataclass(frozen=True, slots=True)
class VerifierReport:
    """How well scores tell what is supported, from 0.5 up: over all claims that have a label, and by source.

    `measures` are auroc, macro_f1 (the mean of both labels' F1), and ece (expected calibration error over ten bins of
    equal width; Naeini et al. 2015), each over `claims` with its interval by bootstrap.
    """

    name: str
    claims: int
    supported: int
    measures: dict[str, Estimate]
    by_source: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return {"kind": "verifier", **asdict(self)}


def load_claims(path: str | Path) -> tuple[Claim, ...]:
    """The rows {"claim", "passages"} of a JSON Lines file, in order; "label", "id", "source", "question" may be there.

    `passages` is a list of strings or one string. A label is true or false, 1 or 0, or a word: SUPPORTED, as against
    NOT_SUPPORTED, CONTRADICTED and the like; null or none is no label. Where there is no id, the row's number from 1
    is it. Raises DatasetError.
    """
    path = Path(path)
    rows = [(_claim(path, line, row), row) for line, row in _json_lines(path)]
    if not rows:
        raise DatasetError(path, None, "no claims", "wanted one JSON object a line")
    groups = _groups([_keys(text, passages, row) for (text, passages, _), row in rows])
    return tuple(
        Claim(_id(row, number), text, passages, label, str(row.get("source") or ""), group)
        for number, (((text, passages, label), row), group) in enumerate(zip(rows, groups, strict=True), 1)
    )


def _id(row: Mapping[str, object], number: int) -> str | int:
    id = row.get("id")
    return number if id is None else id if isinstance(id, int) else str(id)


def _claim(path: Path, line: int, row: Mapping[str, object]) -> tuple[str, tuple[str, ...], bool | None]:
    text, passages = row.get("claim"), row.get("passages")
    if not isinstance(text, str):
        raise DatasetError(path, line, f"'claim' is {text!r:.60}", "wanted a string")
    held = [passages] if isinstance(passages, str) else passages
    if not isinstance(held, list) or not all(isinstance(passage, str) for passage in held):
        raise DatasetError(path, line, f"'passages' is {passages!r:.60}", "wanted a list of strings, or a string")
    label = row.get("label")
    if isinstance(label, int | float) and label not in (0, 1):
        raise DatasetError(path, line, f"'label' is {label!r:.60}", "wanted SUPPORTED or NOT_SUPPORTED, true or false")
    word = "_".join(str(int(label) if isinstance(label, bool | float) else label).casefold().replace("-", " ").split())
    if label is not None and word not in _YES | _NO:
        raise DatasetError(path, line, f"'label' is {label!r:.60}", "wanted SUPPORTED or NOT_SUPPORTED, true or false")
    return text, tuple(held), None if label is None else word in _YES


def _keys(text: str, passages: Sequence[str], row: Mapping[str, object]) -> list[tuple[str, str]]:
    question = row.get("question")
    asked = [("question", question)] if isinstance(question, str) and question else []
    return [("claim", text), *(("passage", p) for p in passages), *asked]


def _groups(keys: Sequence[Sequence[tuple[str, str]]]) -> list[int]:
    """The first row that each row is joined to, by whatever chain of shared keys."""
    first = list(range(len(keys)))

    def root(row: int) -> int:
        while first[row] != row:
            row = first[row]
        return row

    seen: dict[tuple[str, str], int] = {}
    for row, held in enumerate(keys):
        for key in held:
            one, two = root(seen.setdefault(key, row)), root(row)
            first[max(one, two)] = min(one, two)
    return [root(row) for row in range(len(keys))]


def report_verifier(name: str, claims: Sequence[Claim], scores: Sequence[float]) -> VerifierReport:
    """The report on the claims that have a label, one score in 0..1 a claim. Raises ValueError where none has one."""
    import numpy as np

    judged = [(score, claim.label, claim.source) for claim, score in zip(claims, scores, strict=True)]
    judged = [row for row in judged if row[1] is not None]
    if not judged:
        raise ValueError("no claim has a label")
    values, labels = np.array([row[0] for row in judged]), np.array([row[1] for row in judged], dtype=bool)

    def estimate(measure: Any) -> Estimate:
        found = measure(values, labels)
        if np.isnan(found):
            return Estimate(found, found, found, len(labels))
        low, high = bootstrap_interval_of(lambda at: measure(values[at], labels[at]), len(labels), samples=1000)
        return Estimate(found, low, high, len(labels))

    sources = sorted({source for _, _, source in judged})
    by_source = {}
    for source in sources if sources != [""] else []:
        at = np.array([row[2] == source for row in judged])
        by_source[source] = {key: measure(values[at], labels[at]) for key, measure in _MEASURES.items()} | {
            "claims": float(at.sum())
        }
    measures = {key: estimate(measure) for key, measure in _MEASURES.items()}
    return VerifierReport(name, len(labels), int(labels.sum()), measures, by_source)


def write_scores(path: str | Path, claims: Sequence[Claim], scores: Sequence[float]) -> None:
    """A line {"id", "score"} a claim, in order."""
    lines = (
        json.dumps({"id": claim.id, "score": round(score, 6)}) for claim, score in zip(claims, scores, strict=True)
    )
    try:
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be written'}") from None


def macro_f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean F1 of both labels, where 0.5 and above says True.

    >>> import numpy as np
    >>> macro_f1(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]))
    0.5
    """
    said = scores >= 0.5
    both = []
    for label in (True, False):
        right = int(((said == label) & (labels == label)).sum())
        wrong = int((said != labels).sum())
        both.append(2 * right / (2 * right + wrong) if right + wrong else 0.0)
    return sum(both) / 2


def calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """The mean distance between score and share of True in bins of equal width, weighted by their claims.

    >>> import numpy as np
    >>> round(calibration_error(np.array([0.9, 0.9, 0.1]), np.array([True, False, False])), 3)
    0.3
    """
    import numpy as np

    held = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [abs(float((scores[held == b] - labels[held == b]).sum())) for b in range(bins)]
    return sum(gaps) / len(scores)


_MEASURES = {"auroc": auroc, "macro_f1": macro_f1, "ece": calibration_error}


def format_verifier(report: VerifierReport) -> str:
    """Plain text: a line a measure with its interval, and a line a source."""
    table = [["measure", "value", "95% interval"]]
    table += [[m, f"{e.mean:.3f}", f"{e.low:.3f} to {e.high:.3f}"] for m, e in report.measures.items()]
    lines = [f"{report.name}  {report.claims} claims, {report.supported} supported", *aligned(table)]
    if report.by_source:
        rows = [
            [source, f"{row['claims']:.0f}", *(f"{row[m]:.3f}" for m in report.measures)]
            for source, row in report.by_source.items()
        ]
        lines += ["", *aligned([["source", "claims", *report.measures], *rows])]
    return "\n".join(lines)
