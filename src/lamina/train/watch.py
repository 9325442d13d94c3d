"""Which layer learns what, and when: every layer probed for a task every so many steps, while the model learns.

Comes in: tasks (texts with labels) and the encoder that is learning. Goes out: `probes.jsonl` in the model's folder, a
line for each step, task and layer; `watch_chart.py` draws it. What is learnt does not depend on who watches: a probe
sees a copy of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.apps.labels import row_labels, word_labels
from lamina.apps.probe.asking import ask
from lamina.apps.probe.run import answer
from lamina.dataset.durable import write_bytes
from lamina.embeddings import Embeddings, concatenate
from lamina.engine.threads import available_threads
from lamina.engine.torch import TorchEngine
from lamina.engine.torch_encoder import TorchEncoder
from lamina.errors import SourceError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.model.weights import FloatArray, Weights, in_memory
from lamina.spec import Spec
from lamina.text.source import Rows, Source
from lamina.text.text import Unreadable
from lamina.train.folder import PROBES
from lamina.train.loop import Step, Watcher
from lamina.train.start import Start
from lamina.train.state import Evaluation

TAGS = "tags"  # what CoNLL's column of labels is called
WORDS = (".conll", ".conllu")
TEXTS = 2_000  # of a task, drawn by lot: an interval of two points either way
SEED = 0  # of lots and folds: the same ones whatever the run's seed, so that runs can be compared

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Probed:
    """A task.

    label  the column with a label for each text, or for words a list; None: CoNLL's tags.
    unit   None: `word` of CoNLL files and ready-made words, else `text`.
    texts  how many are used at most.
    """

    name: str
    source: Source
    label: str | None = None
    unit: str | None = None
    pool: str = "mean"
    texts: int = TEXTS

    @property
    def spec(self) -> Spec:
        """What is extracted for it."""
        source = self.source
        words = source.words is not None or source.format in ("conll", "conllu") or source.path.endswith(WORDS)
        return Spec.parse(f"layers=all unit={self.unit or ('word' if words else 'text')} pool={self.pool}")

    def rows(self) -> Rows:
        """Its texts, as many as are used. Raises SourceError, SpecError."""
        import pyarrow as pa

        if self.texts < 2:
            raise SpecError(f"texts of a task must be at least 2, not {self.texts}")
        parts = list(self.source.rows())
        texts = [text for part in parts for text in part.texts]
        if not texts or any(isinstance(text, Unreadable) for text in texts):
            raise SourceError(f"{self.source.name} holds no text to probe")
        columns = pa.concat_tables([part.columns for part in parts], promote_options="permissive")
        drawn = np.random.default_rng(SEED).permutation(len(texts))[: self.texts]
        chosen = np.sort(drawn).tolist()
        return Rows([texts[i] for i in chosen], columns.take(chosen))


@dataclass(frozen=True, slots=True)
class Task:
    """A task, read."""

    name: str
    spec: Spec
    label: str
    rows: Rows

    @classmethod
    def of(cls, probed: Probed) -> Task:
        """Raises SourceError, SpecError."""
        task = cls(probed.name, probed.spec, probed.label or TAGS, probed.rows())
        if task.label not in task.rows.columns.column_names:
            known = ", ".join(task.rows.columns.column_names) or "no other column"
            raise SpecError(f"task {task.name!r}: there is no column {task.label!r} with labels; there is {known}")
        return task

    def scores(self, extractor: Extractor) -> list[Row]:
        """Every layer's score by a linear probe, with a 95 % interval."""
        parts = extractor.stream_rows([self.rows], {"": self.spec}, even_if_empty=True)
        data: Embeddings = concatenate(part[""] for part in parts)
        column = f"input_{self.label}" if f"input_{self.label}" in data.units.column_names else self.label
        labels = (row_labels if self.spec.unit in ("text", "pair") else word_labels)(data.units, column)
        question = ask(data, labels, unit=str(self.spec.unit), drop_rare=True, seed=SEED)
        found = answer(question, mixes=[], control=False, curve=False, threads=extractor.engine.threads)
        return [
            {"task": self.name, "layer": row.layer, "metric": found.metric, "score": row.score, "low": row.low,
             "high": row.high, "n": found.n, "baselines": dict(found.baselines)}
            for row in found.rows
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watched:
    """Tasks, and the encoder that learns. `every`: steps; None: at the beginning and at the end only."""

    tasks: tuple[Task, ...]
    encoder: TorchEncoder
    start: Start
    every: int | None

    @classmethod
    def of(cls, probed: Iterable[Probed], encoder: TorchEncoder, start: Start, *, every: int | None) -> Watched:
        """Read the tasks. Raises SourceError, SpecError."""
        if every is not None and every < 1:
            raise SpecError(f"probe_every must be at least 1 step, not {every}")
        tasks = tuple(map(Task.of, probed))
        if len({task.name for task in tasks}) < len(tasks):
            raise SpecError(f"two tasks have one name: {', '.join(task.name for task in tasks)}")
        return cls(tasks, encoder, start, every)

    def scores(self, values: Mapping[str, FloatArray]) -> list[Row]:
        """The scores of every task and layer of an encoder with some values."""
        extractor = extractor_of(self.start, values, device=str(self.encoder.device))
        return [row for task in self.tasks for row in task.scores(extractor)]

    def is_due(self, step: Step) -> bool:
        """Whether to probe after a step."""
        return step.number == step.n_steps or (self.every is not None and step.number % self.every == 0)


class Watch:
    """A watcher that probes, and lets another one look on too."""

    def __init__(self, watched: Watched, out: Path, inner: Watcher | None) -> None:
        self._watched, self._path, self._inner = watched, out / PROBES, inner
        # The beginning is probed when the first step is done: a run that is only gone on with has it in its file.
        self._beginning = watched.encoder.values() if watched.tasks else None

    def stepped(self, step: Step) -> None:
        """Probe where it is due."""
        if self._inner is not None:
            self._inner.stepped(step)
        if self._beginning is not None:
            beginning, self._beginning = self._beginning, None
            if step.number == 1:
                self._add(0, beginning)
        if self._watched.tasks and self._watched.is_due(step):
            self._add(step.number, self._watched.encoder.values())

    def evaluated(self, evaluation: Evaluation, *, is_best: bool) -> None:
        """Say so to the other one."""
        if self._inner is not None:
            self._inner.evaluated(evaluation, is_best=is_best)

    def wants_stop(self) -> bool:
        """Whether the other one does."""
        return self._inner is not None and self._inner.wants_stop()

    def _add(self, step: int, values: Mapping[str, FloatArray]) -> None:
        """Put a step's scores in the file, in place of what an earlier sitting found from this step on."""
        rows = [row for row in read_scores(self._path) if row["step"] < step]
        rows += [{"step": step, **row} for row in self._watched.scores(values)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self._path, text.encode())


def read_scores(path: Path) -> list[Row]:
    """The lines of a file of scores; none where there is no file. Raises SourceError for a damaged one."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise SourceError(f"{path} is damaged ({error}): remove it, and the steps to come are written") from None


def extractor_of(start: Start, values: Mapping[str, FloatArray], *, device: str = "cpu") -> Extractor:
    """What extracts with a checkpoint's tokenizer and other values of its encoder."""
    weights = Weights({name: in_memory(name, value) for name, value in values.items()}, ())
    engine = TorchEngine(start.architecture, weights, device=device, threads=available_threads())
    return Extractor(start.checkpoint, start.architecture, start.tokenizer, engine)
