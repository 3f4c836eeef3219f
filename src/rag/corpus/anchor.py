"""A quoted span of a document <-> a short address that outlives edits elsewhere in the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rag.errors import UserError

LONGEST = 99_999
"""The longest span that has an anchor, in characters of its words and the single blanks between them."""

Codes = NDArray[np.uint32]

_FORM = re.compile(r"(0|[1-9]\d{0,8})-([1-9]\d{0,4})-([0-9a-f]{18})", re.ASCII)
_WORD = re.compile(r"\S+")
_LAST = 999_999_999
_BLOCK = 1 << 18  # characters looked at in one go
_TRIED = 32  # places on one side of the old one whose checksum is right; a document made to collide costs no more
_BASE, _MIX = 0x2C1B3C6D, 0x9E3779B1  # any odd numbers; addresses hold while these stay
_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])  # what str.split takes for white space


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a span stood and what it said.

    As a string "120-139-9f3c2d1a1a2b3c4d5e": at most 34 characters, which a URL takes as they are.
    `start` is in characters of the document, 0..999,999,999. `length` and `digest` are of the span's words with single
    blanks between them, and a blank at each end where a word ends with the span: 1..99,999 characters, and 18 hex
    digits, 8 of a rolling checksum and 10 of SHA-256.
    """

    start: int
    length: int
    digest: str

    def __str__(self) -> str:
        return f"{self.start}-{self.length}-{self.digest}"

    @classmethod
    def parse(cls, string: str) -> Anchor:
        """The anchor that a string stands for. Raises UserError for any other string.

        >>> str(Anchor.parse("6-8-75ab43b85a0d9a77cb"))
        '6-8-75ab43b85a0d9a77cb'
        >>> Anchor.parse("6-8")
        Traceback (most recent call last):
        rag.errors.UserError: '6-8' is no address of a quote, wanted START-LENGTH-DIGEST as in
        '120-139-9f3c2d1a1a2b3c4d5e'; take it from an answer
        """
        found = _FORM.fullmatch(string)
        if found is None:
            shown = ascii(string if len(string) <= 60 else f"{string[:60]}…")
            raise UserError(
                f"{shown} is no address of a quote, wanted START-LENGTH-DIGEST as in "
                "'120-139-9f3c2d1a1a2b3c4d5e'; take it from an answer"
            )
        return cls(int(found.group(1)), int(found.group(2)), found.group(3))


def anchor(text: str, start: int, end: int) -> Anchor:
    """The address of `text[start:end]`, whatever white space is at its ends.

    Raises ValueError where that has no words, is longer than LONGEST, or is no slice of the text.

    >>> str(anchor("It is so. It was not.", 10, 21))
    '10-13-e76f1c201aafa8e333'
    """
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start}..{end} is no span of a text of {len(text)} characters")
    span = text[start:end]
    start, end = start + len(span) - len(span.lstrip()), end - len(span) + len(span.rstrip())
    words = " ".join(span.split())
    before = " " if start == 0 or text[start - 1].isspace() else ""
    behind = " " if end == len(text) or text[end].isspace() else ""
    key = f"{before}{words}{behind}"
    if not words or len(key) > LONGEST or start > _LAST:
        raise ValueError(f"{start}..{end} has no anchor: wanted words, at most {LONGEST} characters of them")
    return Anchor(start, len(key), _digest(key))


def find(text: str, anchor: Anchor) -> tuple[int, int] | None:
    """Where the span stands now, as start and end in characters: the nearest place, by start, that says just that.

    White space may have changed. A span of whole words is found where whole words stand, so that "gains 3" is not in
    "gains 3.8". Of two places as near the first counts; None where there is none. Takes time linear in the text, 0.3 s
    for 16 million characters on one core, and eight bytes a character meanwhile; where the span stands as it stood, it
    takes 0.1 ms.

    >>> address = anchor("It is so. It was not.", 10, 21)
    >>> find("As I said: it is so.   It  was not.", address), find("It is so. It was not!", address)
    ((23, 35), None)
    """
    return _unmoved(text, anchor) or _moved(text, anchor)


def _unmoved(text: str, anchor: Anchor) -> tuple[int, int] | None:
    """The span at its old start, where its white space takes no more room than its words."""
    start, stop = anchor.start, anchor.start + 2 * anchor.length + 2
    if start >= len(text) or text[start].isspace():
        return None
    before = " " if start == 0 or text[start - 1].isspace() else ""
    key = before + " ".join(text[start:stop].split())
    if stop >= len(text) or text[stop - 1].isspace():
        key += " "
    key = key[: anchor.length]
    return _span(text, start, key) if _says(key, anchor) else None


def _moved(text: str, anchor: Anchor) -> tuple[int, int] | None:
    """The span anywhere.

    Works on the text with single blanks, where the span has one length wherever it stands: a rolling checksum (Karp &
    Rabin 1987) leaves few places whose words are looked at. Left of the old place first; what is found there bounds how
    far is looked on the right.
    """
    codes, kept = _squeeze(text)
    last = len(codes) - anchor.length
    if last < 0:
        return None
    here = _kept_before(text, anchor.start + 1, kept)  # in `codes`: the last character up to the old start
    scan = _Scan(codes, anchor)
    found = []
    for place, first in islice(scan.down(min(here, last)), _TRIED):
        if first <= here and _says(key := scan.key(place), anchor):
            found.append(_span(text, _origin(text, first, kept), key))
            last = min(last, here + anchor.start - found[0][0])
            break
    for place, first in islice(scan.up(here, last), _TRIED):
        if first > here and _says(key := scan.key(place), anchor):
            found.append(_span(text, _origin(text, first, kept), key))
            break
    return min(found, key=lambda span: abs(span[0] - anchor.start), default=None)


class _Scan:
    """The places of `codes` whose checksum is an anchor's, as (place, where its first word starts)."""

    def __init__(self, codes: Codes, anchor: Anchor) -> None:
        self._codes, self._length, self._wanted = codes, anchor.length, np.uint32(int(anchor.digest[:8], 16))
        self._powers = _powers(min(_BLOCK + anchor.length, len(codes)))

    def down(self, last: int) -> Iterator[tuple[int, int]]:
        """From the place `last` on, the nearest first."""
        for stop in range(last + 1, 0, -_BLOCK):
            yield from reversed(self._block(max(stop - _BLOCK, 0), stop))

    def up(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """From the place `first` up to `last`."""
        for start in range(first, last + 1, _BLOCK):
            yield from self._block(start, min(start + _BLOCK, last + 1))

    def key(self, place: int) -> str:
        """The characters at a place."""
        return self._codes[place : place + self._length].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def _block(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Every such place in start..stop, but no more at either end than are ever tried."""
        codes = self._codes[start : stop - 1 + self._length]
        sums = np.zeros(len(codes) + 1, dtype=np.uint32)
        np.cumsum(_mixed(codes) * self._powers[: len(codes)], dtype=np.uint32, out=sums[1:])
        windows = sums[self._length :] - sums[: stop - start]
        places = np.flatnonzero(windows == self._wanted * self._powers[: stop - start])
        if len(places) > 2 * _TRIED:
            places = np.concatenate([places[:_TRIED], places[-_TRIED:]])
        return list(
            zip((places + start).tolist(), (places + start + (codes[places] == ord(" "))).tolist(), strict=True)
        )


def _digest(key: str) -> str:
    codes = np.frombuffer(key.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
    checksum = int((_mixed(codes) * _powers(len(codes))).sum(dtype=np.uint32))
    return f"{checksum:08x}{_sha(key)}"


def _sha(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _says(key: str, anchor: Anchor) -> bool:
    return len(key) == anchor.length and not key.isspace() and _sha(key) == anchor.digest[8:]


def _powers(n: int) -> Codes:
    """`_BASE` to the power of 0..n-1, modulo 2**32."""
    powers = np.full(n, _BASE, dtype=np.uint32)
    powers[:1] = 1
    return np.multiply.accumulate(powers, dtype=np.uint32)


def _mixed(codes: Codes) -> Codes:
    """Neighbouring characters far apart, so that the sums of two texts seldom agree."""
    mixed = codes * np.uint32(_MIX)
    mixed ^= mixed >> np.uint32(15)
    return mixed


def _squeeze(text: str) -> tuple[Codes, list[int]]:
    """A text with single blanks, one at either end; and how many of its characters stand before each block's own."""
    pieces, kept = [np.array([ord(" ")], dtype=np.uint32)], [1]
    for at in range(0, len(text), _BLOCK):
        codes, keep = _block_of(text, at)
        pieces.append(codes[keep])
        kept.append(kept[-1] + len(pieces[-1]))
    if text and not text[-1].isspace():
        pieces.append(pieces[0])
    return np.concatenate(pieces), kept


def _block_of(text: str, at: int) -> tuple[Codes, NDArray[np.bool_]]:
    """The characters of a block, white space as blanks, and which of them stay: no blank behind another, none first."""
    codes = np.frombuffer(text[at : at + _BLOCK].encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
    space = _SPACE[np.minimum(codes, len(_SPACE) - 1)]
    codes[space] = ord(" ")
    keep = ~space
    keep[1:] |= keep[:-1].copy()
    keep[0] |= at > 0 and not text[at - 1].isspace()
    return codes, keep


def _kept_before(text: str, end: int, kept: list[int]) -> int:
    """How many of the characters of `text[:end]` are in the text with single blanks."""
    block = end // _BLOCK
    if end >= len(text):
        return kept[-1] - 1
    return kept[block] - 1 + int(np.count_nonzero(_block_of(text, block * _BLOCK)[1][: end % _BLOCK]))


def _origin(text: str, place: int, kept: list[int]) -> int:
    """Where in a text a character of the text with single blanks stands."""
    block = int(np.searchsorted(kept, place, side="right")) - 1
    keep = _block_of(text, block * _BLOCK)[1]
    return block * _BLOCK + int(np.flatnonzero(keep)[place - kept[block]])


def _span(text: str, start: int, key: str) -> tuple[int, int]:
    """The words of a key that start at `start`."""
    words = key.split()
    last = _nth(_WORD.finditer(text, start), len(words) - 1)
    return start, last.start() + len(words[-1])


def _nth(matches: Iterable[re.Match[str]], n: int) -> re.Match[str]:
    return next(islice(matches, n, None))
