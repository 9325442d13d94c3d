"""A small model and small examples, which train in a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lamina.text.text import Text
from lamina.train.examples import Examples
from lamina.train.loop import Step
from lamina.train.settings import Settings
from lamina.train.state import Evaluation
from tests.checkpoints import save_bert

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
# In float32 and on the CPU, whatever the machine has: only there are two runs the same to the bit, or to rounding.
EXACT = {"precision": "float32", "device": "cpu", "batch_size": 8, "epochs": 2, "learning_rate": 1e-3}


def small_bert(folder: Path, *, seed: int = 0) -> Path:
    return save_bert(folder, seed=seed, **SMALL)


def settings(**changed: Any) -> Settings:
    return Settings(**EXACT | changed)


def learning(**changed: Any) -> Settings:
    """Enough to learn the examples here; without dropout, which a model of 16 numbers cannot spare."""
    return settings(**{"epochs": 10, "learning_rate": 3e-3, "dropout": 0.0, "attention_dropout": 0.0} | changed)


def sentences(n: int, *, seed: int = 0, lowest: int = 1, most: int = 14) -> Examples[str]:
    """Texts of letters, one class with many a's, the other with many z's, of mixed lengths."""
    random = np.random.default_rng(seed)
    labels = ["dull" if number % 2 else "bright" for number in range(n)]
    letters = {"dull": "abcde", "bright": "vwxyz"}
    texts = [
        Text(" ".join(random.choice(list(letters[label] + "mn"), random.integers(lowest, most)))) for label in labels
    ]
    return Examples(tuple(texts), tuple(labels))


@dataclass
class Noting:
    """A watcher that notes everything, and wants to stop after some steps of its own sitting."""

    stop_after: int | None = None
    losses: list[float] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    best: list[bool] = field(default_factory=list)

    def stepped(self, step: Step) -> None:
        self.steps.append(step)
        self.losses.append(step.loss)

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        self.evaluations.append(evaluation)
        self.best.append(is_best)

    def wants_stop(self) -> bool:
        return self.stop_after is not None and len(self.steps) >= self.stop_after


def same_weights(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits."""
    from safetensors.numpy import load_file

    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def flat(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for part in parts for item in part]
