"""Seeded random checkpoints, written by transformers, for tests that need a model but not a good one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    + list(".,;:!?'-()")
    + list("0123456789")
    + list("abcdefghijklmnopqrstuvwxyz")
    + [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    + ["the", "river", "bank", "##ing", "##ed", "##s", "河", "水", "大"]
)

DEEP = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 80}
TINY = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 12,
    "max_position_embeddings": 16, "type_vocab_size": 1,
}  # fmt: skip


def save_bert(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a BertModel whose every number is random, biases and norms too, with a tokenizer of `VOCABULARY`."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    model = BertModel(BertConfig(**{"vocab_size": len(VOCABULARY), "max_position_embeddings": 64} | config))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim == 2:  # wide enough that attention is no plain average
                tensor.normal_(0, 1.5 / tensor.shape[1] ** 0.5 if "embeddings" not in name else 1.0)
            else:
                tensor.normal_(1.0 if "LayerNorm.weight" in name else 0.0, 0.1)
    model.save_pretrained(folder)
    save_vocabulary(folder)
    return folder


def save_vocabulary(folder: Path, tokens: list[str] = VOCABULARY, **config: Any) -> Path:
    """Write `vocab.txt` and `tokenizer_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_bytes("".join(f"{token}\n" for token in tokens).encode())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"} | config))
    return folder
