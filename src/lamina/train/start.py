"""What training starts from: a checkpoint's architecture, values and tokenizer, ready to become a module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lamina.engine.torch_encoder import TorchEncoder
from lamina.engine.torch_operations import Dropout
from lamina.model.architecture import Architecture, Family, architecture_of, family_of
from lamina.model.checkpoint import Checkpoint, find_checkpoint
from lamina.model.config import Config, read_config
from lamina.model.weights import Weights, read_weights
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.train.settings import Settings

# What configs call the dropout of states and of attention weights; where none of it is there, `transformers` takes 0.1,
# and 0 for the last two families.
STATES = ("hidden_dropout_prob", "dropout", "mlp_dropout", "resid_pdrop")
ATTENTION = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
WITHOUT = ("modernbert", "nomic_bert")


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint, read."""

    checkpoint: Checkpoint
    config: Config
    family: Family
    architecture: Architecture
    weights: Weights
    tokenizer: Tokenizer

    def encoder(self, settings: Settings) -> TorchEncoder:
        """The encoder as a module, with the dropout that settings or the config ask for."""
        return TorchEncoder(self.architecture, self.weights, dropout=self.dropout(settings))

    def dropout(self, settings: Settings) -> Dropout:
        """What is dropped while training."""
        states, attention = settings.dropout, settings.attention_dropout
        return Dropout(
            self._configured(STATES) if states is None else states,
            self._configured(ATTENTION) if attention is None else attention,
        )

    def _configured(self, keys: tuple[str, ...]) -> float:
        default = 0.0 if self.architecture.family in WITHOUT else 0.1
        return float(next((self.config.values[key] for key in keys if key in self.config.values), default))


def begin(model: str | Path, *, revision: str | None = None) -> Start:
    """Read a checkpoint: minilm, a folder or a hub id. Raises CheckpointError."""
    checkpoint = find_checkpoint(model, revision=revision)
    config = read_config(checkpoint.config_path, head=True)
    arch, family = architecture_of(config), family_of(config)
    weights = read_weights(checkpoint.weight_files(), arch, family)
    return Start(checkpoint, config, family, arch, weights, load_tokenizer(checkpoint.folder))
