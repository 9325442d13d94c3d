"""Learning to guess masked tokens, and whether sentences follow one another: the objective of pretraining.

Shapes: B passages of T tokens laid end to end, M of them masked, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.engine.batch import Batch, Int32
from lamina.engine.torch_encoder import TorchEncoder
from lamina.errors import CheckpointError, SpecError
from lamina.extraction.head import MASKS
from lamina.model.heads import WORD_TABLE
from lamina.model.random_weights import drawn
from lamina.model.weights import FloatArray
from lamina.text.tokenizer import Tokenizer
from lamina.train.batching import Int64, in_batches
from lamina.train.folder import write_checkpoint
from lamina.train.heads import Step, TaskLayers, new_head
from lamina.train.masking import Masking, draw_masks
from lamina.train.model import last_states, pooled
from lamina.train.objective import Loss
from lamina.train.passages import OverPassages, Passages
from lamina.train.settings import Settings
from lamina.train.start import Start

EVALUATED = 4_096  # held-out passages, at most, spread evenly
TOGETHER = 8_192  # tokens evaluated at once: their masks are drawn together, so that another number is another figure
HELD_OUT_MASKS = 7  # with the seed and a batch's number, what the masks of an evaluation are drawn from
TYPES = 2  # segments, of a pair

# What transformers' BertForPreTraining puts on the first state: names, and their shapes by the width D.
POOLER, RELATIONSHIP = "pooler.dense", "cls.seq_relationship"


@dataclass(frozen=True, slots=True)
class Guesses:
    """A batch with masks. places [M] among its tokens; targets [M]; follows [B], empty where nobody asks."""

    batch: Batch
    places: Int64
    targets: Int64
    follows: Int64


@dataclass(frozen=True, slots=True)
class Masks:
    """How passages are masked: by which token, and which ids are ordinary ones [V']."""

    masking: Masking
    mask_id: int
    ordinary: Int32
    special: Int32

    @classmethod
    def of(cls, tokenizer: Tokenizer, masking: Masking) -> Masks:
        """For a tokenizer. Raises CheckpointError where it has no mask."""
        found = (tokenizer.backend.token_to_id(name) for name in MASKS)
        mask_id = next((one for one in found if one is not None), None)
        if mask_id is None:
            raise CheckpointError(f"{tokenizer.source} has no {' or '.join(MASKS)}: nothing can be masked")
        added = tokenizer.backend.get_added_tokens_decoder()
        special = np.array(sorted(i for i, token in added.items() if token.special), np.int32)
        ids = np.array(sorted(tokenizer.backend.get_vocab(with_added_tokens=True).values()), np.int32)
        return cls(masking, mask_id, np.setdiff1d(ids, special), special)

    def draw(self, passages: Passages, which: Sequence[int], rng: np.random.Generator) -> Guesses:
        """Some passages with masks of their own."""
        flat = passages.examples(which, rng)
        masked = draw_masks(
            flat.ids, flat.bounds, may=~flat.special & ~np.isin(flat.ids, self.special), inside=flat.inside,
            masking=self.masking, mask_id=self.mask_id, ordinary=self.ordinary, rng=rng,
        )  # fmt: skip
        return Guesses(flat.batch(masked.ids), masked.places, masked.targets, flat.follows)


class Guesser(nn.Module):
    """An encoder, what guesses tokens, and where `following` is there, what guesses whether sentences follow."""

    def __init__(self, encoder: TorchEncoder, head: TaskLayers, following: TaskLayers | None) -> None:
        super().__init__()
        self.encoder, self.head, self.following = encoder, head, following

    def forward(self, guesses: Guesses) -> tuple[Tensor, Tensor | None]:
        """Logits of the masked tokens [M, V], and of the pairs [B, 2]; float32."""
        states = last_states(self.encoder, guesses.batch)
        masked = states.index_select(0, _sent(guesses.places, states))
        tokens = self.head(masked, self.encoder.weight(WORD_TABLE)).float()
        if self.following is None:
            return tokens, None
        return tokens, self.following(pooled(states, guesses.batch, "cls")).float()

    def write(self, folder: Path, start: Start) -> str:
        """Write it as a checkpoint; the sha256 of its weights comes back."""
        head = self.head.values() | ({} if self.following is None else self.following.values())
        return write_checkpoint(
            folder, start, self.encoder.values(), head, task="masked_lm",
            class_name=None if self.following is None else "BertForPreTraining",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Guessing(OverPassages):
    """The objective: mean cross entropy of the masked tokens, and of pairs added to it.

    held_out  passages that figures are of, None: none.
    """

    module: Guesser
    masks: Masks
    learnt: Passages
    held_out: Passages | None
    seed: int

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> Guesses:
        return self.masks.draw(self.learnt, examples, rng)

    def loss(self, batch: Guesses) -> Loss:
        tokens, pairs = self.module(batch)
        total = functional.cross_entropy(tokens, _sent(batch.targets, tokens), reduction="sum")
        weight = batch.targets.size
        if pairs is not None:  # so weighed that dividing by the masked tokens leaves the mean over the pairs
            found = functional.cross_entropy(pairs, _sent(batch.follows, pairs))
            total = total + found * weight
        return Loss(total, float(weight))

    def evaluate(self) -> Mapping[str, float]:
        """`loss` of a masked token (and a pair), `accuracy` of guessed tokens, `perplexity` of those; with pairs
        `next_accuracy`. The masks are the same ones every time."""
        sums = [0.0] * 4  # losses and right guesses, of tokens and of pairs
        n_pairs = n_tokens = 0
        for guesses in self._held_out():
            tokens, pairs = self.module(guesses)
            targets = _sent(guesses.targets, tokens)
            sums[0] += float(functional.cross_entropy(tokens, targets, reduction="sum"))
            sums[1] += int((tokens.argmax(1) == targets).sum())
            n_tokens += guesses.targets.size
            if pairs is not None:
                follows = _sent(guesses.follows, pairs)
                sums[2] += float(functional.cross_entropy(pairs, follows, reduction="sum"))
                sums[3] += int((pairs.argmax(1) == follows).sum())
                n_pairs += guesses.follows.size
        if not n_tokens:
            return {}
        loss = sums[0] / n_tokens
        figures = {"loss": loss, "accuracy": sums[1] / n_tokens, "perplexity": exp(min(loss, 700.0))}
        if n_pairs:
            figures |= {"loss": loss + sums[2] / n_pairs, "next_accuracy": sums[3] / n_pairs}
        return figures

    def _held_out(self) -> Iterator[Guesses]:
        if self.held_out is None:
            return
        lengths = self.held_out.lengths()
        rows = np.unique(np.linspace(0, lengths.size - 1, min(EVALUATED, lengths.size)).round().astype(np.int64))
        for number, which in enumerate(in_batches(lengths[rows], TOGETHER)):
            rng = np.random.default_rng([self.seed, HELD_OUT_MASKS, number])
            yield self.masks.draw(self.held_out, rows[which].tolist(), rng)


def new_guesser(start: Start, settings: Settings, *, next_sentences: bool) -> Guesser:
    """A checkpoint's encoder with the heads of pretraining; what it lacks of them is drawn.

    Raises CheckpointError where no such head is known of the family, SpecError for pairs where it has no segments.
    """
    head = new_head(start, "masked_lm", labels=(), dropout=0.0, seed=settings.seed)
    return Guesser(start.encoder(settings), head, _following(start, settings.seed) if next_sentences else None)


def _following(start: Start, seed: int) -> TaskLayers:
    arch = start.architecture
    if arch.family != "bert" or arch.n_types < TYPES:
        raise SpecError(
            f"next sentences are learnt by models of family bert with {TYPES} segments; this is {arch.family} with "
            f"{arch.n_types}"
        )
    shapes = {POOLER: (arch.width, arch.width), RELATIONSHIP: (2, arch.width)}
    values = {}
    for name, shape in shapes.items():
        values[f"{name}.weight"] = _stored_or(start, f"{name}.weight", drawn(f"{name}.weight", shape, seed=seed))
        values[f"{name}.bias"] = _stored_or(start, f"{name}.bias", np.zeros(shape[0], np.float32))
    steps = [
        Step(f"{POOLER}.weight", f"{POOLER}.bias", is_norm=False, activation="tanh"),
        Step(f"{RELATIONSHIP}.weight", f"{RELATIONSHIP}.bias", is_norm=False),
    ]
    return TaskLayers(steps, values, eps=arch.eps, dropout=0.0)


def _stored_or(start: Start, name: str, fresh: FloatArray) -> FloatArray:
    stored = start.weights.others.get(name)
    return fresh if stored is None or stored.shape != fresh.shape else stored.float32()


def _sent(numbers: Int64, beside: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(beside.device)
