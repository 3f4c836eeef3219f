"""What a soak makes of what it sees; the run itself takes an hour."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

ANSWER: dict[str, Any] = {
    "index": {"generation": "g1"},
    "abstained": False,
    "reason": None,
    "sentences": [
        {"text": "So", "citations": ["E1"], "evidence": [{"quote": "So", "start": 3, "end": 5, "episodes": ["E1"]}]}
    ],
}


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("soak")


@pytest.fixture
def traffic(soak: ModuleType) -> ModuleType:
    return importlib.import_module("traffic")


def test_memory_that_grows_beyond_chance_and_bound_is_found(soak: ModuleType) -> None:
    level = [300.0, 315.0, 290.0, 310.0, 285.0, 305.0, 318.0, 292.0, 301.0]
    assert not soak.grows(level)
    assert soak.grows([mib + 8 * number for number, mib in enumerate(level)])
    assert not soak.grows([300 + 0.5 * number for number in range(9)])  # beyond chance, and within the bound
    assert not soak.grows([300.0, 600.0])  # two are no trend


def test_what_comes_and_goes_is_no_leak(soak: ModuleType) -> None:
    assert not soak.leaks([40, 60, 41, 40, 59, 40])
    assert soak.leaks([40, 41, 44, 47, 52, 60])


def test_an_answer_is_counted_by_its_index(traffic: ModuleType) -> None:
    seen = traffic.Seen()
    traffic.checked(ANSWER, seen)
    traffic.checked(ANSWER | {"abstained": True, "reason": "it does not say", "sentences": []}, seen)
    assert seen.generations == {"g1": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"abstained": True},
        {"sentences": []},
        {"sentences": [{"text": "So", "citations": [], "evidence": []}]},
        {"sentences": [ANSWER["sentences"][0] | {"citations": ["E2"]}]},
        {"sentences": None},
        {"index": None},
    ],
)
def test_an_answer_that_does_not_hold_together_is_wrong(traffic: ModuleType, change: dict[str, Any]) -> None:
    with pytest.raises(traffic.Wrong):
        traffic.checked(ANSWER | change, traffic.Seen())


def test_a_quote_of_another_length_is_wrong(traffic: ModuleType) -> None:
    answer = copy.deepcopy(ANSWER)
    answer["sentences"][0]["evidence"][0]["end"] = 9
    with pytest.raises(traffic.Wrong):
        traffic.checked(answer, traffic.Seen())


@pytest.mark.parametrize(
    ("status", "headers", "wanted"),
    [(500, {}, {200}), (503, {}, {200}), (503, {"retry-after": "soon"}, {200}), (429, {}, {200}), (200, {}, {422})],
)
def test_a_response_that_is_not_meant_is_wrong(
    traffic: ModuleType, status: int, headers: dict[str, str], wanted: set[int]
) -> None:
    request = httpx.Request("GET", "http://localhost/")
    with pytest.raises(traffic.Wrong):
        traffic.told(httpx.Response(status, headers=headers, request=request), wanted)
    assert traffic.told(httpx.Response(200, request=request), {200})
    assert not traffic.told(httpx.Response(503, headers={"retry-after": "1"}, request=request), {200})


@pytest.mark.parametrize(("requests", "judged"), [(3_000, True), (700, False)])
def test_growth_is_judged_once_the_server_is_warm_alone(soak: ModuleType, requests: int, judged: bool) -> None:
    slices = []
    for number in range(12):
        seen = soak.Seen()
        seen.counts["ask"], seen.generations["g"] = requests, 1
        slices.append(soak.Slice(seen, soak.Reading(300 + 20 * number, 20 + number, 5)))
    run = soak.Soak(0, "", Path(), Path(), ([], []), [], known={"g"})
    verdicts = {what.partition(" (")[0]: so for what, so in soak.judged(slices, run).items()}
    for what in ("memory does not grow by more than 10%", "open files do not grow"):
        assert verdicts[what] is not judged
    assert verdicts["threads do not grow"]
