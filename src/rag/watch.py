"""A folder of documents, followed: whatever changes in it is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import IndexBusy, RagError, UserError

if TYPE_CHECKING:
    from watchfiles import Change

DEBOUNCE = 400
"""Milliseconds within which changes are one."""
LOOK = 300
"""Milliseconds after which it is looked whether the folder is still there."""
BUSY_SECONDS = 1.0
"""How long to wait for another build before trying again."""


def follow(
    changes: Iterable[object],
    build: Callable[[], object],
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Build now, and again after each of `changes`.

    What cannot be built is said in a line, and tried again after the next change: somebody may still be writing it, and
    the index before serves on. While another build writes the index it is waited for.
    """
    _built(build, say, wait)
    for _ in changes:
        _built(build, say, wait)


def _built(build: Callable[[], object], say: Callable[[str], None], wait: Callable[[float], None]) -> None:
    said = False
    while True:
        try:
            build()
        except IndexBusy as error:
            if not said:
                say(f"waiting: {error}")
            said = True
            wait(BUSY_SECONDS)
        except RagError as error:
            say(f"not built: {error}")
            return
        else:
            return


def changes(corpus: Path, index: Path) -> Iterator[object]:
    """What changes in a folder, or in a file, some at a time; not what is hidden, an editor's own or the index's.

    Changes are remembered from this call on, also while nobody asks for them. Raises UserError where the folder is not
    there, or no more, and where watchfiles is not installed.
    """
    try:
        from watchfiles import DefaultFilter, watch
    except ImportError as error:
        raise UserError("--watch needs watchfiles; install it: pip install 'podcast-rag[watch]'") from error
    if not corpus.exists():
        raise UserError(f"{corpus} is not there; give the folder of documents with --corpus")
    root, built, usual = corpus.resolve(), index.resolve(), DefaultFilter()

    def counts(change: Change, path: str) -> bool:
        found = Path(path)
        within = found.relative_to(root).parts if found.is_relative_to(root) else ()
        hidden = any(part.startswith(".") for part in within)
        return usual(change, path) and not hidden and not found.is_relative_to(built)

    watching = watch(root, watch_filter=counts, debounce=DEBOUNCE, yield_on_timeout=True, rust_timeout=LOOK)
    next(watching)  # begins to watch; whatever it gives is built in any case

    def found() -> Iterator[object]:
        for changed in watching:
            if not root.exists():
                raise UserError(f"{corpus} is gone; start again when it is back")
            if changed:
                yield changed

    return found()
