"""The loop: step after step of an objective, evaluated, saved, stopped and taken up again.

All that is drawn in step s follows from (seed, s), so a run that was killed goes on from its last state with the same
bits on a CPU. Nothing here knows what is learnt.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from lamina.engine.torch_devices import native_precision
from lamina.errors import SpecError, TrainedError
from lamina.train.batching import Int64, Steps, drawing, parts_of, torch_seed
from lamina.train.objective import Objective, is_better
from lamina.train.optimizer import Placed, freeze, learning, new_optimizer, rate_share, set_rates
from lamina.train.processes import Processes, find_processes, own_threads
from lamina.train.settings import Settings
from lamina.train.state import Evaluation, History, Kept, read_state, write_state

CPU_TOKENS, DEVICE_TOKENS = 4_096, 32_768  # computed at once, where `batch_tokens` does not say


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is done and, where it was time to, evaluated; `number` counts from 1. `rate` is the learning rate's
    share of its highest. `n_steps` is this one's number where the run ends with it, early or not."""

    number: int
    n_steps: int
    loss: float
    rate: float
    n_tokens: int
    seconds: float


class Watcher(Protocol):
    """Who looks on. Called in the first process only, but for `wants_stop`."""

    def stepped(self, step: Step) -> None: ...

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None: ...

    def wants_stop(self) -> bool:
        """Whether to end after this step; the state is then written."""
        ...


class Nobody:
    """Looks on without a word."""

    def stepped(self, step: Step) -> None: ...

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None: ...

    def wants_stop(self) -> bool:
        return False


def train(
    objective: Objective[Any],
    settings: Settings,
    *,
    state: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> History:
    """Train the objective's module; where the run is finished, it holds the best values found, else the last ones.

    state     the file that the run goes on from, written as it goes; None: nowhere.
    identity  JSON values that say what is trained on what: a state with others, or with other settings, is refused.

    Raises TrainedError for such a state and for a loss that is no number, SpecError, EngineError, OSError.
    """
    run = _Run(objective, settings, state, identity or {}, watcher or Nobody())
    devices = [run.processes.device] if run.processes.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), own_threads(run.processes.n):
        return run.to_the_end()


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        objective: Objective[Any],
        settings: Settings,
        state: Path | None,
        identity: Mapping[str, Any],
        watcher: Watcher,
    ) -> None:
        if not len(objective):
            raise SpecError("there is no example to learn from")
        self.objective, self.settings, self.state, self.watcher = objective, settings, state, watcher
        self.processes: Processes = find_processes(settings.device)
        freeze(objective.module, settings.freeze)
        objective.module.to(self.processes.device)
        self.optimizer = new_optimizer(objective.module, settings)
        self.learnt: list[Placed] = learning(objective.module)
        self.parameters: list[nn.Parameter] = [one.parameter for one in self.learnt]
        self.best = Kept()
        self.identity = {**identity, **settings.lasting(), "processes": self.processes.n}
        self.steps = Steps(objective.lengths(), settings.batch_size, settings.seed)
        self.n_steps = settings.steps or settings.epochs * self.steps.in_epoch
        self.batch_tokens = settings.batch_tokens or (
            CPU_TOKENS if self.processes.device.type == "cpu" else DEVICE_TOKENS
        )
        self.identity["batch_tokens"] = self.batch_tokens  # masks and dropout are drawn part by part
        self.history = History()
        self.saved = time.monotonic()

    def to_the_end(self) -> History:
        self._take_up()
        begun, before = time.monotonic(), self.history.seconds
        for examples in self.steps.from_step(self.history.step):
            if self.history.is_finished or self.history.step >= self.n_steps:
                break
            step = self._step(examples)
            self.history.seconds = before + time.monotonic() - begun
            if self._is_time_to_evaluate():
                self._evaluate()
            self.history.is_finished |= self.history.step >= self.n_steps
            if self.processes.is_first:
                self.watcher.stepped(replace(step, n_steps=step.number) if self.history.is_finished else step)
            if self._is_stopped():
                break
        if self.history.is_finished:
            self.best.put_back(self.learnt)
        self.objective.module.eval()
        return self.history

    def _take_up(self) -> None:
        if self.state is not None:
            found = read_state(
                self.state, learnt=self.learnt, optimizer=self.optimizer, best=self.best, identity=self.identity
            )
            self.history = found or self.history
        self.processes.spread(self.parameters)

    def _is_stopped(self) -> bool:
        """Whether this sitting ends here. The state is written then, and every so often."""
        wanted = bool(self.processes.added([float(self.watcher.wants_stop())])[0])
        ends = wanted or self.history.is_finished
        if self.state is not None and (ends or time.monotonic() - self.saved >= self.settings.save_seconds):
            self._save(self.state)
        return ends

    def _save(self, path: Path) -> None:
        if self.processes.is_first:
            write_state(
                path, learnt=self.learnt, optimizer=self.optimizer, history=self.history, best=self.best,
                identity=self.identity,
            )  # fmt: skip
        self.saved = time.monotonic()

    def _step(self, examples: Int64) -> Step:
        begun, number = time.monotonic(), self.history.step + 1
        mine = examples[self.processes.rank :: self.processes.n]
        parts = parts_of(mine, self.steps.lengths, self.batch_tokens) if mine.size else []
        share = rate_share(number, self.n_steps, self.settings)
        set_rates(self.optimizer, share)
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.module.train()
        sums = [self._part(part, number, place, is_whole=len(parts) == 1) for place, part in enumerate(parts)]
        own = [sum(total for total, _ in sums), sum(weight for _, weight in sums)]
        total, weight, n_tokens = self.processes.added([*own, float(self.steps.lengths[mine].sum())])
        loss = total / weight if weight else 0.0
        if not isfinite(loss):
            raise TrainedError(f"the loss of step {number} is no number: a lower learning_rate may help")
        if weight:
            self._descend(1.0 if self._is_divided(len(parts)) else weight)
        self.history.losses.append(loss)
        self.history.n_tokens += int(n_tokens)
        return Step(number, self.n_steps, loss, share, int(n_tokens), time.monotonic() - begun)

    def _part(self, part: Int64, number: int, place: int, *, is_whole: bool) -> tuple[float, float]:
        """Add the gradients of a part; its sum and its weight."""
        where = (self.processes.rank, place)
        torch.manual_seed(torch_seed(self.settings.seed, number, *where))
        batch = self.objective.batch(part.tolist(), drawing(self.settings.seed, number, *where))
        with self._autocast():
            loss = self.objective.loss(batch)
        if loss.weight:
            divisor = loss.weight if is_whole and self._is_divided(1) else 1.0
            (loss.total / divisor).backward()  # type: ignore[no-untyped-call]
        return float(loss.total.detach()), loss.weight

    def _is_divided(self, n_parts: int) -> bool:
        """Whether the loss was divided before its gradient was taken: one pass less over all gradients."""
        return n_parts == 1 and self.processes.n == 1

    def _descend(self, weight: float) -> None:
        """One step of the optimizer along the gradients divided by `weight`, clipped."""
        self.processes.add_gradients(self.parameters)
        gradients = [one.grad for one in self.parameters if one.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) / weight
        factor = min(1.0, self.settings.clip / (norm + 1e-6)) / weight
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
        self.optimizer.step()

    def _is_time_to_evaluate(self) -> bool:
        every = self.settings.evaluate_every or self.steps.in_epoch
        return self.history.step % every == 0 or self.history.step == self.n_steps

    def _evaluate(self) -> None:
        self.objective.module.eval()
        with torch.inference_mode(), self._autocast():
            found = dict(self.objective.evaluate())
        if not found:
            return
        figures = dict(zip(found, self.processes.of_first(found.values()), strict=True))
        evaluation = Evaluation(self.history.step, figures)
        self.history.evaluations.append(evaluation)
        is_best = self._is_best(figures)
        if is_best:
            self.history.best = len(self.history.evaluations) - 1
            self.best.keep(self.learnt)
        if self.processes.is_first:
            self.watcher.evaluated(evaluation, is_best=is_best)
        waited = len(self.history.evaluations) - 1 - (self.history.best or 0)
        if self.settings.patience is not None and waited >= self.settings.patience:
            self.history.is_finished = self.history.is_early = True

    def _is_best(self, figures: Mapping[str, float]) -> bool:
        if self.history.best is None:
            return True
        name = next(iter(figures))
        return is_better(name, figures[name], self.history.evaluations[self.history.best].figures[name])

    def _autocast(self) -> AbstractContextManager[Any]:
        device, precision = self.processes.device, self.settings.precision
        is_16 = precision == "bfloat16" or (precision == "auto" and native_precision(device) == "bfloat16")
        return torch.autocast(device.type, torch.bfloat16, enabled=is_16)
