"""What is asked in one go -> the questions that it is made of."""

from __future__ import annotations

import re

MOST = 4
"""Questions that are told apart; what holds more of them is taken as one."""


def parts(text: str) -> tuple[str, ...]:
    """The questions in a text, in its order, each to be answered for itself; the text alone where it is one.

    Questions follow each other, are joined by "and", or ask what several things are. What is asked of a subject that
    stands before them is asked of it each time. A comparison is one question, and so is one with its occasion.

    >>> parts("What is LoRA, and what do critics say of RL?")
    ('What is LoRA', 'what do critics say of RL?')
    >>> parts("What are GRPO and majority voting?"), parts("How do GRPO and PPO differ?")
    (('What are GRPO', 'What are majority voting?'), ('How do GRPO and PPO differ?',))
    >>> parts("openseeker v2: how big is it and what does it cost")
    ('openseeker v2: how big is it', 'openseeker v2: what does it cost')
    >>> parts("My agent forgets what it was told. What helps?")
    ('My agent forgets what it was told. What helps?',)
    """
    text = " ".join(text.split())
    asked = [question for said in _sentences(text) for question in _joined(said)]
    found = [thing for question in asked for thing in _things(question)]
    return tuple(found) if 1 < len(found) <= MOST else (text,)


_BE = r"(?:is|are|was|were)"
_HELPS = rf"(?:{_BE}|do|does|did|can|could|will|would|should|has|have|had)(?:n['’]t)?"
_SOMEBODY = r"(?:it|they|that|this|these|those|there|the|any|anyone|anybody|we|you|he|she|i|an?)"
_HOW_MUCH = (
    r"(?:many|much|little|few|long|short|often|rarely|far|close|fast|slow|quickly|well|good|bad|badly|big|large|small|high|"
    r"low|deep|strong|weak|hard|easy|cheap|expensive|old|new|safe|likely|sure|common|rare|robust|useful|effective\w*|"
    r"accurate\w*|reliabl[ey])"
)
_HAPPENS = (
    r"(?:happen|make|cause|help|explain|drive|change|go|work|count|come|limit|stop|fix|break|separate|trigger)(?:s|ed)?"
    r"|made|went|came|broke|drove|led"
)
# A question by its form: its word, and then what turns round before the subject.
_ASKS = re.compile(
    r"(?:(?:by|in|on|for|to|at|with|from|under|of)\ (?=what|which|whom|whose|how))?"
    rf"(?:(?:what|which|who|whom|whose|when|where|why|how)['’]?s?\ {_HELPS}\ \S"
    r"|(?:what|who|how|where|why|when)['’]?s\ \S+"
    rf"|what\ (?:{_HAPPENS})\b"
    r"|who\ \w+\ \S"
    rf"|(?:what|which|whose)\ (?!{_SOMEBODY}\b)(?:[\w'’-]+\ ){{1,4}}?{_HELPS}\ \S"
    rf"|how\ {_HOW_MUCH}\b.*\S"
    rf"|{_HELPS}\ {_SOMEBODY}\ \S"
    r"|(?:what|how)\ about\ \S)",
    re.IGNORECASE | re.VERBOSE,
)
_TELL = re.compile(r"(?:explain|define|describe|summari[sz]e|tell me|show me|give me|list)\b \S", re.IGNORECASE)
_OPENS = re.compile(r"(?:and|but|also|plus|then|so|btw|ok(?:ay)?|oh|or)\b[\s,]*(?:also\b[\s,]*|then\b[\s,]*)?", re.I)
_ENDS = re.compile(r"(?<=[?!])\s+|\s*;\s+|(?<=[^.]\.)\s+(?=[A-Za-z])")
_AND = re.compile(
    r"(?:\s*[,;]|\s+[-–—])?\s+(?:and|but|also|plus|btw)\s+(?:also\s+|then\s+)?|\s*[,;]\s+|\s+[-–—]\s+", re.I
)
_PAUSES = frozenset(",;-–—")
_HELPS_FIRST = re.compile(rf"{_HELPS}\ \S", re.I)
_PAUSE = re.compile(r"[,:]\s+|\s+[-–—]\s+")
_IF_SO = re.compile(r"\bif (?:so|not|any)$", re.I)


def _asks(text: str) -> bool:
    return any(form.match(text) for form in (_ASKS, _TELL, _HELPS_FIRST)) or bool(_topic(text))


def _topic(text: str) -> str:
    """What stands before a question that is asked of it, with what parts them; "" where nothing does."""
    if _ASKS.match(text):
        return ""
    return next((text[: m.end()] for m in _PAUSE.finditer(text) if _ASKS.match(text, m.end())), "")


def _sentences(text: str) -> list[str]:
    """The sentences that ask, each with its occasion before it and with what is only added to it behind it.

    Without the word that joins one to the one before.
    """
    out: list[str] = []
    asked = False  # whether the last one asks
    for said in _ENDS.split(text):
        opening = _OPENS.match(said)
        bare = said[opening.end() :] if opening else said
        asks = _asks(bare)
        if out and not (asks and asked):
            out[-1] += f" {said}"
        else:
            out.append(bare if out else said)
            asked = False
        asked = asked or asks or (said.endswith("?") and any(c.isalnum() for c in said))
    return out


def _joined(text: str) -> list[str]:
    """The questions of a sentence."""
    out: list[str] = []
    topic, start = _topic(text), 0
    for joint in _AND.finditer(text):
        left, right = text[start : joint.start()], text[joint.end() :]
        verb = _HELPS_FIRST.match(right) is not None
        clause = verb and joint.group().strip() in _PAUSES  # "under what conditions, if any, is …"
        asks = _ASKS.match(right) or (verb and _HELPS_FIRST.match(left))
        if asks and _asks(left) and not clause and not _IF_SO.search(left):
            out.append(left)
            start = joint.end()
    out.append(text[start:])
    return [out[0], *(topic + question for question in out[1:])]


_WHAT = re.compile(
    rf"(?P<head>(?:so\ |ok(?:ay)?\ )?(?:what(?:['’]?s|\ {_BE})|(?:please\ )?(?:explain|define|describe))\ )"
    r"(?P<things>.+?)(?P<end>\s*[?.!]*)",
    re.IGNORECASE | re.VERBOSE,
)
_BETWEEN = re.compile(r"\s*,\s+(?:and\s+|&\s*)?|\s+and\s+|\s+&\s+", re.IGNORECASE)
_LONGEST = 4
_NO_THING = frozenset(
    """
    of for in on at between with without to from by than vs versus or that which who when where how what why is are was
    were do does did can not it them they its their both difference differences relation relationship link connection
    pros cons strengths weaknesses advantages disadvantages similarities main best most more
    """.split()  # noqa: SIM905
)


def _things(text: str) -> list[str]:
    """A question for each thing that is to be explained; the question alone where it asks for something else."""
    asked = _WHAT.fullmatch(text)
    if asked is None:
        return [text]
    things = _BETWEEN.split(asked["things"])
    words = [thing.split() for thing in things]
    plain = all(0 < len(thing) <= _LONGEST and _NO_THING.isdisjoint(w.lower() for w in thing) for thing in words)
    # "supervised and unsupervised learning": the first may lack the noun that the last one has.
    halved = len(words[-1]) > 1 and any(len(thing) == 1 and thing[0].islower() for thing in words[:-1])
    if not plain or halved or not 1 < len(things) <= MOST:
        return [text]
    return [f"{asked['head']}{thing}{asked['end'] if thing is things[-1] else ''}" for thing in things]
