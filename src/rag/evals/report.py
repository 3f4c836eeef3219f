"""Reports on retrieval and on answers, and reading them back from files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.metrics import score_run
from rag.evals.trec import read_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rag.evals.datasets import Qrels
    from rag.evals.drafts import DraftReport

FOUND = 10
"""How much of a ranking a report keeps."""

Rows = dict[str, dict[str, float]]
"""Query id -> measure -> value."""

Found = dict[str, list[dict[str, Any]]]
"""Query id -> what was found, best first: {"id", "text"} of a ranking, {"text", "citations"} of an answer, and
"quotes" where a model chose the words."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of `n` values, one a question, or another figure over n questions, and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well a retriever finds what is judged relevant.

    `measures` are over all `queries`; `by_type` holds means, type -> measure -> mean; `rows` every value, query ->
    measure -> value, to compare reports by. `questions` are their texts, `found` the first FOUND of every ranking.
    """

    name: str
    retriever: str
    queries: int
    measures: dict[str, Estimate]
    by_type: dict[str, dict[str, float]]
    rows: Rows
    questions: dict[str, str] = field(default_factory=dict)
    found: Found = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return {"kind": "retrieval", **asdict(self)}


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """How good answers are, in ANSWER_MEASURES; a measure counts the questions that have a share in it.

    As RetrievalReport; `found` holds the sentences shown, none for an abstention; `drafts` is
    what a model's drafts come to, where one was asked. `latency_ms` has the quantiles "p50"
    and "p95" of the time a question took, and a row its own. A row has "correct", 1 where it is `answered_rightly`.

    Where answers have a confidence, a row has it too (0 for an answer without one), and of all questions `auroc` says
    how well it tells the answerable from the others, `aurc` what is risked by answering the surest first
    (`risk_coverage` of "correct"; lower is better). `auroc` is None where all are answerable, or none is.
    """

    name: str
    retriever: str
    queries: int
    measures: dict[str, Estimate]
    by_type: dict[str, dict[str, float]]
    rows: Rows
    latency_ms: dict[str, float]
    auroc: Estimate | None = None
    aurc: Estimate | None = None
    questions: dict[str, str] = field(default_factory=dict)
    found: Found = field(default_factory=dict)
    drafts: DraftReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON; a figure that is None has no key."""
        return {"kind": "answers", **{name: value for name, value in asdict(self).items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Scored:
    """What comparing needs of a report: every value, and what to show of a question.

    `kind` is "retrieval", "answers" or "run"; `measures` are those that a report has means of, in its order; rows may
    hold others, such as "latency_ms". `questions` and `found` may lack a query.
    """

    kind: str
    name: str
    retriever: str
    measures: tuple[str, ...]
    rows: Rows
    questions: Mapping[str, str]
    found: Found


def scored(report: RetrievalReport | AnswerReport) -> Scored:
    """A report as what comparing needs of it."""
    kind = "answers" if isinstance(report, AnswerReport) else "retrieval"
    return Scored(
        kind, report.name, report.retriever, tuple(report.measures), report.rows, report.questions, report.found
    )


def read_report(path: str | Path, part: str | None = None) -> Scored:
    """A report from the JSON of `rag eval retrieval` or `rag eval answers`, or a `part` of it. Raises UserError."""
    wanted = "wanted what `rag eval retrieval --json` or `rag eval answers --json` prints; a TREC run needs --qrels"
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}; {wanted}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not JSON; {wanted}") from None
    if part is not None:
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise UserError(f"{path}: no {part!r} in it; wanted a report on our own set's retrieval")
    if not isinstance(value, dict) or value.get("kind") not in ("retrieval", "answers"):
        raise UserError(f"{path}: no report; {wanted}")
    rows = value.get("rows")
    if not isinstance(rows, dict) or not all(is_row(row) for row in rows.values()):
        raise UserError(f"{path}: its 'rows' are not values by question and measure; {wanted}")
    texts = {name: value.get(name, default) for name, default in (("name", ""), ("retriever", ""))}
    tables = {name: value.get(name, {}) for name in ("measures", "questions", "found")}
    if (
        not all(isinstance(text, str) for text in texts.values())
        or not all(isinstance(t, dict) for t in tables.values())
        or not all(isinstance(text, str) for text in tables["questions"].values())
        or not all(map(is_found, tables["found"].values()))
    ):
        raise UserError(f"{path}: a report with a key of another kind; {wanted}")
    return Scored(
        value["kind"],
        texts["name"],
        texts["retriever"],
        tuple(tables["measures"]),
        rows,
        tables["questions"],
        tables["found"],
    )


def read_run_report(
    path: str | Path, qrels: Qrels, measures: Sequence[str], judged_by: str | Path = "the qrels"
) -> Scored:
    """A TREC run file, judged; a judged query that it lacks scores 0. Raises UserError.

    `judged_by` is what an error calls the judgements.
    """
    run = read_run(path)
    if run.keys().isdisjoint(qrels):
        raise UserError(f"{path}: none of its {len(run)} queries is judged; wanted a run on the queries of {judged_by}")
    if {id for found in run.values() for id in found}.isdisjoint(id for grades in qrels.values() for id in grades):
        raise UserError(f"{path}: none of its documents is judged; wanted a run on those of {judged_by}, of one level")
    values = score_run(run, qrels, measures)
    rows = {query: {measure: of[query] for measure, of in values.items()} for query in qrels}
    found: Found = {query: [{"id": id, "text": ""} for id in list(run.get(query, ()))[:FOUND]] for query in qrels}
    return Scored("run", Path(path).name, "", tuple(values), rows, {}, found)


def is_row(row: object) -> bool:
    """Whether this is a question's values: a number that is finite for each measure."""
    return isinstance(row, dict) and all(_is_value(value) for value in row.values())


def is_found(items: object) -> bool:
    """Whether this is what was found for a question: objects with a text."""
    return isinstance(items, list) and all(isinstance(i, dict) and isinstance(i.get("text"), str) for i in items)


def _is_value(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
