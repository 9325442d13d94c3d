"""Proves the figures of attention heads against loops over single weights, and that a page stores what it shows."""

from __future__ import annotations

import gzip
import math
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.attention.chart import attention_chart
from lamina.apps.attention.figures import MEASURES, HeadFigures, by_head, by_layer, head_figures
from lamina.apps.attention.page import _packed, attention_page, thousandths
from lamina.apps.charts import save
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor


@dataclass(frozen=True)
class Made:
    """Weights by hand, [L, H, U, U]."""

    units: pa.Table
    weights: np.ndarray
    layers: tuple[int, ...] = (1, 4)
    heads: tuple[int, ...] = (0, 2, 3)


def made(U: int, seed: int, special: list[bool] | None = None, **held: tuple[int, ...]) -> Made:
    weights = np.random.default_rng(seed).dirichlet(np.full(U, 0.3), (2, 3, U)).astype(np.float32)
    flags = special or [i in (0, U - 1) for i in range(U)]
    return Made(pa.table({"surface": [f"w{i}" for i in range(U)], "special": flags}), weights, **held)


def slowly(texts: list[Made], place: int, head: int) -> dict[str, float]:
    sums, n = dict.fromkeys(MEASURES, 0.0), 0
    for text in texts:
        special, matrix = text.units["special"].to_pylist(), text.weights[place, head].astype(float)
        for i, row in enumerate(matrix):
            if special[i] or math.isnan(row[0]):
                continue
            n += 1
            ordinary = sum(w for j, w in enumerate(row) if not special[j])
            sums["entropy"] -= sum(w * math.log2(w) for w in row if w > 0)
            sums["distance"] += sum(w * abs(i - j) for j, w in enumerate(row) if not special[j]) / ordinary
            sums["cls"] += row[0] if special[0] else 0
            sums["sep"] += sum(w for j, w in enumerate(row) if special[j] and j)
            sums["previous"] += row[i - 1] if i and not special[i - 1] else 0
            sums["itself"] += row[i]
            sums["next"] += row[i + 1] if i + 1 < len(row) and not special[i + 1] else 0
    sums["special"] = sums["cls"] + sums["sep"]
    return {name: total / n for name, total in sums.items()}


def test_figures_are_those_of_loops() -> None:
    texts = [made(6, 1), made(9, 2), made(4, 3, special=[False] * 4)]
    texts[1].weights[:, :, 3] = np.nan  # a word without any token
    found = head_figures(iter(texts))
    assert [(one.layer, one.head) for one in found] == [(1, 0), (1, 2), (1, 3), (4, 0), (4, 2), (4, 3)]
    for one, row in zip(found, by_head(found), strict=True):
        expected = slowly(texts, (1, 4).index(one.layer), (0, 2, 3).index(one.head))
        assert {name: row[name] for name in MEASURES} == pytest.approx(expected, abs=1e-6)


def test_a_layer_is_the_mean_of_its_heads() -> None:
    found = head_figures([made(6, 1)])
    rows = by_layer(found)
    assert [row["layer"] for row in rows] == [1, 4]
    assert rows[1]["distance"] == pytest.approx(sum(one.distance for one in found[3:]) / 3)


def test_a_head_that_looks_at_the_next_word_does_so() -> None:
    weights = np.zeros((1, 1, 5, 5), np.float32)
    for i in range(5):
        weights[0, 0, i, min(i + 1, 4)] = 1
    text = Made(pa.table({"surface": list("abcde"), "special": [False] * 5}), weights, (1,), (0,))
    (one,) = head_figures([text])
    assert one == HeadFigures(1, 0, 0, 0.8, 0, 0, 0, 0, 0.2, 0.8)


def test_a_head_that_was_taken_out_is_left_out() -> None:
    whole, text = made(6, 1), made(6, 1)
    text.weights[1, 0] = np.nan
    found = head_figures([text])
    assert found == [one for one in head_figures([whole]) if (one.layer, one.head) != (4, 0)]
    assert by_layer(found)[1]["entropy"] == pytest.approx((found[3].entropy + found[4].entropy) / 2)
    assert _packed(text)["weights"][0] == _packed(whole)["weights"][0]
    planes = np.frombuffer(gzip.decompress(b64decode(_packed(text)["weights"][1])), np.uint8).reshape(2, 4, 6, 6)
    mean, gone = (planes[0, k] + 256 * planes[1, k].astype(int) for k in (0, 1))
    np.testing.assert_allclose(mean / 10000, text.weights[1, 1:].mean(axis=0), atol=1e-4)
    assert (gone == 65535).all()


def test_what_cannot_be_counted_is_said() -> None:
    empty = Made(
        pa.table({"surface": pa.array([], pa.string()), "special": pa.array([], pa.bool_())}), np.zeros((2, 3, 0, 0))
    )
    for texts in ([], [empty], [made(2, 1)]):
        with pytest.raises(SpecError, match="no attention to count"):
            head_figures(texts)
    with pytest.raises(SpecError, match="different layers"):
        head_figures([made(6, 1), made(6, 1, layers=(1, 2))])
    with pytest.raises(SpecError, match="no text"):
        attention_page([empty], [])


def test_weights_are_stored_as_they_are_shown() -> None:
    text = made(7, 5)
    text.weights[0, 1, 2] = np.nan
    packed = _packed(text)
    for k, layer in enumerate(packed["weights"]):
        low_high = np.frombuffer(gzip.decompress(b64decode(layer)), np.uint8).reshape(2, -1)
        read = (low_high[0].astype(int) | (low_high[1].astype(int) << 8)).reshape(4, 7, 7)
        for h in range(4):
            exact = text.weights[k].mean(axis=0) if h == 0 else text.weights[k, h - 1]
            for i in range(7):
                for j in range(7):
                    nan = math.isnan(exact[i, j])
                    assert read[h, i, j] == 65535 if nan else f"{read[h, i, j] / 10000:.4f}" == f"{exact[i, j]:.4f}"
    assert thousandths(np.array([[0, 1, np.nan]], np.float32)).tolist() == [[0, 10000, 65535]]


def test_a_models_heads(minilm: Extractor, tmp_path: Path) -> None:
    texts = minilm.attention(["The river burst its bank.", "Nobody came."], unit="word")
    found = head_figures(texts)
    assert len(found) == 72
    for one in found:
        assert 0 <= one.entropy <= math.log2(8)
        assert one.special == pytest.approx(one.cls + one.sep)
    save(attention_chart(found, title="Heads"), tmp_path / "heads.svg")
    assert (tmp_path / "heads.svg").read_text().count("<path") > 72 * 6
