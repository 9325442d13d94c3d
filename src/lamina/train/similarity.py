"""Fine-tuning of sentence vectors: pairs of texts and how alike they are, or pairs that belong together.

With scores: the squared error of the cosine (Reimers and Gurevych 2019). Without: each text must find its own among
those of the batch, by a softmax over cosines times 20 (Henderson et al. 2017; the factor is that of
sentence-transformers). Shapes: N pairs, B of a batch, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.dataset.durable import write_json
from lamina.engine.batch import Batch, Int32
from lamina.engine.torch_encoder import TorchEncoder
from lamina.errors import SpecError
from lamina.text.text import Text
from lamina.train.batching import in_batches
from lamina.train.examples import Examples, parted
from lamina.train.folder import write_checkpoint
from lamina.train.loop import CPU_TOKENS, Watcher
from lamina.train.model import last_states, pooled
from lamina.train.objective import Loss
from lamina.train.run import Trained, run
from lamina.train.sequences import Sequences, longest, whole_sequences
from lamina.train.settings import SIMILARITY, Settings
from lamina.train.start import Start, begin

Float32 = npt.NDArray[np.float32]
SentencePool = Literal["mean", "cls"]

SCALE = 20.0
WHOLE = 10**9  # tokens: a batch of pairs without scores is computed in one piece, since it is told apart within it


class SentenceEncoder(nn.Module):
    """An encoder whose sequences become one vector each."""

    def __init__(self, encoder: TorchEncoder, pool: SentencePool) -> None:
        super().__init__()
        self.encoder, self.pool = encoder, pool

    def forward(self, batch: Batch) -> Tensor:
        """Vectors of length 1, [B, D]."""
        return functional.normalize(pooled(last_states(self.encoder, batch), batch, self.pool).float(), dim=-1)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Both texts of each pair as sequences, how alike they are [N], from 0 to 1 (None: they belong together), and how
    many texts were cut."""

    first: Sequences
    second: Sequences
    scores: Float32 | None
    n_cut: int = 0


@dataclass(frozen=True, slots=True)
class PairBatch:
    first: Batch
    second: Batch
    scores: Float32 | None


@dataclass(frozen=True, slots=True)
class Similarity:
    """The objective."""

    module: SentenceEncoder
    learnt: Pairs
    held_out: Pairs | None

    def __len__(self) -> int:
        return len(self.learnt.first)

    def lengths(self) -> Int32:
        return (self.learnt.first.lengths() + self.learnt.second.lengths()).astype(np.int32)

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> PairBatch:
        scores = None if self.learnt.scores is None else self.learnt.scores[examples]
        return PairBatch(self.learnt.first.batch(examples), self.learnt.second.batch(examples), scores)

    def loss(self, batch: PairBatch) -> Loss:
        first, second = self.module(batch.first), self.module(batch.second)
        if batch.scores is None:
            own = torch.arange(len(first), device=first.device)
            total = functional.cross_entropy(first @ second.T * SCALE, own, reduction="sum")
        else:
            wanted = torch.from_numpy(batch.scores).to(first.device)
            total = functional.mse_loss((first * second).sum(-1), wanted, reduction="sum")
        return Loss(total, float(len(first)))

    def evaluate(self) -> Mapping[str, float]:
        return {} if self.held_out is None else self.figures(self.held_out)

    def figures(self, held: Pairs) -> dict[str, float]:
        """Of scores their rank correlation with the cosines; else how often a text finds its own among all of them."""
        first, second = (self.vectors(sequences) for sequences in (held.first, held.second))
        if held.scores is not None:
            cosines = (first * second).sum(axis=1)
            return {
                "spearman": correlation(ranks(cosines), ranks(held.scores)),
                "pearson": correlation(cosines, held.scores),
            }
        return {"found": float(np.mean([(second @ one).argmax() == row for row, one in enumerate(first)]))}

    def vectors(self, sequences: Sequences) -> Float32:
        """The vector of each sequence, [N, D]."""
        found = np.empty((len(sequences), self.module.encoder.architecture.width), np.float32)
        for rows in in_batches(sequences.lengths(), CPU_TOKENS):
            found[rows] = self.module(sequences.batch(rows)).float().cpu().numpy()
        return found


def train_similarity(
    model: str | Path,
    examples: Examples[float | None],
    *,
    out: str | Path,
    validate: Examples[float | None] | None = None,
    test: Examples[float | None] | None = None,
    held_out: float = 0.1,
    pool: SentencePool = "mean",
    low: float | None = None,
    high: float | None = None,
    max_tokens: int | None = None,
    settings: Settings | None = None,
    revision: str | None = None,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> Trained:
    """Train a model's sentence vectors on pairs (`Text(first, pair=second)`), and write it to the folder `out`, which
    sentence-transformers opens too; the same call goes on with what was begun.

    examples   with a score for each pair, or None for each: pairs that belong together.
    pool       how a text's vector is made, of all tokens or the first.
    low, high  the scores of nothing and of everything in common; None: the lowest and highest of the examples.
    The rest is as in `train_classifier`, and so is what is raised.
    """
    if pool not in get_args(SentencePool):
        raise SpecError(f"pool must be one of {', '.join(get_args(SentencePool))}, not {pool!r}")
    settings = settings or SIMILARITY
    start = begin(model, revision=revision)
    learnt, held = parted(examples, validate, test, held_out=held_out, seed=settings.seed)
    scale = _Scale.of(learnt, low, high)
    if scale is None:
        if settings.batch_tokens is not None:
            raise SpecError("batch_tokens cannot part a batch of pairs without scores, which are told apart in it")
        settings = replace(settings, batch_tokens=WHOLE)
    most = longest(start, max_tokens)
    objective = Similarity(
        SentenceEncoder(start.encoder(settings), pool),
        _encoded(learnt, start, most, scale), None if held is None else _encoded(held, start, most, scale),
    )  # fmt: skip
    tested = None if test is None else _encoded(test, start, most, scale)

    def write(folder: Path) -> str:
        digest = write_checkpoint(folder, start, objective.module.encoder.values())
        _write_recipe(folder, pool, start.architecture.width, most)
        return digest

    return run(
        objective, start, settings, out=Path(out), overwrite=overwrite, watcher=watcher, write=write,
        test=None if tested is None else partial(objective.figures, tested),
        asked={
            "task": "similarity", "pool": pool, "max_tokens": most,
            "low": None if scale is None else scale.low, "high": None if scale is None else scale.high,
            "data": learnt.sha256(), "held_out": None if held is None else held.sha256(),
            "test": None if test is None else test.sha256(),
        },
        about={
            "n": len(learnt), "n_cut": objective.learnt.n_cut, "n_held_out": 0 if held is None else len(held),
        },
    )  # fmt: skip


def ranks(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """The rank of each value [N]; equal ones share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: npt.NDArray[np.float64] = ((last - counts + 1 + last) / 2)[place]
    return found


def correlation(a: npt.NDArray[np.floating[Any]], b: npt.NDArray[np.floating[Any]]) -> float:
    """Pearson's r; 0 where either is constant, so that a model that says one thing of all is no better than chance."""
    x, y = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (a, b))
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else 0.0


@dataclass(frozen=True, slots=True)
class _Scale:
    """Scores as shares of what two texts can have in common."""

    low: float
    high: float

    @classmethod
    def of(cls, examples: Examples[float | None], low: float | None, high: float | None) -> _Scale | None:
        scores = [score for score in examples.labels if score is not None]
        if not scores:
            return None
        if len(scores) != len(examples):
            raise SpecError(f"{len(examples) - len(scores):,} pairs have no score, and others have one")
        found = cls(min(scores) if low is None else low, max(scores) if high is None else high)
        if not found.low < found.high or min(scores) < found.low or max(scores) > found.high:
            raise SpecError(
                f"scores run from {min(scores):g} to {max(scores):g}: low must be below high, and no score beyond them"
            )
        return found


def _encoded(examples: Examples[float | None], start: Start, max_tokens: int, scale: _Scale | None) -> Pairs:
    lacking = [row for row, text in enumerate(examples.texts) if text.pair is None]
    if lacking:
        raise SpecError(f"text {lacking[0]} has no second text: expected Text(first, pair=second)")
    sides = ([Text(text.text) for text in examples.texts], [Text(text.pair or "") for text in examples.texts])
    (first, n_first), (second, n_second) = (whole_sequences(side, start, max_tokens=max_tokens) for side in sides)
    scores = None
    if scale is not None:
        if None in examples.labels:
            raise SpecError(
                f"text {examples.labels.index(None)} has no score, and what is learnt from has one for each"
            )
        values = np.array(examples.labels, np.float64)
        scores = ((values - scale.low) / (scale.high - scale.low)).astype(np.float32)
    return Pairs(first, second, scores, n_first + n_second)


def _write_recipe(folder: Path, pool: SentencePool, width: int, max_tokens: int) -> None:
    """What sentence-transformers reads: which vector stands for a text."""
    for path in sorted(folder.glob("[0-9]_*")):
        for inside in path.iterdir():
            inside.unlink()
        path.rmdir()
    name = "sentence_transformers.models."
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{name}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{name}Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{name}Normalize"},
    ]
    write_json(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    kinds = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": width, **{key: kind == pool for kind, key in kinds.items()}},
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
