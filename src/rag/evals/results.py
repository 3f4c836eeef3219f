"""What an ablation found, put in order: per variation the means, the differences to the default, and their p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rag.evals.compare import Difference, compare
from rag.evals.metrics import ANSWER_MEASURES, auroc, bootstrap_interval, bootstrap_interval_of
from rag.evals.paired import holm
from rag.evals.report import AnswerReport, Estimate, Rows, Scored
from rag.evals.verifier import calibration_error, macro_f1

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rag.evals.datasets import EvalQuestion

MEASURES = ("nDCG@10", "R@5", "RR", "Success@1")
"""What a table shows; by the first one a variation is chosen."""

LEVEL = 0.05
"""Below this p-value, after Holm's correction, a difference is said to be beyond chance."""

TYPE_MEASURES = {
    "citation_recall": "citation recall",
    "fact_recall": "fact recall",
    "abstention_accuracy": "answered or abstained rightly",
}
"""What is shown of every type of question."""


@dataclass(frozen=True, slots=True)
class Row:
    """A variation's means, and of each measure how it differs from the default; the default itself differs in none."""

    variation: str
    measures: Mapping[str, Estimate]
    against: Mapping[str, Difference]

    def beyond_chance(self, measure: str) -> bool:
        """Whether it differs from the default on a measure, after Holm's correction over the rows of its table."""
        return measure in self.against and self.against[measure].holm < LEVEL


@dataclass(frozen=True, slots=True)
class Table:
    """Every variation on the same `queries` of a set, found at a level: "episode", "passage" or "document"."""

    set: str
    level: str
    split: str
    queries: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """The default's answers to one split: the report, its questions, and estimates by type of TYPE_MEASURES."""

    split: str
    report: AnswerReport
    questions: tuple[EvalQuestion, ...]
    types: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class Confidences:
    """Scores in 0..1 and what turned out true: `kind` "verifier" (supported) or "answerability" (answerable).

    `measures` are auroc, macro_f1 and ece, as far as they are defined. `held_out` is False where the weights were
    fitted on this very file.
    """

    kind: str
    name: str
    scores: tuple[float, ...]
    labels: tuple[bool, ...]
    measures: Mapping[str, Estimate]
    held_out: bool = True


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a report shows. `default` says what the default is, `sets` what each variation sets.

    `fitted` says what the weights that come with the package were fitted on, each once.
    """

    version: str
    default: str
    documents: int
    passages: int
    encoder: str
    sets: Mapping[str, str]
    tables: tuple[Table, ...]
    answers: tuple[Answers, ...]
    confidences: tuple[Confidences, ...] = ()
    fitted: tuple[str, ...] = ()
    quick: bool = False


def tabulate(set: str, level: str, split: str, rows: Mapping[str, Rows]) -> Table:
    """The table of `rows`: variation -> query -> measure -> value, the default first, all on the same queries.

    Holm's correction is over the variations, a measure at a time.
    """
    (default, base), *others = rows.items()
    against = {name: _against(base, of) for name, of in others}
    for measure in MEASURES:
        adjusted = holm({name: of[measure].p for name, of in against.items()})
        for name, value in adjusted.items():
            against[name][measure] = replace(against[name][measure], holm=value)
    return Table(
        set,
        level,
        split,
        len(base),
        tuple(Row(name, _estimates(rows[name], MEASURES), against.get(name, {})) for name in (default, *against)),
    )


def _against(base: Rows, rows: Rows) -> dict[str, Difference]:
    before, after = (Scored("retrieval", "", "", MEASURES, side, {}, {}) for side in (base, rows))
    return {difference.measure: difference for difference in compare(before, after, MEASURES).differences}


def _estimates(rows: Rows, measures: Sequence[str]) -> dict[str, Estimate]:
    columns = {measure: [row[measure] for row in rows.values() if measure in row] for measure in measures}
    return {
        measure: Estimate(sum(values) / len(values), *bootstrap_interval(values), len(values))
        for measure, values in columns.items()
        if values
    }


def answers(split: str, report: AnswerReport, questions: Sequence[EvalQuestion]) -> Answers:
    """A report with its questions, those that it has rows of, and estimates by type; unanswerable types come last."""
    held = tuple(question for question in questions if question.id in report.rows)
    types = {
        type: _estimates({q.id: report.rows[q.id] for q in held if q.type == type}, tuple(TYPE_MEASURES))
        for type in dict.fromkeys(q.type for q in sorted(held, key=lambda q: (not q.answerable, q.type)))
    }
    return Answers(split, report, held, types)


def answer_estimates(report: AnswerReport) -> dict[str, Estimate]:
    """Every measure of a report in order, with `correct`, and with AUROC and AURC where there are confidences."""
    out = {name: report.measures[name] for name in ANSWER_MEASURES if name in report.measures}
    out |= _estimates(report.rows, ("correct",))
    return out | {name: value for name, value in (("auroc", report.auroc), ("aurc", report.aurc)) if value}


def confidences(
    kind: str, name: str, scores: Sequence[float], labels: Sequence[bool | None], fitted: Sequence[str] = ()
) -> Confidences:
    """Scores against labels, without those that have none. `fitted` is what weights were fitted on, "FILE, n rows"."""
    import numpy as np

    judged = [(score, label) for score, label in zip(scores, labels, strict=True) if label is not None]
    values, truth = np.array([score for score, _ in judged]), np.array([label for _, label in judged], dtype=bool)
    figures: dict[str, Callable[[Any, Any], float]] = {"auroc": auroc, "macro_f1": macro_f1, "ece": calibration_error}
    measures = {}
    for measure, figure in figures.items():
        if len(judged) and not np.isnan(found := figure(values, truth)):
            ends = bootstrap_interval_of(lambda at, f=figure: f(values[at], truth[at]), len(judged), samples=1000)  # type: ignore[misc]
            measures[measure] = Estimate(found, *ends, len(judged))
    truths, held_out = tuple(bool(label) for _, label in judged), not any(on.split(", ")[0] == name for on in fitted)
    return Confidences(kind, name, tuple(s for s, _ in judged), truths, measures, held_out)
