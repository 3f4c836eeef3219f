from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lite import milvus

settings.register_profile("ours", deadline=None)  # how long an example takes says what else the machine does
settings.load_profile("ours")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each operation of a description an id of its own: schemathesis leaves it to pytest, which no longer does."""
    if item.name not in item.nodeid:
        item._id = item.id.with_params(item.name.partition("[")[2].removesuffix("]"))


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Material that stands beside a checkout, where there is any."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Milvus that every test shares."""
    with milvus(tmp_path_factory.mktemp("milvus")) as uri:
        yield uri
