"""Ordinary implementations of the ports, small and discriminating."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from rag.index.terms import terms


class HashedWords:
    """A discriminating fake: a text's vector is the sum of its terms' fixed directions."""

    name, dimension = "hashed", 256

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [sum((self._direction(t) for t in terms(text)), np.full(256, 1e-6)) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    @staticmethod
    def _direction(term: str) -> np.ndarray:
        return np.random.default_rng(crc32(term.encode())).standard_normal(256)


class Rarity:
    """Every term is as rare as another."""

    def terms(self, text: str) -> list[str]:
        return terms(text)

    def idf(self, term: str) -> float:
        return 1.0


class Tokens(NamedTuple):
    """What `HashedTokens` gives for a text."""

    spans: np.ndarray
    vectors: np.ndarray


class HashedTokens(HashedWords):
    """A vector for each word too: its stem's fixed direction, whatever stands beside it."""

    def tokens(self, text: str) -> Tokens:
        found = list(re.finditer(r"\w+", text))
        rows = [self._direction((terms(m.group()) or [m.group().casefold()])[0]) for m in found]
        vectors = np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32).reshape(-1, self.dimension)
        return Tokens(np.array([m.span() for m in found], dtype=np.int64).reshape(-1, 2), vectors)
