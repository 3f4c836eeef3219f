"""A question and its candidates -> what passes of a model's draft, while the model writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Written
from contextlib import closing
from dataclasses import dataclass

from rag.answer.check import Checker
from rag.answer.draft import finished
from rag.answer.extract import Candidate
from rag.answer.prompt import prompt
from rag.corpus.markers import DEFAULT_PATTERN
from rag.errors import BackendFailed
from rag.ports import Generator
from rag.records import AnswerSentence, Draft, Dropped, Message, Question


@dataclass(frozen=True, slots=True)
class DraftValues:
    """How much a model may write, and about what.

    `tokens` at most; `sentences` that pass end the draft, and so do `checked` ones. It is shown the `passages` best
    passages, as far as they fit. `relevance` is the share of the best sentence's standing from which on one may be
    evidence: of the gold sentences found for the development questions, 90% stand at 0.7 or above; of all, a third.
    """

    tokens: int = 400
    sentences: int = 4
    checked: int = 16
    passages: int = 10
    relevance: float = 0.7


class Tried:
    """A generator for one question: once it has failed, it is not tried again."""

    def __init__(self, inner: Generator) -> None:
        self._inner, self.name, self.context = inner, inner.name, inner.context
        self._failed: BackendFailed | None = None

    def tokens(self, text: str) -> int:
        """As the other counts."""
        return self._inner.tokens(text)

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Written[str, None, None]:
        """As the port says."""
        if self._failed is not None:
            raise self._failed
        try:
            with closing(self._inner.stream(messages, limit, stop)) as pieces:
                yield from pieces
        except BackendFailed as error:
            self._failed = error
            raise


_REFUSES = re.compile(
    r"\W*(?:no[ _-]answer\b|(?:none of )?(?:the|these) (?:passages?|sentences?|corpus|texts?)"
    r" (?:do(?:es)? not|don't|doesn't|cannot) (?:answer|say|contain|mention|provide|state|specify|give))",
    re.I,
)


class Drafting:
    """One draft. `refused` says that the model finds no answer in what it was shown."""

    def __init__(
        self, generator: Generator, values: DraftValues = DraftValues(), id_pattern: str = DEFAULT_PATTERN
    ) -> None:
        self._generator, self._values, self._id_pattern = generator, values, id_pattern
        self._checker: Checker | None = None
        self._failed: str | None = None
        self.refused = False

    def run(
        self, question: Question, ranked: Sequence[Candidate], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[AnswerSentence | Dropped]:
        """Each sentence as it passes or is dropped. Never raises BackendFailed: the report says what failed."""
        values = self._values
        least = values.relevance * max((c.standing for c in ranked), default=0.0)
        told = prompt(question, ranked, self._generator, values.tokens, self._id_pattern, values.passages, least)
        checker = self._checker = Checker(told.evidence, self._id_pattern, least)
        if not told.evidence:
            self._failed = "no passage fits into the model's context"
            return
        passed, written = 0, set[str]()
        try:
            with closing(self._generator.stream(told.messages, values.tokens, stop)) as pieces:
                for number, text in enumerate(finished(pieces, self._id_pattern)):
                    if text in written:  # a model that repeats itself has no more to say
                        return
                    written.add(text)
                    if not passed and _REFUSES.match(text):
                        self.refused = True
                        return
                    found = checker.check(text)
                    for event in (found,) if isinstance(found, Dropped) else found:
                        passed += isinstance(event, AnswerSentence)
                        yield event
                    if passed >= values.sentences or number + 1 >= values.checked or stop():
                        return
        except BackendFailed as error:
            self._failed = str(error)
        if not passed and not checker.objections and self._failed is None:
            self._failed = "the model wrote no sentence"

    def report(self, added: int = 0) -> Draft:
        """What became of the draft, `added` being the corpus's own sentences that were put beside it."""
        checker = self._checker or Checker(())
        return Draft(
            self._generator.name,
            checker.kept,
            checker.mended,
            checker.quoted,
            dict(checker.objections),
            added,
            self._failed,
        )

    def whole(self, least: float) -> bool:
        """Whether all that was drafted passed, and something in it scores `least` at least."""
        report, best = self.report(), self._checker.best if self._checker else 0.0
        return report.failed is None and not report.objections and report.passed > 0 and best >= least
