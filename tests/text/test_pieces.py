"""Proves that a long text tokenized in pieces has the tokens that it has as a whole, for tokenizers of every kind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzz import samples
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina.text.pieces
from lamina.errors import TextError
from lamina.text.text import Text
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.text.tokens import Tokens
from tests.checkpoints import save_vocabulary
from tests.samples import BARE, TEXTS, prose

KINDS = ("own", *samples.tokenizers())


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Pieces so small that a test has many."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PIECE", 400), ("MARGIN", 120), ("AGREE", 8), ("WHOLE", 200_000)):
            patch.setattr(lamina.text.pieces, name, value)
        yield


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "own":
        return load_tokenizer(save_vocabulary(folder))
    (folder / "tokenizer.json").write_bytes(samples.tokenizers()[request.param])
    return load_tokenizer(folder)


def same(found: Tokens, whole: Tokens) -> bool:
    names = ("ids", "types", "special", "starts", "ends", "bounds", "fixed", "lengths", "totals")
    return all(np.array_equal(getattr(found, name), getattr(whole, name)) for name in names)


@pytest.fixture
def fell_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of texts that were tokenized as a whole after all."""
    found: list[int] = []
    real = lamina.text.pieces._whole
    monkeypatch.setattr(
        lamina.text.pieces, "_whole", lambda text, encode: found.append(len(text)) or real(text, encode)
    )
    return found


def test_prose_in_pieces_is_prose(tokenizer: Tokenizer, fell_back: list[int]) -> None:
    texts = ["short", prose(300), "", prose(40, start=7), Text(prose(60), pair="b"), prose(90, start=3)]
    assert same(tokenizer.encode(texts), tokenizer._encode([Text(t) if isinstance(t, str) else t for t in texts]))
    assert not fell_back


def test_texts_of_every_script_in_pieces_are_themselves(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(30):
        text = rng.choice([" ", "", "\n", " . "]).join(rng.choice(TEXTS + BARE) for _ in range(rng.randint(20, 120)))
        assert same(tokenizer.encode([text]), tokenizer._encode([Text(text)]))


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=30)), min_size=1, max_size=8),
    times=st.integers(1, 60),
)
def test_any_text_in_pieces_is_itself(tokenizer: Tokenizer, parts: list[str], times: int) -> None:
    text = "".join(parts) * times
    assert same(tokenizer.encode([text]), tokenizer._encode([Text(text)]))


@pytest.mark.parametrize(
    "text", ["a" * 5_000, "ab" * 3_000, " " * 5_000, "a" * 300 + " " + "b" * 4_000, "\u0301" * 4_000]
)
def test_where_pieces_disagree_the_text_is_read_as_a_whole(tokenizer: Tokenizer, text: str) -> None:
    assert same(tokenizer.encode([text]), tokenizer._encode([Text(text)]))


def test_a_text_that_can_neither_be_cut_nor_held_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_vocabulary(tmp_path))
    with pytest.raises(
        TextError, match="text 1 has 200,001 characters and no place where the tokenizer could begin anew"
    ):
        tokenizer.encode(["a", "a" * 200_001, "b"])
    with pytest.raises(TextError) as caught:
        tokenizer.encode(["a" * 200_001, "x \ud800", prose(300), "b" * 200_002])
    assert sorted(caught.value.refused) == [0, 1, 3]


def test_only_a_piece_at_a_time_is_in_the_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(save_vocabulary(tmp_path))
    asked: list[int] = []
    real = Tokenizer._encodings
    monkeypatch.setattr(
        Tokenizer, "_encodings", lambda self, texts: asked.append(sum(map(len, texts))) or real(self, texts)
    )
    tokenizer.encode([prose(500)])
    assert len(asked) > 20
    assert max(asked) <= 400 + 2 * 120
