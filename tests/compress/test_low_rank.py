"""Feed-forward matrices as products: exact at full rank, the best there is below, and the same in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.compress import low_rank
from lamina.compress.low_rank import rank_of, split
from lamina.compress.moments import watch
from lamina.compress.smaller import compress
from lamina.engine.reference import ReferenceEngine
from lamina.errors import SpecError
from lamina.model.inventory import n_parameters
from tests.compress.conftest import DIFFERENT, SAMPLE, Checkpoints, draft_of, texts, written
from tests.oracle import relative_error
from tests.parity.test_families import assert_parity, case_of, read, states

FFN = ("gate", "up", "down")


@pytest.mark.parametrize(("family", "variant"), DIFFERENT)
def test_both_forms_are_one_function(checkpoint: Checkpoints, tmp_path: Path, family: str, variant: str) -> None:
    draft = draft_of(checkpoint(family, variant))
    whole, small = (split(draft, 9, texts(draft), compatible=compatible) for compatible in (True, False))
    assert whole.architecture == draft.architecture
    assert small.architecture.ffn_rank == 9
    assert n_parameters(small.architecture) < n_parameters(draft.architecture)
    case = case_of(written(whole, tmp_path / "whole"))  # transformers reads it
    assert_parity(ReferenceEngine(*read(case.folder)), read(case.folder)[0], case)
    arch, weights = read(written(small, tmp_path / "small"))
    assert arch == small.architecture
    found = states(ReferenceEngine(arch, weights), arch.n_layers, case.texts)
    for of_text, expected in zip(found, case.expected, strict=True):
        assert all(relative_error(a, b) <= 1e-5 for a, b in zip(of_text, expected, strict=True))


@pytest.mark.parametrize(("family", "variant"), [("bert", "small"), ("modernbert", "small"), ("albert", "one group")])
def test_at_full_rank_nothing_is_lost(checkpoint: Checkpoints, family: str, variant: str) -> None:
    draft = draft_of(checkpoint(family, variant))
    full = split(draft, draft.architecture.width, texts(draft), compatible=True)
    for name in draft.weights.tensors:
        assert relative_error(full.weights[name], draft.weights[name]) <= 1e-5


@pytest.mark.parametrize("family", ["bert", "nomic_bert"])  # with biases and without
def test_no_other_product_of_that_rank_is_closer(
    checkpoint: Checkpoints, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(low_rank, "RIDGE", 0.0)
    draft = draft_of(checkpoint(family))
    given = texts(draft, 40)
    names = [f"layers.1.ffn.{part}" for part in FFN if f"layers.1.ffn.{part}.weight" in draft.weights.tensors]
    inputs = watch(draft, given, inputs=names).inputs
    made = split(draft, 8, given, compatible=True)
    random = np.random.default_rng(0)
    for name in names:
        old, new = (one.weights[f"{name}.weight"].astype(np.float64) for one in (draft, made))
        has_bias = f"{name}.bias" in draft.weights.tensors
        spread = inputs[name].spread(centred=has_bias)

        def lost(weight: np.ndarray, old: np.ndarray = old, spread: np.ndarray = spread) -> float:
            return float(np.trace((weight - old) @ spread @ (weight - old).T))

        variances = np.linalg.eigvalsh(old @ spread @ old.T)[::-1]
        assert np.linalg.matrix_rank(new, tol=1e-4) == 8
        assert lost(new) == pytest.approx(variances[8:].sum(), rel=1e-3)  # Eckart, Young: the least possible
        u, s, v = np.linalg.svd(old)
        assert lost(new) < lost(u[:, :8] * s[:8] @ v[:8])  # what looks at the matrix alone
        for _ in range(20):
            basis = np.linalg.qr(random.normal(size=(len(old), 8)))[0]
            assert lost(new) < lost(basis @ basis.T @ old)
        if has_bias:  # the mean comes out as before
            shift = made.weights[f"{name}.bias"] - draft.weights[f"{name}.bias"]
            assert np.allclose((old - new) @ inputs[name].mean, shift, atol=1e-4)


def test_the_engine_computes_what_the_reference_does(checkpoint: Checkpoints, tmp_path: Path) -> None:
    for family in ("bert", "modernbert"):
        draft = draft_of(checkpoint(family))
        folder = written(split(draft, 6, texts(draft), compatible=False), tmp_path / family)
        found, expected = (lamina.load(folder, engine=name).extract(SAMPLE) for name in ("openvino", "reference"))
        for k in found.layers:
            assert relative_error(found.layer(k), expected.layer(k)) <= 1e-5


def test_a_share_is_one_of_the_numbers(checkpoint: Checkpoints) -> None:
    draft = draft_of(checkpoint("bert"))  # 24 × 40: 960 numbers, rank r has 64 r
    assert rank_of(draft, 0.5) == 7
    assert rank_of(draft, 0.0001) == 1
    assert rank_of(draft, 14) == 14


@pytest.mark.parametrize("rank", [0, 15, 40, "100%", "x", "1.5"])
def test_a_rank_that_saves_nothing(checkpoint: Checkpoints, tmp_path: Path, rank: Any) -> None:
    with pytest.raises(SpecError, match=r"ffn_rank must be (from 1 to 14 .* 40 × 24|a whole number or a share)"):
        compress(checkpoint("bert"), tmp_path / "out", ffn_rank=rank)
    assert not list(tmp_path.iterdir())


def test_a_model_of_low_rank_is_not_split_again(checkpoint: Checkpoints, tmp_path: Path) -> None:
    draft = draft_of(checkpoint("bert"))
    folder = written(split(draft, 6, texts(draft), compatible=False), tmp_path / "once")
    with pytest.raises(SpecError, match="of rank 6 already"):
        compress(folder, tmp_path / "twice", ffn_rank=4)
