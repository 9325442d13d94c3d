"""The OpenVINO engine: the encoder as a graph, built straight from the weights, with the reductions inside it.

No export step: the forward pass of `lamina.model.encoder` runs once over graph nodes. OpenVINO then fuses it (one
subgraph for each layer's attention, one node for each matrix with its bias and activation: see docs/log.md) and
compiles it for this CPU.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino import opset15 as op15

from lamina.engine.batch import AttentionWeights, Batch, Int32, Precision, Program, Reduced, Reduction, Rows
from lamina.engine.graph import GraphOperations, Node, ints
from lamina.errors import EngineError
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.weights import Weights

GRAPHS_KEPT = 4  # each holds the weights once more, packed for the machine
REQUESTS = 2  # one runs while the other's results are taken and its next batch is made

TYPES = {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16}
PRECISIONS: dict[str, Precision] = {str(ov_type): name for name, ov_type in TYPES.items()}  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program's graph, compiled, and its requests that are not at work."""

    model: Any
    idle: deque[Any]

    def request(self) -> Any:
        try:
            return self.idle.popleft()
        except IndexError:
            return self.model.create_infer_request()


class OpenVinoEngine:
    """Compiles a graph for each program and keeps the last few; runs batches with two requests in flight."""

    name = "openvino"

    def __init__(
        self,
        arch: Architecture,
        weights: Weights,
        *,
        precision: Precision | None,
        threads: int,
        core: ov.Core | None = None,
    ) -> None:
        """`precision` None takes bfloat16 where this CPU has it natively, else float32. Raises EngineError."""
        self._core = core or ov.Core()
        native_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not native_bf16:
            raise EngineError(
                f"this CPU ({self.cpu}) has no native bfloat16, which would run slower than float32 here: "
                "use precision='float32', or 'auto' for the fastest that is native"
            )
        self.precision = precision or ("bfloat16" if native_bf16 else "float32")
        self.faster: Precision | None = "bfloat16" if native_bf16 and self.precision == "float32" else None
        self.threads = threads
        self._arch, self._weights = arch, weights
        self._graphs: OrderedDict[Program | int, Compiled] = OrderedDict()

    @property
    def cpu(self) -> str:
        """The name of this machine's CPU."""
        return str(self._core.get_property("CPU", "FULL_DEVICE_NAME"))

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        graph = self.compiled(program)
        at_work: deque[tuple[Any, Batch]] = deque()
        try:
            for batch in batches:
                if len(at_work) == REQUESTS:
                    yield _result(at_work[0][0], program)
                    graph.idle.append(at_work.popleft()[0])
                request = graph.request()
                request.start_async(_inputs(batch, program), share_inputs=True)
                at_work.append((request, batch))  # the batch too: the request reads its memory
            while at_work:
                yield _result(at_work[0][0], program)
                graph.idle.append(at_work.popleft()[0])
        finally:
            for request, _ in at_work:  # left early: the machine still reads the batches
                request.wait()

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        graph = self.compiled(max(layers))
        request = graph.request()
        request.infer({"ids": batch.ids, "types": batch.types, "lengths": batch.lengths}, share_inputs=True)
        weights = tuple(request.get_output_tensor(k - 1).data.copy() for k in layers)
        graph.idle.append(request)
        return weights

    def compiled(self, program: Program | int) -> Compiled:
        """The compiled graph of a program, or of the attention weights up to a layer, from those kept or anew."""
        if program not in self._graphs:
            parts = self._arch, self._weights
            model = build(*parts, program) if isinstance(program, Program) else build_attention(*parts, program)
            config = {
                "INFERENCE_PRECISION_HINT": TYPES[self.precision],
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": 1,
            }
            compiled = self._core.compile_model(model, "CPU", config)
            taken = PRECISIONS.get(str(compiled.get_property("INFERENCE_PRECISION_HINT")))
            if taken != self.precision:
                raise EngineError(f"OpenVINO took {taken} where {self.precision} was asked for, on {self.cpu}")
            self._graphs[program] = Compiled(compiled, deque())
        self._graphs.move_to_end(program)
        while len(self._graphs) > GRAPHS_KEPT:
            self._graphs.popitem(last=False)
        return self._graphs[program]


def build(arch: Architecture, weights: Weights, program: Program) -> ov.Model:
    """The graph of a program: inputs ids, types, lengths and each reduction's rows; outputs reduction by reduction."""
    ids, types = (op.parameter([-1, -1], np.int32, name=name) for name in ("ids", "types"))
    lengths = op.parameter([-1], np.int32, name="lengths")
    rows = [_row_parameters(r, kind) for r, kind in enumerate(program.reductions)]
    ops = GraphOperations(weights, ids, types, lengths, max_tokens=arch.max_tokens)
    kept = {k: x for k, x in enumerate(islice(states(ops, arch), max(program.layers) + 1)) if k in program.layers}
    outputs = [
        _reduced(kept[k], parameters, kind)
        for parameters, kind in zip(rows, program.reductions, strict=True)
        for k in program.layers
    ]
    return ov.Model(outputs, [ids, types, lengths, *(p for parameters in rows for p in parameters)], "lamina")


def build_attention(arch: Architecture, weights: Weights, highest: int) -> ov.Model:
    """The graph of the attention weights of layers 1 to `highest`: inputs ids, types and lengths, an output a layer.

    Every layer is an output, asked for or not: a layer that is none would be fused, and those above it have other bits.
    """
    ids, types = (op.parameter([-1, -1], np.int32, name=name) for name in ("ids", "types"))
    lengths = op.parameter([-1], np.int32, name="lengths")
    seen: list[Node] = []
    ops = GraphOperations(weights, ids, types, lengths, max_tokens=arch.max_tokens, seen=seen)
    for _ in islice(states(ops, arch), highest + 1):  # what comes after the last softmax leads to no output
        pass
    return ov.Model(seen, [ids, types, lengths], "lamina_attention")


def _row_parameters(r: int, kind: Reduction) -> list[Node]:
    if kind == "max":
        return [op.parameter([-1, -1], np.int32, name=f"places_{r}")]
    rows = [op.parameter([-1], np.int32, name=f"{name}_{r}") for name in ("index", "offsets")]
    return [*rows, op.parameter([-1], np.float32, name=f"weights_{r}")] if kind == "weighted" else rows


def _reduced(state: Node, parameters: list[Node], kind: Reduction) -> Node:
    """Rows [U, D] of a state [B, S, D].

    The bag sums each row's places one after the other, and a maximum does not depend on order at all, so
    neither can see what else is in the batch.
    """
    width = state.get_output_partial_shape(0)[2].get_length()
    flat = op.reshape(state, ints([-1, width]), False)
    if kind == "max":
        return op.reduce_max(op.gather(flat, parameters[0], ints(0)), ints([1]))
    if kind == "weighted":  # the bag's own weights cannot be compiled for a number of rows that varies
        index, offsets, weights = parameters
        flat = op.multiply(op.gather(flat, index, ints(0)), op.unsqueeze(weights, ints(1)))  # [N, D]
        count = op.gather(op.shape_of(index, "i32"), ints(0), ints(0))
        parameters = [op.range(ints(0), count, ints(1), "i32"), offsets]
    return op15.embedding_bag_offsets(flat, *parameters, reduction="sum")


def _inputs(batch: Batch, program: Program) -> dict[str, Any]:
    inputs: dict[str, Any] = {"ids": batch.ids, "types": batch.types, "lengths": batch.lengths}
    for r, (rows, kind) in enumerate(zip(batch.rows, program.reductions, strict=True)):
        if kind == "max":
            inputs[f"places_{r}"] = _rectangle(rows)
        else:
            inputs |= {f"index_{r}": rows.index, f"offsets_{r}": rows.offsets}
        if rows.weights is not None:
            inputs[f"weights_{r}"] = rows.weights
    return inputs


def _rectangle(rows: Rows) -> Int32:
    """The places of each row as [U, P], its last one repeated: a maximum does not mind."""
    counts = rows.counts
    within = np.minimum(np.arange(counts.max(initial=0)), counts[:, None] - 1)
    return np.asarray(rows.index[rows.offsets[:, None] + within], np.int32)


def _result(request: Any, program: Program) -> Reduced:
    request.wait()
    L = len(program.layers)
    return tuple(
        tuple(request.get_output_tensor(r * L + k).data for k in range(L)) for r in range(len(program.reductions))
    )
