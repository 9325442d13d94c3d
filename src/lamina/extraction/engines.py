"""Which engine computes a model, and in which precision.

What has to be found out about a model on a machine (8-bit ranges, the fastest close precision) is found out once and
kept in the user's cache, under everything that it depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lamina.engine.batch import Engine, Precision
from lamina.engine.devices import check_device, has_gpu, require
from lamina.engine.quantization import Calibration
from lamina.errors import SpecError
from lamina.extraction.precision import fastest, text_batches
from lamina.model.architecture import Architecture
from lamina.model.checkpoint import Checkpoint
from lamina.model.kept import kept_bytes, kept_tensors
from lamina.model.weights import Weights
from lamina.text.sample import sample
from lamina.text.tokenizer import Tokenizer

ENGINES = ("auto", "openvino", "torch", "reference", "transformers")
PRECISIONS = ("auto", *get_args(Precision))
MAX_TEXTS = 512  # to calibrate on


@dataclass(frozen=True, slots=True)
class Model:
    """What an engine is made of.

    calibrate_on  texts like those to come, for int8; None: those that come with Lamina.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    weights: Weights
    tokenizer: Tokenizer
    calibrate_on: tuple[str, ...] | None = None

    def key(self, *parts: str) -> str:
        """A name for what depends on the weights, the tokenizer and `parts`."""
        values = [self.checkpoint.weights_sha256(), self.tokenizer.sha256, *parts]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def make_engine(
    name: str, model: Model, *, precision: Precision | Literal["auto"], threads: int, device: str = "auto"
) -> Engine:
    """An engine by its word. Raises EngineError for what this machine lacks, SpecError for what the engine lacks.

    `auto` is torch where a GPU is named, or is there and torch sees it, else OpenVINO, which alone has 8 bits.
    """
    check_device(device)
    on_gpu = device not in ("auto", "cpu")
    takes_gpu = on_gpu or (device == "auto" and precision != "int8" and name == "auto" and has_gpu())
    if name == "torch" or (name == "auto" and takes_gpu):
        return _torch(model, precision, device, threads)
    if on_gpu:
        raise SpecError(f"engine {name!r} computes on the CPU, not on {device!r}: engine='torch' has GPUs")
    if name == "reference":
        return _reference(model, "float32" if precision == "auto" else precision, threads)
    return _openvino(model, _fastest(model, threads) if precision == "auto" else precision, threads)


def _reference(model: Model, precision: Precision, threads: int) -> Engine:
    from lamina.engine.reference import ReferenceEngine

    if precision not in ReferenceEngine.precisions:
        raise SpecError(f"the reference engine computes {', '.join(ReferenceEngine.precisions)}, not {precision}")
    calibration = calibration_of(model, threads) if precision == "int8" else None
    return ReferenceEngine(model.architecture, model.weights, precision=precision, calibration=calibration)


def _openvino(model: Model, precision: Precision, threads: int) -> Engine:
    from lamina.engine.openvino import OpenVinoEngine

    calibration = calibration_of(model, threads) if precision == "int8" else None
    return OpenVinoEngine(
        model.architecture, model.weights, precision=precision, threads=threads, calibration=calibration
    )


def _torch(model: Model, precision: Precision | Literal["auto"], device: str, threads: int) -> Engine:
    require("torch", engine="torch")
    from lamina.engine.torch import TorchEngine

    if precision not in ("auto", *TorchEngine.precisions):
        raise SpecError(f"the torch engine computes {', '.join(TorchEngine.precisions)}, not {precision}")
    chosen = None if precision == "auto" else precision
    return TorchEngine(model.architecture, model.weights, precision=chosen, device=device, threads=threads)


def calibration_of(model: Model, threads: int) -> Calibration:
    """The roundings of a model in 8 bits: found once, then read from the cache."""
    from importlib.metadata import version

    from lamina.engine.calibration import BATCH_TOKENS, calibrate

    texts = model.calibrate_on or tuple(sample())

    def found() -> Calibration:
        batches = text_batches(texts, model.architecture, model.tokenizer, batch_tokens=BATCH_TOKENS)
        return calibrate(model.architecture, model.weights, batches, threads=threads)

    key = model.key("int8", version("lamina"), version("openvino"), *texts)
    return Calibration.of_tensors(kept_tensors(f"{key}.safetensors", lambda: found().tensors()))


def _fastest(model: Model, threads: int) -> Precision:
    """The fastest native precision that is close to float32 at every layer: measured once on this CPU."""
    from importlib.metadata import version

    import openvino as ov

    from lamina.engine.openvino import batch_tokens_for, native_precisions

    core = ov.Core()
    natives = native_precisions(core)
    if natives == ("float32",):
        return "float32"

    def found() -> bytes:
        n_tokens = batch_tokens_for(threads)
        batches = text_batches(sample(), model.architecture, model.tokenizer, batch_tokens=n_tokens)
        chosen = fastest(natives, lambda p: _openvino(model, p, threads), model.architecture, batches)
        return json.dumps({"precision": chosen}).encode()

    cpu = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
    kept = kept_bytes(f"{model.key('auto', cpu, *natives, str(threads), version('openvino'))}.json", found)
    precision: Precision = json.loads(kept)["precision"]
    return precision if precision in natives else "float32"


def texts_of(calibrate_on: Iterable[str] | None) -> tuple[str, ...] | None:
    """The texts to calibrate on, of which the first few hundred are enough. Raises SpecError where there is none."""
    if calibrate_on is None:
        return None
    if isinstance(calibrate_on, str):
        raise SpecError("calibrate_on must be an iterable of strings, not one string: put it in a list")
    texts = tuple(text for _, text in zip(range(MAX_TEXTS), calibrate_on, strict=False))
    if not texts:
        raise SpecError("calibrate_on holds no text")
    return texts
