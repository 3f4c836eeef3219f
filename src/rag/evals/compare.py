"""Two reports on the same questions: what changed, and how likely by chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.metrics import bootstrap_interval
from rag.evals.paired import effect_size, holm, randomisation_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rag.evals.report import Scored

LOWER_IS_BETTER = frozenset({"unsupported_share", "latency_ms"})

NOT_PAIRED = frozenset({"abstention_precision"})
"""Where both abstain it only says whether the question is answerable, which no change of ours moves."""

MOVED, SHOWN = 10, 3
"""How many questions a comparison shows, and how much of what was found for each."""

_SAME = 1e-9
"""Values this close are the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure before and after, over the `n` questions that have a value in both.

    `difference` is the mean of after - before, `low` and `high` its 95% bootstrap interval, `effect` Cohen's d_z (None
    where it has no finite value), `p` of the paired randomisation test, `holm` adjusted for all measures compared.
    `better`, `same` and `worse` count questions; better is less for a measure of LOWER_IS_BETTER.
    """

    measure: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    effect: float | None
    p: float
    holm: float
    better: int
    same: int
    worse: int
    n: int

    @property
    def for_the_worse(self) -> bool:
        """Whether the mean went the wrong way."""
        return self.difference > 0 if self.measure in LOWER_IS_BETTER else self.difference < 0


@dataclass(frozen=True, slots=True)
class Moved:
    """A question whose value changed, with what was found before and after, best first."""

    query: str
    question: str
    before: float
    after: float
    found_before: list[dict[str, Any]]
    found_after: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every measure's difference, and the questions that moved most on one; `left_out` counts (before, after).

    `overlap` is the share of the ten best that both found, the mean over questions; None for answers.
    """

    kind: str
    before: str
    after: str
    queries: int
    left_out: tuple[int, int]
    overlap: float | None
    differences: tuple[Difference, ...]
    moved_by: str
    moved: tuple[Moved, ...]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, lists, strings and numbers, for JSON."""
        return asdict(self)


def compare(
    before: Scored,
    after: Scored,
    measures: Sequence[str] = (),
    *,
    common: bool = False,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """What changed between two reports of one kind on the same questions.

    `measures`, where given, are the ones compared, and the first says which questions moved most; else all that both
    have, and nDCG@10 (the first) or citation_recall. `common` takes the questions that both have, asked in the same
    words, and leaves out the others. Raises UserError where the reports cannot be compared; `names`, such as those of
    their files, are what it calls them.
    """
    one, other = names or (repr(before.name), repr(after.name))
    if before.kind != after.kind:
        raise UserError(f"{one} is on {before.kind}, {other} on {after.kind}; compare two of a kind")
    both, left_out = _questions(before, after, common, f"{one} and {other}")
    chosen = tuple(dict.fromkeys(measures)) or tuple(
        name for name in before.measures if name in after.measures and name not in NOT_PAIRED
    )
    pairs = {name: _pairs(before, after, both, name) for name in chosen}
    missing = [name for name in chosen if not pairs[name]]
    had = sorted({name for query in both for name in before.rows[query].keys() & after.rows[query].keys()})
    if had and measures and missing:
        raise UserError(f"{one} and {other}: no question has {missing[0]!r} in both; wanted of {', '.join(had)}")
    differences = [_difference(name, values) for name, values in pairs.items() if values]
    if not differences:
        raise UserError(f"{one} and {other} have no measure in common")
    found = [difference.measure for difference in differences]
    moved_by = "citation_recall" if not measures and "citation_recall" in found else found[0]
    return Comparison(
        before.kind,
        _title(before),
        _title(after),
        len(both),
        left_out,
        None if before.kind == "answers" else _overlap(before, after, both),
        corrected(differences),
        moved_by,
        moved_most(before, after, both, moved_by),
    )


def moved_most(
    before: Scored, after: Scored, queries: Sequence[str], measure: str, *, worse: bool = False
) -> tuple[Moved, ...]:
    """Up to MOVED questions whose value changed most, the largest change first, ties by id; `worse` ones alone."""
    pairs = _pairs(before, after, queries, measure)
    sign = 1 if measure in LOWER_IS_BETTER else -1
    changed = {query: b - a for query, (a, b) in pairs.items() if not _same(a, b) and (not worse or sign * (b - a) > 0)}
    return tuple(
        Moved(
            query,
            after.questions.get(query) or before.questions.get(query, ""),
            *pairs[query],
            list(before.found.get(query, ()))[:SHOWN],
            list(after.found.get(query, ()))[:SHOWN],
        )
        for query in sorted(changed, key=lambda query: (-abs(changed[query]), query))[:MOVED]
    )


def corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The same, with `holm` over all of them."""
    adjusted = holm({str(at): difference.p for at, difference in enumerate(differences)})
    return tuple(replace(difference, holm=adjusted[str(at)]) for at, difference in enumerate(differences))


def _difference(measure: str, pairs: Mapping[str, tuple[float, float]]) -> Difference:
    n = len(pairs)
    values = [0.0 if _same(a, b) else b - a for a, b in pairs.values()]
    up, down = sum(value > 0 for value in values), sum(value < 0 for value in values)
    better, worse = (down, up) if measure in LOWER_IS_BETTER else (up, down)
    low, high = bootstrap_interval(values)
    p = randomisation_test(values)
    return Difference(
        measure=measure,
        before=sum(a for a, _ in pairs.values()) / n,
        after=sum(b for _, b in pairs.values()) / n,
        difference=sum(values) / n,
        low=low,
        high=high,
        effect=effect_size(values),
        p=p,
        holm=p,
        better=better,
        same=n - up - down,
        worse=worse,
        n=n,
    )


def _overlap(before: Scored, after: Scored, queries: Sequence[str]) -> float:
    """Of each question's longer list, the share that is in both; two that are empty agree."""
    shares = []
    for query in queries:
        one, other = ({item.get("id") for item in side.found.get(query, ())} for side in (before, after))
        shares.append(len(one & other) / max(len(one), len(other)) if one or other else 1.0)
    return sum(shares) / len(shares)


def _pairs(before: Scored, after: Scored, queries: Sequence[str], measure: str) -> dict[str, tuple[float, float]]:
    return {
        query: (before.rows[query][measure], after.rows[query][measure])
        for query in queries
        if measure in before.rows[query] and measure in after.rows[query]
    }


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME


def _questions(before: Scored, after: Scored, common: bool, names: str) -> tuple[list[str], tuple[int, int]]:
    """The questions of both, sorted so that no figure depends on the order of a file; and how many are left out."""
    shared = before.rows.keys() & after.rows.keys()
    texts = [(before.questions.get(query), after.questions.get(query)) for query in shared]
    other = {q for q, (a, b) in zip(shared, texts, strict=True) if a is not None and b is not None and a != b}
    both = sorted(shared - other)
    left_out = (len(before.rows) - len(both), len(after.rows) - len(both))
    if (any(left_out) and not common) or not both:
        found = f"{names} differ in their questions: {_unlike(before, after, other)}"
        raise UserError(f"{found}; wanted two reports on the same questions{_mend(both)}")
    return both, left_out


def _mend(both: Sequence[str]) -> str:
    return f", or --common for the {len(both)} that both have" if both else ""


def _unlike(before: Scored, after: Scored, other: set[str]) -> str:
    gone, new = sorted(before.rows.keys() - after.rows.keys()), sorted(after.rows.keys() - before.rows.keys())
    found = [
        f"{len(ids)} {what} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for ids, what in ((gone, "only in the first"), (new, "only in the second"), (sorted(other), "asked otherwise"))
        if ids
    ]
    return ", ".join(found) or "there are none"


def _title(side: Scored) -> str:
    return "  ".join(part for part in (side.name, side.retriever) if part)
