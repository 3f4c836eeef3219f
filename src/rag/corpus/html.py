"""A saved web page: HTML -> Markdown-like text, then read as Markdown is."""

from __future__ import annotations

import codecs
import copy
import re
from collections.abc import Iterator, Sequence

from rag.corpus.fields import Draft
from rag.corpus.markdown import first_heading, scan, under_headings
from rag.corpus.page import is_header, is_navigation, is_tail
from rag.corpus.source import Source, decode
from rag.corpus.tree import Element, parse, rendered
from rag.errors import CorpusError

_MAY_LOSE = 0.25  # of a page that does not say where its content is


def read(source: Source, id_pattern: str) -> Iterator[Draft]:
    """One document. A review page's header, links and list of episodes are left out of its text.

    trafilatura tells content from decoration, but on short or bare pages it drops headings and paragraphs. What it
    gives is compared with the page's own blocks: where a `main` or `article` lost any, or another page more than a
    quarter of its headings or its prose, those blocks are the text instead.
    """
    tree = parse(_markup(source), id_pattern)
    kept = _content(tree)
    got = _extract(tree)
    said = kept if _lost(tree, kept, got) else got
    whole = rendered(tree)
    review = any(is_header(_bare(block)) for block in whole)
    end = next((at for at, block in enumerate(said) if is_tail(_bare(block))), len(said))
    said = [block for block in said[:end] if not (is_header(_bare(block)) or is_navigation(_bare(block)))]
    text = "\n\n".join(said)
    if not text.strip():
        raise CorpusError(source.path, 1, "a page without text", "save it with its content, or remove it")
    named = [*kept, *whole, *(f"# {name}" for name in tree.xpath("//title/text()"))]
    title = first_heading(scan("\n\n".join(named)))
    links = tree.xpath('//link[@rel="canonical"]/@href')
    yield Draft(
        text=text,
        paragraphs=under_headings(scan(text), title or ""),
        fields={"url": str(links[0])} if links and str(links[0]).startswith(("http://", "https://")) else {},
        heading=title,
        kind="review" if review else None,
    )


def _content(tree: Element) -> list[str]:
    parts = tree.xpath("//main") or tree.xpath("//article[not(ancestor::article)]") or tree.xpath("//body")
    return [block for part in parts for block in rendered(part)]


def _extract(tree: Element) -> list[str]:
    """What trafilatura takes for content. Its tree, not its Markdown: that escapes ~, [ and * inside quotes."""
    import trafilatura

    try:
        got = trafilatura.bare_extraction(
            copy.deepcopy(tree), favor_recall=True, include_comments=False, include_formatting=True
        )
        return [] if got is None else rendered(got.body)
    except Exception:  # whatever it trips over, the page's own blocks are there
        return []


def _lost(tree: Element, kept: Sequence[str], got: Sequence[str]) -> bool:
    """Too many of the page's blocks are missing: headings as such, prose wherever it stands."""
    heads, there, run = {_squash(b) for b in got if _is_head(b)}, set(map(_squash, got)), _squash("".join(got))
    headings = [(len(b), _squash(b) in heads) for b in kept if _is_head(b)]
    prose = [(len(b), _squash(b) in there or _squash(b) in run) for b in kept if not _is_head(b)]
    allowed = 0.0 if tree.xpath("//main | //article") else _MAY_LOSE
    return any(
        sum(size for size, found in some if not found) > allowed * sum(size for size, _ in some)
        for some in (headings, prose)
    )


def _is_head(block: str) -> bool:
    return block.startswith("#")


def _bare(block: str) -> str:
    return block.lstrip("#-* ").rstrip("* ")


def _squash(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def _markup(source: Source) -> str:
    """The page's text. Bytes that are UTF-8 are; others are what the page declares, else windows-1252 as on the web."""
    data = source.data
    declared = re.search(rb"""<meta[^>]{1,200}charset\s*=\s*["']?\s*([\w-]+)""", data[:4096], re.IGNORECASE)
    try:
        return decode(data, source.path)
    except CorpusError:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data or not data.strip():
            raise
        name = declared.group(1).decode() if declared else "windows-1252"
        name = "windows-1252" if name.lower() in {"iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii"} else name
        try:
            return decode(data.decode(name).encode(), source.path)
        except (LookupError, UnicodeError):
            pass
        raise
