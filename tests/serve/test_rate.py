"""How often somebody may ask."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse

from rag.errors import SettingsError
from rag.serve import rate
from rag.serve.app import create_app
from rag.serve.keys import BEARER
from rag.serve.rate import Rate
from rag.serve.server import configured
from rag.settings import read_settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def answers(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(scope["client"][0])(scope, receive, send)


def get(app: Any, path: str = "/", client: str = "10.0.0.7", headers: dict[str, str] | None = None) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as session:
            return await session.get(path, headers=headers)

    return anyio.run(run)


def test_who_asks_too_often_waits_as_long_as_told() -> None:
    clock = Clock()
    app = Rate(answers, 3, clock)
    assert [get(app).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = get(app)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "20"
    clock.now += 19
    assert get(app).headers["retry-after"] == "1"
    clock.now += 1
    assert [get(app).status_code for _ in range(2)] == [200, 429]
    clock.now += 3600
    assert [get(app).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_each_address_has_its_own_and_a_subscriber_of_ipv6_has_one() -> None:
    app = Rate(answers, 1, Clock())
    addresses = ["10.0.0.7", "10.0.0.8", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "10.0.0.7"]
    assert [get(app, client=a).status_code for a in addresses] == [200, 200, 200, 429, 200, 429]


def test_a_key_is_one_asker_wherever_it_asks_from() -> None:
    app = Rate(answers, 1, Clock())

    def bearing(name: str) -> Any:
        async def named(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, BEARER: name}, receive, send)

        return named

    asked = [("ada", "10.0.0.7"), ("ada", "10.0.0.8"), ("bob", "10.0.0.7"), ("10.0.0.7", "10.0.0.7")]
    assert [get(bearing(name), client=client).status_code for name, client in asked] == [200, 429, 200, 200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/style.css"])
def test_what_watches_the_process_and_the_files_of_the_page_are_free(path: str) -> None:
    app = Rate(answers, 1, Clock())
    assert {get(app, path).status_code for _ in range(5)} == {200}
    assert [get(app).status_code for _ in range(2)] == [200, 429]


def test_a_flood_of_addresses_takes_no_more_memory_than_was_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MOST", 3)
    app = Rate(answers, 1, Clock())
    for last in range(10):
        get(app, client=f"10.0.0.{last}")
    assert app._paid.execute("SELECT count(*) FROM paid").fetchone() == (3,)


def test_whoever_has_asked_least_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MOST", 2)
    app = Rate(answers, 2, Clock())
    asked = ["10.0.0.7", "10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.7"]
    assert [get(app, client=a).status_code for a in asked] == [200, 200, 200, 200, 429]


def test_processes_that_share_a_file_count_together(tmp_path: Path) -> None:
    one, other = (Rate(answers, 3, Clock(), tmp_path / "rate") for _ in range(2))
    assert [get(app).status_code for app in (one, other, other, one, other)] == [200, 200, 200, 429, 429]
    assert get(Rate(answers, 3, Clock(), tmp_path / "rate")).status_code == 429


def test_the_server_is_without_limit_unless_told() -> None:
    def never() -> Any:
        raise AssertionError("the lifespan did not run: nothing opens the service")

    free, limited = create_app(never), create_app(never, rate=1)
    assert [get(free, "/nowhere").status_code for _ in range(3)] == [404, 404, 404]
    assert [get(limited, "/nowhere").status_code for _ in range(3)] == [404, 429, 429]


@pytest.mark.parametrize(
    ("proxies", "peer", "believed"),
    [
        ([], "127.0.0.1", False),
        ([], "10.0.0.7", False),
        (["10.0.0.7"], "10.0.0.7", True),
        (["10.0.0.0/8"], "10.0.0.7", True),
        (["10.0.0.7"], "127.0.0.1", False),
    ],
)
def test_only_a_proxy_that_was_named_says_whom_it_forwards_for(
    monkeypatch: pytest.MonkeyPatch, proxies: list[str], peer: str, believed: bool
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    config = configured(answers, proxies)
    config.load()
    forwarded = {"x-forwarded-for": "6.6.6.6, 192.0.2.1"}
    assert get(config.loaded_app, client=peer, headers=forwarded).text == ("192.0.2.1" if believed else peer)


def test_proxies_are_addresses_in_numbers_with_commas_between() -> None:
    found = read_settings(None, {"RAG_SERVE__PROXIES": "10.0.0.7, 10.1.0.0/16", "RAG_SERVE__RATE": "60"}, {}).serve
    assert (found.proxies, found.rate) == (("10.0.0.7", "10.1.0.0/16"), 60)
    for wrong in ("*", "proxy.example"):
        with pytest.raises(SettingsError, match="no address or network"):
            read_settings(None, {"RAG_SERVE__PROXIES": wrong}, {})
