"""Proves that `pool="model"` gives what sentence-transformers' own `encode` gives, for the same folder and texts.

The folders are saved by sentence-transformers itself, with random weights, so that no module can be left out unseen.
The reference engine computes most of them: which engine it is changes nothing after the last layer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.extraction.extractor import Extractor
from lamina.model.checkpoint import find_checkpoint
from tests.checkpoints import save_bert, save_vocabulary
from tests.oracle import Float32
from tests.samples import BARE, SCRIPTS, prose

WIDTH = 16
TEXTS = ["the river bank", "", "a", "Banking on the river's 3 banks (1998)!", SCRIPTS["chinese"], prose(1), prose(9)]
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
N_TOKENS = {"query": 3, "merging": 5, "long": 0, "with space": 3, "document": 3}  # of the first text itself
PROMPTS = {"query": "the river: ", "merging": "bank", "long": "the " * 40, "with space": "a b "}


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers and 32 positions."""
    return save_bert(
        tmp_path_factory.mktemp("transformer"), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32,
    )  # fmt: skip


def save(
    transformer: Path,
    folder: Path,
    mode: Any = "mean",
    *,
    include_prompt: bool = True,
    steps: list[Any] | None = None,
    max_tokens: int | None = None,
    **said: Any,
) -> Path:
    """Save a sentence-transformers model; `steps` are a width and an activation for a Dense, None for a Normalize."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from torch import nn

    modules: list[Any] = [Transformer(str(transformer)), Pooling(WIDTH, mode, include_prompt=include_prompt)]
    for step in steps or []:
        width = modules[-1].get_embedding_dimension() if hasattr(modules[-1], "get_embedding_dimension") else WIDTH
        modules.append(Normalize() if step is None else Dense(width, step[0], step[2], getattr(nn, step[1])()))
    model = SentenceTransformer(modules=modules, device="cpu", **said)
    if max_tokens:
        model.max_seq_length = max_tokens
    model.save(str(folder), create_model_card=False)
    return folder


def encoded(folder: Path, texts: list[str] = TEXTS, **options: Any) -> Float32:
    from sentence_transformers import SentenceTransformer

    found: Float32 = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False, **options)
    return found


def assert_same(found: Float32, expected: Float32) -> None:
    assert found.shape == expected.shape
    assert np.isfinite(expected).all()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_bundled_model_gives_what_encode_gives(minilm: Extractor) -> None:
    texts = [*SCRIPTS.values(), *BARE, prose(20), prose(60), "tail " * 300]
    found = minilm.extract(texts, pool="model")
    assert found.layers == (6,)
    assert_same(found.layer(-1), encoded(find_checkpoint("minilm").folder, texts))
    assert np.allclose(np.linalg.norm(found.layer(-1), axis=1), 1)
    assert found.units["status"].to_pylist()[-2:] == ["cut", "cut"]
    assert found.units["n_tokens"].to_pylist()[-2:] == [254, 254]


CASES: dict[str, dict[str, Any]] = {
    **{mode: {"mode": mode} for mode in MODES},
    "mean and cls": {"mode": ("mean", "cls")},
    "all modes": {"mode": tuple(reversed(MODES))},
    "dense tanh": {"steps": [(24, "Tanh", True)]},
    "dense identity without bias": {"mode": "cls", "steps": [(7, "Identity", False)]},
    "dense relu": {"steps": [(24, "ReLU", True)]},
    "dense gelu": {"steps": [(24, "GELU", True)]},
    "dense silu": {"steps": [(24, "SiLU", True)]},
    "dense sigmoid": {"steps": [(24, "Sigmoid", True)]},
    "two, dense, normalize": {"mode": ("max", "mean"), "steps": [(24, "Identity", True), None]},
    "normalize, dense, dense": {"steps": [None, (24, "Tanh", True), (8, "Identity", True)]},
    "max_seq_length": {"max_tokens": 9, "mode": ("weightedmean", "lasttoken"), "steps": [None]},
    "truncate_dim": {"truncate_dim": 5, "steps": [None]},
}


@pytest.mark.parametrize("case", CASES)
def test_a_folder_gives_what_encode_gives(transformer: Path, tmp_path: Path, case: str) -> None:
    folder = save(transformer, tmp_path / "model", **CASES[case])
    expected = encoded(folder)
    model = lamina.load(folder, engine="reference")
    assert_same(model.extract(TEXTS, pool="model").layer(-1), expected)
    assert model.plan({"": lamina.Spec(pool="model")}).views[""].width == expected.shape[1]


@pytest.mark.parametrize("mode", [*MODES, ("max", "weightedmean", "cls")], ids=str)
@pytest.mark.parametrize("include_prompt", [True, False])
def test_prompts_give_what_encode_gives(transformer: Path, tmp_path: Path, mode: Any, include_prompt: bool) -> None:
    folder = save(
        transformer, tmp_path / "model", mode, include_prompt=include_prompt, prompts=PROMPTS,
        default_prompt_name="query",
    )  # fmt: skip
    model = lamina.load(folder, engine="reference")
    default = model.extract(TEXTS, pool="model").layer(-1)
    assert_same(default, encoded(folder))
    assert_same(model.extract(TEXTS, pool="model", prompt="").layer(-1), encoded(folder, prompt=""))
    for name in [*PROMPTS, "document"]:
        found = model.extract(TEXTS, pool="model", prompt=name)
        assert_same(found.layer(-1), encoded(folder, prompt_name=name))
        assert np.array_equal(found.layer(-1), default) == (name == "query")
        units = found.units.to_pydict()
        assert (units["surface"], units["start"]) == (TEXTS, [0] * len(TEXTS))  # the user's own texts
        assert units["end"] == [len(text) for text in TEXTS]
        assert units["status"][1] == ("cut" if name == "long" else "empty")  # of the long prompt itself
        assert units["n_tokens"][:2] == [N_TOKENS[name], 0]


@pytest.mark.parametrize("flags", [["mean"], [], MODES, ["lasttoken", "cls"]], ids=str)
def test_a_folder_of_an_old_version_gives_what_encode_gives(transformer: Path, tmp_path: Path, flags: Any) -> None:
    folder = save(transformer, tmp_path / "model", steps=[(8, "Tanh", True), None] if len(flags) == 1 else [None])
    names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "weightedmean": "weightedmean_tokens"}
    names["mean_sqrt_len_tokens"] = "mean_sqrt_len_tokens"
    pooling = {f"pooling_mode_{names.get(mode, mode)}": mode in flags for mode in MODES}
    write(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, **pooling})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
    write(folder / "modules.json", modules)
    for path in (folder / "config_sentence_transformers.json", *folder.glob("*_Normalize/config.json")):
        path.unlink()
    found = lamina.load(folder, engine="reference").extract(TEXTS, pool="model")
    assert_same(found.layer(-1), encoded(folder))
    assert found.units["status"].to_pylist()[-1] == "cut"


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def test_lower_case_gives_what_encode_gives(transformer: Path, tmp_path: Path) -> None:
    cased = Path(shutil.copytree(transformer, tmp_path / "cased"))
    save_vocabulary(cased, do_lower_case=False)
    texts = ["The RIVER Bank", "Ça DÉJÀ vu, İstanbul", "ΣΑΣ"]
    found = {}
    for lower in (False, True):
        folder = save(cased, tmp_path / str(lower))
        config = json.loads((folder / "sentence_bert_config.json").read_text())
        write(folder / "sentence_bert_config.json", config | {"do_lower_case": lower})
        found[lower] = lamina.load(folder, engine="reference").extract(texts, pool="model")
        assert_same(found[lower].layer(-1), encoded(folder, texts))
        assert found[lower].units["end"].to_pylist() == [len(text) for text in texts]
    assert not np.allclose(found[True].layer(-1)[0], found[False].layer(-1)[0])


@pytest.mark.parametrize("max_tokens", [None, 10, 1000])
def test_an_incomplete_folder_gives_what_encode_gives(transformer: Path, tmp_path: Path, max_tokens: Any) -> None:
    folder = Path(shutil.copytree(transformer, tmp_path / "model"))
    if max_tokens:
        save_vocabulary(folder, model_max_length=max_tokens)
    # Without modules.json, sentence-transformers looks at none of its other files.
    write(folder / "sentence_bert_config.json", {"max_seq_length": 5})
    write(folder / "config_sentence_transformers.json", {"prompts": {"p": "the "}, "default_prompt_name": "p"})
    assert_same(lamina.load(folder, engine="reference").extract(TEXTS, pool="model").layer(-1), encoded(folder))


@pytest.mark.parametrize("engine", ["openvino", "reference"])
def test_the_same_bits_in_any_company_order_and_batch(transformer: Path, tmp_path: Path, engine: str) -> None:
    folder = save(
        transformer, tmp_path / "model", ("max", "mean"), steps=[(37, "GELU", True), None], include_prompt=False,
        prompts=PROMPTS, default_prompt_name="query",
    )  # fmt: skip
    model = lamina.load(folder, engine=engine)
    texts = [*TEXTS, *(prose(1, start=i)[: 5 + i] for i in range(70))]

    def bits(chosen: list[str], **options: Any) -> Any:
        return model.extract(chosen, pool="model", **options).layer(-1).view(np.uint32)

    together = bits(texts)
    assert np.array_equal(np.concatenate([bits([text]) for text in texts[:20]]), together[:20])
    assert np.array_equal(bits(texts[::-1], batch_tokens=50)[::-1], together)
    for n in (2, 3, 17, 64, 65):
        assert np.array_equal(bits(texts[5 : 5 + n]), together[5 : 5 + n])
    assert np.array_equal(
        np.concatenate([p.layer(-1) for p in model.stream(texts, pool="model")]), together.view("<f4")
    )


def test_a_job_stores_what_was_done(transformer: Path, tmp_path: Path, made_with: Callable[[Path], Path]) -> None:
    folder = made_with(transformer)
    dataset = lamina.extract(TEXTS, tmp_path / "d", model=folder, pool="model", prompt="with space", dtype="float32")
    assert_same(dataset.layer(-1), encoded(folder, prompt_name="with space"))
    assert (dataset.manifest.layers, dataset.manifest.width) == ((2,), 8)
    assert (dataset.spec.prompt, dataset.spec.max_tokens, dataset.spec.long) == ("with space", 20, "truncate")
    again = lamina.load(folder).extract_views(TEXTS, {"": dataset.spec})[""]
    assert np.array_equal(again.layer(-1), dataset.layer(-1))


def test_other_tables_come_from_the_same_pass(transformer: Path, tmp_path: Path) -> None:
    model = lamina.load(save(transformer, tmp_path / "model", ("mean", "cls"), max_tokens=20))
    specs = {
        "words": lamina.Spec(unit="word", long="truncate", max_tokens=20),
        "sentences": lamina.Spec(pool="model"),
        "first": lamina.Spec(pool="position", layers="1", long="truncate", max_tokens=20),
    }
    together = model.extract_views(TEXTS, specs)
    for name, spec in specs.items():
        alone = model.extract_views(TEXTS, {name: spec})[name]
        assert together[name].units.equals(alone.units)
        for column, matrix in alone.columns.items():
            assert np.array_equal(matrix, together[name].columns[column], equal_nan=True)


@pytest.fixture
def made_with(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda transformer: save(
        transformer, tmp_path / "model", prompts=PROMPTS, steps=[(8, "Tanh", True)], max_tokens=20
    )
