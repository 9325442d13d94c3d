"""The texts of the corpus, and how each tokenizer reads them: made once a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from lamina.spec import Unit
from lamina.text.text import Text
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.text.tokens import Tokens
from lamina.text.units import Units, make_units
from tests.languages.corpus import TOKENIZERS, corpus, save_tokenizer

KINDS: tuple[Unit, ...] = ("text", "sentence", "word", "token")


@dataclass(frozen=True)
class Reading:
    """The corpus as one tokenizer reads it: its tokens, and the units of each kind."""

    folder: Path
    tokenizer: Tokenizer
    tokens: Tokens
    units: dict[Unit, Units]


@pytest.fixture(scope="session")
def texts(shared_data: Path) -> list[str]:
    found = corpus(shared_data)
    assert len(found) > 3000
    return found


@pytest.fixture(scope="session")
def read_by(texts: list[str], shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reading]:
    """The corpus read by one of `TOKENIZERS`, by name."""

    @cache
    def read(name: str) -> Reading:
        folder = save_tokenizer(tmp_path_factory.mktemp(name), name, shared_data)
        tokenizer = load_tokenizer(folder)
        tokens = tokenizer.encode(texts)
        held = [Text(text) for text in texts]
        return Reading(folder, tokenizer, tokens, {kind: make_units(kind, held, tokens) for kind in KINDS})

    return read


@pytest.fixture(params=TOKENIZERS)
def reading(request: pytest.FixtureRequest, read_by: Callable[[str], Reading]) -> Reading:
    return read_by(request.param)
