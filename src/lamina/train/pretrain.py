"""Pretraining: a BERT from nothing on the user's texts, or a checkpoint trained further on them.

Comes in: texts. They become a vocabulary (where none is given), a corpus on disk, passages with masks. Goes out: an
ordinary checkpoint with the head that guesses tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lamina.dataset.durable import make_folder
from lamina.errors import SpecError
from lamina.train.guessing import Guessing, Masks, new_guesser
from lamina.train.loop import Watcher
from lamina.train.material import Reading, Texts, make_material, readable_again, work_folder
from lamina.train.run import Trained, run
from lamina.train.scratch import Scratch
from lamina.train.settings import PRETRAIN, Settings
from lamina.train.start import Start, begin
from lamina.train.watch import Probed, Watch, Watched

NEW = "a new bert"  # what the record calls a model that came from nothing


def pretrain(
    texts: Texts,
    *,
    out: str | Path,
    model: str | Path | None = None,
    scratch: Scratch | None = None,
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
    """Pretrain on texts, and write the folder `out`; the same call goes on with what was begun.

    texts     a file, or an iterable that begins anew each time; where a vocabulary is learnt it is read four times.
    model     a checkpoint to train further; None: begin with the new model that `scratch` describes.
    validate  texts that figures are of; None: a share `reading.held_out` of the documents.
    probes    tasks by which every layer is probed: at the beginning, every `probe_every` steps, and at the end.
    work      where the corpus is put while it is needed; None: in a folder of the system's.

    Raises TrainedError for a folder that holds something else, SpecError, SourceError, CheckpointError, OSError.
    """
    reading, settings = reading or Reading(), settings or PRETRAIN
    if model is not None and scratch is not None:
        raise SpecError("give a model to train further, or describe a new one, not both")
    held, scratch = readable_again(texts), scratch or Scratch()
    if model is None:
        reading.check(scratch.longest)  # before a vocabulary is learnt
    with work_folder(work) as folder:
        if model is None:
            start = _new(scratch, held, folder / "model", settings)
        else:
            start = begin(model, revision=revision)
            reading.check(start.architecture.max_tokens)
        guesser = new_guesser(start, settings, next_sentences=reading.next_sentences)
        masks = Masks.of(start.tokenizer, reading.masking)
        watched = Watched.of(probes, guesser.encoder, start, every=probe_every)
        material = make_material(held, validate, start, reading, folder, seed=settings.seed)
        return run(
            Guessing(guesser, masks, material.learnt, material.held_out, settings.seed),
            start, settings, out=Path(out), overwrite=overwrite, watcher=Watch(watched, Path(out), watcher),
            write=lambda into: guesser.write(into, start),
            asked={"task": "pretrain", **material.asked}, about=material.about,
        )  # fmt: skip


def _new(scratch: Scratch, texts: Iterable[str], folder: Path, settings: Settings) -> Start:
    make_folder(folder)
    scratch.write(folder, texts, seed=settings.seed)
    start = begin(folder)
    return replace(start, checkpoint=replace(start.checkpoint, name=NEW))
