"""Requests that somebody made to do harm, sent as they are over a socket, to a real index."""

import gzip
import json
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import service_of
from live import eventually, live
from rag.corpus.load import load
from rag.serve.app import create_app

OUTSIDE = "text of another file"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("doors")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "E001.md").write_text("The run cost $5. E001")
    (folder / "outside.md").write_text(OUTSIDE)
    service = service_of(load(folder / "corpus"), folder)
    with live(create_app(lambda: service)) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        yield url.removeprefix("http://")


def send(address: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    """The status of a request whose target nobody tidies up."""
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    assert OUTSIDE.encode() not in text
    assert b"root:" not in text
    return response.status


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(
    "door", ["/v1/documents/", "/v1/episodes/", "/v1/models/", "/documents/", "/episodes/", "/static/", "/"]
)
@pytest.mark.parametrize(
    "name",
    [
        "../outside.md",
        "../../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2foutside",
        "..%5c..%5coutside",
        "%252e%252e%252foutside",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "file:///etc/passwd",
        "E001.md%00",
        "%00",
        "%ff%fe",
        "%ed%a0%80",
        "a" * 20_000,
        "a/" * 5_000,
    ],
)
def test_no_address_reads_a_file(address: str, door: str, name: str, accept: str) -> None:
    assert send(address, "GET", door + name, headers={"accept": accept}) in {404, 405, 414, 422}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_never_unpacked(address: str, coding: str) -> None:
    body = gzip.compress(json.dumps({"query": "run"}).encode())
    headers = {"content-type": "application/json", "content-encoding": coding}
    assert send(address, "POST", "/v1/search", body, headers) == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["question", "query", "k", "filters", "history", "stream", "model", "messages", "neighbours"])


@settings(max_examples=60)
@given(
    path=st.sampled_from(["/v1/ask", "/v1/search", "/v1/chat/completions"]),
    body=st.dictionaries(fields, json_values | st.just("what did the run cost?"), max_size=5) | json_values,
)
def test_whatever_is_asked_the_server_answers_or_says_what_is_wrong(address: str, path: str, body: object) -> None:
    status = send(address, "POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
    assert status in {200, 400, 404, 422}
