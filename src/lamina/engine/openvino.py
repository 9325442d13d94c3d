"""The OpenVINO engine: the encoder as a graph, built straight from the weights, with the reductions inside it.

No export step: the forward pass of `lamina.model.encoder` runs once over graph nodes. OpenVINO then fuses it (one
subgraph for each layer's attention, one node for each matrix with its bias and activation: see docs/log.md) and
compiles it for this CPU.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op
from openvino import opset15 as op15

from lamina.engine.batch import (
    AttentionWeights,
    Batch,
    Int32,
    Precision,
    Program,
    Reduced,
    Reduction,
    Rows,
    round_up,
)
from lamina.engine.graph import GraphOperations, Node, Seen, ints
from lamina.engine.quantization import Calibration
from lamina.errors import EngineError
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.weights import Weights

GRAPHS_KEPT = 4  # each holds the weights once more, packed for the machine
FINE_TOKENS = 64  # where a CPU multiplies in tiles: attention takes 60 % longer for odd multiples of 8 (docs/log.md)
HEARD = 100  # milliseconds between two moments in which Python can hear a signal while a batch is computed
STREAM_THREADS = 8  # at most, that compute one batch: they wait for one another at each of its small operations
STREAMS = 8  # before the threads of each become more: every one has a batch in memory, and the last ones end apart
STREAM_TOKENS = 1024  # of a batch for each thread of its stream, for two threads at most (docs/log.md)

# precision -> what the CPU must be able to do, as OpenVINO calls it
NEEDS: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
TYPES: dict[Precision, ov.Type] = {"float32": ov.Type.f32, "bfloat16": ov.Type.bf16, "float16": ov.Type.f16}

Inputs = dict[str, npt.NDArray[Any]]  # by the name of a graph's parameter


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
    """Compiles a graph for each program, keeps the last few; computes a batch on each stream while one more waits.

    A stream has one thread, or several where there are many. Fewer batches than streams are computed one by one on all
    threads, by a graph of its own.
    """

    name = "openvino"
    packs = False
    libraries: tuple[str, ...] = ("openvino",)

    def __init__(
        self,
        arch: Architecture,
        weights: Weights,
        *,
        precision: Precision,
        threads: int,
        calibration: Calibration | None = None,
        core: ov.Core | None = None,
    ) -> None:
        """`calibration` goes with precision int8, and only with it. Raises EngineError for what this CPU lacks."""
        self._core = core or ov.Core()
        native = native_precisions(self._core)
        if precision not in native:
            raise EngineError(
                f"this CPU ({self.cpu}) has no native {precision}, which would run slower than float32 here: use "
                f"one of {', '.join(native)}, or 'auto' for the fastest that stays close to float32"
            )
        assert (precision == "int8") == (calibration is not None)
        self.precision: Precision = precision
        self.faster: Precision | None = "bfloat16" if "bfloat16" in native and precision == "float32" else None
        self.threads = threads
        self.streams = streams_for(threads)  # batches computed at once, each on threads near one another
        self.batch_tokens = batch_tokens_for(threads)
        # What is not multiplied in 8 bits is computed in bfloat16 where that is native, as it costs no more exactness.
        self._type = TYPES[precision if precision != "int8" else "bfloat16" if "bfloat16" in native else "float32"]
        self.fine_tokens = FINE_TOKENS if precision in ("bfloat16", "int8") and has_tiles() else None
        self._arch, self._weights, self._calibration = arch, weights, calibration
        self.calibration_sha256 = calibration.sha256 if calibration else None
        self._graphs: OrderedDict[tuple[Program | int, int], Compiled] = OrderedDict()

    @property
    def cpu(self) -> str:
        """The name of this machine's CPU."""
        return str(self._core.get_property("CPU", "FULL_DEVICE_NAME"))

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        batches = iter(batches)
        begun = list(islice(batches, self.streams))
        streams = self.streams if len(begun) == self.streams else 1  # all threads for each of a few
        graph = self.compiled(program, streams=streams)
        at_work: deque[tuple[Any, Inputs]] = deque()
        try:
            for batch in chain(begun, batches):
                if len(at_work) > streams:  # one more than are computed: its batch waits ready
                    yield _result(at_work[0][0], program)
                    graph.idle.append(at_work.popleft()[0])
                request, inputs = graph.request(), _inputs(batch, program)
                for name, values in inputs.items():  # faster than handing them to start_async
                    request.set_tensor(name, ov.Tensor(values, shared_memory=True))
                request.start_async()
                at_work.append((request, inputs))  # the inputs too: the request reads their memory
            while at_work:
                yield _result(at_work[0][0], program)
                graph.idle.append(at_work.popleft()[0])
        finally:
            for request, _ in at_work:  # left early: the machine still reads the batches
                request.wait()  # no cancel: it leaves the graph with shapes that are not those of the next batch

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        graph = self.compiled(max(layers))
        request = graph.request()
        request.infer({"ids": batch.ids, "types": batch.types, "lengths": batch.lengths}, share_inputs=True)
        weights = tuple(request.get_output_tensor(k - 1).data.copy() for k in layers)
        graph.idle.append(request)
        return weights

    def compiled(self, program: Program | int, *, streams: int = 1) -> Compiled:
        """The compiled graph of a program, or of the attention weights up to a layer, from those kept or anew."""
        key = program, streams
        if key not in self._graphs:
            parts, rounded = (self._arch, self._weights), self._calibration
            if isinstance(program, Program):
                model = build(*parts, program, calibration=rounded)
            else:
                model = build_attention(*parts, program, calibration=rounded)
            config = {
                "INFERENCE_PRECISION_HINT": self._type,
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": streams,
            }
            compiled = self._core.compile_model(model, "CPU", config)
            taken = compiled.get_property("INFERENCE_PRECISION_HINT")
            if taken != self._type:
                raise EngineError(f"OpenVINO took {taken} where {self._type} was asked for, on {self.cpu}")
            requests = deque(
                compiled.create_infer_request() for _ in range(streams + 1)
            )  # later it would wait for one at work
            self._graphs[key] = Compiled(compiled, requests)
        self._graphs.move_to_end(key)
        while len(self._graphs) > GRAPHS_KEPT:
            self._graphs.popitem(last=False)
        return self._graphs[key]


def streams_for(threads: int) -> int:
    """How many batches so many threads compute at once."""
    return max(1, min(threads, max(STREAMS, threads // STREAM_THREADS)))


def batch_tokens_for(threads: int) -> int:
    """How many tokens a batch should hold."""
    return STREAM_TOKENS * min(2, max(1, threads) // streams_for(threads))


def native_precisions(core: ov.Core) -> tuple[Precision, ...]:
    """The precisions that this machine's CPU computes in by itself."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(precision for precision, need in NEEDS.items() if need in capabilities)


@cache
def has_tiles(described: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies matrices in tiles of 16 rows (AMX), as far as the system says."""
    try:
        return " amx_tile" in described.read_text()
    except OSError:
        return False


def build(
    arch: Architecture, weights: Weights, program: Program, *, calibration: Calibration | None = None
) -> ov.Model:
    """The graph of a program: inputs ids, types, lengths and each reduction's rows; outputs reduction by reduction."""
    ids, types = (op.parameter([-1, -1], np.int32, name=name) for name in ("ids", "types"))
    lengths = op.parameter([-1], np.int32, name="lengths")
    rows = [_row_parameters(r, kind) for r, kind in enumerate(program.reductions)]
    ops = GraphOperations(weights, ids, types, lengths, max_tokens=arch.max_tokens, calibration=calibration)
    kept = {k: x for k, x in enumerate(islice(states(ops, arch), max(program.layers) + 1)) if k in program.layers}
    outputs = [
        _reduced(kept[k], parameters, kind)
        for parameters, kind in zip(rows, program.reductions, strict=True)
        for k in program.layers
    ]
    if program.narrow:
        outputs = [op.convert(output, "f16") for output in outputs]  # to numpy's bits, infinities and all
    return ov.Model(outputs, [ids, types, lengths, *(p for parameters in rows for p in parameters)], "lamina")


def build_attention(
    arch: Architecture, weights: Weights, highest: int, *, calibration: Calibration | None = None
) -> ov.Model:
    """The graph of the attention weights of layers 1 to `highest`: inputs ids, types and lengths, an output a layer.

    Every layer is an output, asked for or not: a layer that is none would be fused, and those above it have other bits.
    """
    ids, types = (op.parameter([-1, -1], np.int32, name=name) for name in ("ids", "types"))
    lengths = op.parameter([-1], np.int32, name="lengths")
    seen = Seen()
    ops = GraphOperations(weights, ids, types, lengths, max_tokens=arch.max_tokens, seen=seen, calibration=calibration)
    for _ in islice(states(ops, arch), highest + 1):  # what comes after the last softmax leads to no output
        pass
    return ov.Model(seen.attention, [ids, types, lengths], "lamina_attention")


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


def _inputs(batch: Batch, program: Program) -> Inputs:
    """What a graph is given: the batch, with sequences of one token that nobody asks for up to a round number.

    Each new shape takes 8 to 40 ms and 1 to 6 MB (docs/log.md): the last batch of each length would bring one.
    """
    B = len(batch.lengths)
    more = round_up(B) - B
    ids, types = (np.pad(tokens, ((0, more), (0, 0))) if more else tokens for tokens in (batch.ids, batch.types))
    lengths = np.pad(batch.lengths, (0, more), constant_values=1) if more else batch.lengths
    inputs: Inputs = {"ids": ids, "types": types, "lengths": lengths}
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
    while not request.wait_for(HEARD):
        pass
    request.wait()
    L = len(program.layers)
    return tuple(
        tuple(request.get_output_tensor(r * L + k).data for k in range(L)) for r in range(len(program.reductions))
    )
