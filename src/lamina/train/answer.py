"""Fine-tuning to answer questions: where in a passage the answer begins and ends. Long passages are read in windows.

A window without the answer points at its first token, as does every window of a question that has none (Devlin et al.
2019, sections 4.2 and 4.3). Shapes: Q questions, N windows, T tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lamina.apps.answer import best_span
from lamina.apps.answer.squad import exact_match, f1, squad_file
from lamina.engine.batch import Batch, Int32
from lamina.errors import SourceError, SpecError
from lamina.text.text import Text
from lamina.text.tokens import Tokens
from lamina.text.windows import Windows
from lamina.train.batching import in_batches
from lamina.train.examples import Examples, parted
from lamina.train.folder import write_checkpoint
from lamina.train.loop import CPU_TOKENS, Watcher
from lamina.train.model import EncoderWithHead, with_head
from lamina.train.objective import Loss
from lamina.train.run import Trained, run
from lamina.train.sequences import Sequences, longest, tokens_of, windowed
from lamina.train.settings import ANSWER, Settings
from lamina.train.start import Start, begin

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

SIDES = ("start", "end")
WINDOW = 384  # tokens, and STRIDE from one to the next: as in BERT's own code for SQuAD (Devlin et al. 2019)
STRIDE = 128
NONE = -1


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of a question: the answers that are accepted, and where the first one begins in the passage; none
    where the passage has none."""

    texts: tuple[str, ...]
    start: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions and passages as windows.

    question   [N]; the number of each window's question.
    low, high  [N]; where the passage's tokens stand in it, low to high - 1.
    origin     [N]; token t of `tokens` stands at place t - origin of the window, if it is the passage's.
    first, last  [N]; the answer's first and last token in the window, both 0 where it is not there.
    """

    sequences: Sequences
    question: Int64
    low: Int64
    high: Int64
    origin: Int64
    first: Int64
    last: Int64
    tokens: Tokens
    examples: Examples[Answers]


@dataclass(frozen=True, slots=True)
class Answering:
    """The objective: cross entropy of the first token and of the last one, among those of a window."""

    module: EncoderWithHead
    learnt: Asked
    held_out: Asked | None

    def __len__(self) -> int:
        return len(self.learnt.sequences)

    def lengths(self) -> Int32:
        return self.learnt.sequences.lengths()

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Int64]:
        places = np.stack([self.learnt.first[examples], self.learnt.last[examples]])  # [2, B]
        return self.learnt.sequences.batch(examples), places

    def loss(self, batch: tuple[Batch, Int64]) -> Loss:
        sequences, places = batch
        logits = self.module(sequences)  # [T, 2]
        lengths = torch.from_numpy(sequences.lengths.astype(np.int64)).to(logits.device)
        wanted = torch.from_numpy(places).to(logits.device) + (lengths.cumsum(0) - lengths)  # [2, B] rows
        said = torch.stack([logits[:, side].index_select(0, wanted[side]) for side in range(2)])
        total = (_log_sums(logits, lengths) - said).sum() / 2
        return Loss(total, float(len(lengths)))

    def evaluate(self) -> Mapping[str, float]:
        return {} if self.held_out is None else self.figures(self.held_out)

    def figures(self, held: Asked) -> dict[str, float]:
        """Exact match and F1 as SQuAD counts them, in English; a question without an answer is right where none is
        given."""
        scores = [
            (float(not found), float(not found)) if not wanted.texts
            else (exact_match(found, wanted.texts), f1(found, wanted.texts))
            for found, wanted in zip(self.answers(held), held.examples.labels, strict=True)
        ]  # fmt: skip
        exact, overlap = np.mean(scores, axis=0)
        return {"f1": float(overlap), "exact_match": float(exact)}

    def answers(self, held: Asked) -> list[str]:
        """The likeliest span of each passage; the empty string where none is likelier in every window of it."""
        best = [(-np.inf, "")] * len(held.examples)
        nothing = [np.inf] * len(held.examples)
        for window, logits in self._of_windows(held.sequences):
            question, low = int(held.question[window]), int(held.low[window])
            nothing[question] = min(nothing[question], float(logits[0].sum()))
            passage = logits[low : int(held.high[window])]
            if not len(passage):
                continue
            first, last, score = best_span(passage[:, 0], passage[:, 1])
            if score > best[question][0]:
                best[question] = score, _surface(held, window, low + first, low + last)
        may_lack = any(not wanted.texts for wanted in self.learnt.examples.labels)
        return [
            "" if may_lack and without > score else found for (score, found), without in zip(best, nothing, strict=True)
        ]

    def _of_windows(self, sequences: Sequences) -> Iterator[tuple[int, Float32]]:
        """The logits [S, 2] of each window."""
        for rows in in_batches(sequences.lengths(), CPU_TOKENS):
            batch = sequences.batch(rows)
            logits = self.module(batch).cpu().numpy()
            yield from zip(rows.tolist(), np.split(logits, np.cumsum(batch.lengths)[:-1]), strict=True)


def train_answers(
    model: str | Path,
    examples: Examples[Answers],
    *,
    out: str | Path,
    validate: Examples[Answers] | None = None,
    test: Examples[Answers] | None = None,
    held_out: float = 0.1,
    max_tokens: int | None = None,
    stride: int = STRIDE,
    settings: Settings | None = None,
    revision: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Train a model to answer questions on passages (`Text(question, pair=passage)`), and write it to the folder `out`;
    the same call goes on with what was begun.

    max_tokens  of a window; None: 384, or what the model takes.
    stride      tokens from window to window.
    The rest is as in `train_classifier`, and so is what is raised.
    """
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise SpecError(f"stride must be a whole number of at least 1, not {stride!r}")
    settings = settings or ANSWER
    start = begin(model, revision=revision)
    learnt, held = parted(examples, validate, test, held_out=held_out, seed=settings.seed)
    most = min(WINDOW, start.architecture.max_tokens) if max_tokens is None else longest(start, max_tokens)
    objective = Answering(
        with_head(start, "question_answering", SIDES, settings),
        asked_windows(learnt, start, most, stride),
        None if held is None else asked_windows(held, start, most, stride),
    )
    tested = None if test is None else asked_windows(test, start, most, stride)

    def write(folder: Path) -> str:
        encoder, head = objective.module.encoder.values(), objective.module.head.values()
        return write_checkpoint(folder, start, encoder, head, task="question_answering")

    return run(
        objective, start, settings, out=Path(out), overwrite=overwrite, watcher=watcher, write=write,
        test=None if tested is None else partial(objective.figures, tested),
        asked={
            "task": "answer", "max_tokens": most, "stride": stride, "data": _hashed(learnt),
            "held_out": None if held is None else _hashed(held), "test": None if test is None else _hashed(test),
        },
        about={
            "n": len(learnt), "n_windows": len(objective.learnt.sequences),
            "n_held_out": 0 if held is None else len(held),
        },
    )  # fmt: skip


def read_questions(path: str | Path) -> Examples[Answers]:
    """A file of SQuAD's kind, its answers with their places. Raises SourceError for what is none, or where an answer
    does not stand where it is said to stand."""
    with squad_file(path, answer='"text", "answer_start"') as paragraphs:
        rows = [(paragraph["context"], qa) for paragraph in paragraphs for qa in paragraph["qas"]]
        texts = tuple(Text(qa["question"], pair=passage) for passage, qa in rows)
        labels = tuple(_answers(passage, qa) for passage, qa in rows)
    if not texts:
        raise SourceError(f"{path} holds no question")
    return Examples(texts, labels)


def asked_windows(examples: Examples[Answers], start: Start, max_tokens: int, stride: int) -> Asked:
    """Questions as windows. Raises TextError where a question leaves no room for its passage."""
    tokens = tokens_of(examples.texts, start)
    sequences, windows = windowed(tokens, max_tokens=max_tokens, stride=stride)
    text = windows.text
    low = tokens.fixed[text]
    high = windows.length - tokens.n_suffix
    first, last = _places(tokens, windows, examples, low, high)
    return Asked(sequences, text, low, high, windows.origin, first, last, tokens, examples)


def _answers(passage: str, qa: Mapping[str, Any]) -> Answers:
    texts = tuple(dict.fromkeys(answer["text"] for answer in qa["answers"] if answer["text"]))
    if not texts:
        return Answers((), None)
    answer = next(answer for answer in qa["answers"] if answer["text"])
    begin_at = int(answer["answer_start"])
    if passage[begin_at : begin_at + len(answer["text"])] != answer["text"]:
        raise ValueError(f"the answer of question {str(qa.get('id'))[:40]!r} does not stand at its answer_start")
    return Answers(texts, begin_at)


def _places(
    tokens: Tokens, windows: Windows, examples: Examples[Answers], low: Int64, high: Int64
) -> tuple[Int64, Int64]:
    """The first and last token of the answer in each window, [N] each; 0 where it is not there as a whole."""
    found = np.zeros((2, len(windows)), np.int64)
    for window, text in enumerate(windows.text.tolist()):
        answers = examples.labels[text]
        if answers.start is None:
            continue
        begin_at = len(examples.texts[text].text) + 1 + answers.start  # the passage comes after the question
        end_at = begin_at + len(answers.texts[0])
        body = int(tokens.bounds[text]) + int(tokens.fixed[text])
        stop = int(tokens.bounds[text + 1]) - tokens.n_suffix
        first = body + int(np.searchsorted(tokens.ends[body:stop], begin_at, side="right"))
        last = body + int(np.searchsorted(tokens.starts[body:stop], end_at, side="left")) - 1
        places = first - int(windows.origin[window]), last - int(windows.origin[window])
        if int(low[window]) <= places[0] <= places[1] < int(high[window]):
            found[:, window] = places
    return found[0], found[1]


def _surface(asked: Asked, window: int, first: int, last: int) -> str:
    """The characters of the passage from one place of a window to another."""
    text = asked.examples.texts[int(asked.question[window])]
    origin, before = int(asked.origin[window]), len(text.text) + 1
    begin_at, end_at = int(asked.tokens.starts[origin + first]), int(asked.tokens.ends[origin + last])
    return (text.pair or "")[begin_at - before : end_at - before]


def _log_sums(logits: Tensor, lengths: Tensor) -> Tensor:
    """The logarithm of the summed exponentials over each window's tokens, [2, B]."""
    highest = torch.segment_reduce(logits.detach(), "max", lengths=lengths)
    shifted = (logits - torch.repeat_interleave(highest, lengths, dim=0)).exp()
    return (torch.segment_reduce(shifted, "sum", lengths=lengths).log() + highest).T


def _hashed(examples: Examples[Answers]) -> str:
    return Examples(examples.texts, tuple((one.texts, one.start) for one in examples.labels)).sha256()
