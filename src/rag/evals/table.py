"""Reports, comparisons and findings as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.evals.report import FOUND, AnswerReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.evals.compare import Comparison, Difference, Moved
    from rag.evals.drafts import DraftReport
    from rag.evals.gate import Verdict
    from rag.evals.lint import Lint
    from rag.evals.report import RetrievalReport


def format_table(report: RetrievalReport | AnswerReport) -> str:
    """Plain text: a line a measure with mean, 95% interval, questions that count, and the mean of every type."""
    table = [["measure", "mean", "95% interval", "n", *report.by_type]]
    estimates = dict(report.measures)
    if isinstance(report, AnswerReport):
        estimates |= {name: value for name, value in (("auroc", report.auroc), ("aurc", report.aurc)) if value}
    for measure, estimate in estimates.items():
        means = [f"{row[measure]:.3f}" if measure in row else "-" for row in report.by_type.values()]
        interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
        table.append([measure, f"{estimate.mean:.3f}", interval, str(estimate.n), *means])
    title = [report.name, *([report.retriever] if report.retriever else []), f"{report.queries} questions"]
    lines = ["  ".join(title), *aligned(table)]
    if isinstance(report, AnswerReport) and report.latency_ms:
        lines.append("latency  " + "  ".join(f"{name} {value:.1f} ms" for name, value in report.latency_ms.items()))
    if isinstance(report, AnswerReport) and report.drafts:
        lines += _drafts(report.drafts)
    return "\n".join(lines)


def _drafts(drafts: DraftReport) -> list[str]:
    checked = drafts.kept + drafts.mended + drafts.quoted + drafts.dropped or 1
    counts = {"kept": drafts.kept, "mended": drafts.mended, "quoted": drafts.quoted, "dropped": drafts.dropped}
    shares = ", ".join(f"{name} {count} ({count / checked:.0%})" for name, count in counts.items())
    why = ", ".join(f"{name} {count}" for name, count in drafts.objections.items())
    speed = "" if drafts.tokens_per_second is None else f", {drafts.tokens_per_second:.1f} tokens a second"
    lines = [
        f"drafts   {drafts.drafts} by {drafts.model}: sentences {shares}{speed}",
        f"shown    {drafts.shown} sentences, {drafts.added} added from the corpus, {len(drafts.unfounded)} unfounded; "
        f"{drafts.fallbacks} answers show nothing of their draft, {drafts.failed} drafts failed",
    ]
    return [*lines, *([f"dropped  {why}"] if why else []), *(f"unfounded  {_clean(text)}" for text in drafts.unfounded)]


def format_comparison(comparison: Comparison) -> str:
    """Plain text: a line a measure, and the questions that moved most with what was found before and after."""
    lines = _differences(comparison)
    if comparison.overlap is not None:
        lines += ["", f"overlap@{FOUND}  {comparison.overlap:.3f}"]
    if comparison.moved:
        lines += ["", f"Moved most on {comparison.moved_by}", *(line for m in comparison.moved for line in shown(m))]
    return "\n".join(lines)


def format_verdict(verdict: Verdict) -> str:
    """Plain text: every part's table, then what is worse with the questions that got worse, or that nothing is."""
    lines = [line for one in verdict.parts.values() for line in (*_differences(one), "")]
    for worse in verdict.worse:
        d = worse.difference
        lines.append(f"worse: {d.measure} ({worse.part}) {d.before:.3f} -> {d.after:.3f}, p {d.holm:.4f} after Holm")
        lines += [f"  {line}" for moved in worse.moved for line in shown(moved)]
    if not verdict.worse:
        lines.append("nothing is worse beyond chance")
    return "\n".join(lines)


def format_lint(lint: Lint) -> str:
    """Plain text: a line a finding, then how many questions there are by type and split."""
    lines = [_clean(f"{f.level}  {' '.join(f.questions)}  {f.message}") for f in lint.findings]
    splits = sorted({split for of in lint.counts.values() for split in of})
    rows = [[type, *(str(of.get(split, 0)) for split in splits)] for type, of in lint.counts.items()]
    total = ["total", *(str(sum(of.get(split, 0) for of in lint.counts.values())) for split in splits)]
    errors = len(lint.errors)
    summary = f"{errors} errors, {len(lint.findings) - errors} warnings"
    return "\n".join([*lines, *aligned([["type", *splits], *rows, total]), summary])


def _differences(comparison: Comparison) -> list[str]:
    title = f"{comparison.before} -> {comparison.after}  {comparison.queries} questions"
    return [title, *aligned([_HEADER, *map(_cells, comparison.differences)])]


_HEADER = "measure before after difference interval d_z p Holm better same worse n".split()  # noqa: SIM905


def _cells(difference: Difference) -> list[str]:
    d = difference
    means = [f"{d.before:.3f}", f"{d.after:.3f}", f"{d.difference:+.3f}", f"{d.low:+.3f} to {d.high:+.3f}"]
    tests = ["-" if d.effect is None else f"{d.effect:+.2f}", f"{d.p:.4f}", f"{d.holm:.4f}"]
    return [d.measure, *means, *tests, str(d.better), str(d.same), str(d.worse), str(d.n)]


def shown(moved: Moved) -> list[str]:
    """Lines: the question with its two values, then what was found before and after."""
    lines = [_clean(f"{moved.query}  {moved.before:.3f} -> {moved.after:.3f}  {moved.question}".rstrip())]
    for label, found in (("before", moved.found_before), ("after", moved.found_after)):
        texts = [_clean(_found(item)) for item in found] or ["nothing"]
        lines += [f"  {label if n == 0 else '':6}  {text}" for n, text in enumerate(texts)]
    return lines


def _found(item: dict[str, object]) -> str:
    citations = item.get("citations")
    if isinstance(citations, list):
        return f"{item.get('text', '')} [{', '.join(map(str, citations))}]"
    return f"{item.get('id', '')}  {item.get('text', '')}".rstrip()


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, two blanks apart; the first column to the left, the others to the right.

    >>> aligned([["name", "n"], ["a", "10"]])
    ['name   n', 'a     10']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in table
    ]
