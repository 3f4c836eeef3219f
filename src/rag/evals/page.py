"""Results -> one HTML page with its pictures inside: no scripts, and nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from rag.evals import pictures
from rag.evals.calibration import reliability
from rag.evals.metrics import risk_coverage
from rag.evals.results import MEASURES, TYPE_MEASURES
from rag.evals.wording import (
    HEADER,
    REGENERATE,
    answer_rows,
    cells,
    confidence_rows,
    interval,
    latency,
    on,
    summary,
    title,
    type_rows,
)

if TYPE_CHECKING:
    from rag.evals.datasets import EvalQuestion
    from rag.evals.results import Answers, Confidences, Results, Table

_CSS = """
:root { color-scheme: light dark; --faint: #8c8c93; --blue: #0072b2; --orange: #d55e00; --line: #d9d9de; }
@media (prefers-color-scheme: dark) {
  :root { --faint: #7d7d85; --blue: #56b4e9; --orange: #f0894a; --line: #3a3a40; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 0.9em; max-width: 48rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.pictures figure { flex: 1 1 22rem; max-width: 32rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85em; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 0.7rem 0.2rem 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; }
.beyond { font-weight: 600; }
"""


def to_page(results: Results) -> str:
    """A page that is well-formed XML too; every text in it is escaped. Raises UserError without matplotlib."""
    pictures.require_matplotlib()
    body = "\n".join(_body(results))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f"<title>How good is it?</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _body(results: Results) -> Iterator[str]:
    yield "<h1>How good is it?</h1>"
    yield f"<p>Written by <code>{REGENERATE}</code>; the same numbers stand in <code>RESULTS.md</code>.</p>"
    for paragraph in summary(results):
        yield f"<p>{escape(paragraph)}</p>"
    yield "<h2>Answers of the default</h2>"
    yield from _table(answer_rows(results.answers))
    for number, one in enumerate(results.answers):
        yield from _answers(one, f"answers{number}")
    if results.confidences:
        yield "<h2>Confidences against labels</h2>"
        yield from _table(confidence_rows(results))
        yield '<div class="pictures">'
        for number, scored in enumerate(results.confidences):
            yield from _confidences(scored, f"scored{number}")
        yield "</div>"
    yield "<h2>Retrieval, one change at a time</h2>"
    yield (
        "<p>In the pictures the blue diamond and the dashed line are the default, orange squares differ from it beyond "
        "chance, black dots do not.</p>"
    )
    yield "<details><summary>What each variation sets</summary>"
    yield from _table([["variation", "sets"], *([name, of or results.default] for name, of in results.sets.items())])
    yield "</details>"
    for number, table in enumerate(results.tables):
        yield from _retrieval(table, f"table{number}")


def _retrieval(table: Table, name: str) -> Iterator[str]:
    yield f"<h3>{escape(title(table))}</h3>"
    rows = [(row.variation, row.measures, {m: row.beyond_chance(m) for m in MEASURES}) for row in table.rows]
    best = max(table.rows, key=lambda row: row.measures[MEASURES[0]].mean)
    alt = (
        f"{title(table)}: {', '.join(MEASURES)} of {len(rows)} variations with intervals. {MEASURES[0]} of the default "
        f"{interval(table.rows[0].measures[MEASURES[0]])}, of the best, {best.variation}, "
        f"{interval(best.measures[MEASURES[0]])}."
    )
    yield _figure(pictures.svg(pictures.whiskers(rows, MEASURES), name, alt), "")
    yield "<details><summary>The numbers</summary>"
    marked = {n for n, row in enumerate(table.rows, 1) if row.beyond_chance(MEASURES[0])}
    yield from _table([list(HEADER), *map(cells, table.rows)], marked)
    yield "</details>"


def _answers(one: Answers, name: str) -> Iterator[str]:
    yield f"<h3>{escape(one.split)}: {len(one.questions):,} questions</h3>"
    rows = one.report.rows
    alt = "; ".join(
        f"{type}: {', '.join(f'{TYPE_MEASURES[m]} {e.mean:.2f}' for m, e in of.items())}"
        for type, of in one.types.items()
    )
    drawn = pictures.type_bars(one.types, TYPE_MEASURES)
    yield _figure(pictures.svg(drawn, f"{name}-types", alt), "By type of question; n counts the questions.")
    yield '<div class="pictures">'
    if one.report.aurc is not None:
        held = [rows[question.id] for question in one.questions]
        sure, right = [row["confidence"] for row in held], [row["correct"] == 1 for row in held]
        answerable = [question.answerable for question in one.questions]
        yield _risk(sure, right, f"{name}-risk")
        yield _reliability(sure, answerable, f"{name}-reliability", "confidence", "share answerable")
        kinds = ("answerable", "unanswerable")
        yield _two_kinds(sure, answerable, kinds, "confidence of a question", f"{name}-kinds")
    took = [row["latency_ms"] for row in rows.values() if "latency_ms" in row]
    if took:
        drawn = pictures.latency_histogram(took, one.report.latency_ms)
        caption = "Latency; what took longer than the axis counts in the last bar."
        yield _figure(
            pictures.svg(drawn, f"{name}-latency", f"Latency of {len(took)} questions: {latency(one)}"), caption
        )
    yield "</div>"
    if one.report.aurc is None:
        yield "<p>These answers carry no confidence, so there is no risk-coverage curve and no reliability.</p>"
    yield f"<details><summary>By type, {escape(one.split)}</summary>"
    yield from _table(type_rows(one))
    yield "</details>"
    yield f"<details><summary>Every answer, {escape(one.split)}</summary>"
    yield from _table([_QUESTION, *(_question(one, question) for question in one.questions)])
    yield "</details>"


_QUESTION = ["id", "question", "type", "", "confidence", "cited", "gold", "right?", "answer"]


def _question(one: Answers, question: EvalQuestion) -> list[str]:
    row, found = one.report.rows[question.id], one.report.found.get(question.id, [])
    cited = dict.fromkeys(episode for sentence in found for episode in sentence["citations"])
    abstained = row["answered_share"] == 0
    right = abstained if not question.answerable else row["correct"] == 1
    return [
        question.id,
        question.text,
        question.type,
        "abstained" if abstained else "answered",
        f"{row['confidence']:.2f}" if "confidence" in row else "–",
        ", ".join(cited) or "–",
        ", ".join(question.episodes) or "–",
        "yes" if right else "no",
        " ".join(sentence["text"] for sentence in found) or "–",
    ]


def _confidences(one: Confidences, name: str) -> Iterator[str]:
    came_true, kinds = {
        "verifier": ("share supported", ("supported", "not supported")),
        "answerability": ("share answerable", ("answerable", "unanswerable")),
    }[one.kind]
    what = f"{one.kind}, {on(one)}"
    yield _reliability(one.scores, one.labels, f"{name}-reliability", "score", came_true, what)
    yield _two_kinds(one.scores, one.labels, kinds, "score", f"{name}-kinds", what)


def _risk(sure: Sequence[float], right: Sequence[bool], name: str) -> str:
    curve = risk_coverage(sure, right)
    base = 1 - sum(right) / len(right)
    half = curve.risk[max(0, len(right) // 2 - 1)]
    alt = f"Risk {half:.2f} when the surest half is answered, {base:.2f} when all are; area {curve.aurc:.3f}."
    drawn = pictures.risk_coverage_curve(curve.coverage, curve.risk, base)
    caption = (
        "Risk and coverage: an answer is right where the question is answerable and at least half of gold and of what "
        f"is cited agree; an abstention never is. Area under the curve {curve.aurc:.3f}."
    )
    return _figure(pictures.svg(drawn, name, alt), caption)


def _reliability(
    scores: Sequence[float], labels: Sequence[bool], name: str, said: str, came_true: str, where: str = ""
) -> str:
    bins = reliability(scores, labels)
    parts = [f"{said} about {b.mean:.2f}: {b.share:.2f} of {b.n}" for b in bins if b.mean is not None]
    drawn = pictures.reliability_diagram(bins, said, came_true)
    caption = f"Reliability{f', {where}' if where else ''}: 95% intervals of each share, and how many there are, below."
    return _figure(pictures.svg(drawn, name, f"{came_true} by {said}. {'; '.join(parts)}"), caption)


def _two_kinds(
    scores: Sequence[float], labels: Sequence[bool], kinds: tuple[str, str], label: str, name: str, where: str = ""
) -> str:
    yes = [score for score, of in zip(scores, labels, strict=True) if of]
    no = [score for score, of in zip(scores, labels, strict=True) if not of]
    means = [f"{kind}: {len(v)}, mean {sum(v) / len(v):.2f}" for kind, v in zip(kinds, (yes, no), strict=True) if v]
    drawn = pictures.distributions(yes, no, kinds, label)
    what = f"Scores of both kinds{f', {where}' if where else ''}, each as shares of its own number."
    return _figure(pictures.svg(drawn, name, f"Histogram of the {label}. {'; '.join(means)}"), what)


def _figure(picture: str, caption: str) -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture}{below}</figure>"


def _table(rows: Sequence[Sequence[str]], marked: set[int] = frozenset()) -> Iterator[str]:  # type: ignore[assignment]
    head, *body = rows
    yield '<div class="wide"><table>'
    yield f"<thead><tr>{''.join(f'<th>{escape(value)}</th>' for value in head)}</tr></thead><tbody>"
    for number, row in enumerate(body, 1):
        of = ' class="beyond"' if number in marked else ""
        yield f"<tr{of}>{''.join(f'<td>{escape(_printable(value))}</td>' for value in row)}</tr>"
    yield "</tbody></table></div>"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
