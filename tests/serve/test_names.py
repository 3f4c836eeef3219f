"""Which requests are answered, by who the browser says makes them."""

from typing import Any

import anyio
import pytest
from starlette.responses import Response

from rag.serve.names import Named


async def answers(scope: Any, receive: Any, send: Any) -> None:
    await Response("ok")(scope, receive, send)


def status(named: Named, headers: dict[str, str]) -> int:
    found: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    anyio.run(named, {"type": "http", "headers": raw}, receive, send)
    return found[0]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:80", "10.0.0.7", "pod.example"]
)
def test_this_machine_its_numbers_and_the_names_given_are_answered(host: str) -> None:
    assert status(Named(answers, ["Pod.Example."]), {"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:80", "127.0.0.1.evil.example", "a@localhost", "", "[::1"],
)
def test_any_other_name_is_refused(host: str) -> None:
    assert status(Named(answers, ["pod.example"]), {"host": host}) == 421


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ("http://localhost:8000", 200),
        ("https://pod.example", 200),
        ("http://localhost:9000", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8000", 403),
        ("http://[", 403),
        ("null", 403),
    ],
)
def test_a_page_may_ask_where_it_is_from_or_under_a_name_given(origin: str, wanted: int) -> None:
    assert status(Named(answers, ["pod.example"]), {"host": "localhost:8000", "origin": origin}) == wanted


@pytest.mark.parametrize(
    ("site", "mode", "wanted"),
    [
        ("cross-site", "no-cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
def test_another_site_may_link_here_and_load_nothing(site: str, mode: str, wanted: int) -> None:
    headers = {"host": "localhost", "sec_fetch_site": site, "sec_fetch_mode": mode}
    assert status(Named(answers), headers) == wanted
