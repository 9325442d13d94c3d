"""Proves what the loop promises: the same bits after any interruption, steps in parts that are whole steps, rates as
they are written down, the best state kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from math import cos, nan, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lamina.errors import SpecError, TrainedError
from lamina.train.batching import Steps, in_batches, parts_of
from lamina.train.classify import Classification, train_classifier, weights_of
from lamina.train.loop import train
from lamina.train.model import with_head
from lamina.train.objective import Loss
from lamina.train.optimizer import learning, new_optimizer, rate_share
from lamina.train.settings import Settings
from lamina.train.start import begin
from tests.train.small import Noting, same_weights, sentences, settings, small_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


def objective_of(model: Path, how: Settings, *, n: int = 40) -> Classification:
    from lamina.train.classify import _encoded

    start, examples = begin(model), sentences(n)
    labels = ("bright", "dull")
    return Classification(
        with_head(start, "sequence_classification", labels, how),
        _encoded(examples, labels, start, 32), _encoded(sentences(20, seed=1), labels, start, 32),
        weights_of(None, examples.labels, labels),
    )  # fmt: skip


def values(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: one.detach().numpy().copy() for name, one in module.named_parameters()}


@pytest.mark.parametrize("stops", [(3,), (1, 1, 5)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(model: Path, tmp_path: Path, stops: tuple[int, ...]) -> None:
    """Dropout is on, so that what it draws is compared too."""
    how = settings(dropout=0.2, attention_dropout=0.1)
    whole = objective_of(model, how)
    history = train(whole, how)
    assert history.is_finished
    assert history.step == 10
    seen: list[float] = []
    for stop in (*stops, None):
        part, noting = objective_of(model, how), Noting(stop)
        found = train(part, how, state=tmp_path / "state", watcher=noting)
        seen += noting.losses
    assert seen == history.losses == found.losses
    assert found.evaluations == history.evaluations
    expected = values(whole.module)
    assert all(np.array_equal(value, expected[name]) for name, value in values(part.module).items())


KILLED = """
import os, signal, sys
from tests.train.small import Noting, sentences, settings
from lamina.train.classify import train_classifier

class Killing(Noting):
    def stepped(self, step):
        if step.number == 7:
            os.kill(os.getpid(), signal.SIGKILL)

train_classifier(sys.argv[1], sentences(40), out=sys.argv[2], settings=settings(save_seconds=0), watcher=Killing())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_that_was_killed_gives_the_same_model(model: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, model, tmp_path / "killed"], cwd=root, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / "killed" / "training.state").is_file()
    noting = Noting()
    again = train_classifier(
        model, sentences(40), out=tmp_path / "killed", settings=settings(save_seconds=0), watcher=noting
    )
    whole = train_classifier(model, sentences(40), out=tmp_path / "whole", settings=settings(save_seconds=0))
    assert noting.steps[0].number == 7  # steps 1 to 6 were not computed again
    assert again.record["losses"] == whole.record["losses"]
    assert again.record["evaluations"] == whole.record["evaluations"]
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )


def test_a_seed_is_a_run_and_another_seed_another_one(model: Path) -> None:
    losses = [train(objective_of(model, how), how).losses for how in (settings(), settings(), settings(seed=1))]
    assert losses[0] == losses[1] != losses[2]


def test_the_loop_leaves_torchs_random_numbers_as_they_were(model: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    how = settings(steps=2)
    train(objective_of(model, how), how)
    assert torch.equal(torch.rand(3), expected)


def test_a_step_in_parts_is_the_step_in_one_piece(model: Path) -> None:
    """2 x 8 examples are 16, and as many parts as examples too: sums are divided once."""
    how = settings(batch_size=16, dropout=0.0, attention_dropout=0.0)
    whole = objective_of(model, how)
    expected = train(whole, how).losses
    lengths = whole.lengths()
    for tokens in (8 * int(lengths.max()), 1):
        part = objective_of(model, how)
        found = train(part, replace(how, batch_tokens=tokens)).losses
        assert len(parts_of(np.arange(16), lengths, tokens)) > 1
        assert found == pytest.approx(expected, rel=1e-5)
        for name, value in values(part.module).items():
            # A key's bias moves all scores of a query alike: its gradient is rounding alone, which Adam makes steps of.
            wanted = values(whole.module)[name]
            assert np.allclose(value, wanted, rtol=1e-3, atol=1e-5) or name.endswith("key/bias"), name


@dataclass
class Line:
    """Fits y = w x with weights of its own: small enough for a sum by hand."""

    module: nn.Module
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    figure: Any = None

    def __len__(self) -> int:
        return self.x.size

    def lengths(self) -> np.ndarray:
        return np.ones(self.x.size, np.int32)

    def batch(self, examples: Any, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(examples)

    def loss(self, batch: np.ndarray) -> Loss:
        x, y, weights = (torch.from_numpy(held[batch]) for held in (self.x, self.y, self.weights))
        return Loss((weights * (self.module.w * x - y) ** 2).sum(), float(weights.sum()))

    def evaluate(self) -> dict[str, float]:
        return {} if self.figure is None else {"loss": self.figure()}


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.5]))


def line(figure: Any = None) -> Line:
    random = np.random.default_rng(0)
    x = random.normal(size=12).astype(np.float32)
    return Line(Slope(), x, 2 * x, random.uniform(0.5, 2, 12).astype(np.float32), figure)


def test_the_first_step_is_adams_by_hand() -> None:
    held = line()
    how = settings(batch_size=12, steps=1, warmup=0.0, clip=1e9, weight_decay=0.0, learning_rate=0.01)
    history = train(held, how)
    start, x, y, w = 0.5, held.x.astype(float), held.y.astype(float), held.weights.astype(float)
    assert history.losses == pytest.approx([float((w * (start * x - y) ** 2).sum() / w.sum())])
    assert float(held.module.w.item()) == pytest.approx(start + 0.01, abs=1e-6)  # Adam's first step is the rate's size


def test_a_gradient_is_clipped_after_it_was_divided() -> None:
    """Two optimizers see gradients of another length, and Adam does not care: so the gradient itself is looked at."""
    for parts in (None, 1):
        held = line()
        train(held, settings(batch_size=12, steps=1, batch_tokens=parts, clip=0.25))
        assert float(held.module.w.grad.abs().item()) == pytest.approx(0.25, rel=1e-4)


def test_the_best_state_is_what_comes_back_and_patience_ends_a_run() -> None:
    said = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    held = line(lambda: next(said))
    how = settings(batch_size=12, epochs=5, patience=2)
    noting, seen = Noting(), []
    noting.evaluated = lambda one, *, is_best: seen.append((one.figures["loss"], is_best, held.module.w.item()))  # type: ignore[method-assign]
    history = train(held, how, watcher=noting)
    assert [(figure, is_best) for figure, is_best, _ in seen] == [(3.0, True), (1.0, True), (2.0, False), (2.0, False)]
    assert history.is_early
    assert history.is_finished
    assert history.step == 4
    assert held.module.w.item() == seen[1][2] != seen[3][2]


def test_the_best_state_survives_an_interruption(tmp_path: Path) -> None:
    how = settings(batch_size=12, epochs=4)
    figures = [3.0, 1.0, 2.0, 2.5]
    whole = line(iter(figures).__next__)
    train(whole, how)
    parted = line(iter(figures[:3]).__next__)
    train(parted, how, state=tmp_path / "state", watcher=Noting(3))
    parted = line(iter(figures[3:]).__next__)
    history = train(parted, how, state=tmp_path / "state")
    assert history.best == 1
    assert parted.module.w.item() == whole.module.w.item()


def test_a_loss_that_is_no_number_ends_with_a_reason() -> None:
    held = line()
    held.y[3] = nan
    with pytest.raises(TrainedError, match="the loss of step 1 is no number: a lower learning_rate may help"):
        train(held, settings(batch_size=12))


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    train(line(), settings(), state=state, identity={"data": "a"}, watcher=Noting(1))
    with pytest.raises(TrainedError, match=r"data was 'a', is 'b'.*--overwrite"):
        train(line(), settings(), state=state, identity={"data": "b"})
    with pytest.raises(TrainedError, match=r"learning_rate was 0\.001, is 0\.1"):
        train(line(), settings(learning_rate=0.1), state=state, identity={"data": "a"})
    train(line(), settings(save_seconds=5), state=state, identity={"data": "a"})  # how often it is saved is no matter


@pytest.mark.parametrize("damage", [lambda held: held[:0], lambda held: held[:-9], lambda held: b"x" * len(held)])
def test_a_damaged_state_is_refused_with_a_way_out(tmp_path: Path, damage: Any) -> None:
    state = tmp_path / "state"
    train(line(), settings(), state=state, watcher=Noting(1))
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(TrainedError, match="--overwrite"):
        train(line(), settings(), state=state)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_rates_rise_and_fall_as_the_schedule_says(schedule: Any) -> None:
    how = settings(schedule=schedule, warmup=0.2)
    found = [rate_share(step, 20, how) for step in range(1, 21)]
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    falls = {
        "linear": lambda done: 1 - done,
        "cosine": lambda done: (1 + cos(pi * done)) / 2,
        "constant": lambda done: done**0,
    }
    assert found[4:] == pytest.approx([falls[schedule](k / 16) for k in range(16)])
    assert all(share > 0 for share in found)


def test_every_layer_has_its_rate_and_norms_do_not_decay(model: Path) -> None:
    how = settings(learning_rate=0.01, layer_decay=0.5, head_rate=0.3, weight_decay=0.1)
    module = objective_of(model, how).module
    groups = {id(one): group for group in new_optimizer(module, how).param_groups for one in group["params"]}
    for name, parameter in module.named_parameters():
        expected = (
            0.3 if name.startswith("head") else 0.01 * 0.25 if "embeddings" in name
            else 0.01 * 0.5 if "layers/0/" in name else 0.01
        )  # fmt: skip
        group = groups[id(parameter)]
        assert group["highest"] == pytest.approx(expected), name
        assert group["weight_decay"] == (0.0 if parameter.ndim == 1 else 0.1), name


def test_what_is_frozen_stays_as_it_was(model: Path) -> None:
    how = settings(freeze=1, steps=3)
    objective = objective_of(model, how)
    before = values(objective.module)
    train(objective, how)
    for name, value in values(objective.module).items():
        is_frozen = "embeddings" in name or "layers/0/" in name
        assert np.array_equal(value, before[name]) == is_frozen or name.endswith("key/bias"), name
    assert {one.layer for one in learning(objective.module)} == {2, None}


def test_more_layers_than_there_are_cannot_be_frozen(model: Path) -> None:
    how = settings(freeze=3)
    with pytest.raises(SpecError, match="freeze must be at most 2"):
        train(objective_of(model, how), how)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"learning_rate": nan}, "learning_rate must be a number above 0"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"schedule": "step"}, "schedule must be one of linear, cosine, constant, not 'step'"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to 0.9"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Settings(**wrong)


def test_every_epoch_has_every_example_once_in_steps_of_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000).astype(np.int32)
    steps = Steps(lengths, 16, seed=3)
    epochs = [steps.epoch(number) for number in (0, 1)]
    for held in epochs:
        assert len(held) == steps.in_epoch == 63
        assert sorted(np.concatenate(held).tolist()) == list(range(1000))
        assert np.mean([np.ptp(lengths[one]) for one in held]) < 12  # of 100, were they drawn without a look
    assert [one.tolist() for one in epochs[0]] != [one.tolist() for one in epochs[1]]
    later = steps.from_step(70)
    assert np.array_equal(next(later), epochs[1][7])


def test_parts_keep_the_order_and_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 50).astype(np.int32)
    for parts in (parts_of(np.arange(50), lengths, 100), in_batches(lengths, 100)):
        assert sorted(np.concatenate(parts).tolist()) == list(range(50))
        assert all(lengths[part].sum() <= 100 or part.size == 1 for part in parts)
    assert np.concatenate(parts_of(np.arange(50), lengths, 100)).tolist() == list(range(50))
