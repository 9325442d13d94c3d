"""What a smaller model costs and gains: cosines with the original layer by layer, bytes, seconds.

Layer k is compared with the original's layer k, the mean of each text with its own. The last layer of a pre-norm
encoder goes through one more norm, and so does what it is compared with: the original, cut there and not changed
otherwise. Seconds are those of all layers, each model's own, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamina.compress.draft import Draft
from lamina.engine.openvino import OpenVinoEngine
from lamina.engine.threads import available_threads
from lamina.errors import SpecError
from lamina.extraction.precision import cosines_of, text_batches, timed
from lamina.model.architecture import Architecture
from lamina.model.inventory import n_parameters
from lamina.text.tokenizer import Tokenizer

ROUNDS = 3  # both models in turn; the best of each counts


@dataclass(frozen=True, slots=True)
class Size:
    """How large and fast a model is: bytes of its weights on disk, numbers that its encoder reads, seconds a token."""

    bytes: int
    parameters: int
    seconds_per_token: float


@dataclass(frozen=True, slots=True)
class Cost:
    """A smaller model beside the original.

    mean, worst  the cosine of texts' means with the original's, by layer 0 to n: of all texts, and of the worst.
    n_tokens     of the texts that this was measured on.
    """

    before: Size
    after: Size
    mean: tuple[float, ...]
    worst: tuple[float, ...]
    n_texts: int
    n_tokens: int

    def rows(self) -> list[dict[str, Any]]:
        """A row for each layer."""
        pairs = zip(self.mean, self.worst, strict=True)
        return [{"layer": k, "mean_cosine": mean, "worst_cosine": worst} for k, (mean, worst) in enumerate(pairs)]


def cost_of(original: Draft, smaller: Draft, tokenizer: Tokenizer, texts: Sequence[str]) -> Cost:
    """Compare a model with the one that it was made of, on texts. Raises SpecError where they hold no token."""
    arch, n = original.architecture, smaller.architecture.n_layers
    whole, new = _engine(original, arch), _engine(smaller, smaller.architecture)
    batches = text_batches(texts, arch, tokenizer, batch_tokens=whole.batch_tokens)
    n_tokens = sum(int(batch.lengths.sum()) for batch in batches)
    if not n_tokens:
        raise SpecError("the sample's texts hold no token that this model knows, so nothing can be measured on them")
    cut = whole if n == arch.n_layers else _engine(original, replace(arch, layers=arch.layers[:n]))
    expected, found = (timed(engine, n, batches)[0] for engine in (cut, new))
    cosines = [cosines_of(a, b) for a, b in zip(found, expected, strict=True)]
    rounds = [(timed(whole, arch.n_layers, batches)[1], timed(new, n, batches)[1]) for _ in range(1 + ROUNDS)]
    before, after = (min(seconds) / n_tokens for seconds in zip(*rounds[1:], strict=True))  # the first one warms up
    return Cost(
        before=_size(original, before),
        after=_size(smaller, after),
        mean=tuple(float(of_layer.mean()) for of_layer in cosines),
        worst=tuple(float(of_layer.min()) for of_layer in cosines),
        n_texts=len(texts),
        n_tokens=n_tokens,
    )


def _engine(draft: Draft, arch: Architecture) -> OpenVinoEngine:
    return OpenVinoEngine(arch, draft.weights, precision="float32", threads=available_threads())


def _size(draft: Draft, seconds_per_token: float) -> Size:
    n_bytes = sum(file.stat().st_size for file in draft.checkpoint.weight_files())
    return Size(n_bytes, n_parameters(draft.architecture), seconds_per_token)
