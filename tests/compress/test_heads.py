"""Heads removed: which ones, that both forms are one function, and what that function is, by torch on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.compress.draft import Draft
from lamina.compress.heads import importance, kept_heads, remove
from lamina.compress.moments import TextTokens, watch
from lamina.compress.smaller import compress
from lamina.engine.reference import ReferenceEngine
from lamina.errors import CheckpointError, SpecError
from lamina.model.inventory import n_parameters
from tests.compress.conftest import DIFFERENT, SAMPLE, Checkpoints, draft_of, texts, written
from tests.oracle import Float32, relative_error
from tests.parity.test_families import assert_parity, case_of, read, states

ALL_BUT_MPNET = [key for key in DIFFERENT if key[0] != "mpnet"]


def torch_contexts(
    folder: Path, of: list[TextTokens], replace: Any = None
) -> tuple[list[list[Float32]], list[Float32]]:
    """The states of each text in transformers, and what enters each BERT layer's output matrix, token by token
    [N, H * K]. `replace` changes that on its way."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    seen: list[list[Float32]] = [[] for _ in model.encoder.layer]

    def look(k: int, module: Any, given: tuple[Any, ...]) -> Any:
        seen[k].append(given[0][0].numpy().copy())
        return None if replace is None else (replace(k, given[0]), *given[1:])

    for k, layer in enumerate(model.encoder.layer):
        layer.attention.output.dense.register_forward_pre_hook(lambda *given, k=k: look(k, *given))
    with torch.inference_mode():
        found = [model(torch.tensor(ids[None]).long(), output_hidden_states=True).hidden_states for ids, _ in of]
    return [[state[0].numpy() for state in of_text] for of_text in found], [np.concatenate(of) for of in seen]


def test_the_criterion_is_the_variance_of_what_a_head_adds(checkpoint: Checkpoints) -> None:
    draft = draft_of(checkpoint("bert"))
    given = texts(draft)
    outputs = [f"{block}.attention.output" for block in draft.blocks]
    found = importance(draft, watch(draft, given, inputs=outputs))
    expected_states, contexts = torch_contexts(checkpoint("bert"), given)
    for k, block in enumerate(draft.blocks):
        weight = draft.weights[f"{outputs[k]}.weight"]
        added = contexts[k] @ weight.T + draft.weights[f"{outputs[k]}.bias"]
        sums = added + np.concatenate([of_text[k] for of_text in expected_states])
        energy = np.mean(((sums - sums.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
        for head in range(4):
            own = contexts[k][:, head * 6 : head * 6 + 6] @ weight[:, head * 6 : head * 6 + 6].T  # [N, D]
            variance = ((own - own.mean(axis=0)) ** 2).sum(axis=1).mean()
            assert found[block][head] == pytest.approx(variance / energy, rel=1e-4)


def test_a_removed_head_adds_its_average(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("bert")
    draft = draft_of(folder)
    given = texts(draft)
    pruned, left = remove(draft, 0.5, given, compatible=True)
    assert sum(map(len, left)) == 6
    _, contexts = torch_contexts(folder, given)

    def averaged(k: int, x: Any) -> Any:
        import torch

        x = x.clone()
        for head in {*range(4)} - {*left[k]}:
            own = slice(head * 6, head * 6 + 6)
            x[..., own] = torch.tensor(contexts[k].mean(axis=0)[own])
        return x

    expected, _ = torch_contexts(folder, given, averaged)
    found, _ = torch_contexts(written(pruned, tmp_path / "pruned"), given)
    for of_text, by_hand in zip(found, expected, strict=True):
        assert all(relative_error(a, b) <= 1e-5 for a, b in zip(of_text, by_hand, strict=True))


@pytest.mark.parametrize(("family", "variant"), ALL_BUT_MPNET)
def test_both_forms_are_one_function(checkpoint: Checkpoints, tmp_path: Path, family: str, variant: str) -> None:
    draft = draft_of(checkpoint(family, variant))
    whole, left = remove(draft, 0.6, texts(draft), compatible=True)
    small, same = remove(draft, 0.6, texts(draft), compatible=False)
    assert left == same
    assert min(map(len, left)) < 4
    assert whole.architecture == draft.architecture
    assert n_parameters(small.architecture) < n_parameters(draft.architecture)
    case = case_of(written(whole, tmp_path / "whole"))  # transformers reads it
    assert_parity(ReferenceEngine(*read(case.folder)), read(case.folder)[0], case)
    arch, weights = read(written(small, tmp_path / "small"))
    assert arch == small.architecture
    assert [layer.heads for layer in arch.layers] == [tuple(heads) for heads in left]
    found = states(ReferenceEngine(arch, weights), arch.n_layers, case.texts)
    for of_text, expected in zip(found, case.expected, strict=True):
        assert all(relative_error(a, b) <= 1e-5 for a, b in zip(of_text, expected, strict=True))


def test_the_engine_computes_what_the_reference_does(checkpoint: Checkpoints, tmp_path: Path) -> None:
    for family, variant in (("bert", "small"), ("deberta-v2", "separate"), ("modernbert", "small")):
        draft, _ = remove_some(draft_of(checkpoint(family, variant)))
        folder = written(draft, tmp_path / family)
        found, expected = (lamina.load(folder, engine=name).extract(SAMPLE) for name in ("openvino", "reference"))
        for k in found.layers:
            assert relative_error(found.layer(k), expected.layer(k)) <= 1e-5


def remove_some(draft: Draft) -> tuple[Draft, list[list[int]]]:
    return remove(draft, 0.6, texts(draft), compatible=False)


def test_attention_shows_each_head_at_its_first_number(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("bert")
    draft, left = remove_some(draft_of(folder))
    made = lamina.load(written(draft, tmp_path / "small"))
    for unit in ("token", "word"):
        (before,) = lamina.load(folder).attention(SAMPLE[:1], unit=unit)
        (after,) = made.attention(SAMPLE[:1], unit=unit)
        assert after.weights.shape == before.weights.shape
        for k, heads in enumerate(left):
            gone = sorted({*range(4)} - {*heads})
            assert np.isnan(after.weights[k, gone]).all()
            assert np.isfinite(after.weights[k, heads]).all()
        assert np.allclose(after.weights[0, left[0]], before.weights[0, left[0]], atol=1e-6)  # nothing below changed


def test_the_most_important_heads_are_kept() -> None:
    found = {"a": [5.0, 1.0, 3.0], "b": [0.1, 0.2, 0.3], "c": [4.0, 6.0, 2.0]}
    assert kept_heads(found, 2) == {"a": [0, 2], "b": [1, 2], "c": [0, 1]}
    assert kept_heads(found, 9) == {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]}
    assert kept_heads(found, 0.5) == {"a": [0], "b": [2], "c": [0, 1]}  # round(4.5) is 4
    assert kept_heads(found, 0.7) == {"a": [0, 2], "b": [2], "c": [0, 1, 2]}
    assert kept_heads(found, 0.01) == {"a": [0], "b": [2], "c": [1]}  # one of each at least
    assert kept_heads(found, 1.0) == {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1, 2]}


def test_all_heads_kept_change_nothing(checkpoint: Checkpoints) -> None:
    draft = draft_of(checkpoint("bert"))
    same, left = remove(draft, 4, texts(draft), compatible=True)
    assert left == [[0, 1, 2, 3]] * 3
    assert all(np.array_equal(same.weights[name], draft.weights[name]) for name in draft.weights.tensors)


def test_mpnet_can_only_have_zeros(checkpoint: Checkpoints, tmp_path: Path) -> None:
    draft = draft_of(checkpoint("mpnet"))
    with pytest.raises(SpecError, match=r"share a table with a column for each head.*compatible"):
        remove(draft, 2, texts(draft), compatible=False)
    zeros, _ = remove(draft, 2, texts(draft), compatible=True)
    case = case_of(written(zeros, tmp_path / "zeros"))
    assert_parity(ReferenceEngine(*read(case.folder)), zeros.architecture, case)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (0, "heads must be from 1 to 4"), (5, "heads must be from 1 to 4.*not 5"), ("0%", "above 0 %"),
        ("101%", "up to 100 %"), ("half", "whole number or a share"), ("-1", "whole number or a share"),
        ("", "whole number or a share"), (True, "whole number or a share"), (0.5, "whole number or a share"),
    ],
)  # fmt: skip
def test_heads_that_cannot_be_kept(checkpoint: Checkpoints, tmp_path: Path, heads: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        compress(checkpoint("bert"), tmp_path / "out", heads=heads)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "heads",
    [[[0, 1]] * 2, [[0, 1]] * 4, [[1, 0]] * 3, [[0, 0]] * 3, [[4]] * 3, [[]] * 3, [[-1]] * 3, "012", [[True]] * 3],
)
def test_a_config_that_lists_heads_wrongly_is_refused(checkpoint: Checkpoints, heads: Any) -> None:
    draft = draft_of(checkpoint("bert"))
    with pytest.raises(CheckpointError, match="lamina_heads"):
        draft.described({"lamina_heads": heads})


def test_layers_that_share_weights_share_heads(checkpoint: Checkpoints) -> None:
    draft = draft_of(checkpoint("albert", "two groups"))
    _, left = remove(draft, 0.5, texts(draft), compatible=False)
    assert left[0] == left[1] == left[2]
    assert left[3] == left[4]
    with pytest.raises(CheckpointError, match="the same where layers share weights"):
        draft.described({"lamina_heads": [[0], [1], [0], [0], [0]]})
