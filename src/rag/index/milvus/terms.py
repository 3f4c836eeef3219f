"""Index terms as sparse vectors whose inner product is BM25.

Milvus can weigh terms itself, but its analysers would cut ours again ("3.8" into "3" and "8"), and a part of a
collection would know the terms of that part alone. A passage's vector holds what of BM25 is the passage's, a
question's how rare its terms are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

K1, B = 1.2, 0.75
_DIMENSIONS = 2**32 - 2
NOTHING = _DIMENSIONS
"""What a passage without terms holds, since no vector may be empty."""


def dimension_of(term: str) -> int:
    """Which of 4 billion dimensions a term has; of a million terms some hundred share theirs with another.

    >>> dimension_of("grpo") == dimension_of("grpo") < 2**32 - 2
    True
    """
    return int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "little") % _DIMENSIONS


def rounded(length: int) -> int:
    """A length as one byte keeps it in Lucene and tantivy, so that scores are those of an index folder.

    >>> [rounded(length) for length in (7, 40, 41, 57, 103)]
    [7, 40, 40, 56, 96]
    """
    over = length - 24
    shift = over.bit_length() - 4 if over > 0 else 0
    return 24 + (over >> shift << shift) if shift > 0 else length


def weights(terms: Iterable[str], average: float) -> dict[int, float]:
    """The vector of a passage: tf (k1 + 1) / (tf + k1 (1 - b + b length / average)) of each term.

    >>> sorted(round(weight, 3) for weight in weights(["a", "b", "a"], 3.0).values())
    [1.0, 1.375]
    """
    counts = Counter(terms)
    norm = K1 * (1 - B + B * rounded(counts.total()) / average) if average else K1
    found = {dimension_of(term): count * (K1 + 1) / (count + norm) for term, count in counts.items()}
    return found or {NOTHING: 1.0}
