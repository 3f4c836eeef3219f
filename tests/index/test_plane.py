"""Places in the plane: what holds of every map, and of one of this repository's corpus by the real encoder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.corpus.load import load
from rag.corpus.split import SplitValues, index_text, split
from rag.index import plane
from rag.index.encode import OnnxEncoder
from rag.index.export import EncoderChoice, export, source_of
from rag.index.plane import PCA, TSNE, place

if TYPE_CHECKING:
    from rag.index.plane import Places
    from rag.ports import Vectors

CORPUS = Path(__file__).resolve().parents[2] / "corpus"


def clustered(n: int, groups: int = 6, noise: float = 0.5, dimension: int = 32, seed: int = 0) -> "Vectors":
    """Unit rows; row i belongs to group i % groups."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((groups, dimension))
    rows = centres[np.arange(n) % groups] + noise * random.standard_normal((n, dimension))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def moved(before: "Places", after: "Places") -> float:
    """How far a passage that both have moved, on average."""
    return float(np.nanmean(np.linalg.norm(after - before, axis=1)))


def together(places: "Places", groups: np.ndarray) -> float:
    """The share of places whose nearest other one is of their group."""
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((groups[apart.argmin(axis=1)] == groups).mean())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple["Vectors", list[str]]:
    """Vectors of the passages of our reviews, and the document of each."""
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    choice, folder = EncoderChoice(), tmp_path_factory.mktemp("plane") / "encoder"
    export(choice, source_of(choice), folder)
    passages = [p for d in load(CORPUS / "reviews") for p in split(d, SplitValues())]
    return OnnxEncoder(folder).encode([index_text(p) for p in passages]), [p.document for p in passages]


@st.composite
def unit_rows(draw: st.DrawFn) -> "Vectors":
    """Up to 12 unit rows, some of them the same, in up to 5 dimensions."""
    dimension = draw(st.integers(1, 5))
    number = st.floats(-1, 1, width=32)
    different = draw(st.lists(st.lists(number, min_size=dimension, max_size=dimension), min_size=1, max_size=6))
    chosen = draw(st.lists(st.sampled_from(different), min_size=1, max_size=12))
    rows = np.array(chosen, dtype=np.float32) + np.float32(1e-3)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Vectors = np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), np.float32(dimension**-0.5))
    return found


@settings(max_examples=40)
@given(unit_rows())
def test_every_passage_has_a_place_within_the_map_and_the_same_one_every_time(vectors: "Vectors") -> None:
    places, method = place(vectors)
    assert places.shape == (len(vectors), 2)
    assert places.dtype == np.float32
    assert method in (TSNE, PCA)
    assert places.min() >= 0
    assert places.max() <= 1
    longer = np.ptp(places, axis=0).max()
    assert longer == 0 or longer == pytest.approx(1, abs=1e-6)
    assert (places.min(axis=0) + places.max(axis=0)) / 2 == pytest.approx(0.5, abs=1e-6)
    assert place(vectors)[0].tobytes() == places.tobytes()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 20])
def test_few_passages_and_passages_that_are_all_the_same_have_a_place(n: int) -> None:
    same = np.repeat(clustered(1), n, axis=0)
    assert np.array_equal(place(same)[0], np.full((n, 2), 0.5, dtype=np.float32))
    assert place(same)[1] == PCA
    different, _ = place(clustered(n))
    assert np.isfinite(different).all()
    assert len({tuple(at) for at in different.tolist()}) == n
    assert np.isfinite(place(np.concatenate([same, -same]))[0]).all()


def test_what_belongs_together_lies_together() -> None:
    pytest.importorskip("sklearn", reason="t-SNE needs the `build` extra")
    vectors = clustered(120)
    places, method = place(vectors)
    assert method == TSNE
    assert together(places, np.arange(120) % 6) > 0.95


def test_without_scikit_learn_the_map_is_of_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    vectors = clustered(60, groups=3, noise=0.1)
    places, method = place(vectors)
    assert method == PCA
    assert together(places, np.arange(60) % 3) == 1
    before = np.full((60, 2), 0.5, dtype=np.float32)
    assert place(vectors, before)[0].tobytes() == places.tobytes()


def test_principal_components_are_those_of_an_eigendecomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    vectors = clustered(40)
    _, axes = np.linalg.eigh(np.cov(vectors.T.astype(np.float64)))
    wanted = (vectors - vectors.mean(axis=0)) @ axes[:, [-1, -2]]
    places = place(vectors)[0]
    for at in (0, 1):
        assert abs(np.corrcoef(places[:, at], wanted[:, at])[0, 1]) == pytest.approx(1, abs=1e-5)
    assert np.ptp(places[:, 1]) / np.ptp(places[:, 0]) == pytest.approx(
        np.ptp(wanted[:, 1]) / np.ptp(wanted[:, 0]), abs=1e-5
    )


def test_of_too_many_passages_evenly_spaced_ones_have_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "MOST", 10)
    places, _ = place(clustered(28))
    rows = np.flatnonzero(np.isfinite(places).all(axis=1))
    assert rows.tolist() == list(range(0, 28, 3))
    assert np.isnan(np.delete(places, rows, axis=0)).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_map_of_a_corpus_that_changed_a_little_stays_as_it_was(
    corpus: tuple["Vectors", list[str]], seed: int
) -> None:
    vectors, documents = corpus
    new = np.zeros(len(vectors), dtype=bool)
    new[np.random.default_rng(seed).permutation(len(vectors))[: len(vectors) // 10]] = True
    before = np.full((len(vectors), 2), np.nan, dtype=np.float32)
    before[~new], method = place(vectors[~new])
    assert method == TSNE
    anew, kept = place(vectors)[0], place(vectors, before)[0]
    assert np.isfinite(kept).all()
    assert moved(before, kept) < min(0.1, moved(before, anew))
    groups = np.array(documents)
    assert together(kept, groups) > together(anew, groups) - 0.1  # and it is no worse a map


def test_places_before_are_left_aside_where_most_passages_are_new_or_the_places_lie_in_a_line() -> None:
    vectors = clustered(40)
    anew = place(vectors)[0]
    few = anew.copy()
    few[19:] = np.nan
    assert place(vectors, few)[0].tobytes() == anew.tobytes()
    line = anew.copy()
    line[:, 1] = 0.5
    assert place(vectors, line)[0].tobytes() == anew.tobytes()
