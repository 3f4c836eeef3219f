"""The map of the corpus: every passage a dot, near to what is near in meaning, coloured by topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import dist
from statistics import fmean
from typing import TYPE_CHECKING

from rag.records import Passage, Ranking
from rag.serve.web.links import passage_href

if TYPE_CHECKING:
    from rag.assemble import Service

COLOURS = 8
"""Topics with a colour of their own."""
MOST = 2000
"""Dots on the map."""
SIZE = 1000
"""Width and height, in the picture's units; dots keep MARGIN from its edges."""
MARGIN = 30
OTHER = "other topics"

_LETTER = 11  # width of a label's letter and height of its line, in units
_LINE = 26
_NEAR = 90  # units within which dots make a part of their topic


@dataclass(frozen=True, slots=True)
class Dot:
    """A passage on the map."""

    x: int
    y: int
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Group:
    """The dots of a topic, and where its name stands; `colour` counts from 0, COLOURS is that of all other topics."""

    topic: str
    colour: int
    dots: tuple[Dot, ...]
    x: int = 0
    y: int = 0

    @property
    def named(self) -> bool:
        """Whether it is one topic's."""
        return self.colour < COLOURS

    @property
    def path(self) -> str:
        """The dots as one path of points without length, for a small picture."""
        return "".join(f"M{dot.x} {dot.y}h0" for dot in self.dots)


@dataclass(frozen=True, slots=True)
class Chart:
    """The map; `passages` are those of the index, of which not all need be dots."""

    groups: tuple[Group, ...]
    dots: int
    passages: int


@dataclass(frozen=True, slots=True)
class Lit:
    """A passage found, on the map."""

    rank: int
    x: int
    y: int
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on the map, amid the passages found: their mean place, nearer to the better ones."""

    x: int
    y: int
    hits: tuple[Lit, ...]


def draw(service: Service) -> Chart | None:
    """The map of an index; None where it holds no places."""
    placed = service.library.placed(MOST)
    if not placed:
        return None
    topics = _cover([passage for passage, _ in placed])
    dots: list[list[Dot]] = [[] for _ in range(len(topics) + 1)]
    for passage, place in placed:
        group = next((n for n, topic in enumerate(topics) if topic in passage.topics), len(topics))
        x, y = _at(place)
        dots[group].append(Dot(x, y, _title(passage), passage_href(passage, service)))
    names = (*topics, OTHER)
    colours = (*range(len(topics)), COLOURS)
    groups = [Group(name, colour, tuple(of)) for name, colour, of in zip(names, colours, dots, strict=True) if of]
    return Chart(tuple(_labelled(groups)), len(placed), len(service.library))


def light(service: Service, hits: Ranking) -> Asked | None:
    """Where a question and what it found stand; None where none of that is on the map."""
    lit = []
    for hit in hits:
        place = service.library.place(hit.passage)
        if place is not None:
            lit.append(Lit(hit.rank, *_at(place), _title(hit.passage), passage_href(hit.passage, service)))
    if not lit:
        return None
    weights = [1 / dot.rank for dot in lit]
    x, y = (
        round(sum(w * at for w, at in zip(weights, along, strict=True)) / sum(weights))
        for along in ([dot.x for dot in lit], [dot.y for dot in lit])
    )
    return Asked(x, y, tuple(lit))


def _at(place: tuple[float, float]) -> tuple[int, int]:
    x, y = (round(MARGIN + value * (SIZE - 2 * MARGIN)) for value in place)
    return x, y


def _title(passage: Passage) -> str:
    title = passage.title or passage.document
    return f"{title} › {passage.heading}" if passage.heading else title


def _cover(passages: Sequence[Passage]) -> list[str]:
    """Topics that most passages have, each counted over the passages that the ones before leave."""
    left = list(passages)
    topics: list[str] = []
    while left and len(topics) < COLOURS:
        counts = Counter(topic for passage in left for topic in set(passage.topics))
        if not counts:
            break
        best = min(counts, key=lambda topic: (-counts[topic], topic))
        topics.append(best)
        left = [passage for passage in left if best not in passage.topics]
    return topics


def _labelled(groups: Sequence[Group]) -> list[Group]:
    """The groups, each name over its densest part, moved down as far as it would stand on another name."""
    taken: list[tuple[float, float, float]] = []
    out = []
    for x, y, group in sorted(((*_over(group.dots), group) for group in groups), key=lambda row: row[1]):
        half = len(group.topic) * _LETTER / 2
        x = min(max(x, half), SIZE - half)
        while any(abs(y - b) < _LINE and abs(x - a) < half + other for a, b, other in taken):
            y += _LINE / 2
        taken.append((x, y, half))
        out.append(replace(group, x=round(x), y=round(y)))
    return sorted(out, key=lambda g: g.colour)


def _over(dots: Sequence[Dot]) -> tuple[float, float]:
    """Just over the dots around the one that has most of the others near it."""
    near = max(([d for d in dots if dist((d.x, d.y), (at.x, at.y)) < _NEAR] for at in dots), key=len)
    return fmean(d.x for d in near), max(min(d.y for d in near) - _LINE / 2, _LINE)
