from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.evals.paired import effect_size, holm, randomisation_test

values = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, -0.1, -0.5]) | st.floats(-1, 1)


@settings(max_examples=40)
@given(st.lists(values, min_size=2, max_size=11))
def test_p_is_that_of_scipy_over_every_assignment_of_signs(differences: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the `build` extra")
    # Whole numbers, whose sums are exact in any order: sums that are equal on paper tie for scipy too.
    differences = [float(round(1e6 * value)) for value in differences]
    theirs = stats.permutation_test(
        (differences, np.zeros(len(differences))),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert randomisation_test(differences) == pytest.approx(theirs.pvalue)


def test_p_of_many_differences_is_near_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the `build` extra")
    differences = np.random.default_rng(3).normal(0.04, 0.2, 80)
    theirs = stats.permutation_test(
        (differences, np.zeros(80)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    )
    assert randomisation_test(differences.tolist()) == pytest.approx(theirs.pvalue, abs=0.015)


@given(st.lists(values, max_size=40))
def test_p_is_a_share_and_the_same_whichever_came_first(differences: list[float]) -> None:
    p = randomisation_test(differences, samples=500)
    assert 0 < p <= 1
    assert randomisation_test([-value for value in differences], samples=500) == p


def test_sampling_agrees_with_trying_every_sign() -> None:
    """16 differences are tried all, 17 sampled; one that is next to nothing changes nothing."""
    few = [0.1, 0.3, -0.1, 0.2] * 4
    assert randomisation_test([*few, 1e-9]) == pytest.approx(randomisation_test(few), abs=0.01)


def test_p_is_never_below_one_in_the_samples() -> None:
    assert randomisation_test([0.5] * 60) == 1 / 10_001
    assert randomisation_test([0.5] * 5) == 2 / 2**5


def test_what_does_not_differ_counts_for_nothing() -> None:
    assert randomisation_test([]) == randomisation_test([0.0, 0.0]) == 1
    assert randomisation_test([0.5, 0.5, 0.25, *[0.0] * 99]) == randomisation_test([0.5, 0.5, 0.25])


def test_differences_drawn_around_nothing_are_seldom_significant() -> None:
    random = np.random.default_rng(5)
    ps = [randomisation_test(random.normal(0, 1, 12).tolist()) for _ in range(400)]
    assert 0.02 < np.mean(np.array(ps) < 0.05) < 0.085


def test_an_effect_is_the_mean_in_standard_deviations() -> None:
    assert effect_size([1.0, 3.0]) == pytest.approx(2 / 2**0.5)
    assert effect_size([-1.0, 1.0]) == 0
    assert (effect_size([0.0]), effect_size([0.3]), effect_size([0.1] * 9)) == (0, None, None)


ps = st.dictionaries(st.text(max_size=3), st.floats(0, 1, exclude_min=True), max_size=12)


@given(ps)
def test_holm_raises_every_p_and_keeps_their_order(p: dict[str, float]) -> None:
    adjusted = holm(p)
    assert list(adjusted) == list(p)
    assert all(p[name] <= adjusted[name] <= 1 for name in p)
    ordered = sorted(p, key=lambda name: p[name])
    assert [adjusted[name] for name in ordered] == sorted(adjusted.values())
    assert all(adjusted[name] <= min(1, len(p) * p[name]) for name in p)


def test_holm_is_the_example_of_a_textbook() -> None:
    assert holm({"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.04, "c": 0.04, "d": 0.02}
    )
    assert holm({}) == {}
