"""What is written about /metrics, and the alerts on it, are held against a server that has answered questions."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fakes import Writes, service_of
from live import eventually, live
from rag.answer.abstain import Why
from rag.errors import BackendFailed
from rag.records import Document, Paragraph
from rag.serve.app import create_app

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
TEXT = "Contrastive training on 50 problems costs $25 E026."
DOCUMENTS = [Document("reviews/r", "review", "R", TEXT, (Paragraph(0, len(TEXT)),))]
ASK = "what does contrastive training on 50 problems cost?"


def told() -> dict[str, tuple[str, set[str]]]:
    """The type and labels of each measure, as the page has them."""
    rows = re.findall(r"^\| `(rag_\w+)` \| (\w+) \| ([^|]*)\|", PAGE, re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, set[str]]]:
    """The type and labels of each measure, as a server gives them."""
    writes = Writes("The recipe was devised in Paris and costs $900.\n", BackendFailed("the model broke off"))
    plain = service_of(DOCUMENTS, tmp_path_factory.mktemp("index"), "20260531T120000-0da5f497-9543")
    service = replace(plain, generator=cast(Any, writes))
    with live(create_app(lambda: service)) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        for question, generator in ((ASK, "extractive"), (ASK, "llm"), ("what of E999?", "extractive")):
            assert client.post("/v1/ask", json={"question": question, "generator": generator}).status_code == 200
        text = client.get("/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        if not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, {label for s in family.samples for label in s.labels} - {"le"}
    return found


def test_the_page_has_every_measure_with_its_type_and_labels_and_no_other(
    measured: dict[str, tuple[str, set[str]]],
) -> None:
    assert told() == measured


def test_the_page_has_every_reason_for_an_abstention() -> None:
    table = PAGE.partition("\n| `reason` |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| `([a-z_]+)` \| [^|]+\|$", table, re.M)
    assert set(told) == {*(why.name.lower() for why in Why), "other"}


def test_the_rules_are_as_prometheus_wants_them() -> None:
    assert set(ALERTS) == {"groups"}
    for group in ALERTS["groups"]:
        assert set(group) == {"name", "rules"}
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 0
    for rule in RULES:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
        assert re.fullmatch(r"\d+[smhd]", rule["for"])
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert all(isinstance(text, str) and text for text in rule["annotations"].values())
        assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_measures_and_labels_that_there_are(
    rule: dict[str, Any], measured: dict[str, tuple[str, set[str]]]
) -> None:
    used = re.findall(r"\b(rag_\w+)(?:\{([^}]*)\})?(\[)?", rule["expr"])
    assert used
    for name, matchers, ranged in used:
        kind, labels = measured[re.sub("_(bucket|sum|count)$", "", name)]
        assert (kind == "histogram") == name.endswith("_bucket"), name
        assert (kind == "gauge") != bool(ranged), f"{name}: counters alone have a rate"
        assert set(re.findall(r"(\w+)\s*(?:=|!)", matchers)) <= labels, name
