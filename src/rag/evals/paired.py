"""Statistics of paired differences. Pure arithmetic; the same seed, the same figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXACT = 16
"""Differences, up to which every assignment of signs is tried: 2^15 of them, each standing for its mirror image too."""


def randomisation_test(differences: Sequence[float], *, seed: int = 0, samples: int = 10_000) -> float:
    """How often a mean at least as far from 0 arises where each difference may as well have the other sign; in (0, 1].

    The paired, two-sided randomisation test on the mean (Smucker, Allan & Carterette, CIKM 2007). Exact up to 16
    differences that are not 0; else by `samples` random assignments of signs, of which the observed counts as one more
    (Phipson & Smyth 2010). Nothing differs, or nothing is there: 1.

    >>> randomisation_test([0.5, 0.25, 0.5, 0.0])
    0.25
    """
    import numpy as np

    data = np.asarray(differences, dtype=np.float64)
    data = data[data != 0]
    least = abs(data.sum()) - 1e-12 * np.abs(data).sum()  # sums that are equal on paper differ in their last bits
    if not data.size:
        return 1.0
    if data.size <= _EXACT:
        sums = data[:1]
        for difference in data[1:]:
            sums = np.concatenate([sums + difference, sums - difference])
        return float(np.mean(np.abs(sums) >= least))
    random = np.random.default_rng(seed)
    block = max(1, 1_000_000 // data.size)
    sizes = [min(block, samples - done) for done in range(0, samples, block)]
    signs = (random.integers(2, size=(n, data.size), dtype=np.int8) * 2.0 - 1 for n in sizes)
    extreme = sum(int((np.abs(sign @ data) >= least).sum()) for sign in signs)
    return (1 + extreme) / (1 + samples)


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d_z: the mean difference over the standard deviation of the differences (Cohen 1988, section 2.3.5).

    Where they do not deviate: 0 if all are 0, else None, for no finite size would do; None for a single one, too.

    >>> effect_size([1.0, 0.0, 1.0, 0.0]), effect_size([0.0, 0.0]), effect_size([0.5, 0.5])
    (0.8660254037844387, 0.0, None)
    """
    import numpy as np

    data = np.asarray(differences, dtype=np.float64)
    if not data.any():
        return 0.0
    if np.ptp(data) <= 1e-12 * np.abs(data).max():
        return None
    return float(data.mean() / data.std(ddof=1))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Each p-value adjusted for all of them (Holm 1979): compare it with the level wanted for the whole family.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    out, last = dict.fromkeys(p, 0.0), 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        last = out[name] = max(last, min(1.0, (len(p) - rank) * p[name]))
    return out
