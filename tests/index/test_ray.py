"""Encoding on a Ray cluster of two nodes, in a network and a process space that hold nothing else (`on_ray.py`)."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the `ray` extra: make test-ray"),
]

BODY = Path(__file__).with_name("on_ray.py")
ALONE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What was seen on the cluster. Whatever was started there is gone with the first of its processes."""
    if not shutil.which("unshare") or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made here (unshare, as root): Ray would listen to others")
    path = os.pathsep.join(filter(None, [str(BODY.parents[1]), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory(prefix="ray") as folder:  # short: sockets lie in it
        ran = subprocess.run(
            [*ALONE, sys.executable, str(BODY), folder],
            env=os.environ | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        logs = [f"{log.name}: {log.read_text()[-2000:]}" for log in Path(folder).glob("*.log")]
    assert ran.returncode == 0, "\n".join([ran.stderr[-4000:], *logs])
    return dict(json.loads(ran.stdout))


def test_an_index_encoded_on_the_cluster_is_byte_for_byte_the_one_encoded_here(seen: dict[str, Any]) -> None:
    assert seen["index"]["same"]


def test_the_cluster_encodes_and_this_process_only_the_probe(seen: dict[str, Any]) -> None:
    assert seen["index"]["texts"] > 400
    assert seen["index"]["encoded_here"] == 3


def test_ray_writes_nothing_between_the_lines_of_a_build(seen: dict[str, Any]) -> None:
    assert seen["index"]["stderr"] == "exporting all-MiniLM-L6-v2 to ONNX (int8), once\n"


def test_a_node_killed_at_work_loses_no_vector_and_doubles_none(seen: dict[str, Any]) -> None:
    assert seen["lost"]["nodes"] == [["127.0.0.1", "127.0.0.2"], ["127.0.0.1"]]
    assert seen["lost"]["same"]
    assert seen["lost"]["distinct"] == seen["lost"]["texts"]  # so that no vector may stand in for another


def test_a_machine_that_makes_other_vectors_is_refused_by_name(seen: dict[str, Any]) -> None:
    assert seen["lost"]["refused"].startswith("UserError: ")
    assert "makes other vectors than" in seen["lost"]["refused"]


def test_an_address_where_nobody_answers_is_given_up_in_time(seen: dict[str, Any]) -> None:
    assert seen["nobody"].startswith("UserError: no Ray cluster answers at 127.0.0.1:9 within 6 s; ")


def test_nothing_but_loopback_was_there_to_listen_on(seen: dict[str, Any]) -> None:
    assert seen["interfaces"] == ["lo"]
