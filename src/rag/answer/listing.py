"""Which episodes there are on a subject -> a sentence of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answer.extract import Candidate, leans, with_support


@dataclass(frozen=True, slots=True)
class ListValues:
    """How episodes are listed: the best `passages` are read, and at most `episodes` listed.

    An episode is listed by a sentence whose standing reaches `keep` of that of the best one that cites an episode.
    """

    passages: int = 60
    episodes: int = 8
    keep: float = 0.7


_LONGEST = 16
"""Words of a subject: what is longer tells of one thing in particular, and is answered as any question."""
_FEWEST = 3
"""Words that tell what episodes are wanted where no word says that they are to be about it."""
_NOUN = r"(?:episodes?|eps?|papers?|studies)"
_ANY = re.compile(r"\b(?:episodes|eps|papers|studies|(?<!the )(?<!this )(?<!that )(?:episode|ep|paper))\b", re.I)
_WHICH = frozenset("which what".split())  # noqa: SIM905
_OF_THEM = frozenset("of the your this these podcast podcast's other else".split())  # noqa: SIM905
_ASK = frozenset("do does did is are has have can could would how".split())  # noqa: SIM905
"""Words that, right before the noun, ask something of the episodes: "How do papers on memory differ?"."""
_BEFORE = frozenset(
    """
    which what list show give find name recommend suggest tell are is there do does did any some all the every me us
    please can could you i have has got want need like to hear see get know of in your this podcast podcast's a an other
    more anything something else one ones hey hi hello would looking for search where how many two three four five
    couple few several
    """.split()  # noqa: SIM905
)
_BETWEEN = frozenset(
    """
    that which are is was were do does did i we should could can would listen to hear there in the corpus podcast here
    have has you all mainly mostly also really actually ever best most directly read start with available any where
    whose or several some more few mean
    """.split()  # noqa: SIM905
)
_TREATS = re.compile(
    r"(?:about|on|by|from|regarding|concerning|around|cover(?:s|ed|ing)?|discuss(?:es|ed|ing)?|mention(?:s|ed|ing)?|"
    r"address(?:es|ed|ing)?|deal(?:s|t|ing)?\ with|talk(?:s|ed|ing)?\ (?:about|of)|sp(?:eaks?|oke)\ (?:about|of)|"
    r"treat(?:s|ed|ing)?|touch(?:es|ed|ing)?\ (?:on|upon)|look(?:s|ed|ing)?\ (?:at|into)|explor(?:e|es|ed|ing)|"
    r"stud(?:y|ies|ied|ying)|investigat(?:e|es|ed|ing)|us(?:e|es|ed|ing)|relat(?:e|es|ed|ing)\ to|concern(?:s|ed)?|"
    r"featur(?:e|es|ed|ing)|involv(?:e|es|ed|ing)|examin(?:e|es|ed|ing)|have\ to\ do\ with|focus(?:es|ed|ing)?\ on|"
    r"go(?:es)?\ into|tackl(?:e|es|ed|ing))\ (?=\S)",
    re.IGNORECASE | re.VERBOSE,
)
_SAY = re.compile(
    r"^(?:say|argue|claim|show|find|found|suggest|report|conclude|think|believe)s? (?:that )?", re.IGNORECASE
)
_PASSIVE = re.compile(
    rf"(?:in\ )?(?:which|what)\ (?:of\ the\ )?{_NOUN}\ (?:is|are|was|were|do|does|did)\ (?P<subject>.+?)\ "
    r"(?:being\ |ever\ )?(?:discussed|mentioned|covered|addressed|treated|featured|explained|described|explored|"
    r"studied|used|comes?\ up|appears?|shows?\ up)(?:\ in)?",
    re.IGNORECASE | re.VERBOSE,
)
_ABOUT = re.compile(r"^(?:the )?(?:topics?|subjects?|question|issue|problem|idea|concept)s? of ", re.IGNORECASE)
_COURTESY = re.compile(
    r"(?:,? (?:please|at all|too|thanks|thank you|in this podcast|in the corpus|here))+$", re.IGNORECASE
)


def subject(text: str) -> str | None:
    """What someone wants the episodes on; None for any other question.

    >>> subject("Which episodes talk about reward hacking?"), subject("Are there any papers on the topic of memory?")
    ('reward hacking', 'memory')
    >>> subject("In which episodes is GRPO mentioned?"), subject("Which episode found 12 security bugs?")
    ('GRPO', None)
    """
    words = _COURTESY.sub("", " ".join(text.split()).rstrip(" ?.!"))
    passive = _PASSIVE.fullmatch(words)
    found = passive["subject"] if passive else _treated(words)
    if found is None:
        return None
    found = _ABOUT.sub("", found.strip(" \"'“”‘’"))
    return found if 0 < len(found.split()) <= _LONGEST else None


def _treated(text: str) -> str | None:
    noun = _ANY.search(text)
    if noun is None:
        return None
    before = _words(text[: noun.start()])
    which = next((at for at, word in enumerate(before) if word in _WHICH), len(before))
    if (
        not _BEFORE.issuperset(before)
        or not _OF_THEM.issuperset(before[which + 1 :])
        or not _ASK.isdisjoint(before[-1:])
    ):
        return None
    several = noun.group()[-1] in "sS" or which == len(before)
    rest = text[noun.end() :].lstrip(" ,:")
    while rest:
        treats = _TREATS.match(rest)
        if treats is not None:
            return rest[treats.end() :]
        word, _, after = rest.partition(" ")
        if (bare := word.lower().strip(",-–—")) and bare not in _BETWEEN:
            break
        rest = after
    told = _SAY.sub("", rest)
    return told if several and len(told.split()) >= _FEWEST else None


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’]+", text.lower())


def choose_listed(ranked: Sequence[Candidate], values: ListValues) -> list[Candidate]:
    """A sentence of each episode on a subject, the best first; none where no candidate cites an episode.

    `ranked` are candidates for the subject, best first. A sentence on one episode alone comes before those on a group
    of them, and one that stands by itself before one that takes along the sentence that it leans on.
    """
    cited = [c for c in ranked if c.sentence.episodes]
    if not cited:
        return []
    best = cited[0]
    said = best.coverage > 0  # where it has a word of the subject's nearby, so has whatever else is on it
    fit = [c for c in cited if c.standing >= values.keep * best.standing and (c.coverage > 0 or not said)]
    chosen: list[Candidate] = []
    listed: set[str] = set()
    for candidate in sorted(fit, key=lambda c: (len(c.sentence.episodes) > 1, leans(c.sentence.text))):
        if not listed.issuperset(candidate.sentence.episodes):
            chosen.append(candidate)
            listed.update(candidate.sentence.episodes)
    before = {(c.passage.id, c.sentence.end): c for c in ranked}
    ordered = sorted(chosen, key=fit.index)[: values.episodes]
    return list(dict.fromkeys(c for candidate in ordered for c in with_support(candidate, before)))
