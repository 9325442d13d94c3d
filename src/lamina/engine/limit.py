"""This machine's limit: how fast it multiplies one large matrix, in each precision that it has natively.

Measured through OpenVINO, whose kernels (oneDNN) are the fastest known on most CPUs; what share of it a model reaches
says what is left on the table.
"""

from __future__ import annotations

import time

import numpy as np
import openvino as ov
from openvino import opset13 as op

from lamina.engine.batch import Precision
from lamina.engine.openvino import TYPES
from lamina.engine.quantization import LEVELS

PLACES, WIDTH, OUT = 2048, 1024, 4096  # the shape of a large encoder's first feed-forward product on a full batch
ROUNDS = 12  # the best of them counts


def matmul_rate(precision: Precision, *, threads: int, core: ov.Core) -> float:
    """Operations a second (2 for each multiplication) of a product [PLACES, WIDTH] x [WIDTH, OUT]."""
    rng = np.random.default_rng(0)
    x = op.parameter([-1, WIDTH], np.float32)
    weight = rng.standard_normal((OUT, WIDTH)).astype(np.float32)
    product = op.matmul(_entered(x, precision), _weight(weight, precision), False, True)
    outputs = [op.reduce_max(product, op.constant(np.array([1], np.int32)))]  # writing the product out costs nothing
    hint = TYPES.get(precision, ov.Type.f32)
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(ov.Model(outputs, [x]), "CPU", config).create_infer_request()
    places = rng.standard_normal((PLACES, WIDTH)).astype(np.float32)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        request.infer([places], share_inputs=True)
        seconds.append(time.perf_counter() - started)
    return 2 * PLACES * WIDTH * OUT / min(seconds)


def _entered(x: ov.Node, precision: Precision) -> ov.Node:
    if precision != "int8":
        return x
    ends = [op.constant(np.float32(end)) for end in (-4 * 128 / 127, 4)] * 2
    return op.fake_quantize(x, *ends, LEVELS)


def _weight(weight: np.ndarray, precision: Precision) -> ov.Node:
    if precision != "int8":
        return op.constant(weight)
    integers = op.convert(op.constant(np.clip(weight * 30, -127, 127).astype(np.int8)), "f32")
    return op.multiply(integers, op.constant(np.float32(1 / 30)))
