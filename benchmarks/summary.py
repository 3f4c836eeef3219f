"""Measurements -> medians, ratios with their spread, verdicts, a page of tables. Pure arithmetic and text."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Rounds = Sequence[float]
"""A figure of each round, in order; those of two systems belong together by round."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that is measured in rounds. `target` is how many times better ours has to be than the best other."""

    name: str
    title: str
    unit: str
    higher: bool = False
    target: float | None = None


MEASURES = (
    Measure("cold_seconds", "cold question", "s", target=10),
    Measure("cold_mib", "memory of a cold question", "MiB", target=2),
    Measure("warm_p50_ms", "warm question, p50", "ms", target=4),
    Measure("warm_p95_ms", "warm question, p95", "ms"),
    Measure("serving_mib", "memory while serving", "MiB", target=2),
    Measure("rate", "indexing", "documents/s", higher=True, target=2.5),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better ours is than another: the median over rounds, the least and the greatest."""

    middle: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.middle:.1f} ({self.least:.1f} to {self.greatest:.1f})"


def ratio(ours: Rounds, theirs: Rounds, *, higher: bool) -> Ratio:
    """Round by round, above 1 where ours is better.

    >>> print(ratio([1.0, 2.0, 1.0], [10.0, 10.0, 12.0], higher=False))
    10.0 (5.0 to 12.0)
    """
    pairs = list(zip(ours, theirs, strict=False))  # an interrupted run has a round of some alone
    each = [(a / b) if higher else (b / a) for a, b in pairs]
    return Ratio(statistics.median(each), min(each), max(each))


def best(rounds: Mapping[str, Rounds], *, higher: bool) -> str:
    """Whose median is the best.

    >>> best({"a": [3.0], "b": [2.0]}, higher=False)
    'b'
    """
    return (max if higher else min)(rounds, key=lambda name: statistics.median(rounds[name]))


def verdict(found: Ratio, target: float) -> str:
    """Whether the target is met, in the median and in every round."""
    if found.least >= target:
        return "met in every round"
    return "met in the median, not in every round" if found.middle >= target else "not met"


@dataclass(frozen=True, slots=True)
class Quality:
    """nDCG@10 of one system on one collection; `difference` is ours less it, `p` of the paired randomisation test."""

    collection: str
    system: str
    ndcg: float
    difference: float = 0.0
    p: float = 1.0

    @property
    def verdict(self) -> str:
        """How ours does beside it, at a level of 0.05."""
        if self.p >= 0.05:
            return "no difference beyond chance"
        return "ours is better" if self.difference > 0 else "ours is worse"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column words and the others figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> [figure(value) for value in (0.5, 12.345, 1234.5)]
    ['0.500', '12.3', '1234']
    """
    return f"{value:.3g}" if value >= 100 and value < 1000 else f"{value:#.3g}" if value < 100 else f"{value:.0f}"


def speed_tables(measured: Mapping[str, Mapping[str, Rounds]], titles: Mapping[str, str], ours: str) -> str:
    """Medians with (least to greatest), and the targets against the best of the others.

    `measured` is measure -> system -> rounds; what a system has no figure of stays empty. `ours` alone is judged, and
    its variants, whose names begin with `ours`, are no others.
    """
    held = [m for m in MEASURES if m.name in measured]
    rows = []
    for system, title in titles.items():
        cells = []
        for measure in held:
            values = measured[measure.name].get(system)
            cells.append(
                f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"
                if values
                else ""
            )
        rows.append([title, *cells])
    targets = []
    for measure in held:
        others = {name: v for name, v in measured[measure.name].items() if not name.startswith("ours") and v}
        mine = measured[measure.name].get(ours)
        if measure.target is None or not mine or not others:
            continue
        name = best(others, higher=measure.higher)
        found = ratio(mine, others[name], higher=measure.higher)
        targets.append([measure.title, titles[name], f"{measure.target:g}", str(found), verdict(found, measure.target)])
    return "\n\n".join(
        (
            table(["", *(f"{m.title}, {m.unit}" for m in held)], rows),
            "Targets, each against the best of the others; how many times better, median (least to greatest round):",
            table(["", "best of the others", "target", "measured", "verdict"], targets),
        )
    )


def quality_table(found: Sequence[Quality], titles: Mapping[str, str]) -> str:
    """nDCG@10 by collection, ours first."""
    rows = [
        [f"{q.collection}: {titles[q.system]}", f"{q.ndcg:.4f}", "", "", ""]
        if q.system == "ours"
        else [f"{q.collection}: {titles[q.system]}", f"{q.ndcg:.4f}", f"{q.difference:+.4f}", f"{q.p:.4f}", q.verdict]
        for q in found
    ]
    return table(["", "nDCG@10", "ours less it", "p", "verdict"], rows)
