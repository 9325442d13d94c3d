"""Weights in 32, 16 and 8 bits: what others read in the file, how far a number may be off, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors import safe_open

import lamina
from lamina.compress.draft import Draft
from lamina.compress.heads import remove
from lamina.compress.low_rank import split
from lamina.compress.storing import in_steps
from lamina.engine.reference import ReferenceEngine
from lamina.errors import WeightsError
from lamina.model.weights import SCALED, read_tensors
from tests.compress.conftest import SAMPLE, VARIANTS, Checkpoints, draft_of, texts, written
from tests.oracle import relative_error
from tests.parity.test_families import assert_parity, case_of, read


def file_of(folder: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Type and numbers of each tensor, as the safetensors library reads them."""
    import torch

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {name: (str(tensor.dtype), tensor.to(torch.float32).numpy()) for name, tensor in found.items()}


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_sixteen_bits_are_those_of_torch(checkpoint: Checkpoints, tmp_path: Path, precision: str) -> None:
    import torch

    folder = checkpoint("bert", head="BertForTokenClassification")
    made = file_of(written(draft_of(folder), tmp_path / "made", precision))  # type: ignore[arg-type]
    before = file_of(folder)
    assert made.keys() == before.keys()
    for name, (dtype, numbers) in made.items():
        assert dtype == f"torch.{precision}"
        assert np.array_equal(numbers, torch.tensor(before[name][1]).to(getattr(torch, precision)).float().numpy())
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert precision in (config.get("dtype"), config.get("torch_dtype"))


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", ["deberta", "modernbert", "albert"])
def test_transformers_reads_sixteen_bits(checkpoint: Checkpoints, tmp_path: Path, family: str, precision: str) -> None:
    variant = next(variant for of, variant in VARIANTS if of == family)
    case = case_of(written(draft_of(checkpoint(family, variant)), tmp_path / "made", precision))  # type: ignore[arg-type]
    arch, weights = read(case.folder)
    assert_parity(ReferenceEngine(arch, weights), arch, case)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_transformers_reads_eight_bits(checkpoint: Checkpoints, tmp_path: Path, family: str, variant: str) -> None:
    pytest.importorskip("compressed_tensors", reason="transformers reads 8-bit weights through compressed-tensors")
    case = case_of(written(draft_of(checkpoint(family, variant)), tmp_path / "made", "int8"))
    arch, weights = read(case.folder)
    assert sum(tensor.dtype == SCALED for tensor in weights.tensors.values()) > 4
    assert_parity(ReferenceEngine(arch, weights), arch, case)


@given(
    arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-(2.0**99), 2.0**99, width=32)
    ),
)
def test_a_number_in_eight_bits_is_off_by_half_a_step_at_most(matrix: np.ndarray) -> None:
    whole, scale = in_steps(matrix)
    assert whole.dtype == np.int8
    assert scale.shape == (len(matrix), 1)
    assert np.abs(whole.astype(int)).max() <= 127
    error = np.abs(whole * scale.astype(np.float64) - matrix)
    assert (error <= scale.astype(np.float64) * (0.5 + 1e-4) + 1e-38).all()
    assert (np.abs(whole.astype(int)).max(axis=1)[np.abs(matrix).max(axis=1) > 1e-30] == 127).all()  # no step is unused


def test_eight_bits_for_matrices_and_large_tables_alone(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("bert", head="BertForTokenClassification")
    made = file_of(written(draft_of(folder), tmp_path / "made", "int8"))
    whole = {name for name, (dtype, _) in made.items() if dtype == "torch.int8"}
    assert {name.removeprefix("bert.") for name in whole if ".layer." not in name} == {
        "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight",
    }  # fmt: skip
    assert all(made[f"{name}_scale"][0] == "torch.float32" for name in whole)
    layers = {name for name in made if ".layer.0." in name and not name.endswith("_scale")}
    assert {name.rpartition(".")[2] for name in layers - whole} == {"bias", "weight"}
    assert all(made[name][1].ndim == 1 for name in layers - whole)
    before = file_of(folder)
    for name, (dtype, numbers) in made.items():
        if dtype == "torch.float32" and not name.endswith("_scale"):
            assert np.array_equal(numbers, before[name][1])  # the head's too


def test_eight_bits_twice_are_the_same_bytes(checkpoint: Checkpoints, tmp_path: Path) -> None:
    for family, variant in (("bert", "small"), ("deberta", "both"), ("modernbert", "small")):
        once = written(draft_of(checkpoint(family, variant)), tmp_path / f"{family} once", "int8")
        for precision in ("int8", None):
            twice = written(draft_of(once), tmp_path / f"{family} {precision}", precision)  # type: ignore[arg-type]
            for name in ("model.safetensors", "config.json"):
                assert (once / name).read_bytes() == (twice / name).read_bytes()


def test_eight_bits_can_be_widened_again(checkpoint: Checkpoints, tmp_path: Path) -> None:
    narrow = written(draft_of(checkpoint("deberta", "both")), tmp_path / "narrow", "int8")
    wide = written(draft_of(narrow), tmp_path / "wide", "float32")
    assert "quantization_config" not in json.loads((wide / "config.json").read_text())
    assert {dtype for dtype, _ in file_of(wide).values()} == {"torch.float32"}
    assert_same_weights(draft_of(narrow), draft_of(wide))


@pytest.mark.parametrize("precision", [None, "int8", "bfloat16"])
@pytest.mark.parametrize(
    ("family", "variant"), [("bert", "small"), ("deberta", "both"), ("modernbert", "biases"), ("nomic_bert", "small")]
)
def test_all_steps_together_survive_the_file(
    checkpoint: Checkpoints, tmp_path: Path, family: str, variant: str, precision: str | None
) -> None:
    draft = draft_of(checkpoint(family, variant))
    draft, _ = remove(draft, 0.5, texts(draft), compatible=False)
    draft = split(draft, 5, texts(draft), compatible=False)
    found = draft_of(written(draft, tmp_path / "made", precision))  # type: ignore[arg-type]
    assert found.architecture == draft.architecture
    for name in draft.weights.tensors:
        bound = {None: 0.0, "int8": 0.02, "bfloat16": 0.004}[precision]
        assert relative_error(found.weights[name], draft.weights[name]) <= bound
    again = draft_of(written(found, tmp_path / "again"))  # what was written can be read and written again
    assert_same_weights(found, again)


def test_each_tensor_keeps_its_type_unless_asked(checkpoint: Checkpoints, tmp_path: Path) -> None:
    half = written(draft_of(checkpoint("bert")), tmp_path / "half", "float16")
    draft = draft_of(half)
    draft, _ = remove(draft, 0.5, texts(draft), compatible=True)
    made = file_of(written(draft, tmp_path / "made"))
    assert {dtype for dtype, _ in made.values()} == {"torch.float16"}


def test_every_tensor_is_aligned(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = written(draft_of(checkpoint("bert")), tmp_path / "made", "int8")
    for tensor in read_tensors(folder / "model.safetensors"):
        if tensor.dtype == "F32":
            assert np.frombuffer(tensor.bytes, "<f4").flags.aligned


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 70_000.0])
def test_a_number_that_the_type_cannot_hold_is_refused(checkpoint: Checkpoints, tmp_path: Path, value: float) -> None:
    draft = draft_of(checkpoint("bert"))
    weight = draft.weights["layers.1.ffn.up.weight"].copy()
    weight[3, 4] = value
    broken = draft.changed_to({}, {"layers.1.ffn.up.weight": weight})
    expected = "beyond 65,504.*bfloat16" if value == 70_000.0 else "no number"
    with pytest.raises(WeightsError, match=rf"encoder.layer.1.intermediate.dense.weight.*{expected}"):
        written(broken, tmp_path / "half", "float16")
    if value == 70_000.0:
        written(broken, tmp_path / "fine", "bfloat16")
        written(broken, tmp_path / "fine too", "int8")


def test_whole_numbers_without_scales_are_refused(checkpoint: Checkpoints, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = written(draft_of(checkpoint("bert")), tmp_path / "made", "int8")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "encoder.layer.0.attention.self.query.weight"
    for scale in (None, np.ones((3, 1), np.float32), np.ones((24, 2), np.float32), np.ones((24, 1), np.int8)):
        broken = {key: value for key, value in tensors.items() if key != f"{name}_scale"}
        save_file(broken | ({} if scale is None else {f"{name}_scale": scale}), file)
        with pytest.raises(WeightsError, match=r"query.weight is of type I8, expected one of .*I8 with weight_scale"):
            lamina.load(folder)


def test_eight_bits_of_others_are_read(checkpoint: Checkpoints, tmp_path: Path) -> None:
    """Scales in bfloat16 and rows that do not use all steps, as other writers leave them."""
    from safetensors.torch import load_file, save_file

    folder = written(draft_of(checkpoint("bert")), tmp_path / "made", "int8")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    import torch

    for name in [name for name in tensors if name.endswith("_scale")]:
        tensors[name] = (tensors[name] * 2).to(torch.bfloat16)
        tensors[name.removesuffix("_scale")] //= 2
    save_file(tensors, file)
    expected = {
        name.removesuffix("_scale"): tensors[name.removesuffix("_scale")].float() * scale.float()
        for name, scale in tensors.items()
        if name.endswith("_scale")
    }
    draft = draft_of(folder)
    found = draft.weights["layers.0.ffn.up.weight"]
    assert np.array_equal(found, expected["encoder.layer.0.intermediate.dense.weight"].numpy())
    assert lamina.load(folder).extract(SAMPLE).layer(-1).shape == (len(SAMPLE), 24)
    again = draft_of(written(draft, tmp_path / "again"))
    assert_same_weights(draft, again)


def assert_same_weights(one: Draft, other: Draft) -> None:
    assert one.weights.tensors.keys() == other.weights.tensors.keys()
    for name in one.weights.tensors:
        assert np.array_equal(one.weights[name], other.weights[name]), name
