"""A training from a checkpoint to a folder: begun, gone on with, or found finished; written at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lamina import __version__
from lamina.dataset.durable import make_folder, remove, write_json
from lamina.dataset.lock import locked
from lamina.errors import TrainedError
from lamina.train.folder import RECORD, STATE, check_place, check_source, read_record
from lamina.train.loop import Watcher, train
from lamina.train.objective import Objective
from lamina.train.processes import find_processes
from lamina.train.settings import Settings
from lamina.train.start import Start

LOSSES = 1_000  # values of the record's loss curve, at most


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to.

    record       what `training.json` holds: asked, settings, figures, losses; of an unfinished one, as far as it is.
    is_finished  whether the folder holds the model; else the same call goes on.
    """

    folder: Path
    record: Mapping[str, Any]
    is_finished: bool


def run(
    objective: Objective[Any],
    start: Start,
    settings: Settings,
    *,
    out: Path,
    asked: Mapping[str, Any],
    about: Mapping[str, Any],
    write: Callable[[Path], str],
    test: Callable[[], Mapping[str, float]] | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Train, and write the folder.

    asked  JSON values that a run keeps to when it goes on; `about`: others that the record has.
    write  writes the checkpoint's files; the sha256 of the weights comes back.
    test   figures of the finished module.

    Raises what `train` raises, and TrainedError for a folder that holds something else.
    """
    check_source(out, start.checkpoint.folder)
    processes = find_processes(settings.device)
    identity = {
        **asked, "model": start.checkpoint.weights_sha256(), "tokenizer": start.tokenizer.sha256,
    }  # fmt: skip
    with _owned(out) if processes.is_first else nullcontext():
        if processes.is_first:
            check_place(out, overwrite=overwrite)
        processes.wait()
        if (found := _finished(out, identity | settings.lasting())) is not None:
            return Trained(out, found, is_finished=True)
        history = train(objective, settings, state=out / STATE, identity=identity, watcher=watcher)
        best = None if history.best is None else history.evaluations[history.best]
        record = {
            "lamina": __version__, "torch": torch.__version__, "model_name": start.checkpoint.name,
            "processes": processes.n,
            **about, **identity, "settings": asdict(settings), **history.document(),
            "step": history.step, "losses": _thinned(history.losses),
            "figures": None if best is None else {"step": best.step, **best.figures},
        }  # fmt: skip
        if not history.is_finished:
            return Trained(out, record, is_finished=False)
        if test is not None:
            with torch.inference_mode():
                record["test_figures"] = dict(test())
        if processes.is_first:
            record["weights_sha256"] = write(out)
            write_json(out / RECORD, record)
            remove(out / STATE)
        processes.wait()
        return Trained(out, record, is_finished=True)


@contextmanager
def _owned(out: Path) -> Iterator[None]:
    """A folder that nobody else writes."""
    if not out.exists():
        make_folder(out)
    if not out.is_dir():
        raise TrainedError(f"{out} is a file: name a folder")
    with locked(out):
        yield


def _finished(out: Path, identity: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record of this very training, where it is finished. Raises TrainedError for another one's."""
    record = read_record(out)
    if record is None:
        return None
    held = {**record, **record.get("settings", {})}
    differing = [key for key, value in identity.items() if held.get(key) != _as_json(value)]
    if differing:
        said = ", ".join(f"{key} was {held.get(key)!r:.80}, is {identity[key]!r:.80}" for key in differing[:4])
        raise TrainedError(
            f"{out} holds a finished training of another kind ({said}): name another folder, or --overwrite"
        )
    return record


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _thinned(losses: list[float]) -> list[list[float]]:
    """The curve as pairs of step and mean loss since the pair before."""
    width = max(1, -(-len(losses) // LOSSES))
    means = [losses[low : low + width] for low in range(0, len(losses), width)]
    return [[min((i + 1) * width, len(losses)), sum(held) / len(held)] for i, held in enumerate(means)]
