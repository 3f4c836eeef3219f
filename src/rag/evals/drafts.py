"""What language models' drafts come to."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rag.records import Answer, AnswerSentence


@dataclass(frozen=True, slots=True)
class DraftReport:
    """Counts of sentences over `drafts` drafts, as `rag.records.Draft` has them of one.

    `fallbacks` are the answers that show nothing of their draft, and `failed` the drafts that did not end well.
    `unfounded` are the sentences among the `shown` ones that `is_founded` refuses. `tokens_per_second` are those of the
    drafts, by the model's own count, over the time from being asked to the end of the draft.
    """

    model: str
    drafts: int
    kept: int
    mended: int
    quoted: int
    dropped: int
    objections: dict[str, int]
    added: int
    shown: int
    fallbacks: int
    failed: int
    unfounded: tuple[str, ...]
    tokens_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return asdict(self)


def report_drafts(answers: Iterable[Answer], tokens_per_second: float | None = None) -> DraftReport | None:
    """The report on the answers for which a draft was asked; None where there are none."""
    drafted = [(answer, answer.draft) for answer in answers if answer.draft is not None]
    if not drafted:
        return None
    drafts = [draft for _, draft in drafted]
    objections: Counter[str] = Counter()
    for draft in drafts:
        objections.update(draft.objections)
    shown = [sentence for answer, _ in drafted for sentence in answer.sentences]
    return DraftReport(
        model=drafts[0].model,
        drafts=len(drafts),
        kept=sum(draft.kept for draft in drafts),
        mended=sum(draft.mended for draft in drafts),
        quoted=sum(draft.quoted for draft in drafts),
        dropped=sum(draft.dropped for draft in drafts),
        objections=dict(objections.most_common()),
        added=sum(draft.added for draft in drafts),
        shown=len(shown),
        fallbacks=sum(not answer.abstained and not draft.passed for answer, draft in drafted),
        failed=sum(draft.failed is not None for draft in drafts),
        unfounded=tuple(sentence.text for sentence in shown if not is_founded(sentence)),
        tokens_per_second=tokens_per_second,
    )


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"\b\w*[^\W\d_a-z]\w*")


def is_founded(sentence: AnswerSentence) -> bool:
    """Whether every number and every name of a sentence stands in one of its quotes; nothing else is looked at.

    It shares no code with `rag.answer.verify`, which it is there to check. A name is a word with a capital letter; the
    first word of a sentence has one anyway, so there the letters have to stand in the quote in any case.

    >>> from rag.records import AnswerSentence, Evidence
    >>> quote = Evidence("d", "t", "", 0, 22, "RL beats Qwen by 3.8 %", (), "none", 1.0)
    >>> [is_founded(AnswerSentence(t, (quote,))) for t in ("Rl beats Qwen.", "RL wins by 38 %.", "RL beats Llama.")]
    [True, False, False]
    """
    quotes = [evidence.quote for evidence in sentence.evidence]
    numbers = {number for quote in quotes for number in _NUMBER.findall(quote)}
    names = {name for quote in quotes for name in re.findall(r"\w+", quote)}
    said = set(_NAME.findall(sentence.text))
    first = re.search(r"\w+", sentence.text)
    if first and first.group().casefold() in {name.casefold() for name in names}:
        said.discard(first.group())
    return said <= names and set(_NUMBER.findall(sentence.text)) <= numbers
