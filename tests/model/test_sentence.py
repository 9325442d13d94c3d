"""Proves what a sentence-transformers folder may say, what is refused, and what may be asked of `pool="model"`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import lamina
from lamina.errors import CheckpointError, SpecError, TextError, WeightsError
from lamina.extraction.dense import apply_dense
from lamina.extraction.extractor import Extractor
from lamina.model.sentence import ACTIVATIONS, Dense, Normalize, SentenceRecipe
from lamina.spec import Spec

WIDTH = 8  # of the tiny BERT, which takes 16 tokens
OLD = "sentence_transformers.models."
POOLING = {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
DENSE = {"in_features": WIDTH, "out_features": 3, "bias": True, "activation_function": "torch.nn.Tanh"}
FILES: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{OLD}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{OLD}Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{OLD}Dense"},
        {"idx": 3, "name": "3", "path": "3_Normalize", "type": f"{OLD}Normalize"},
    ],
    "1_Pooling/config.json": POOLING,
    "2_Dense/config.json": DENSE,
    "3_Normalize/config.json": {},
    "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
    "config_sentence_transformers.json": {"prompts": {"query": "the ", "empty": None}, "default_prompt_name": "query"},
}


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """The tiny model with every file of `FILES`, to be spoilt."""
    made = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    for name, content in FILES.items():
        write(made / name, content)
    generator = np.random.default_rng(0)
    weight, bias = (generator.standard_normal(shape, np.float32) for shape in ((3, WIDTH), (3,)))
    save_file({"linear.weight": weight, "linear.bias": bias}, made / "2_Dense" / "model.safetensors")
    return made


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def recipe_of(folder: Path) -> SentenceRecipe:
    return lamina.load(folder, engine="reference").sentence_recipe()


def test_a_complete_folder_is_read(folder: Path) -> None:
    recipe = recipe_of(folder)
    assert (recipe.pools, recipe.width, recipe.max_tokens, recipe.lowercase) == (("mean",), 3, 12, False)
    dense, normalize = recipe.steps
    assert isinstance(dense, Dense)
    assert (dense.activation, dense.weight.shape, normalize) == ("tanh", (3, WIDTH), Normalize())
    assert recipe.prompts == {"query": "the ", "document": "", "empty": ""}
    assert (recipe.default_prompt, recipe.include_prompt, recipe.dims) == ("query", True, None)
    assert str(recipe) == "mean, dense to 3 (tanh), unit length, prompts query (default: query), at most 12 tokens"


def test_a_folder_without_modules_is_a_mean_of_all_it_takes(tiny: Extractor, minilm: Extractor) -> None:
    assert str(tiny.sentence_recipe()) == "mean, at most 16 tokens"
    assert tiny.sentence_recipe().source is None
    assert str(minilm.sentence_recipe()) == "mean, unit length, at most 256 tokens"


@pytest.mark.parametrize(
    ("config", "pools"),
    [
        ({"embedding_dimension": WIDTH, "pooling_mode": "lasttoken", "include_prompt": False}, ("last",)),
        ({"pooling_mode": ["mean", "cls"], "pooling_mode_max_tokens": True}, ("mean", "cls")),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": False}, ("mean",)),
        ({"pooling_mode_mean_sqrt_len_tokens": True, "pooling_mode_weightedmean_tokens": True}, ("sqrt", "position")),
    ],
)
def test_every_form_of_pooling_is_read(folder: Path, config: dict[str, Any], pools: tuple[str, ...]) -> None:
    modules = FILES["modules.json"][:2]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling/config.json", config)
    recipe = recipe_of(folder)
    assert (recipe.pools, recipe.width) == (pools, WIDTH * len(pools))
    assert recipe.include_prompt == config.get("include_prompt", True)


def modules(*changed: dict[str, Any]) -> list[dict[str, Any]]:
    """modules.json with its last entries changed."""
    held = FILES["modules.json"]
    low = len(held) - len(changed)
    return [*held[:low], *(entry | change for entry, change in zip(held[low:], changed, strict=True))]


REFUSED: list[tuple[str, Any, str]] = [
    *(
        ("modules.json", modules({"type": kind}), f"names the module '.*{said}.*supported: Transformer, Pooling, Dense")
        for kind, said in (
            (f"{OLD}LayerNorm", "LayerNorm"), (f"{OLD}CNN", "CNN"), ("os.system", "os.system"), ("Normalize", "Normal"),
            ("custom_st.Transformer", "custom_st"), (7, "7"), (None, "None"), ({}, ""), ("x" * 999, "x" * 79),
        )
    ),
    *(
        ("modules.json", modules({"path": path}), "plain folder name")
        for path in ("../3", "..", ".", "/etc", "a/b", "a\\b", "C:x", "", None, 3, "a\0", "ä", ["a"], "n\n")
    ),
    ("modules.json", FILES["modules.json"][1:], "lists Pooling, Dense, Normalize"),
    ("modules.json", FILES["modules.json"][:1], "lists Transformer; supported"),
    ("modules.json", [*FILES["modules.json"][:2], FILES["modules.json"][1]], "lists Transformer, Pooling, Pooling"),
    ("modules.json", [], "lists nothing"),
    ("modules.json", {"0": {}}, "a JSON list"),
    ("modules.json", ["Transformer"], "a JSON list of objects"),
    ("modules.json", [{**FILES["modules.json"][0], "path": "0_T"}, *FILES["modules.json"][1:]], "puts the Transformer"),
    ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode must be one or several of cls"),
    ("1_Pooling/config.json", {"pooling_mode": []}, "pooling_mode must be"),
    ("1_Pooling/config.json", {"pooling_mode": ["mean"] * 17}, "pooling_mode must be"),
    ("1_Pooling/config.json", {"pooling_mode": [["mean"]]}, "pooling_mode must be"),
    ("1_Pooling/config.json", {"pooling_mode_cls_token": 1}, "pooling_mode_cls_token must be true or false"),
    ("1_Pooling/config.json", {"word_embedding_dimension": 9}, "is 9, but the model's width is 8"),
    ("1_Pooling/config.json", {"include_prompt": "no"}, "include_prompt"),
    ("2_Dense/config.json", DENSE | {"activation_function": "os.system"}, "activation_function must be one of torch"),
    ("2_Dense/config.json", DENSE | {"activation_function": ["torch.nn.Tanh"]}, "activation_function must be"),
    ("2_Dense/config.json", DENSE | {"in_features": 9}, "in_features is 9, but what comes in has 8"),
    ("2_Dense/config.json", DENSE | {"use_residual": True}, "use_residual must be false"),
    ("2_Dense/config.json", DENSE | {"module_input_name": "token_embeddings"}, "module_input_name"),
    ("2_Dense/config.json", {"in_features": WIDTH}, "has no 'out_features'"),
    ("2_Dense/config.json", DENSE | {"out_features": 4}, r"linear.weight \[4, 8\], linear.bias \[4\]"),
    ("2_Dense/config.json", DENSE | {"bias": False}, r"describes linear.weight \[3, 8\], as floats"),
    ("3_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
    ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length must be a whole number from 1"),
    ("sentence_bert_config.json", {"max_seq_length": True}, "max_seq_length"),
    ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case"),
    ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
    ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "modality_config"),
    ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 4}}}, "processing_kwargs must"),
    ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type must be one of SentenceTransf"),
    ("config_sentence_transformers.json", {"prompts": ["query"]}, "prompts"),
    ("config_sentence_transformers.json", {"prompts": {"query": 3}}, "prompts"),
    ("config_sentence_transformers.json", {"prompts": {"query": "\ud800"}}, "prompts"),
    ("config_sentence_transformers.json", {"default_prompt_name": "other"}, "has only query, document"),
    ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim"),
    ("tokenizer_config.json", {"truncation_side": "left"}, "truncation_side must be one of right"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), REFUSED)
def test_what_is_not_known_is_refused_by_file_and_key(folder: Path, name: str, content: Any, message: str) -> None:
    extractor = lamina.load(folder, engine="reference")
    write(folder / name, content)
    with pytest.raises(CheckpointError, match=message) as caught:
        extractor.plan({"": Spec(pool="model")})
    assert name.partition("/")[0] in str(caught.value)
    extractor.plan({"": Spec()})  # nothing else asks for it


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"3", b"null", b'"text"', b" " * 4_000_001])
def test_a_damaged_file_is_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    extractor = lamina.load(folder, engine="reference")
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=Path(name).name):
        extractor.sentence_recipe()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 20) | st.floats() | st.text(max_size=4) | st.just("mean"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "path", "type"]), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(FILES)), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_key_holds_is_read_or_refused(folder: Path, tiny: Extractor, name: str, data: st.DataObject) -> None:
    content = FILES[name]
    if isinstance(content, dict):
        keys = [*content, "pooling_mode", "modality_config", "bias", "prompts", "truncate_dim", "model_type"]
        spoilt: Any = content | {data.draw(st.sampled_from(keys)): data.draw(anything)}
    else:
        spoilt = [*content[:3], content[3] | {data.draw(st.sampled_from(["type", "path"])): data.draw(anything)}]
    write(folder / name, spoilt)
    try:
        lamina.model.sentence.read_recipe(folder, tiny.architecture)
    except CheckpointError as error:
        assert name.partition("/")[0] in str(error)  # noqa: PT017
    finally:
        write(folder / name, content)


def test_a_pickled_dense_is_refused_and_why(folder: Path) -> None:
    extractor = lamina.load(folder, engine="reference")
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"2_Dense has no safetensors.*pytorch_model\.bin, which can run code"):
        extractor.sentence_recipe()
    (folder / "2_Dense/pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"2_Dense has no safetensors: model\.safetensors is not there"):
        extractor.sentence_recipe()


@pytest.mark.parametrize(
    "tensors",
    [
        {"linear.weight": np.zeros((3, WIDTH), np.float32)},
        {"linear.weight": np.zeros((3, WIDTH), np.int32), "linear.bias": np.zeros(3, np.float32)},
        {"linear.weight": np.zeros((WIDTH, 3), np.float32), "linear.bias": np.zeros(3, np.float32)},
        {"weight": np.zeros((3, WIDTH), np.float32), "bias": np.zeros(3, np.float32)},
    ],
)
def test_dense_weights_that_do_not_fit_are_refused(folder: Path, tensors: dict[str, Any]) -> None:
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"2_Dense.*its config.json describes linear.weight \[3, 8\]"):
        recipe_of(folder)


def test_a_missing_pooling_file_is_named(folder: Path) -> None:
    (folder / "1_Pooling/config.json").unlink()
    with pytest.raises(CheckpointError, match=r"1_Pooling.config\.json is missing"):
        recipe_of(folder)


# What may be asked


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": "0"}, "the last layer only"),
        ({"layers": "0,1"}, "the last layer only"),
        ({"layers": "encoder", "combine": "mean"}, "becomes of combine"),
        ({"special": "exclude"}, "becomes of special"),
        ({"unit": "pair"}, "not of a pair"),
        ({"prompt": "other"}, "no prompt 'other'; it has query, document, empty"),
        ({"dims": 4}, "a vector has 3 numbers"),
        ({"max_tokens": 17}, "takes 3 to 16 tokens"),
    ],
)
def test_what_contradicts_the_recipe_is_refused(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        lamina.load(folder, engine="reference").plan({"": Spec(pool="model", **values)})


def test_averaged_windows_have_no_maximum(folder: Path) -> None:
    write(folder / "1_Pooling/config.json", {"pooling_mode": "max"})
    with pytest.raises(SpecError, match="no maximum over averaged windows"):
        lamina.load(folder, engine="reference").plan({"": Spec(pool="model", overlap="mean")})


@pytest.mark.parametrize("layers", ["all", "-1", "1"])
def test_a_resolved_spec_says_everything_and_resolves_to_itself(folder: Path, layers: str) -> None:
    extractor = lamina.load(folder, engine="reference")
    view = extractor.plan({"": Spec(pool="model", layers=layers)}).views[""]
    assert view.spec == Spec(pool="model", layers="-1", long="truncate", max_tokens=12, prompt="query")
    assert (view.layers, view.width) == ((1,), 3)
    assert extractor.plan({"": Spec.parse(str(view.spec))}).views[""].spec == view.spec


@pytest.mark.parametrize("name", ["", "auto", "aut o", "a b\tc", "50%", "%0020", "\u3000", "prompt=x", "query"])
def test_a_prompts_name_survives_in_a_written_spec(name: str) -> None:
    spec = Spec(pool="model", prompt=name)
    assert Spec.parse(str(spec)) == spec
    assert Spec.parse(str(Spec())).prompt is None


@pytest.mark.parametrize("values", [{"prompt": "query"}, {"prompt": ""}, {"pool": "model", "prompt": 3}])
def test_a_prompt_goes_with_the_models_own_pooling_only(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="pool='model' only"):
        Spec(**values)


def test_one_pass_reads_texts_in_one_way(folder: Path) -> None:
    extractor = lamina.load(folder, engine="reference")
    words = Spec(unit="word", long="truncate", max_tokens=12)
    with pytest.raises(SpecError, match=r"a prompt before each text.*a pass of its own"):
        extractor.plan({"a": Spec(pool="model"), "b": words})
    with pytest.raises(SpecError, match=r"agree on long.*say long and max_tokens"):
        extractor.plan({"a": Spec(pool="model"), "b": Spec(unit="word")})
    assert list(extractor.plan({"a": Spec(pool="model", prompt=""), "b": words}).views) == ["a", "b"]


def test_a_pair_has_no_vector_of_the_model(folder: Path) -> None:
    with pytest.raises(TextError, match="pair"):
        lamina.load(folder, engine="reference").extract([lamina.Text("a", "b")], pool="model")


def test_a_text_that_is_no_unicode_is_named_without_the_prompt(folder: Path) -> None:
    with pytest.raises(TextError, match=r"text 1 .*at character 2"):
        lamina.load(folder, engine="reference").extract(["fine", "ab\ud800"], pool="model")


def test_a_longer_text_is_refused_where_that_is_asked_for(folder: Path) -> None:
    extractor = lamina.load(folder, engine="reference")
    found = extractor.extract(["a " * 40, "a"], pool="model")
    assert found.units["status"].to_pylist() == ["cut", "ok"]
    assert found.units["n_tokens"].to_pylist() == [9, 1]  # of twelve, two special and one the prompt's
    with pytest.raises(TextError, match="more than 12"):
        extractor.extract(["a " * 40], pool="model", long="error")


def test_no_texts_give_no_rows(folder: Path) -> None:
    found = lamina.load(folder, engine="reference").extract([], pool="model")
    assert found.layer(-1).shape == (0, 3)


# The Dense modules


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS.values())))
def test_a_row_has_the_same_bits_among_any_others(activation: Any) -> None:
    generator = np.random.default_rng(1)
    for n_in, n_out in ((WIDTH, 3), (384, 257), (33, 130)):
        rows, weight, bias = (generator.standard_normal(s, np.float32) for s in ((70, n_in), (n_out, n_in), (n_out,)))
        dense = Dense(weight, bias, activation)
        together = apply_dense(rows, dense)
        for low, high in ((0, 1), (3, 5), (1, 70), (60, 69)):
            assert np.array_equal(apply_dense(rows[low:high], dense), together[low:high])
        assert np.array_equal(apply_dense(np.asfortranarray(rows[::-1]), dense)[::-1], together)


def test_a_row_of_nothing_stays_nothing() -> None:
    rows = np.array([[np.nan] * 2, [1, 2]], np.float32)
    for activation in set(ACTIVATIONS.values()):
        found = apply_dense(rows, Dense(np.ones((3, 2), np.float32), None, activation))
        assert np.isnan(found[0]).all()
        assert np.isfinite(found[1]).all()


def test_large_numbers_do_not_overflow() -> None:
    rows = np.array([[1e4], [-1e4]], np.float32)
    expected = {"sigmoid": [1, 0], "silu": [1e4, 0], "gelu": [1e4, 0], "tanh": [1, -1], "relu": [1e4, 0]}
    for activation, values in expected.items():
        with np.errstate(all="raise"):
            found = apply_dense(rows, Dense(np.ones((1, 1), np.float32), None, activation))  # type: ignore[arg-type]
        assert np.allclose(found[:, 0], values)
