"""Proves that words and spans that come with a text are taken exactly, and that nothing given is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.extraction.extractor import Extractor

WORDS = ["The", "U.S.", "", "don't", "naïve", "\u200b", "東京", "end"]


def test_every_given_word_has_its_row_in_order(minilm: Extractor) -> None:
    found = minilm.extract([lamina.Text.of_words(WORDS), lamina.Text.of_words(["one"])], unit="word", layers=2)
    assert found.units["surface"].to_pylist() == [*WORDS, "one"]
    status = dict(zip(WORDS, found.units["status"].to_pylist(), strict=False))
    assert status[""] == status["\u200b"] == "dropped"
    assert status["U.S."] == status["東京"] == "ok"
    nothing = np.isnan(found.layer(2)).all(axis=1)
    assert nothing.tolist() == [word in ("", "\u200b") for word in [*WORDS, "one"]]


def test_a_given_word_is_the_mean_of_its_pieces(minilm: Extractor) -> None:
    text = lamina.Text.of_words(["embeddings", "flow"])
    word = minilm.extract([text], unit="word", layers=3)
    tokens = minilm.extract([text], unit="token", layers=3)
    pieces = [place for place, row in enumerate(tokens.units.to_pylist()) if row["end"] <= 10 and not row["special"]]
    assert len(pieces) > 1
    np.testing.assert_allclose(word.layer(3)[0], tokens.layer(3)[pieces].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_spans_may_overlap_and_nest(minilm: Extractor) -> None:
    string = "We sat on the river bank"
    spans = [(0, len(string)), (14, 24), (14, 19), (20, 24), (20, 24), (3, 3)]
    found = minilm.extract([lamina.Text.with_spans(string, spans), "no spans"], unit="span", layers=5)
    assert found.units["surface"].to_pylist() == [string[start:end] for start, end in spans]
    rows = found.layer(5)
    assert np.array_equal(rows[3], rows[4])
    np.testing.assert_allclose(rows[1], (rows[2] + rows[3]) / 2, rtol=1e-5, atol=1e-6)
    assert found.units["status"].to_pylist()[-1] == "dropped"


def test_a_span_of_no_character_has_no_token_wherever_it_stands(minilm: Extractor) -> None:
    spans = [(place, place) for place in range(len("We sat") + 1)]
    units = minilm.extract([lamina.Text.with_spans("We sat", spans)], unit="span", layers=0).units
    assert units["n_tokens"].to_pylist() == [0] * len(spans)
    assert set(units["status"].to_pylist()) == {"dropped"}


def test_words_and_spans_may_be_lists(tiny: Extractor) -> None:
    lists = lamina.Text("a b", words=[[0, 1], [2, 3]], spans=[[0, 3]])  # type: ignore[arg-type]
    assert lists == lamina.Text("a b", words=((0, 1), (2, 3)), spans=((0, 3),))
    assert tiny.extract([lists], unit="word").units["surface"].to_pylist() == ["a", "b"]


def test_one_string_is_no_list_of_words() -> None:
    with pytest.raises(lamina.LaminaError, match="put them in a list"):
        lamina.Text.of_words("the river")


@pytest.mark.parametrize("span", [(-1, 2), (2, 1), (0, 99)])
def test_a_span_outside_its_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="characters"):
        lamina.Text.with_spans("short", [span])


def test_files_can_hold_words_spans_and_pairs(minilm: Extractor, tmp_path: Path) -> None:
    from lamina.text.source import Source

    path = tmp_path / "in.jsonl"
    rows = [{"w": ["a", "b"], "t": "a bank", "p": "yes", "s": [[2, 6]], "label": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = lamina.extract(Source(str(path), words="w"), tmp_path / "w", model=minilm, unit="word", layers=0)
    assert words.units["surface"].to_pylist() == ["a", "b"]
    assert words.units["label"].to_pylist() == [1, 1]
    spans = lamina.extract(Source(str(path), text="t", spans="s"), tmp_path / "s", model=minilm, unit="span", layers=0)
    assert spans.units["surface"].to_pylist() == ["bank"]
    pairs = lamina.extract(Source(str(path), text="t", pair="p"), tmp_path / "p", model=minilm, layers=0)
    assert pairs.units["side"].to_pylist() == [0, 1]


@pytest.mark.parametrize("spans", ["[[0, 99]]", "[[0]]", "nonsense", '["a"]', "3"])
def test_a_broken_span_column_names_its_row(tmp_path: Path, spans: str) -> None:
    from lamina.text.source import Source

    path = tmp_path / "in.csv"
    path.write_text('text,spans\nabc,"' + spans.replace('"', '""') + '"\n')
    with pytest.raises(lamina.LaminaError, match="row 0 of column 'spans'"):
        list(Source(str(path), spans="spans").rows())
