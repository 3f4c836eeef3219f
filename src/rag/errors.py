"""What may go wrong, and whose turn it is to act.

    RagError
    ├── UserError          the caller mends it: bad input or configuration     exit 2, HTTP 4xx
    │   ├── CorpusError      a document cannot be read
    │   ├── SettingsError    a setting is unknown or out of bounds
    │   ├── QuestionError    a question is empty, too long or asks for too much
    │   └── NotFound         no such document or episode                        HTTP 404
    ├── IndexUnwritable    the operator makes room, or gives another folder    exit 1
    ├── IndexUnusable      the operator mends it, with `rag index`             exit 1, HTTP 503
    │   ├── IndexBusy        another build is writing; trying again helps
    │   └── IndexAway        the engine that holds it does not answer; trying again helps
    ├── Busy               nobody mends it: trying again in a moment helps     HTTP 503
    └── BackendFailed      a model's endpoint failed; trying again may help    degrades, never fatal

Every message is one line that says what was found, what was wanted and what mends it.
"""


class RagError(Exception):
    """The root: anything this project raises on purpose. `retry` says whether trying again may help."""

    exit_code = 1
    retry = False


class UserError(RagError):
    """Bad input or configuration."""

    exit_code = 2


class CorpusError(UserError):
    """A document cannot be read; the message starts with `FILE:LINE: `."""

    def __init__(self, path: str, line: int, found: str, mend: str) -> None:
        super().__init__(f"{path}:{line}: {found}; {mend}")
        self.path, self.line = path, line


class SettingsError(UserError):
    """A setting is unknown or out of bounds; `setting` is its name ("search.k"), "" where it is of none."""

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class QuestionError(UserError):
    """A question is empty, too long, or asks for more than the limits allow."""


class NotFound(UserError):
    """There is no document or episode of that name."""


class IndexUnusable(RagError):
    """The index is missing, damaged, or does not match; it is refused whole."""


class IndexUnwritable(RagError):
    """A build cannot write the index: no room, no right, a failing disk."""


class IndexBusy(IndexUnusable):
    """Another build is writing the index."""

    retry = True


class IndexAway(IndexUnusable):
    """The engine that holds the index does not answer, or not in time."""

    retry = True


class Busy(RagError):
    """More is asked at once than can be answered soon."""

    retry = True


class BackendFailed(RagError):
    """Something outside this process failed."""

    retry = True
