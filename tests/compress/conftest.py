"""A random checkpoint of every family with a tokenizer, and one of them with a head and sentence-transformers files."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lamina.compress.draft import Draft, begin
from lamina.compress.folder import write_model
from lamina.compress.moments import TextTokens
from lamina.compress.storing import StoredPrecision, pieces
from lamina.model.checkpoint import Checkpoint
from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.parity.test_families import CONFIGS, made

# For each family, the variants that its own rules of cutting, pruning or storing tell apart from its first one.
VARIANTS = [
    ("albert", "one group"), ("albert", "two groups"), ("bert", "small"), ("camembert", "small"), ("deberta", "both"),
    ("deberta-v2", "separate"), ("deberta-v2", "wide convolution"), ("distilbert", "small"), ("electra", "projected"),
    ("modernbert", "small"), ("modernbert", "biases"), ("mpnet", "small"), ("nomic_bert", "small"),
    ("roberta", "small"), ("xlm-roberta", "small"),
]  # fmt: skip

# Those of them whose layers differ in what a step looks at: the others are RoBERTa's, and that is BERT's.
DIFFERENT = [key for key in VARIANTS if key[0] not in ("camembert", "electra", "roberta", "xlm-roberta")]

SAMPLE = [
    "The river bank.", "a bank by the river, 河", "x 12 y", "the the the", "banking, banked; banks!", "大水 river",
    "where is the bank?", "4 5 6 7", "the river is (not) a bank", "abc def ghi jkl", "river 水", "the - bank's",
]  # fmt: skip

Checkpoints = Callable[..., Path]


def draft_of(folder: Path) -> Draft:
    return begin(Checkpoint(str(folder), folder))


def written(draft: Draft, folder: Path, precision: StoredPrecision | None = None) -> Path:
    """A draft as a model folder, without what measuring its cost takes."""
    folder.mkdir()
    write_model(folder, draft, pieces(draft, precision), precision)
    return folder


def texts(draft: Draft, n: int = 12) -> list[TextTokens]:
    """Random texts of 1 to n tokens, as ids and types."""
    random = np.random.default_rng(0)
    ids = [random.integers(0, draft.architecture.vocab_size, 1 + k).astype(np.int32) for k in range(n)]
    return [(of_text, np.zeros_like(of_text)) for of_text in ids]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Makes a folder with a random model of a family and variant, the same one once. Nobody changes it."""

    @cache
    def make(family: str, variant: str = "small", head: str | None = None) -> Path:
        config = CONFIGS[family, variant] | {"vocab_size": len(VOCABULARY)}
        folder = made(tmp_path_factory.mktemp("model"), family, head=head, **config)
        return save_vocabulary(folder)

    return make


@pytest.fixture
def sentence_bert(checkpoint: Checkpoints, tmp_path: Path) -> Path:
    """A BERT with sentence-transformers files, a licence, and files that are nobody's to copy."""
    folder = tmp_path / "sentence"
    folder.mkdir()
    for path in checkpoint("bert").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    listed = [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for k, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 24, "pooling_mode_cls_token": true}'
    )
    (folder / "LICENSE").write_text("Everybody may.")
    (folder / "README.md").write_text("Of another model.")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    return folder
