"""Which pages from elsewhere may ask."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from rag.errors import SettingsError
from rag.serve.app import create_app
from rag.serve.keys import add_key
from rag.settings import read_settings

FRIEND = "https://pod.example"


def never() -> Any:
    raise AssertionError("the lifespan did not run: nothing opens the service")


def send(app: Any, method: str, path: str, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return anyio.run(run)


def preflight(app: Any, origin: str, **headers: str) -> httpx.Response:
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "content-type,authorization"}
    return send(app, "OPTIONS", "/v1/ask", origin=origin, sec_fetch_site="cross-site", **asked, **headers)


def test_a_page_that_was_named_may_ask_and_read_the_answer(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.txt", "ada")
    app = create_app(never, keys=tmp_path / "keys.txt", origins=[FRIEND])
    allowed = preflight(app, FRIEND)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == FRIEND
    assert {"authorization", "traceparent"} <= {*allowed.headers["access-control-allow-headers"].lower().split(", ")}
    assert "access-control-allow-credentials" not in allowed.headers
    asked = {"origin": FRIEND, "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}
    for authorization, status in ((f"Bearer {key}", 200), ("", 401)):  # it can read why it was refused, too
        answered = send(app, "GET", "/metrics", authorization=authorization, **asked)
        assert answered.status_code == status
        assert answered.headers["access-control-allow-origin"] == FRIEND
        assert "origin" in answered.headers["vary"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://pod.example",
        "https://pod.example:444",
        "https://pod.example.evil.example",
        "null",
    ],
)
@pytest.mark.parametrize("origins", [[], [FRIEND]])
def test_any_other_page_is_refused(origin: str, origins: list[str]) -> None:
    app = create_app(never, origins=origins)
    for refused in (preflight(app, origin), send(app, "GET", "/metrics", origin=origin)):
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers


def test_a_name_that_leads_here_is_refused_even_for_a_page_that_was_named() -> None:
    app = create_app(never, origins=[FRIEND])
    assert preflight(app, FRIEND, host="evil.example").status_code == 421
    assert send(app, "GET", "/metrics", origin=FRIEND, host="evil.example").status_code == 421


def test_what_a_page_loads_without_saying_who_it_is_stays_refused() -> None:
    app = create_app(never, origins=[FRIEND])
    assert send(app, "GET", "/metrics", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status_code == 403


def test_origins_are_written_as_browsers_write_them() -> None:
    found = read_settings(None, {"RAG_SERVE__ORIGINS": "https://Pod.example,http://localhost:5173"}, {}).serve
    assert found.origins == (FRIEND, "http://localhost:5173")


@pytest.mark.parametrize(
    "wrong",
    ["*", "null", "pod.example", "https://pod.example/", "https://*.example", "https://a@b", "https://", "http://["],
)
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"serve\.origins"):
        read_settings(None, {"RAG_SERVE__ORIGINS": wrong}, {})
