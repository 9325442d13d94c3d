"""What a precision costs and gains on this machine: cosines with float32 layer by layer, and seconds, on texts.

`auto` is decided here: the fastest native precision that keeps every layer of every sample text close to float32.
Shapes: N texts, L layers 0 to n, D hidden width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Batch, Engine, Float32, Precision, Program
from lamina.extraction.batches import make_batches
from lamina.extraction.chunk import make_chunk
from lamina.extraction.plan import make_plan
from lamina.model.architecture import Architecture
from lamina.spec import Spec
from lamina.text.source import rows_of
from lamina.text.tokenizer import Tokenizer

Float64 = npt.NDArray[np.float64]

CLOSE = 0.9995  # the smallest cosine with float32 of any text at any layer that `auto` accepts
ROUNDS = 3  # the best of them counts


@dataclass(frozen=True, slots=True)
class Cost:
    """A precision on one machine, one model and some texts.

    seconds      the best round's.
    n_tokens     computed in a round, special tokens counted, padding not.
    mean, worst  the cosine of the texts' means with float32's, by layer 0 to n: of all texts, and of the worst.
    """

    precision: Precision
    seconds: float
    n_tokens: int
    mean: tuple[float, ...]
    worst: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float:
        return self.n_tokens / self.seconds

    @property
    def is_close(self) -> bool:
        """Whether it is as good as float32 for `auto`."""
        return min(self.worst) >= CLOSE


def measure(engines: Iterable[Engine], arch: Architecture, batches: Sequence[Batch]) -> list[Cost]:
    """What each engine's precision costs against the first one's, which should be float32."""
    expected: list[Float32] = []
    costs = []
    for engine in engines:
        found, _ = timed(engine, arch.n_layers, batches)  # compiles, and makes the machine's code for every shape
        expected = expected or found
        seconds = min(timed(engine, arch.n_layers, batches)[1] for _ in range(ROUNDS))
        cosines = [cosines_of(a, b) for a, b in zip(found, expected, strict=True)]
        means, worst = tuple(float(c.mean()) for c in cosines), tuple(float(c.min()) for c in cosines)
        costs.append(Cost(engine.precision, seconds, sum(int(b.lengths.sum()) for b in batches), means, worst))
    return costs


def fastest(
    natives: Iterable[Precision], make: Callable[[Precision], Engine], arch: Architecture, batches: Sequence[Batch]
) -> Precision:
    """The fastest of the precisions that is close to float32, measured now; 8 bits are not close on any model tried."""
    tried: list[Precision] = ["float32", *(p for p in natives if p not in ("float32", "int8"))]
    costs = measure(map(make, tried), arch, batches)
    return min((cost for cost in costs if cost.is_close), key=lambda cost: cost.seconds).precision


def text_batches(
    texts: Iterable[str], arch: Architecture, tokenizer: Tokenizer, *, batch_tokens: int, packs: bool = False
) -> list[Batch]:
    """Texts as batches whose one reduction sums each text (of a long one, each window)."""
    plan = make_plan({"": Spec()}, arch, tokenizer.template)
    made: list[Batch] = []
    for rows in rows_of(texts):
        chunk = make_chunk(rows, plan, tokenizer, first_row=0)
        batches = make_batches(chunk, batch_tokens=batch_tokens, max_positions=arch.max_tokens, packs=packs)
        made += [batch for batch, _ in batches]
    return made


def timed(engine: Engine, n_layers: int, batches: Sequence[Batch]) -> tuple[list[Float32], float]:
    """Each layer's sums over texts (of a long one, over each window) [N, D], and the seconds that all took."""
    program = Program(tuple(range(n_layers + 1)), ("sum",))
    started = time.perf_counter()
    parts = [[layer.copy() for layer in of_batch[0]] for of_batch in engine.run(program, batches)]
    seconds = time.perf_counter() - started
    return [np.concatenate(of_layer) for of_layer in zip(*parts, strict=True)], seconds


def cosines_of(a: Float32, b: Float32) -> Float64:
    """Of the rows of two matrices [N, D]."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosines: Float64 = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    return cosines
