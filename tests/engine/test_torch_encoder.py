"""Proves that what is trained is what is extracted: gradients of every weight, and checkpoints written back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina.engine.batch import Batch
from lamina.engine.reference import NumpyOperations
from lamina.engine.torch import TorchEngine
from lamina.engine.torch_encoder import TorchEncoder
from lamina.engine.torch_operations import Dropout
from lamina.errors import WeightsError
from lamina.model.architecture import FAMILIES, Architecture, architecture_of
from lamina.model.config import read_config
from lamina.model.encoder import states
from lamina.model.names import BERT
from lamina.model.rewrite import rewrite_weights
from lamina.model.weights import Weights, read_weights
from tests.checkpoints import DEEP
from tests.oracle import relative_error
from tests.parity.test_families import CONFIGS, assert_parity, case_of, made, read

LENGTHS = (5, 17, 1, 9, 17, 12)


def batch_of(arch: Architecture, *, seed: int = 0, lowest: int = 1) -> Batch:
    """Sequences of mixed lengths, padded, with segments of both types where there are types."""
    random = np.random.default_rng(seed)
    ids, types = np.zeros((2, len(LENGTHS), max(LENGTHS)), np.int32)
    for row, of_types, length in zip(ids, types, LENGTHS, strict=True):
        row[:length] = random.integers(lowest, arch.vocab_size, length)
        of_types[length // 2 : length] = min(1, max(0, arch.n_types - 1))
    return Batch(ids, types, np.array(LENGTHS, np.int32), ())


def parts_of(folder: Path) -> tuple[Architecture, Weights]:
    arch = architecture_of(read_config(folder / "config.json"))
    return arch, read_weights([folder / "model.safetensors"], arch, FAMILIES["bert"])


@pytest.mark.parametrize(("n_layers", "dtype", "bound"), [(3, torch.float32, 1e-4), (12, torch.float64, 1e-6)])
def test_every_gradient_is_that_of_transformers_on_a_padded_batch(
    random_bert: Callable[..., Path], n_layers: int, dtype: torch.dtype, bound: float
) -> None:
    """In float32 as far as rounding lets two programs agree; in float64 the formulas themselves are compared."""
    from transformers import BertModel

    folder = random_bert(**DEEP | {"num_hidden_layers": n_layers})
    arch, weights = parts_of(folder)
    encoder = TorchEncoder(arch, weights).to(dtype)
    batch = batch_of(arch)
    mask = torch.from_numpy(np.arange(max(LENGTHS)) < batch.lengths[:, None])  # [B, S]
    torch.manual_seed(0)
    # What each number of each layer is pulled by.
    pulls = torch.randn(arch.n_layers + 1, int(mask.sum()), arch.width, dtype=dtype)

    found = encoder(batch, range(arch.n_layers + 1))
    sum((found[k] * pulls[k]).sum() for k in found).backward()

    theirs = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()
    output = theirs(
        input_ids=torch.from_numpy(batch.ids).long(),
        attention_mask=mask.long(),
        token_type_ids=torch.from_numpy(batch.types).long(),
        output_hidden_states=True,
    )
    sum((state[mask] * pull).sum() for state, pull in zip(output.hidden_states, pulls, strict=True)).backward()

    expected = {BERT.canonical(name): tensor.grad for name, tensor in theirs.named_parameters()}
    ours = encoder.named_weights()
    assert set(ours) == {name for name in expected if not name.startswith("pooler")}
    for name, parameter in ours.items():
        assert parameter.grad is not None
        if name.endswith("attention.key.bias"):  # moves all scores of a query alike: its gradient is 0 but for rounding
            assert parameter.grad.abs().max() < bound * expected[name.replace("key", "query")].abs().max()
            continue
        assert relative_error(parameter.grad.numpy(), expected[name].numpy()) <= bound, name


VARIANTS = [next(key for key in CONFIGS if key[0] == family) for family in FAMILIES]


@pytest.mark.parametrize(  # between them, every operation and every way of attending
    ("family", "variant"),
    [("albert", "one group"), ("mpnet", "small"), ("deberta-v2", "wide convolution"), ("modernbert", "small")],
)
def test_every_weight_gets_the_gradient_of_a_finite_step(tmp_path: Path, family: str, variant: str) -> None:
    arch, weights = read(made(tmp_path, family, **CONFIGS[family, variant]))
    encoder = TorchEncoder(arch, weights).double()
    batch = batch_of(arch)
    random = np.random.default_rng(0)
    pull = torch.from_numpy(random.normal(size=(sum(LENGTHS), arch.width)))

    def value() -> torch.Tensor:
        return (encoder(batch, [arch.n_layers])[arch.n_layers] * pull).sum()

    value().backward()
    step = 1e-5
    for name, parameter in encoder.named_weights().items():
        assert parameter.grad is not None, name
        direction = torch.from_numpy(random.normal(size=tuple(parameter.shape)))
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            parameter += step * direction
            above = float(value())
            parameter -= 2 * step * direction
            below = float(value())
            parameter += step * direction
        assert slope == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-4), name


def test_states_come_in_the_order_of_the_batch_and_are_the_engines(deep_bert: Path) -> None:
    arch, weights = parts_of(deep_bert)
    batch = batch_of(arch)
    ops = NumpyOperations(weights, batch, "float32")
    mask = np.arange(max(LENGTHS)) < batch.lengths[:, None]
    with torch.no_grad():
        found = TorchEncoder(arch, weights)(batch, (0, 3, 12))
    assert list(found) == [0, 3, 12]
    for k, state in enumerate(states(ops, arch)):
        if k in found:
            assert relative_error(found[k].numpy(), state[mask]) <= 1e-5


def test_nothing_above_the_highest_layer_gets_a_gradient(deep_bert: Path) -> None:
    encoder = TorchEncoder(*parts_of(deep_bert))
    encoder(batch_of(encoder.architecture), (2,))[2].sum().backward()
    above = [name for name, one in encoder.named_weights().items() if one.grad is not None and name > "layers.2"]
    assert not [name for name in above if name.startswith("layers.") and int(name.split(".")[1]) >= 2]
    assert encoder.weight("layers.1.ffn.up.weight").grad is not None


def test_what_was_made_while_evaluating_serves_training(tmp_path: Path) -> None:
    encoder = TorchEncoder(*read(made(tmp_path, "modernbert", **CONFIGS["modernbert", "small"])))
    batch = batch_of(encoder.architecture)
    with torch.inference_mode():
        encoder(batch, (1,))
    encoder(batch, (1,))[1].sum().backward()
    assert encoder.weight("layers.0.attention.query.weight").grad is not None


def test_a_state_dict_comes_back(deep_bert: Path) -> None:
    arch, weights = parts_of(deep_bert)
    one, other = TorchEncoder(arch, weights), TorchEncoder(arch, weights)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_weight_of_another_shape_is_refused(deep_bert: Path) -> None:
    arch, weights = parts_of(deep_bert)
    values = {name: weights[name] for name in weights.tensors} | {"embeddings.norm.bias": np.zeros(3, np.float32)}
    with pytest.raises(WeightsError, match=r"embeddings.norm.bias has shape \[3\], expected \[48\]"):
        TorchEncoder(arch, values)


def moved(folder: Path, out: Path) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Write a checkpoint whose every weight has moved a little."""
    arch, weights = read(folder)
    encoder = TorchEncoder(arch, weights)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    out.mkdir()
    (out / "config.json").write_bytes((folder / "config.json").read_bytes())
    values = encoder.values()
    rewrite_weights([folder / "model.safetensors"], values, arch, FAMILIES[arch.family], out=out / "model.safetensors")
    return arch, values


@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_a_trained_encoder_is_an_ordinary_checkpoint_again(tmp_path: Path, family: str, variant: str) -> None:
    folder = made(tmp_path / "before", family, **CONFIGS[family, variant])
    arch, values = moved(folder, tmp_path / "after")
    _, again = read(tmp_path / "after")
    assert set(again.tensors) == set(values)
    assert all(np.array_equal(again[name], values[name]) for name in values)
    assert not np.array_equal(again["embeddings.word.weight"], read(folder)[1]["embeddings.word.weight"])
    assert_parity(TorchEngine(arch, again), arch, case_of(tmp_path / "after"))  # as transformers reads it


def test_a_checkpoints_head_travels_along(tmp_path: Path) -> None:
    folder = made(tmp_path / "before", "bert", head="BertForPreTraining", **CONFIGS["bert", "small"])
    moved(folder, tmp_path / "after")
    before, after = read(folder)[1], read(tmp_path / "after")[1]
    assert before.unused == after.unused != ()
    assert all(np.array_equal(before.others[name].float32(), after.others[name].float32()) for name in before.others)


def test_a_value_without_a_place_is_refused(deep_bert: Path, tmp_path: Path) -> None:
    arch, _ = parts_of(deep_bert)
    files, options = [deep_bert / "model.safetensors"], {"out": tmp_path / "model.safetensors"}
    rewrite: Callable[[dict[str, Any]], None] = lambda values: rewrite_weights(  # noqa: E731
        files, values, arch, FAMILIES["bert"], **options
    )
    with pytest.raises(WeightsError, match=r"no place for layers\.99\.norm\.weight"):
        rewrite({"layers.99.norm.weight": np.zeros(48, np.float32)})
    with pytest.raises(WeightsError, match=r"embeddings.norm.bias has shape \[3\], expected \[48\]"):
        rewrite({"embeddings.norm.bias": np.zeros(3, np.float32)})


def test_a_loaded_model_gives_what_was_trained(deep_bert: Path, tmp_path: Path) -> None:
    arch, weights = parts_of(deep_bert)
    encoder = TorchEncoder(arch, weights)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.01)
    batch = batch_of(arch)
    before = encoder(batch, (12,))[12].square().mean().item()
    for _ in range(3):
        optimizer.zero_grad()
        encoder(batch, (12,))[12].square().mean().backward()
        optimizer.step()
    assert encoder(batch, (12,))[12].square().mean().item() < before
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((deep_bert / name).read_bytes())
    rewrite_weights(
        [deep_bert / "model.safetensors"], encoder.values(), arch, FAMILIES["bert"], out=tmp_path / "model.safetensors"
    )
    model = lamina.load(tmp_path, engine="reference")
    found = model.extract(["the river"], layers="-1", unit="token")
    ids = found.units["token_id"].to_numpy().astype(np.int32)[None]
    with torch.no_grad():
        expected = encoder(Batch(ids, np.zeros_like(ids), np.array([ids.size], np.int32), ()), (12,))[12]
    assert relative_error(found.layer(-1), expected.numpy()) <= 1e-5


@pytest.mark.parametrize(
    ("family", "variant"),
    [("bert", "small"), ("modernbert", "small"), ("deberta-v2", "wide convolution"), ("mpnet", "small")],
)
def test_attention_padded_for_training_is_attention_length_by_length(
    tmp_path: Path, family: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences of many lengths attend together; without that, a group for each: the same states and gradients."""
    import lamina.engine.torch_encoder as module

    arch, weights = read(made(tmp_path, family, **CONFIGS[family, variant]))
    batch = batch_of(arch)
    found = []
    for make in (module.make_padding, lambda *_: None):
        monkeypatch.setattr(module, "make_padding", make)
        encoder = TorchEncoder(arch, weights).double()
        state = encoder(batch, (arch.n_layers,))[arch.n_layers]
        state.square().sum().backward()
        found.append((state.detach(), {name: one.grad for name, one in encoder.named_weights().items()}))
    (state, gradients), (expected, expected_gradients) = found
    assert torch.allclose(state, expected, rtol=1e-9, atol=1e-12)
    for name, gradient in gradients.items():
        wanted = expected_gradients[name]
        assert (gradient is None) == (wanted is None), name
        assert gradient is None or torch.allclose(gradient, wanted, rtol=1e-7, atol=1e-9), name


def test_padding_is_used_for_mixed_lengths_and_wastes_little() -> None:
    from lamina.engine.torch_packed import pack
    from lamina.engine.torch_padding import _buckets

    lengths = np.sort(np.random.default_rng(0).integers(5, 500, 200))[::-1].astype(np.int32)
    runs = _buckets(lengths)
    assert [high for _, high in runs[:-1]] == [low for low, _ in runs[1:]]
    assert (runs[0][0], runs[-1][1]) == (0, 200)
    assert 1 < len(runs) < 20
    needed = (lengths.astype(np.int64) ** 2).sum()
    padded = sum((high - low) * int(lengths[low]) ** 2 for low, high in runs)
    assert padded < 1.3 * needed
    even = Batch(np.ones((3, 4), np.int32), np.zeros((3, 4), np.int32), np.full(3, 4, np.int32), ())
    assert len(_buckets(np.diff(pack(even, position_index="position").bounds))) == 1


def test_dropout_drops_while_training_only_and_keeps_the_mean(deep_bert: Path) -> None:
    arch, weights = parts_of(deep_bert)
    encoder, batch = TorchEncoder(arch, weights, dropout=Dropout(0.25, 0.1)), batch_of(arch)
    plain = TorchEncoder(arch, weights)
    with torch.no_grad():
        expected = plain(batch, (0,))[0]
        assert torch.equal(encoder.eval()(batch, (0,))[0], expected)
        encoder.train()
        torch.manual_seed(0)
        drawn = torch.stack([encoder(batch, (0,))[0] for _ in range(400)])
        torch.manual_seed(0)
        assert torch.equal(encoder(batch, (0,))[0], drawn[0])
    dropped = drawn == 0
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.01)
    kept = torch.where(dropped, torch.nan, drawn)
    assert torch.allclose(kept.nanmean(0), expected / 0.75, rtol=1e-5)


def test_each_rate_drops_in_its_own_place(deep_bert: Path) -> None:
    """States are dropped in layer 0 already; attention weights not before layer 1."""
    arch, weights = parts_of(deep_bert)
    batch, plain = batch_of(arch), TorchEncoder(arch, weights)
    for rates, changes_first in ((Dropout(states=0.5), True), (Dropout(attention=0.5), False)):
        encoder = TorchEncoder(arch, weights, dropout=rates)
        with torch.no_grad():
            found, expected = encoder(batch, (0, 1)), plain(batch, (0, 1))
        assert torch.equal(found[0], expected[0]) != changes_first
        assert not torch.allclose(found[1], expected[1])
