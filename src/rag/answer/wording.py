"""What a sentence's wording lets one say: figures, names and negations exactly, and only whole pieces left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is compared.

    `key` is its exact form (figures and acronyms keep their case), `stem` what inflected forms share. `kind` is
    "word", "name" (capitalised inside a sentence, or an acronym), "figure" (holds a digit or is a number word) or
    "break" (punctuation: "," ";" or "."; "?" ends a question).
    """

    key: str
    stem: str
    kind: str

    def same(self, other: Word) -> bool:
        """Whether two words say the same: figures and names exactly, others up to inflection."""
        return self.key == other.key or (
            self.kind == other.kind == "word"
            and self.stem == other.stem
            and self.key not in _EXACT
            and other.key not in _EXACT
        )


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LIGHT = _set("a an the about roughly approximately circa also indeed thus therefore however moreover ~ ≈")
"""May be dropped or added: nothing is true with one of them and false without."""
NEGATIONS = _set(
    "not no no, never none neither nor nobody nothing nowhere without cannot non fail fails failed failing lack lacks "
    "lacked lacking rarely seldom hardly barely scarcely few little absent absence"
)
QUALIFIERS = NEGATIONS | _set(
    """
    if unless until whether may might could would should can perhaps possibly probably likely unlikely supposedly
    allegedly apparently reportedly potentially theoretically seem seems seemed appear appears appeared claim claims
    claimed say says said argue argues argued suppose supposed assume assumes assumed assuming believe believes
    believed think thinks thought doubt doubts doubted deny denies denied refute refutes refuted reject rejects
    rejected false wrong myth incorrect untrue mistaken only except excepting barring provided or either unlike rather
    instead respectively some sometimes occasionally often most mostly many half almost nearly partly partially critic
    critics criticism skeptics sceptics hope hopes hoped expect expects expected fear feared predict predicts
    predicted imagine hypothesis hypothesise hypothesize conjecture theory simulation hypothetical hypothetically idea
    goal aim aims aimed plan plans planned want wants wanted try tries tried attempt attempts attempted than before
    after contrary both the_only against artefact artifact illusion disappears vanishes used longer under when once as
    like so-called every each all any formerly previously initially till ceased stopped stops disputed retracted
    debunked impossible opposite reverse vice disproved disproven debatable unclear unproven
    """
)
"""Dropped from around a claim, one of these can change whether it is true."""
BE = _set("is are was were")
JOINS = _set("and while whereas because although though since making giving")
PREPOSITIONS = _set("in on at for from with across through during within via among using by of into")
_EXACT = LIGHT | QUALIFIERS | BE | JOINS | PREPOSITIONS  # "not" is no form of "noted", nor "on" of "ones"
FACTIVE = _set(
    "show shows showed shown find finds found report reports reported demonstrate demonstrates demonstrated "
    "reveal reveals revealed prove proves proved confirm confirms confirmed establish establishes observed"
)
_NUMBERS = dict(
    zip(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty""".split(),  # noqa: SIM905
        map(str, range(21)),
        strict=True,
    )
)
_SCALES = _set("hundred thousand million billion trillion")
_ABBREVIATIONS = _set("e.g i.e vs al fig figs eq dr mr mrs ms prof cf approx etc inc u.s ca")
_IRREGULAR = dict(
    pair.split(":")
    for pair in """beaten:beat won:win fell:fall rose:rise grew:grow written:write wrote:write taken:take took:take
    given:give gave:give shown:show found:find built:build made:make driven:drive drove:drive""".split()  # noqa: SIM905
)
_CONTRACTED = (
    (re.compile(r"\bcan(?:'t|not)\b", re.I), "can not"), (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"n't\b", re.I), " not"), (re.compile(r"\bper ?cent\b", re.I), "%"),
    (re.compile(r"(?<=\d)\s+%"), "%"), (re.compile(r"(?<=\d) - (?=\d)"), "-"),
    (re.compile(r"\b(a|the) (few|little|only)\b", re.I), r"\1_\2"),
    (re.compile(r"(?<![\w.,])(\d[\d,.]*(?:\s+(?:thousand|million|billion|trillion))?) (?:US )?dollars\b"), r"$\1"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""), (re.compile(r"(?<=\w)/(?=[^\W\d])"), " / "),
)  # fmt: skip
_CHARACTERS = str.maketrans({
    "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-",
    "−": "-", "—": " — ", "…": " . ",
})  # fmt: skip
# A chunk that holds a digit stays whole ("Qwen2.5-Math-7B", "-3.8%", "6-16"); others are cut at hyphens.
_CHUNK = re.compile(r"""([(\["'*_`]*)(\S*?)([)\]"'*_`.,;:!?]*)(?=\s|$)""")
_SIGN = re.compile(r"([<>≤≥=±]+)(?=[$€£~]?\d)")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """What plain inflections share; weaker than Snowball on purpose ("universe" is not "university").

    >>> [stem(w) for w in ("gains", "gained", "gaining", "studies", "beaten", "less", "us")]
    ['gain', 'gain', 'gain', 'study', 'beat', 'less', 'us']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, put in (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            root = word[: -len(ending)] + put
            if ending in ("ing", "ed") and root[-1] == root[-2] and root[-1] not in "lsz":
                root = root[:-1]
            return root.removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[Word, ...]:
    """The words of a text, with its breaks; markers are to be gone (`rag.corpus.markers.plain`).

    >>> [w.key for w in words("RL can't beat Qwen2.5-Math-7B by 1,000 points, or 97–99 percent, for 25 dollars.")]
    ['RL', 'can', 'not', 'beat', 'Qwen2.5-Math-7B', 'by', '1000', 'points', ',', 'or', '97-99%', ',', 'for', '$25', '.']
    >>> [w.key for w in words("about −5 GB, >5%, 10², $25 million")]
    ['about', '-5', 'GB', ',', '>', '5%', ',', '10²', ',', '$25million', '.']
    """
    text = text.translate(_CHARACTERS)
    for pattern, put in _CONTRACTED:
        text = pattern.sub(put, text)
    out: list[Word] = []
    for opens, chunk, closes in _CHUNK.findall(_SIGN.sub(r" \1 ", text)):
        if opens.strip("\"'*_`") and out:
            out.append(_BREAKS[","])
        if chunk in ("-", "--", "—"):
            out.append(_BREAKS[","])
        elif any(c.isnumeric() for c in chunk):
            if chunk[0] in "~≈":
                chunk = chunk[1:]
            out.append(Word(chunk, chunk, "figure"))
        else:
            for part in re.split(r"(?<=\w)-(?=\w)", chunk) if chunk else ():
                _add(out, part, "," in closes)
        ends = closes.strip("\"'*_`")
        if ends and not (ends == "." and chunk.lower() in _ABBREVIATIONS):
            out.append(
                _BREAKS["?" if "?" in ends else "." if set(ends) & set(".!") else ";" if set(ends) & set(";:") else ","]
            )
    if out and out[-1].kind != "break":
        out.append(_BREAKS["."])
    return tuple(out)


_BREAKS = {mark: Word(mark, mark, "break") for mark in ",;.?"}


def _add(out: list[Word], part: str, comma: bool) -> None:
    low = part.casefold()
    if low in _SCALES and out and out[-1].kind == "figure":
        out[-1] = Word(out[-1].key + low, out[-1].key + low, "figure")
    elif low in _NUMBERS:
        out.append(Word(_NUMBERS[low], _NUMBERS[low], "figure"))
    elif sum(c.isupper() for c in part) > 1:
        out.append(Word(part, part, "name"))
    else:
        first = not out or out[-1].key in (".", "?")
        kind = "name" if part[:1].isupper() and not first and len(part) > 1 else "word"
        out.append(Word("no," if low == "no" and comma else low, stem(low), kind))


LONGEST = 400
"""Words of a sentence that is still looked into; a longer one supports its very self alone (cutting is quadratic)."""


def follows(claim: tuple[Word, ...], quote: tuple[Word, ...]) -> bool:
    """Whether a sentence can be had from another by steps that keep truth.

    Left out may be an aside, or a whole clause or added phrase at either end, that holds no qualifier; the phrase
    before the first comma may move to the end, and a passive turn active.

    >>> quote = words("On code, A beats B by 3 points, though C is cheap.")
    >>> [follows(words(c), quote) for c in ("A beats B by 3 points on code.", "A beats B by 3.", "B beats A.")]
    [True, False, False]
    """
    if max(len(claim), len(quote)) > LONGEST:
        return claim == quote
    return any(_cut(c, q) for c in _forms(claim) for q in _forms(quote))


def _forms(sentence: tuple[Word, ...]) -> Iterator[tuple[Word, ...]]:
    """A sentence, with its first phrase behind the first clause, and its passive turned active."""
    if sentence and sentence[0].key in ("and", "but", "so", "yet"):
        sentence = sentence[1:]
    yield sentence
    breaks = [i for i, w in enumerate(sentence) if w.kind == "break"]
    if len(breaks) > 1 and sentence[0].key in PREPOSITIONS and sentence[breaks[0]].key == ",":
        first, second = breaks[:2]
        yield (*sentence[first + 1 : second], *sentence[:first], *sentence[second:])
    for i, word in enumerate(sentence[: breaks[0] if breaks else 0]):
        if (
            word.key in BE
            and i
            and i + 3 < len(sentence)
            and sentence[i + 2].key == "by"
            and sentence[-1].kind == "break"
        ):
            stops = [w.kind == "break" or w.key in PREPOSITIONS | JOINS for w in sentence[i + 3 :]]
            end = i + 3 + stops.index(True)
            yield (*sentence[i + 3 : end], sentence[i + 1], *sentence[:i], *sentence[end:])


def _cut(claim: tuple[Word, ...], quote: tuple[Word, ...]) -> bool:
    """Whether leaving whole pieces out of `quote` gives `claim`; what is left out may hold no qualifier."""
    wanted = [w for w in claim if w.kind != "break"]
    if not wanted or (claim[-1].key == "?") != (quote[-1].key == "?"):
        return False
    places = {at for at in range(len(quote)) if quote[at].same(wanted[0]) and _begins(quote, at)}
    for word in wanted[1:]:
        places = {at for place in places for at in _onward(quote, place + 1) if word.same(quote[at])}
    return any(_ends(quote, place + 1) for place in places)


def _onward(quote: Sequence[Word], at: int) -> Iterator[int]:
    """Where the next word of a claim may stand: at `quote[at]`, or behind the breaks and one aside there."""
    while at < len(quote) and quote[at].kind == "break":
        aside = _aside(quote, at)
        if aside is not None:
            yield aside
        at += 1
    if at < len(quote):
        yield at


def _plainly(piece: Sequence[Word]) -> bool:
    return all(w.key not in QUALIFIERS for w in piece)


def _begins(quote: Sequence[Word], at: int) -> bool:
    """Whether a claim may start at `quote[at]`: at the sentence's head, behind a break, or behind "shows that"."""
    before = quote[:at]
    while before and before[-1].key in ("and", "but", "so", "yet", "while", "whereas"):
        before = before[:-1]
    if not before:
        return True
    if not _plainly(before) or quote[at].key in ("or", "nor"):
        return False
    if before[-1].kind != "break":
        return before[-1].key in FACTIVE and len(before) == at > 1
    last = [w.kind for w in before[:-1]][::-1]
    length = last.index("break") if "break" in last else None
    fronted = before[0].key in PREPOSITIONS and any(w.kind == "figure" for w in before)
    return not fronted and (length is None or length > 2)  # "X, Y, and Z lose" does not say that Z loses


def _ends(quote: Sequence[Word], at: int) -> bool:
    """Whether a claim may end before `quote[at]`: before a break, a joining word or a phrase that only adds."""
    rest = quote[at:]
    if len(rest) < 2:
        return True
    head = next((w for w in rest if w.kind != "break" and w.key != "and"), rest[0])
    if head.kind == "figure" or head.key == "of" or not _plainly(rest):
        return False
    if rest[1].key in ("which", "whom", "whose") or quote[at - 1].key in QUALIFIERS:
        return False  # "plans in which …", "aims only at …"
    if rest[0].kind != "break" and any(w.key == "than" for w in quote[:at]):
        return False  # "more than the reward for …" is not more than the reward
    if head.key in PREPOSITIONS and any(w.kind == "figure" for w in rest):
        return False  # "in 5% of cases"
    return rest[0].kind == "break" or rest[0].key in JOINS | PREPOSITIONS


def _aside(quote: Sequence[Word], at: int) -> int | None:
    """Where the aside that opens at the break `quote[at]` has closed, or None: no list, and no clause of its own."""
    end = next((j for j in range(at + 1, len(quote)) if quote[j].kind == "break"), None)
    if end is None or end + 1 >= len(quote) or quote[at].key != "," or quote[end].key != ",":
        return None
    fronted = quote[0].key in PREPOSITIONS and all(w.kind != "break" for w in quote[:at])
    listed = quote[end + 1].key in ("and", "or") or any(w.key in ("and", "but", "while") for w in quote[at:end])
    return None if fronted or listed or not _plainly(quote[at:end]) else end + 1
