"""What can be told of a cluster without one; `test_ray.py` has one."""

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from faults.tiny import export_tiny
from rag.errors import SettingsError, UserError
from rag.index.encode import CARD, MODEL, TOKENIZER, OnnxEncoder
from rag.index.export import EncoderChoice
from rag.index.spread import PROBE, _open, _Sent, cluster
from rag.settings import read_settings

pytest.importorskip("onnx", reason="making an encoder needs the `build` extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_tiny(EncoderChoice(), "tiny", tmp_path / "encoder")
    return tmp_path / "encoder"


def sent(folder: Path, probe: np.ndarray) -> _Sent:
    return _Sent({name: (folder / name).read_bytes() for name in (MODEL, TOKENIZER, CARD)}, probe, "the sender")


def test_an_encoder_that_was_sent_makes_the_same_bits(folder: Path) -> None:
    here = OnnxEncoder(folder)
    there = _open(sent(folder, here.encode(PROBE)))
    texts = ["yeast makes gas", "A contrastive loss on 50 problems"]
    assert there.encode(texts).tobytes() == here.encode(texts).tobytes()


def test_one_that_makes_another_bit_is_refused(folder: Path) -> None:
    probe = OnnxEncoder(folder).encode(PROBE)
    probe[1, 0] = np.nextafter(probe[1, 0], np.float32(2))
    with pytest.raises(UserError, match=r"makes other vectors than the sender.*onnxruntime"):
        _open(sent(folder, probe))


def test_a_missing_extra_names_itself() -> None:
    with (
        patch.dict(sys.modules, {"ray": None, "ray.data": None}),
        pytest.raises(UserError, match=r"podcast-rag\[ray\]"),
        cluster("auto"),
    ):
        pass


@pytest.mark.parametrize("address", ["auto", "10.0.0.7:6379", "head.example:6379", "[::1]:6379"])
def test_an_address_of_a_cluster_is_taken(address: str) -> None:
    assert read_settings(None, {"RAG_RAY": address}, {}).ray == address


@pytest.mark.parametrize("address", ["local", "", "head", "head:", "head:1/x", "head:1 --x", "http://head:1"])
def test_another_is_refused_before_ray_would_start_a_cluster_for_it(address: str) -> None:
    with pytest.raises(SettingsError, match=r"'ray'.*write it as auto or 10\.0\.0\.7:6379"):
        read_settings(None, {"RAG_RAY": address}, {})


def test_the_address_of_a_client_is_told_from_a_wrong_one() -> None:
    with pytest.raises(SettingsError, match="a client's address, over which Ray Data does not run"):
        read_settings(None, {}, {"ray": "ray://head:10001"})
