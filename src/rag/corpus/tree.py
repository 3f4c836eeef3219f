"""HTML -> a tree of its text -> Markdown-like blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Element = Any  # lxml comes without types

_DROPPED = (
    "script",
    "style",
    "noscript",
    "template",
    "nav",
    "footer",
    "aside",
    "form",
    "button",
    "svg",
    "iframe",
    "pre",
)
_INLINE = ("a", "abbr", "cite", "dfn", "font", "label", "mark", "q", "s", "small", "span", "sub", "sup", "time", "u")
_BLOCKS = frozenset(
    {"address", "article", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "figcaption", "figure"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section", "summary"}
    | {"table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
    | {"cell", "head", "item", "list", "quote", "row"}  # as trafilatura names them
)
_MARKS = {**{f"h{level}": "#" * level + " " for level in range(1, 7)}, "li": "- ", "item": "- "}
_STARS = {"em": "*", "i": "*", "strong": "**", "b": "**", "#i": "*", "#b": "**"}
_LONGEST_CELL = 200
MOST_ATTRIBUTES = 256
"""Attributes of an element: a tree of them takes the square of their number."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # lxml reads them and refuses to write them


class Crowded(Exception):
    """An element has more than MOST_ATTRIBUTES."""


def parse(markup: str, id_pattern: str) -> Element:
    """HTML -> a tree of its prose: no scripts, navigation, code, tables or inline tags, but emphasis.

    Raises Crowded.
    """
    from lxml import etree  # type: ignore[import-untyped]
    from lxml import html as lxml_html

    # The same reader without a tree takes a time that grows with the text alone.
    etree.fromstring(f"<!doctype html>{markup}".encode(), etree.HTMLParser(encoding="utf-8", target=_Attributes()))
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        tree = lxml_html.document_fromstring(f"<!doctype html>{markup}".encode(), parser=parser)
    except etree.ParserError:  # nothing but comments
        tree = lxml_html.document_fromstring("<html></html>")
    for element in tree.iter():
        element.text = element.text and _CONTROLS.sub(" ", element.text)
        element.tail = element.tail and _CONTROLS.sub(" ", element.tail)
    for element in list(tree.iter(*_DROPPED)):
        element.drop_tree()
    for table in list(tree.iter("table")):  # of figures, that is: some pages are laid out in one
        cells = table.xpath(".//td | .//th")
        if not table.xpath(".//p") and all(len(cell.text_content()) < _LONGEST_CELL for cell in cells):
            table.drop_tree()
    marker = re.compile(rf"(?:{id_pattern})+")
    for element in tree.iter(*_INLINE):
        _set_apart(element, marker)
    etree.strip_tags(tree, *_INLINE)
    return tree


class _Attributes:
    """What a reader tells of a text, looked at and not kept."""

    def start(self, _: str, attributes: Mapping[str, str]) -> None:
        if len(attributes) > MOST_ATTRIBUTES:
            raise Crowded(f"an element with {len(attributes)} attributes, wanted at most {MOST_ATTRIBUTES}")

    def close(self) -> None:
        """Nothing was kept."""


def _set_apart(element: Element, marker: re.Pattern[str]) -> None:
    """Put a space between a marker's tag and the word that it touches; markers run together stay so."""
    if not marker.fullmatch(element.text_content().strip(" []()")):
        return
    before = element.getprevious()
    parent = element.getparent()
    left = (parent.text if before is None else before.tail or before.text_content()) or ""
    if left[-1:].strip() and left[-1] not in "[(" and not re.search(rf"{marker.pattern}$", left):
        if before is None:
            parent.text = left + " "
        else:
            before.tail = (before.tail or "") + " "
    if (element.tail or "")[:1].isalnum() and not marker.match(element.tail):
        element.tail = " " + element.tail


def rendered(tree: Element) -> list[str]:
    """The blocks of a tree of HTML, or of trafilatura's XML, in order: `# heading`, `- item`, prose as it reads."""
    from lxml import etree

    blocks: list[str] = []
    words: list[str] = []
    mark = ""

    def flush() -> None:
        nonlocal mark
        line = " ".join("".join(words).split())
        if line.strip("* "):
            blocks.append(mark + line)
            mark = ""
        words.clear()

    for event, element in etree.iterwalk(tree, events=("start", "end")):
        rend = element.get("rend", "")
        tag = rend if element.tag == "head" else element.tag
        if element.tag in _BLOCKS:
            flush()
            if event == "start":
                mark = _MARKS.get(tag, mark if tag == "p" else "")
        elif tag in {"br", "lb"}:
            words.append(" ")
        words.append(_STARS.get(rend if tag == "hi" else tag, ""))
        words.append((element.text if event == "start" else "" if element is tree else element.tail) or "")
    flush()
    return blocks
