"""Losses, rates and figures for TensorBoard, beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamina.errors import MissingExtraError
from lamina.train.loop import Step
from lamina.train.state import Evaluation


class Board:
    """A watcher that writes event files; what a killed run wrote beyond its last state is overwritten."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingExtraError without tensorboard."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("event files need tensorboard: pip install tensorboard") from None
        self._new: Any = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def stepped(self, step: Step) -> None:
        for name, value in (
            ("loss", step.loss), ("rate", step.rate), ("tokens_per_second", step.n_tokens / max(step.seconds, 1e-9)),
        ):  # fmt: skip
            self._at(step.number).add_scalar(f"train/{name}", value, step.number)

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        for name, value in evaluation.figures.items():
            self._at(evaluation.step).add_scalar(f"held_out/{name}", value, evaluation.step)

    def wants_stop(self) -> bool:
        return False

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _at(self, step: int) -> Any:
        if self._writer is None:
            self._writer = self._new(str(self._folder), purge_step=step)
        return self._writer


@contextmanager
def board(folder: Path) -> Iterator[Board]:
    """A Board, closed at the end. Raises MissingExtraError."""
    made = Board(folder)
    try:
        yield made
    finally:
        made.close()
