"""Is anything worse than the committed baseline?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.compare import NOT_PAIRED, Comparison, Difference, Moved, compare, corrected, moved_most
from rag.evals.report import Scored, is_found, is_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rag.evals.datasets import EvalQuestion

NOT_GATED = NOT_PAIRED | {"answered_share"}
"""More answers are no gain and fewer no loss; abstention_accuracy says which of them were called for."""

_FORMAT = 1
_DIGITS = 4
_FOUND, _CHARS = 2, 60


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the gate compares with: a digest of every question with its gold, and the reports by part.

    Values are rounded to 4 digits and what was found is cut short, so two are equal where nothing of note changed;
    no timings, and nothing of the machine.
    """

    questions: dict[str, str]
    parts: dict[str, Scored]


@dataclass(frozen=True, slots=True)
class Worse:
    """A measure that is worse beyond chance, and the questions that got worse on it, the worst first."""

    part: str
    difference: Difference
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison of every part, Holm's correction over all of them, and what is worse."""

    parts: dict[str, Comparison]
    worse: tuple[Worse, ...]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, lists, strings and numbers, for JSON."""
        return {"passed": not self.worse, **asdict(self)}


def make_baseline(questions: Iterable[EvalQuestion], parts: Mapping[str, Scored]) -> Baseline:
    """Reports as a baseline keeps them."""
    return Baseline({q.id: _digest(q) for q in questions}, {name: _trimmed(part) for name, part in parts.items()})


def gate(baseline: Baseline, current: Baseline, level: float = 0.05) -> Verdict:
    """Worse is a measure whose mean went the wrong way with Holm's p, over every measure of every part, below `level`.

    Raises UserError where the questions or the parts are not those of the baseline.
    """
    _check_questions(baseline.questions, current.questions)
    if baseline.parts.keys() != current.parts.keys():
        raise UserError(f"the baseline has {sorted(baseline.parts)}, wanted {sorted(current.parts)}; {_UPDATE}")
    raw = {name: compare(baseline.parts[name], part) for name, part in current.parts.items()}
    flat = iter(corrected([difference for one in raw.values() for difference in one.differences]))
    parts = {name: replace(one, differences=tuple(next(flat) for _ in one.differences)) for name, one in raw.items()}
    worse = tuple(
        Worse(name, difference, _got_worse(baseline.parts[name], current.parts[name], difference.measure))
        for name, one in parts.items()
        for difference in one.differences
        if difference.for_the_worse and difference.holm < level
    )
    return Verdict(parts, worse)


_UPDATE = "make it anew with `rag eval gate --update`"


def write_baseline(path: str | Path, baseline: Baseline) -> None:
    """As JSON with sorted keys and a line a question, so that a change of it reads as one; without their texts."""
    parts = {name: asdict(replace(part, questions={})) for name, part in baseline.parts.items()}
    value = {"format": _FORMAT, "questions": baseline.questions, "parts": parts}
    Path(path).write_text(_json(value) + "\n", encoding="utf-8", newline="\n")


def read_baseline(path: str | Path) -> Baseline:
    """A baseline as written. Raises UserError."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if value["format"] != _FORMAT:
            raise UserError(f"{path}: format {value['format']!r}, this version reads {_FORMAT}; {_UPDATE}")
        parts = {name: Scored(**part | {"measures": tuple(part["measures"])}) for name, part in value["parts"].items()}
        for part in parts.values():
            if not all(map(is_row, part.rows.values())) or not all(map(is_found, part.found.values())):
                raise UserError(f"{path}: {part.name} has values that are no finite numbers; {_UPDATE}")
        return Baseline(dict(value["questions"]), parts)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}; {_UPDATE}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: no baseline of the gate; {_UPDATE}") from None


def _digest(question: EvalQuestion) -> str:
    values = {name: value for name, value in asdict(question).items() if name not in ("history", "lacks") or value}
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _trimmed(part: Scored) -> Scored:
    gated = tuple(name for name in part.measures if name not in NOT_GATED)
    rows = {
        query: {name: round(row[name], _DIGITS) for name in gated if name in row} for query, row in part.rows.items()
    }
    found = {
        query: [{**item, "text": item.get("text", "")[:_CHARS]} for item in items[:_FOUND]]
        for query, items in part.found.items()
    }
    return Scored(part.kind, part.name, part.retriever, gated, rows, dict(part.questions), found)


def _check_questions(baseline: Mapping[str, str], current: Mapping[str, str]) -> None:
    changed = {
        "new": sorted(current.keys() - baseline.keys()),
        "gone": sorted(baseline.keys() - current.keys()),
        "changed": sorted(id for id in current.keys() & baseline.keys() if current[id] != baseline[id]),
    }
    found = [
        f"{len(ids)} {what} ({', '.join(ids[:3])}{', …' * (len(ids) > 3)})" for what, ids in changed.items() if ids
    ]
    if found:
        raise UserError(f"the questions are not those of the baseline: {', '.join(found)}; {_UPDATE}")


def _got_worse(before: Scored, after: Scored, measure: str) -> tuple[Moved, ...]:
    return moved_most(before, after, sorted(after.rows), measure, worse=True)


def _json(value: object, depth: int = 4) -> str:
    if not depth or not isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(key)}:{_json(value[key], depth - 1)}" for key in sorted(value))
    return f"{{\n{lines}\n}}" if value else "{}"
