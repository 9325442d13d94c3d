"""Distilling: a student of fewer layers learns to give the states that its teacher gives, layer by layer.

Comes in: a teacher and texts without labels. Goes out: an ordinary checkpoint, and a report that compares the two layer
by layer. Shapes: B passages of T tokens laid end to end, M of them masked, D hidden width, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.dataset.durable import write_bytes
from lamina.engine.batch import Batch
from lamina.engine.torch_encoder import TorchEncoder
from lamina.errors import SpecError
from lamina.model.heads import WORD_TABLE, read_head
from lamina.train.batching import in_batches
from lamina.train.comparison import Comparison, compare
from lamina.train.folder import REPORT, check_source, write_checkpoint
from lamina.train.guessing import TOGETHER, Guesses, Masks
from lamina.train.heads import TaskLayers, new_head
from lamina.train.loop import Watcher
from lamina.train.masking import Masking
from lamina.train.material import Material, Reading, Texts, make_material, readable_again, work_folder
from lamina.train.objective import Loss
from lamina.train.passages import OverPassages, Passages
from lamina.train.run import Trained, run
from lamina.train.settings import DISTIL, Settings
from lamina.train.start import Start, begin
from lamina.train.student import begin_student, spread
from lamina.train.watch import Probed, Watch, Watched

Measure = Literal["mse", "cosine"]

TEMPERATURE = 2.0  # of the teacher's guesses (Sanh et al. 2019, their code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What the student learns of the teacher.

    match        the teacher's layer whose states each of the student's is to give.
    measure      how far apart states are: `mse`, the mean square of the difference, or `cosine`, 1 less the cosine.
    logits       how much the guesses of masked tokens weigh beside the states, 0: not at all.
    temperature  what both sides' logits are divided by (Hinton et al. 2015).
    """

    match: tuple[int, ...]
    measure: Measure = "mse"
    logits: float = 0.0
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise SpecError(f"measure must be {' or '.join(get_args(Measure))}, not {self.measure!r}")
        if not 0 <= self.logits <= 1e6 or not 0 < self.temperature <= 1e6:
            raise SpecError("logits must be a weight of at least 0, and temperature above 0")

    def apart(self, own: Tensor, wanted: Tensor) -> Tensor:
        """How far apart states [T, D] are, summed over the tokens."""
        if self.measure == "mse":
            return (own.float() - wanted.float()).square().mean(-1).sum()
        return (1 - functional.cosine_similarity(own.float(), wanted.float(), dim=-1)).sum()


class Reader(nn.Module):
    """An encoder and, where guesses are compared, what guesses tokens."""

    def __init__(self, encoder: TorchEncoder, head: TaskLayers | None) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, batch: Batch, layers: Sequence[int]) -> dict[int, Tensor]:
        """The states [T, D] after some layers."""
        found: dict[int, Tensor] = self.encoder(batch, layers)
        return found

    def guesses(self, states: Tensor) -> Tensor:
        """The logits [M, V] of some states of the last layer."""
        assert self.head is not None
        found: Tensor = self.head(states, self.encoder.weight(WORD_TABLE))
        return found.float()


@dataclass(frozen=True, slots=True, eq=False)
class Distilling(OverPassages):
    """The objective: the mean distance of the student's states from the teacher's, over tokens and matched layers."""

    module: Reader
    teacher: Reader
    lessons: Lessons
    masks: Masks | None  # None: texts are read as they are
    learnt: Passages
    held_out: Passages | None
    seed: int

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> Guesses:
        return self._read(self.learnt, examples, rng)

    def loss(self, batch: Guesses) -> Loss:
        total, _ = self._distance(batch)
        return Loss(total, float(batch.batch.lengths.sum()))

    def evaluate(self) -> Mapping[str, float]:
        """`loss` of a held-out token, and the mean `cosine` of the last matched layers' states."""
        if self.held_out is None:
            return {}
        sums, n = np.zeros(2), 0
        for number, which in enumerate(in_batches(self.held_out.lengths(), TOGETHER)):
            batch = self._read(self.held_out, which.tolist(), np.random.default_rng([self.seed, number]))
            total, (own, wanted) = self._distance(batch)
            sums += float(total), float(functional.cosine_similarity(own.float(), wanted.float(), dim=-1).sum())
            n += int(batch.batch.lengths.sum())
        return {"loss": float(sums[0] / n), "cosine": float(sums[1] / n)}

    def _read(self, passages: Passages, which: Sequence[int], rng: np.random.Generator) -> Guesses:
        if self.masks is not None:
            return self.masks.draw(passages, which, rng)
        flat, none = passages.examples(which, rng), np.zeros(0, np.int64)
        return Guesses(flat.batch(flat.ids), none, none, flat.follows)

    def _distance(self, batch: Guesses) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The distance summed over the tokens, and both last states."""
        match = self.lessons.match
        places = range(1, len(match) + 1)
        own = self.module(batch.batch, places)
        self.teacher.to(self.module.encoder.device)
        with torch.no_grad():
            wanted = self.teacher(batch.batch, set(match))
        apart = [self.lessons.apart(own[k], wanted[layer]) for k, layer in zip(places, match, strict=True)]
        total = torch.stack(apart).mean()
        last = own[len(match)], wanted[match[-1]]
        if self.lessons.logits and batch.places.size:
            total = total + self.lessons.logits * self._guesses_apart(*last, batch)
        return total, last

    def _guesses_apart(self, own: Tensor, wanted: Tensor, batch: Guesses) -> Tensor:
        """How far apart the guesses of the masked tokens are, as if there were one for each token."""
        places = torch.from_numpy(batch.places).to(own.device)
        heat = self.lessons.temperature
        with torch.no_grad():
            theirs = functional.log_softmax(self.teacher.guesses(wanted.index_select(0, places)) / heat, -1)
        mine = functional.log_softmax(self.module.guesses(own.index_select(0, places)) / heat, -1)
        apart = functional.kl_div(mine, theirs, reduction="batchmean", log_target=True) * heat**2
        return apart * own.shape[0]


def distil(
    teacher: str | Path,
    texts: Texts,
    *,
    out: str | Path,
    layers: int | Sequence[int],
    match: Sequence[int] | None = None,
    measure: Measure = "mse",
    logits: float = 0.0,
    temperature: float = TEMPERATURE,
    reading: Reading | None = None,
    validate: Texts | None = None,
    probes: Iterable[Probed] = (),
    probe_every: int | None = None,
    work: str | Path | None = None,
    settings: Settings | None = None,
    revision: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Distil a teacher into a student of fewer layers, and write the folder `out` with `comparison.json` in it; the
    same call goes on with what was begun.

    layers  the teacher's layers, 1 to n, that the student begins with; a number: so many, spread evenly.
    match   the teacher's layer whose states each of the student's is to give, None: the one that it began as.

    The other options are those of `Lessons` and `pretrain`. Raises what `pretrain` raises, CheckpointError for `logits`
    of a teacher without a head that guesses tokens.
    """
    reading, settings = reading or Reading(), settings or DISTIL
    if reading.next_sentences:
        raise SpecError("a student learns no next sentences: leave next_sentences out")
    held = readable_again(texts)
    with work_folder(work) as folder:
        master = begin(teacher, revision=revision)
        check_source(Path(out), master.checkpoint.folder)
        reading.check(master.architecture.max_tokens)
        chosen = spread(layers, master.architecture.n_layers) if isinstance(layers, int) else tuple(layers)
        matched = _matched(match, chosen, master)
        lessons = Lessons(match=matched, measure=measure, logits=logits, temperature=temperature)
        student = begin_student(master, chosen, folder / "student")
        material = make_material(held, validate, student, reading, folder, seed=settings.seed)
        objective = _objective(master, student, lessons, material, reading.masking, settings)
        tasks = Watched.of(probes, objective.module.encoder, student, every=probe_every)
        comparison = Comparison(master, student, matched, material.held_out, tasks.tasks)
        return run(
            objective, student, settings, out=Path(out), overwrite=overwrite,
            watcher=Watch(tasks, Path(out), watcher), asked=_asked(master, chosen, lessons, material),
            about={"teacher_name": master.checkpoint.name, **material.about},
            write=lambda into: _write(into, objective, student, comparison),
        )  # fmt: skip


def _matched(match: Sequence[int] | None, layers: Sequence[int], teacher: Start) -> tuple[int, ...]:
    if match is None:
        return tuple(layers)
    n = teacher.architecture.n_layers
    if len(match) != len(layers) or not all(0 <= layer <= n for layer in match):
        raise SpecError(f"match must name {len(layers)} layers of the teacher, 0 to {n}: one for each of the student's")
    return tuple(match)


def _asked(teacher: Start, layers: Sequence[int], lessons: Lessons, material: Material) -> dict[str, Any]:
    """What a run keeps to when it goes on."""
    sha256 = teacher.checkpoint.weights_sha256()
    return {"task": "distil", "teacher": sha256, "layers": list(layers), **asdict(lessons), **material.asked}


def _objective(
    teacher: Start, student: Start, lessons: Lessons, material: Material, masking: Masking, settings: Settings
) -> Distilling:
    heads: list[TaskLayers | None] = [None, None]
    if lessons.logits:
        read_head("masked_lm", teacher.config, teacher.architecture, teacher.weights)  # raises where there is none
        heads = [new_head(one, "masked_lm", labels=(), dropout=0.0, seed=0) for one in (student, teacher)]
    module = Reader(student.encoder(settings), heads[0])
    master = Reader(TorchEncoder(teacher.architecture, teacher.weights), heads[1])
    master.eval().requires_grad_(False)
    masks = Masks.of(student.tokenizer, masking) if lessons.logits else None
    return Distilling(module, master, lessons, masks, material.learnt, material.held_out, settings.seed)


def _write(folder: Path, objective: Distilling, student: Start, comparison: Comparison) -> str:
    """Write the student, and beside it how it compares."""
    module = objective.module
    values = module.encoder.values()
    report = json.dumps(compare(comparison, values, device=str(module.encoder.device)), indent=2) + "\n"
    write_bytes(folder / REPORT, report.encode())
    if module.head is None:
        return write_checkpoint(folder, student, values)
    return write_checkpoint(folder, student, values, module.head.values(), task="masked_lm")
