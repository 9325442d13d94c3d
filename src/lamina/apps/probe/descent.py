"""Many smooth convex problems of one shape, minimised side by side: L-BFGS (Liu and Nocedal 1989), a batch a step.

One evaluation serves all problems that are still open, so that their matrix products become one. Each has its own step
length and stops by itself. Shapes: P problems, K unknowns of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Evaluate = Callable[[Int64, Float32], tuple[Float64, Float32]]  # which problems, [P, K] -> values [P], gradients [P, K]
Precondition = Callable[[Float32], Float32]  # [P, K] -> [P, K], about the inverse of the Hessian

MEMORY = 8  # steps remembered
SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
ROUNDING = 1e-6  # relative: float32 sums do not see less
SHORTEST = 1e-3  # a step cut so often finds rounding only


def minimise(
    evaluate: Evaluate, precondition: Precondition, start: Float32, *, tolerance: float, max_steps: int
) -> Float32:
    """The minimisers [P, K] of convex functions, from `start` [P, K].

    A problem is done where half its squared Newton decrement, which estimates how far its value is above the
    minimum (Boyd and Vandenberghe 2004, section 9.5), is below `tolerance`; at the latest after `max_steps`. The
    functions must be convex: then the curvature along a step is never negative, and halving the step suffices.
    """
    point = start.copy()
    value, gradient = evaluate(np.arange(len(point)), point)
    direction = -precondition(gradient)
    slope = _dot(gradient, direction)
    length = np.ones(len(point), np.float32)
    is_open = -slope / 2 > tolerance
    steps: list[tuple[Float32, Float32, Float64]] = []
    for _ in range(max_steps):
        tried = np.flatnonzero(is_open)
        if not tried.size:
            break
        trial = point[tried] + length[tried, None] * direction[tried]
        new_value, new_gradient = evaluate(tried, trial)
        enough = value[tried] + SUFFICIENT * length[tried] * slope[tried] + ROUNDING * np.abs(value[tried])
        is_lower = new_value <= enough
        length[tried[~is_lower]] /= 2
        is_open[length < SHORTEST] = False
        taken = tried[is_lower]
        steps = [*steps[1 - MEMORY :], _step(len(point), taken, trial[is_lower] - point[taken],
                                             new_gradient[is_lower] - gradient[taken])]  # fmt: skip
        point[taken], value[taken], gradient[taken] = trial[is_lower], new_value[is_lower], new_gradient[is_lower]
        length[taken] = 1
        direction[taken] = -_two_loops(gradient[taken], taken, steps, precondition)
        slope[taken] = _dot(gradient[taken], direction[taken])
        is_open[taken] = -slope[taken] / 2 > tolerance
    return point


def _step(n: int, taken: Int64, moved: Float32, turned: Float32) -> tuple[Float32, Float32, Float64]:
    """A step of the problems `taken` among all n; the others' is empty and changes nothing later."""
    along, change, weight = (
        np.zeros((n, moved.shape[1]), np.float32),
        np.zeros((n, moved.shape[1]), np.float32),
        np.zeros(n),
    )
    along[taken], change[taken] = moved, turned
    curvature = _dot(moved, turned)
    weight[taken] = np.divide(1, curvature, out=np.zeros_like(curvature), where=curvature > 1e-20)
    return along, change, weight


def _two_loops(
    gradient: Float32, taken: Int64, steps: list[tuple[Float32, Float32, Float64]], precondition: Precondition
) -> Float32:
    """The gradient times the inverse Hessian that the steps have learnt (Nocedal and Wright 2006, algorithm 7.4).

    They learn on top of the preconditioner, scaled as the last step found it (equation 7.20). With 77 classes that
    halves the evaluations: as a fit grows sure, its curvature shrinks.
    """
    found, factors = gradient.copy(), []
    for along, change, weight in reversed(steps):
        factor = weight[taken] * _dot(along[taken], found)
        factors.append(factor)
        found -= factor[:, None].astype(np.float32) * change[taken]
    _, change, weight = steps[-1]
    bend = weight[taken] * _dot(change[taken], precondition(change[taken]))
    found = precondition(found) * np.divide(1, bend, out=np.ones_like(bend), where=bend > 0)[:, None].astype(np.float32)
    for (along, change, weight), factor in zip(steps, reversed(factors), strict=True):
        again = factor - weight[taken] * _dot(change[taken], found)
        found += again[:, None].astype(np.float32) * along[taken]
    return found


def _dot(x: Float32, y: Float32) -> Float64:
    """Of each row with its own [P]."""
    product: Float64 = np.einsum("pk,pk->p", x, y, dtype=np.float64)
    return product
