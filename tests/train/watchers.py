"""Who looks on in the tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from lamina.train.loop import Step
from lamina.train.state import Evaluation


@dataclass
class Noting:
    """Notes what it hears, and wants to stop after a step."""

    stops_after: int | None = None
    losses: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)

    def stepped(self, step: Step) -> None:
        self.losses.append(step.loss)

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        self.evaluations.append(evaluation)

    def wants_stop(self) -> bool:
        return self.stops_after is not None and len(self.losses) >= self.stops_after
