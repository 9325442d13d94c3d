"""What an engine eats and gives: a `Program`, said once, and `Batch` after `Batch`.

B texts (or windows of texts) of one padded length S; U_r rows for the r-th reduction; D hidden width.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Vectors = Float32 | npt.NDArray[np.float16]
Reduction = Literal["sum", "weighted", "max"]
Precision = Literal["float32", "tf32", "bfloat16", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class Program:
    """Which layers to emit (ascending) and how to reduce each of them; nothing above the highest one is run.

    narrow  the results end as float16: an engine that rounds to it faster than numpy does may give them so.
    """

    layers: tuple[int, ...]
    reductions: tuple[Reduction, ...]
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one reduction: row u reduces the places index[offsets[u]:offsets[u + 1]] of the batch laid flat.

    index    [N]; places 0 to B * S - 1. No row is empty.
    offsets  [U]; where each row's places begin.
    weights  [N]; what each place is multiplied with, for a `weighted` reduction (a weighted sum), else None.
    """

    index: Int32
    offsets: Int32
    weights: Float32 | None = None

    @property
    def counts(self) -> Int32:
        """Places of each row, [U]."""
        return np.diff(self.offsets, append=np.int32(self.index.size))


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences of one padded length.

    ids, types  [B, S]; token ids and segment types, zero where padded.
    lengths     [B]; tokens before the padding, at least 1.
    rows        one `Rows` for each reduction of the program.
    """

    ids: Int32
    types: Int32
    lengths: Int32
    rows: tuple[Rows, ...]


def round_down(count: int) -> int:
    """The largest count up to this one that has three significant bits: 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32, 40 …

    An engine prepares for each shape that it meets, and keeps what it prepared. With such counts there are few shapes.
    """
    shift = max(0, count.bit_length() - 3)
    return count >> shift << shift


def round_up(count: int) -> int:
    """The smallest count from this one on that has three significant bits: at most a quarter more."""
    shift = max(0, count.bit_length() - 3)
    return -(-count >> shift) << shift


# For each reduction, for each layer of the program: [U_r, D], float32 or, of a narrow program, perhaps float16.
Reduced = tuple[tuple[Vectors, ...], ...]

# For each layer asked for: float32 [B, H, S, S], from a place (row) to a place (column).
AttentionWeights = tuple[Float32, ...]


class Engine(Protocol):
    """One way of computing an encoder on one machine.

    For one engine, machine, precision and padded length, a sequence's results have the same bits whatever else is in
    its batch and however many threads there are.
    """

    name: str
    precision: Precision
    threads: int
    faster: Precision | None  # a precision that this machine would compute faster in
    batch_tokens: int  # how many tokens a batch should hold, where nobody says otherwise
    packs: bool  # computes no padding, so that a batch may hold sequences of any lengths
    fine_tokens: int | None  # longer sequences it computes faster when padded to multiples of 16 than to those of 8
    libraries: tuple[str, ...]  # the packages whose versions its numbers depend on
    calibration_sha256: str | None  # of the ranges that its numbers depend on, where it multiplies in 8 bits

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        """The reduced layers of each batch, in order. Arrays are valid until the next one is asked for."""
        ...

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        """How the places of a batch look at one another in each of `layers` (1 to n), in their order.

        Rows of ordinary places sum to 1 and are 0 at padding; those of padded places mean nothing. The batch's
        `rows` are not looked at.
        """
        ...
