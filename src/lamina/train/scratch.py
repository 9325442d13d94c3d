"""A BERT that has learnt nothing: its configuration, random weights and vocabulary as an ordinary model folder.

Pretraining from nothing is continued pretraining of such a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.dataset.durable import write_json
from lamina.errors import CheckpointError, SpecError
from lamina.model.architecture import Architecture, architecture_of
from lamina.model.checkpoint import CONFIG, SINGLE, find_checkpoint
from lamina.model.config import MAX_BYTES, config_of
from lamina.model.inventory import weight_shapes
from lamina.model.random_weights import DEVIATION, drawn
from lamina.model.weights import FloatArray
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.train.folder import copy_tokenizer
from lamina.train.state import write_tensors
from lamina.train.vocabulary import FREQUENCY, SIZE, train_vocabulary

HEAD_WIDTH = 64  # of every BERT that Devlin et al. 2019 and Turc et al. 2019 have published
FFN_TIMES = 4  # likewise

# Our names of BERT's tensors as its checkpoints call them: patterns and replacements, from top to bottom.
STORED = (
    (r"^embeddings\.(word|position)\.", r"embeddings.\1_embeddings."),
    (r"^embeddings\.type\.", "embeddings.token_type_embeddings."),
    (r"^embeddings\.norm\.", "embeddings.LayerNorm."),
    (r"^layers\.", "encoder.layer."),
    (r"\.attention\.(query|key|value)\.", r".attention.self.\1."),
    (r"\.attention\.output\.", ".attention.output.dense."),
    (r"\.attention\.norm\.", ".attention.output.LayerNorm."),
    (r"\.ffn\.up\.", ".intermediate.dense."),
    (r"\.ffn\.down\.", ".output.dense."),
    (r"\.ffn\.norm\.", ".output.LayerNorm."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """What a new BERT is to be.

    heads, ffn_width  None: a head for every 64 numbers of width, a feed-forward four times as wide.
    max_positions     the longest input that it can ever take, in tokens.
    config            a config.json of model_type bert that says all of this instead.
    tokenizer         a model whose tokenizer is taken: minilm, a folder or a hub id; None: one is learnt from the
                      texts, of `vocabulary_size` tokens at most, as the options that follow say (vocabulary.py).
    """

    layers: int = 12
    width: int = 768
    heads: int | None = None
    ffn_width: int | None = None
    max_positions: int = 512
    config: str | Path | None = None
    tokenizer: str | Path | None = None
    vocabulary_size: int = SIZE
    cased: bool = False
    accents: bool | None = None
    chinese: bool = True
    min_frequency: int = FREQUENCY

    @property
    def longest(self) -> int:
        """The longest input that it can ever take. Raises SpecError, CheckpointError."""
        return architecture_of(
            config_of(self._config() | {"vocab_size": 1}, str(self.config or "new model"))
        ).max_tokens

    def write(self, folder: Path, texts: Iterable[str], *, seed: int) -> None:
        """Write the model folder; `texts` are read where a vocabulary is learnt, several times.

        Raises SpecError, CheckpointError, SourceError.
        """
        config = self._config()
        tokenizer = self._tokenizer(folder, texts, self.longest)  # its shape is checked before the work begins
        config["vocab_size"] = tokenizer.n_ids
        config["pad_token_id"] = tokenizer.backend.token_to_id("[PAD]") or 0
        arch = architecture_of(config_of(config, str(folder / CONFIG)))
        write_json(folder / CONFIG, config)
        write_tensors(folder / SINGLE, _random(arch, seed), {"format": "pt"})

    def _config(self) -> dict[str, Any]:
        if self.config is not None:
            return _read(Path(self.config))
        heads = self.heads or max(1, self.width // HEAD_WIDTH)
        if self.width < 1 or self.width % heads:
            raise SpecError(f"width must be a multiple of the number of heads, {heads}, not {self.width}")
        return {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "intermediate_size": self.ffn_width or FFN_TIMES * self.width,
            "max_position_embeddings": self.max_positions,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "initializer_range": DEVIATION,
        }

    def _tokenizer(self, folder: Path, texts: Iterable[str], max_tokens: int) -> Tokenizer:
        if self.tokenizer is not None:
            copy_tokenizer(find_checkpoint(self.tokenizer).folder, folder, with_recipe=False)
            return load_tokenizer(folder)
        vocabulary = train_vocabulary(
            texts, size=self.vocabulary_size, cased=self.cased, accents=self.accents, chinese=self.chinese,
            min_frequency=self.min_frequency,
        )  # fmt: skip
        return vocabulary.save(folder, max_tokens=max_tokens)


def _read(path: Path) -> dict[str, Any]:
    """A config.json of a BERT, without what a checkpoint's head or its own numbers have said."""
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as a config.json: {error}") from None
    if not isinstance(found, dict) or found.get("model_type") != "bert":
        raise CheckpointError(
            f"{path} is no config of model_type bert, which pretraining begins with; a model of another family is "
            "trained further with --model"
        )
    dropped = ("quantization_config", "torch_dtype", "dtype", "id2label", "label2id", "lamina_heads", "lamina_ffn_rank")
    return {key: value for key, value in found.items() if key not in dropped} | {"architectures": ["BertModel"]}


def _random(arch: Architecture, seed: int) -> Mapping[str, FloatArray]:
    """Every tensor as before pretraining: matrices from a normal distribution, norms the identity, biases zero."""
    return {_stored(name): _value(name, shape, seed) for name, shape in weight_shapes(arch).items()}


def _value(name: str, shape: tuple[int, ...], seed: int) -> FloatArray:
    if len(shape) < 2:
        return np.full(shape, float(name.endswith("norm.weight")), np.float32)
    return drawn(name, shape, seed=seed)


def _stored(name: str) -> str:
    for pattern, replacement in STORED:
        name = re.sub(pattern, replacement, name, count=1)
    return name
