"""Every family, engine and layer against transformers: seeded random checkpoints, ids by hand, no tokenizer.

The oracle reads each text alone and without padding (eager attention, float32); the engines read all of them in one
batch of mixed lengths, so that padding that is seen, a window or a distance that depends on batch mates, or a
table read beyond its end shows as an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.engine.batch import Batch, Engine, Program, Rows
from lamina.engine.openvino import OpenVinoEngine
from lamina.engine.reference import ReferenceEngine
from lamina.engine.torch import TorchEngine
from lamina.errors import CheckpointError, WeightsError
from lamina.model.architecture import FAMILIES, Architecture, architecture_of, family_of
from lamina.model.checkpoint import Checkpoint
from lamina.model.config import read_config
from lamina.model.inventory import weight_shapes
from lamina.model.positions import Distances
from lamina.model.weights import Weights, read_weights
from tests.oracle import Float32, relative_error

BOUND = 1e-5

SMALL = {
    "vocab_size": 31, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 40,
}  # fmt: skip
TINY = SMALL | {
    "hidden_size": 7, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 5, "vocab_size": 6,
}  # fmt: skip
TINY_EVEN = TINY | {"hidden_size": 6}  # rotary angles turn halves
LONG = SMALL | {"max_position_embeddings": 300, "num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 10}
DISTIL = {
    "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}  # fmt: skip
C2P, P2C, BOTH = {"pos_att_type": ["c2p"]}, {"pos_att_type": ["p2c"]}, {"pos_att_type": ["c2p", "p2c"]}
DEBERTA = {"relative_attention": True, "position_biased_input": False, **BOTH}
V3 = DEBERTA | {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_buckets": 8}
MODERN = {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
PLAIN = {"rope_type": "default"}
NESTED = {"full_attention": PLAIN | {"rope_theta": 500.0}, "sliding_attention": PLAIN}
SLIDING = "sliding_attention"


def _distil(config: dict[str, Any]) -> dict[str, Any]:
    return {DISTIL.get(key, key): value for key, value in config.items()}


# Family and variant: what the configuration says.
CONFIGS: dict[tuple[str, str], dict[str, Any]] = {
    ("bert", "small"): SMALL,
    ("bert", "tiny"): TINY | {"type_vocab_size": 1, "hidden_act": "relu"},
    ("bert", "long"): LONG | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
    ("roberta", "small"): SMALL | {"type_vocab_size": 1},
    ("roberta", "tiny"): TINY,
    ("roberta", "pad 0"): SMALL | {"pad_token_id": 0},
    ("roberta", "pad 5"): SMALL | {"pad_token_id": 5, "hidden_act": "silu"},
    ("xlm-roberta", "small"): SMALL | {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ("camembert", "small"): SMALL | {"type_vocab_size": 1},
    ("distilbert", "small"): _distil(SMALL),
    ("distilbert", "tiny"): _distil(TINY) | {"sinusoidal_pos_embds": True, "activation": "relu"},
    ("electra", "projected"): SMALL | {"embedding_size": 10},
    ("electra", "equal"): SMALL | {"embedding_size": 24},
    ("electra", "tiny"): TINY | {"embedding_size": 9},
    ("albert", "one group"): SMALL | {"embedding_size": 10},
    ("albert", "two groups"): SMALL | {"embedding_size": 24, "num_hidden_layers": 5, "num_hidden_groups": 2},
    ("albert", "inner"): SMALL | {
        "embedding_size": 10, "num_hidden_groups": 2, "inner_group_num": 2, "hidden_act": "gelu",
    },
    ("albert", "tiny"): TINY | {"embedding_size": 3},
    ("mpnet", "small"): SMALL,
    ("mpnet", "tiny"): TINY,
    ("mpnet", "long"): LONG | {"pad_token_id": 3, "relative_attention_num_buckets": 40},
    ("deberta", "both"): SMALL | DEBERTA,
    ("deberta", "c2p"): LONG | DEBERTA | C2P | {"max_relative_positions": 50},
    ("deberta", "p2c"): SMALL | DEBERTA | P2C | {"position_biased_input": True, "type_vocab_size": 2},
    ("deberta", "absolute"): SMALL,
    ("deberta", "neither"): SMALL | DEBERTA | {"pos_att_type": []},
    ("deberta", "not relative"): SMALL | BOTH,
    ("deberta", "tiny"): TINY | DEBERTA,
    ("deberta-v2", "v3"): LONG | V3,
    ("deberta-v2", "v3 large buckets"): LONG | V3 | {"position_buckets": 64, "type_vocab_size": 2},
    ("deberta-v2", "no buckets"): LONG | DEBERTA | {"max_relative_positions": 50},
    ("deberta-v2", "c2p"): SMALL | V3 | C2P | {"share_att_key": False},
    ("deberta-v2", "p2c"): SMALL | V3 | P2C | {"share_att_key": False, "norm_rel_ebd": "none"},
    ("deberta-v2", "separate"): SMALL | V3 | {"share_att_key": False, "attention_head_size": 6},
    ("deberta-v2", "convolution"): LONG | V3 | {"conv_kernel_size": 3, "conv_act": "gelu"},
    ("deberta-v2", "wide convolution"): SMALL | V3 | {"conv_kernel_size": 5},
    ("deberta-v2", "absolute"): SMALL | {"norm_rel_ebd": "layer_norm"},
    ("deberta-v2", "neither"): SMALL | V3 | {"pos_att_type": []},
    ("deberta-v2", "tiny"): TINY | V3,
    ("modernbert", "small"): SMALL | MODERN | {"local_attention": 8, "num_hidden_layers": 5},
    ("modernbert", "tiny"): TINY_EVEN | MODERN | {"local_attention": 0, "layer_types": [SLIDING]},
    ("modernbert", "long"): LONG | MODERN | {
        "local_attention": 33, "global_attn_every_n_layers": 2, "rope_parameters": NESTED,
    },
    ("modernbert", "biases"): SMALL | MODERN | {
        "attention_bias": True, "mlp_bias": True, "norm_bias": True, "hidden_activation": "silu",
    },
    ("modernbert", "local"): SMALL | MODERN | {"local_attention": 6, "layer_types": [SLIDING] * 3, "norm_eps": 1e-3},
    ("nomic_bert", "small"): SMALL,
    ("nomic_bert", "tiny"): TINY_EVEN | {"type_vocab_size": 1},
    ("nomic_bert", "long"): LONG | {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}},
}  # fmt: skip

HEADS = {
    "bert": "BertForPreTraining", "roberta": "RobertaForMaskedLM", "xlm-roberta": "XLMRobertaForSequenceClassification",
    "camembert": "CamembertForMaskedLM", "distilbert": "DistilBertForMaskedLM", "electra": "ElectraForPreTraining",
    "albert": "AlbertForPreTraining", "mpnet": "MPNetForMaskedLM", "deberta": "DebertaForMaskedLM",
    "deberta-v2": "DebertaV2ForMaskedLM", "modernbert": "ModernBertForMaskedLM", "nomic_bert": "NomicBertForMaskedLM",
}  # fmt: skip

ENGINES: dict[str, Callable[[Architecture, Weights], Engine]] = {
    "reference": ReferenceEngine,
    "openvino": lambda arch, weights: OpenVinoEngine(arch, weights, precision="float32", threads=2),
    "torch": lambda arch, weights: TorchEngine(arch, weights, precision="float32", threads=2),
}


@dataclass(frozen=True)
class Case:
    """A checkpoint, texts as token ids, and the state of each text after each layer in transformers."""

    folder: Path
    texts: list[np.ndarray]
    expected: list[list[Float32]]


def made(
    folder: Path, family: str, *, head: str | None = None, save: dict[str, Any] | None = None, **config: Any
) -> Path:
    """Write a checkpoint whose every number is random, biases and norms too."""
    import torch
    import transformers

    torch.manual_seed(0)
    described = transformers.AutoConfig.for_model(family, **config)
    build = getattr(transformers, head) if head else transformers.AutoModel.from_config
    model = build(described)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name.lower():
                tensor.normal_(float(name.endswith("weight")), 0.1)
            elif tensor.ndim == 1:
                tensor.normal_(0, 0.1)
            else:  # wide enough that attention is no plain average
                tensor.normal_(0, 1.0 if "embedding" in name else 1.5 / tensor[0].numel() ** 0.5)
    model.to((save or {}).get("dtype", torch.float32)).save_pretrained(folder, **(save or {}).get("how", {}))
    return folder


def read(folder: Path) -> tuple[Architecture, Weights]:
    config = read_config(folder / "config.json")
    arch = architecture_of(config)
    return arch, read_weights(Checkpoint("random", folder).weight_files(), arch, family_of(config))


def case_of(folder: Path, *, seed: int = 0) -> Case:
    """Texts of mixed lengths up to the longest, one with a padding token inside, and their states in transformers."""
    import torch
    from transformers import AutoModel

    arch = architecture_of(read_config(folder / "config.json"))
    random = np.random.default_rng(seed)
    lengths = [arch.max_tokens, 1, 2, 7, 8, 13, arch.max_tokens - 1]
    texts = [random.integers(0, arch.vocab_size, length).astype(np.int32) for length in lengths]
    texts[5][4] = arch.pad_id % arch.vocab_size
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.inference_mode():
        found = [model(torch.tensor(ids[None]).long(), output_hidden_states=True) for ids in texts]
    assert all(np.array_equal(output.hidden_states[-1], output.last_hidden_state) for output in found)
    return Case(folder, texts, [[state[0].numpy() for state in output.hidden_states] for output in found])


def states(engine: Engine, n_layers: int, texts: list[np.ndarray], *, S: int = 0) -> list[list[Float32]]:
    """The state of each text after each layer: one batch padded to S, one row for each token."""
    S = max(S, max(map(len, texts)))
    ids = np.zeros((len(texts), S), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    index = np.concatenate([b * S + np.arange(len(text)) for b, text in enumerate(texts)]).astype(np.int32)
    rows = Rows(index, np.arange(index.size, dtype=np.int32))
    batch = Batch(ids, np.zeros_like(ids), np.array([len(text) for text in texts], np.int32), (rows,))
    ((layers,),) = [tuple(reduced) for reduced in engine.run(Program(tuple(range(n_layers + 1)), ("sum",)), [batch])]
    bounds = np.cumsum([len(text) for text in texts])[:-1]
    by_layer = [np.split(np.array(layer), bounds) for layer in layers]
    return [list(of_text) for of_text in zip(*by_layer, strict=True)]


def assert_parity(engine: Engine, arch: Architecture, case: Case) -> None:
    found = states(engine, arch.n_layers, case.texts)
    assert {len(layers) for layers in case.expected} == {arch.n_layers + 1}
    worst = [
        max(relative_error(f[k], e[k]) for f, e in zip(found, case.expected, strict=True))
        for k in range(arch.n_layers + 1)
    ]
    listed = ", ".join(f"layer {k}: {error:.1e}" for k, error in enumerate(worst))
    assert all(error <= BOUND for error in worst), f"{engine.name}, {arch.family}: {listed}"


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Case]:
    """Makes the checkpoint of a family and variant, and the oracle's answer, once."""
    return cache(lambda family, variant: case_of(
        made(tmp_path_factory.mktemp("family"), family, **CONFIGS[family, variant])
    ))  # fmt: skip


def test_every_family_of_the_table_is_compared() -> None:
    assert {family for family, _ in CONFIGS} == set(FAMILIES) == set(HEADS)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("family", "variant"), CONFIGS)
def test_every_layer_agrees(case: Callable[[str, str], Case], family: str, variant: str, engine: str) -> None:
    found = case(family, variant)
    arch, weights = read(found.folder)
    assert_parity(ENGINES[engine](arch, weights), arch, found)


@pytest.mark.parametrize("kind", [OpenVinoEngine, TorchEngine])
@pytest.mark.parametrize(("family", "variant"), [key for key in CONFIGS if key[1] != "tiny"])
def test_a_text_has_the_same_bits_in_every_batch(
    case: Callable[[str, str], Case], family: str, variant: str, kind: Callable[..., Engine]
) -> None:
    arch, weights = read(case(family, variant).folder)
    random = np.random.default_rng(1)
    texts = [random.integers(0, arch.vocab_size, length).astype(np.int32) for length in (24, 17, 19, 24, 20, 18, 23)]
    engine = kind(arch, weights, precision="float32", threads=2)
    together = states(engine, arch.n_layers, texts, S=24)
    backwards = states(kind(arch, weights, precision="float32", threads=1), arch.n_layers, texts[::-1], S=24)
    alone = [states(engine, arch.n_layers, [text], S=24)[0] for text in texts]
    for b, layers in enumerate(together):
        for k, state in enumerate(layers):
            assert np.array_equal(state, alone[b][k]), f"text {b}, layer {k}"
            assert np.array_equal(state, backwards[-1 - b][k]), f"text {b}, layer {k}"


@pytest.mark.parametrize("family", HEADS)
def test_a_checkpoint_with_a_head_gives_the_same_layers(tmp_path: Path, family: str) -> None:
    config = next(config for (of, _), config in CONFIGS.items() if of == family)
    found = case_of(made(tmp_path, family, head=HEADS[family], **config))
    arch, weights = read(found.folder)
    assert weights.unused
    assert not {name for name in weights.unused if "layer." in name or "layers." in name}
    assert_parity(ReferenceEngine(arch, weights), arch, found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["float16", "bfloat16", "sharded"])
@pytest.mark.parametrize("family", ["bert", "deberta", "deberta-v2", "modernbert", "albert"])
def test_other_ways_of_storing(tmp_path: Path, family: str, how: str, engine: str) -> None:
    import torch

    save = {"how": {"max_shard_size": "5KB"}} if how == "sharded" else {"dtype": getattr(torch, how)}
    config = next(config for (of, _), config in CONFIGS.items() if of == family)
    found = case_of(made(tmp_path, family, save=save, **config))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (how == "sharded")
    arch, weights = read(found.folder)
    assert_parity(ENGINES[engine](arch, weights), arch, found)


@pytest.mark.parametrize(
    ("family", "variant", "max_tokens"),
    [
        ("bert", "small", 40), ("roberta", "small", 38), ("roberta", "pad 5", 34), ("xlm-roberta", "small", 38),
        ("camembert", "small", 38), ("distilbert", "small", 40), ("electra", "equal", 40), ("albert", "inner", 40),
        ("mpnet", "long", 298), ("deberta", "c2p", 300), ("deberta-v2", "v3", 300), ("modernbert", "small", 40),
    ],
)  # fmt: skip
def test_the_longest_input(case: Callable[[str, str], Case], family: str, variant: str, max_tokens: int) -> None:
    arch, _ = read(case(family, variant).folder)
    assert arch.max_tokens == max_tokens


def rewritten(folder: Path, into: Path, **changes: Any) -> Path:
    """A config.json with other values; None leaves a key out."""
    config = json.loads((folder / "config.json").read_text()) | changes
    path = into / "config.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return path


def test_the_older_keys_of_modernbert_mean_the_same(case: Callable[[str, str], Case], tmp_path: Path) -> None:
    folder = case("modernbert", "long").folder
    older = {
        "layer_types": None, "rope_parameters": None, "global_attn_every_n_layers": 2, "global_rope_theta": 500.0,
        "local_rope_theta": 10000.0, "position_embedding_type": "absolute",
    }  # fmt: skip
    assert architecture_of(read_config(rewritten(folder, tmp_path, **older))) == read(folder)[0]


def test_an_unknown_family_names_the_known_ones(case: Callable[[str, str], Case], tmp_path: Path) -> None:
    config = read_config(rewritten(case("bert", "small").folder, tmp_path, model_type="gpt2"))
    with pytest.raises(CheckpointError, match=r"model_type 'gpt2'.*supported: albert, bert, camembert.*xlm-roberta"):
        architecture_of(config)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("bert", "is_decoder", True),
        ("bert", "position_embedding_type", "relative_key"),
        ("bert", "hidden_act", "quick_gelu"),
        ("bert", "num_attention_heads", 5),
        ("bert", "tie_last_hidden_states", False),
        ("distilbert", "n_heads", 5),
        ("distilbert", "activation", "mish"),
        ("roberta", "pad_token_id", 39),
        ("albert", "num_hidden_groups", 4),
        ("albert", "inner_group_num", 0),
        ("mpnet", "relative_attention_num_buckets", 16),
        ("deberta", "talking_head", True),
        ("deberta", "pos_att_type", ["c2p", "p2p"]),
        ("deberta", "pos_att_type", "p2c|c2p|p2p"),
        ("deberta", "embedding_size", 12),
        ("deberta-v2", "attention_head_size", 5),
        ("deberta-v2", "conv_kernel_size", 2),
        ("deberta-v2", "conv_groups", 2),
        ("deberta-v2", "norm_rel_ebd", "rms_norm"),
        ("deberta-v2", "position_buckets", 1),
        ("deberta-v2", "position_buckets", 600),
        ("modernbert", "layer_types", ["full_attention"]),
        ("modernbert", "layer_types", ["full_attention", "chunked_attention", "full_attention"]),
        ("modernbert", "rope_parameters", {"full_attention": {"rope_type": "yarn", "rope_theta": 1e4}}),
        ("modernbert", "rope_parameters", {"rope_type": "default", "rope_theta": 1e4}),
        ("modernbert", "rope_scaling", {"type": "linear", "factor": 2.0}),
        ("modernbert", "head_dim", 16),
        ("nomic_bert", "rope_parameters", NESTED),
        ("nomic_bert", "head_dim", 16),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    case: Callable[[str, str], Case], tmp_path: Path, family: str, key: str, value: object
) -> None:
    variant = next(variant for of, variant in CONFIGS if of == family)
    path = rewritten(case(family, variant).folder, tmp_path, **{key: value})
    with pytest.raises(CheckpointError, match=key):
        architecture_of(read_config(path))


def test_odd_heads_cannot_be_turned(case: Callable[[str, str], Case], tmp_path: Path) -> None:
    path = rewritten(case("modernbert", "small").folder, tmp_path, hidden_size=20)
    with pytest.raises(CheckpointError, match=r"hidden_size 20.*odd"):
        architecture_of(read_config(path))


def test_a_fused_tensor_of_another_size_is_reported(case: Callable[[str, str], Case], tmp_path: Path) -> None:
    folder = case("modernbert", "small").folder
    config = read_config(rewritten(folder, tmp_path, intermediate_size=39))
    with pytest.raises(WeightsError, match=r"Wi.weight \(part 1 of 2\) has shape \[40, 24\], expected \[39, 24\]"):
        read_weights([folder / "model.safetensors"], architecture_of(config), family_of(config))


def test_a_layer_that_the_config_does_not_know_is_reported(case: Callable[[str, str], Case], tmp_path: Path) -> None:
    folder = case("modernbert", "local").folder
    changes = {"num_hidden_layers": 2, "layer_types": [SLIDING] * 2}
    config = read_config(rewritten(folder, tmp_path, **changes))
    with pytest.raises(WeightsError, match=r"layers.2.attn.Wqkv.weight .* is unexpected"):
        read_weights([folder / "model.safetensors"], architecture_of(config), family_of(config))


def test_shared_layers_are_read_once(case: Callable[[str, str], Case]) -> None:
    arch, _ = read(case("albert", "two groups").folder)
    assert arch.n_layers == 5
    assert {name.split(".")[1] for name in weight_shapes(arch) if name.startswith("layers.")} == {"0", "1"}


@pytest.mark.parametrize(("n_buckets", "furthest"), [(8, 40), (8, 512), (32, 128), (64, 512), (256, 512), (256, 513)])
def test_logarithmic_buckets_are_those_of_deberta(n_buckets: int, furthest: int) -> None:
    import torch
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    apart = np.arange(-2000, 2001)
    expected = make_log_bucket_position(torch.tensor(apart), n_buckets, furthest).long().numpy() + n_buckets
    found = Distances("ceiled", 2 * n_buckets, n_buckets, furthest).rows(apart)
    assert np.array_equal(found, expected.clip(0, 2 * n_buckets - 1))


def test_logarithmic_buckets_are_those_of_mpnet() -> None:
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    apart = np.arange(-2000, 2001)
    expected = MPNetEncoder.relative_position_bucket(torch.tensor(-apart)).numpy()
    assert np.array_equal(Distances("floored", 32, 32, 128).rows(apart), expected)
