"""Finding how a model's numbers become 8-bit integers: float32 over some texts, with a look at what enters each matrix.

Comes in: an encoder and batches of texts like those to come. Goes out: a `Calibration`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import openvino as ov
from openvino import opset13 as op

from lamina.engine.batch import Batch, Float32
from lamina.engine.graph import GraphOperations, Seen
from lamina.engine.quantization import Calibration, fit, same_input
from lamina.errors import EngineError
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.weights import Weights

SAMPLE_PLACES = 512  # on which the roundings are compared; ranges are those of all places
BATCH_TOKENS = 512  # a 12-layer BERT-base shows 65,000 numbers a token


@dataclass(slots=True)
class Observed:
    """What was seen of one input: its range by channel [D], and some of its places [N, D]."""

    lowest: Float32 | None = None
    highest: Float32 | None = None
    kept: list[Float32] = field(default_factory=list)
    n_kept: int = 0

    def see(self, places: Float32) -> None:
        low, high = places.min(axis=0), places.max(axis=0)
        self.lowest = low if self.lowest is None else np.minimum(self.lowest, low)
        self.highest = high if self.highest is None else np.maximum(self.highest, high)
        wanted = places[:: max(1, len(places) // 64)][: SAMPLE_PLACES - self.n_kept]  # some of every batch
        self.kept.append(wanted.copy())
        self.n_kept += len(wanted)


def calibrate(arch: Architecture, weights: Weights, batches: Iterable[Batch], *, threads: int) -> Calibration:
    """The roundings of every matrix product of an encoder, from batches of texts. Raises EngineError without any."""
    model, products = _showing_inputs(arch, weights)
    config = {"INFERENCE_PRECISION_HINT": ov.Type.f32, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    observed = [Observed() for _ in products]
    for batch in batches:
        request.infer({"ids": batch.ids, "types": batch.types, "lengths": batch.lengths}, share_inputs=True)
        real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]  # [B, S]
        for k, of_input in enumerate(observed):
            of_input.see(request.get_output_tensor(k).data[real])
    roundings = []
    for of_input, names in zip(observed, products, strict=True):
        if of_input.lowest is None or of_input.highest is None:
            raise EngineError("int8 needs texts to calibrate on, and was given none")
        matrices = [weights[f"{name}.weight"] for name in names]
        rounding = fit(np.concatenate(of_input.kept), of_input.lowest, of_input.highest, matrices)
        roundings += [rounding] * len(names)
    return Calibration(tuple(roundings))


def _showing_inputs(arch: Architecture, weights: Weights) -> tuple[ov.Model, list[list[str]]]:
    """A graph that gives what enters the matrix products, and the names of the products that each enters."""
    ids, types = (op.parameter([-1, -1], np.int32, name=name) for name in ("ids", "types"))
    lengths = op.parameter([-1], np.int32, name="lengths")
    seen = Seen()
    ops = GraphOperations(weights, ids, types, lengths, max_tokens=arch.max_tokens, seen=seen)
    for _ in islice(states(ops, arch), arch.n_layers + 1):
        pass
    groups = same_input([x for _, x in seen.inputs])
    outputs = [seen.inputs[group[0]][1] for group in groups]
    return ov.Model(outputs, [ids, types, lengths], "lamina_calibration"), [
        [seen.inputs[k][0] for k in group] for group in groups
    ]
