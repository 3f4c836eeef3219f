"""Results -> RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rag.evals.wording import (
    HEADER,
    REGENERATE,
    answer_rows,
    cells,
    confidence_rows,
    latency,
    summary,
    title,
    type_rows,
)

if TYPE_CHECKING:
    from rag.evals.results import Results


def to_markdown(results: Results) -> str:
    """The tables, ending in a line feed; the same numbers as the page."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield "# Results\n"
    yield f"Written by `{REGENERATE}`, which measures what has changed and draws `report.html` beside this file.\n"
    for paragraph in summary(results):
        yield _text(paragraph) + "\n"
    yield "## Answers of the default\n"
    yield from _table(answer_rows(results.answers))
    for one in results.answers:
        yield f"### By type, {one.split}\n"
        yield from _table(type_rows(one))
        yield f"Latency: {latency(one)} (of this machine, with whatever else it was doing).\n"
    if results.confidences:
        yield "## Confidences against labels\n"
        yield from _table(confidence_rows(results))
    yield "## Retrieval, one change at a time\n"
    yield from _table(
        [["variation", "sets"], *([name, sets or results.default] for name, sets in results.sets.items())]
    )
    for table in results.tables:
        yield f"### {_text(title(table))}\n"
        yield from _table([list(HEADER), *map(cells, table.rows)])


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *body = rows
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, body)
    yield ""


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(map(_text, values))} |"


def _text(text: str) -> str:
    for character in ("\\", "|", "<", "`"):
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
