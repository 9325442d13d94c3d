"""Proves that five published vocabularies give transformers' ids in every language, at offsets inside the text."""

from __future__ import annotations

import numpy as np

from tests.languages.conftest import Reading
from tests.languages.corpus import BYTE_LEVEL


def test_ids_are_those_of_transformers(reading: Reading, texts: list[str]) -> None:
    from transformers import BertTokenizerFast, RobertaTokenizerFast

    kind = RobertaTokenizerFast if (reading.folder / "merges.txt").exists() else BertTokenizerFast
    expected = kind.from_pretrained(reading.folder)(texts)["input_ids"]
    tokens = reading.tokens
    ids = np.split(tokens.ids, tokens.bounds[1:-1])
    wrong = [text for text, found, those in zip(texts, ids, expected, strict=True) if found.tolist() != those]
    assert wrong == []
    assert sum(map(len, expected)) == tokens.ids.size > 50 * len(texts)


def test_offsets_stay_inside_the_text_and_never_decrease(reading: Reading, texts: list[str]) -> None:
    tokens = reading.tokens
    text = tokens.text_index
    same = text[1:] == text[:-1]
    assert tokens.lengths.tolist() == [len(one) for one in texts]
    assert (np.diff(tokens.starts)[same] >= 0).all()
    assert (np.diff(tokens.ends)[same] >= 0).all()
    assert (tokens.starts <= tokens.ends).all()
    assert (tokens.starts >= 0).all()
    assert (tokens.ends <= tokens.lengths[text]).all()


def test_only_a_byte_level_token_of_a_space_has_no_character(reading: Reading) -> None:
    """RoBERTa's offsets leave out the space that a token begins with, and may leave nothing."""
    tokens = reading.tokens
    nothing = (tokens.starts == tokens.ends) & ~tokens.special
    names = {reading.tokenizer.piece(int(i)) for i in np.unique(tokens.ids[nothing])}
    if reading.folder.name.startswith(BYTE_LEVEL):
        assert "Ġ" in names
    else:
        assert names == set()
