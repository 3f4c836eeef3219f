"""A claim and passages -> how likely they support it: the score beside the verdict of `rag.answer.verify`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.answer.logistic import Logistic
from rag.answer.wording import stem, words
from rag.corpus.sentences import sentence_spans

if TYPE_CHECKING:
    from rag.ports import Entailment, TokenEncoder, TokenVectors

WORDS = ("window", "pairs", "far_figures", "long")
"""What is weighed where there is no encoder, by the weights in support_words.json."""
VECTORS = ("pairs", "far_figures", "long", "cosine", "aligned", "weakest")
"""What is weighed where there is one, by those in support.json."""

_CHUNK = 700
"""Characters that are encoded at once; all-MiniLM-L6-v2 reads 256 tokens."""
_CHUNKS = 12
"""Chunks that are looked at by vectors: those that share most words with the claim (a web page may have hundreds)."""
_LONG = 300
"""Words from where on a passage is longer than evidence usually is."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STOP = _set(
    """a an the and or nor but if so as at be been by can could did do does for from had has have he her his i in into
    is it its may might of on our she should some such than their them then there these they this those to was were
    am are we what when which who whom will with would you your not no that also about more most how many any all each
    both either however thus therefore while where because due during between through over under after before very
    just only using used use being up out often including include s t one other me my him itself themselves according
    based within per"""
)
_NEGATIONS = _set(
    """not no never none neither nor nobody nothing without cannot unable lack lacks lacked lacking absent absence
    independent unrelated hardly rarely fail fails failed failing little ineffective unaffected unchanged"""
)
# Two axes, each with its two directions.
_DIRECTIONS = tuple(
    {stem(word): sign for sign, text in ((1, up), (-1, down)) for word in text.split()}
    for up, down in (
        (
            """increase increasing rise rising raise elevate elevated elevation enhance enhancement augment higher high
            greater more grow growth upregulate upregulation accelerate acceleration promote promotion stimulate
            stimulation activate activation induce induction enable boost strengthen expand expansion overexpression
            facilitate exceed larger longer faster stronger heavier gain overestimate maximize amplify intensify
            positive positively""",
            """decrease decreasing reduce reduction lower low fall decline diminish less fewer inhibit inhibition
            suppress suppression impede prevent prevention block attenuate attenuation downregulate downregulation
            slow slower weaken shrink loss lose drop dampen hinder limit repress deactivate smaller shorter weaker
            deplete depletion abolish abrogate minimize underestimate negative negatively halve""",
        ),
        (
            """improve improvement better protect protective benefit beneficial effective rescue restore ameliorate
            safe success successful accurate alleviate relieve""",
            """worsen worse damage harm harmful impair impairment detrimental ineffective exacerbate aggravate unsafe
            dangerous fail failure inaccurate disrupt disruption""",
        ),
    )
)

_REFERENCE = re.compile(r"\[\d+(?:\s*[,–-]\s*\d+)*\]|(?:https?://|www\.)\S+")
_NUMBERED = re.compile(r"^\s*(?:\d{1,2}[.)]|[•*-])\s+|^\s*\d{1,2}[\s.)]*$", re.M)
_TOKEN = re.compile(r"\d+(?:\.\d+)*|[^\W\d_]+")
_WORD = re.compile(r"[^\W_]")
_SIGNS = re.compile(r"[^\W_]|(?<=\d)\.(?=\d)")


def _plain(text: str) -> str:
    """Lower case, without accents."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[str, ...]:
    """Words and numbers in lower case without accents, number words as digits, "n't" as "not".

    >>> _tokens("It doesn't cost Zoë's three labs $1,500.")
    ('it', 'does', 'not', 'cost', 'zoe', 's', '3', 'labs', '1500')
    """
    return tuple(token for word in words(text) for token in _TOKEN.findall(_plain(word.key)))


def _terms(text: str) -> tuple[str, ...]:
    return tuple(stem(t) for t in _tokens(text) if t not in _STOP)


def _weight(term: str) -> float:
    """How much a term counts: longer words and numbers are rarer. (Document frequencies gave no more.)"""
    return 3.0 if term[0].isdigit() else min(len(term), 10) / 3


@dataclass(frozen=True, slots=True)
class _Read:
    """Passages in sentences: `passage[i]` is where sentence i stands, `windows` are it alone or it and the next."""

    sentences: tuple[str, ...]
    passage: tuple[int, ...]
    terms: tuple[tuple[str, ...], ...]

    @property
    def windows(self) -> list[tuple[int, int]]:
        """(first, end) of two neighbouring sentences of one passage, or of a passage's only sentence."""
        pairs = [(i, i + 2) for i, (a, b) in enumerate(pairwise(self.passage)) if a == b]
        alone = [(i, i + 1) for i, p in enumerate(self.passage) if self.passage.count(p) == 1]
        return pairs + alone


def _read(passages: Sequence[str]) -> _Read:
    found: list[tuple[str, int]] = []
    for number, passage in enumerate(passages):
        for line in _REFERENCE.sub(" ", passage).splitlines():
            found += [(line[a:b], number) for a, b in sentence_spans(line, 0, len(line)) if _WORD.search(line, a, b)]
    return _Read(
        tuple(text for text, _ in found),
        tuple(number for _, number in found),
        tuple(_terms(text) for text, _ in found),
    )


# What must be there: a figure or a name of the claim.

_BARE = re.compile(r"[-$€£]*(\d+(?:\.\d+)*)")
_PEOPLE = re.compile(r"(?:ians?|eans?|ans?|ese|ish|is?)$")
_PLACE = re.compile(r"(?:ia|[aey])$")


def _pieces(figure: str) -> list[str]:
    """The figures of a chunk; a unit of percent belongs to both ends of a range.

    >>> _pieces("97-99%"), _pieces("Qwen2.5-Math-7B"), _pieces("-5")
    (['97%', '99%'], ['qwen2.5', '7b'], ['-5'])
    """
    parts = [p for p in re.split(r"[^\w.%$€£]+", _plain(figure)) if any(c.isnumeric() for c in p)]
    ranged = len(parts) == 2 and parts[1].endswith("%")
    if parts and figure.startswith("-"):
        parts[0] = "-" + parts[0]
    return [part + "%" if ranged and part[-1].isdigit() else part for part in parts]


def missing(claim: str, passages: Sequence[str]) -> tuple[str, ...]:
    """Figures and names of the claim that the passages do not hold, as the claim writes them.

    A figure has to be there with its unit of percent or money, a plain one may have any unit; the figures of a range
    or a code stand together; "one" is no figure. A name may be there in another case, hyphenated, inside a longer
    acronym, as its nationality ("Slovenian"), or as the words that an acronym stands for, be it that the claim says
    them right before it. A capital that begins a sentence, a line or what follows a colon makes no name.

    >>> missing("RL gains 3.8% over SFT in Italy.", ["By 3.8 points reinforcement learning beats Italian sft."])
    ('RL', '3.8%')
    """
    there = _There.of(passages)
    initials, colon = "", False
    out = []
    for word in words(_named(_claim(claim))):
        if word.kind == "figure":
            found = there.figure(word.key)
        elif word.kind == "name":
            letters = _plain(word.key).removesuffix("s")
            said_before = len(letters) > 1 and not word.key.islower() and initials.endswith(letters)
            found = said_before or (colon and word.key.islower()) or there.name(word.key)
        else:
            found = True
        if not found:
            out.append(word.key)
        colon = word.key == ";"
        initials += "".join(token[0] for token in _TOKEN.findall(_plain(word.key)))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class _There:
    """What figures and names are looked for in.

    `figures` are the passages' in reading order, each with its plain number; `tokens` their words, with and without
    a plural's or possessive's s; `people` and `places` what is left of these where they may name a people or a
    place; `joined` their letters and digits alone, `initials` their words'.
    """

    figures: tuple[tuple[str, str], ...]
    tokens: frozenset[str]
    people: frozenset[str]
    places: frozenset[str]
    joined: str
    initials: str

    @classmethod
    def of(cls, passages: Sequence[str]) -> _There:
        texts = [_named(passage) for passage in passages]
        read = [word for text in texts for word in words(text)]
        pieces = [piece for word in read if word.kind == "figure" for piece in _pieces(word.key)]
        figures = tuple((piece, bare[1] if (bare := _BARE.match(piece)) else piece) for piece in pieces)
        tokens = [token for word in read for token in _TOKEN.findall(_plain(word.key))]
        held = frozenset(tokens) | {token.removesuffix("s") for token in tokens}
        people, places = ({t: _root(t, ending) for t in held} for ending in (_PEOPLE, _PLACE))
        joined = " ".join("".join(_SIGNS.findall(text)) for text in texts)
        peoples = frozenset(root for token, root in people.items() if root != token)
        return cls(figures, held, peoples, frozenset(places.values()), joined, "".join(token[0] for token in tokens))

    def figure(self, key: str) -> bool:
        """Whether a chunk's figures are there, and its names ("GPT-4")."""
        pieces = _pieces(key)
        wanted = [piece.removesuffix("%") for piece in pieces[:-1]] + pieces[-1:]
        found = any(
            all(piece in held for piece, held in zip(wanted, self.figures[at : at + len(wanted)], strict=True))
            for at in range(len(self.figures) - len(wanted) + 1)
        )
        names = [part for part in re.findall(r"[^\W\d_]{2,}", key) if part[0].isupper() and f"-{part}" in f"-{key}"]
        return (found and all(map(self.name, names))) or self._code(key)

    def name(self, key: str) -> bool:
        """Whether a name is there."""
        acronym = not key.islower()
        if acronym and len(key) > 2 and key.removesuffix("s") in self.joined:  # "RNA" in "mRNA", "NFkB" in "NF-kB"
            return True
        return all(
            token in self.tokens or self._kin(token) or (acronym and self._spelled(token))
            for token in _TOKEN.findall(_plain(key))
            if token not in _STOP
        )

    def _code(self, key: str) -> bool:
        """Whether "SREBP2" is there as "SREBP-2": letters first, then figures, and none behind them."""
        code = _plain("".join(_SIGNS.findall(key)))
        return bool(re.fullmatch(r"[^\W\d_]{2,}\d+", code) and re.search(rf"{code}(?!\.?\d)", _plain(self.joined)))

    def _kin(self, token: str) -> bool:
        """Whether a country is there as its people ("Slovenian"), a people as its country, or a plural as one."""
        people = _root(token, _PEOPLE)
        return (
            token.removesuffix("s") in self.tokens
            or (people != token and (people in self.tokens or people in self.places))
            or token in self.people
            or _root(token, _PLACE) in self.people
        )

    def _spelled(self, token: str) -> bool:
        letters = token.removesuffix("s")
        return len(letters) > 2 and letters in self.initials


_COUNTRIES = (
    (re.compile(r"\bUnited States(?: of America)?\b|\bUSA?\b|\bU\.S\.(?:A\.)?"), "Unitedstates"),
    (re.compile(r"\bUnited Kingdom\b|\bUK\b|\bU\.K\."), "Unitedkingdom"),
)
_ONE = re.compile(r"\bone\b", re.I)


def _named(text: str) -> str:
    """A text whose names and figures can be compared: without references, and each line a sentence."""
    text = _ONE.sub("a", _REFERENCE.sub(" ", text)).replace("\n", " . ")
    for pattern, put in _COUNTRIES:
        text = pattern.sub(put, text)
    return text


def _root(name: str, ending: re.Pattern[str]) -> str:
    """A name without its ending, where four letters are left.

    >>> _root("slovenia", _PLACE), _root("slovenian", _PEOPLE), _root("susan", _PEOPLE)
    ('sloven', 'sloven', 'susan')
    """
    root = ending.sub("", name)
    return root if len(root) >= 4 else name


def _claim(text: str) -> str:
    """A claim without its references and its number in a list; as it is where nothing else is left."""
    cut = _NUMBERED.sub(" ", _REFERENCE.sub(" ", text)).strip()
    return cut if _WORD.search(cut) else text


# What the best sentences say, and which way.


def opposed(claim: str, sentences: Sequence[str]) -> bool:
    """Whether the sentences (best first) say the opposite: another direction, or the claim's negation is not there.

    >>> [opposed("X reduces pain.", [s]) for s in ("X increases pain.", "X lowers pain.", "X does not reduce pain.")]
    [True, False, False]
    >>> opposed("X does not reduce pain.", ["X reduces pain."])
    True
    """
    said = _directions(claim)
    for sentence in sentences[:2]:
        turned = [said[axis] != sign for axis, sign in _directions(sentence).items() if axis in said]
        if turned:
            if sum(turned) * 2 > len(turned):
                return True
            break
    return _negates(claim) and not any(map(_negates, sentences))


def _directions(text: str) -> dict[int, int]:
    """Which way a text points, by axis; an axis on which it points both ways is left out."""
    found: dict[int, set[int]] = {}
    for token in _tokens(text):
        for axis, signs in enumerate(_DIRECTIONS):
            if (sign := signs.get(stem(token))) is not None:
                found.setdefault(axis, set()).add(sign)
    return {axis: signs.pop() for axis, signs in found.items() if len(signs) == 1}


def _negates(text: str) -> bool:
    tokens = _tokens(text)
    return any(a in _NEGATIONS and b not in ("only", "just") for a, b in pairwise((*tokens, "")))


# The values that are weighed.


def model_path(names: Sequence[str]) -> Path:
    """Where the weights of WORDS or VECTORS stand."""
    return Path(__file__).with_name("support_words.json" if tuple(names) == WORDS else "support.json")


@lru_cache(maxsize=2)
def _model(names: tuple[str, ...]) -> Logistic:
    return Logistic.read(model_path(names))


def held_back(value: float, values: Mapping[str, float]) -> float:
    """A probability, halved (so below 0.5) where a figure or name is missing or the passages say the opposite."""
    return value / 2 if values["missing"] or values["opposed"] else value


class Support:
    """Scores claims against passages: by their words, and by the vectors of their tokens where there is an encoder.

    The score is a logistic model's. An entailment model takes that model's place where one is given. Either way a
    figure or a name of the claim that the passages do not hold takes the score below 0.5.
    """

    def __init__(self, encoder: TokenEncoder | None = None, entailment: Entailment | None = None) -> None:
        self._encoder, self._entailment = encoder, entailment
        self._last: tuple[str, TokenVectors] | None = None

    def score(self, claim: str, passages: Sequence[str]) -> float:
        """How likely the passages support the claim, in 0..1; 0.5 and above says that they do.

        >>> near, far = (Support().score(c, ["RL beats SFT by 3.8 points."]) for c in ("RL beats SFT.", "Cats sleep."))
        >>> near > 0.5 > far
        True
        """
        if self._entailment is not None:
            value = max((self._entailment.probability(passage, claim) for passage in passages), default=0.0)
            return held_back(value, {"missing": float(bool(missing(claim, passages))), "opposed": 0.0})
        values = self.features(claim, passages)
        return held_back(_model(WORDS if self._encoder is None else VECTORS).probability(values), values)

    def features(self, claim: str, passages: Sequence[str]) -> dict[str, float]:
        """What is weighed, by name; in 0..1, `cosine`, `aligned` and `weakest` in -1..1, `long` from 0 up.

        Of the claim's terms by weight, the share that the passages hold in two neighbouring sentences (`window`); the
        share of its pairs of neighbouring terms (`pairs`); whether a figure is not in that window (`far_figures`); the
        logarithm of how much longer than evidence usually is the longest passage is (`long`); what `_aligned` gives;
        and whether figures or names are `missing` and the best sentences `opposed`.
        """
        read = _read(passages)
        said = _claim(claim)
        wanted = {term: _weight(term) for term in _terms(said)}
        total = sum(wanted.values()) or 1.0

        def share(terms: Set[str]) -> float:
            return sum(weight for term, weight in wanted.items() if term in terms) / total

        own = [frozenset(terms) for terms in read.terms]
        windows = read.windows
        near = [frozenset().union(*own[a:b]) for a, b in windows] or [frozenset()]
        shares = [share(terms) for terms in near]
        best = near[max(range(len(near)), key=shares.__getitem__)]
        pairs = set(pairwise(_terms(said)))
        joined = {pair for terms in read.terms for pair in pairwise(terms)}
        longest = max((len(_tokens(p)) for p in passages), default=0)
        order = [share(terms) for terms in own]
        out = {
            "window": max(shares),
            "pairs": len(pairs & joined) / max(len(pairs), 1),
            "far_figures": float(any(t[0].isdigit() and t not in best for t in wanted)),
            "long": max(0.0, log((longest + 1) / _LONG)),
        }
        if self._encoder is not None:
            last = self._last  # one claim is held against several quotes, maybe by several threads
            if last is None or last[0] != said:
                last = self._last = said, self._encoder.tokens(said)
            found, order = _aligned(self._encoder, said, last[1], read, order)
            out |= found
        nearest = sorted(range(len(order)), key=lambda at: -order[at])[:3]
        return out | {
            "missing": float(bool(missing(claim, passages))),
            "opposed": float(opposed(said, [read.sentences[at] for at in nearest])),
        }


def _aligned(
    encoder: TokenEncoder, claim: str, mine: TokenVectors, read: _Read, shares: Sequence[float]
) -> tuple[dict[str, float], list[float]]:
    """What the vectors of the tokens say, and how near each sentence is; `shares[i]` is what sentence i covers.

    `aligned`: each word's best cosine with a token of the passages, its mean over the words by weight (as BERTScore's
    recall, https://arxiv.org/abs/1904.09675). `weakest`: the same within the best window, of the worst word.
    `cosine`: the claim's mean vector and the nearest window's; it stands in for the sentence's own vector at no cost.
    """
    near = np.full((len(mine.vectors), len(read.sentences)), -1.0, dtype=np.float32)
    sums = np.zeros((len(read.sentences), encoder.dimension), dtype=np.float32)
    seen = set()
    for chunk in _chunks(read, shares):
        starts = np.cumsum([0, *(len(read.sentences[at]) + 1 for at in chunk)])
        theirs = encoder.tokens(" ".join(read.sentences[at] for at in chunk))
        place = np.searchsorted(starts, theirs.spans[:, 0], side="right") - 1
        cosines = mine.vectors @ theirs.vectors.T
        for number, at in enumerate(chunk):
            inside = place == number
            if inside.any():
                seen.add(at)
                near[:, at] = cosines[:, inside].max(axis=1)
                sums[at] = theirs.vectors[inside].sum(axis=0)
    groups, weights = _word_tokens(claim, mine.spans)
    windows = [(a, b) for a, b in read.windows if seen.issuperset(range(a, b))] or [(at, at + 1) for at in sorted(seen)]
    if not groups or not windows:
        return {"cosine": 0.0, "aligned": 0.0, "weakest": 0.0}, list(shares)
    by_word = np.stack([near[group].mean(axis=0) for group in groups])
    by_window = np.stack([by_word[:, a:b].max(axis=1) for a, b in windows], axis=1)
    best = by_window[:, int((weights @ by_window).argmax())]
    joined = np.stack([sums[a:b].sum(axis=0) for a, b in windows] + [sums[at] for at in sorted(seen)])
    whole = mine.vectors.sum(axis=0)
    lengths = np.maximum(np.linalg.norm(joined, axis=1) * np.linalg.norm(whole), 1e-9)
    out = {
        "cosine": float((joined @ whole / lengths).max()),
        "aligned": float(weights @ by_word.max(axis=1) / weights.sum()),
        "weakest": float(best[weights > 0].min()),
    }
    return out, (near.mean(axis=0) + np.array(shares)).tolist()


def _chunks(read: _Read, shares: Sequence[float]) -> list[list[int]]:
    """Neighbouring sentences of one passage, at most `_CHUNK` characters (or one) together; the likeliest, in order."""
    out: list[list[int]] = []
    length = 0
    for at, text in enumerate(read.sentences):
        if not out or length + len(text) > _CHUNK or read.passage[at] != read.passage[out[-1][-1]]:
            out.append([])
            length = 0
        out[-1].append(at)
        length += len(text) + 1
    chosen = sorted(range(len(out)), key=lambda i: -max(shares[at] for at in out[i]))[:_CHUNKS]
    return [out[i] for i in sorted(chosen)]


def _word_tokens(claim: str, spans: np.ndarray) -> tuple[list[list[int]], np.ndarray]:
    """The tokens of each word of the claim, and what the word weighs; shapes (words,), (words,)."""
    groups, weights = [], []
    for match in re.finditer(r"\w+", claim):
        inside = np.flatnonzero((spans[:, 0] < match.end()) & (spans[:, 1] > match.start())).tolist()
        if inside:
            groups.append(inside)
            weights.append(sum(map(_weight, _terms(match.group()))))
    found = np.array(weights)
    return groups, found if found.any() else np.ones(len(groups))
