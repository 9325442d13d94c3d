"""Encoder and head as one module, and a text's vector as a mean or a first state.

Shapes: B sequences, T tokens of all of them laid end to end, D hidden width, C labels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lamina.engine.batch import Batch
from lamina.engine.torch_encoder import TorchEncoder
from lamina.model.heads import HEADS, WORD_TABLE, Task
from lamina.train.heads import TaskLayers, new_head
from lamina.train.settings import Settings
from lamina.train.start import Start

Pool = Literal["token", "cls", "mean"]


class EncoderWithHead(nn.Module):
    """An encoder and a head on its last layer. `pool`: what the head takes, each token or one vector of a sequence."""

    def __init__(self, encoder: TorchEncoder, head: TaskLayers, pool: Pool) -> None:
        super().__init__()
        self.encoder, self.head, self.pool = encoder, head, pool

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, C], or [T, C] where the head takes tokens; float32."""
        return self.logits(pooled(last_states(self.encoder, batch), batch, self.pool))

    def logits(self, states: Tensor) -> Tensor:
        """What the head says of any states [N, D]: [N, C], float32."""
        found: Tensor = self.head(states, self.encoder.weight(WORD_TABLE))
        return found.float()


def with_head(start: Start, task: Task, labels: tuple[str, ...], settings: Settings) -> EncoderWithHead:
    """A checkpoint's encoder with the head of a task. Raises CheckpointError."""
    rates = start.dropout(settings)
    head = new_head(start, task, labels=labels, dropout=rates.states, seed=settings.seed)
    row = HEADS[start.architecture.family][task]
    pool: Pool = start.config.optional(row.pool_key, row.pool) if row.pool_key else row.pool
    return EncoderWithHead(start.encoder(settings), head, pool)


def last_states(encoder: TorchEncoder, batch: Batch) -> Tensor:
    """The states of the last layer, [T, D]."""
    last = encoder.architecture.n_layers
    found: dict[int, Tensor] = encoder(batch, (last,))
    return found[last]


def pooled(states: Tensor, batch: Batch, pool: Pool) -> Tensor:
    """What a head takes of a batch's states [T, D]: all of them, or a row a sequence, [B, D]."""
    if pool == "token":
        return states
    lengths = torch.from_numpy(batch.lengths.astype("int64")).to(states.device)
    if pool == "cls":
        return states.index_select(0, lengths.cumsum(0) - lengths)
    sums = torch.segment_reduce(states.float(), "sum", lengths=lengths)
    return sums / lengths[:, None]
