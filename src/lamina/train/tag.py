"""Fine-tuning to tag words: a tag for each word, learnt at its first piece or over the mean of its pieces.

The head is a linear layer, so the mean of its logits over a word's pieces is what it says of their mean state: a model
trained either way is an ordinary one for token classification. Shapes: N sequences, W words, T tokens, C tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lamina.apps.spans import OUTSIDE, scheme_of, span_scores, spans_of
from lamina.engine.batch import Batch, Int32
from lamina.errors import SourceError, SpecError
from lamina.text.units import make_units
from lamina.text.windows import make_segments
from lamina.train.batching import in_batches
from lamina.train.examples import Examples, parted
from lamina.train.folder import write_checkpoint
from lamina.train.loop import CPU_TOKENS, Watcher
from lamina.train.model import EncoderWithHead, with_head
from lamina.train.objective import Loss
from lamina.train.run import Trained, run
from lamina.train.sequences import Sequences, longest, tokens_of, windowed
from lamina.train.settings import TAG, Settings
from lamina.train.start import Start, begin

Int64 = npt.NDArray[np.int64]
Pieces = Literal["first", "mean"]
Tags = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as sequences, and the words in them that have tokens, in the order of the sequences.

    bounds       [N + 1]; sequence i has the words bounds[i] to bounds[i + 1].
    first, last  [W]; the pieces that stand for a word, places of its sequence, first to last - 1.
    word         [W]; its number among all words of all texts.
    tags         [W]; the number of its tag, -1 where that was never learnt.
    texts        the tags of each text as they were given.
    """

    sequences: Sequences
    bounds: Int64
    first: Int64
    last: Int64
    word: Int64
    tags: Int64
    texts: tuple[Tags, ...]

    def of(self, sequences: Sequence[int] | Int64) -> Int64:
        """The words of some sequences, one after the other."""
        rows = np.asarray(sequences, np.int64)
        return np.concatenate([np.arange(self.bounds[row], self.bounds[row + 1]) for row in rows])


@dataclass(frozen=True, slots=True)
class WordBatch:
    """Sequences, and the pieces of their words: rows `index` of the batch's tokens, `counts` [W] of each word."""

    sequences: Batch
    index: Int64
    counts: Int64
    tags: Int64


@dataclass(frozen=True, slots=True)
class Tagging:
    """The objective: cross entropy of each word's tag."""

    module: EncoderWithHead
    learnt: Words
    held_out: Words | None
    labels: Tags

    def __len__(self) -> int:
        return len(self.learnt.sequences)

    def lengths(self) -> Int32:
        return self.learnt.sequences.lengths()

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> WordBatch:
        return word_batch(self.learnt, examples)

    def loss(self, batch: WordBatch) -> Loss:
        known = batch.tags >= 0
        wanted = torch.from_numpy(np.where(known, batch.tags, -100))
        logits = self.logits(batch)
        total = functional.cross_entropy(logits, wanted.to(logits.device), reduction="sum")
        return Loss(total, float(known.sum()))

    def logits(self, batch: WordBatch) -> Tensor:
        """What the head says of each word, [W, C]."""
        found: Tensor = self.module(batch.sequences)
        index, counts = (torch.from_numpy(array).to(found.device) for array in (batch.index, batch.counts))
        pieces = found.index_select(0, index)
        if len(index) == len(counts):
            return pieces
        return torch.segment_reduce(pieces, "sum", lengths=counts) / counts[:, None]

    def evaluate(self) -> Mapping[str, float]:
        return {} if self.held_out is None else self.figures(self.held_out)

    def figures(self, held: Words) -> dict[str, float]:
        """F1 of whole spans where the tags write spans, and the accuracy of words."""
        found = self.tagged(held)
        both = [pair for texts in zip(held.texts, found, strict=True) for pair in zip(*texts, strict=True)]
        accuracy = {"accuracy": sum(one == other for one, other in both) / max(1, len(both))}
        if scheme_of(self.labels) == "none":
            return accuracy
        scores = span_scores(map(spans_of, held.texts), map(spans_of, found))["all"]
        return {"f1": scores.f1, "precision": scores.precision, "recall": scores.recall, **accuracy}

    def tagged(self, held: Words) -> list[Tags]:
        """The likeliest tag of each word of each text; a word without a token is outside, or of the commonest tag."""
        n_words = [len(tags) for tags in held.texts]
        common = Counter(tag for tags in self.learnt.texts for tag in tags).most_common(1)[0][0]
        flat = np.full(sum(n_words), OUTSIDE if OUTSIDE in self.labels else common, object)
        names = np.array(self.labels, object)
        for rows in in_batches(held.sequences.lengths(), CPU_TOKENS):
            batch = word_batch(held, rows)
            if batch.counts.size:
                flat[held.word[held.of(rows)]] = names[self.logits(batch).argmax(-1).cpu().numpy()]
        return [tuple(flat[low:high]) for low, high in pairwise(np.cumsum([0, *n_words]).tolist())]


def train_tagger(
    model: str | Path,
    examples: Examples[Tags],
    *,
    out: str | Path,
    validate: Examples[Tags] | None = None,
    test: Examples[Tags] | None = None,
    held_out: float = 0.1,
    pieces: Pieces = "first",
    max_tokens: int | None = None,
    settings: Settings | None = None,
    revision: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Train a model to tag the words of texts (`Text.of_words`), and write it to the folder `out`; the same call goes
    on with what was begun. Long texts are read in windows.

    pieces      which pieces stand for a word: the first one, or the mean of all.
    max_tokens  of a window; None: what the model takes.
    The rest is as in `train_classifier`, and so is what is raised; SourceError where a text has not as many tags as
    words.
    """
    if pieces not in get_args(Pieces):
        raise SpecError(f"pieces must be one of {', '.join(get_args(Pieces))}, not {pieces!r}")
    settings = settings or TAG
    start = begin(model, revision=revision)
    learnt, held = parted(examples, validate, test, held_out=held_out, seed=settings.seed)
    labels = tuple(sorted({tag for tags in learnt.labels for tag in tags}, key=lambda tag: (tag != OUTSIDE, tag)))
    if len(labels) < 2:
        raise SpecError(f"there are {len(labels)} tags: expected at least two")
    making = _Making(start, labels, pieces, longest(start, max_tokens))
    objective = Tagging(
        with_head(start, "token_classification", labels, settings),
        making.words(learnt), None if held is None else making.words(held), labels,
    )  # fmt: skip
    tested = None if test is None else making.words(test)

    def write(folder: Path) -> str:
        encoder, head = objective.module.encoder.values(), objective.module.head.values()
        return write_checkpoint(folder, start, encoder, head, task="token_classification", labels=labels)

    return run(
        objective, start, settings, out=Path(out), overwrite=overwrite, watcher=watcher, write=write,
        test=None if tested is None else partial(objective.figures, tested),
        asked={
            "task": "tag", "labels": labels, "pieces": pieces, "max_tokens": making.max_tokens,
            "data": learnt.sha256(), "held_out": None if held is None else held.sha256(),
            "test": None if test is None else test.sha256(),
        },
        about={
            "n": len(learnt), "n_words": objective.learnt.word.size, "n_held_out": 0 if held is None else len(held),
        },
    )  # fmt: skip


def word_batch(words: Words, sequences: Sequence[int] | Int64) -> WordBatch:
    """Some sequences with their words."""
    which = words.of(sequences)
    lengths = words.sequences.lengths()[np.asarray(sequences, np.int64)]
    n_words = np.diff(words.bounds)[np.asarray(sequences, np.int64)]
    origin = np.repeat(np.cumsum(lengths) - lengths, n_words)  # [W] where its sequence begins in the batch
    counts = words.last[which] - words.first[which]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.repeat(origin + words.first[which], counts) + within
    return WordBatch(words.sequences.batch(sequences), index, counts, words.tags[which])


@dataclass(frozen=True, slots=True)
class _Making:
    """Turns texts and tags into `Words`."""

    start: Start
    labels: Tags
    pieces: Pieces
    max_tokens: int

    def words(self, examples: Examples[Tags]) -> Words:
        """Raises SourceError where a text has not as many tags as words."""
        tokens = tokens_of(examples.texts, self.start)
        units = make_units("word", examples.texts, tokens)
        _check_counts(examples, np.bincount(units.text, minlength=len(examples)))
        sequences, windows = windowed(tokens, max_tokens=self.max_tokens)
        last = np.minimum(units.first + 1, units.last) if self.pieces == "first" else units.last
        segments = make_segments(units.first, last, windows)
        _, once = np.unique(segments.unit, return_index=True)  # a word on a seam stands for itself where it begins
        once = np.sort(once)
        unit, window = segments.unit[once], segments.window[once]
        place = {label: number for number, label in enumerate(self.labels)}
        tags = np.array([place.get(tag, -1) for of_text in examples.labels for tag in of_text], np.int64)
        return Words(
            sequences, np.searchsorted(window, np.arange(len(windows) + 1)),
            segments.first[once] - windows.origin[window], segments.last[once] - windows.origin[window],
            unit, tags[unit], examples.labels,
        )  # fmt: skip


def _check_counts(examples: Examples[Any], n_words: Int64) -> None:
    for row, (tags, n) in enumerate(zip(examples.labels, n_words.tolist(), strict=True)):
        if len(tags) != n:
            raise SourceError(
                f"text {row} has {n} words and {len(tags)} tags: give its words (--words, or a CoNLL file), so that "
                "each has one"
            )
