"""A report's sentences and cells, the same in Markdown and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rag.evals.results import LEVEL, MEASURES, Answers, Confidences, Results, Row, Table, answer_estimates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.evals.compare import Difference
    from rag.evals.report import Estimate

REGENERATE = "rag eval report"

ANSWER_WORDS = {
    "citation_precision": "cited episodes that are gold, of what is cited",
    "citation_recall": "gold episodes that are cited",
    "quote_precision": "quotes that overlap a gold quote",
    "quote_recall": "gold quotes that are quoted",
    "fact_recall": "gold facts that are stated",
    "unsupported_share": "sentences without support in their quote (lower is better)",
    "abstention_precision": "abstentions on unanswerable questions, of all abstentions",
    "abstention_recall": "unanswerable questions abstained from",
    "abstention_accuracy": "questions answered or abstained from rightly",
    "answered_share": "questions answered",
    "lack_precision": "of what is said to lack beside an answer, what the corpus lacks",
    "lack_recall": "of several questions in one, those that the corpus does not answer and that is said of",
    "correct": "questions answered rightly (answerable, and half of gold and of what is cited agree)",
    "auroc": "confidence of an answerable question above an unanswerable one's (0.5 is chance)",
    "aurc": "mean risk when the surest are answered first (lower is better)",
}

HEADER = ("variation", "nDCG@10", "difference", "p", "Holm", "+ / = / −", *MEASURES[1:])
"""Of a table of variations; whoever shows it may break cells at a semicolon."""


def title(table: Table) -> str:
    """Which questions, found at which level.

    >>> title(Table("evals", "episode", "test", 35, ()))
    'evals, test split, by episode (35 questions)'
    """
    level = "" if table.level == "document" else f", by {table.level}"
    return f"{table.set}, {table.split} split{level} ({table.queries:,} questions)"


def interval(estimate: Estimate) -> str:
    """A mean with its interval.

    >>> from rag.evals.report import Estimate
    >>> interval(Estimate(0.5, 0.25, 0.75, 8))
    '0.500 (0.250 to 0.750)'
    """
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def cells(row: Row) -> list[str]:
    """Under HEADER; of the default's own differences there are none."""
    first, *others = MEASURES
    out = [row.variation, interval(row.measures[first])]
    if first in row.against:
        d = row.against[first]
        out += [f"{d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f})", _p(d.p), _p(d.holm)]
        out.append(_counts(d))
    else:
        out += ["", "", "", ""]
    for measure in others:
        text = interval(row.measures[measure])
        if measure in row.against:
            d = row.against[measure]
            text += f"; {d.difference:+.3f}, p {_p(d.p)}, Holm {_p(d.holm)}, {_counts(d)}"
        out.append(text)
    return out


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # the text, not an element: it is escaped where it is shown


def _counts(d: Difference) -> str:
    return f"{d.better} / {d.same} / {d.worse}"


def summary(results: Results) -> Iterator[str]:
    """Paragraphs: what was measured, on what, how to read it, and what came out."""
    yield " ".join(_measured(results))
    yield (
        "Choose on dev, report on test: the settings were chosen with the dev questions at hand, so figures on dev "
        "are hopeful, and so are those on any collection that was at hand then. Every variation is compared with the "
        "default on the same questions. Brackets are 95% percentile bootstrap intervals over questions (Efron & "
        "Tibshirani 1993); p is of the paired two-sided randomisation test (Smucker, Allan & Carterette 2007), “Holm” "
        "the same corrected for all variations of the table, a measure at a time (Holm 1979); beyond chance means "
        f"below {LEVEL:g} then. “+ / = / −” counts the questions that the variation does better on than the default, "
        "as well, and worse."
    )
    yield " ".join(_found(results))


def _measured(results: Results) -> Iterator[str]:
    yield (
        f"podcast-rag {results.version}; {results.documents:,} documents of the corpus in {results.passages:,} "
        f"passages, encoded by {results.encoder}."
    )
    yield f"The default: {results.default}."
    for one in results.answers:
        types = Counter(question.type.partition("/")[0] for question in one.questions)
        listed = ", ".join(f"{n} {type}" for type, n in types.most_common())
        yield f"Our {one.split} split has {len(one.questions):,} questions ({listed})."
    others = [table for table in results.tables if table.level == "document"]
    if others:
        listed = ", ".join(f"{table.set} ({table.queries:,} questions, {table.split})" for table in others)
        yield f"Collections of others, one passage a document: {listed}."
    if results.fitted:
        yield f"Weights that come with the package were fitted on: {'; '.join(results.fitted)}. What is said of these"
        yield "is not held out."
    if results.quick:
        yield "A quick run: the first queries of each collection alone, and no index but those at hand."


def _found(results: Results) -> Iterator[str]:
    first = MEASURES[0]
    for table in results.tables:
        if table.split == "dev" and table.level != "document":
            continue
        base, *others = table.rows
        beyond = [row for row in others if row.beyond_chance(first)]
        better = [row.variation for row in beyond if row.against[first].difference > 0]
        worse = [row.variation for row in beyond if row.against[first].difference < 0]
        yield f"{title(table)}: {first} {interval(base.measures[first])};"
        yield f"beyond chance better than the default: {', '.join(better) or 'none'};"
        yield f"worse: {', '.join(worse) or 'none'}, of {len(others)} variations."
    for one in results.answers:
        if one.split == "test":
            estimates = answer_estimates(one.report)
            shown = [
                name for name in ("citation_precision", "citation_recall", "abstention_recall") if name in estimates
            ]
            yield (
                "Answers on test: "
                + "; ".join(f"{ANSWER_WORDS[name]} {interval(estimates[name])}" for name in shown)
                + "."
            )


def answer_rows(answers: Sequence[Answers]) -> list[list[str]]:
    """A header, then a row a measure: its name, each split's estimate and n, what it says."""
    estimates = {one.split: answer_estimates(one.report) for one in answers}
    names = [name for name in ANSWER_WORDS if any(name in of for of in estimates.values())]
    out = [["measure", *(f"{split} (95% interval; n)" for split in estimates), "share of"]]
    for name in names:
        held = [f"{interval(of[name])}; {of[name].n}" if name in of else "–" for of in estimates.values()]
        out.append([name, *held, ANSWER_WORDS[name]])
    return out


def type_rows(one: Answers) -> list[list[str]]:
    """A header, then a row a type: estimates with their n."""
    from rag.evals.results import TYPE_MEASURES

    out = [["type", *TYPE_MEASURES.values()]]
    for type, of in one.types.items():
        out.append([type, *(f"{interval(of[m])}; {of[m].n}" if m in of else "–" for m in TYPE_MEASURES)])
    return out


def latency(one: Answers) -> str:
    """How long a question took, in milliseconds, by quantile."""
    return ", ".join(f"{name} {value:.1f} ms" for name, value in one.report.latency_ms.items())


def on(one: Confidences) -> str:
    """The file's name, and a warning where its figures are hopeful."""
    return one.name if one.held_out else f"{one.name} (the weights were fitted on it: not held out)"


def confidence_rows(results: Results) -> list[list[str]]:
    """A header, then a row a file that was scored."""
    out = [["what", "on", "n", "true", "AUROC", "macro F1", "calibration error (ECE)"]]
    for one in results.confidences:
        held = [interval(one.measures[m]) if m in one.measures else "–" for m in ("auroc", "macro_f1", "ece")]
        out.append([one.kind, on(one), f"{len(one.scores):,}", f"{sum(one.labels):,}", *held])
    return out
