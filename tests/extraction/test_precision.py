"""Proves that the cost of a precision is measured, that `auto` takes the fastest close one, and is found out once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.engine.batch import Batch, Precision, Program, Reduced
from lamina.extraction import engines, precision
from lamina.extraction.extractor import Extractor
from lamina.extraction.precision import Cost, fastest, measure, text_batches
from lamina.model import kept
from lamina.model.inventory import n_operations
from lamina.text.sample import sample

TEXTS = ["the", "a river"]  # short: a window each


@dataclass
class Turned:
    """An engine whose vectors are those of another one, turned a little."""

    of: Extractor
    precision: Precision
    by: float

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        for reduced in self.of.engine.run(program, batches):
            yield tuple(tuple(x + self.by * np.roll(x, 1, axis=1) for x in of_kind) for of_kind in reduced)


def batches_of(model: Extractor) -> list[Batch]:
    return text_batches(TEXTS, model.architecture, model.tokenizer, batch_tokens=64)


def test_cosines_are_those_of_the_vectors(tiny: Extractor) -> None:
    costs = measure([tiny.engine, Turned(tiny, "int8", 0.3)], tiny.architecture, batches_of(tiny))  # type: ignore[list-item]
    assert costs[0].mean == pytest.approx([1.0, 1.0])
    assert costs[0].is_close
    emb = tiny.extract(TEXTS, pool="sum")
    for layer in emb.layers:
        x = emb.layer(layer).astype(np.float64)
        y = x + 0.3 * np.roll(x, 1, axis=1)
        cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        assert costs[1].mean[layer] == pytest.approx(cosines.mean(), abs=1e-6)
        assert costs[1].worst[layer] == pytest.approx(cosines.min(), abs=1e-6)
    assert not costs[1].is_close
    assert costs[0].n_tokens == sum(int(batch.lengths.sum()) for batch in batches_of(tiny))


def test_the_fastest_close_precision_is_taken(monkeypatch: pytest.MonkeyPatch, tiny: Extractor) -> None:
    base = Cost("float32", 3.0, 10, (1.0,), (1.0,))
    costs = [
        base,
        replace(base, precision="bfloat16", seconds=2.0),
        replace(base, precision="float16", seconds=1.0, worst=(0.9,)),
    ]
    monkeypatch.setattr(precision, "measure", lambda *_: costs)
    chosen = fastest(("float32", "bfloat16", "float16"), lambda _: None, tiny.architecture, [])  # type: ignore[arg-type,return-value]
    assert chosen == "bfloat16"


def test_what_auto_found_is_found_once(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "kept_folder", lambda: tmp_path)
    asked = []
    monkeypatch.setattr(engines, "fastest", lambda *_: asked.append(1) or "float32")
    for _ in range(2):
        assert lamina.load(tiny_bert, precision="auto").engine.precision == "float32"
    assert len(asked) <= 1  # none where float32 is all that there is
    assert len(list(tmp_path.iterdir())) == len(asked)


def test_a_calibration_is_found_once(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "kept_folder", lambda: tmp_path)
    first = lamina.load(tiny_bert, precision="int8").extract(["some text"])
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    again = lamina.load(tiny_bert, precision="int8").extract(["some text"])
    assert path.stat().st_mtime_ns == before
    np.testing.assert_array_equal(first.layer(-1), again.layer(-1))
    path.write_bytes(b"\x00" * 64)  # a damaged file counts as none
    np.testing.assert_array_equal(
        lamina.load(tiny_bert, precision="int8").extract(["some text"]).layer(-1), first.layer(-1)
    )
    assert path.read_bytes() != b"\x00" * 64


def test_without_a_cache_it_works_all_the_same(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "kept_folder", lambda: None)
    assert lamina.load(tiny_bert, precision="int8").extract(["some text"]).layer(-1).shape[0] == 1


def test_operations_are_those_of_bert(minilm: Extractor) -> None:
    """2 (4 D² + 2 D F) a token and layer, and 4 n D for n places attended to: Hoffmann et al. 2022, appendix F."""
    arch = minilm.architecture
    D, F = arch.width, arch.ffn_width
    for lengths, highest in (([128], 6), ([7, 30], 6), ([128], 3)):
        expected = sum(highest * n * (2 * (4 * D * D + 2 * D * F) + 4 * n * D) for n in lengths)
        assert n_operations(arch, lengths, highest=highest) == expected


def test_the_sample_is_many_texts_in_many_scripts() -> None:
    texts = sample()
    assert len(texts) == len(set(texts)) > 40
    assert any("\u4e00" <= c <= "\u9fff" for text in texts for c in text)
    assert max(map(len, texts)) > 500
