"""Fine-tuning to classify texts: a class for each text or pair, from its first token's state.

Shapes: N examples, B of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from lamina.engine.batch import Batch, Int32
from lamina.errors import SpecError
from lamina.train.batching import in_batches
from lamina.train.examples import Examples, parted
from lamina.train.folder import write_checkpoint
from lamina.train.loop import CPU_TOKENS, Watcher
from lamina.train.model import EncoderWithHead, with_head
from lamina.train.objective import Loss
from lamina.train.run import Trained, run
from lamina.train.sequences import Sequences, longest, whole_sequences
from lamina.train.settings import CLASSIFY, Settings
from lamina.train.start import Start, begin

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as sequences, the number of each one's class [N], -1 where it was never learnt, and how many were cut."""

    sequences: Sequences
    classes: Int64
    n_cut: int = 0


@dataclass(frozen=True, slots=True)
class Classification:
    """The objective: cross entropy, each example weighing what its class does."""

    module: EncoderWithHead
    learnt: Encoded
    held_out: Encoded | None
    weights: Float32  # [C]

    def __len__(self) -> int:
        return len(self.learnt.sequences)

    def lengths(self) -> Int32:
        return self.learnt.sequences.lengths()

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Int64]:
        return self.learnt.sequences.batch(examples), self.learnt.classes[examples]

    def loss(self, batch: tuple[Batch, Int64]) -> Loss:
        sequences, classes = batch
        logits = self.module(sequences)
        weights = torch.from_numpy(self.weights).to(logits.device)
        wanted = torch.from_numpy(classes).to(logits.device)
        total = functional.cross_entropy(logits, wanted, weight=weights, reduction="sum")
        return Loss(total, float(self.weights[classes].astype(np.float64).sum()))

    def evaluate(self) -> Mapping[str, float]:
        if self.held_out is None:
            return {}
        found = self.figures(self.held_out)
        if (self.weights != 1).any():  # whoever weighs classes asks for each of them to be found
            return {"macro_f1": found["macro_f1"], **found}
        return found

    def figures(self, held: Encoded) -> dict[str, float]:
        """Accuracy, the mean of the classes' F1, and the mean loss. A class that was never learnt counts as missed."""
        logits = self.logits(held.sequences)
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(logits)), held.classes]
        right = logits.argmax(axis=1) == held.classes
        return {
            "accuracy": float(right.mean()),
            "macro_f1": macro_f1(logits.argmax(axis=1), held.classes),
            "loss": float(losses[held.classes >= 0].mean()) if (held.classes >= 0).any() else float("nan"),
        }

    def logits(self, sequences: Sequences) -> Float32:
        """What the head says of each sequence, [N, C]."""
        found = np.empty((len(sequences), len(self.weights)), np.float32)
        for rows in in_batches(sequences.lengths(), CPU_TOKENS):
            found[rows] = self.module(sequences.batch(rows)).cpu().numpy()
        return found


def train_classifier(
    model: str | Path,
    examples: Examples[str],
    *,
    out: str | Path,
    validate: Examples[str] | None = None,
    test: Examples[str] | None = None,
    held_out: float = 0.1,
    class_weights: str | Mapping[str, float] | None = None,
    max_tokens: int | None = None,
    settings: Settings | None = None,
    revision: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Train a model to classify texts, and write it to the folder `out`; the same call goes on with what was begun.

    validate       what the best state is chosen on; None: a share `held_out` of the examples.
    test           what the finished model is scored on.
    class_weights  what an example of each class weighs; `balanced`: as rare as it is, so that classes weigh the same.
    max_tokens     longer texts are cut; None: what the model takes.

    Raises TrainedError for a folder that holds something else, SpecError, CheckpointError, TextError, OSError.
    """
    settings = settings or CLASSIFY
    start = begin(model, revision=revision)
    learnt, held = parted(examples, validate, test, held_out=held_out, seed=settings.seed)
    labels = tuple(sorted(set(learnt.labels)))
    if len(labels) < 2:
        raise SpecError(f"there is one class, {labels[0]!r}: expected at least two" if labels else "there is no class")
    if len(labels) == len(learnt) > 2:
        raise SpecError(f"each of {len(learnt):,} texts has a class of its own: is that the column of the class?")
    most = longest(start, max_tokens)
    objective = Classification(
        with_head(start, "sequence_classification", labels, settings),
        _encoded(learnt, labels, start, most),
        None if held is None else _encoded(held, labels, start, most),
        weights_of(class_weights, learnt.labels, labels),
    )
    tested = None if test is None else _encoded(test, labels, start, most)

    def write(folder: Path) -> str:
        encoder, head = objective.module.encoder.values(), objective.module.head.values()
        return write_checkpoint(folder, start, encoder, head, task="sequence_classification", labels=labels)

    return run(
        objective, start, settings, out=Path(out), overwrite=overwrite, watcher=watcher, write=write,
        test=None if tested is None else partial(objective.figures, tested),
        asked={
            "task": "classify", "labels": labels, "class_weights": objective.weights.tolist(), "max_tokens": most,
            "data": learnt.sha256(), "held_out": None if held is None else held.sha256(),
            "test": None if test is None else test.sha256(),
        },
        about={
            "n": len(learnt), "n_cut": objective.learnt.n_cut, "n_held_out": 0 if held is None else len(held),
        },
    )  # fmt: skip


def weights_of(asked: str | Mapping[str, float] | None, found: Sequence[str], labels: Sequence[str]) -> Float32:
    """The weight of each class, [C]. Raises SpecError."""
    if asked is None:
        return np.ones(len(labels), np.float32)
    if isinstance(asked, str):
        if asked != BALANCED:
            raise SpecError(f"class_weights must be {BALANCED!r} or a weight for each class, not {asked!r}")
        counts = np.array([sum(label == one for one in found) for label in labels])
        return (len(found) / (len(labels) * counts)).astype(np.float32)
    unknown = [label for label in asked if label not in labels]
    if unknown:
        raise SpecError(f"class_weights names {unknown[0]!r}; the classes are {', '.join(labels[:20])}")
    weights = np.array([asked.get(label, 1.0) for label in labels], np.float32)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise SpecError("class_weights must be numbers above 0")
    return weights


def macro_f1(found: Int64, wanted: Int64) -> float:
    """The mean of the F1 of every class that there is."""
    scores = []
    for one in np.unique(wanted):
        right = int(((found == one) & (wanted == one)).sum())
        scores.append(2 * right / (int((found == one).sum()) + int((wanted == one).sum())))
    return float(np.mean(scores))


def _encoded(examples: Examples[str], labels: Sequence[str], start: Start, max_tokens: int) -> Encoded:
    place = {label: number for number, label in enumerate(labels)}
    sequences, n_cut = whole_sequences(examples.texts, start, max_tokens=max_tokens)
    return Encoded(sequences, np.array([place.get(label, -1) for label in examples.labels], np.int64), n_cut)
