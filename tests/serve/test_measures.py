"""What /metrics says: counters that only grow, and nothing of what was asked."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fakes import Writes, service_of
from live import eventually, live
from rag.answer.abstain import Why
from rag.assemble import Service
from rag.errors import IndexUnusable
from rag.records import Answer, Document, Paragraph, Question
from rag.serve.app import create_app
from rag.serve.measures import Measures

TEXT = "Contrastive training on 50 problems costs $25 E026."
DOCUMENTS = [Document("reviews/r", "review", "R", TEXT, (Paragraph(0, len(TEXT)),))]
ASK = "what does contrastive training on 50 problems cost?"
GENERATION = "20260531T120000-0da5f497-9543"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return service_of(DOCUMENTS, tmp_path / "index", GENERATION)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.state.LOOK_SECONDS", 0.01)


def scrape(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def served(open_service: Callable[[], Service], changed: Callable[[], object] = lambda: None) -> Any:
    return live(create_app(open_service, changed))


def test_every_reason_for_an_abstention_has_a_name_and_no_words_of_the_question(service: Service) -> None:
    registry = CollectorRegistry()
    measures = Measures(registry)
    for reason in (*(f"{why} marmalade" for why in Why), "marmalade"):
        measures.saw(Answer(Question("marmalade"), (), reason, ()))
    text = generate_latest(registry).decode()
    counted = dict(re.findall(r'rag_abstentions_total\{reason="(\w+)"\} (\S+)', text))
    assert counted == dict.fromkeys((*(why.name.lower() for why in Why), "other"), "1.0")
    assert "marmalade" not in text


def test_an_abstention_of_the_answerer_s_is_counted_by_its_reason(service: Service) -> None:
    declining = replace(service, generator=cast(Any, Writes("NO ANSWER")))
    with served(lambda: declining) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        for question, generator in (
            (ASK, "extractive"),
            ("what of E999?", "extractive"),
            ("which zebra?", "extractive"),
            ("how many problems does contrastive training on 70 cost?", "extractive"),
            (ASK, "llm"),
        ):
            assert client.post("/v1/ask", json={"question": question, "generator": generator}).status_code == 200
        found = {name: value for name, value in scrape(client).items() if name.startswith("rag_abstentions_total")}
    counted = {name.partition('"')[2][:-2]: value for name, value in found.items() if value}
    assert counted == {"unknown_episode": 1, "nothing_found": 1, "words_missing": 1, "model_declined": 1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("field", "name"), [("vectors", "rag_question_vectors"), ("answers", "rag_answers_kept")])
def test_counts_outlast_the_index_that_made_them(service: Service, field: str, name: str) -> None:
    current = [(3, 4)]

    def open_service() -> Service:
        counts = current[0]
        return replace(service, **{field: lambda: counts})  # type: ignore[arg-type]

    with served(open_service, lambda: current[0]) as url, httpx.Client(base_url=url) as client:

        def counted() -> list[float]:
            found = scrape(client)
            return [found.get(f'{name}_total{{found="{at}"}}', 0) for at in ("hit", "miss")]

        eventually(lambda: counted() == [3, 4])
        current[0] = (1, 2)
        eventually(lambda: counted() == [4, 6])
        assert f"# TYPE {name}_total counter" in client.get("/metrics").text


@pytest.mark.usefixtures("impatient")
def test_an_index_that_answers_is_told_from_one_that_is_refused(service: Service) -> None:
    current = ["none"]

    def open_service() -> Service:
        if current[0] != "good":
            raise IndexUnusable("no index; build it with `rag index`")
        return service

    with served(open_service, lambda: current[0]) as url, httpx.Client(base_url=url) as client:

        def states() -> tuple[float, float]:
            found = scrape(client)
            return found["rag_index_ready"], found["rag_index_refused"]

        eventually(lambda: states() == (0, 1))
        assert not [name for name in scrape(client) if name.startswith("rag_index_built")]
        current[0] = "good"
        eventually(lambda: states() == (1, 0))
        built = f'rag_index_built_timestamp_seconds{{generation="{GENERATION}"}}'
        assert scrape(client)[built] == 1780228800
        current[0] = "bad"
        eventually(lambda: states() == (1, 1))
