"""Files -> Documents, in a stable order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rag.corpus import feed, html, jsonl, markdown, page
from rag.corpus.fields import Draft, finish
from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.source import Source, sources
from rag.corpus.tree import Crowded
from rag.errors import CorpusError, UserError
from rag.records import Document

Reader = Callable[[Source, str], Iterator[Draft | CorpusError]]

READERS: Mapping[str, Reader] = {
    ".md": markdown.read,
    ".markdown": markdown.read,
    ".txt": page.read,
    ".html": html.read,
    ".htm": html.read,
    ".jsonl": jsonl.read,
    ".xml": feed.read,
    ".rss": feed.read,
    ".atom": feed.read,
}


def load(
    root: Path,
    *,
    id_pattern: str = DEFAULT_PATTERN,
    on_bad: Callable[[CorpusError], None] | None = None,
    apart: Path | None = None,
) -> Iterator[Document]:
    """The documents of a folder or file, sorted by path below it, then as they stand in their file.

    No two share an id or an episode; what lies in the folder `apart`, the index, is no document. The first bad file,
    row or entry raises CorpusError; with `on_bad` each is reported and left out. A root that is missing, or in the end
    has no document to give, raises UserError.
    """
    report = on_bad or _raise
    taken: dict[tuple[str, str], str] = {}
    given = 0
    for source in sources(root, READERS, report, apart):
        for draft in _drafts(source, id_pattern):
            try:
                if isinstance(draft, CorpusError):
                    raise draft
                document = finish(draft, source, id_pattern)
                _claim(document, f"{source.path}:{draft.line}", source.path, draft.line, taken)
            except CorpusError as error:
                report(error)
            else:
                given += 1
                yield document
    if not given:
        raise UserError(f"{root}: none of its documents can be read; mend those reported, or give another folder")


def _drafts(source: Source, id_pattern: str) -> Iterator[Draft | CorpusError]:
    try:
        yield from READERS[source.suffix](source, id_pattern)
    except CorpusError as error:
        yield error
    except Crowded as error:
        yield CorpusError(source.path, 1, str(error), "remove those it can do without, or leave the file out")
    except RecursionError:
        yield CorpusError(source.path, 1, "nested too deeply", "flatten it, or save it again")


def _claim(document: Document, place: str, path: str, line: int, taken: dict[tuple[str, str], str]) -> None:
    """Take the document's id and episode, or raise CorpusError naming both places; then neither is taken."""
    names = [("id", document.id)] + ([("episode", document.episode)] if document.episode else [])
    for what, name in names:
        if (other := taken.get((what, name))) is not None:
            raise CorpusError(path, line, f"the {what} {name} is taken by {other}", "rename one, or remove it")
    taken.update(dict.fromkeys(names, place))


def _raise(error: CorpusError) -> None:
    raise error
