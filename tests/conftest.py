"""Models and data that the whole suite shares: each is made once a session and never changed."""

from __future__ import annotations

import os

# No test may reach the network: huggingface_hub and transformers read these when they are imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

from collections.abc import Callable
from pathlib import Path

import pytest

import lamina
from lamina.extraction.extractor import Extractor
from lamina.model.checkpoint import find_checkpoint
from tests.checkpoints import DEEP, TINY, save_bert
from tests.oracle import Oracle, load_oracle
from tests.samples import SHARED_DATA


@pytest.fixture(scope="session")
def minilm() -> Extractor:
    """The bundled model on the default engine."""
    return lamina.load("minilm")


@pytest.fixture(scope="session")
def minilm_reference() -> Extractor:
    """The bundled model in plain numpy."""
    return lamina.load("minilm", engine="reference")


@pytest.fixture(scope="session")
def minilm_oracle() -> Oracle:
    """The bundled model in transformers."""
    return load_oracle(find_checkpoint("minilm").folder)


@pytest.fixture(scope="session")
def random_bert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with a random BERT of the configuration given; the same one is made once."""
    made: dict[str, Path] = {}

    def make(**config: object) -> Path:
        key = repr(sorted(config.items()))
        if key not in made:
            made[key] = save_bert(tmp_path_factory.mktemp("bert"), **config)
        return made[key]

    return make


@pytest.fixture(scope="session")
def deep_bert(random_bert: Callable[..., Path]) -> Path:
    """Twelve narrow layers, 64 positions."""
    return random_bert(**DEEP)


@pytest.fixture(scope="session")
def tiny_bert(random_bert: Callable[..., Path]) -> Path:
    """One layer, one head, one segment type, 16 positions."""
    return random_bert(**TINY)


@pytest.fixture(scope="session")
def deep(deep_bert: Path) -> Extractor:
    return lamina.load(deep_bert)


@pytest.fixture(scope="session")
def tiny(tiny_bert: Path) -> Extractor:
    return lamina.load(tiny_bert)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data sets that are no part of the project: LAMINA_DATA, or shared/data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the shared data sets, which are not at {SHARED_DATA} (LAMINA_DATA names another place)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def native_bfloat16() -> None:
    """Skips where this CPU has no native bfloat16."""
    import openvino as ov

    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no native bfloat16")
