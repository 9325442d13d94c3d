"""What the kinds of training share: settings as options, progress, interruption without loss, the result."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lamina.cli.compose import print_json, print_table
from lamina.cli.options import quiet_option, together
from lamina.errors import MissingExtraError
from lamina.train.settings import Settings

if TYPE_CHECKING:
    from lamina.train.loop import Step, Watcher
    from lamina.train.run import Trained
    from lamina.train.state import Evaluation

F = TypeVar("F", bound=Callable[..., Any])


class Kind(click.Command):
    """A kind of training. It needs torch when it is run; its help does not."""

    def invoke(self, ctx: click.Context) -> Any:
        if find_spec("torch") is None:
            raise MissingExtraError("training needs torch: pip install 'lamina[train]'")
        return super().invoke(ctx)


NUMBER, WHOLE = click.FLOAT, click.INT
# field of Settings -> its type, and what it does.
HELPS: dict[str, tuple[Any, str]] = {
    "epochs": (WHOLE, "How often every example is seen."),
    "steps": (WHOLE, "Steps of the optimizer, instead of --epochs."),
    "batch_size": (WHOLE, "Examples of a step."),
    "batch_tokens": (WHOLE, "Most tokens computed at once; a larger step is computed in parts.  [default: by device]"),
    "learning_rate": (NUMBER, "At its highest, of the last layer."),
    "head_rate": (NUMBER, "Of the head.  [default: the same]"),
    "layer_decay": (NUMBER, "Times so much for each layer further down."),
    "warmup": (NUMBER, "Share of the steps over which the rate rises."),
    "schedule": (click.Choice(["linear", "cosine", "constant"]), "How the rate falls then."),
    "weight_decay": (NUMBER, "Not on biases and norms."),
    "clip": (NUMBER, "Largest norm of a gradient."),
    "dropout": (NUMBER, "Of states.  [default: the model's own]"),
    "attention_dropout": (NUMBER, "Of attention weights.  [default: the model's own]"),
    "freeze": (WHOLE, "0: the embeddings learn nothing; k: nor do the first k layers.  [default: all learn]"),
    "precision": (click.Choice(["auto", "float32", "bfloat16"]), "Of products; auto: bfloat16 where it is native."),
    "device": (click.STRING, "auto, cpu, cuda, cuda:1 or mps."),
    "seed": (WHOLE, "Of everything that is drawn."),
    "evaluate_every": (WHOLE, "Steps.  [default: after each epoch]"),
    "patience": (WHOLE, "Evaluations without a better figure before it ends.  [default: to the end]"),
    "save_seconds": (NUMBER, "How often, at most, the state is written that a killed run goes on from."),
}


def settings_options(defaults: Settings) -> Callable[[F], F]:
    """An option for each field of Settings, with the defaults of a kind of training."""

    def add(function: F) -> F:
        for field in reversed(fields(Settings)):
            kind, text = HELPS[field.name]
            value = getattr(defaults, field.name)
            text = text if value is None else text.split("  [default")[0]
            name = f"--{field.name.replace('_', '-')}"
            function = click.option(name, type=kind, default=value, show_default=value is not None, help=text)(function)
        return function

    return add


# Where the model goes, and how the result is given out.
out_options = together(
    click.option("-o", "--out", required=True, metavar="FOLDER", help="Where the model goes: new or empty."),
    click.option("--tensorboard", is_flag=True, help="Event files into FOLDER/tensorboard."),
    click.option("--overwrite", is_flag=True, help="Start anew where lamina train has begun or finished."),
    quiet_option,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def model_option(function: F) -> F:
    """The model that is trained."""
    function = click.option("--revision", help="A hub model's branch, tag or commit.")(function)
    return click.option("--model", default="minilm", show_default=True, help="minilm, a folder, or a hub id.")(function)


@dataclass(frozen=True, slots=True)
class Training:
    """The values of `settings_options` and `out_options`."""

    settings: Settings
    out: str
    tensorboard: bool
    overwrite: bool
    quiet: bool
    as_json: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Training:
        """Takes its own out of a command's options. Raises SpecError."""
        settings = Settings(**{name: options.pop(name) for name in HELPS})
        return cls(settings, *(options.pop(name) for name in ("out", "tensorboard", "overwrite", "quiet", "as_json")))

    def carry_out(self, train: Callable[[Watcher], Trained], *, watchers: tuple[Watcher, ...] = ()) -> None:
        """Train, watched; show what came out; leave with 130 or 143 where a signal ended it."""
        with ExitStack() as stack:
            seen = stack.enter_context(_progress(quiet=self.quiet or not _is_first()))
            stop = stack.enter_context(_interruptible())
            watched: list[Watcher] = [seen, stop, *watchers]
            if self.tensorboard and _is_first():
                from lamina.train.folder import LOGS
                from lamina.train.tensorboard import board

                watched.append(stack.enter_context(board(Path(self.out) / LOGS)))
            trained = train(_Several(watched))
        if not trained.is_finished:
            step = trained.record["step"]
            click.echo(f"stopped after step {step:,}; the same command goes on from there", err=True)
            click.get_current_context().exit(stop.code or 1)
        if _is_first():
            self._show(trained)

    def _show(self, trained: Trained) -> None:
        if self.as_json:
            print_json({"folder": str(trained.folder), **trained.record})
            return
        evaluations = trained.record["evaluations"]
        if evaluations:
            names = list(evaluations[0])
            print_table(names, [[one[name] for name in names] for one in evaluations])
        click.echo(said(trained))


def said(trained: Trained) -> str:
    """What came out, in a few words."""
    record = trained.record
    rate = record["n_tokens"] / max(record["seconds"], 1e-9)
    parts = [f"{trained.folder}: {record['step']:,} steps, {record['n_tokens']:,} tokens, {rate:,.0f} a second"]
    if record.get("n_cut"):
        parts.append(f"{record['n_cut']:,} texts were cut at {record['max_tokens']:,} tokens")
    if record["is_early"]:
        parts.append("ended early")
    for name, figures in (("held out", record["figures"]), ("test", record.get("test_figures"))):
        if figures:
            shown = ", ".join(f"{key} {value:.4f}" for key, value in figures.items() if key != "step")
            parts.append(f"{name}, step {figures['step']:,}: {shown}" if "step" in figures else f"{name}: {shown}")
    return "\n".join(parts)


class _Several:
    """Several watchers as one."""

    def __init__(self, watchers: list[Watcher]) -> None:
        self._watchers = watchers

    def stepped(self, step: Step) -> None:
        for one in self._watchers:
            one.stepped(step)

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        for one in self._watchers:
            one.evaluated(evaluation, is_best=is_best)

    def wants_stop(self) -> bool:
        return any(one.wants_stop() for one in self._watchers)


class _Stop:
    """Hears SIGINT and SIGTERM: the first ends the run after its step, the next one at once."""

    def __init__(self) -> None:
        self.code: int | None = None
        self._is_learning = False
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def stepped(self, step: Step) -> None:
        self._is_learning = True

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None: ...

    def wants_stop(self) -> bool:
        self._is_learning = True
        return self.code is not None

    def _hear(self, number: int, frame: Any) -> None:
        before = self._before.get(number)
        self.end()
        if not self._is_learning and callable(before):  # there is nothing yet that could be lost
            before(number, frame)
        self.code = 128 + number
        click.echo("ending after this step; once more ends at once", err=True)


@contextmanager
def _interruptible() -> Iterator[_Stop]:
    stop = _Stop()
    stop.begin()
    try:
        yield stop
    finally:
        stop.end()


class _Silent:
    """Shows nothing."""

    def stepped(self, step: Step) -> None: ...

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None: ...

    def wants_stop(self) -> bool:
        return False


class _Shown(_Silent):
    """A bar of steps with loss and speed, and a line for each evaluation."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._loss: float | None = None

    def stepped(self, step: Step) -> None:
        if self._task is None:
            self._task = self._bar.add_task("training", total=step.n_steps, completed=step.number - 1, said="")
        self._loss = step.loss if self._loss is None else 0.95 * self._loss + 0.05 * step.loss
        rate = step.n_tokens / max(step.seconds, 1e-9)
        self._bar.update(self._task, completed=step.number, said=f"loss {self._loss:.4f}, {rate:,.0f} tokens/s")

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.figures.items())
        self._bar.console.print(f"step {evaluation.step:,}: {figures}{' (best)' if is_best else ''}")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Watcher]:
    """Progress on stderr while the context lasts, unless `quiet` or stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}")]
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        yield _Shown(bar)


def _is_first() -> bool:
    """Whether this is the one of several processes that speaks."""
    return os.environ.get("RANK", "0") == "0"


def class_weights(value: str | None) -> str | Mapping[str, float] | None:
    """`balanced`, or weights by class: `rare=4,common=1`. Raises UsageError."""
    if value is None or "=" not in value:
        return value
    found = {}
    for part in value.split(","):
        name, equals, number = part.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise click.UsageError(f"--class-weights: {part!r} is no weight of a class; expected rare=4,common=1")
    return found
