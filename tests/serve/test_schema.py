"""Requests made from the OpenAPI description, well formed or not, against a server that listens.

`HYPOTHESIS_EXAMPLES=5000 pytest tests/serve/test_schema.py` makes more of them.
"""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from fakes import CORPUS, service_of
from live import eventually, live
from rag.assemble import Service
from rag.corpus.load import load
from rag.serve.app import create_app

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
AS_DESCRIBED = [status_code_conformance, content_type_conformance, response_schema_conformance]
CHECKS = [not_a_server_error, negative_data_rejection, *AS_DESCRIBED]


def closed() -> Service:
    raise AssertionError("only the description is asked for")


described = schemathesis.openapi.from_dict(create_app(closed).openapi())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = service_of(load(CORPUS / "episodes"), tmp_path_factory.mktemp("index"))
    with live(create_app(lambda: service)) as address:
        eventually(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        yield address


@described.parametrize()
@settings(derandomize=True, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_no_request_is_the_servers_fault_and_every_answer_is_as_described(case: Case[Any], server: str) -> None:
    case.call_and_validate(base_url=server, checks=CHECKS)
