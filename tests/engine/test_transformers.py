"""Proves that families which the table lacks go over the bridge: the library's own layers, the same units and guards.

Seeded random checkpoints. RoFormer turns queries, ConvBERT convolves over places, FNet mixes all places whatever a mask
says, RoBERTa-PreLayerNorm counts places from its padding token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.cli.main import run
from lamina.engine import devices
from lamina.errors import CheckpointError, EngineError, MissingExtraError, SpecError, WeightsError
from lamina.extraction.extractor import Extractor
from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.oracle import Float32, relative_error

FAMILIES = ("roformer", "convbert", "fnet", "roberta-prelayernorm")
SMALL = {
    "vocab_size": len(VOCABULARY), "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 40, "max_position_embeddings": 40, "embedding_size": 24, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 3,
}  # fmt: skip
TEXTS = ["the river bank", "a", "", "The banks are 7.", "the river " * 6]


def save(folder: Path, family: str, *, head: str | None = None, **config: Any) -> Path:
    """A random checkpoint with a tokenizer.json."""
    import torch
    import transformers
    from tokenizers import Tokenizer

    from lamina.text.tokenizer import load_tokenizer

    torch.manual_seed(0)
    described = transformers.AutoConfig.for_model(family, **SMALL | config)
    build = getattr(transformers, head) if head else transformers.AutoModel.from_config
    model = build(described)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            scale = 1.0 if "embedding" in name else 1.5 / tensor[0].numel() ** 0.5
            tensor.normal_(
                float("norm" in name.lower() and name.endswith("weight")), 0.1 if tensor.ndim == 1 else scale
            )
    model.save_pretrained(folder)
    backend: Tokenizer = load_tokenizer(save_vocabulary(folder)).backend
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return cache(lambda family: save(tmp_path_factory.mktemp("bridge"), family))


def opened(folder: Path, **options: Any) -> Extractor:
    return lamina.load(folder, engine="transformers", **options)


def states(folder: Path, ids: list[int]) -> list[Float32]:
    """A text's state after each layer, in the library itself, alone."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        return [state[0].numpy() for state in model(torch.tensor([ids]), output_hidden_states=True).hidden_states]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_the_librarys_own(saved: Callable[[str], Path], family: str) -> None:
    with pytest.raises(CheckpointError, match=rf"model_type '{family}'.*engine='transformers' runs others, slower"):
        lamina.load(saved(family))
    model = opened(saved(family))
    found = model.extract(TEXTS, unit="token")
    assert found.layers == (0, 1, 2, 3)
    text_id, token_id = (found.units[name].to_numpy() for name in ("text_id", "token_id"))
    for i in range(len(TEXTS)):
        expected = states(saved(family), token_id[text_id == i].tolist())
        assert len(expected) == 4
        for layer, state in enumerate(expected):
            assert relative_error(found.layer(layer)[text_id == i], state) <= 1e-5, f"layer {layer} of text {i}"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_text_sees_its_company(saved: Callable[[str], Path], family: str) -> None:
    one, two = opened(saved(family), threads=1), opened(saved(family), threads=2)
    options: dict[str, Any] = {"unit": "word", "pool": "mean", "max_tokens": 9}
    together = two.extract(TEXTS[::-1] + TEXTS, batch_tokens=40, **options)
    rows = np.split(np.arange(len(together)), np.searchsorted(together.units["text_id"].to_numpy(), range(1, 10)))
    for i, text in enumerate(TEXTS):
        alone = one.extract([text], **options)
        for layer in alone.layers:
            for place in (len(TEXTS) - 1 - i, len(TEXTS) + i):
                found = together.layer(layer)[rows[place]]
                assert np.array_equal(found.view(np.uint32), alone.layer(layer).view(np.uint32))


def test_units_pools_windows_and_datasets_are_the_same_as_for_every_model(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = opened(saved("roformer"))
    long = "the river bank " * 30
    found = model.extract([long, "the banks"], layers="1,3", pool="max")
    assert found.units["n_windows"].to_pylist()[0] > 1
    tokens = model.extract([long, "the banks"], layers="1,3", unit="token")
    text_id = tokens.units["text_id"].to_numpy()
    for layer in (1, 3):
        expected = [tokens.layer(layer)[text_id == i].max(axis=0) for i in (0, 1)]
        assert np.array_equal(found.layer(layer), np.stack(expected))
    dataset = lamina.extract([long, "the banks"], tmp_path / "out", model=model, unit="word", dtype="float32")
    made = dataset.manifest.made
    assert (made.family, made.engine, made.precision) == ("roformer", "transformers cpu", "float32")
    assert {"torch", "transformers"} <= set(made.versions)
    with pytest.raises(SpecError, match="layer 4"):
        model.extract(["a"], layers=4)


@pytest.mark.parametrize(("family", "longest"), [("roformer", 40), ("roberta-prelayernorm", 39), ("fnet", 40)])
def test_the_longest_input(saved: Callable[[str], Path], family: str, longest: int) -> None:
    assert opened(saved(family)).architecture.max_tokens == longest


def test_sixteen_bits_stay_close(saved: Callable[[str], Path]) -> None:
    exact = opened(saved("roformer")).extract(TEXTS, layers="1")
    found = opened(saved("roformer"), precision="bfloat16").extract(TEXTS, layers="1")
    assert 1e-6 < relative_error(found.layer(1), exact.layer(1)) <= 2e-2


def test_attention_is_the_librarys_own_where_there_is_one(saved: Callable[[str], Path]) -> None:
    import torch
    from transformers import AutoModel

    model = opened(saved("roformer"))
    theirs = AutoModel.from_pretrained(saved("roformer"), attn_implementation="eager").eval()
    for text, found in zip(TEXTS, model.attention(TEXTS), strict=True):
        ids = found.units["token_id"].to_pylist()
        with torch.inference_mode():
            expected = theirs(torch.tensor([ids]), output_attentions=True).attentions
        assert found.weights.shape == (3, 4, len(ids), len(ids)), text
        assert np.abs(found.weights - np.stack([layer[0].numpy() for layer in expected])).max() <= 1e-5
    with pytest.raises(EngineError, match="fnet gives no attention weights"):
        opened(saved("fnet")).attention(["a"])


def test_a_checkpoint_with_a_head_gives_the_same_layers(tmp_path: Path) -> None:
    folder = save(tmp_path, "roformer", head="RoFormerForMaskedLM")
    found = opened(folder).extract(["the river"], unit="token")
    expected = states(folder, found.units["token_id"].to_pylist())
    assert all(relative_error(found.layer(k), state) <= 1e-5 for k, state in enumerate(expected))
    with pytest.raises(CheckpointError, match="roformer"):
        opened(folder).head()


def test_a_tokenizer_without_a_json_is_made_by_the_library(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = saved("convbert")
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    ours, theirs = (opened(one).extract(TEXTS, unit="token") for one in (folder, tmp_path))
    assert ours.units.equals(theirs.units)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer"):
        opened(tmp_path)


def test_a_family_of_the_table_may_go_over_the_bridge_too(deep_bert: Path) -> None:
    ours, theirs = lamina.load(deep_bert), opened(deep_bert)
    a, b = ours.extract(TEXTS, unit="word"), theirs.extract(TEXTS, unit="word")
    assert theirs.architecture.max_tokens == ours.architecture.max_tokens
    assert a.units.equals(b.units)
    assert all(relative_error(b.layer(k), a.layer(k)) <= 1e-5 for k in a.layers)


def copied(folder: Path, out: Path, **config: Any) -> Path:
    out.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    values = json.loads((out / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(values))
    return out


def test_code_in_a_checkpoint_is_never_run(saved: Callable[[str], Path], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    remote = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"}}
    folder = copied(saved("roformer"), tmp_path / "model", **remote)
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(CheckpointError, match="transformers cannot load"):
        opened(folder)
    assert not ran.exists()


def test_pickled_weights_are_refused(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(saved("roformer"), tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only pytorch_model\.bin.*refused"):
        opened(folder)


def test_weights_that_are_not_there_are_not_made_up(saved: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copied(saved("roformer"), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.1.attention.self.query.weight"))
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 tensors of its model: .*layer\.1\.attention\.self\.query\.weight"):
        opened(folder)


@pytest.mark.parametrize(
    ("family", "config", "match"),
    [
        ("canine", {"num_hash_buckets": 16, "upsampling_kernel_size": 2}, "a place for each token; canine gives"),
        ("bart", {"decoder_attention_heads": 4}, "encoder with a decoder"),
    ],
)
def test_what_gives_no_state_for_each_token_is_refused(
    tmp_path: Path, family: str, config: dict[str, Any], match: str
) -> None:
    with pytest.raises(CheckpointError, match=match):
        opened(save(tmp_path, family, **config))


def test_without_the_library_the_pip_line_is_said(
    saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lamina\[transformers\]'"):
        opened(saved("roformer"))


def test_the_command_line_says_that_it_is_slower(
    saved: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("the river\na bank\n")
    options = ["--model", str(saved("fnet")), "--engine", "transformers"]
    code = run(["extract", str(source), "-o", str(tmp_path / "out"), *options])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "the bridge to transformers is slower than Lamina's own engines\n")
    assert "on transformers cpu float32" in out
