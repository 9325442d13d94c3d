"""The torch engine: the encoder on packed sequences, on one GPU, several, or the CPU.

No padding is computed, layers above the highest one asked for are not run, and what is reduced leaves the device
reduced. Beside it stand its parts: packed batches, operations, attention, reductions, devices, workers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lamina.engine.batch import AttentionWeights, Batch, Float32, Precision, Program, Reduced
from lamina.engine.torch_attention import Layout
from lamina.engine.torch_devices import (
    DTYPES,
    Float32Products,
    checked_precision,
    device_name,
    device_tokens,
    found_devices,
    native_precision,
    wait_for,
)
from lamina.engine.torch_operations import TorchOperations
from lamina.engine.torch_packed import Group, Packed, pack
from lamina.engine.torch_reduction import PlacedRows, place_rows, reduced
from lamina.engine.torch_transfer import Resident, arrays_of, sent
from lamina.engine.torch_workers import Workers
from lamina.errors import EngineError
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.weights import Weights

STREAMS = 3  # threads for each GPU: while one waits for its copies, another's work is on the device, a third's is made
# Rows. MiniLM on one core, beside all rows at once: 0.8 of the rate in float32, 0.95 in bfloat16; with 128 rows 0.8 in
# both, with 1,024 0.95 and 1.05, but the last tile is filled up: a short text alone would pay for a thousand tokens.
CPU_TILE = 256


class TorchEngine:
    """Runs batches in a thread for each CPU core, or in a few for each GPU; whichever is free takes the next one.

    On the CPU a sequence's bits depend on nothing but itself. On a GPU products of matrices are made of tiles of one
    shape, and attention in one piece, to the same end; `benchmarks/gpu.py` says whether a device keeps to it.
    """

    precisions: tuple[Precision, ...] = tuple(DTYPES)
    libraries: tuple[str, ...] = ("torch",)
    packs = True
    fine_tokens: int | None = None
    calibration_sha256: str | None = None

    def __init__(
        self,
        arch: Architecture,
        weights: Weights,
        *,
        precision: Precision | None = "float32",
        device: str = "cpu",
        threads: int = 1,
        tiled: bool = True,
    ) -> None:
        """Raises EngineError where there is no such device, or it lacks the precision.

        precision  None: the fastest that is native to the device.
        device     a word of `lamina.engine.devices`.
        threads    on the CPU: batches computed at once, each by one thread.
        tiled      False: all rows of a batch are multiplied at once, and bits depend on what else is in the batch.
        """
        devices = found_devices(device)
        first = devices[0]
        self.precision = checked_precision(precision, first)
        native = native_precision(first)
        self.faster: Precision | None = native if self.precision == "float32" != native else None
        self.name = f"torch {device_name(first)}"
        self.threads = threads
        self._float32_products = Float32Products(self.precision)
        dtype = DTYPES[self.precision]
        self.batch_tokens = device_tokens(arch, dtype, first, n_at_once=STREAMS)
        # 16,384 rows on a large GPU: BERT-base's narrowest product is 384 blocks of 128 × 256, for 132 processors.
        tile = CPU_TILE if first.type == "cpu" else self.batch_tokens // 4
        self._tile = tile if tiled else None
        self._arch = arch
        self._held = {one: Resident(weights, one, dtype) for one in devices}
        self._workers = Workers(devices * (threads if first.type == "cpu" else STREAMS))

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        with self._float32_products:
            yield from self._workers.in_order(lambda device, batch: self._reduced(device, program, batch), batches)

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        with self._float32_products:
            return self._workers.call(lambda device, batch: self._seen(device, layers, batch), batch).result()

    def _reduced(self, device: torch.device, program: Program, batch: Batch) -> Reduced:
        packed = self._packed(batch)
        found: list[list[Tensor]] = [[] for _ in program.reductions]
        try:
            ops, rows = self._operations(device, packed)
            for k, state in enumerate(islice(states(ops, self._arch), program.layers[-1] + 1)):
                if k in program.layers:
                    for of_reduction, of_rows, kind in zip(found, rows, program.reductions, strict=True):
                        of_reduction.append(reduced(state, of_rows, kind).to("cpu", non_blocking=True))
        except torch.OutOfMemoryError:
            raise EngineError(
                f"a batch of {packed.n_tokens:,} tokens does not fit the memory of {self.name}: give a smaller "
                "batch_tokens (--batch-tokens)"
            ) from None
        wait_for(device)
        return tuple(arrays_of(of_reduction) for of_reduction in found)

    def _seen(self, device: torch.device, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        packed = self._packed(batch)
        ops, _ = self._operations(device, packed, seen=True)
        for _ in islice(states(ops, self._arch), max(layers) + 1):
            pass
        assert ops.seen is not None
        return tuple(_padded(ops.seen[k - 1], packed, batch) for k in layers)

    def _packed(self, batch: Batch) -> Packed:
        return pack(batch, position_index=self._arch.position_index, tile=self._tile)

    def _operations(
        self, device: torch.device, packed: Packed, *, seen: bool = False
    ) -> tuple[TorchOperations, list[PlacedRows]]:
        """The operations on a batch, and its rows; all of its numbers go to the device in one copy."""
        arrays = [packed.bounds, *packed.index.values()]
        for rows in packed.rows:
            arrays += [rows.index, rows.offsets, *(() if rows.weights is None else (rows.weights,))]
        on_device = iter(sent(arrays, device))
        layout = Layout(packed.groups, next(on_device), packed.n_tokens, packed.n_rows, self._arch.max_tokens)
        ops = TorchOperations(
            held=self._held[device],
            layout=layout,
            index=dict(zip(packed.index, on_device, strict=False)),
            tile=self._tile,
            seen=[] if seen else None,
        )
        return ops, [place_rows(rows, on_device, DTYPES[self.precision]) for rows in packed.rows]


def _padded(seen: Sequence[tuple[Group, Tensor]], packed: Packed, batch: Batch) -> Float32:
    """A layer's attention weights, [B, H, S, S] in the order of the batch."""
    B, S = batch.ids.shape
    result = np.zeros((B, seen[0][1].shape[1], S, S), np.float32)
    for group, weights in seen:
        first = int(np.searchsorted(packed.bounds, group.low))
        result[packed.order[first : first + group.n], :, : group.length, : group.length] = weights.cpu()
    return result
