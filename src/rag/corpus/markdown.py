"""Markdown, with or without YAML front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from rag.corpus.fields import Draft
from rag.corpus.front import split_front
from rag.corpus.source import Source, decode
from rag.records import Paragraph

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

WITHIN = " › "


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph `text[start:end]`, or a heading of `level` 1 to 6 and its words."""

    start: int
    end: int
    level: int = 0
    heading: str = ""


def read(source: Source, id_pattern: str) -> Iterator[Draft]:
    """One document. An `id` that is an episode's names the episode; any other names the document."""
    front = split_front(decode(source.data, source.path), source.path)
    blocks = scan(front.body)
    name = str(front.values.get("id") or "").strip()
    about = re.fullmatch(id_pattern, name) is not None
    heading = first_heading(blocks)
    yield Draft(
        text=front.body,
        paragraphs=under_headings(blocks, str(front.values.get("title") or heading or "")),
        fields={key: value for key, value in front.values.items() if not (key == "title" and value == "")},
        metadata=front.values,
        lines=front.lines,
        id=None if about else name or None,
        episode=name if about else None,
        heading=heading,
    )


def scan(text: str) -> list[Block]:
    r"""Headings and paragraphs in order, by CommonMark with tables.

    A list item's paragraph begins behind its marker. Code, tables, rules, HTML blocks and link definitions are left
    out, and so are headings inside quotes and lists.

    >>> text = "# T\n\nOne\ntwo.\n\n- item\n  goes on\n\n```\ncode\n```\n"
    >>> [(block.level, block.heading or text[block.start : block.end]) for block in scan(text)]
    [(1, 'T'), (0, 'One\ntwo.'), (0, 'item\n  goes on')]
    """
    parser = _parser()
    tokens: list[Token] = []
    parser.block.parse(text, parser, {}, tokens)  # blocks alone: what is inside a line is only read for headings
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    blocks = []
    for opening, inline in pairwise(tokens):
        if inline.type != "inline" or opening.map is None or not inline.content.strip():
            continue
        first, last = opening.map
        # the words begin behind markers, and behind lines that are blank to Python alone, as of U+3000
        head = inline.content.strip().split("\n", 1)[0].rstrip()
        at = next((n for n in range(first, last) if lines[n].rstrip().endswith(head)), first)
        begin = starts[at] + len(lines[at].rstrip()) - len(head)
        end = begin + len(text[begin : starts[last - 1] + len(lines[last - 1])].rstrip())
        if opening.type == "paragraph_open":
            blocks.append(Block(begin, end))
        elif opening.type == "heading_open" and opening.level == 0:
            blocks.append(Block(begin, end, int(opening.tag[1:]), _words(parser, inline.content)))
    return blocks


def first_heading(blocks: Sequence[Block]) -> str | None:
    """The first `# heading`, if there is one."""
    return next((block.heading for block in blocks if block.level == 1 and block.heading), None)


def under_headings(blocks: Sequence[Block], title: str) -> tuple[Paragraph, ...]:
    r"""Paragraphs with the headings above them, nested ones joined; a first-level heading that is the title is none.

    >>> [p.heading for p in under_headings(scan("# T\n\na\n\n## B\n\n### C\n\nb\n\n## D\n\nc"), "T")]
    ['', 'B › C', 'D']
    """
    above: list[Block] = []
    found = []
    for block in blocks:
        if not block.level:
            names = [b.heading for b in above if b.heading and not (b.level == 1 and _same(b.heading, title))]
            found.append(Paragraph(block.start, block.end, WITHIN.join(names)))
        else:
            above = [*(b for b in above if b.level < block.level), block]
    return tuple(found)


def _same(left: str, right: str) -> bool:
    return left.casefold().split() == right.casefold().split()


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _words(parser: MarkdownIt, content: str) -> str:
    tokens = [child for token in parser.parseInline(content) for child in token.children or []]
    return " ".join("".join(" " if t.type.endswith("break") else _shown(t) for t in tokens).split())


def _shown(token: Token) -> str:
    return token.content if token.type in {"text", "code_inline", "image"} else ""
