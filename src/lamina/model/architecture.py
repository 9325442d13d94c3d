"""The table of architectures: how a family's config becomes an `Architecture`, and how its tensors are named.

A family is supported if and only if it has a row in `FAMILIES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lamina.errors import CheckpointError
from lamina.model.config import Config
from lamina.model.operations import Activation

Renames = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """An encoder's numbers: everything that its forward pass needs besides weights."""

    family: str
    n_layers: int
    n_heads: int
    width: int
    ffn_width: int
    vocab_size: int
    n_positions: int
    n_types: int
    eps: float
    activation: Activation
    pad_id: int

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special ones included."""
        return self.n_positions


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table."""

    architecture: Callable[[Config], Architecture]
    renames: Renames  # ordered (pattern, replacement) pairs: a checkpoint's tensor names to ours
    ignored: tuple[str, ...]  # patterns, after renaming, of tensors that the encoder has no use for


# `transformers`' names of activations; several are one function.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def _bert(config: Config) -> Architecture:
    if config.optional("is_decoder", False) or config.optional("add_cross_attention", False):
        raise CheckpointError(f"{config.source} describes a decoder; Lamina reads encoders")
    width, n_heads = config.required("hidden_size"), config.required("num_attention_heads")
    if width % n_heads:
        raise CheckpointError(f"{config.source}: hidden_size {width} is no multiple of num_attention_heads {n_heads}")
    return Architecture(
        family="bert",
        n_layers=config.required("num_hidden_layers"),
        n_heads=n_heads,
        width=width,
        ffn_width=config.required("intermediate_size"),
        vocab_size=config.required("vocab_size"),
        n_positions=config.required("max_position_embeddings"),
        n_types=config.optional("type_vocab_size", 2),
        eps=config.optional("layer_norm_eps", 1e-12),
        activation=ACTIVATIONS[config.optional("hidden_act", "gelu")],
        pad_id=config.optional("pad_token_id", 0),
    )


# Applied from top to bottom, each at most once a name.
_BERT_RENAMES: Renames = (
    (r"^bert\.", ""),  # checkpoints with a head on top (masked language model, classifier) wrap the encoder
    (r"\.gamma$", ".weight"),  # TensorFlow's names for a norm's scale
    (r"\.beta$", ".bias"),  # and shift, in checkpoints converted before 2019
    (r"^embeddings\.word_embeddings\.", "embeddings.word."),
    (r"^embeddings\.position_embeddings\.", "embeddings.position."),
    (r"^embeddings\.token_type_embeddings\.", "embeddings.type."),
    (r"^embeddings\.LayerNorm\.", "embeddings.norm."),
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.attention\.self\.(query|key|value)\.", r".attention.\1."),
    (r"\.attention\.output\.dense\.", ".attention.output."),
    (r"\.attention\.output\.LayerNorm\.", ".attention.norm."),
    (r"\.intermediate\.dense\.", ".ffn.up."),
    (r"^(layers\.\d+)\.output\.dense\.", r"\1.ffn.down."),
    (r"^(layers\.\d+)\.output\.LayerNorm\.", r"\1.ffn.norm."),
)

FAMILIES: dict[str, Family] = {
    "bert": Family(
        architecture=_bert,
        renames=_BERT_RENAMES,
        ignored=(
            r"^embeddings\.position_ids$",  # 0, 1, 2 …: a buffer that old checkpoints stored
            r"^pooler\.",  # a head: tanh(W·[CLS] + b), trained for next-sentence prediction
            r"^cls\.",  # the masked-language-model and next-sentence heads
            r"^(classifier|qa_outputs)\.",  # task heads
        ),
    ),
}


def architecture_of(config: Config) -> Architecture:
    """The Architecture of a config. Raises CheckpointError for a family that is not in the table."""
    return family_of(config).architecture(config)


def family_of(config: Config) -> Family:
    """The row of the table for a config's `model_type`."""
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"{config.source} is of model_type {config.model_type!r}, which Lamina does not know; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]


def canonical_name(name: str, renames: Renames) -> str:
    """Our name for a checkpoint's tensor."""
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name, count=1)
    return name
