"""A folder of documents, followed: whatever changes in it is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag.corpus.load import READERS
from rag.corpus.source import names
from rag.errors import IndexAway, IndexBusy, RagError, SettingsError, UserError

if TYPE_CHECKING:
    from collections.abc import Generator

    from watchfiles import Change

QUIET = 200
"""Milliseconds without a change that end a burst."""
DEBOUNCE = 1600
"""Milliseconds after which a burst that has no end is built all the same."""
LOOK = 300
"""Milliseconds after which it is looked whether the folder is still the one that is watched."""
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
    the index before serves on. While another build writes the index, or its engine does not answer, it is waited for.
    What no change of a document mends, a setting or a damaged index, is raised.
    """
    _built(build, say, wait)
    for _ in changes:
        _built(build, say, wait)


def _built(build: Callable[[], object], say: Callable[[str], None], wait: Callable[[float], None]) -> None:
    said = False
    while True:
        try:
            build()
        except (IndexBusy, IndexAway) as error:
            if not said:
                say(f"waiting: {error}")
            said = True
            wait(BUSY_SECONDS)
        except SettingsError:
            raise
        except UserError as error:
            say(f"not built: {error}")
            return
        else:
            return


def changes(corpus: Path, index: Path, say: Callable[[str], None]) -> Iterator[object]:
    """Something each time that what is to be read in a folder, or a file, has changed.

    Changes are remembered from this call on, also while nobody asks for them. What is never read changes nothing: what
    is hidden, an editor's own, the index. A folder that goes away is said and waited for, and whatever stands in its
    place is followed. Raises UserError where it is missing from the first, or watchfiles is not installed, and RagError
    where the system refuses to watch it.
    """
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise UserError("--watch needs watchfiles; install it: pip install 'podcast-rag[watch]'") from error
    if not corpus.exists():
        raise UserError(f"{corpus} is not there; give the folder of documents with --corpus")
    held = _held(corpus, index)
    return _changes(corpus, index, say, held, _watching(corpus))


def _changes(
    corpus: Path, index: Path, say: Callable[[str], None], held: dict[str, object], watching: _Watching | None
) -> Iterator[object]:
    while True:
        if watching is not None:
            for changed in watching:
                now = _held(corpus, index) if changed else held
                if now != held or any(path in now for _, path in changed):  # a clock too coarse hides a second writing
                    held = now
                    yield changed
        if not corpus.exists():
            say(f"{corpus} is gone; the index stays as it is until it is back")
            while not corpus.exists():
                time.sleep(LOOK / 1000)
        watching = _watching(corpus)
        if watching is not None:
            held = _held(corpus, index)
            yield corpus


def _watching(corpus: Path) -> _Watching | None:
    try:
        return _Watching(corpus)
    except FileNotFoundError:  # gone this very moment
        return None
    except (OSError, RuntimeError) as error:
        mend = "raise fs.inotify.max_user_watches, or set WATCHFILES_FORCE_POLLING=true"
        raise RagError(f"{corpus} cannot be watched ({error}); {mend}") from error


class _Watching:
    """What happens in a folder, some at a time, nothing now and then, until it is another one.

    The system watches a folder, not its name: of what is put in its place it would tell nothing.
    """

    def __init__(self, corpus: Path) -> None:
        from watchfiles import watch

        self._corpus, self._top, self._is = corpus, _top(corpus), _identity(corpus)
        self._raw: Generator[set[tuple[Change, str]], None, None] = watch(
            self._top,
            watch_filter=None,
            debounce=DEBOUNCE,
            step=QUIET,
            rust_timeout=LOOK,
            yield_on_timeout=True,
            recursive=corpus.is_dir(),
            ignore_permission_denied=True,
        )
        next(self._raw)  # begins to watch; whatever it gives is built in any case

    def __iter__(self) -> Iterator[set[tuple[Change, str]]]:
        from watchfiles import Change

        for changed in self._raw:
            if (Change.deleted, str(self._top)) in changed or _identity(self._corpus) != self._is:
                break  # a folder made anew may have the number of the one before
            yield changed
        self._raw.close()


def _top(corpus: Path) -> Path:
    """The folder to watch: of a lone file the one that it is in, since saving may put another in its place."""
    root = corpus.resolve()
    return root if root.is_dir() else root.parent


def _identity(corpus: Path) -> object:
    try:
        found = _top(corpus).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _held(corpus: Path, index: Path) -> dict[str, object]:
    """Every file that a build would read, and what tells one state of it from another."""
    root = corpus.resolve()
    held: dict[str, object] = {}
    for name in names(root, READERS, apart=index):
        path = root / name if root.is_dir() else root
        try:
            found = path.stat()
        except OSError:  # a link that leads nowhere, or gone since
            held[str(path)] = None
        else:
            held[str(path)] = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
    return held
